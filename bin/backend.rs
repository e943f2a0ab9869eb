//! `backend PORT`: the dummy backend as a program. See [`evener::dummy`] for what it does; here are
//! only its command line, its two messages and its end.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use evener::dummy::{Backend, Behaviour, Options};
use lexopt::ValueExt;

const HELP: &str = "\
A dummy backend: answers HTTP with a greeting, or misbehaves in one chosen way.

Usage: backend PORT [OPTIONS]

  PORT             port to listen on; 0 lets the system choose one
  --bind IP        address to listen on [default: 127.0.0.1]
  --name NAME      text instead of the port in the greeting
  --banner TEXT    send this line first, before anything is read
  --proxy          expect a PROXY header (v1 or v2), name the client in the greeting
  --status CODE    answer HTTP with this error, 400 to 599, instead of 200
  --delay TIME     wait before each answer, for example 200ms
  --echo           send every byte back instead of speaking HTTP
  --reset          accept, then reset the connection (RST)
  --close          accept, then close the connection cleanly (FIN)
  --hang           accept and read, but never answer
  -h, --help       print this
  -V, --version    print the version

SIGINT and SIGTERM end it with exit code 0. Exit code 1: it can't listen there; 2: bad arguments.
";

/// What the command line asks for.
enum Command {
    Run(Options),
    Print(String),
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Print(text)) => {
            say(text);
            return ExitCode::SUCCESS;
        }
        Err(what) => return fail(2, format_args!("{what}, try backend --help")),
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => fail(1, what),
    }
}

/// Serves until a signal comes.
fn run(options: Options) -> Result<(), String> {
    // Before the first line is printed: whoever has seen it may send a signal.
    let (signal_in, signal_out) = crossbeam_channel::bounded(1);
    ctrlc::set_handler(move || {
        // Full means that a signal is on its way already.
        let _ = signal_in.try_send(());
    })
    .map_err(|error| format!("can't handle signals: {error}"))?;

    let wanted = SocketAddr::new(options.bind, options.port);
    let backend = Backend::start(options).map_err(|error| cannot_listen(wanted, &error))?;
    say(format_args!(
        "Backend Server started on port: {}\n",
        backend.address().port()
    ));
    // The handler lives as long as the process, so this never finds the channel closed.
    let _ = signal_out.recv();
    Ok(())
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let why_and_what_to_try = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "address in use by another program, try another port, or find that program with \
             ss -ltnp 'sport = :{}'",
            address.port()
        ),
        ErrorKind::PermissionDenied => {
            "permission denied, try a port above 1023 or run it as root".into()
        }
        ErrorKind::AddrNotAvailable => {
            "no network interface has this address, try --bind 127.0.0.1".into()
        }
        _ => format!("{error}, try another address or port"),
    };
    format!("can't listen on {address}: {why_and_what_to_try}")
}

/// Reads the command line. The error is a message without its `try backend --help`.
fn parse(mut arguments: lexopt::Parser) -> Result<Command, String> {
    use lexopt::prelude::{Long, Short, Value};

    let mut options = Options::default();
    let mut port = None;
    let mut behaviour: Option<(Behaviour, &str)> = None;
    while let Some(argument) = arguments.next().map_err(|error| error.to_string())? {
        match argument {
            Long("bind") => {
                options.bind = value(&mut arguments, "--bind", "an IP address", |text| {
                    text.parse::<IpAddr>().ok()
                })?;
            }
            Long("name") => options.name = Some(text(&mut arguments, "--name")?),
            Long("proxy") => options.proxy_header = true,
            Long("banner") => options.banner = Some(text(&mut arguments, "--banner")?),
            Long("status") => {
                options.status = value(
                    &mut arguments,
                    "--status",
                    "an error from 400 to 599",
                    |text| {
                        text.parse()
                            .ok()
                            .filter(|status| (400..600).contains(status))
                    },
                )?;
            }
            Long("delay") => {
                options.delay = value(&mut arguments, "--delay", "a time such as 200ms", |text| {
                    humantime::parse_duration(text).ok()
                })?;
            }
            Long(flag @ ("echo" | "reset" | "close" | "hang")) => {
                let (new, flag) = match flag {
                    "echo" => (Behaviour::Echo, "--echo"),
                    "reset" => (Behaviour::Reset, "--reset"),
                    "close" => (Behaviour::Close, "--close"),
                    _ => (Behaviour::Hang, "--hang"),
                };
                if let Some((old, old_flag)) = behaviour
                    && old != new
                {
                    return Err(format!("{old_flag} and {flag} can't go together"));
                }
                behaviour = Some((new, flag));
            }
            Short('h') | Long("help") => return Ok(Command::Print(HELP.into())),
            Short('V') | Long("version") => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Command::Print(format!("backend (evener) {version}\n")));
            }
            Value(word) if port.is_none() => port = Some(parse_port(word)?),
            other => return Err(other.unexpected().to_string()),
        }
    }
    options.port = port.ok_or("PORT is missing")?;
    options.behaviour = behaviour.map_or(Behaviour::Http, |(behaviour, _)| behaviour);
    Ok(Command::Run(options))
}

fn parse_port(word: OsString) -> Result<u16, String> {
    word.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("PORT must be a number from 0 to 65535, not {word:?}"))
}

/// The text that follows the option `name`.
fn text(arguments: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    arguments
        .value()
        .and_then(|value| value.string())
        .map_err(|error| format!("{name}: {error}"))
}

/// The value that follows the option `name`, which must be `what`.
fn value<T>(
    arguments: &mut lexopt::Parser,
    name: &str,
    what: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, String> {
    let text = text(arguments, name)?;
    parse(&text).ok_or_else(|| format!("{name} must be {what}, not {text:?}"))
}

/// Writes to stdout. `print!` would panic where nobody reads it any more.
fn say(text: impl Display) {
    let _ = write!(io::stdout(), "{text}");
}

fn fail(code: u8, what: impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {what}");
    ExitCode::from(code)
}
