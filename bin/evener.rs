//! `evener`: parse the arguments, start, wait for signals, exit code. No logic.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use crossbeam_channel::Receiver;
use evener_sys::Signal;

use evener::client;
use evener::config::cli::{self, Command, Source};
use evener::config::{Config, Scheduler};
use evener::demo::Demo;
use evener::events::Event;
use evener::log::Log;
use evener::names::Lookup;
use evener::net::resolve::resolve;
use evener::privileges;
use evener::server::{self, Server, Shutdown, StartError, Surroundings};
use evener::systemd::Manager;
use evener::threads;
use evener::upgrade;

/// As a process killed by SIGINT ends, for a shell.
const FORCED: u8 = 130;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => print(&cli::help()),
        Ok(Command::Version) => print(&format!("{}\n", cli::version())),
        Ok(Command::Check { file }) => match Config::load(&file) {
            Ok(config) => {
                warn(config.warnings());
                warn(server::obstacles(&config));
                print(&format!("{} is valid\n", file.display()))
            }
            Err(errors) => fail(&errors),
        },
        Ok(Command::Run {
            source,
            print_config,
        }) => match source.load() {
            Ok(config) if print_config => print(&config.to_yaml()),
            Ok(config) => {
                warn(config.warnings());
                run(source, config, None)
            }
            Err(errors) => fail(&errors),
        },
        Ok(Command::Demo {
            config,
            print_config: true,
            ..
        }) => print(&config.to_yaml()),
        Ok(Command::Demo {
            config,
            print_config: false,
            guided,
        }) => match Demo::start(&config, guided) {
            Ok(demo) => run(Source::Arguments(config.clone()), *config, Some(demo)),
            Err(error) => fail(&[format!("error: {error}")]),
        },
        Ok(Command::Ask(ask)) => match client::run(&ask, signals) {
            Ok(text) => print(&text),
            Err(error) => fail(&[error]),
        },
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

fn run(source: Source, config: Config, demo: Option<Demo>) -> ExitCode {
    if config.performance.scheduler == Scheduler::Batch {
        // Before the first thread starts, so that all have it. It makes evener faster and nothing
        // else, so where it is refused, evener runs all the same.
        let _ = evener_sys::schedule_as_batch();
    }
    let (heritage, predecessor) = upgrade::inheritance();
    // Before the first thread starts as well: what a thread may not do, no thread that it starts may.
    let confined = match privileges::confine(&config, &source) {
        Ok(confined) => confined,
        Err(error) => return fail(&[format!("error: {error}")]),
    };
    let surroundings = match surroundings(&config) {
        Ok(surroundings) => surroundings,
        Err(error) => return fail(&[format!("error: can't wait for signals: {error}")]),
    };
    let (log, log_thread) = match stdout().and_then(|sink| Log::start(&config.log, sink)) {
        Ok(log) => log,
        Err(error) => return fail(&[format!("error: {}", StartError::Thread(error))]),
    };
    log.report_panics();
    if let Some(confined) = confined {
        log.send(Event::Confined(confined));
    }
    let code = match Server::start(source, config, &log, &surroundings, heritage) {
        Ok(server) => {
            if let Some(demo) = &demo {
                demo.explain(&log, server.control(), server.admin_address());
            }
            match server.run(&surroundings, predecessor) {
                Shutdown::Clean => ExitCode::SUCCESS,
                Shutdown::Forced => ExitCode::from(FORCED),
            }
        }
        Err(StartError::Interrupted) => ExitCode::SUCCESS,
        Err(error) => fail(&[format!("error: {error}")]),
    };
    log_thread.finish();
    code
}

/// Standard output without the buffer of std, which the log has no use for.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Whom the server deals with beside clients and backends. The order matters: signals that a thread waits
/// for are blocked before the first thread starts.
fn surroundings(config: &Config) -> Result<Surroundings, ctrlc::Error> {
    evener_sys::block(&[Signal::User2]).map_err(ctrlc::Error::System)?;
    Ok(Surroundings {
        signals: signals()?,
        upgrades: threads::on_signal("sigusr2", Signal::User2).map_err(ctrlc::Error::System)?,
        reloads: reloads().map_err(ctrlc::Error::System)?,
        manager: Manager::from_environment(),
        lookup: Lookup::new(|host| resolve(host, 0)),
        program: privileges::program(config),
    })
}

/// A message for each SIGINT or SIGTERM. SIGHUP means "reload" to whoever sends it to a service: it is
/// blocked, before the first thread starts, so that it waits for the thread that asks for it. At a
/// terminal it means that the terminal was closed, and ends the program like the others.
fn signals() -> Result<Receiver<()>, ctrlc::Error> {
    if !io::stdin().is_terminal() {
        evener_sys::block(&[Signal::Hangup]).map_err(ctrlc::Error::System)?;
    }
    let (sender, signals) = crossbeam_channel::unbounded();
    ctrlc::set_handler(move || {
        // It fails when the program is at its end anyway.
        let _ = sender.send(());
    })?;
    Ok(signals)
}

/// A message for each SIGHUP, which is blocked for a service; at a terminal there is none.
fn reloads() -> io::Result<Receiver<()>> {
    match io::stdin().is_terminal() {
        true => Ok(crossbeam_channel::never()),
        false => threads::on_signal("hangup", Signal::Hangup),
    }
}

fn warn(warnings: Vec<String>) {
    for warning in warnings {
        complain(&format_args!("warning: {warning}"));
    }
}

fn print(text: &str) -> ExitCode {
    // Whoever closed the pipe has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(errors: &[impl std::fmt::Display]) -> ExitCode {
    for error in errors {
        complain(error);
    }
    ExitCode::from(1)
}

/// One message on stderr. `eprintln!` would panic where nobody takes it any more.
fn complain(what: &impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{what}");
}
