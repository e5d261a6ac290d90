//! All modes under load while the server is ended and begun again and again: nothing lost beyond what a kill may cost, nothing
//! twice, nothing out of order.
//!
//! `SOAK_SECONDS` makes it longer (`make soak-restarts`: an hour), `SOAK_PERIOD` sets the seconds between two ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Follower, LAST, PATIENCE, Prefix, Running, Seen, TEMPLATE, number_from_environment};

const CHANNELS: [&str; 3] = ["a", "b", "c"];
/// What a kill may cost, on a machine on which the writer may have to wait for its turn.
const COST: Duration = Duration::from_millis(500);

const LOCATIONS: &str = "
    location /pub { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location ~ ^/streaming/(.*) { push_stream_subscriber; push_stream_channels_path $1; }
    location ~ ^/polling/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; }
    location ~ ^/long-polling/(.*) {
        push_stream_subscriber long-polling; push_stream_longpolling_connection_ttl 3s; push_stream_channels_path $1;
    }
    location ~ ^/eventsource/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/websocket/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1; }";

const MODES: [&str; 5] = ["streaming", "polling", "long-polling", "eventsource", "websocket"];

/// Publishes; whether it was acknowledged.
fn publish(address: SocketAddr, channel: &str, number: u64) -> bool {
    let text = number.to_string();
    let send = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = text.len();
        write!(stream, "POST /pub?id={channel} HTTP/1.0\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{text}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    send().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn start(prefix: &Prefix) -> Running {
    let running = prefix.spawn(&[]);
    prefix.wait_until_serving();
    running
}

/// Numbers that were acknowledged, and when.
type Acknowledged = Vec<(usize, u64, Instant)>;

fn publish_until(address: SocketAddr, stop: &AtomicBool) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let channel = (number % 3) as usize;
        if publish(address, CHANNELS[channel], number) {
            acknowledged.push((channel, number, Instant::now()));
            std::thread::sleep(Duration::from_millis(1));
        } else {
            // Whether it got there nobody knows: the number is not used again.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    acknowledged
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

fn end_again_and_again(prefix: &Prefix, server: &mut Option<Running>, total: Duration, period: Duration) -> Ends {
    let (began, mut seen) = (Instant::now(), Ends::default());
    let ends = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL, Signal::SIGQUIT];
    for end in ends.into_iter().cycle() {
        std::thread::sleep(period);
        if began.elapsed() > total {
            break;
        }
        let mut running = server.take().unwrap();
        seen.resident.push(running.resident_kib());
        seen.on_disk.push(bytes_on_disk(prefix));
        let ended = Instant::now();
        if end == Signal::SIGKILL {
            seen.kills.push(ended);
        }
        running.signal(end);
        running.wait();
        *server = Some(start(prefix));
        seen.longest = seen.longest.max(ended.elapsed());
    }
    seen
}

#[test]
fn restarts_under_load_lose_nothing_and_give_nothing_twice() {
    let total = Duration::from_secs(number_from_environment("SOAK_SECONDS", 6));
    let period = Duration::from_secs(number_from_environment("SOAK_PERIOD", 1));
    let prefix = Prefix::new("soak");
    prefix.configure(&format!(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log notice; worker_shutdown_timeout 2s;
        events {{ worker_connections 4096; }}
        http {{
            push_stream_shared_memory_size 512m; push_stream_message_ttl 1d; push_stream_state state;
            push_stream_max_messages_stored_per_channel 20000;
            push_stream_last_received_message_time $arg_time; push_stream_last_received_message_tag $arg_tag;
            push_stream_message_template '{TEMPLATE}';
            server {{ listen 127.0.0.1:@PORT@ backlog=4096; {LOCATIONS} }}
        }}"
    ));
    let mut server = Some(start(&prefix));
    let address = prefix.address();
    let (stop, give_up) = (AtomicBool::new(false), AtomicBool::new(false));
    let (acknowledged, ends, clients) = std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for (channel, id) in CHANNELS.into_iter().enumerate() {
            for mode in MODES {
                let give_up = &give_up;
                let stays = Duration::MAX;
                let follower = Follower { mode, channels: id, by_event_id: false, stays };
                clients.push((mode, channel, scope.spawn(move || follower.follow(|| address, give_up))));
            }
        }
        let publisher = scope.spawn(|| publish_until(address, &stop));
        let ends = end_again_and_again(&prefix, &mut server, total, period);
        stop.store(true, Ordering::Relaxed);
        let acknowledged = publisher.join().unwrap();
        for channel in CHANNELS {
            assert!(publish(address, channel, LAST));
        }
        let until = Instant::now() + PATIENCE;
        while clients.iter().any(|(.., thread)| !thread.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        give_up.store(true, Ordering::Relaxed);
        let clients: Vec<(&str, usize, Seen)> =
            clients.into_iter().map(|(mode, channel, thread)| (mode, channel, thread.join().unwrap())).collect();
        (acknowledged, ends, clients)
    });
    let kills = &ends.kills;
    assert!(acknowledged.len() > 100 && kills.len() >= 2, "{} messages, {} kills", acknowledged.len(), kills.len());
    let may_be_lost = |at: Instant| kills.iter().any(|kill| at <= *kill + COST && *kill < at + COST);
    for (mode, channel, seen) in &clients {
        let shown = &seen.wrong[..seen.wrong.len().min(5)];
        assert!(seen.wrong.is_empty(), "{mode} on {}: {} wrong: {shown:?}", CHANNELS[*channel], seen.wrong.len());
        assert!(seen.numbers.is_sorted_by(|one, next| one < next), "{mode} on {}: out of order", CHANNELS[*channel]);
        assert_eq!(seen.lasts, 1, "{mode} on {} has not come to the end", CHANNELS[*channel]);
        let own = acknowledged.iter().filter(|(at, ..)| at == channel);
        let lost: Vec<u64> = own
            .filter(|(_, number, at)| seen.numbers.binary_search(number).is_err() && !may_be_lost(*at))
            .map(|(_, number, _)| *number)
            .collect();
        assert_eq!(lost, [0; 0], "{mode} on {} after {} connections", CHANNELS[*channel], seen.connections);
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
