//! How zones live: from start to start by their logs, through reloads that add, move and remove them, and into another binary.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{HOSTS, Site, configuration};
use crate::support::{Client, PATIENCE, Prefix, eventually, within};

const STATE: &str = "push_stream_state state; push_stream_drain_time 0;";
/// A host of each zone, and the zone.
const ZONES: [(&str, &str); 3] = [("first.example", "default"), ("chat.example", "chat"), ("news.example", "news.v2")];

impl Site {
    /// Reloads with other servers.
    fn reload(&self, http: &str, servers: &[(&str, &str)]) {
        let done = || self.prefix.read("logs/error.log").matches("reconfigured").count();
        let before = done();
        self.prefix.configure(&configuration(http, servers));
        self.process.signal(Signal::SIGHUP);
        eventually("it is reconfigured", || done() > before);
    }

    /// Ends, and starts with other servers.
    fn restart(&mut self, signal: Signal, http: &str, servers: &[(&str, &str)]) {
        self.process.signal(signal);
        self.process.wait();
        self.prefix.configure(&configuration(http, servers));
        self.process = self.prefix.spawn(&[]);
        self.prefix.wait_until_serving();
    }

    /// Waits until new requests for a host are answered in a zone that has this channel.
    fn await_channel(&self, host: &str, channel: &str) {
        eventually(&format!("{host} has {channel}"), || {
            // By every worker: each connection goes to any of them.
            (0..16).all(|_| self.ask(host, &format!("GET /pub?id={channel}"), "").status == 200)
        });
    }

    /// Publishes in each zone what names it.
    fn publish_everywhere(&self, text: &str) {
        for (host, zone) in ZONES {
            self.publish(host, "x", &format!("{text} in {zone}"));
        }
    }

    #[track_caller]
    fn assert_everywhere(&self, texts: &[&str]) {
        for (host, zone) in ZONES {
            let expected: Vec<String> =
                texts.iter().enumerate().map(|(n, text)| format!("x {} {text} in {zone}", n + 1)).collect();
            assert_eq!(self.stored(host, "x"), expected, "{host}");
        }
    }
}

fn assert_ends_with(client: &mut Client, words: &str) {
    let text = client.end();
    assert!(text.contains(words), "{text}");
}

#[test]
fn each_zone_comes_back_from_its_own_log_and_what_was_stored_before_there_were_zones_stays_the_first_ones() {
    let mut site = Site::start(STATE, &HOSTS[..1], &[]);
    site.publish("first.example", "old", "before zones");
    site.restart(Signal::SIGTERM, STATE, &HOSTS);
    assert_eq!(site.stored("first.example", "old"), ["old 1 before zones"]);
    assert_eq!(site.stored("chat.example", "old"), [""; 0]);
    site.publish_everywhere("one");
    site.restart(Signal::SIGQUIT, STATE, &HOSTS);
    site.publish_everywhere("two");
    site.assert_everywhere(&["one", "two"]);
    site.ask("chat.example", "DELETE /pub?id=gone", "");
    site.restart(Signal::SIGTERM, STATE, &HOSTS);
    site.assert_everywhere(&["one", "two"]);
    assert_eq!(site.stored("named.example", "old"), ["old 1 before zones"]);
    for zone in ["chat", "news.v2"] {
        assert!(site.prefix.path("state/zones").join(zone).join("lock").exists());
    }
    // A crash: what was synced, at the latest a second later, is there.
    site.publish_everywhere("three");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    site.restart(Signal::SIGKILL, STATE, &HOSTS);
    site.assert_everywhere(&["one", "two", "three"]);
}

#[test]
fn a_zone_without_a_server_keeps_its_messages_on_the_disk_and_that_is_told() {
    let mut site = Site::start(STATE, &HOSTS, &[]);
    site.publish_everywhere("one");
    site.restart(Signal::SIGTERM, STATE, &HOSTS[..4]);
    site.prefix.error_log_has("no server is in the zone \"news.v2\", whose log stays in");
    site.restart(Signal::SIGTERM, STATE, &HOSTS);
    site.assert_everywhere(&["one"]);
}

#[test]
fn the_unnamed_zone_is_there_only_with_a_server_of_it_and_has_its_messages_whenever_it_is() {
    let named: Vec<(&str, &str)> = HOSTS[2..].to_vec();
    let mut site = Site::start(STATE, &named, &[]);
    site.publish("chat.example", "x", "one in chat");
    assert!(!site.prefix.path("state/lock").exists(), "nothing of the unnamed one is on the disk");
    site.reload(STATE, &HOSTS);
    eventually("it is there", || (0..16).all(|_| site.stored("first.example", "x").is_empty()));
    site.publish("first.example", "x", "one in default");
    site.publish("news.example", "x", "one in news.v2");
    site.assert_everywhere(&["one"]);
    site.restart(Signal::SIGTERM, STATE, &named);
    site.prefix.error_log_has("no server is in the zone \"default\", whose log stays in");
    site.publish("chat2.example", "x", "two in chat");
    site.reload(STATE, &HOSTS);
    eventually("it has what it had", || (0..16).all(|_| site.stored("named.example", "x") == ["x 1 one in default"]));
    site.publish("first.example", "x", "two in default");
    site.publish("news.example", "x", "two in news.v2");
    site.assert_everywhere(&["one", "two"]);
    // A new binary has no use for it, and leaves it as it is.
    site.prefix.configure(&configuration(STATE, &named));
    site.process.signal(Signal::SIGUSR2);
    site.prefix.error_log_has("serves from now on");
    let new = Pid::from_raw(site.prefix.pid().unwrap());
    assert_eq!(site.stored("chat.example", "x").len(), 2);
    site.process.signal(Signal::SIGQUIT);
    site.process.wait();
    kill(new, Signal::SIGTERM).unwrap();
    eventually("it has ended", || site.prefix.pid().is_none());
    site.prefix.configure(&configuration(STATE, &HOSTS));
    site.process = site.prefix.spawn(&[]);
    site.prefix.wait_until_serving();
    site.assert_everywhere(&["one", "two"]);
}

#[test]
fn a_reload_adds_a_zone_with_a_log_of_its_own() {
    let mut site = Site::start(STATE, &HOSTS[..1], &[]);
    let mut stream = site.subscribe("first.example", "x");
    site.reload(STATE, &HOSTS);
    site.publish("first.example", "only-first", "y");
    eventually("the others are of other zones", || {
        (0..16).all(|_| site.ask("news.example", "GET /pub?id=only-first", "").status == 404)
    });
    site.publish_everywhere("one");
    assert!(
        !stream.until("\n").is_empty() && stream.until("one in default\n").starts_with("x 1 "),
        "it stays connected"
    );
    site.assert_everywhere(&["one"]);
    site.restart(Signal::SIGTERM, STATE, &HOSTS);
    site.assert_everywhere(&["one"]);
}

#[test]
fn subscribers_of_a_zone_that_servers_leave_are_sent_back_and_others_stay() {
    let moved = [HOSTS[0], HOSTS[1], ("chat.example", "push_stream_zone news.v2;"), HOSTS[3], HOSTS[4]];
    let site = Site::start(STATE, &HOSTS, &[]);
    site.publish_everywhere("one");
    let mut left: Vec<Client> = (0..50).map(|_| site.subscribe("chat.example", "x")).collect();
    let mut stays = [site.subscribe("first.example", "x"), site.subscribe("news.example", "x")];
    site.reload(STATE, &moved);
    for client in &mut left {
        assert_ends_with(client, "BYE");
    }
    site.publish("news.example", "mark", "y");
    site.await_channel("chat.example", "mark");
    let mut back = site.subscribe("chat.example", "x");
    site.publish("news.example", "x", "two in news.v2");
    site.publish("first.example", "x", "two in default");
    back.until("x 2 two in news.v2\n");
    for (client, zone) in stays.iter_mut().zip(["default", "news.v2"]) {
        client.until(&format!("x 2 two in {zone}\n"));
    }
    // The zone is still there, and so is what was said in it.
    assert_eq!(site.stored("chat2.example", "x"), ["x 1 one in chat"]);
    site.reload(STATE, &HOSTS);
    site.publish("chat2.example", "back", "y");
    site.await_channel("chat.example", "back");
    assert_eq!(site.stored("chat.example", "x"), ["x 1 one in chat"]);
    assert_ends_with(&mut back, "BYE");
}

#[test]
fn a_zone_that_no_server_is_of_any_more_lets_its_subscribers_go_and_has_everything_when_one_is_again() {
    let site = Site::start("push_stream_drain_time 0;", &HOSTS, &[]);
    site.publish_everywhere("one");
    let mut news = site.subscribe("news.example", "x");
    let mut chat = site.subscribe("chat.example", "x");
    site.reload("push_stream_drain_time 0;", &HOSTS[..4]);
    assert_ends_with(&mut news, "BYE");
    site.publish("chat.example", "x", "two in chat");
    chat.until("x 2 two in chat\n");
    // Its host is the default server's now.
    assert_eq!(site.stored("news.example", "x"), ["x 1 one in default"]);
    site.reload("push_stream_drain_time 0;", &HOSTS);
    eventually("it is served again", || (0..16).all(|_| site.stored("news.example", "x") == ["x 1 one in news.v2"]));
}

#[test]
fn a_reload_that_cannot_have_the_log_of_a_new_zone_changes_nothing() {
    let site = Site::start(STATE, &HOSTS[..1], &[]);
    let other = Site::start(
        &format!("push_stream_state {};", site.prefix.path("state/zones/news.v2").display()),
        &HOSTS[..1],
        &[],
    );
    site.prefix.configure(&configuration(STATE, &HOSTS));
    site.process.signal(Signal::SIGHUP);
    site.prefix.error_log_has("is in use by process");
    site.publish("first.example", "x", "y");
    assert_eq!(site.stored("chat.example", "x"), ["x 1 y"], "all hosts are the one server's");
    drop(other);
    // What was prepared for the other zones has been let go.
    site.reload(STATE, &HOSTS);
    eventually("there are zones", || (0..16).all(|_| site.stored("chat.example", "x").is_empty()));
    site.publish("news.example", "n", "y");
    // Its log is one that a crash has ended.
    assert_eq!(site.stored("news.example", "n"), ["n 10001 y"]);
}

#[test]
fn what_was_acknowledged_is_handed_out_in_each_zone_before_farewell() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut site = Site::start(STATE, &HOSTS, &[]);
        let mut streams: Vec<Client> = ZONES.iter().map(|(host, _)| site.subscribe(host, "x")).collect();
        for n in 0..20 {
            site.publish_everywhere(&n.to_string());
        }
        site.process.signal(signal);
        for (client, (_, zone)) in streams.iter_mut().zip(ZONES) {
            let text = client.end();
            let told: Vec<&str> = text.lines().filter(|line| line.starts_with("x ")).collect();
            let expected: Vec<String> = (0..20).map(|n| format!("x {} {n} in {zone}", n + 1)).collect();
            assert_eq!(told, expected);
            assert!(text.contains("BYE"), "{text}");
        }
        site.process.wait();
    }
}

#[test]
fn a_new_binary_goes_on_with_each_zone_and_the_old_one_takes_each_back() {
    let site = Site::start(STATE, &HOSTS, &[]);
    let old = site.prefix.pid().unwrap();
    site.publish_everywhere("one");
    let mut streams: Vec<Client> = ZONES.iter().map(|(host, _)| site.subscribe(host, "x")).collect();
    site.process.signal(Signal::SIGUSR2);
    site.prefix.error_log_has("serves from now on");
    for client in &mut streams {
        assert_ends_with(client, "BYE");
    }
    let new = site.prefix.pid().unwrap();
    assert_ne!(new, old);
    site.assert_everywhere(&["one"]);
    site.publish_everywhere("two");
    site.assert_everywhere(&["one", "two"]);
    // Once the log has it, it may die.
    std::thread::sleep(std::time::Duration::from_millis(400));
    kill(Pid::from_raw(new), Signal::SIGKILL).unwrap();
    eventually("the old one is the server again", || site.prefix.pid() == Some(old));
    within(PATIENCE, "it has what the new one was given", || site.stored("news.example", "x").len() == 2);
    site.assert_everywhere(&["one", "two"]);
    site.publish_everywhere("three");
    for (host, zone) in ZONES {
        let stored = site.stored(host, "x");
        assert!(stored.len() == 3 && stored[2].ends_with(&format!(" three in {zone}")), "{stored:?}");
    }
}

#[test]
fn a_process_that_has_served_beside_its_successor_keeps_each_zone_as_it_has_it() {
    let mut site = Site::start(STATE, &HOSTS, &[]);
    let old = site.prefix.pid().unwrap();
    site.publish_everywhere("one");
    site.process.signal(Signal::SIGUSR2);
    site.prefix.error_log_has("serves from now on");
    let new = site.prefix.pid().unwrap();
    site.publish_everywhere("two");
    site.process.signal(Signal::SIGHUP);
    site.prefix.error_log_has("what is published here does not survive a restart until that one has ended");
    // By either process: each has messages of its own now, in this zone.
    for _ in 0..32 {
        site.publish("chat.example", "x", "beside");
    }
    kill(Pid::from_raw(new), Signal::SIGQUIT).unwrap();
    eventually("the old one is the server again", || site.prefix.pid() == Some(old));
    let chat = || site.stored("chat.example", "x");
    within(PATIENCE, "the new one serves nobody any more", || {
        let stored = chat();
        (0..16).all(|_| chat() == stored)
    });
    let mut expected = chat();
    assert!(expected.len() > 2 && expected[..2] == ["x 1 one in chat", "x 2 two in chat"], "{expected:?}");
    for (host, zone) in [ZONES[0], ZONES[2]] {
        assert_eq!(site.stored(host, "x"), [format!("x 1 one in {zone}"), format!("x 2 two in {zone}")]);
    }
    site.publish_everywhere("three");
    // The id is beyond whatever the other one may have given.
    expected.push(chat().pop().filter(|line| line.ends_with(" three in chat")).unwrap());
    site.restart(Signal::SIGTERM, STATE, &HOSTS);
    assert_eq!(site.stored("chat.example", "x"), expected);
    for (host, zone) in [ZONES[0], ZONES[2]] {
        let stored = site.stored(host, "x");
        assert!(stored.len() == 3 && stored[2].ends_with(&format!(" three in {zone}")), "{stored:?}");
    }
}

#[test]
fn names_that_no_directory_could_have_are_refused_and_strict_knows_no_zones() {
    for name in ["a/b", "..", ".hidden", "\"\"", "\"a b\"", &"x".repeat(65)] {
        let prefix = Prefix::new("zone-names");
        prefix.configure(&configuration("", &[("a.example", &format!("push_stream_zone {name};"))]));
        let said = crate::support::said(&prefix.run(&["-t"]));
        assert!(said.contains("invalid value") && said.contains("push_stream_zone"), "{name}: {said}");
    }
    let prefix = Prefix::new("zone-strict");
    prefix.configure(&configuration("", &HOSTS));
    assert!(crate::support::said(&prefix.run(&["-t", "--strict"])).contains("unknown directive \"push_stream_zone\""));
    assert!(prefix.run(&["-t"]).status.success());
}
