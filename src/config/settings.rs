//! The small sections of a config file: `timeouts`, `shutdown`, `log`, `limits`, `performance`. Each
//! may be left out, and each key in it.

use super::defaults;
use super::reader::{Map, Reading};
use super::value::{boolean, duration, number, or_off, or_word, word};
use super::yaml::Node;
use super::{Limits, Log, LogFormat, LogLevel, Performance, Scheduler, Shutdown, Timeouts};
use crate::policy::bulk::Method;
use crate::policy::patience::BusyPoll;
use std::time::Duration;

pub(super) fn read_timeouts(node: Option<&Node>, reading: &mut Reading) -> Timeouts {
    let Some(mut map) = node.map(|node| Map::new(node, "timeouts", reading)) else {
        return Default::default();
    };
    let timeout = |text: &str| duration(text, defaults::TIMEOUT_MIN);
    let or_off = |text: &str| or_off(text, timeout);
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: map.read(reading, "connect", default.connect, timeout),
        idle: map.read(reading, "idle", default.idle, or_off),
        half_close: map.read(reading, "half_close", default.half_close, or_off),
        max_lifetime: map.read(reading, "max_lifetime", default.max_lifetime, or_off),
        queue: map.read(reading, "queue", default.queue, or_off),
    };
    map.finish(reading);
    timeouts
}

pub(super) fn read_shutdown(node: Option<&Node>, reading: &mut Reading) -> Shutdown {
    let Some(mut map) = node.map(|node| Map::new(node, "shutdown", reading)) else {
        return Default::default();
    };
    // Zero means something here: not to wait at all.
    let delay = |text: &str| duration(text, Duration::ZERO);
    let or_off = |text: &str| or_off(text, delay);
    let default = Shutdown::default();
    let shutdown = Shutdown {
        pre_stop_delay: map.read(reading, "pre_stop_delay", default.pre_stop_delay, delay),
        drain_timeout: map.read(reading, "drain_timeout", default.drain_timeout, or_off),
    };
    map.finish(reading);
    shutdown
}

pub(super) fn read_log(node: Option<&Node>, reading: &mut Reading) -> Log {
    let Some(mut map) = node.map(|node| Map::new(node, "log", reading)) else {
        return Default::default();
    };
    let progress = |text: &str| duration(text, defaults::PROGRESS_INTERVAL_MIN);
    let progress = |text: &str| or_off(text, progress);
    let default = Log::default();
    let log = Log {
        format: map.read(reading, "format", default.format, |text| {
            word(
                "format",
                text,
                &LogFormat::ALL.map(|format| (format.word(), format)),
            )
        }),
        level: map.read(reading, "level", default.level, |text| {
            word(
                "level",
                text,
                &LogLevel::ALL.map(|level| (level.word(), level)),
            )
        }),
        connections: map.read(reading, "connections", default.connections, boolean),
        progress_interval: map.read(reading, "progress_interval", None, progress),
    };
    map.finish(reading);
    log
}

pub(super) fn read_limits(node: Option<&Node>, reading: &mut Reading) -> Limits {
    let Some(mut map) = node.map(|node| Map::new(node, "limits", reading)) else {
        return Default::default();
    };
    let limit = |text: &str| {
        or_word(text, "auto", |text| {
            number(text, &defaults::CONNECTIONS_RANGE)
        })
    };
    let max_connections = map.read(reading, "max_connections", None, limit);
    map.finish(reading);
    Limits { max_connections }
}

pub(super) fn read_performance(node: Option<&Node>, reading: &mut Reading) -> Performance {
    let Some(mut map) = node.map(|node| Map::new(node, "performance", reading)) else {
        return Default::default();
    };
    let default = Performance::default();
    let performance = Performance {
        relay: map.read(reading, "relay", default.relay, |text| {
            word(
                "relay",
                text,
                &Method::ALL.map(|method| (method.word(), method)),
            )
        }),
        busy_poll: map.read(reading, "busy_poll", default.busy_poll, |text| {
            word(
                "busy_poll",
                text,
                &BusyPoll::ALL.map(|busy_poll| (busy_poll.word(), busy_poll)),
            )
        }),
        scheduler: map.read(reading, "scheduler", default.scheduler, |text| {
            word(
                "scheduler",
                text,
                &Scheduler::ALL.map(|scheduler| (scheduler.word(), scheduler)),
            )
        }),
    };
    map.finish(reading);
    performance
}
