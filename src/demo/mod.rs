//! `evener demo`: built-in backends to balance over, a way to stop and start them, and a guided tour of
//! what evener does meanwhile.

mod backends;
mod guide;
mod look;

use std::io::{self, BufRead};
use std::sync::Arc;

use crate::config::Config;
use crate::control::Control;
use crate::events::Event;
use crate::log::Log;
use crate::threads;
use backends::Backends;
pub use backends::DemoError;
use guide::Guide;

/// The word that begins the tour.
const GUIDE: &str = "guide";

/// The built-in backends.
#[derive(Debug)]
pub struct Demo {
    backends: Arc<Backends>,
    guided: bool,
}

impl Demo {
    /// Starts a backend at each address of the config's pool. `guided`: the tour begins at once.
    ///
    /// # Errors
    ///
    /// When an address can't be listened on.
    pub fn start(config: &Config, guided: bool) -> Result<Demo, DemoError> {
        let backends = Arc::new(Backends::start(config)?);
        Ok(Demo { backends, guided })
    }

    /// Tells what to try, and where the status page is if there is one, and begins to read commands from
    /// the terminal: a port and Enter stops or starts the backend on it.
    pub fn explain(&self, log: &Log, control: &Arc<Control>, status_page: Option<&str>) {
        let running = control.running.load();
        let listeners = running.listeners.iter().flat_map(|one| &one.addresses);
        let listen = listeners.map(|address| reachable(address)).next();
        let listen = listen.unwrap_or_default();
        let watch = status_page.map_or(String::new(), |address| {
            format!("Watch it in a browser:         {address}\n")
        });
        let text = format!(
            "\nTry it, in another terminal:   curl {listen}   (four times)\n{watch}\
             Have it explained, slowly:     type {GUIDE} here and Enter\n\
             Stop or start a backend:       type its port here ({ports}) and Enter\n\
             See a thread per direction:    ps -L -p {pid} -o tid,comm\n\
             End:                           Ctrl-C\n",
            ports = self.backends.ports(),
            pid = std::process::id()
        );
        if !self.guided {
            log.send(Event::Note { text });
        }
        let commands = Commands {
            backends: Arc::clone(&self.backends),
            control: Arc::clone(control),
            log: log.clone(),
            listen,
        };
        let guided = self.guided;
        // Nobody joins it: it blocks in reading the terminal until the program ends. Without it the
        // demo can still be watched.
        drop(threads::spawn("demo", move || commands.run(guided)));
    }
}

/// An address of a listener as one types it: a wildcard is reached as localhost.
fn reachable(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    match host {
        "" | "0.0.0.0" | "[::]" => format!("localhost:{port}"),
        _ => address.to_string(),
    }
}

/// What the thread that reads the terminal works with.
#[derive(Debug)]
struct Commands {
    backends: Arc<Backends>,
    control: Arc<Control>,
    log: Log,
    /// Where clients connect.
    listen: String,
}

impl Commands {
    fn run(&self, guided: bool) {
        let mut lines = io::stdin().lock().lines();
        if guided {
            self.guide(&mut lines);
        }
        while let Some(Ok(line)) = lines.next() {
            match line.trim() {
                GUIDE => self.guide(&mut lines),
                word => self.toggle(word),
            }
        }
    }

    fn guide(&self, lines: &mut dyn Iterator<Item = io::Result<String>>) {
        let guide = Guide {
            backends: &self.backends,
            control: &self.control,
            log: &self.log,
            listen: &self.listen,
            lines,
        };
        if let Err(error) = guide.run() {
            self.say(format!("(the tour ends here: {error})"));
        }
    }

    fn toggle(&self, word: &str) {
        let toggled = word
            .parse()
            .ok()
            .and_then(|port| self.backends.toggle(port));
        self.say(match toggled {
            None => format!(
                "(type one of {}, or {GUIDE}, and Enter)",
                self.backends.ports()
            ),
            Some(Ok(false)) => {
                format!("(backend {word} stopped; the next health checks will notice)")
            }
            Some(Ok(true)) => format!("(backend {word} started again)"),
            Some(Err(error)) => format!("({error})"),
        });
    }

    fn say(&self, text: String) {
        self.log.send(Event::Note { text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_as_localhost() {
        for (address, typed) in [
            (":8080", "localhost:8080"),
            ("0.0.0.0:80", "localhost:80"),
            ("[::]:80", "localhost:80"),
            ("127.0.0.1:4", "127.0.0.1:4"),
            ("[::1]:4", "[::1]:4"),
        ] {
            assert_eq!(reachable(address), typed);
        }
    }
}
