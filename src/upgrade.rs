//! A new version takes over from a running one, and no client notices: on SIGUSR2 the running process
//! starts its program anew, which may be another file by now, and passes its listening sockets on. The
//! new one says over a pipe that it serves; only then does the old one stop accepting, and drains.
//!
//! The sockets are the same ones in both, so a client that waits in a backlog is accepted by one or by
//! the other. SO_REUSEPORT would give each process a backlog of its own, and lose what waits in that
//! of the old one. If the new one fails, nothing has happened. What was asked for at run time goes along, so
//! that a backend which was drained by hand stays drained.
//!
//! ```text
//!   old process                                            new process
//!
//!   serves ── SIGUSR2 ──▶ starts it ── sockets, a pipe ──▶ reads its config, takes the sockets
//!     ▲                      │ goes on serving             probes every backend once
//!     │                      ▼                                │
//!     │                   waits for the word ◀──── 'R' ────── serves
//!     │ it ended without,    │
//!     └─ or a minute is over │ the word
//!                            ▼
//!                         stops accepting, drains, ends
//! ```
//!
//! The main thread starts the new process; a thread that lives for as long as that takes waits for its
//! word.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::{self, Child, Command};
use std::time::Duration;

use evener_sys::take_inherited;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, getppid, kill_process};

use crate::systemd::{Heritage, Inherited};

/// What the new process finds its inheritance by: the old one's id, the number of the pipe, those of
/// the sockets. Not LISTEN_FDS, whose numbers have to be 3 and up, which are taken, and which must
/// name the new process before it exists.
const VARIABLE: &str = "EVENER_UPGRADE";

/// Where the new process finds what was asked for at run time: the old one's id, and the number of a file in
/// memory. A variable of its own, which an older version passes over.
const ORDERS_VARIABLE: &str = "EVENER_UPGRADE_ORDERS";

/// The longest such file that is read, bytes: some 100,000 orders.
const ORDERS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a service manager has told the old process and is not true of the new one.
const NOT_FOR_THE_NEW: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How long the new process may take until it serves: its first round of probes is the longest part.
const PATIENCE: Duration = Duration::from_secs(60);

/// The word that the new process serves.
const READY: u8 = b'R';

/// How this process was started, as the next one will be.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Of this process. A path on the command line is kept as it is: a new version is another file
    /// there, or behind a link there.
    ///
    /// # Errors
    ///
    /// When the program was found by its name alone, and the system does not say where.
    pub fn of_this_process() -> io::Result<Program> {
        let mut arguments = env::args_os();
        let as_written = PathBuf::from(arguments.next().unwrap_or_default());
        let path = match as_written.components().count() {
            0 | 1 => env::current_exe()?,
            _ => env::current_dir()?.join(as_written),
        };
        Ok(Program {
            path,
            arguments: arguments.collect(),
        })
    }

    /// Starts it and passes these sockets on, which must not close when a program is started, and `orders`
    /// that the new process is to find in its [`Heritage`].
    ///
    /// # Errors
    ///
    /// There is no such program, or no descriptor or memory left.
    pub fn start(&self, sockets: Vec<OwnedFd>, orders: Option<&str>) -> io::Result<Successor> {
        let (word, tell) = io::pipe()?;
        // Without FD_CLOEXEC. Nothing else in this process starts programs, so nobody else gets it.
        let passed_on = rustix::io::dup(&tell)?;
        drop(tell);
        let numbers = [&passed_on].into_iter().chain(&sockets);
        let numbers: Vec<String> = numbers.map(|fd| fd.as_raw_fd().to_string()).collect();
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(VARIABLE, format!("{}:{}", process::id(), numbers.join(",")));
        let orders = orders.map(in_memory).transpose()?;
        match &orders {
            Some(file) => command.env(
                ORDERS_VARIABLE,
                format!("{}:{}", process::id(), file.as_raw_fd()),
            ),
            None => command.env_remove(ORDERS_VARIABLE),
        };
        for variable in NOT_FOR_THE_NEW {
            command.env_remove(variable);
        }
        let child = command.spawn()?;
        // `passed_on` and `sockets` close here: an end of the pipe in our own hands would hide from us
        // that the new process has ended.
        Ok(Successor { child, word })
    }
}

/// A file in memory that has this text and is open in a program that is started, too.
fn in_memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("evener-orders", MemfdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// A new process that has been started and does not serve yet.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    word: PipeReader,
}

impl Successor {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its word that it serves, and gives its process id.
    ///
    /// # Errors
    ///
    /// It ended instead, and has said why where evener's errors go; or it took too long and was killed.
    pub fn wait(mut self) -> Result<u32, String> {
        let mut word = [PollFd::new(&self.word, PollFlags::IN)];
        let patience = Timespec::try_from(PATIENCE).ok();
        let in_time = poll(&mut word, patience.as_ref()).is_ok_and(|ready| ready > 0);
        let mut word = [0];
        if in_time && self.word.read(&mut word).is_ok_and(|_| word == [READY]) {
            return Ok(self.id());
        }
        // It fails only if it has ended.
        let _ = self.child.kill();
        let status = self.child.wait();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(if in_time {
            format!("it ended before it served ({status}); its own errors are on stderr")
        } else {
            format!(
                "it did not serve within {} s and was killed",
                PATIENCE.as_secs()
            )
        })
    }
}

/// Stops a process that this one has started, as SIGTERM does.
pub fn stop(id: u32) {
    signal(id, Signal::TERM);
}

/// Has a process that this one has started read its config again, as SIGHUP does.
pub fn reload(id: u32) {
    signal(id, Signal::HUP);
}

fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    // It fails only if the process has ended.
    let _ = id.map(|id| kill_process(id, signal));
}

/// The process that this one takes over from, if there is one, until it has been told.
#[derive(Debug)]
pub struct Predecessor {
    tell: PipeWriter,
}

impl Predecessor {
    /// Tells it that this process serves.
    ///
    /// # Errors
    ///
    /// It was stopped meanwhile; so whoever stopped it wants this one to stop as well.
    pub fn relieve(mut self) -> io::Result<()> {
        self.tell.write_all(&[READY])
    }
}

/// What this process was started with, by a service manager or by a predecessor.
pub fn inheritance() -> (Heritage, Option<Predecessor>) {
    let parent = getppid().map(|id| id.as_raw_nonzero().get());
    let left_in = |variable| numbers(&env::var(variable).ok()?, parent);
    let Some(numbers) = left_in(VARIABLE) else {
        let heritage = Heritage {
            sockets: Inherited::from_environment(),
            ..Heritage::default()
        };
        return (heritage, None);
    };
    let of_orders = left_in(ORDERS_VARIABLE).unwrap_or_default();
    let of_orders = of_orders.get(..1).unwrap_or_default();
    // All at once: it can be done once only.
    let mut taken = take_inherited(&[of_orders, numbers.as_slice()].concat()).into_iter();
    let orders = of_orders.first().and_then(|_| taken.next());
    let predecessor = taken.next().and_then(Result::ok).map(|tell| Predecessor {
        tell: PipeWriter::from(tell),
    });
    let sockets = numbers.iter().skip(1).zip(taken);
    let sockets = sockets.map(|(number, taken)| (format!("descriptor {number}"), taken));
    let heritage = Heritage {
        sockets: Inherited::of(sockets),
        takes_over: true,
        orders: orders.and_then(|file| text_of(file.ok()?)),
    };
    (heritage, predecessor)
}

fn text_of(file: OwnedFd) -> Option<String> {
    let mut text = String::new();
    let read = File::from(file)
        .take(ORDERS_BYTES_MAX)
        .read_to_string(&mut text);
    read.is_ok().then_some(text)
}

/// The descriptors that process `parent` has left open for its child.
fn numbers(text: &str, parent: Option<i32>) -> Option<Vec<RawFd>> {
    let (of, numbers) = text.split_once(':')?;
    if of.parse() != Ok(parent?) {
        return None;
    }
    numbers
        .split(',')
        .map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inheritance_is_for_the_child_of_the_one_who_left_it() {
        assert_eq!(numbers("7:12,13,14", Some(7)), Some(vec![12, 13, 14]));
        assert_eq!(numbers("7:12", Some(8)), None);
        assert_eq!(numbers("7:12", None), None);
        assert_eq!(numbers("7:", Some(7)), None);
        assert_eq!(numbers("7:12,x", Some(7)), None);
        assert_eq!(numbers("12", Some(7)), None);
    }

    fn program(path: &str, arguments: &[&str]) -> Program {
        Program {
            path: path.into(),
            arguments: arguments.iter().map(Into::into).collect(),
        }
    }

    #[test]
    fn a_program_that_ends_or_is_not_there_has_not_taken_over() {
        let gone = program("/nowhere/evener", &[]).start(Vec::new(), None);
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
        let ended = program("/bin/sh", &["-c", "exit 3"]).start(Vec::new(), None);
        let error = ended.unwrap().wait().unwrap_err();
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_word_comes_through_the_pipe_that_is_named_first() {
        // Not `>&$number`: a small shell reads one digit there, and the other tests have descriptors, too.
        let script = "number=${EVENER_UPGRADE#*:}; printf R >/proc/self/fd/$number";
        let successor = program("/bin/sh", &["-c", script])
            .start(Vec::new(), None)
            .unwrap();
        let id = successor.id();
        assert_eq!(successor.wait(), Ok(id));
    }

    #[test]
    fn orders_are_read_where_the_variable_says() {
        let script = "test \"$(cat /proc/self/fd/${EVENER_UPGRADE_ORDERS#*:})\" = 'drain a' && \
                      printf R >/proc/self/fd/${EVENER_UPGRADE#*:}";
        let successor = program("/bin/sh", &["-c", script])
            .start(Vec::new(), Some("drain a"))
            .unwrap();
        let id = successor.id();
        assert_eq!(successor.wait(), Ok(id));
    }
}
