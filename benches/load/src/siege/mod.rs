//! A siege: for minutes everything hostile clients do, at every door, while well-behaved clients of all modes are checked for
//! each message once, in order, in time.
//!
//! It stays on 127.0.0.1 and is bounded in connections and time. Nothing it does needs to be answered; what it asserts is
//! that nobody well-behaved is harmed, and that memory and descriptors are afterwards what they were.

mod assault;
mod camp;
mod citizens;
mod doors;
mod field;
mod town;

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use camp::Camp;
use citizens::{Citizens, Harm};
use town::Town;

pub(crate) use camp::{Orders, attack};

/// How to besiege.
#[derive(Clone, Debug)]
pub(crate) struct Siege {
    pub(crate) seconds: u64,
    pub(crate) clients: usize,
    /// Messages a second, over all channels.
    pub(crate) rate: u64,
    /// Most memory the server may ever take, MiB.
    pub(crate) memory: u64,
    /// Only assaults whose name begins with one of these.
    pub(crate) only: Vec<String>,
    pub(crate) seed: u64,
}

/// How long the last messages, and the server to let go of the attackers, may take.
const REST: Duration = Duration::from_secs(30);
/// Growth between two times that is none.
const SLACK: u64 = 32 << 20;

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// What was harmed; empty when the siege was withstood.
    pub(crate) harm: Vec<String>,
}

struct Memory {
    before: u64,
    samples: Vec<u64>,
    after: u64,
}

/// What workers of the server do with a second, nanoseconds: most on a cpu, most waiting for one, by one of them.
#[derive(Default)]
struct Turns {
    before: Vec<(u64, u64)>,
    most: (u64, u64),
}

impl Turns {
    fn look(&mut self, town: &Town) -> Result<()> {
        let now = town.family.turns("worker-")?;
        for ((cpu, waited), (cpu_before, waited_before)) in now.iter().zip(&self.before) {
            self.most.0 = self.most.0.max(cpu - cpu_before);
            self.most.1 = self.most.1.max(waited - waited_before);
        }
        self.before = now;
        Ok(())
    }
}

/// Besieges a fresh server.
pub(crate) fn run(binary: &Path, siege: &Siege) -> Result<Outcome> {
    let mut town = Town::start(binary)?;
    field::store_history(&town)?;
    town.family.settle()?;
    let mut memory = Memory { before: town.family.memory()?, samples: Vec::new(), after: 0 };
    let files = town.family.descriptors();
    let mut turns = Turns::default();
    let mut citizens = Citizens::settle(&town, siege.clients, siege.rate)?;
    let camp = Camp::pitch(&town, &siege.only, siege.seed)?;
    live(&town, &mut citizens, siege, &mut memory, &mut turns)?;
    let harm = citizens.finish(REST)?;
    let waves = camp.end()?;
    let left = rest(&town, files)?;
    memory.after = town.family.memory()?;
    let status = town.status()?;
    let panics = town.panics()?;
    let mut outcome = judge(siege, &waves, (&harm, &turns), &memory, (files, left), (&status, panics));
    if !town.end() {
        outcome.harm.push("the server does not end".to_owned());
    }
    Ok(outcome)
}

/// Lives through the siege.
fn live(town: &Town, citizens: &mut Citizens, siege: &Siege, memory: &mut Memory, turns: &mut Turns) -> Result<()> {
    let began = Instant::now();
    let mut sampled = 0;
    while began.elapsed() < Duration::from_secs(siege.seconds) {
        citizens.live(Duration::from_millis(100)).context("the citizens")?;
        if began.elapsed().as_secs() > sampled {
            sampled = began.elapsed().as_secs();
            memory.samples.push(town.family.memory().context("the server is gone")?);
            turns.look(town)?;
        }
    }
    Ok(())
}

/// Waits until the server has let go of the attackers and memory has come back; the descriptors that are left.
fn rest(town: &Town, files: usize) -> Result<usize> {
    let until = Instant::now() + REST;
    while town.family.descriptors() > files && Instant::now() < until {
        thread::sleep(Duration::from_millis(200));
    }
    thread::sleep(REST / 2);
    town.family.settle()?;
    Ok(town.family.descriptors())
}

fn judge(
    siege: &Siege,
    waves: &[(String, u64)],
    (harm, turns): (&Harm, &Turns),
    memory: &Memory,
    (files, left): (usize, usize),
    (status, panics): (&str, usize),
) -> Outcome {
    let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    let peak = memory.samples.iter().copied().max().unwrap_or(memory.before);
    let fifth = (memory.samples.len() / 5).max(1);
    let mean = |samples: &[u64]| samples.iter().sum::<u64>() / samples.len().max(1) as u64;
    let early = mean(memory.samples.get(fifth..2 * fifth).unwrap_or_default());
    let late = mean(memory.samples.get(memory.samples.len().saturating_sub(fifth)..).unwrap_or_default());

    let mut wrong = harm.complaints();
    let mut must = |fine: bool, what: String| {
        if !fine {
            wrong.push(what);
        }
    };
    must(left <= files, format!("{} descriptors are left", left.saturating_sub(files)));
    must(memory.after <= memory.before * 3 / 2 + SLACK, format!("memory stays at {}", mib(memory.after)));
    must(peak <= siege.memory << 20, format!("memory reached {}", mib(peak)));
    must(siege.seconds < 60 || late <= early * 6 / 5 + SLACK, format!("memory grows: {} to {}", mib(early), mib(late)));
    must(panics == 0, format!("{panics} panics"));

    let mut text = "| what | figure |\n|---|---:|\n".to_owned();
    let mut row = |what: &str, figure: String| {
        let _ = writeln!(text, "| {what} | {figure} |");
    };
    row("seconds", siege.seconds.to_string());
    row("well-behaved clients, of all modes, over plain HTTP, TLS and HTTP/2", siege.clients.to_string());
    row("messages published / received", format!("{} / {}", harm.published, harm.received));
    row("lost / repeated or out of order", format!("{} / {}", harm.lost, harm.repeated));
    row("well-behaved clients cut off or refused", harm.cut.to_string());
    for (way, delays) in harm.delays() {
        row(&format!("delay of a message, {way}: half / all but one in 1,000 / longest"), delays);
    }
    row("time to the answer of a publish, the same", harm.answers());
    let millis =
        |(one, other): (u64, u64), unit: f64| format!("{:.0} ms / {:.0} ms", one as f64 / unit, other as f64 / unit);
    row("longest time the siege looked at no connection / of it waiting for a cpu", millis(harm.pause, 1e3));
    row("within a second one worker was on a cpu / waited for one, at most", millis(turns.most, 1e6));
    row("memory before / at most / after", [memory.before, peak, memory.after].map(mib).join(" / "));
    row("memory in the second and the last fifth", [early, late].map(mib).join(" / "));
    row("descriptors before / after", format!("{files} / {left}"));
    for (assault, waves) in waves {
        row(&format!("waves: {assault}"), waves.to_string());
    }
    let _ = writeln!(text, "\nThe server then says: `{}`", status.trim());
    let _ = writeln!(text, "\nSeed {}; {}", siege.seed, crate::table::origin(1).replace("; medians of 1", ""));
    Outcome { text, harm: wrong }
}
