//! What evener and its service manager tell each other: by the environment at the start (sockets
//! that are open already, how often a sign of life is expected), then by datagrams (sd_notify(3)).
//!
//! Written by hand because it is little: no library, no thread of its own, nothing of systemd needed.
//! Without a service manager all of it does nothing.

mod activation;

pub use activation::Inherited;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A service manager that takes nothing for so long is given up, so that it can't hold up a shutdown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Added to the time that a shutdown may take by the config, for the aborts at its end.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// The longest time that is asked for; a drain without a deadline asks for this.
const STOP_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Who started evener and wants to hear of it: systemd, or whoever speaks its protocol. Only read
/// after the start, by any thread.
#[derive(Debug)]
pub struct Manager {
    /// NOTIFY_SOCKET as it was: a path, or `@` and an abstract name.
    socket: Option<OsString>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// As the environment says.
    pub fn from_environment() -> Manager {
        let text = |name| env::var(name).ok();
        Manager {
            socket: env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
            watchdog: watchdog(
                text("WATCHDOG_USEC").as_deref(),
                text("WATCHDOG_PID").as_deref(),
                process::id(),
            ),
        }
    }

    /// How often to call [`Manager::alive`]: twice as often as the manager asks for, which is what
    /// sd_watchdog_enabled(3) recommends. `None`: it asks for nothing.
    pub fn sign_of_life_every(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// evener serves: at the start, and again when a reload is done.
    ///
    /// # Errors
    ///
    /// As for all messages: those of socket(2) and sendto(2). Nobody to tell is no error.
    pub fn ready(&self) -> io::Result<()> {
        self.tell("READY=1\nSTATUS=serving")
    }

    /// A reload begins; [`Manager::ready`] must follow, whether it succeeds or not.
    ///
    /// # Errors
    ///
    /// As [`Manager::ready`].
    pub fn reloading(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds =
            now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"
        ))
    }

    /// The shutdown begins and may take so long, `None` being for ever. The manager learns it from
    /// here, so that its own patience (TimeoutStopSec=) need not repeat what the config says.
    ///
    /// # Errors
    ///
    /// As [`Manager::ready`].
    pub fn stopping(&self, longest: Option<Duration>) -> io::Result<()> {
        let longest = longest.map_or(STOP_MAX, |time| {
            time.saturating_add(STOP_SLACK).min(STOP_MAX)
        });
        let microseconds = longest.as_micros();
        self.tell(&format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={microseconds}\nSTATUS=draining"
        ))
    }

    /// A line for people, in the output of `systemctl status`.
    ///
    /// # Errors
    ///
    /// As [`Manager::ready`].
    pub fn status(&self, line: &str) -> io::Result<()> {
        // A newline would begin another variable.
        self.tell(&format!("STATUS={}", line.replace('\n', " ")))
    }

    /// evener is alive; see [`Manager::sign_of_life_every`].
    ///
    /// # Errors
    ///
    /// As [`Manager::ready`].
    pub fn alive(&self) -> io::Result<()> {
        self.tell("WATCHDOG=1")
    }

    /// From now on the service is this process.
    ///
    /// # Errors
    ///
    /// As [`Manager::ready`].
    pub fn main_process(&self, id: u32) -> io::Result<()> {
        self.tell(&format!("MAINPID={id}\nSTATUS=serving"))
    }

    /// Sends one message. The socket lives for that long: messages are rare, and a manager that was
    /// restarted has a new one at the same place.
    fn tell(&self, message: &str) -> io::Result<()> {
        let Some(name) = &self.socket else {
            return Ok(());
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.send_to_addr(message.as_bytes(), &address(name)?)?;
        Ok(())
    }
}

/// Where NOTIFY_SOCKET points to.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "NOTIFY_SOCKET is neither a path nor an abstract name",
        )),
    }
}

/// How long the manager waits between two signs of life of process `own`, as the two variables say.
fn watchdog(microseconds: Option<&str>, of: Option<&str>, own: u32) -> Option<Duration> {
    if of.is_some_and(|of| of.parse() != Ok(own)) {
        return None;
    }
    let limit = Duration::from_micros(microseconds?.parse().ok()?);
    (!limit.is_zero()).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service manager's end, and a `Manager` that speaks to it.
    fn pair(name: &str) -> (UnixDatagram, Manager) {
        let socket = UnixDatagram::bind_addr(&address(OsStr::new(name)).unwrap()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let manager = Manager {
            socket: Some(name.into()),
            watchdog: None,
        };
        (socket, manager)
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn messages_reach_an_abstract_name() {
        let (socket, manager) = pair(&format!("@evener-test-{}", process::id()));
        manager.ready().unwrap();
        assert_eq!(received(&socket), "READY=1\nSTATUS=serving");
        manager.alive().unwrap();
        assert_eq!(received(&socket), "WATCHDOG=1");
        manager.status("two\nlines").unwrap();
        assert_eq!(received(&socket), "STATUS=two lines");
        manager.main_process(7).unwrap();
        assert_eq!(received(&socket), "MAINPID=7\nSTATUS=serving");
    }

    #[test]
    fn messages_reach_a_path() {
        let path = env::temp_dir().join(format!("evener-notify-{}", process::id()));
        let (socket, manager) = pair(path.to_str().unwrap());
        manager.stopping(Some(Duration::from_secs(25))).unwrap();
        let message = received(&socket);
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            message,
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=35000000\nSTATUS=draining"
        );
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let (socket, manager) = pair(&format!("@evener-test-reload-{}", process::id()));
        manager.reloading().unwrap();
        let message = received(&socket);
        let since_boot = std::fs::read_to_string("/proc/uptime").unwrap();
        let since_boot: f64 = since_boot.split(' ').next().unwrap().parse().unwrap();
        let told = message
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let told: f64 = told.unwrap().parse().unwrap();
        assert!(message.starts_with("RELOADING=1\n"), "{message}");
        assert!((since_boot - told / 1e6).abs() < 60.0, "{message}");
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_nothing_fails() {
        let nobody = Manager {
            socket: None,
            watchdog: None,
        };
        nobody.ready().unwrap();
        let gone = Manager {
            socket: Some("/nowhere/at/all".into()),
            watchdog: None,
        };
        assert_eq!(gone.ready().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(address(OsStr::new("vsock:1:2")).is_err());
    }

    #[test]
    fn the_watchdog_is_for_this_process_only() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some("1000000"), Some("5"), 5), second);
        assert_eq!(watchdog(Some("1000000"), None, 5), second);
        assert_eq!(watchdog(Some("1000000"), Some("6"), 5), None);
        assert_eq!(watchdog(Some("1000000"), Some("x"), 5), None);
        assert_eq!(watchdog(Some("0"), None, 5), None);
        assert_eq!(watchdog(Some("often"), None, 5), None);
        assert_eq!(watchdog(None, None, 5), None);
    }
}
