//! What nginx appends to an error that concerns a request: `, client: A, server: S, request: "R", host: "H"`.
//!
//! Tools that ban clients read these lines.

use std::fmt;

use super::exchange::Exchange;
use crate::request::peer::PeerAddress;

/// Shows who asked what; to be put right behind the text of a log line.
pub(crate) struct About<'a, 'b>(pub(crate) &'a Exchange<'b>);

impl fmt::Display for About<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exchange = self.0;
        match exchange.remote {
            PeerAddress::Ip(address) => write!(f, ", client: {}", address.ip().to_canonical())?,
            PeerAddress::Unix => f.write_str(", client: unix:")?,
            PeerAddress::Untold => {}
        }
        write!(f, ", server: {}", exchange.server.name)?;
        if !exchange.head.line().is_empty() {
            write!(f, ", request: \"{}\"", printable(exchange.head.line()))?;
        }
        if let Some(host) = exchange.head.header("host") {
            write!(f, ", host: \"{}\"", printable(host))?;
        }
        if let Some(referrer) = exchange.head.header("referer") {
            write!(f, ", referrer: \"{}\"", printable(referrer))?;
        }
        Ok(())
    }
}

/// A client's text without what could pass for another line of the log.
fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::About;
    use crate::site::fixture::{location, server, settings, with_exchange};

    #[test]
    fn a_line_says_who_asked_what() {
        let settings = settings(server(location(0, "root"), vec![], vec![]));
        with_exchange(&settings, "GET /a?b", &["Referer: http://x/\u{1b}"], |exchange| {
            assert_eq!(
                About(exchange).to_string(),
                ", client: 127.0.0.1, server: localhost, request: \"GET /a?b HTTP/1.1\", host: \"Some.Host:8080\", \
                 referrer: \"http://x/?\""
            );
        });
    }
}
