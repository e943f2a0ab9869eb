//! Who is let in at a listener: `access`, `max_connections_per_ip` and `connection_rate_per_ip`, read,
//! looked over and printed.

use super::defaults;
use super::error::{Problem, quoted};
use super::reader::{Map, Reading, kind, text};
use super::value::{number, or_off, word};
use super::yaml::{Node, Value};
use crate::policy::access::{Rule, Rules, Verdict, canonical};
use crate::policy::rate::{Per, Rate};
use ipnet::IpNet;
use std::fmt::{self, Write};
use std::net::IpAddr;

/// Who is let in at a listener. By default everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Which addresses; `None` (`off`) is all.
    pub access: Option<Rules>,
    /// Sessions at once of one client address; an IPv6 client is counted by its /64.
    pub max_connections_per_ip: Option<u32>,
    /// New sessions of one client address, counted in the same way.
    pub connection_rate_per_ip: Option<Rate>,
}

impl Admission {
    /// Reads the three keys of a listener.
    pub(super) fn read(map: &mut Map<'_>, reading: &mut Reading) -> Admission {
        let most = |text: &str| number(text, &defaults::CONNECTIONS_RANGE);
        let most = |text: &str| or_off(text, most);
        let rate = |text: &str| or_off(text, rate);
        Admission {
            max_connections_per_ip: map.read(reading, "max_connections_per_ip", None, most),
            connection_rate_per_ip: map.read(reading, "connection_rate_per_ip", None, rate),
            access: map
                .take("access")
                .and_then(|node| read_access(node, reading)),
        }
    }

    /// Writes them as YAML that reads to the same.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let most = self.max_connections_per_ip;
        let most = most.map_or("off".to_string(), |most| most.to_string());
        let rate = self.connection_rate_per_ip;
        let rate = rate.map_or("off".to_string(), |rate| format!("\"{rate}\""));
        writeln!(out, "    max_connections_per_ip: {most}")?;
        writeln!(out, "    connection_rate_per_ip: {rate}")?;
        let Some(access) = &self.access else {
            return writeln!(out, "    access: off");
        };
        writeln!(out, "    access:")?;
        writeln!(out, "      default: {}", access.default.word())?;
        if access.rules.is_empty() {
            return writeln!(out, "      rules: off");
        }
        writeln!(out, "      rules:")?;
        for rule in &access.rules {
            writeln!(out, "        - \"{rule}\"")?;
        }
        Ok(())
    }

    /// What is allowed and still looks like a mistake, a sentence each.
    pub(super) fn warnings(&self, listener: &str) -> Vec<String> {
        let Some(access) = &self.access else {
            return Vec::new();
        };
        let warning = |(rule, cover): (Rule, Rule)| {
            format!(
                "listener {}: the access rule {} never decides, since {} stands before it and has all of its addresses",
                quoted(listener),
                quoted(&rule.to_string()),
                quoted(&cover.to_string())
            )
        };
        let mut warnings: Vec<String> = access.covered().into_iter().map(warning).collect();
        let allows = |rule: &Rule| rule.verdict == Verdict::Allow;
        if access.default == Verdict::Deny && !access.rules.iter().any(allows) {
            warnings.push(format!(
                "listener {}: access lets nobody in; the default is deny and no rule allows anything",
                quoted(listener)
            ));
        }
        warnings
    }
}

fn read_access(node: &Node, reading: &mut Reading) -> Option<Rules> {
    if node.value == Value::Text("off".to_string()) {
        return None;
    }
    let mut map = Map::new(node, "access", reading);
    let default = map.read(reading, "default", Verdict::Allow, |text| {
        word(
            "default",
            text,
            &Verdict::ALL.map(|verdict| (verdict.word(), verdict)),
        )
    });
    let nodes = match map.take("rules").map(|node| (&node.value, node)) {
        None => &[],
        Some((Value::List(items), _)) => items.as_slice(),
        Some((Value::Text(text), _)) if text == "off" => &[],
        Some((other, node)) => {
            let what = format!("rules is {}, not a list", kind(other));
            let help = "write rules such as `- \"deny 192.0.2.0/24\"`, the first that matches decides; or `off`";
            reading
                .problems
                .push(Problem::new(what, help).at(node.spot));
            &[]
        }
    };
    map.finish(reading);
    let mut rules = Vec::new();
    for node in nodes {
        let read = text(node, "rules")
            .and_then(|text| rule(text).map_err(|problem| problem.of_key("rule").at(node.spot)));
        match read {
            Ok(rule) => rules.push(rule),
            Err(problem) => reading.problems.push(problem),
        }
    }
    Some(Rules { default, rules })
}

/// `allow NETWORK` or `deny NETWORK`.
fn rule(text: &str) -> Result<Rule, Problem> {
    let mut words = text.split_whitespace();
    let (Some(verdict), Some(network), None) = (words.next(), words.next(), words.next()) else {
        let what = format!("{} is not a rule", quoted(text));
        let help = "write `allow` or `deny` and one network: \"deny 192.0.2.0/24\"";
        return Err(Problem::new(what, help));
    };
    Ok(Rule {
        verdict: word(
            "rules",
            verdict,
            &Verdict::ALL.map(|verdict| (verdict.word(), verdict)),
        )?,
        network: network_of(network)?,
    })
}

/// A network in CIDR notation, or one address.
fn network_of(text: &str) -> Result<IpNet, Problem> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(canonical(IpNet::from(ip)));
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let what = format!("{} is not a network", quoted(text));
        let help = "write an address, or a network as address/bits: 192.0.2.0/24, 2001:db8::/32";
        return Err(Problem::new(what, help));
    };
    if network.trunc() != network {
        let what = format!("{} is an address within a network", quoted(text));
        let (whole, ip) = (network.trunc(), network.addr());
        let help = format!("write `{whole}` for the network, or `{ip}` for the one address");
        return Err(Problem::new(what, help));
    }
    Ok(canonical(network))
}

/// `20/s` or `100/m`.
pub(super) fn rate(text: &str) -> Result<Rate, Problem> {
    let range = defaults::RATE_RANGE;
    let help = format!(
        "so many in a second or a minute, from {} to {}: \"20/s\", \"100/m\"",
        range.start(),
        range.end()
    );
    let parts = text.split_once('/').and_then(|(count, per)| {
        let per = Per::ALL
            .into_iter()
            .find(|known| known.word() == per.trim())?;
        Some((count.trim(), per))
    });
    let Some((count, per)) = parts else {
        return Err(Problem::new(
            format!("{} is not a rate", quoted(text)),
            help,
        ));
    };
    match number(count, &range) {
        Ok(count) => Ok(Rate { count, per }),
        Err(problem) => Err(Problem::new(problem.into_parts().0, help)),
    }
}
