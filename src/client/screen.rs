//! The terminal that `top` draws on: its second screen, without echo, restored however it ends.

use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::ClientError;
use super::http::Server;
use super::top::{self, Size, Snapshot};
use crate::threads;

/// From one page to the next.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

/// Second screen, no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where the terminal does not say how large it is.
const SIZE: Size = (80, 24);

/// Draws a page each second until `quit` says so, or `q` is pressed.
///
/// # Errors
///
/// When nobody answers at the beginning, or the terminal does not take what is drawn. Who stops
/// answering later may come back.
pub(super) fn run(server: &Server, quit: &Receiver<()>) -> Result<String, ClientError> {
    let mut before = None;
    let mut now = Snapshot::take(server)?;
    let mut trouble = None;
    let screen = Screen::enter();
    let keys = keys();
    loop {
        let drawn = screen.draw(before.as_ref(), &now, trouble.as_ref());
        if let Err(error) = drawn {
            drop(screen);
            let what = format!("can't draw on the terminal: {error}");
            return Err(ClientError::new(what, ""));
        }
        select! {
            recv(quit) -> _ => return Ok(String::new()),
            recv(keys) -> _ => return Ok(String::new()),
            default(REDRAW_EVERY) => {}
        }
        trouble = match Snapshot::take(server) {
            Ok(next) => {
                before = Some(std::mem::replace(&mut now, next));
                None
            }
            Err(error) => Some(error),
        };
    }
}

/// A message, or the end, when `q` is pressed. The thread ends with the process.
fn keys() -> Receiver<()> {
    if !io::stdin().is_terminal() {
        return never();
    }
    let (sender, keys) = bounded(1);
    let read = move || {
        let _pressed: Sender<()> = sender;
        let mut key = [0];
        while io::stdin().read(&mut key).is_ok_and(|count| count == 1) && key != *b"q" {}
    };
    // Without this thread, Ctrl-C is the way out.
    match threads::spawn("keys", read) {
        Ok(_) => keys,
        Err(_) => never(),
    }
}

/// The terminal while it is ours; dropping it gives it back as it was.
struct Screen {
    /// How the keyboard was set; `None` when it is no terminal.
    keyboard: Option<Termios>,
}

impl Screen {
    fn enter() -> Screen {
        let keyboard = tcgetattr(io::stdin()).ok();
        if let Some(keyboard) = &keyboard {
            let mut quiet = keyboard.clone();
            // Keys come at once and are not shown; Ctrl-C stays what it is.
            quiet.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &quiet);
        }
        let _ = write_out(ENTER);
        Screen { keyboard }
    }

    /// Draws one page over the last one, so that nothing flickers.
    fn draw(
        &self,
        before: Option<&Snapshot>,
        now: &Snapshot,
        trouble: Option<&ClientError>,
    ) -> io::Result<()> {
        let (columns, lines) = size();
        let text = match trouble {
            Some(error) => {
                format!("{error}\n\n(it is asked again each second; q or Ctrl-C ends this)\n")
            }
            None => top::render(before, now, Some((columns, lines))),
        };
        let mut page = String::from("\x1b[H");
        for (index, line) in text.lines().take(lines).enumerate() {
            if index > 0 {
                page.push('\n');
            }
            // Cleared first: behind a full line, the clearing would take its last character.
            page.push_str("\x1b[K");
            page.extend(line.chars().take(columns));
        }
        page.push_str("\x1b[J");
        write_out(&page)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write_out(LEAVE);
        if let Some(keyboard) = &self.keyboard {
            // Keys that were pressed meanwhile are not for the shell.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, keyboard);
        }
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn size() -> Size {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => SIZE,
    }
}
