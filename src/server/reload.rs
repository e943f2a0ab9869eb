//! A new config takes the place of the old one, at the start and at each reload, all or nothing.
//!
//! First everything that can fail: read, check, find the addresses of names, take the new addresses,
//! wait for the first probe of the new backends. Until then nobody notices anything. Then the new
//! listeners open, and what is shared by later sessions is replaced; sockets that stay stay open, and
//! sessions, health and counts of what stays go on as they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::admin::{AdminChange, NextAdmin};
use super::build::{self, Draft};
use super::entrances::{Entrances, Taken};
use super::error::Fault;
use super::leaving::leaving;
use super::{Server, StartError, Surroundings, options, plan};
use crate::admin::Admin;
use crate::admission::Admission;
use crate::config::Config;
use crate::control::{Addresses, Answer, LastReload, Made, OpenListener, Refusal, Running};
use crate::events::{Changed, Start};
use crate::health::{self, Order};
use crate::log::Log;
use crate::registry::Listener;
use crate::session::{Context, Routes};
use crate::systemd::Heritage;

/// What the sessions of each listener have in common, by its name.
pub(super) type Contexts = HashMap<String, Arc<Context>>;

/// A config with all that could be done for it without changing anything.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) config: Arc<Config>,
    pub(super) draft: Draft,
    addresses: Addresses,
    taken: Vec<Taken>,
    admin: NextAdmin,
}

impl Next {
    /// With the `addresses` of its names, takes the ones to listen on that are not open yet.
    pub(super) fn prepare(
        config: Config,
        addresses: Addresses,
        running: &Running,
        entrances: &Entrances,
        heritage: &mut Heritage,
        admin: Option<&Admin>,
        log: &Log,
    ) -> Result<Next, StartError> {
        let draft = build::draft(&config, &addresses, running);
        options::try_all(&config)?;
        let taken = entrances.take_missing(&config, &mut heritage.sockets)?;
        // After the listeners: where its address was not asked for, it gives way to them.
        let admin = NextAdmin::prepare(&config, admin, heritage, log)?;
        Ok(Next {
            config: Arc::new(config),
            draft,
            addresses,
            taken,
            admin,
        })
    }
}

impl Server {
    /// Reads the config again and makes it so, or only says what would change.
    pub(super) fn reload(&mut self, dry_run: bool, around: &Surroundings) -> Answer {
        let outcome = self.try_reload(dry_run, around);
        if dry_run {
            return outcome.map_err(Refusal::from);
        }
        let running = self.control.running.load();
        let last_reload = LastReload {
            at: SystemTime::now(),
            error: outcome.as_ref().err().map(|fault| fault.lines().join("; ")),
        };
        self.control.running.store(Running {
            last_reload: Some(last_reload),
            ..Running::clone(&running)
        });
        match &outcome {
            Ok(Made { changes, warnings }) => {
                for change in changes.clone() {
                    self.log.send(Changed::Config { change });
                }
                for warning in warnings.clone() {
                    self.log.send(Changed::Warning { warning });
                }
                self.log.send(Changed::Reloaded {
                    generation: running.generation,
                    changes: changes.len(),
                });
            }
            Err(fault) => self.log.send(Changed::ReloadFailed {
                errors: fault.lines(),
            }),
        }
        outcome.map_err(Refusal::from)
    }

    fn try_reload(&mut self, dry_run: bool, around: &Surroundings) -> Result<Made, Fault> {
        let config = self.source.load().map_err(Fault::Config)?;
        let addresses = self.find_addresses(&config, around)?;
        // After that: it hears what names stand for now, which replaces what is running.
        let running = self.control.running.load();
        let admin = self.admin.as_ref();
        let nothing = &mut Heritage::default();
        let entrances = &self.entrances;
        let next = Next::prepare(
            config, addresses, &running, entrances, nothing, admin, &self.log,
        );
        let next = next?;
        let made = Made {
            changes: plan::changes(&running, &next, SystemTime::now()),
            warnings: next.config.warnings(),
        };
        if dry_run {
            return Ok(made);
        }
        let probed = self.probe_first(&next, around);
        let installed = probed.and_then(|()| self.install(next));
        installed.inspect_err(|_| {
            // What was to be probed for the new config is not, then.
            self.order(Order::Replace(build::all(&running.pools)));
        })?;
        Ok(made)
    }

    pub(super) fn order(&self, order: Order) {
        // It fails only if the health thread is gone, which lives as long as this server.
        let _ = self.orders.send(order);
    }

    /// Puts a config in force.
    pub(super) fn install(&mut self, next: Next) -> Result<(), StartError> {
        let Next {
            config,
            draft,
            addresses,
            taken,
            admin,
        } = next;
        let running = self.control.running.load();
        let contexts = self.contexts(&config, &draft, &running);
        let context = |name: &str| contexts.get(name).cloned();
        // Dropped at the end: whoever comes by a new listener is served by the new config only, and whoever
        // asks at a new admin address hears of nothing else.
        let (_not_in_force, in_force) = crossbeam_channel::bounded(0);
        let admin = self.start_admin(admin, in_force.clone())?;
        if let Err(error) = (self.entrances).open(taken, &self.tools, &in_force, context) {
            if let AdminChange::Replaced(started) = admin {
                self.retire_admin(started);
            }
            return Err(error);
        }

        // From here on nothing fails.
        self.settle_admin(admin);
        self.log.configure(&config.log);
        self.timeouts.store(config.timeouts.clone());
        let allowed = self.tools.capacity.allowed(config.limits.max_connections);
        self.tools.process_gate.set_limit(allowed);
        for listener in &config.listeners {
            if let Some(context) = context(&listener.name) {
                context.listener.set_limit(listener.max_connections);
            }
        }
        self.watch_names(&config, &addresses);
        self.put_in_force(config, draft, addresses, &contexts);
        Ok(())
    }

    /// Has the backends of the draft serve those who come from now on. Nothing of it fails.
    pub(super) fn put_in_force(
        &mut self,
        config: Arc<Config>,
        draft: Draft,
        addresses: Addresses,
        contexts: &Contexts,
    ) {
        let running = self.control.running.load();
        let context = |name: &str| contexts.get(name).cloned();
        for wanted in &draft.wishes {
            wanted.put_in_force();
        }
        for pool in &draft.pools {
            health::publish(pool, &self.log);
            pool.take_over();
        }
        for warning in self.entrances.settle(&config, context) {
            self.log.send(Changed::Warning { warning });
        }
        self.order(Order::Replace(build::all(&draft.pools)));
        let listeners = config.listeners.iter().filter_map(|listener| {
            let context = context(&listener.name)?;
            Some(OpenListener {
                listener: Arc::clone(&context.listener),
                pool: context
                    .routes
                    .default_pool()
                    .map(|pool| Arc::clone(&pool.name)),
                routed: context.routes.counts(),
                addresses: self.entrances.addresses(&listener.name),
            })
        });
        // Other addresses of a name make no other config.
        let is_new = !Arc::ptr_eq(&config, &running.config);
        let now_running = Running {
            generation: running.generation + u64::from(is_new),
            file: running.file.clone(),
            loaded_at: match is_new {
                true => SystemTime::now(),
                false => running.loaded_at,
            },
            last_reload: running.last_reload.clone(),
            listeners: listeners.collect(),
            leaving: leaving(&running, &draft, &config),
            pools: draft.pools,
            config,
            addresses: Arc::new(addresses),
        };
        for address in new_addresses(&running, &now_running) {
            self.log.send(Start::Listening { address });
        }
        self.control.running.store(now_running);
        self.open_and_refuse();
    }

    /// What the sessions of each listener will have in common. A listener that is there already keeps
    /// its counts and whoever is inside.
    pub(super) fn contexts(&self, config: &Config, draft: &Draft, running: &Running) -> Contexts {
        let listener = |listener: &crate::config::Listener| {
            let old = running
                .listeners
                .iter()
                .find(|open| *open.listener.name == *listener.name);
            old.map_or_else(
                || Arc::new(Listener::new(&listener.name, listener.max_connections)),
                |open| Arc::clone(&open.listener),
            )
        };
        let context = |of_config: &crate::config::Listener| {
            let listener = listener(of_config);
            // The config has checked that the pools are there.
            let routes = Routes::new(of_config, &listener, &draft.pools)?;
            let context = Context {
                admission: Admission::new(&of_config.admission, &listener.clients),
                listener,
                routes,
                accept_proxy: of_config.accept_proxy_protocol.clone(),
                timeouts: config.timeouts.clone(),
                max_connections: config.limits.max_connections,
                pipes: (self.pipes)
                    .for_relays(config.performance.relay, config.performance.busy_poll),
                suspects: self.suspects.clone(),
                log: self.log.clone(),
                registry: Arc::clone(&self.control.registry),
                stats: Arc::clone(&self.control.stats),
                ids: Arc::clone(&self.ids),
                epoch: self.control.epoch,
            };
            Some((of_config.name.clone(), Arc::new(context)))
        };
        config.listeners.iter().filter_map(context).collect()
    }
}

fn new_addresses(old: &Running, new: &Running) -> Vec<String> {
    let addresses = |running: &Running| -> Vec<String> {
        let listeners = running.listeners.iter();
        listeners.flat_map(|open| open.addresses.clone()).collect()
    };
    let old = addresses(old);
    let mut new = addresses(new);
    new.retain(|address| !old.contains(address));
    new
}
