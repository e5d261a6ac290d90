//! The attackers, as a process of their own.
//!
//! Where they share the siege's, what they hold (its memory map, its allocator, a processor they are too nice to be given) keeps
//! the thread waiting that looks at the well-behaved, and the server is taken for slow. They go when their standard input ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::assault::{self, Assault};
use super::doors;
use super::field::{Dice, Field};
use super::town::Town;

/// How nice attackers are to everybody else who wants a processor: they have machines of their own.
const PATIENT: i32 = 15;
/// A machine that can do nothing else is no test of the server.
const BREATH: Duration = Duration::from_millis(50);

/// What attackers are told.
#[derive(Args, Clone, Debug)]
pub(crate) struct Orders {
    /// The door of plain HTTP.
    plain: SocketAddr,
    /// The door of TLS.
    tls: SocketAddr,
    /// The door of HTTP/2.
    http2: SocketAddr,
    /// Only assaults whose name begins with one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long)]
    seed: u64,
}

/// Attackers at work.
pub(super) struct Camp(Child);

impl Camp {
    pub(super) fn pitch(town: &Town, only: &[String], seed: u64) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("attack").args([town.plain, town.tls, town.http2].map(|door| door.to_string()));
        command.args(["--seed", &seed.to_string()]).args(only.iter().map(|name| format!("--only={name}")));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("the attackers")?;
        Ok(Self(child))
    }

    /// Tells them to go; how many waves there were of each assault.
    pub(super) fn end(mut self) -> Result<Vec<(String, u64)>> {
        drop(self.0.stdin.take());
        let told = self.0.stdout.take().context("they say nothing")?;
        let waves = BufReader::new(told).lines().map(|line| {
            let line = line?;
            let (waves, name) = line.split_once(' ').context("not a count of waves")?;
            Ok((name.to_owned(), waves.parse()?))
        });
        let waves = waves.collect::<Result<Vec<_>>>()?;
        ensure!(self.0.wait()?.success(), "the attackers failed");
        Ok(waves)
    }
}

/// Attacks until standard input ends, then tells the waves of each assault.
pub(crate) fn attack(orders: &Orders) -> Result<()> {
    // Threads that are started from here are as patient.
    rustix::process::setpriority_process(None, PATIENT)?;
    let field = Field::new(orders.plain, orders.tls, orders.http2);
    let wanted = |assault: &&Assault| {
        orders.only.is_empty() || orders.only.iter().any(|start| assault.name.starts_with(&**start))
    };
    let assaults: Vec<_> = assault::ALL.iter().chain(&doors::ALL).filter(wanted).collect();
    thread::scope(|scope| {
        for (number, assault) in assaults.iter().enumerate() {
            let (field, seed) = (&field, orders.seed.wrapping_add(number as u64));
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                while !field.is_over() {
                    (assault.wave)(field, &mut dice);
                    assault.waves.fetch_add(1, Ordering::Relaxed);
                    field.pause(BREATH);
                }
            });
        }
        // Nothing is said there.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        field.end();
    });
    let mut out = std::io::stdout().lock();
    for assault in assaults {
        writeln!(out, "{} {}", assault.waves.load(Ordering::Relaxed), assault.name)?;
    }
    Ok(())
}
