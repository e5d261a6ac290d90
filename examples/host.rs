//! Serves an `nginx.conf` by axum: each server of it on the sockets it names, over HTTP/1 and HTTP/2 without TLS.
//!
//!     cargo run --example host -- -c nginx-conf-examples/all-modes.conf -p .
//!
//! The binary `pushstreamd` does more (TLS, signals, reload, logs) and costs less; this shows what the library leaves to an
//! application that brings sockets of its own, and lets the project's tests ask the same questions at both doors.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use pushstreamd::PushStream;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

#[derive(Parser)]
struct Arguments {
    /// The configuration.
    #[arg(short)]
    config: PathBuf,
    /// Where its relative paths start.
    #[arg(short)]
    prefix: PathBuf,
    /// Follow the module to the letter.
    #[arg(long)]
    strict: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let push = PushStream::options().prefix(arguments.prefix).strict(arguments.strict).from_file(arguments.config)?;

    let mut terminated = signal(SignalKind::terminate())?;
    let mut serving = JoinSet::new();
    for (address, router) in push.sites() {
        let listener = TcpListener::bind(address).await?;
        // With the clients' addresses, so that `allow` and `deny` know them.
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        serving.spawn(async move { axum::serve(listener, service).await });
    }
    tokio::select! {
        _ = terminated.recv() => Ok(()),
        Some(ended) = serving.join_next() => Ok(ended??),
    }
}
