//! The command `pushstreamd`.

use std::process::ExitCode;

use clap::Parser;
use pushstreamd::internals::cli::{self, Cli, Command};
use pushstreamd::internals::{server, tools};

/// Chosen by measurement (docs/adr/0003-allocator.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return answer(&error),
    };
    ExitCode::from(match &cli.command {
        Some(Command::Tool(tool)) => tools::run(&cli, tool),
        _ => server::run(&cli),
    })
}

/// Help was asked for, or the command line is wrong. As with nginx both go to standard error; `--help`, which nginx does
/// not know, goes to standard output so that it can be paged.
fn answer(error: &clap::Error) -> ExitCode {
    if let Some(complaint) = cli::complaint(error) {
        eprintln!("pushstreamd: {complaint}");
        return ExitCode::FAILURE;
    }
    if std::env::args().any(|word| word == "--help") {
        print!("{error}");
    } else {
        eprint!("{error}");
    }
    ExitCode::SUCCESS
}
