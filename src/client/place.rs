//! Where the evener is that is asked, and the token it wants: from the command line, else from the config
//! that it runs with, else from the environment, else where it is by default.

use std::env;
use std::path::{Path, PathBuf};

use super::ClientError;
use crate::config::{Admin, AdminAddress, Ask, Config, ConfigError, defaults};

/// The variable with the address, where none is given.
const ADDRESS_VARIABLE: &str = "EVENER_ADMIN";

/// Where an evener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: AdminAddress,
    /// A file with the token; `None`: the environment may have it.
    pub(super) token_file: Option<PathBuf>,
}

impl Place {
    /// The place that is meant.
    pub(super) fn of(ask: &Ask) -> Result<Place, ClientError> {
        let from_file = ask.config.as_deref().map(of_config).transpose()?;
        let token_file = || {
            from_file
                .as_ref()
                .and_then(|admin| admin.token_file.clone())
        };
        Ok(Place {
            address: match (&ask.address, &from_file) {
                (Some(address), _) => address.clone(),
                (None, Some(admin)) => admin.bind.to_ask(),
                (None, None) => by_environment()?,
            },
            token_file: ask.token_file.clone().or_else(token_file),
        })
    }
}

/// What a config says.
fn of_config(file: &Path) -> Result<Admin, ClientError> {
    let help = "say where evener is with --admin ADDR or --admin unix:PATH";
    let config = Config::load(file).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ConfigError::one_line).collect();
        ClientError::new(errors.join("\n"), help)
    })?;
    config.admin.ok_or_else(|| {
        let what = format!(
            "the evener of {} can't be asked: admin is off",
            file.display()
        );
        ClientError::new(what, help)
    })
}

/// What the environment says, or the default.
fn by_environment() -> Result<AdminAddress, ClientError> {
    let text = env::var(ADDRESS_VARIABLE)
        .ok()
        .filter(|text| !text.is_empty());
    let text = text.as_deref().unwrap_or(defaults::ADMIN);
    AdminAddress::read(text).map_err(|what| {
        let what = format!("{ADDRESS_VARIABLE} is no address: {what}");
        ClientError::new(what, "IP:PORT, NAME:PORT or unix:PATH")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::What;

    #[test]
    fn the_command_line_goes_before_the_config_and_that_before_the_default() {
        let path = env::temp_dir().join(format!("evener-place-{}.yaml", std::process::id()));
        let write = |admin: &str| {
            let rest = "listeners: [{ bind: ':8080' }]\npools: [{ backends: [a:1] }]";
            std::fs::write(&path, format!("{rest}\nadmin: {admin}\n")).unwrap();
        };
        let ask = |address: Option<&str>, config: bool| Ask {
            what: What::Status,
            address: address.map(|text| AdminAddress::read(text).unwrap()),
            token_file: None,
            config: config.then(|| path.clone()),
            json: false,
        };
        let place = |ask: &Ask| {
            let place = Place::of(ask).map_err(|error| error.to_string())?;
            Ok::<_, String>((place.address.to_string(), place.token_file))
        };
        let by_default = (defaults::ADMIN.to_owned(), None);
        assert_eq!(place(&ask(None, false)), Ok(by_default));
        write("{ bind: '0.0.0.0:7', token_file: t }");
        let of_file = ("127.0.0.1:7".to_owned(), Some("t".into()));
        assert_eq!(place(&ask(None, true)), Ok(of_file));
        let elsewhere = ("lb1:8".to_owned(), Some("t".into()));
        assert_eq!(place(&ask(Some("lb1:8"), true)), Ok(elsewhere));
        write("off");
        let error = place(&ask(None, true)).unwrap_err();
        assert!(error.contains("can't be asked: admin is off"), "{error}");
        write("{ port: 3 }");
        let error = place(&ask(None, true)).unwrap_err();
        assert!(error.contains("unknown key `port`"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
