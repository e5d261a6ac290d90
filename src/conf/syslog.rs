//! `syslog:server=ADDRESS[,facility=F][,severity=S][,tag=T][,nohostname]`, as `access_log` and `error_log` have it.
//!
//! A name of a server is looked up when the configuration is read, as nginx does it. Opens no socket.

use std::net::ToSocketAddrs;
use std::path::PathBuf;

use super::error::{Fault, shown};
use super::settings::{Syslog, SyslogServer};
use super::tree::Node;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp", "ntp",
    "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
const LOCAL7: u8 = 23;
const INFO: u8 = 6;
const PORT: u16 = 514;
/// Longest tag.
const TAG: usize = 32;

/// Reads what follows `syslog:`.
pub(super) fn read(words: &[u8], node: &Node) -> Result<Syslog, Fault> {
    let fault = |text: String| Fault::emerg(text, &node.place);
    let (mut server, mut facility, mut severity, mut tag, mut hostname) = (None, None, None, None, true);
    let once = |taken: bool, name: &str| {
        if taken { Err(fault(format!("duplicate syslog \"{name}\""))) } else { Ok(()) }
    };
    for word in words.split(|byte| *byte == b',') {
        let word = shown(word);
        if let Some(address) = word.strip_prefix("server=") {
            once(server.is_some(), "server")?;
            server = Some(read_server(address).map_err(|why| fault(format!("{why} in syslog server \"{address}\"")))?);
        } else if let Some(name) = word.strip_prefix("facility=") {
            once(facility.is_some(), "facility")?;
            let number = FACILITIES.iter().position(|known| *known == name);
            facility = Some(number.ok_or_else(|| fault(format!("unknown syslog facility \"{name}\"")))? as u8);
        } else if let Some(name) = word.strip_prefix("severity=") {
            once(severity.is_some(), "severity")?;
            let number = SEVERITIES.iter().position(|known| *known == name);
            severity = Some(number.ok_or_else(|| fault(format!("unknown syslog severity \"{name}\"")))? as u8);
        } else if let Some(name) = word.strip_prefix("tag=") {
            once(tag.is_some(), "tag")?;
            if name.len() > TAG {
                return Err(fault(format!("syslog tag length exceeds {TAG}")));
            }
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(fault("syslog \"tag\" only allows alphanumeric characters and underscore".to_owned()));
            }
            tag = Some(Box::from(name));
        } else if word == "nohostname" {
            hostname = false;
        } else {
            return Err(fault(format!("unknown syslog parameter \"{word}\"")));
        }
    }
    Ok(Syslog {
        server: server.ok_or_else(|| fault("no syslog server specified".to_owned()))?,
        facility: facility.unwrap_or(LOCAL7),
        severity: severity.unwrap_or(INFO),
        tag: tag.unwrap_or_else(|| "nginx".into()),
        hostname,
    })
}

fn read_server(address: &str) -> Result<SyslogServer, &'static str> {
    if let Some(path) = address.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("no path in the unix domain socket")
        } else {
            Ok(SyslogServer::Unix(PathBuf::from(path)))
        };
    }
    if address.is_empty() {
        return Err("no host");
    }
    if let Ok(address) = address.parse() {
        return Ok(SyslogServer::Udp(address));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !address.ends_with(']') => (host, port.parse().map_err(|_| "invalid port")?),
        _ => (address, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.map(SyslogServer::Udp).ok_or("host not found")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::settings::LogTarget;
    use crate::conf::{LoadOptions, load};

    fn loaded(words: &str) -> Result<Syslog, String> {
        let text = format!(
            "error_log syslog:{words}; events {{}} http {{ push_stream_shared_memory_size 1m; server {{ listen 1; }} }}"
        );
        let options = LoadOptions { text: Some(text), ..LoadOptions::default() };
        match load(&options) {
            Ok(loaded) => match loaded.settings.process.error_log[0].target.clone() {
                LogTarget::Syslog(syslog) => Ok(syslog),
                other => panic!("{other:?}"),
            },
            Err(error) => Err(error.notes[0].text.clone()),
        }
    }

    #[test]
    fn a_server_is_an_address_with_or_without_a_port_or_a_socket_of_the_host() {
        let server = |words: &str| match loaded(words).unwrap().server {
            SyslogServer::Udp(address) => address.to_string(),
            SyslogServer::Unix(path) => path.display().to_string(),
        };
        assert_eq!(server("server=127.0.0.1"), "127.0.0.1:514");
        assert_eq!(server("server=127.0.0.1:12"), "127.0.0.1:12");
        assert_eq!(server("server=[::1]:12,nohostname"), "[::1]:12");
        assert_eq!(server("server=[::1]"), "[::1]:514");
        assert_eq!(server("server=unix:/dev/log"), "/dev/log");
        let usual = loaded("server=127.0.0.1").unwrap();
        assert_eq!((usual.facility, usual.severity, &*usual.tag, usual.hostname), (23, 6, "nginx", true));
        let all = loaded("server=127.0.0.1,facility=mail,severity=debug,tag=a_1,nohostname").unwrap();
        assert_eq!((all.facility, all.severity, &*all.tag, all.hostname), (2, 7, "a_1", false));
    }

    #[test]
    fn anything_else_is_refused_in_nginxs_words() {
        for (words, said) in [
            ("tag=a", "no syslog server specified"),
            ("server=127.0.0.1,server=127.0.0.1", "duplicate syslog \"server\""),
            ("server=127.0.0.1,facility=none", "unknown syslog facility \"none\""),
            ("server=127.0.0.1,severity=loud", "unknown syslog severity \"loud\""),
            ("server=127.0.0.1,tag=a-b", "syslog \"tag\" only allows alphanumeric characters and underscore"),
            ("server=127.0.0.1,color=red", "unknown syslog parameter \"color=red\""),
            ("server=127.0.0.1:x", "invalid port in syslog server \"127.0.0.1:x\""),
            ("server=unix:", "no path in the unix domain socket in syslog server \"unix:\""),
        ] {
            let refused = loaded(words).unwrap_err();
            assert!(refused.contains(said), "{words}: {refused}");
        }
    }
}
