//! Host names on the server's thread: the first answers at the start and at a reload, and the change of
//! the pools when a name has other addresses.
//!
//! Such a change is made like a reload, by the same thread, from the config that is in force: it can't
//! undo one, and none can meet it half-way. Sessions, health and counts of what stays go on; a new
//! address takes its first session after a good probe; an address that is gone drains. Only the first
//! answers are waited for, and only so long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{never, select, tick};

use super::{Server, StartError, Surroundings, build, plan};
use crate::config::{BackendAddress, Config};
use crate::control::{Addresses, Name, Running, fixed, watched};
use crate::events::{Changed, Event, NameChange};
use crate::names::{Answer, Names, News, Watch};
use crate::policy::names::{Change, Known};

/// How long the first answer for a name that is watched is waited for: one try of the system's resolver
/// (resolv.conf(5): 5 s). Without one, the name has no address until it has.
const FIRST_ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// The same for a name that is not watched, and for which there is no other occasion: three tries.
const ONLY_ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// Answers for the names of a config, as far as they have to be asked for: those that are not watched
/// yet, and those that are asked for at each reload.
#[derive(Debug)]
pub(super) struct FirstAnswers(BTreeMap<String, Answer>);

impl FirstAnswers {
    /// Asks and waits; a signal breaks it off. `sign` gives a sign of life to the service manager.
    pub(super) fn wait_for(
        names: &Names,
        config: &Config,
        running: &Running,
        around: &Surroundings,
        sign: impl FnMut(),
    ) -> Result<FirstAnswers, StartError> {
        let fixed = fixed(config);
        let new = watched(config).into_keys();
        let new = new.filter(|host| !running.addresses.watched.contains_key(*host));
        let missing = new
            .chain(fixed.iter().copied())
            .map(str::to_owned)
            .collect();
        Ok(FirstAnswers(first_answers(
            names, missing, &fixed, around, sign,
        )?))
    }

    /// What the names of the config stand for, with the last answers for those that are watched already.
    /// An unwatched name without an answer is an error.
    pub(super) fn with_known(
        self,
        config: &Config,
        running: &Running,
    ) -> Result<Addresses, StartError> {
        let mut addresses = Addresses::default();
        let answer = |host: &str, patience: Duration| {
            let late = || Err(format!("no answer within {} s", patience.as_secs()));
            self.0.get(host).cloned().unwrap_or_else(late)
        };
        for host in fixed(config) {
            let found = match answer(host, ONLY_ANSWER_PATIENCE) {
                Ok(found) if !found.is_empty() => found,
                Ok(_) => return Err(unresolved(config, host, "the name has no address")),
                Err(error) => return Err(unresolved(config, host, &error)),
            };
            addresses.fixed.insert(host.to_owned(), found);
        }
        for host in watched(config).into_keys() {
            let name = running.addresses.watched.get(host).cloned();
            let name = name.unwrap_or_else(|| {
                let mut known = Known::default();
                known.learn(answer(host, FIRST_ANSWER_PATIENCE));
                Name::new(known)
            });
            addresses.watched.insert(host.to_owned(), name);
        }
        Ok(addresses)
    }
}

/// Asks for these names, and waits for the answers: longer for those that are asked for only once.
fn first_answers(
    names: &Names,
    missing: Vec<String>,
    fixed: &BTreeSet<&str>,
    around: &Surroundings,
    mut sign: impl FnMut(),
) -> Result<BTreeMap<String, Answer>, StartError> {
    let mut answers = BTreeMap::new();
    if missing.is_empty() {
        return Ok(answers);
    }
    let begin = Instant::now();
    let sign_of_life = around.manager.sign_of_life_every().map_or_else(never, tick);
    let mut missing: BTreeSet<String> = missing.into_iter().collect();
    let answered = names.ask(missing.iter().cloned().collect());
    while !missing.is_empty() {
        let must_wait = missing.iter().any(|host| fixed.contains(&**host));
        let patience = match must_wait {
            true => ONLY_ANSWER_PATIENCE,
            false => FIRST_ANSWER_PATIENCE,
        };
        select! {
            recv(answered) -> answer => {
                let Ok((host, answer)) = answer else { break };
                missing.remove(&host);
                answers.insert(host, answer);
            }
            recv(around.signals) -> _ => return Err(StartError::Interrupted),
            recv(sign_of_life) -> _ => sign(),
            default(patience.saturating_sub(begin.elapsed())) => break,
        }
    }
    Ok(answers)
}

/// The error of the first backend that has this name.
fn unresolved(config: &Config, host: &str, error: &str) -> StartError {
    let mut backends = config.pools.iter().flat_map(|pool| &pool.backends);
    let of_host = backends.find(|backend| match &backend.address {
        BackendAddress::Name { host: name, .. } => {
            name == host && backend.resolve_interval.is_none()
        }
        BackendAddress::Ip(_) | BackendAddress::Unix(_) => false,
    });
    StartError::Resolve {
        backend: of_host.map_or_else(|| host.to_owned(), |backend| backend.name.clone()),
        error: error.to_owned(),
    }
}

impl Server {
    /// What the names of a new config stand for.
    pub(super) fn find_addresses(
        &mut self,
        config: &Config,
        around: &Surroundings,
    ) -> Result<Addresses, StartError> {
        let running = self.control.running.load();
        let mut was_alive = true;
        let first = FirstAnswers::wait_for(&self.names, config, &running, around, || {
            was_alive = self.sign(&around.manager, was_alive);
        });
        if matches!(first, Err(StartError::Interrupted)) {
            self.signalled = true;
        }
        // Of a name that was in the config earlier there may be older news than the answer that has just
        // come; heard now, when the name is not watched, they are no news.
        let pending = self.names.news().try_iter().collect();
        self.hear(pending, around);
        first?.with_known(config, &self.control.running.load())
    }

    /// Has the names of a config watched from now on, and tells what is known of those that are new.
    pub(super) fn watch_names(&self, config: &Config, addresses: &Addresses) {
        let before = self.control.running.load();
        let mut names = BTreeMap::new();
        for (host, interval) in watched(config) {
            let Some(name) = addresses.watched.get(host) else {
                continue;
            };
            let known = name.known.clone();
            if !before.addresses.watched.contains_key(host) {
                let added = known.addresses.clone();
                self.tell(host, &known, added, Vec::new());
            }
            names.insert(host.to_owned(), Watch { interval, known });
        }
        self.names.watch(names);
    }

    fn tell(&self, host: &str, known: &Known, added: Vec<SocketAddr>, removed: Vec<SocketAddr>) {
        self.log.send(Event::Name(Box::new(NameChange {
            host: host.into(),
            known: known.clone(),
            change: Change { added, removed },
        })));
    }

    /// Takes in what is otherwise with names, and with one change whatever follows from it.
    pub(super) fn hear(&mut self, news: Vec<News>, around: &Surroundings) {
        let running = self.control.running.load();
        let mut addresses = Addresses::clone(&running.addresses);
        let mut is_news = false;
        for News {
            host,
            known,
            change,
        } in news
        {
            // A reload may have taken the name out meanwhile.
            let Some(name) = addresses.watched.get_mut(&host) else {
                continue;
            };
            self.tell(&host, &known, change.added, change.removed);
            *name = Name::new(known);
            is_news = true;
        }
        if is_news {
            self.change_addresses(addresses, around);
        }
    }

    /// Puts in force what the names of the config stand for now.
    fn change_addresses(&mut self, addresses: Addresses, around: &Surroundings) {
        let running = self.control.running.load();
        let config = Arc::clone(&running.config);
        let draft = build::draft(&config, &addresses, &running);
        if draft.is_of(&running) {
            self.control.running.store(Running {
                addresses: Arc::new(addresses),
                ..Running::clone(&running)
            });
            return;
        }
        let drain_timeout = config.shutdown.drain_timeout;
        let lines = plan::comings_and_goings(&running, &draft, drain_timeout, SystemTime::now());
        self.probe_if_idle(&draft, around);
        let contexts = self.contexts(&config, &draft, &running);
        self.put_in_force(config, draft, addresses, &contexts);
        for change in lines {
            self.log.send(Changed::NameBackend { change });
        }
    }
}
