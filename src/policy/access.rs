//! Which clients a listener lets in, by their address: ordered rules, of which the first that matches
//! decides. PURE.
//!
//! Addresses are compared as what they are: an IPv4 address that came wrapped in IPv6
//! (`::ffff:192.0.2.1`) is that IPv4 address, in a rule and in a client alike.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is served.
    Allow,
    /// It is reset.
    Deny,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of the clients in the network.
    pub verdict: Verdict,
    /// The network; IPv4 is never wrapped in IPv6 here, see [`canonical`].
    pub network: IpNet,
}

/// The rules of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of a client that no rule matches.
    pub default: Verdict,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

impl Verdict {
    /// Both.
    pub const ALL: [Verdict; 2] = [Verdict::Allow, Verdict::Deny];

    /// The word for it in configs.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        }
    }
}

impl Rules {
    /// What becomes of a client with this address.
    pub fn verdict(&self, client: IpAddr) -> Verdict {
        let client = client.to_canonical();
        let first = self
            .rules
            .iter()
            .find(|rule| rule.network.contains(&client));
        first.map_or(self.default, |rule| rule.verdict)
    }

    /// Rules that can never decide, each with the earlier one that covers it.
    pub fn covered(&self) -> Vec<(Rule, Rule)> {
        let mut found = Vec::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let mut earlier = self.rules.iter().take(place);
            if let Some(cover) = earlier.find(|earlier| earlier.network.contains(&rule.network)) {
                found.push((*rule, *cover));
            }
        }
        found
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verdict.word(), self.network)
    }
}

/// A network of IPv4 addresses that are wrapped in IPv6 is the network of these IPv4 addresses; any
/// other is what it is.
pub fn canonical(network: IpNet) -> IpNet {
    const WRAPPED_BITS: u8 = 96;
    if let IpNet::V6(v6) = network
        && let Some(bits) = v6.prefix_len().checked_sub(WRAPPED_BITS)
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, bits)
    {
        return IpNet::V4(v4);
    }
    network
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(default: Verdict, texts: &[&str]) -> Rules {
        let rule = |text: &&str| {
            let (word, network) = text.split_once(' ').unwrap();
            let verdict = Verdict::ALL
                .into_iter()
                .find(|verdict| verdict.word() == word);
            Rule {
                verdict: verdict.unwrap(),
                network: canonical(network.parse().unwrap()),
            }
        };
        Rules {
            default,
            rules: texts.iter().map(rule).collect(),
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        use Verdict::{Allow, Deny};
        let texts = [
            "deny 10.1.0.0/16",
            "allow 10.0.0.0/8",
            "deny ::ffff:192.0.2.0/120",
            "allow 2001:db8::/32",
            "deny 0.0.0.0/0",
        ];
        let rules = rules(Allow, &texts);
        for (client, verdict) in [
            ("10.1.2.3", Deny),
            ("10.2.2.3", Allow),
            ("::ffff:10.1.2.3", Deny),
            ("::ffff:10.2.2.3", Allow),
            ("192.0.2.255", Deny),
            ("8.8.8.8", Deny),
            ("2001:db8::1", Allow),
            ("2001:db9::1", Allow),
        ] {
            assert_eq!(rules.verdict(client.parse().unwrap()), verdict, "{client}");
        }
    }

    #[test]
    fn whom_no_rule_matches_gets_the_default() {
        for default in Verdict::ALL {
            let rules = rules(default, &["allow 10.0.0.0/8"]);
            assert_eq!(rules.verdict("192.0.2.1".parse().unwrap()), default);
            assert_eq!(rules.verdict("::1".parse().unwrap()), default);
        }
    }

    #[test]
    fn a_rule_behind_a_wider_one_is_found() {
        let texts = [
            "allow 10.0.0.0/8",
            "deny 10.1.0.0/16",
            "deny ::/0",
            "deny 11.0.0.0/8",
        ];
        let rules = rules(Verdict::Allow, &texts);
        let covered = rules.covered();
        assert_eq!(covered.len(), 1);
        assert_eq!(covered[0].0.to_string(), texts[1]);
        assert_eq!(covered[0].1.to_string(), texts[0]);
    }
}
