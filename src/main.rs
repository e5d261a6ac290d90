//! The command `pushstreamd`.

use std::process::ExitCode;

use pushstreamd::internals::cli::{self, Command, console};
use pushstreamd::internals::{server, tools};

/// Chosen by measurement (docs/adr/0003-allocator.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match cli::read(std::env::args_os()) {
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
        console::say(format_args!("pushstreamd: {complaint}"));
        return ExitCode::FAILURE;
    }
    let text = error.to_string();
    if std::env::args_os().any(|word| word == "--help") {
        return ExitCode::from(console::print(text.as_bytes()));
    }
    console::say(format_args!("{}", text.trim_end_matches('\n')));
    ExitCode::SUCCESS
}
