//! A [`Config`] as YAML that loads again to an equal one: `--print-config`. Every key is written,
//! defaults included, so that the text says all there is to say.

use super::confinement::write_confinement;
use super::outlier;
use super::socket;
use super::value::share_text;
use super::{Admin, Agent, Backend, Config, Listener, Pool};
use crate::policy::proxy_protocol::Version;
use std::fmt::{self, Write};
use std::time::Duration;

impl Config {
    /// The config as YAML text that [`Config::from_yaml`] reads to an equal config.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        // Writing to a String can't fail.
        let _ = write_config(&mut out, self);
        out
    }
}

fn write_config(out: &mut String, config: &Config) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    writeln!(
        out,
        "# The effective configuration of evener {version}, defaults included."
    )?;
    writeln!(out, "listeners:")?;
    for listener in &config.listeners {
        write_listener(out, listener)?;
    }
    writeln!(out, "pools:")?;
    for pool in &config.pools {
        write_pool(out, pool)?;
    }
    let (timeouts, shutdown) = (&config.timeouts, &config.shutdown);
    writeln!(out, "timeouts:")?;
    writeln!(out, "  connect: {}", time(timeouts.connect))?;
    writeln!(out, "  idle: {}", time_or_off(timeouts.idle))?;
    writeln!(out, "  half_close: {}", time_or_off(timeouts.half_close))?;
    writeln!(out, "  queue: {}", time_or_off(timeouts.queue))?;
    let max_lifetime = time_or_off(timeouts.max_lifetime);
    writeln!(out, "  max_lifetime: {max_lifetime}")?;
    writeln!(out, "shutdown:")?;
    writeln!(out, "  pre_stop_delay: {}", time(shutdown.pre_stop_delay))?;
    writeln!(
        out,
        "  drain_timeout: {}",
        time_or_off(shutdown.drain_timeout)
    )?;
    write_admin(out, config.admin.as_ref())?;
    writeln!(out, "log:")?;
    writeln!(out, "  format: {}", config.log.format.word())?;
    writeln!(out, "  level: {}", config.log.level.word())?;
    writeln!(out, "  connections: {}", config.log.connections)?;
    let progress = time_or_off(config.log.progress_interval);
    writeln!(out, "  progress_interval: {progress}")?;
    writeln!(out, "limits:")?;
    writeln!(
        out,
        "  max_connections: {}",
        number_or(config.limits.max_connections, "auto")
    )?;
    writeln!(out, "performance:")?;
    writeln!(out, "  relay: {}", config.performance.relay.word())?;
    writeln!(out, "  busy_poll: {}", config.performance.busy_poll.word())?;
    writeln!(out, "  scheduler: {}", config.performance.scheduler.word())?;
    write_confinement(out, &config.confinement)
}

/// The default address is a comment: written as a value it would have been asked for, and one that
/// was asked for must be had.
fn write_admin(out: &mut String, admin: Option<&Admin>) -> fmt::Result {
    let Some(admin) = admin else {
        return writeln!(out, "admin: off");
    };
    writeln!(out, "admin:")?;
    let bind = text(&admin.bind.to_string());
    if admin.configured {
        writeln!(out, "  bind: {bind}")?;
    } else {
        writeln!(
            out,
            "  # bind: {bind}  (the default: if it is taken, evener runs without)"
        )?;
    }
    match &admin.token_file {
        Some(file) => writeln!(out, "  token_file: {}", text(&file.to_string_lossy())),
        None => writeln!(out, "  token_file: off"),
    }
}

fn write_listener(out: &mut String, listener: &Listener) -> fmt::Result {
    writeln!(out, "  - name: {}", text(&listener.name))?;
    match listener.bind.as_slice() {
        [bind] => writeln!(out, "    bind: {}", text(&bind.to_string()))?,
        binds => {
            let binds: Vec<String> = binds.iter().map(|bind| text(&bind.to_string())).collect();
            writeln!(out, "    bind: [{}]", binds.join(", "))?;
        }
    }
    if listener.has_unix_socket() {
        writeln!(out, "    mode: \"{:04o}\"", listener.mode)?;
    }
    if let Some(pool) = &listener.pool {
        writeln!(out, "    pool: {}", text(pool))?;
    }
    listener.routes.write(out)?;
    writeln!(
        out,
        "    max_connections: {}",
        number_or(listener.max_connections, "off")
    )?;
    match &listener.accept_proxy_protocol {
        None => writeln!(out, "    accept_proxy_protocol: off"),
        Some(accept) => {
            let from: Vec<String> = accept
                .from
                .iter()
                .map(|net| text(&net.to_string()))
                .chain(accept.from_unix.then(|| "unix".to_owned()))
                .collect();
            let (from, timeout) = (from.join(", "), time(accept.timeout));
            writeln!(
                out,
                "    accept_proxy_protocol: {{ from: [{from}], timeout: {timeout} }}"
            )
        }
    }?;
    listener.admission.write(out)?;
    socket::write_listen(out, &listener.socket)
}

fn write_pool(out: &mut String, pool: &Pool) -> fmt::Result {
    writeln!(out, "  - name: {}", text(&pool.name))?;
    writeln!(out, "    balance: {}", pool.balance.name)?;
    writeln!(out, "    retries: {}", pool.retries)?;
    writeln!(out, "    when_down: {}", pool.when_down.word())?;
    writeln!(out, "    on_down: {}", pool.on_down.word())?;
    let threshold = share_text(pool.panic_threshold);
    writeln!(out, "    panic_threshold: {threshold}")?;
    let send = pool.send_proxy_protocol.map_or("off", Version::word);
    writeln!(out, "    send_proxy_protocol: {send}")?;
    socket::write_connect(out, &pool.socket)?;
    pool.hashing.write(out)?;
    match &pool.health_check {
        None => writeln!(out, "    health_check: off")?,
        Some(check) => check.write(out)?,
    }
    Agent::write(pool.agent.as_ref(), out)?;
    writeln!(out, "    slow_start: {}", time_or_off(pool.slow_start))?;
    writeln!(out, "    hedge_after: {}", time_or_off(pool.hedge_after))?;
    outlier::write(out, pool.outlier_detection.as_ref())?;
    writeln!(out, "    backends:")?;
    for backend in &pool.backends {
        write_backend(out, backend)?;
    }
    Ok(())
}

fn write_backend(out: &mut String, backend: &Backend) -> fmt::Result {
    let address = backend.address.to_string();
    write!(out, "      - {{ ")?;
    // A name that is only the address is left out: host names may be longer than names.
    if backend.name != address {
        write!(out, "name: {}, ", text(&backend.name))?;
    }
    let (address, state) = (text(&address), backend.state.word());
    writeln!(
        out,
        "address: {address}, weight: {}, state: {state}, backup: {}, max_connections: {}, max_queue: {}, \
         resolve_interval: {} }}",
        backend.weight,
        backend.backup,
        number_or(backend.max_connections, "off"),
        number_or(backend.max_queue, "off"),
        time_or_off(backend.resolve_interval)
    )
}

pub(super) fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(super) fn time_or_off(duration: Option<Duration>) -> String {
    duration.map_or("off".to_string(), time)
}

pub(super) fn number_or(number: Option<u32>, none: &str) -> String {
    number.map_or(none.to_string(), |number| number.to_string())
}

/// A scalar: as it is when it is a plain word, in double quotes otherwise.
pub(super) fn text(text: &str) -> String {
    let is_word = text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !text.eq_ignore_ascii_case("null");
    if is_word {
        return text.to_string();
    }
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            // What YAML may fold, refuse or strip is written by its number.
            _ if char.is_ascii_graphic() || char == ' ' || char.is_alphanumeric() => {
                quoted.push(char)
            }
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(char))),
        }
    }
    quoted.push('"');
    quoted
}
