//! The tools: what `pushstreamd pub`, `tail`, `bench` and `doctor` do, all from the side of a client.
//!
//! They speak to servers over the network as anybody does, and know nothing of what goes on inside one; only `doctor` reads
//! configurations, to say what a start with them would meet. A server knows nothing of them.

mod address;
mod bench;
mod doctor;
mod exchange;
mod follow;
mod line;
mod message;
mod position;
mod publish;
mod sent;
mod tail;
mod trust;
mod websocket;

use std::future::Future;

use thiserror::Error;

use crate::cli::Cli;
use crate::cli::console::say;
use crate::cli::tools::Tool;

/// Runs a tool; the exit code.
pub fn run(cli: &Cli, tool: &Tool) -> u8 {
    let done = match tool {
        Tool::Pub(wanted) => in_runtime(publish::run(wanted)),
        Tool::Tail(wanted) => in_runtime(tail::run(wanted)),
        Tool::Bench(wanted) => in_runtime(bench::run(wanted)),
        Tool::Doctor(wanted) => in_runtime(doctor::run(cli, wanted)),
    };
    match done {
        Ok(code) => code,
        // Whoever read it has enough; lost connections are told otherwise.
        Err(ToolError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            say(format_args!("pushstreamd: {error}"));
            1
        }
    }
}

fn in_runtime(work: impl Future<Output = Result<u8, ToolError>>) -> Result<u8, ToolError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Why a tool cannot do what it is asked for.
#[derive(Debug, Error)]
enum ToolError {
    /// What was said on the command line cannot be.
    #[error("{0}")]
    Asked(String),
    /// A file, or the terminal.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A server that cannot be reached, or breaks off.
    #[error("{place}: {why}")]
    Lost {
        /// Which.
        place: String,
        /// What happened.
        why: String,
    },
    /// A server whose certificate is not to be trusted.
    #[error("{place}: its certificate is not trusted: {why}")]
    Untrusted {
        /// Which.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A server that says no.
    #[error("{place}: {status} {why}")]
    Refused {
        /// Which.
        place: String,
        /// The status of the answer.
        status: u16,
        /// What the answer says to it.
        why: String,
    },
}
