//! The thread `names`: who is asked for, when, and what came of it.
//!
//! It blocks in one place, waiting for the first of: an order, an answer, the time of the next
//! question, the end of the program. Questions whose threads still hang then are left to themselves:
//! the process does not wait for them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, never, select};

use super::{Answer, LOOKUPS_AT_ONCE, Lookup, News, Order, Watch};
use crate::policy::names::Known;
use crate::stats::Stats;
use crate::threads;

/// Stack of a thread that asks: the C library's resolver keeps whole answers on it. Memory is taken
/// only for what is used of it.
const STACK_BYTES: usize = 1024 * 1024;

/// A name that is watched.
#[derive(Debug)]
struct Watched {
    known: Known,
    interval: Duration,
    /// When it is asked for again, since the start of the thread.
    due: Duration,
}

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Resolver {
    lookup: Lookup,
    stats: Arc<Stats>,
    orders: Receiver<Order>,
    news: Sender<News>,
    /// Where questions send their answers; each gets a clone.
    answers_in: Sender<(String, Answer)>,
    answers: Receiver<(String, Answer)>,
    epoch: Instant,
    watched: BTreeMap<String, Watched>,
    /// Who waits for a name's next answer.
    asked: HashMap<String, Vec<Sender<(String, Answer)>>>,
    /// Names to be asked for as soon as there is room, first come, first served.
    waiting: VecDeque<String>,
    in_flight: HashSet<String>,
}

impl Resolver {
    pub(super) fn new(
        lookup: Lookup,
        stats: Arc<Stats>,
        orders: Receiver<Order>,
        news: Sender<News>,
    ) -> Resolver {
        let (answers_in, answers) = crossbeam_channel::unbounded();
        Resolver {
            lookup,
            stats,
            orders,
            news,
            answers_in,
            answers,
            epoch: Instant::now(),
            watched: BTreeMap::new(),
            asked: HashMap::new(),
            waiting: VecDeque::new(),
            in_flight: HashSet::new(),
        }
    }

    /// Asks until nobody can give orders any more.
    pub(super) fn run(mut self) {
        threads::keep_going(|| {
            let next = self.ask_who_is_due();
            let (orders, answers) = (self.orders.clone(), self.answers.clone());
            select! {
                recv(orders) -> order => match order {
                    Ok(Order::Watch(names)) => self.watch(names),
                    Ok(Order::Ask(hosts, asker)) => self.take_question(hosts, &asker),
                    Err(_) => return ControlFlow::Break(()),
                },
                // This thread holds a sending end itself, so there is always one.
                recv(answers) -> answer => if let Ok((host, answer)) = answer {
                    self.take_answer(host, answer);
                },
                recv(next.map_or_else(never, crossbeam_channel::at)) -> _ => {}
            }
            ControlFlow::Continue(())
        });
    }

    fn watch(&mut self, names: BTreeMap<String, Watch>) {
        let now = self.epoch.elapsed();
        let mut before = std::mem::take(&mut self.watched);
        for (host, Watch { interval, known }) in names {
            let due = match before.contains_key(&host) {
                true => now,
                false => now + known.ask_again_after(interval),
            };
            let known = before.remove(&host).map_or(known, |old| old.known);
            let watched = Watched {
                known,
                interval,
                due,
            };
            self.watched.insert(host, watched);
        }
        let (watched, asked) = (&self.watched, &self.asked);
        self.waiting
            .retain(|host| watched.contains_key(host) || asked.contains_key(host));
    }

    fn take_question(&mut self, hosts: Vec<String>, asker: &Sender<(String, Answer)>) {
        for host in hosts {
            let askers = self.asked.entry(host.clone()).or_default();
            askers.push(asker.clone());
            self.put_in_line(host);
        }
    }

    fn put_in_line(&mut self, host: String) {
        if !self.in_flight.contains(&host) && !self.waiting.contains(&host) {
            self.waiting.push_back(host);
        }
    }

    /// Asks for every name whose time has come, as many as there is room for, and says when the next
    /// time is; `None`: when an answer or an order comes.
    fn ask_who_is_due(&mut self) -> Option<Instant> {
        let now = self.epoch.elapsed();
        let is_due = |(_, watched): &(&String, &Watched)| watched.due <= now;
        let due = self.watched.iter().filter(is_due);
        let due: Vec<String> = due.map(|(host, _)| host.clone()).collect();
        for host in due {
            self.put_in_line(host);
        }
        while self.in_flight.len() < LOOKUPS_AT_ONCE {
            let Some(host) = self.waiting.pop_front() else {
                break;
            };
            self.ask(host);
        }
        let is_idle =
            |host: &String| !self.in_flight.contains(host) && !self.waiting.contains(host);
        let idle = self.watched.iter().filter(|(host, _)| is_idle(host));
        let next = idle.map(|(_, watched)| watched.due).min()?;
        Some(self.epoch + next)
    }

    fn ask(&mut self, host: String) {
        let mut question = Question {
            host: host.clone(),
            answers: self.answers_in.clone(),
            answer: Err("the system refuses a thread for the lookup".to_owned()),
        };
        let lookup = self.lookup.clone();
        let name = threads::name_of("lookup ", &host);
        self.in_flight.insert(host);
        // Nobody joins the thread: it may hang, and whoever ends evener does not want to wait for it.
        // One that is refused drops the question, which answers it.
        let _ = threads::spawn_with_stack(name.as_str(), STACK_BYTES, move || {
            question.ask(&lookup);
        });
    }

    fn take_answer(&mut self, host: String, answer: Answer) {
        self.in_flight.remove(&host);
        match &answer {
            Ok(addresses) if !addresses.is_empty() => self.stats.lookups_good.increment(),
            _ => self.stats.lookups_bad.increment(),
        }
        for asker in self.asked.remove(&host).unwrap_or_default() {
            // Who asked may have given up.
            let _ = asker.send((host.clone(), answer.clone()));
        }
        let Some(watched) = self.watched.get_mut(&host) else {
            return;
        };
        let change = watched.known.learn(answer);
        watched.due = self.epoch.elapsed() + watched.known.ask_again_after(watched.interval);
        if let Some(change) = change {
            // The server is at its end when it takes no news.
            let _ = self.news.send(News {
                host,
                known: watched.known.clone(),
                change,
            });
        }
    }
}

/// One question. It is answered when it is dropped, so even by a panic, or when it has no thread.
struct Question {
    host: String,
    answers: Sender<(String, Answer)>,
    answer: Answer,
}

impl Question {
    fn ask(&mut self, lookup: &Lookup) {
        self.answer = Err("the lookup panicked, which is a bug in evener".to_owned());
        self.answer = (lookup.0)(&self.host).map_err(|error| error.to_string());
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let answer = std::mem::replace(&mut self.answer, Ok(Vec::new()));
        let host = std::mem::take(&mut self.host);
        // Nobody takes it when the resolver has ended.
        let _ = self.answers.send((host, answer));
    }
}
