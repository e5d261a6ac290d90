//! The load program: `bench` prints the table of figures, `soak` proves deliveries, `churn` measures memory under storms of
//! connections, `million` a crowd of channels; `siege` attacks the server for minutes; `floor` is the server everything is compared with.
//!
//! One thread, no runtime. It knows servers by their URLs and by what the kernel says about their processes.

mod answer;
mod churn;
mod floor;
mod http2;
mod proc;
mod requests;
mod rows;
mod servers;
mod siege;
mod soak;
mod swarm;
mod table;
mod tls;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::rows::{Crowd, ROWS};
use crate::servers::{Kind, Setup};
use crate::siege::Siege;
use crate::soak::Soak;
use crate::table::Figures;

/// Measures push servers.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the table of figures, server beside server.
    Bench(Bench),
    /// Follow numbered messages with long-poll clients; count what is lost or repeated.
    Soak(SoakOptions),
    /// Measure memory under storms of connections.
    Churn(ChurnOptions),
    /// Measure pauses with very many channels.
    Million(MillionOptions),
    /// Attack a server at every door while well-behaved clients are checked.
    Siege(SiegeOptions),
    /// Attack until standard input ends: what a siege starts.
    #[command(hide = true)]
    Attack(siege::Orders),
    /// Serve as the floor.
    Floor { address: SocketAddr },
}

#[derive(Args)]
struct Which {
    /// The binary of pushstreamd.
    #[arg(long, default_value = "target/release/pushstreamd")]
    server: PathBuf,
    /// Put the result into this document, between its marks.
    #[arg(long)]
    write: Option<PathBuf>,
    /// A variable of the server's environment, NAME=VALUE.
    #[arg(long = "env", value_parser = variable)]
    environment: Vec<(String, String)>,
}

#[derive(Args)]
struct Bench {
    #[command(flatten)]
    which: Which,
    /// Another server that runs already: NAME=ADDRESS:PORT,PID.
    #[arg(long = "peer")]
    peers: Vec<Kind>,
    /// Measure nginx with nchan too.
    #[arg(long)]
    nchan: bool,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only rows whose key begins with one of these.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
}

#[derive(Args)]
struct SoakOptions {
    #[command(flatten)]
    which: Which,
    #[arg(long, default_value_t = 2000)]
    clients: usize,
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long, default_value_t = 200)]
    bursts_per_second: u64,
}

#[derive(Args)]
struct ChurnOptions {
    #[command(flatten)]
    which: Which,
    #[arg(long, default_value_t = 10)]
    storms: usize,
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
}

#[derive(Args)]
struct MillionOptions {
    #[command(flatten)]
    which: Which,
    #[arg(long, default_value_t = 1_000_000)]
    channels: usize,
    /// Seconds messages are kept: enough to load and list all.
    #[arg(long, default_value_t = 60)]
    ttl: u32,
}

#[derive(Args)]
struct SiegeOptions {
    #[command(flatten)]
    which: Which,
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Messages a second to the well-behaved.
    #[arg(long, default_value_t = 50)]
    rate: u64,
    /// Most memory the server may take, MiB.
    #[arg(long, default_value_t = 1024)]
    memory: u64,
    /// Only assaults whose name begins with one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    match cli.command {
        Command::Bench(options) => bench(&options),
        Command::Soak(options) => soak(&options),
        Command::Churn(options) => churn(&options),
        Command::Million(options) => million(&options),
        Command::Siege(options) => siege(options),
        Command::Attack(orders) => siege::attack(&orders),
        Command::Floor { address } => floor::serve(address),
    }
}

fn variable(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => bail!("a variable is NAME=VALUE"),
    }
}

fn bench(options: &Bench) -> Result<()> {
    let mut kinds = vec![Kind::Own(options.which.server.clone()), Kind::Floor];
    if options.nchan {
        kinds.push(Kind::Nchan);
    }
    kinds.extend(options.peers.iter().cloned());
    let wanted = |key: &str| options.rows.is_empty() || options.rows.iter().any(|start| key.starts_with(&**start));
    let mut all = Vec::new();
    for row in ROWS.iter().filter(|row| wanted(row.key)) {
        let mut by_server = vec![Vec::new(); kinds.len()];
        for round in 0..options.rounds {
            for (kind, figures) in kinds.iter().zip(&mut by_server) {
                match row.measure(kind, &options.which.environment) {
                    Ok(figure) => figures.extend(figure),
                    // A peer may not know a transport; of our own that is a failure.
                    Err(error) if matches!(kind, Kind::Nchan | Kind::Peer { .. }) => {
                        if round == 0 {
                            eprintln!("{}: {}: {error:#}", kind.name(), row.what);
                        }
                    }
                    Err(error) => return Err(error.context(format!("{}: {}", kind.name(), row.what))),
                }
            }
        }
        let shown: Vec<_> = kinds.iter().zip(&by_server).map(|(kind, figures)| (kind.name(), figures)).collect();
        eprintln!("{}: {shown:.2?}", row.key);
        all.push(Figures { row, by_server });
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.name().to_owned()).collect();
    let text = format!("{}\n{}\n", table::markdown(&names, 1, &all), table::origin(options.rounds));
    publish(&options.which, "table", &text)
}

fn soak(options: &SoakOptions) -> Result<()> {
    let kind = Kind::Own(options.which.server.clone());
    let mut text =
        "| workers | stalled readers | messages | deliveries | polls | lost | repeated | stalled cut off |\n\
        |---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    let mut wrong = 0;
    for (workers, stalled) in [(1, 0), (2, 0), (1, options.clients / 10), (2, options.clients / 10)] {
        let soak = Soak {
            workers,
            clients: options.clients,
            seconds: options.seconds,
            bursts_per_second: options.bursts_per_second,
            stalled,
        };
        let outcome = soak::run(&kind, &soak)?;
        wrong += outcome.lost + outcome.repeated + (stalled - outcome.cut);
        let _ = writeln!(
            text,
            "| {workers} | {stalled} | {} | {} | {} | {} | {} | {} |",
            outcome.published, outcome.delivered, outcome.polls, outcome.lost, outcome.repeated, outcome.cut
        );
    }
    publish(&options.which, "soak", &format!("{text}\n{}\n", table::origin(1)))?;
    if wrong > 0 {
        bail!("something was lost or repeated, or a stalled reader was kept");
    }
    Ok(())
}

fn churn(options: &ChurnOptions) -> Result<()> {
    let kind = Kind::Own(options.which.server.clone());
    let setup = Setup { environment: options.which.environment.clone(), ..Setup::default() };
    let (before, storms) = churn::run(&kind, &setup, options.storms, options.connections)?;
    let mut text = "| storm | at its height | after it | cpu a connection |\n|---:|---:|---:|---:|\n".to_owned();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let _ = writeln!(text, "| before | | {:.1} MiB | |", mib(before));
    for (number, storm) in storms.iter().enumerate() {
        let cpu = storm.cpu as f64 / 1e3;
        let (height, after) = (mib(storm.height), mib(storm.after));
        let _ = writeln!(text, "| {} | {height:.1} MiB | {after:.1} MiB | {cpu:.1} µs |", number + 1);
    }
    publish(&options.which, "churn", &format!("{text}\n{}\n", table::origin(1)))
}

fn million(options: &MillionOptions) -> Result<()> {
    let kind = Kind::Own(options.which.server.clone());
    let crowd = Crowd { channels: options.channels, ttl: options.ttl };
    let mut text =
        "| phase | took | longest answer | all but one in 1,000 below | all but one in 100 below |\n|---|---:|---:|---:|---:|\n"
            .to_owned();
    for phase in rows::million(&kind, &crowd)?.into_iter().chain(rows::renewed(&kind, &crowd)?) {
        let pauses = &phase.pauses;
        let _ = writeln!(
            text,
            "| {} | {:.1?} | {:.1?} | {:.1?} | {:.1?} |",
            phase.name,
            phase.took,
            pauses.longest(),
            pauses.all_but_one_in(1000),
            pauses.all_but_one_in(100)
        );
    }
    publish(&options.which, "million", &format!("{text}\n{}\n", table::origin(1)))
}

fn siege(options: SiegeOptions) -> Result<()> {
    let SiegeOptions { which, seconds, clients, rate, memory, only, seed } = options;
    let siege = Siege { seconds, clients, rate, memory, only, seed };
    let outcome = siege::run(&which.server, &siege)?;
    publish(&which, "siege", &outcome.text)?;
    if !outcome.harm.is_empty() {
        bail!("the siege did harm:\n{}", outcome.harm.join("\n"));
    }
    Ok(())
}

/// Prints a result, and writes it where asked.
fn publish(which: &Which, name: &str, text: &str) -> Result<()> {
    println!("{text}");
    match &which.write {
        Some(path) => table::write_between(path, name, text),
        None => Ok(()),
    }
}
