//! The command `pushstreamd`.

use std::process::ExitCode;

use clap::Parser;
use pushstreamd::cli::Cli;
use pushstreamd::server;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match server::run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pushstreamd: [emerg] {error:#}");
            ExitCode::FAILURE
        }
    }
}
