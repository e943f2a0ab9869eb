use super::*;
use crate::sync::Mutex;
use std::collections::HashMap;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(10);

/// A resolver that knows these names. One that it does not know hangs until the end of the test.
#[derive(Clone, Default)]
struct Zone {
    names: Arc<Mutex<HashMap<String, Answer>>>,
}

impl Zone {
    fn set(&self, host: &str, answer: Answer) {
        self.names.lock().insert(host.to_owned(), answer);
    }

    fn lookup(&self, hang: Receiver<()>) -> Lookup {
        let names = Arc::clone(&self.names);
        Lookup::new(move |host| {
            let answer = names.lock().get(host).cloned();
            match answer {
                Some(answer) => answer.map_err(io::Error::other),
                None => {
                    let _ = hang.recv();
                    Err(io::Error::other("given up"))
                }
            }
        })
    }
}

fn addresses(last: &[u8]) -> Answer {
    Ok(last.iter().map(|n| ([10, 0, 0, *n], 0).into()).collect())
}

/// A running thread, what it asks, and what ends the questions that hang.
fn start() -> (Names, JoinHandle<()>, Zone, Sender<()>) {
    let zone = Zone::default();
    let (hanging, hang) = crossbeam_channel::bounded(0);
    let (names, thread) = Names::start(zone.lookup(hang), Arc::default()).unwrap();
    (names, thread, zone, hanging)
}

fn watch(names: &Names, hosts: &[&str]) {
    let watch = || Watch {
        interval: Duration::from_millis(10),
        known: Known::default(),
    };
    names.watch(
        hosts
            .iter()
            .map(|host| ((*host).to_owned(), watch()))
            .collect(),
    );
}

#[test]
fn a_changed_answer_is_news_and_the_same_answer_is_none() {
    let (names, thread, zone, _hanging) = start();
    zone.set("db", addresses(&[1, 2]));
    watch(&names, &["db"]);
    let news = names.news().recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        (&*news.host, Ok(news.change.added)),
        ("db", addresses(&[1, 2]))
    );
    zone.set("db", addresses(&[2, 1]));
    // Another name is answered again and again meanwhile, so this one was too.
    for n in 1..5 {
        zone.set("web", addresses(&[n]));
        watch(&names, &["db", "web"]);
        assert_eq!(names.news().recv_timeout(PATIENCE).unwrap().host, "web");
    }
    zone.set("db", addresses(&[2, 3]));
    let news = names.news().recv_timeout(PATIENCE).unwrap();
    assert_eq!(Ok(news.change.removed), addresses(&[1]));
    drop(names);
    thread.join().unwrap();
}

#[test]
fn names_that_hang_delay_no_other_until_they_take_every_thread() {
    let (names, thread, zone, hanging) = start();
    zone.set("db", addresses(&[1]));
    let hang: Vec<String> = (1..LOOKUPS_AT_ONCE).map(|n| format!("hangs-{n}")).collect();
    let hung = names.ask(hang);
    let answer = names.ask(vec!["db".to_owned()]).recv_timeout(PATIENCE);
    assert_eq!(answer.unwrap(), ("db".to_owned(), addresses(&[1])));
    // With one more, nobody else is asked until one of them gives up.
    let last = names.ask(vec!["hangs-too".to_owned()]);
    let db = names.ask(vec!["db".to_owned()]);
    assert!(hung.is_empty() && last.is_empty());
    hanging.send_timeout((), PATIENCE).unwrap();
    assert_eq!(db.recv_timeout(PATIENCE).unwrap().1, addresses(&[1]));
    drop(names);
    // The thread ends though questions still hang.
    let begin = Instant::now();
    thread.join().unwrap();
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn a_lookup_that_panics_is_a_failure_and_is_tried_again() {
    let lookup = Lookup::new(|_| panic!("a bug, on purpose"));
    let stats = Arc::new(Stats::default());
    let (names, thread) = Names::start(lookup, Arc::clone(&stats)).unwrap();
    watch(&names, &["db"]);
    let news = names.news().recv_timeout(PATIENCE).unwrap();
    assert!(news.known.error.unwrap().contains("panicked"));
    let (_, answer) = names
        .ask(vec!["db".to_owned()])
        .recv_timeout(PATIENCE)
        .unwrap();
    assert!(answer.is_err() && stats.lookups_bad.get() >= 2);
    drop(names);
    thread.join().unwrap();
}
