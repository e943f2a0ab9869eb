//! The guided tour of the demo: a client comes, asks, leaves; a backend dies and comes back; and at each
//! step the tour tells what evener does and shows what the kernel says of it.
//!
//! Nothing is played: the tour is a client like any other, stops a backend of the demo, and waits until
//! that has the effect that it tells of.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::backends::Backends;
use super::look::{ids_of_session, is_of_session, names, threads};
use crate::control::Control;
use crate::events::Event;
use crate::log::Log;
use crate::net::stream::{Stream, Timed};
use crate::policy::address::Address;
use crate::policy::health::Health;

/// How long the tour waits for what it has told to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// From one look to the next while it waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n";
const LAST_QUESTION: &[u8] = b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n";

/// The tour.
pub(super) struct Guide<'a> {
    /// The backends, one of which is stopped.
    pub(super) backends: &'a Backends,
    /// What is running.
    pub(super) control: &'a Control,
    /// Where the tour speaks, so that what it tells stands in order with what happens.
    pub(super) log: &'a Log,
    /// Where clients connect.
    pub(super) listen: &'a str,
    /// Enter goes on. At the end of it the tour goes on by itself.
    pub(super) lines: &'a mut dyn Iterator<Item = io::Result<String>>,
}

impl Guide<'_> {
    /// From the first scene to the last.
    ///
    /// # Errors
    ///
    /// A connection fails, or what is waited for does not come: somebody plays with the demo as well.
    pub(super) fn run(mut self) -> io::Result<()> {
        self.at_rest();
        self.a_client()?;
        self.in_turn()?;
        self.a_backend_dies()?;
        self.it_comes_back()?;
        self.farewell();
        Ok(())
    }

    fn at_rest(&mut self) {
        let pid = process::id();
        self.scene(
            "1. Nothing happens",
            &format!(
                "{}\n\
                 None of these threads runs: each is asleep in the kernel, in a call that returns when there\n\
                 is something to do. Look, in another terminal:\n\n    \
                 ps -L -p {pid} -o tid,comm,wchan:24     where in the kernel each of them sleeps\n    \
                 top -H -p {pid}                         that none of them takes time",
                threads(|_| true)
            ),
        );
    }

    fn a_client(&mut self) -> io::Result<()> {
        let client = self.connect()?;
        self.wait("the two threads of a session", |_| {
            let names = names();
            let of_session = |sign| names.iter().any(|(_, name)| is_of_session(name, sign));
            of_session('>') && of_session('<')
        })?;
        let (first, second) = ids_of_session();
        self.scene(
            "2. A client connects, and says nothing",
            &format!(
                "{}\n\
                 The tour has connected to {}. Two threads that were parked belong to it now: c1>…\n\
                 reads what the client says and writes it to the backend, c1<… the other way. Both sleep\n\
                 in recv(2), and the scheduler of Linux does the rest: there is no event loop here.\n\
                 (src/session/mod.rs tells a session's life from top to bottom.)\n\n    \
                 sudo strace -p {first} -p {second}         now, and leave it running for the next scene\n    \
                 sudo gdb -p {} -batch -ex 'thread apply all bt 3'",
                threads(|name| is_of_session(name, '>') || is_of_session(name, '<')),
                self.listen,
                process::id(),
            ),
        );
        let answer = ask(&client, QUESTION)?;
        self.scene(
            "3. It asks, and is answered",
            &format!(
                "The answer was: {answer}\n\
                 strace has shown one recvfrom and one sendto of each thread. After a short message a thread\n\
                 looks for the next one for some microseconds (sched_yield, recvfrom) before it goes to\n\
                 sleep: src/net/busy_poll.rs. The client closes its connection when you go on."
            ),
        );
        drop(client);
        self.nobody_is_there()?;
        self.wait("the threads to park", |_| {
            let busy = |name: &str| is_of_session(name, '>') || is_of_session(name, '<');
            !names().iter().any(|(_, name)| busy(name))
        })?;
        self.scene(
            "4. It has left",
            &format!(
                "{}\n\
                 The line above says why the session has ended, and what it took. Its two threads are parked\n\
                 again: a new thread for each connection would halve the rate of connections. The one that\n\
                 parked last is taken first, since its stack is still in the processor's cache\n\
                 (src/threads/mod.rs; examples/10_parked_threads.rs).",
                threads(|name| name == "parked")
            ),
        );
        Ok(())
    }

    fn in_turn(&mut self) -> io::Result<()> {
        let answers = self.ask(6)?;
        self.scene(
            "5. Six clients",
            &format!(
                "They were answered by: {}\n\
                 Each in turn. Many session threads draw their turns from one counter without a lock: one\n\
                 fetch_add, so that no two get the same (src/sync, \"Ticket\"; examples/04_round_robin_ticket.rs\n\
                 shows what happens with load and store). Who can be chosen at all is a list behind an\n\
                 RwLock: threads that choose read it together, the health thread replaces it as a whole.",
                answers.join(", ")
            ),
        );
        Ok(())
    }

    fn a_backend_dies(&mut self) -> io::Result<()> {
        let Some(victim) = self.backends.addresses().get(1).copied() else {
            return Ok(());
        };
        let retries = self.control.stats.retries.get();
        self.backends.stop(victim);
        let mut answers = Vec::new();
        // One round of all, of whom one is dead.
        let all = self.backends.addresses().len();
        while answers.len() < 2 * all && self.control.stats.retries.get() == retries {
            answers.append(&mut self.ask(1)?);
        }
        self.scene(
            "6. A backend dies",
            &format!(
                "{victim} was stopped just now, and the clients after that were answered by: {}\n\
                 Nobody saw an error. If a session got the dead one, its thread was told \"connection\n\
                 refused\" and took the next one at once: the line above has attempts=2 and failed=…",
                answers.join(", ")
            ),
        );
        self.wait("the health thread to notice", |guide| {
            guide.health(victim) == Some(Health::Down)
        })?;
        self.scene(
            "7. The health thread has noticed",
            "Probes that fail in a row make a server DOWN: the line above. The health thread has written\n\
             that down behind a lock of the backend, and published a list without it: session threads\n\
             that choose now wait for nobody, they see the old list or the new one, never a half\n\
             (src/pool, src/sync, \"Published\"; examples/05_liveness_rwlock.rs). The line itself went over a\n\
             crossbeam channel to the log thread, so that a slow terminal holds up no probe.",
        );
        Ok(())
    }

    fn it_comes_back(&mut self) -> io::Result<()> {
        self.backends.start_all().map_err(io::Error::other)?;
        let addresses = self.backends.addresses();
        self.wait("the health thread to find all of them up", |guide| {
            let is_up = |one: &SocketAddr| guide.health(*one) == Some(Health::Up);
            addresses.iter().all(is_up)
        })?;
        let answers = self.ask(6)?;
        self.scene(
            "8. It is back",
            &format!(
                "Good probes in a row, and it has its share again: {}",
                answers.join(", ")
            ),
        );
        Ok(())
    }

    fn farewell(&self) {
        let text = "\
            \nThat was the tour. Go on with\n\n    \
            evener explain default                  who would get the next client, and why\n    \
            evener drain BACKEND; evener status     take one out, and look\n    \
            perf trace -p PID -s                    the system calls of each thread, counted\n    \
            examples/01_one_connection.rs           the course: twelve steps to this program\n    \
            cargo doc --open                        the source as a book\n\n\
            Ctrl-C ends the demo; watch how it waits for its clients.\n";
        self.say(text.to_string());
    }

    // --- what scenes are made of ---

    fn say(&self, text: String) {
        self.log.send(Event::Note { text });
    }

    /// Tells a scene and waits for Enter, as long as there is somebody who could press it.
    fn scene(&mut self, title: &str, text: &str) {
        self.say(format!("\n--- {title} ---\n\n{text}\n\n(Enter goes on)"));
        let _ = self.lines.next();
    }

    /// Waits until it is so.
    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            if Instant::now() >= deadline {
                let what = format!("waited {} s for {what}", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Stream> {
        // As the demo is told where to listen; "localhost" is what is written for every address.
        let address = self.listen.replace("localhost", "127.0.0.1").parse();
        let address: SocketAddr = address.map_err(io::Error::other)?;
        Stream::connect(address, PATIENCE)
    }

    /// So many clients, one after the other; what each was told, in few words.
    fn ask(&self, clients: usize) -> io::Result<Vec<String>> {
        let answers = (0..clients)
            .map(|_| {
                let client = self.connect()?;
                let answer = ask(&client, LAST_QUESTION)?;
                let name = answer.rsplit(": ").next().unwrap_or_default();
                Ok(name.to_string())
            })
            .collect();
        self.nobody_is_there()?;
        answers
    }

    /// Waits until all sessions have ended, and have had their lines in the log.
    fn nobody_is_there(&self) -> io::Result<()> {
        self.wait("the end of the sessions", |guide| {
            guide.control.process_gate.occupancy().0 == 0
        })
    }

    fn health(&self, address: SocketAddr) -> Option<Health> {
        let running = self.control.running.load();
        let mut backends = running.pools.iter().flat_map(|pool| &pool.backends);
        let backend = backends.find(|backend| backend.address == Address::Ip(address));
        backend.map(|backend| backend.health())
    }
}

/// Sends a question and gives the text of the answer.
fn ask(client: &Stream, question: &[u8]) -> io::Result<String> {
    let mut client = Timed::new(client, Instant::now() + PATIENCE);
    client.write_all(question)?;
    read_answer(&mut BufReader::new(client))
}

/// Reads one answer and gives its text.
fn read_answer(from: &mut impl BufRead) -> io::Result<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
    }
    let mut text = String::new();
    from.take(length).read_to_string(&mut text)?;
    Ok(text.trim_end().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tour_points_to_is_there() {
        let words = include_str!("guide.rs").split([' ', '(', ')', ';', ',', '\\', '\n']);
        let paths = words.filter(|word| word.starts_with("src/") || word.starts_with("examples/"));
        let paths: Vec<&str> = paths
            .map(|path| path.trim_end_matches(['.', ':']))
            .collect();
        assert!(paths.len() > 6, "{paths:?}");
        for path in paths {
            let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(there.exists(), "{path}");
        }
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let mut bytes = &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd"[..];
        assert_eq!(read_answer(&mut bytes).unwrap(), "abc");
        assert!(read_answer(&mut &b"HTTP/1.1 200 OK\r\n"[..]).is_err());
    }
}
