//! All modes by all doors under load while the server is ended and begun again, reloaded and succeeded again and again, and a
//! channel is deleted: nothing lost beyond what a kill or a deletion may cost, nothing twice, nothing out of order.
//!
//! `SOAK_SECONDS` makes it longer (`make soak-restarts`: an hour), `SOAK_PERIOD` sets the seconds between two ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::restart::{Stranger, start, succeed};
use crate::support::{
    Door, Follower, LAST, PATIENCE, Prefix, Running, Seen, TEMPLATE, eventually, free_port, number_from_environment,
    resident_kib,
};
use crate::tls_server::self_signed;

/// The last one is deleted now and then.
const CHANNELS: [&str; 4] = ["a", "b", "c", "gone"];
/// What each mode follows, and how long it stays at most before it comes back.
const FOLLOWED: [(&str, Duration); 5] = [
    ("a", Duration::MAX),
    ("b", Duration::from_millis(300)),
    ("c", Duration::from_secs(2)),
    ("a/b/c", Duration::from_secs(1)),
    ("b/gone", Duration::from_secs(3)),
];
/// What a kill may cost, on a machine on which the writer may have to wait for its turn.
const COST: Duration = Duration::from_millis(500);

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location ~ ^/streaming/(.*) { push_stream_subscriber; push_stream_channels_path $1; }
    location ~ ^/polling/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; }
    location ~ ^/long-polling/(.*) {
        push_stream_subscriber long-polling; push_stream_longpolling_connection_ttl 3s; push_stream_channels_path $1;
    }
    location ~ ^/eventsource/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/websocket/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1; }";

const MODES: [&str; 5] = ["streaming", "polling", "long-polling", "eventsource", "websocket"];

/// Asks a publisher's location; whether that was acknowledged.
fn ask(door: &Door, method: &str, channel: &str, text: &str) -> bool {
    let send = || -> std::io::Result<String> {
        let mut stream = door.open(PATIENCE)?;
        let length = text.len();
        stream.write_all(
            format!("{method} /pub?id={channel} HTTP/1.0\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{text}")
                .as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    send().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// A message that was acknowledged.
struct Acknowledged {
    channel: &'static str,
    number: u64,
    begun: Instant,
    at: Instant,
}

fn publish_until(doors: &[Door], stop: &AtomicBool) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let channel = CHANNELS[number as usize % CHANNELS.len()];
        let begun = Instant::now();
        if ask(&doors[number as usize / 7 % doors.len()], "POST", channel, &number.to_string()) {
            acknowledged.push(Acknowledged { channel, number, begun, at: Instant::now() });
            std::thread::sleep(Duration::from_millis(1));
        } else {
            // Whether it got there nobody knows: the number is not used again.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    acknowledged
}

/// When deletions were over, whether they were acknowledged or not.
fn delete_until(doors: &[Door], stop: &AtomicBool) -> Vec<Instant> {
    let mut over = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(430));
        let _ = ask(&doors[over.len() % doors.len()], "DELETE", "gone", "");
        over.push(Instant::now());
    }
    over
}

/// The server that serves now.
enum Serving {
    Child(Running),
    Successor(Stranger),
}

impl Serving {
    fn process(&self) -> i32 {
        match self {
            Self::Child(running) => running.process(),
            Self::Successor(stranger) => stranger.process(),
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process()), signal).unwrap();
    }

    fn wait(self) {
        match self {
            Self::Child(mut running) => drop(running.wait()),
            Self::Successor(stranger) => eventually("the successor ends", || !stranger.lives()),
        }
    }
}

/// What the ends of servers have shown.
#[derive(Default)]
struct Ends {
    /// The moments at which one was killed.
    kills: Vec<Instant>,
    /// Memory of each before its end, in KiB.
    resident: Vec<usize>,
    /// Bytes of the directory then.
    on_disk: Vec<u64>,
    /// The longest time between an end and the next one that serves.
    longest: Duration,
}

fn bytes_on_disk(prefix: &Prefix) -> u64 {
    let files = std::fs::read_dir(prefix.path("state")).unwrap().filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|file| std::os::unix::fs::MetadataExt::blocks(&file) * 512).sum()
}

fn end_again_and_again(prefix: &Prefix, server: &mut Option<Serving>, total: Duration, period: Duration) -> Ends {
    let (began, mut seen) = (Instant::now(), Ends::default());
    let ends = [
        Signal::SIGKILL,
        Signal::SIGHUP,
        Signal::SIGTERM,
        Signal::SIGUSR2,
        Signal::SIGQUIT,
        Signal::SIGKILL,
        Signal::SIGUSR2,
        Signal::SIGHUP,
    ];
    for end in ends.into_iter().cycle() {
        std::thread::sleep(period);
        if began.elapsed() > total {
            break;
        }
        let running = server.take().unwrap();
        if end == Signal::SIGHUP {
            running.signal(end);
            *server = Some(running);
            continue;
        }
        seen.resident.push(resident_kib(running.process()));
        seen.on_disk.push(bytes_on_disk(prefix));
        let ended = Instant::now();
        if end == Signal::SIGKILL {
            seen.kills.push(ended);
        }
        *server = Some(if end == Signal::SIGUSR2 {
            let successor = succeed(prefix, running.process());
            running.signal(Signal::SIGQUIT);
            running.wait();
            Serving::Successor(successor)
        } else {
            running.signal(end);
            running.wait();
            Serving::Child(start(prefix))
        });
        seen.longest = seen.longest.max(ended.elapsed());
    }
    seen
}

#[test]
fn restarts_under_load_lose_nothing_and_give_nothing_twice() {
    let total = Duration::from_secs(number_from_environment("SOAK_SECONDS", 9));
    let period = Duration::from_secs(number_from_environment("SOAK_PERIOD", 1));
    let prefix = Prefix::new("soak");
    self_signed(&prefix.dir, "a");
    let [tls, proxied] = [free_port(), free_port()];
    let unix = std::env::temp_dir().join(format!("pushstreamd-soak-{}.sock", std::process::id()));
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let doors =
        [Door::Plain(prefix.address()), Door::Tls(local(tls)), Door::Proxied(local(proxied)), Door::Unix(unix.clone())];
    prefix.configure(&format!(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log notice; worker_shutdown_timeout 2s;
        events {{ worker_connections 4096; }}
        http {{
            push_stream_shared_memory_size 512m; push_stream_message_ttl 1d; push_stream_state state;
            push_stream_max_messages_stored_per_channel 20000;
            push_stream_last_received_message_time $arg_time; push_stream_last_received_message_tag $arg_tag;
            push_stream_message_template '{TEMPLATE}';
            server {{
                listen 127.0.0.1:@PORT@ backlog=4096; listen 127.0.0.1:{tls} ssl; listen 127.0.0.1:{proxied} proxy_protocol;
                listen unix:{}; ssl_certificate @DIR@/a.crt; ssl_certificate_key @DIR@/a.key;
                {LOCATIONS}
            }}
        }}",
        unix.display()
    ));
    let mut server = Some(Serving::Child(start(&prefix)));
    let (stop, give_up) = (AtomicBool::new(false), AtomicBool::new(false));
    let (acknowledged, deletions, ends, clients) = std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for (at, (channels, stays)) in FOLLOWED.into_iter().enumerate() {
            for (mode_at, mode) in MODES.into_iter().enumerate() {
                let (doors, give_up) = (&doors, &give_up);
                let follower = Follower { host: "a", mode, channels, by_event_id: false, stays };
                let mut turn = at + mode_at;
                let next = move || {
                    turn += 1;
                    doors[turn % doors.len()].clone()
                };
                clients.push((mode, channels, scope.spawn(move || follower.follow(next, give_up))));
            }
        }
        let publisher = scope.spawn(|| publish_until(&doors, &stop));
        let deleter = scope.spawn(|| delete_until(&doors, &stop));
        let ends = end_again_and_again(&prefix, &mut server, total, period);
        stop.store(true, Ordering::Relaxed);
        let (acknowledged, deletions) = (publisher.join().unwrap(), deleter.join().unwrap());
        for (channel, number) in CHANNELS.into_iter().zip(LAST..) {
            assert!(ask(&doors[0], "POST", channel, &number.to_string()));
        }
        let until = Instant::now() + PATIENCE;
        while clients.iter().any(|(.., thread)| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        give_up.store(true, Ordering::Relaxed);
        let clients: Vec<(&str, &str, Seen)> =
            clients.into_iter().map(|(mode, channels, thread)| (mode, channels, thread.join().unwrap())).collect();
        (acknowledged, deletions, ends, clients)
    });
    let kills = &ends.kills;
    assert!(acknowledged.len() > 100 && kills.len() >= 2, "{} messages, {} kills", acknowledged.len(), kills.len());
    let may_be_lost = |message: &Acknowledged| {
        let at = message.at;
        kills.iter().any(|kill| at <= *kill + COST && *kill < at + COST)
            || message.channel == "gone" && deletions.iter().any(|over| *over >= message.begun)
    };
    for (mode, channels, seen) in &clients {
        let shown = &seen.wrong[..seen.wrong.len().min(5)];
        assert!(seen.wrong.is_empty(), "{mode} on {channels}: {} wrong: {shown:?}", seen.wrong.len());
        assert!(seen.numbers.is_sorted_by(|one, next| one < next), "{mode} on {channels}: out of order");
        assert_eq!(seen.lasts, channels.split('/').count(), "{mode} on {channels} has not come to the end");
        let own = acknowledged.iter().filter(|message| channels.split('/').any(|channel| channel == message.channel));
        let lost: Vec<u64> = own
            .filter(|message| seen.numbers.binary_search(&message.number).is_err() && !may_be_lost(message))
            .map(|message| message.number)
            .collect();
        assert_eq!(lost, [0; 0], "{mode} on {channels} after {} connections", seen.connections);
    }
    let log = prefix.log();
    assert!(!log.contains("panicked") && !log.contains("has a gap") && !log.contains("unreadable"), "{log}");
    assert!(bytes_on_disk(&prefix) < 160 << 20, "{} bytes in the directory", bytes_on_disk(&prefix));
    // What is stored is the same from the first minutes on, and so is what holds it.
    let (early, late) = ends.resident.split_at(ends.resident.len() / 2);
    let (early, late) = (early.iter().max().unwrap(), late.iter().max().unwrap());
    assert!(
        total < Duration::from_secs(600) || late < &(early + early / 4),
        "KiB before each end: {:?}",
        ends.resident
    );
    let _ = std::fs::remove_file(unix);
    println!(
        "{} messages, {} ends of which {} kills, {} clients: nothing lost, nothing twice; {early} KiB in the first half, {late} in \
         the second; at most {} MiB on disk; {:?} at most from an end to the next server that serves",
        acknowledged.len(),
        ends.resident.len(),
        kills.len(),
        clients.len(),
        ends.on_disk.iter().max().unwrap() >> 20,
        ends.longest
    );
}
