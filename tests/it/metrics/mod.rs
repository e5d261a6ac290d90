//! `/metrics`: every number against what was done, through any coming and going; and that dashboard and alerts ask for what is
//! told.

#![allow(clippy::float_cmp, reason = "counts are whole, and told as they are")]

mod moves;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use self::page::Page;
use crate::support::{Client, Server, exchange, free_port, request};

const LOCATIONS: &str = r#"
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location ~ ^/streaming/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/eventsource/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/long-polling/(.*) { push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/short/(.*) { push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_longpolling_connection_ttl 50ms; }
    location ~ ^/websocket/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/polling/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; }
    location ~ ^/known/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_authorized_channels_only on; }
    location /forbidden { deny all; }
"#;
const MODES: [&str; 4] = ["streaming", "eventsource", "long-polling", "websocket"];

/// A server with an operators' listener.
struct Watched {
    server: Server,
    port: u16,
}

impl Watched {
    fn start(http: &str) -> Self {
        let port = free_port();
        let zone = format!("push_stream_status {port}; {http}");
        let server = Server::with_args(&[], &zone, LOCATIONS);
        // Its clients' socket listens a moment earlier.
        server.eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
        Self { server, port }
    }

    fn page(&self) -> Page {
        page_of(self.port)
    }
}

fn page_of(port: u16) -> Page {
    let target = "/metrics HTTP/1.1\r\nAccept: application/openmetrics-text; version=1.0.0\r\nX: ";
    let answer = exchange(port, "GET", target, "").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
    Page::parse(body)
}

/// Random numbers whose seed is printed.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 0x9e37_79b9 + 1);
        println!("SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// What was done, counted by the test.
#[derive(Default)]
struct Model {
    subscribers: Vec<(usize, usize, Client)>,
    /// Those for whom it is over; who hangs up before the server has come to it has ended it himself.
    over: Vec<Client>,
    started: BTreeMap<usize, u64>,
    ended: BTreeMap<(usize, &'static str), u64>,
    channels: BTreeSet<usize>,
    stored: BTreeMap<usize, u64>,
    published: u64,
    delivered: u64,
    replayed: u64,
    polls: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl Model {
    fn end(&mut self, mode: usize, cause: &'static str) {
        *self.ended.entry((mode, cause)).or_default() += 1;
    }

    /// What differs from it in a page.
    fn difference(&self, page: &Page) -> Option<String> {
        let mut wanted = vec![
            ("pushstreamd_messages_published_total".to_owned(), self.published),
            ("pushstreamd_messages_delivered_total".to_owned(), self.delivered),
            ("pushstreamd_messages_replayed_total".to_owned(), self.replayed),
            ("pushstreamd_delivery_seconds_count".to_owned(), self.delivered),
            ("pushstreamd_polls_total{mode=\"polling\"}".to_owned(), self.polls),
            ("pushstreamd_channels".to_owned(), self.channels.len() as u64),
            ("nginx_push_stream_module_subscribers".to_owned(), self.subscribers.len() as u64),
            ("nginx_push_stream_module_published_messages".to_owned(), self.published),
        ];
        for (number, mode) in MODES.into_iter().enumerate() {
            let open = self.subscribers.iter().filter(|(of, ..)| *of == number).count() as u64;
            let started = self.started.get(&number).copied().unwrap_or(0);
            wanted.push((format!("pushstreamd_subscribers{{mode=\"{mode}\"}}"), open));
            wanted.push((format!("pushstreamd_subscriptions_started_total{{mode=\"{mode}\"}}"), started));
            for cause in ["client", "answered", "ttl", "deleted", "farewell", "slow_reader", "send_timeout", "panic"] {
                let ended = self.ended.get(&(number, cause)).copied().unwrap_or(0);
                let name = format!("pushstreamd_subscriptions_ended_total{{mode=\"{mode}\",reason=\"{cause}\"}}");
                wanted.push((name, ended));
            }
        }
        for reason in ["no_channel_id", "not_authorized", "not_found", "forbidden", "method", "handshake", "empty_post"]
        {
            let refused = self.refused.get(reason).copied().unwrap_or(0);
            wanted.push((format!("pushstreamd_refusals_total{{reason=\"{reason}\"}}"), refused));
        }
        wanted.into_iter().find_map(|(name, value)| {
            let told = page.value(&name);
            (told != value as f64).then(|| format!("{name} is {told}, not {value}"))
        })
    }
}

/// What holds at any moment at which nothing happens.
fn assert_whole(page: &Page) {
    let connections = page.value("pushstreamd_connections");
    let over =
        page.value("pushstreamd_connections_accepted_total") - page.value("pushstreamd_connections_closed_total");
    assert_eq!(connections, over);
    let subscribers = page.sum("pushstreamd_subscribers");
    assert_eq!(subscribers, page.sum("pushstreamd_worker_subscribers"));
    assert_eq!(subscribers, page.value("nginx_push_stream_module_subscribers"));
    let open = page.sum("pushstreamd_subscriptions_started_total") - page.sum("pushstreamd_subscriptions_ended_total");
    assert_eq!(subscribers, open);
    assert!(page.value("pushstreamd_sent_bytes_total") > 0.0 && page.value("pushstreamd_received_bytes_total") > 0.0);
    let used = page.value("pushstreamd_memory_used_bytes");
    assert!(used > 0.0 && used < page.value("pushstreamd_memory_limit_bytes"));
}

fn step(watched: &Watched, model: &mut Model, chance: &mut Chance) {
    let channel = chance.below(3);
    let kind = chance.below(12);
    println!("{kind} on {channel}, {} subscribers", model.subscribers.len());
    // Whoever subscribes or publishes creates it.
    if matches!(kind, 0..=4 | 6 | 7 | 9) {
        model.channels.insert(channel);
    }
    match kind {
        0..5 => {
            let mode = chance.below(MODES.len());
            let target = format!("/{}/{channel}", MODES[mode]);
            let mut client = watched.server.connect();
            if MODES[mode] == "websocket" {
                let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
                client.send(request("GET", &target, fields));
            } else {
                client.send(request("GET", &target, "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"));
            }
            *model.started.entry(mode).or_default() += 1;
            model.subscribers.push((mode, channel, client));
        }
        5 if !model.subscribers.is_empty() => {
            let (mode, ..) = model.subscribers.swap_remove(chance.below(model.subscribers.len()));
            model.end(mode, "client");
        }
        6..8 => {
            watched.server.publish(&format!("/pub?id={channel}"), "text");
            model.published += 1;
            *model.stored.entry(channel).or_default() += 1;
            leave(model, channel, "answered", |mode| MODES[mode] == "long-polling");
            model.delivered += model.subscribers.iter().filter(|(_, on, _)| *on == channel).count() as u64;
        }
        8 => {
            let known = model.channels.remove(&channel);
            let status = watched.server.ask(&format!("DELETE /pub?id={channel}"), &[], b"").status;
            assert_eq!(status, if known { 200 } else { 404 });
            *model.refused.entry("not_found").or_default() += u64::from(!known);
            model.stored.remove(&channel);
            leave(model, channel, "deleted", |_| known);
        }
        9 => {
            let status = watched.server.get(&format!("/polling/{channel}.b2")).status;
            let replayed = model.stored.get(&channel).copied().unwrap_or(0).min(2);
            assert_eq!(status, if replayed == 0 { 304 } else { 200 });
            model.replayed += replayed;
            model.polls += 1;
        }
        _ => {
            let (line, reason) = [
                ("GET /polling/", "no_channel_id"),
                ("GET /known/nobody", "not_authorized"),
                ("GET /nowhere", "not_found"),
                ("GET /forbidden", "forbidden"),
                ("PATCH /pub?id=a", "method"),
                ("GET /websocket/a", "handshake"),
                ("POST /pub?id=0", "empty_post"),
            ][chance.below(7)];
            watched.server.ask(line, &[], b"");
            if reason == "empty_post" {
                model.channels.insert(0);
            }
            *model.refused.entry(reason).or_default() += 1;
        }
    }
}

/// Those on a channel for whom it is over; a long-poll that is answered has had its message.
fn leave(model: &mut Model, channel: usize, cause: &'static str, over: impl Fn(usize) -> bool) {
    for (mode, on, client) in std::mem::take(&mut model.subscribers) {
        if on == channel && over(mode) {
            model.delivered += u64::from(cause == "answered");
            model.end(mode, cause);
            model.over.push(client);
        } else {
            model.subscribers.push((mode, on, client));
        }
    }
}

#[test]
fn the_numbers_are_those_of_what_was_done_through_any_coming_and_going() {
    let watched = Watched::start("");
    let (mut model, mut chance) = (Model::default(), Chance::new());
    for number in 0..70 {
        step(&watched, &mut model, &mut chance);
        let mut difference = None;
        let settled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            watched.server.eventually("the numbers", || {
                difference = model.difference(&watched.page());
                difference.is_none()
            });
        }));
        assert!(settled.is_ok(), "after step {number}: {difference:?}");
        model.over.clear();
    }
    // Connections of the test itself are over a moment later.
    watched.server.eventually("nothing happens", || {
        watched.page().value("pushstreamd_connections") == model.subscribers.len() as f64
    });
    assert_whole(&watched.page());
    // Messages of deleted channels count until the janitor comes.
    let stored: u64 = model.stored.values().sum();
    watched
        .server
        .eventually("what is stored", || watched.page().value("pushstreamd_messages_stored") == stored as f64);
}

#[test]
fn a_long_poll_whose_time_is_over_ends_by_that() {
    let watched = Watched::start("");
    assert_eq!(watched.server.get("/short/a").status, 304);
    let page = watched.page();
    let ended = "pushstreamd_subscriptions_ended_total{mode=\"long-polling\",reason=\"ttl\"}";
    assert_eq!(page.value(ended), 1.0);
    assert_eq!(page.value("pushstreamd_subscribers{mode=\"long-polling\"}"), 0.0);
}

#[test]
fn counters_go_on_through_reloads_and_tell_what_became_of_them() {
    let watched = Watched::start("");
    watched.server.publish("/pub?id=a", "text");
    let begun = watched.page();
    assert_eq!(begun.value("pushstreamd_reloads_total{result=\"done\"}"), 0.0);
    let zone = format!("push_stream_status {};", watched.port);
    watched.server.reload(&zone, LOCATIONS);
    let after = watched.page();
    assert_eq!(after.value("pushstreamd_reloads_total{result=\"done\"}"), 1.0);
    assert!(after.value("pushstreamd_requests_total") > begun.value("pushstreamd_requests_total"));
    assert_eq!(after.value("pushstreamd_messages_published_total"), 1.0);
    std::fs::write(watched.server.dir().join("nginx.conf"), "nonsense").unwrap();
    watched.server.signal(Signal::SIGHUP);
    watched.server.eventually("the reload fails", || watched.page().value("pushstreamd_reload_failed") == 1.0);
    let failed = watched.page();
    assert_eq!(failed.value("pushstreamd_reloads_total{result=\"failed\"}"), 1.0);
    let loaded = "pushstreamd_configuration_loaded_timestamp_seconds";
    assert_eq!(failed.value(loaded), after.value(loaded));
}

#[test]
fn the_log_each_workers_lag_and_the_process_are_told() {
    let watched = Watched::start("push_stream_state state;");
    watched.server.publish("/pub?id=a", "text");
    let lag = |page: &Page| page.value("pushstreamd_worker_loop_lag_seconds_count{worker=\"1\"}");
    watched.server.eventually("two questions answered", || lag(&watched.page()) >= 2.0);
    watched.server.eventually("it is written", || watched.page().value("pushstreamd_log_entries_written_total") >= 1.0);
    let page = watched.page();
    assert_eq!(page.value("pushstreamd_log_gap"), 0.0);
    assert_eq!(page.value("pushstreamd_log_backlog_bytes"), 0.0);
    assert!(page.value("pushstreamd_log_size_bytes") > 0.0);
    assert!(page.value("pushstreamd_worker_lag_seconds{worker=\"0\"}") < 5.0);
    let began = page.value("process_start_time_seconds");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((now - 120.0..now + 2.0).contains(&began), "{began}");
    assert!(page.value("process_open_fds") > 5.0 && page.value("process_resident_memory_bytes") > 1e6);
}

#[test]
fn a_certificate_is_told_with_its_end() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics");
    std::fs::create_dir_all(&dir).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2031, 2, 3);
    let key = rcgen::KeyPair::generate().unwrap();
    let (certificate, secret) = (dir.join("a.crt"), dir.join("a.key"));
    std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    let tls = format!(
        "server {{ listen 127.0.0.1:{} ssl; ssl_certificate {}; ssl_certificate_key {}; location /pub {{ push_stream_publisher; push_stream_channels_path a; }} }}",
        free_port(),
        certificate.display(),
        secret.display()
    );
    let page = Watched::start(&tls).page();
    let name = format!("pushstreamd_certificate_expiry_timestamp_seconds{{certificate=\"{}\"}}", certificate.display());
    assert_eq!(page.value(&name), 1_927_843_200.0);
}

#[test]
fn whoever_asks_for_nothing_gets_the_older_format() {
    let watched = Watched::start("");
    let answer = exchange(watched.port, "GET", "/metrics", "").unwrap();
    assert!(answer.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{answer:.300}");
    assert!(answer.contains("# TYPE pushstreamd_requests_total counter\n") && !answer.contains("# EOF"));
}

/// Names of ours within expressions, as they are asked for.
fn names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for prefix in ["pushstreamd_", "process_", "nginx_push_stream_module_"] {
        for (at, _) in text.match_indices(prefix) {
            if !text[..at].ends_with(is_word) {
                names.push(text[at..].chars().take_while(|c| is_word(*c)).collect());
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn dashboard_and_alerts_ask_for_what_is_told() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let table = read("docs/METRICS.md");
    let (dashboard, rules) = (read("docs/grafana/pushstreamd.json"), read("docs/alerts/pushstreamd.rules.yml"));
    let asked = [names(&dashboard), names(&rules)].concat();
    assert!(asked.len() > 40, "{asked:?}");
    for name in asked {
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(&name);
        let told = table.contains(&format!("| `{name}` |")) || table.contains(&format!("| `{stem}` | histogram |"));
        assert!(told, "{name} is not told");
    }
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 15);
}
