//! The admin server across reloads: it stays, moves, starts or ends as the config says.

use std::sync::Arc;

use super::{Server, StartError};
use crate::admin::{Admin, Door, Token};
use crate::api::Api;
use crate::config::Config;
use crate::log::Log;

/// What becomes of the admin server.
#[derive(Debug)]
pub(super) enum NextAdmin {
    /// There is none.
    Off,
    /// It stays where it is, with this token.
    Stays(Option<Token>),
    /// It is to be here.
    Opens(Door),
}

/// What has become of it, when nothing can fail any more.
#[derive(Debug)]
pub(super) enum AdminChange {
    Token(Option<Token>),
    Replaced(Option<Admin>),
}

impl NextAdmin {
    /// Takes the address and reads the token that this config wants.
    pub(super) fn prepare(
        config: &Config,
        current: Option<&Admin>,
        log: &Log,
    ) -> Result<NextAdmin, StartError> {
        Ok(match (&config.admin, current) {
            (Some(wanted), Some(admin)) if admin.is_at(&wanted.bind) => {
                NextAdmin::Stays(Door::read_token(wanted, log)?)
            }
            (Some(_), _) => Door::open(config, log)?.map_or(NextAdmin::Off, NextAdmin::Opens),
            (None, _) => NextAdmin::Off,
        })
    }
}

impl Server {
    /// Starts the admin server that the next config wants, if it is another one.
    pub(super) fn start_admin(&self, next: NextAdmin) -> Result<AdminChange, StartError> {
        Ok(match next {
            NextAdmin::Off => AdminChange::Replaced(None),
            NextAdmin::Stays(token) => AdminChange::Token(token),
            NextAdmin::Opens(door) => {
                let api = Arc::new(Api::new(Arc::clone(&self.control)));
                let admin = Admin::start(door, api, &self.log).map_err(StartError::Thread)?;
                AdminChange::Replaced(Some(admin))
            }
        })
    }

    /// Puts it in the place of the old one, which is joined at the end of the program only: it may have
    /// brought the request that is being answered here.
    pub(super) fn settle_admin(&mut self, change: AdminChange) {
        match (change, &self.admin) {
            (AdminChange::Token(token), Some(admin)) => admin.set_token(token),
            (AdminChange::Token(_), None) => {}
            (AdminChange::Replaced(new), _) => {
                let old = std::mem::replace(&mut self.admin, new);
                self.retire_admin(old);
            }
        }
    }

    pub(super) fn retire_admin(&mut self, admin: Option<Admin>) {
        // Those before it have long ended; each still has its socket.
        self.retired_admins.retain(|retired| !retired.has_ended());
        if let Some(admin) = admin {
            admin.close();
            self.retired_admins.push(admin);
        }
    }
}
