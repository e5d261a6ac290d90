//! What a port is for, in one line for the person who starts the server.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::listen::shown;
use crate::conf::settings::{Handler, Listener, Location, Locations, Match, Mode};

/// Where somebody finds out what the embedded layout does.
pub(super) const TRY_IT: &str = "http://127.0.0.1:8895/ in a browser explains this layout, subscribes and publishes";

/// Places named in a line; more are counted.
const MOST: usize = 8;

/// `listening on 127.0.0.1:8895: publisher /bitrix/pub, statistics /bitrix/stat`
pub(super) fn line(listener: &Listener) -> String {
    let mut places = BTreeSet::new();
    for server in listener.names.all() {
        look(&server.root, &mut places);
        look_within(&server.locations, &mut places);
        for location in server.named.values() {
            look(location, &mut places);
        }
    }
    let count = places.len();
    let mut named: Vec<String> = places.into_iter().take(MOST).collect();
    if count > MOST {
        named.push(format!("{} more", count - MOST));
    }
    let named = if named.is_empty() { "nothing of push".to_owned() } else { named.join(", ") };
    let tls = if listener.ssl { " (TLS)" } else { "" };
    format!("listening on {}{tls}: {named}", shown(&listener.address))
}

/// The line of the operators' listener.
pub(super) fn of_operators(address: SocketAddr, tls: bool) -> String {
    let tls = if tls { " (TLS)" } else { "" };
    format!("listening on {address}{tls}: status page /, metrics /metrics, health /healthz /readyz")
}

fn look_within(locations: &Locations, places: &mut BTreeSet<String>) {
    for location in locations.exact.values().chain(&locations.prefixes).chain(&locations.regexes) {
        look(location, places);
        look_within(&location.nested, places);
    }
}

fn look(location: &Location, places: &mut BTreeSet<String>) {
    let what = match location.handler {
        Handler::Publisher { .. } => "publisher",
        Handler::Statistics => "statistics",
        Handler::Subscriber(Mode::Streaming) => "streaming",
        Handler::Subscriber(Mode::Polling) => "polling",
        Handler::Subscriber(Mode::LongPolling) => "long-polling",
        Handler::Subscriber(Mode::EventSource) => "eventsource",
        Handler::Subscriber(Mode::WebSocket) => "websocket",
        Handler::Static | Handler::StubStatus | Handler::Foreign(_) => return,
    };
    let place = match &location.matched {
        Match::None => String::new(),
        Match::Exact(path) => format!(" = {}", String::from_utf8_lossy(path)),
        Match::Prefix(path) | Match::StrongPrefix(path) => format!(" {}", String::from_utf8_lossy(path)),
        Match::Regex(regex) => format!(" ~ {}", regex.source),
    };
    places.insert(format!("{what}{place}"));
}
