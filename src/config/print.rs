//! A [`Config`] as YAML that loads again to an equal one: `--print-config`. Every key is written,
//! defaults included, so that the text says all there is to say.

use super::value::share_text;
use super::{Backend, Config, HealthCheck, Listener, Pool, Probe};
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
    writeln!(out, "shutdown:")?;
    writeln!(out, "  pre_stop_delay: {}", time(shutdown.pre_stop_delay))?;
    writeln!(
        out,
        "  drain_timeout: {}",
        time_or_off(shutdown.drain_timeout)
    )?;
    writeln!(out, "log:")?;
    writeln!(out, "  format: {}", config.log.format.word())?;
    writeln!(out, "  level: {}", config.log.level.word())?;
    writeln!(out, "  connections: {}", config.log.connections)?;
    writeln!(out, "limits:")?;
    writeln!(
        out,
        "  max_connections: {}",
        number_or(config.limits.max_connections, "auto")
    )
}

fn write_listener(out: &mut String, listener: &Listener) -> fmt::Result {
    writeln!(out, "  - name: {}", text(&listener.name))?;
    match listener.bind.as_slice() {
        [bind] => writeln!(out, "    bind: {}", text(&bind.text))?,
        binds => {
            let binds: Vec<String> = binds.iter().map(|bind| text(&bind.text)).collect();
            writeln!(out, "    bind: [{}]", binds.join(", "))?;
        }
    }
    writeln!(out, "    pool: {}", text(&listener.pool))?;
    writeln!(
        out,
        "    max_connections: {}",
        number_or(listener.max_connections, "off")
    )
}

fn write_pool(out: &mut String, pool: &Pool) -> fmt::Result {
    writeln!(out, "  - name: {}", text(&pool.name))?;
    writeln!(out, "    balance: {}", pool.balance.name)?;
    writeln!(out, "    retries: {}", pool.retries)?;
    writeln!(out, "    when_down: {}", pool.when_down.word())?;
    match &pool.health_check {
        None => writeln!(out, "    health_check: off")?,
        Some(check) => write_health_check(out, check)?,
    }
    writeln!(out, "    backends:")?;
    for backend in &pool.backends {
        write_backend(out, backend)?;
    }
    Ok(())
}

fn write_health_check(out: &mut String, check: &HealthCheck) -> fmt::Result {
    let kind = match check.probe {
        Probe::Tcp => "tcp",
    };
    writeln!(out, "    health_check:")?;
    writeln!(out, "      type: {kind}")?;
    writeln!(out, "      interval: {}", time(check.interval))?;
    writeln!(out, "      timeout: {}", time(check.timeout))?;
    writeln!(out, "      rise: {}", check.rise)?;
    writeln!(out, "      fall: {}", check.fall)?;
    writeln!(out, "      jitter: {}", share_text(check.jitter))
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
        "address: {address}, weight: {}, state: {state} }}",
        backend.weight
    )
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn time_or_off(duration: Option<Duration>) -> String {
    duration.map_or("off".to_string(), time)
}

fn number_or(number: Option<u32>, none: &str) -> String {
    number.map_or(none.to_string(), |number| number.to_string())
}

/// A scalar: as it is when it is a plain word, in double quotes otherwise.
fn text(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::defaults::*;
    use super::super::{
        BackendAddress, Limits, Log, LogFormat, LogLevel, Shutdown, Timeouts, WhenDown, address,
    };
    use super::*;
    use crate::policy::balance;
    use crate::policy::health::AdminState;
    use proptest::collection::{btree_set, vec};
    use proptest::option;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        // Anything that the reader allows: every character but control characters.
        prop_oneof![
            "[a-z]{1,8}",
            "\\PC{1,16}",
            Just("null".to_string()),
            Just("~".to_string()),
            Just("off".to_string()),
            Just("- \"a\": #'\\ ".to_string()),
            Just("\u{feff}\u{2028}\u{a0}x ".to_string()),
        ]
        .prop_filter("no control characters", |name| {
            !name.chars().any(char::is_control)
        })
    }

    fn time(min_ms: u64) -> impl Strategy<Value = Duration> {
        prop_oneof![min_ms..5_000, min_ms..=366 * 86_400_000].prop_map(Duration::from_millis)
    }

    fn connections() -> impl Strategy<Value = Option<u32>> {
        option::of(CONNECTIONS_RANGE)
    }

    fn listeners(pools: Vec<String>) -> impl Strategy<Value = Vec<Listener>> {
        let hosts = [":", "0.0.0.0:", "[::1]:", "127.0.0.1:"];
        let listener = (
            vec(0..hosts.len(), 1..3),
            prop::sample::select(pools),
            connections(),
        );
        (btree_set(name(), 1..4), vec(listener, 4)).prop_map(move |(names, rows)| {
            let numbered = names.into_iter().zip(rows).enumerate();
            let listener = |(index, (name, (kinds, pool, max_connections)))| {
                let number = |place| 20_000 + 10 * index + place;
                let address =
                    |(place, kind): (usize, usize)| format!("{}{}", hosts[kind], number(place));
                let texts = kinds.into_iter().enumerate().map(address);
                let bind = texts.map(|text| address::bind(&text).unwrap()).collect();
                Listener {
                    name,
                    bind,
                    pool,
                    max_connections,
                }
            };
            numbered.map(listener).collect()
        })
    }

    fn backends() -> impl Strategy<Value = Vec<Backend>> {
        let states = [
            AdminState::Ready,
            AdminState::Drain,
            AdminState::Maintenance,
        ];
        let backend = (
            option::of(name()),
            any::<bool>(),
            1..=256_u32,
            prop::sample::select(states.to_vec()),
        );
        vec(backend, 1..5).prop_map(|rows| {
            let mut backends: Vec<Backend> = Vec::new();
            for (index, (name, is_ip, weight, state)) in rows.into_iter().enumerate() {
                let port = 1000 + index as u16;
                let host = format!("{}.example", "h".repeat(60));
                let ip = BackendAddress::Ip(([10, 0, 0, 1], port).into());
                let address = if is_ip {
                    ip
                } else {
                    BackendAddress::Name { host, port }
                };
                let unnamed = Backend::new(address);
                let name = name.filter(|name| backends.iter().all(|other| other.name != *name));
                backends.push(Backend {
                    name: name.unwrap_or(unnamed.name),
                    weight,
                    state,
                    ..unnamed
                });
            }
            backends
        })
    }

    fn health_check() -> impl Strategy<Value = HealthCheck> {
        (time(10), time(1), STREAK_RANGE, STREAK_RANGE, 0..=5000_u32).prop_map(
            |(interval, timeout, rise, fall, jitter)| {
                let jitter = f64::from(jitter) / 10_000.0;
                HealthCheck {
                    probe: Probe::Tcp,
                    interval,
                    timeout,
                    rise,
                    fall,
                    jitter,
                }
            },
        )
    }

    fn pools() -> impl Strategy<Value = Vec<Pool>> {
        let policies: Vec<&str> = balance::names().collect();
        let when_down = prop::sample::select(WhenDown::ALL.to_vec());
        let pool = (
            prop::sample::select(policies),
            RETRIES_RANGE,
            when_down,
            option::of(health_check()),
            backends(),
        );
        (btree_set(name(), 1..4), vec(pool, 4)).prop_map(|(names, rows)| {
            let pool = |(name, (balance, retries, when_down, health_check, backends))| {
                let balance = balance::by_name(balance).unwrap();
                Pool {
                    name,
                    balance,
                    retries,
                    when_down,
                    health_check,
                    backends,
                }
            };
            names.into_iter().zip(rows).map(pool).collect()
        })
    }

    fn settings() -> impl Strategy<Value = (Timeouts, Shutdown, Log, Limits)> {
        let timeouts = (time(1), option::of(time(1)), option::of(time(1))).prop_map(
            |(connect, idle, half_close)| Timeouts {
                connect,
                idle,
                half_close,
            },
        );
        let shutdown =
            (time(0), option::of(time(0))).prop_map(|(pre_stop_delay, drain_timeout)| Shutdown {
                pre_stop_delay,
                drain_timeout,
            });
        let formats = prop::sample::select(LogFormat::ALL.to_vec());
        let levels = prop::sample::select(LogLevel::ALL.to_vec());
        let log = (formats, levels, any::<bool>()).prop_map(|(format, level, connections)| Log {
            format,
            level,
            connections,
        });
        let limits = connections().prop_map(|max_connections| Limits { max_connections });
        (timeouts, shutdown, log, limits)
    }

    fn config() -> impl Strategy<Value = Config> {
        pools().prop_flat_map(|pools| {
            let names = pools.iter().map(|pool| pool.name.clone()).collect();
            (listeners(names), Just(pools), settings()).prop_map(
                |(listeners, pools, (timeouts, shutdown, log, limits))| Config {
                    listeners,
                    pools,
                    timeouts,
                    shutdown,
                    log,
                    limits,
                },
            )
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_loads_again_to_the_same(config in config()) {
            let yaml = config.to_yaml();
            match Config::from_yaml("printed", &yaml) {
                Ok(again) => prop_assert_eq!(again, config),
                Err(errors) => prop_assert!(false, "{}\n{}", errors[0], yaml),
            }
        }
    }

    #[test]
    fn it_reads_well() {
        let text = "\
listeners: [{ bind: ':8080' }]
pools:
  - backends: ['127.0.0.1:8000', { name: b, address: db:5432, weight: 3 }]
timeouts: { idle: 90m }
";
        let yaml = Config::from_yaml("t", text).unwrap().to_yaml();
        let expected = "\
listeners:
  - name: \":8080\"
    bind: \":8080\"
    pool: default
    max_connections: off
pools:
  - name: default
    balance: round_robin
    retries: 2
    when_down: reset
    health_check:
      type: tcp
      interval: 2s
      timeout: 1s
      rise: 2
      fall: 3
      jitter: 10%
    backends:
      - { address: \"127.0.0.1:8000\", weight: 1, state: ready }
      - { name: b, address: \"db:5432\", weight: 3, state: ready }
timeouts:
  connect: 5s
  idle: 1h 30m
  half_close: 30s
shutdown:
  pre_stop_delay: 0s
  drain_timeout: 25s
log:
  format: text
  level: info
  connections: true
limits:
  max_connections: auto
";
        assert_eq!(yaml.split_once('\n').unwrap().1, expected);
    }
}
