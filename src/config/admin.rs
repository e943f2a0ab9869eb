//! The admin address: where evener answers questions about itself and takes orders. Its section of
//! the config, `--admin`, and what is wrong with an address that everybody can reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::check::Part;
use super::error::{ConfigError, Problem, quoted};
use super::reader::{Map, Reading};
use super::value::or_off;
use super::yaml::Node;
use super::{BackendAddress, Bind, Config, ListenOn, address, defaults, unix};

/// Where evener can be asked and told, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub bind: AdminBind,
    /// Was the address asked for? The default one is a convenience: if it can't be had, evener
    /// warns and runs without. One that was asked for and can't be had is an error.
    pub configured: bool,
    /// A file with the word that every request has to bring along; `None` is no such word.
    pub token_file: Option<PathBuf>,
}

/// The address of the admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminBind {
    /// A TCP address.
    Tcp(Bind),
    /// The absolute path of a unix socket, `unix:/run/evener/admin.sock`.
    Unix(PathBuf),
}

/// Where a client finds the admin server of a running evener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// A TCP address, which may have a name.
    Tcp(BackendAddress),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// What `--admin` of a run says. It goes before the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminOption {
    /// `off`.
    Off,
    /// An address.
    At(AdminBind),
}

impl AdminOption {
    /// Puts it into the config.
    pub(super) fn apply(&self, config: &mut Config) {
        let token_file = config.admin.take().and_then(|admin| admin.token_file);
        config.admin = match self {
            AdminOption::Off => None,
            AdminOption::At(bind) => Some(Admin {
                bind: bind.clone(),
                configured: true,
                token_file,
            }),
        };
    }
}

impl Admin {
    /// May others than this machine's own users get there? Port forwarding and the like aside.
    pub fn is_public(&self) -> bool {
        match &self.bind {
            AdminBind::Tcp(bind) => !bind.address.ip().to_canonical().is_loopback(),
            AdminBind::Unix(_) => false,
        }
    }
}

impl AdminBind {
    /// Where whoever is on the same machine finds it.
    pub fn to_ask(&self) -> AdminAddress {
        match self {
            AdminBind::Unix(path) => AdminAddress::Unix(path.clone()),
            AdminBind::Tcp(bind) => {
                let mut address = bind.address;
                match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => {
                        address.set_ip(Ipv4Addr::LOCALHOST.into())
                    }
                    IpAddr::V6(ip) if ip.is_unspecified() => {
                        address.set_ip(Ipv6Addr::LOCALHOST.into())
                    }
                    _ => {}
                }
                AdminAddress::Tcp(BackendAddress::Ip(address))
            }
        }
    }
}

impl AdminAddress {
    /// `127.0.0.1:9900`, `lb1:9900` or `unix:/path`; `:9900` is this machine.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn read(text: &str) -> Result<AdminAddress, String> {
        address(text).map_err(|problem| {
            let (what, help) = problem.into_parts();
            format!("{what}; {help}")
        })
    }
}

impl fmt::Display for AdminBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminBind::Tcp(bind) => write!(f, "{bind}"),
            AdminBind::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => write!(f, "{address}"),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `127.0.0.1:9900`, `:9900` or `unix:/path`, to listen on.
pub(super) fn bind(text: &str) -> Result<AdminBind, Problem> {
    match text.strip_prefix("unix:") {
        Some(path) => unix_path(path).map(AdminBind::Unix),
        None => address::bind(text).map(AdminBind::Tcp),
    }
}

/// The same, to connect to; `:9900` is this machine.
pub(super) fn address(text: &str) -> Result<AdminAddress, Problem> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(AdminAddress::Unix);
    }
    let local = text.starts_with(':').then(|| format!("127.0.0.1{text}"));
    address::backend(local.as_deref().unwrap_or(text)).map(AdminAddress::Tcp)
}

fn unix_path(path: &str) -> Result<PathBuf, Problem> {
    unix::path(path, "unix:/run/evener/admin.sock")
}

/// `off`, or a mapping. Left out, every default applies.
pub(super) fn read_admin(node: Option<&Node>, reading: &mut Reading) -> Option<Admin> {
    let default = defaults::admin();
    let Some(node) = node else {
        return Some(default);
    };
    let help = "write `admin: off`, or a mapping: `admin: { bind: \"127.0.0.1:9900\" }`";
    let mut map = Map::or_off(node, "admin", help, reading)?;
    let configured = map.has("bind");
    let bind = map.read(reading, "bind", default.bind, bind);
    let file = |text: &str| match text {
        "" => Err(Problem::new("is empty", "the path of a file")),
        path => Ok(PathBuf::from(path)),
    };
    let token_file = map.read(reading, "token_file", None, |text| or_off(text, file));
    reading.spots.insert(Part::Admin, map.spot("bind"));
    map.finish(reading);
    Some(Admin {
        bind,
        configured,
        token_file,
    })
}

/// What is wrong with the admin address as a part of this config.
pub(super) fn check_admin(config: &Config) -> Option<Problem> {
    // The default address gives way.
    let admin = config.admin.as_ref().filter(|admin| admin.configured)?;
    let text = quoted(&admin.bind.to_string());
    if let Some(listener) = config.listener_at(&admin.bind) {
        let what = format!(
            "admin bind {text} is taken: listener {} has it",
            quoted(listener)
        );
        return Some(Problem::new(
            what,
            "give the admin server a port of its own",
        ));
    }
    if admin.is_public() && admin.token_file.is_none() {
        let what = format!("admin bind {text} lets other machines in without a token");
        let help = "everybody who gets there could take backends out: set `token_file: FILE` \
                    in the section `admin`, or bind 127.0.0.1 or \"unix:/path\"";
        return Some(Problem::new(what, help));
    }
    None
}

impl Config {
    /// The listener that has this address, or one that includes it.
    pub fn listener_at(&self, bind: &AdminBind) -> Option<&str> {
        let bind = match bind {
            AdminBind::Tcp(bind) => ListenOn::Tcp(bind.clone()),
            AdminBind::Unix(path) => ListenOn::Unix(path.clone()),
        };
        let has = |other: &ListenOn| other.overlaps(&bind);
        let listener = self
            .listeners
            .iter()
            .find(|listener| listener.bind.iter().any(has))?;
        Some(&listener.name)
    }

    /// The config with what the command line says of the admin address.
    ///
    /// # Errors
    ///
    /// When that makes it wrong.
    pub(super) fn with_admin(
        mut self,
        option: Option<&AdminOption>,
    ) -> Result<Config, Vec<ConfigError>> {
        if let Some(option) = option {
            option.apply(&mut self);
            if let Some(problem) = check_admin(&self) {
                let (what, help) = problem.into_parts();
                return Err(vec![ConfigError::without_place(what, &help)]);
            }
        }
        Ok(self)
    }
}
