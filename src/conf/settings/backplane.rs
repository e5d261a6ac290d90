//! Where the order of the zone is made that several nodes share.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `push_stream_backplane` and what goes with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backplane {
    /// Where it is; `None`: this process is alone.
    pub address: Option<Address>,
    /// `push_stream_backplane_password_file`; else the environment tells the password, if there is one.
    pub password_file: Option<PathBuf>,
    /// `push_stream_backplane_ca`: who signs its certificate; else whom the system trusts.
    pub ca: Option<PathBuf>,
    /// `push_stream_backplane_zone`: nodes of the same name share their channels.
    pub zone: Box<str>,
    /// `push_stream_backplane_local_on_failure`: while it is away messages reach the subscribers of this node alone, instead of 503.
    pub local_on_failure: bool,
}

/// A server, and as whom it is entered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Whether it is spoken to by TLS.
    pub tls: bool,
    /// The server, or who knows it.
    pub place: Place,
    /// The user of its access lists.
    pub user: Option<Box<str>>,
    /// The number of the database.
    pub db: u16,
}

/// Where a server is, or who knows where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Hosts and their ports: one, or some of a cluster.
    Hosts(Vec<(Box<str>, u16)>),
    /// A unix socket.
    Socket(PathBuf),
    /// Sentinels, and the name of what they watch.
    Sentinels(Vec<(Box<str>, u16)>, Box<str>),
}

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl FromStr for Address {
    type Err = String;

    /// `redis://[USER@]HOST[:PORT][,HOST[:PORT]][/DB]`, `rediss://` (TLS), `redis+unix://[USER@]/PATH[?db=DB]`,
    /// `redis+sentinel://[USER@]HOST[:PORT],HOST[:PORT]/NAME[/DB]`, `rediss+sentinel://`.
    fn from_str(url: &str) -> Result<Self, String> {
        let (scheme, rest) =
            url.split_once("://").ok_or("it begins with redis://, rediss://, redis+unix:// or redis+sentinel://")?;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user).filter(|user| !user.is_empty()), rest),
            None => (None, rest),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(
                "a password does not belong here: push_stream_backplane_password_file or the environment tells it"
                    .into(),
            );
        }
        let (tls, place, db) = match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" => {
                let (hosts, db) = rest.split_once('/').unwrap_or((rest, ""));
                (scheme.ends_with("ss") || scheme.ends_with("ys"), Place::Hosts(hosts_and_ports(hosts, PORT)?), db)
            }
            "redis+unix" | "unix" => {
                let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
                let db = query.strip_prefix("db=").unwrap_or(query);
                if !path.starts_with('/') {
                    return Err("the path of a socket begins with /".into());
                }
                (false, Place::Socket(path.into()), db)
            }
            "redis+sentinel" | "rediss+sentinel" => {
                let (hosts, rest) = rest.split_once('/').unwrap_or((rest, ""));
                let (name, db) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err("sentinels are asked for a name: redis+sentinel://HOST,HOST/NAME".into());
                }
                let hosts = hosts_and_ports(hosts, SENTINEL_PORT)?;
                (scheme.starts_with("rediss"), Place::Sentinels(hosts, name.into()), db)
            }
            _ => return Err(format!("\"{scheme}\" is no kind of backplane")),
        };
        let db =
            if db.is_empty() { 0 } else { db.parse().map_err(|_| format!("\"{db}\" is no number of a database"))? };
        Ok(Self { tls, place, user: user.map(Into::into), db })
    }
}

fn hosts_and_ports(text: &str, usual: u16) -> Result<Vec<(Box<str>, u16)>, String> {
    text.split(',').map(|host| host_and_port(host, usual)).collect()
}

fn host_and_port(text: &str, usual: u16) -> Result<(Box<str>, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if host.is_empty() {
        return Err("a host is missing".into());
    }
    let port = if port.is_empty() { usual } else { port.parse().map_err(|_| format!("\"{port}\" is no port"))? };
    Ok((host.into(), port))
}

/// As it is told to people.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.tls { "s" } else { "" };
        let told = |hosts: &[(Box<str>, u16)]| -> String {
            hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
        };
        match &self.place {
            Place::Hosts(hosts) => write!(f, "redis{tls}://{}/{}", told(hosts), self.db),
            Place::Socket(path) => write!(f, "redis+unix://{}?db={}", path.display(), self.db),
            Place::Sentinels(hosts, name) => {
                write!(f, "redis{tls}+sentinel://{}/{name}/{}", told(hosts), self.db)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str) -> String {
        url.parse::<Address>().map_or_else(|error| error, |address| address.to_string())
    }

    #[test]
    fn every_form_is_read() {
        for (url, expected) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("valkey://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("rediss://push@redis.example:6380", "rediss://redis.example:6380/0"),
            ("valkeys://h", "rediss://h:6379/0"),
            ("redis://push@a,b:7001", "redis://a:6379,b:7001/0"),
            ("redis://[::1]:7000/1", "redis://::1:7000/1"),
            ("redis+unix:///run/redis.sock?db=2", "redis+unix:///run/redis.sock?db=2"),
            ("redis+sentinel://a,b:1/mymaster", "redis+sentinel://a:26379,b:1/mymaster/0"),
            ("rediss+sentinel://a/m/4", "rediss+sentinel://a:26379/m/4"),
        ] {
            assert_eq!(told(url), expected, "{url}");
        }
        assert_eq!("redis://push@h".parse::<Address>().unwrap().user.as_deref(), Some("push"));
    }

    #[test]
    fn mistakes_are_told_and_a_password_is_never_repeated() {
        for (url, word) in [
            ("localhost", "begins with"),
            ("http://a", "no kind"),
            ("redis://", "host is missing"),
            ("redis://a:b", "no port"),
            ("redis://a,", "host is missing"),
            ("redis://a/b", "no number"),
            ("redis+sentinel://a", "a name"),
            ("redis+unix://run/x", "begins with /"),
        ] {
            assert!(told(url).contains(word), "{url}: {}", told(url));
        }
        let refused = told("redis://user:secret@h");
        assert!(refused.contains("password_file") && !refused.contains("secret"), "{refused}");
    }
}
