//! A million channels with one message each: how long the server keeps others waiting meanwhile.
//!
//! A prober on a thread and a connection of its own asks for next to nothing every millisecond; the longest answer of each
//! phase is the longest pause. On a busy machine that includes being off the cpu, the prober's own waits too.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::publish::all;
use crate::answer::Answer;
use crate::requests;
use crate::servers::{Kind, Server, Setup};
use crate::swarm::Swarm;

/// How the crowd is measured.
pub(crate) struct Crowd {
    pub(crate) channels: usize,
    /// Seconds messages are kept; must suffice to load and list all.
    pub(crate) ttl: u32,
}

/// The pauses of one phase.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) took: Duration,
    pub(crate) pauses: Pauses,
}

/// Answer times of a prober.
#[derive(Default)]
pub(crate) struct Pauses(Vec<Duration>);

impl Pauses {
    pub(crate) fn longest(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// The time that all but one in `n` answers stayed below.
    pub(crate) fn all_but_one_in(&self, n: usize) -> Duration {
        let above = self.0.len() / n;
        self.0.len().checked_sub(above + 1).and_then(|at| self.0.get(at)).copied().unwrap_or_default()
    }
}

/// Channels that messages come and go in while others stay, how many they hold each, and bytes of a message.
const BUSY: usize = 100;
const BUSY_BYTES: usize = 2000;

/// Loads with a log, and publishes until what the load has written is written once more.
pub(crate) fn renewed(kind: &Kind, crowd: &Crowd) -> Result<Vec<Phase>> {
    // Nothing expires meanwhile: each message of the load is carried along.
    let server = Server::start(kind, &Setup { message_ttl: 3600, state: true, ..Setup::default() })?;
    let mut swarm = Swarm::new()?;
    let (body, busy) = (requests::message(200), requests::message(BUSY_BYTES));
    let mut phases = vec![probed("load, with the log", &server, || {
        all(&mut swarm, &server, crowd.channels, |n, out| {
            out.extend_from_slice(&requests::publish("pub", &format!("{n:032}"), &body));
        })
    })?];
    let last = server.newest_log()?;
    phases.push(probed("files of the log are renewed", &server, || {
        while server.oldest_log()? <= last {
            all(&mut swarm, &server, 10_000, |n, out| {
                out.extend_from_slice(&requests::publish("pub", &format!("busy-{}", n % BUSY), &busy));
            })?;
        }
        Ok(())
    })?);
    Ok(phases)
}

/// Loads, lists and lets expire.
pub(crate) fn million(kind: &Kind, crowd: &Crowd) -> Result<Vec<Phase>> {
    let server = Server::start(kind, &Setup { message_ttl: crowd.ttl, ..Setup::default() })?;
    let mut swarm = Swarm::new()?;
    let body = requests::message(200);
    let mut phases = vec![probed("nothing", &server, || {
        sleep(Duration::from_secs(2));
        Ok(())
    })?];
    phases.push(probed("load", &server, || {
        all(&mut swarm, &server, crowd.channels, |n, out| {
            out.extend_from_slice(&requests::publish("pub", &format!("{n:032}"), &body));
        })
    })?);
    phases.push(probed("list ALL", &server, || list(server.address, "id=ALL").map(drop))?);
    phases.push(probed("expiry", &server, || {
        // Messages go first; their channels are left behind.
        while number_after(&list(server.address, "")?, "\"stored_messages\": ").context("no statistics")? > 0 {
            sleep(Duration::from_millis(200));
        }
        Ok(())
    })?);
    Ok(phases)
}

fn probed(name: &'static str, server: &Server, act: impl FnOnce() -> Result<()>) -> Result<Phase> {
    let prober = Prober::start(server.address)?;
    let began = Instant::now();
    act()?;
    Ok(Phase { name, took: began.elapsed(), pauses: prober.stop()? })
}

/// Asks for statistics and reads the whole answer.
fn list(address: SocketAddr, query: &str) -> Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(
        format!("GET /channels-stats?{query} HTTP/1.1\r\nHost: load\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(answer)
}

fn number_after(bytes: &[u8], label: &str) -> Option<u64> {
    let at = memchr::memmem::find(bytes, label.as_bytes())? + label.len();
    let rest = bytes.get(at..)?;
    // The module writes numbers as strings.
    let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
    let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Duration>>>,
}

impl Prober {
    fn start(address: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let seen = Arc::clone(&stop);
        let thread = spawn(move || {
            let mut times = Vec::new();
            while !seen.load(Ordering::Relaxed) {
                times.push(ask(&mut socket)?);
                sleep(Duration::from_millis(1));
            }
            Ok(times)
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<Pauses> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().map_err(|_| anyhow::anyhow!("the prober failed"))??;
        times.sort_unstable();
        Ok(Pauses(times))
    }
}

fn ask(socket: &mut TcpStream) -> Result<Duration> {
    let began = Instant::now();
    socket.write_all(b"GET /pub?id=probe HTTP/1.1\r\nHost: load\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while Answer::read(&answer).is_none() {
        let read = socket.read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the prober was cut off");
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    Ok(began.elapsed())
}
