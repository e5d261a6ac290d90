//! Settings built by hand for the tests of this room, so that they do not hang on the configuration's parser.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ahash::AHashMap;

use super::exchange::Exchange;
use super::phases::{Routed, route};
use crate::conf::Settings;
use crate::conf::settings::*;
use crate::conf::variable::{Builtin, Complex, Definition, Part, Source, Variable};
use crate::model::{Capabilities, Compat, Now, Zone};
use crate::request::head::{BadHead, HeadLimits, RequestHead};
use crate::request::head_parser::parse;
use crate::request::peer::{Peer, PeerAddress};

/// Sun, 22 Nov 2026 18:43:51 GMT
pub(crate) const NOW: Now = Now(1_795_373_031_000);

/// `"$arg_id.b1"` -> parts. Knows the variables the tests use; `$v0`, `$v1` ... are defined ones.
pub(crate) fn complex(text: &str) -> Complex {
    let mut parts = Vec::new();
    for (index, piece) in text.split('$').enumerate() {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (name, rest) = if index == 0 { ("", piece) } else { piece.split_at(end) };
        let variable = match name {
            "" => None,
            "uri" => Some(Variable::Builtin(Builtin::Uri)),
            "args" => Some(Variable::Builtin(Builtin::Args)),
            "host" => Some(Variable::Builtin(Builtin::Host)),
            "request_uri" => Some(Variable::Builtin(Builtin::RequestUri)),
            "request_method" => Some(Variable::Builtin(Builtin::RequestMethod)),
            "remote_addr" => Some(Variable::Builtin(Builtin::RemoteAddr)),
            "remote_user" => Some(Variable::Builtin(Builtin::RemoteUser)),
            "request" => Some(Variable::Builtin(Builtin::Request)),
            "status" => Some(Variable::Builtin(Builtin::Status)),
            "body_bytes_sent" => Some(Variable::Builtin(Builtin::BodyBytesSent)),
            "request_time" => Some(Variable::Builtin(Builtin::RequestTime)),
            name => Some(match (name.strip_prefix("arg_"), name.strip_prefix("http_"), name.strip_prefix('v')) {
                (Some(arg), _, _) => Variable::Arg(arg.into()),
                (_, Some(header), _) => Variable::Http(header.into()),
                (_, _, Some(index)) => Variable::Defined(index.parse().unwrap()),
                _ => Variable::Capture(name.parse().unwrap()),
            }),
        };
        parts.extend(variable.map(Part::Variable));
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().into()));
        }
    }
    Complex { parts }
}

pub(crate) fn regex(source: &str) -> Regex {
    Regex { source: source.into(), compiled: Arc::new(pcre2::bytes::Regex::new(source).unwrap()), named: vec![] }
}

pub(crate) fn core() -> Core {
    Core {
        default_type: "text/plain".into(),
        types: Arc::new(HashMap::from([("html".into(), "text/html".into())])),
        add_headers: Arc::new([]),
        expires: None,
        error_pages: Arc::new([]),
        access: Arc::new([]),
        satisfy_any: false,
        recursive_error_pages: false,
        auth_basic: None,
        auth_request: None,
        auth_request_set: Arc::new([]),
        secure_link: None,
        valid_referers: None,
        charset: None,
        root: PathTemplate { path: complex("/nonexistent"), alias: None, index: Arc::new(["index.html".into()]) },
        internal: false,
        etag: true,
        if_modified_since: IfModifiedSince::Exact,
        client_max_body_size: 1 << 20,
        client_body_timeout: 60_000,
        send_timeout: 60_000,
        keepalive_timeout: 75_000,
        keepalive_header: None,
        keepalive_requests: 1000,
        chunked_transfer_encoding: true,
        server_tokens: false,
        gzip: None,
        access_log: Arc::new([]),
        log_not_found: true,
        limit_conn: Arc::new([]),
        limit_req: Arc::new([]),
        realip: None,
        absolute_redirect: true,
        port_in_redirect: true,
        server_name_in_redirect: false,
    }
}

fn push() -> Push {
    Push {
        channels_path: None,
        store_messages: false,
        channel_info_on_publish: true,
        authorized_channels_only: false,
        header_template: Arc::new([]),
        message_template: Arc::new([]),
        footer_template: Arc::new([]),
        wildcard_channel_max_qtd: None,
        ping_message_interval: None,
        subscriber_connection_ttl: None,
        longpolling_connection_ttl: None,
        websocket_allow_publish: false,
        websocket_deflate: false,
        websocket_max_message_size: 1 << 20,
        last_received_message_time: None,
        last_received_message_tag: None,
        last_event_id: None,
        user_agent: None,
        paddings: Arc::new([]),
        allowed_origins: None,
        allow_connections_to_events_channel: false,
        eventsource_support: false,
        content_type: None,
        keepalive: None,
    }
}

/// A location: `= /x`, `^~ /x`, `~ re`, `@name`, `if` or a prefix. `number` tells the locations of a test apart.
pub(crate) fn location(number: usize, pattern: &str) -> Location {
    let matched = match pattern.split_once(' ') {
        Some(("=", uri)) => Match::Exact(uri.as_bytes().into()),
        Some(("^~", prefix)) => Match::StrongPrefix(prefix.as_bytes().into()),
        Some(("~", source)) => Match::Regex(regex(source)),
        Some(("~*", source)) => Match::Regex(regex(&format!("(?i){source}"))),
        _ if pattern.starts_with('/') => Match::Prefix(pattern.as_bytes().into()),
        _ => Match::None,
    };
    Location {
        matched,
        number,
        rewrite: vec![],
        nested: Locations::default(),
        handler: Handler::Publisher { admin: true },
        push: push(),
        core: core(),
        backend: None,
        try_files: None,
        limit_except: None,
    }
}

pub(crate) fn locations(all: Vec<Location>) -> Locations {
    let mut sorted = Locations::default();
    for location in all.into_iter().map(Arc::new) {
        match &location.matched {
            Match::Exact(uri) => drop(sorted.exact.insert(uri.clone(), location.clone())),
            Match::Prefix(_) | Match::StrongPrefix(_) => sorted.prefixes.push(location),
            Match::Regex(_) => sorted.regexes.push(location),
            Match::None => {}
        }
    }
    sorted.prefixes.sort_by_key(|location| match &location.matched {
        Match::Prefix(prefix) | Match::StrongPrefix(prefix) => std::cmp::Reverse(prefix.len()),
        _ => std::cmp::Reverse(0),
    });
    sorted
}

/// A server with these locations; `named` are its `@name` ones.
pub(crate) fn server(root: Location, all: Vec<Location>, named: Vec<(&str, Location)>) -> Server {
    Server {
        name: "localhost".into(),
        root: Arc::new(Location { handler: Handler::Static, ..root }),
        locations: locations(all),
        named: named.into_iter().map(|(name, location)| (name.into(), Arc::new(location))).collect(),
        tls: None,
        client_header_timeout: 60_000,
        large_client_header_buffers: (4, 8192),
        merge_slashes: true,
        underscores_in_headers: false,
        ignore_invalid_headers: true,
        origin: "".into(),
        pushes: false,
        zone: 0,
        foreign: None,
    }
}

pub(crate) fn settings(server: Server) -> Settings {
    let names = ServerNames { exact: AHashMap::default(), masks: vec![], regexes: vec![], default: Arc::new(server) };
    let definition = |name: &str| Definition { name: name.into(), source: Source::Assigned };
    Settings {
        process: Process {
            daemon: false,
            pid: "".into(),
            user: None,
            worker_processes: None,
            worker_connections: 512,
            worker_rlimit_nofile: None,
            worker_shutdown_timeout: None,
            error_log: vec![],
        },
        backplane: Backplane { address: None, password_file: None, ca: None, zone: "".into(), local_on_failure: false },
        drain_time: 0,
        drain_delay: 0,
        bounds: Bounds::default(),
        zones: vec!["default".into()],
        zone_name: "push_stream_module".into(),
        zone: Zone {
            memory: 1 << 20,
            deleted_text: [].into(),
            inactivity: 30,
            ping_text: [].into(),
            timeout_with_body: false,
            message_ttl: 1800,
            max_subscribers_per_channel: None,
            max_messages_per_channel: None,
            max_channel_id_length: None,
            max_channels: None,
            max_wildcard_channels: None,
            wildcard_prefix: [].into(),
            events_channel_id: [].into(),
            unknown_grace: 0,
        },
        compat: Compat::default(),
        capabilities: Capabilities::default(),
        listeners: vec![listener(names)],
        variables: vec![definition("v0"), definition("v1")],
        log_formats: HashMap::new(),
        upstreams: HashMap::new(),
        limit_zones: vec![],
        largest_padding: 0,
        uses_module: true,
        state: crate::conf::settings::State::default(),
        log_lines: LogLines::default(),
        status: crate::conf::settings::Status::default(),
    }
}

fn listener(names: ServerNames) -> Listener {
    Listener {
        address: ListenAddress::Ip(address("127.0.0.1:8080")),
        ssl: false,
        http2: false,
        proxy_protocol: false,
        backlog: None,
        ipv6only: None,
        rcvbuf: None,
        sndbuf: None,
        so_keepalive: None,
        names,
        origin: String::new(),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn peer() -> Rc<Peer> {
    Rc::new(Peer {
        remote: PeerAddress::Ip(address("127.0.0.1:50000")),
        local: PeerAddress::Ip(address("127.0.0.1:8080")),
        tls: None,
        proxy: None,
        connection: 7,
    })
}

/// `METHOD TARGET` and header lines -> the bytes of a request.
pub(crate) fn request(line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
    format!("{line} HTTP/1.1\r\nHost: Some.Host:8080\r\n{headers}\r\n")
}

pub(crate) fn head(bytes: &str) -> RequestHead {
    parse(bytes.as_bytes(), &HeadLimits::DEFAULT).unwrap().unwrap().0
}

/// The exchange of a request that has come by the first listener.
pub(crate) fn exchange<'s>(settings: &'s Settings, bytes: &str) -> Result<Exchange<'s>, BadHead> {
    let mut exchange = Exchange::new(settings, &settings.listeners[0], peer(), head(bytes), NOW, 1);
    exchange.understand().map(|()| exchange)
}

/// Runs `look` on the exchange of a request, before it is routed.
pub(crate) fn with_exchange<R>(
    settings: &Settings,
    line: &str,
    headers: &[&str],
    look: impl FnOnce(&mut Exchange<'_>) -> R,
) -> R {
    let bytes = request(line, headers);
    look(&mut exchange(settings, &bytes).unwrap())
}

/// Routes a request and tells what has come of it: `serve N`, `STATUS [Location] body`, `drop` or `ask URI`.
pub(crate) fn routed(settings: &Settings, line: &str, headers: &[&str]) -> String {
    with_exchange(settings, line, headers, |exchange| match route(exchange) {
        Routed::Serve(location) => format!("serve {}", location.number),
        Routed::Reply(reply) => {
            let body = match &reply.body {
                crate::request::reply::Body::Full(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            };
            let body = if body.starts_with("<html>") { "<html>".to_owned() } else { body };
            let target = reply.location.as_ref().map(|target| format!(" -> {}", String::from_utf8_lossy(target)));
            format!("{}{} {body}", exchange.status_sent(&reply), target.unwrap_or_default())
        }
        Routed::Drop => "drop".to_owned(),
        Routed::Wait(milliseconds) => format!("wait {milliseconds}"),
        Routed::Verify(_) => "verify".to_owned(),
        Routed::Authorize { uri } => format!("ask {}", String::from_utf8_lossy(&uri)),
    })
}
