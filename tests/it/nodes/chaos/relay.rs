//! A network that can be broken: a relay before a server, whose connections can be cut, left half open, or held up either way; and a sentinel as
//! one node sees it, which names relays instead of servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::support::free_port;

/// What the network does to connections, which are counted as they come.
#[derive(Clone, Copy, Default)]
struct Weather {
    /// Nothing gets to the server.
    deaf: bool,
    /// Nothing comes back from it.
    mute: bool,
    /// Connections up to this one are cut.
    cut: u64,
    /// Connections up to this one are open and dead for ever.
    dead: u64,
}

/// A relay.
pub struct Relay {
    pub port: u16,
    weather: watch::Sender<Weather>,
    connections: Arc<AtomicU64>,
}

impl Relay {
    /// Begins one before the server at a port.
    pub fn start(runtime: &Handle, server: u16) -> Self {
        Self::at(runtime, free_port(), server)
    }

    /// The same at a port that was promised.
    pub fn at(runtime: &Handle, port: u16, server: u16) -> Self {
        let (weather, watched) = watch::channel(Weather::default());
        let connections = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&connections);
        let listener = listen(runtime, port);
        runtime.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(carry(client, server, number, watched.clone()));
            }
        });
        Self { port, weather, connections }
    }

    /// Ends the connections there are.
    pub fn cut(&self) {
        let now = self.connections.load(Ordering::SeqCst);
        self.weather.send_modify(|weather| weather.cut = now);
    }

    /// Leaves the connections there are open, and carries nothing over them any more.
    pub fn leave_half_open(&self) {
        let now = self.connections.load(Ordering::SeqCst);
        self.weather.send_modify(|weather| weather.dead = now);
    }

    /// Holds up what goes to the server, and what comes from it; what was held up goes on when it is over.
    pub fn hold_up(&self, deaf: bool, mute: bool) {
        self.weather.send_modify(|weather| (weather.deaf, weather.mute) = (deaf, mute));
    }
}

fn listen(runtime: &Handle, port: u16) -> TcpListener {
    runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).unwrap()
}

async fn carry(client: TcpStream, server: u16, number: u64, mut weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = pump(from_client, to_server, number, weather.clone(), |weather| weather.deaf);
    let back = pump(from_server, to_client, number, weather.clone(), |weather| weather.mute);
    tokio::select! {
        // Whoever ends one side ends both.
        () = there => {}
        () = back => {}
        _ = weather.wait_for(|weather| weather.cut >= number) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut weather: watch::Receiver<Weather>,
    held: impl Fn(&Weather) -> bool,
) {
    let mut buffer = vec![0; 65536];
    loop {
        let read = from.read(&mut buffer).await;
        // Also the end is not heard of.
        if weather.wait_for(|weather| weather.dead < number && !held(weather)).await.is_err() {
            return;
        }
        match read {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).await.is_ok() => {}
            _ => return,
        }
    }
}

/// A sentinel as one node sees it.
pub struct Lookout {
    pub port: u16,
    blind: watch::Sender<bool>,
}

impl Lookout {
    /// Begins one before a sentinel; what that calls by the first port of a pair is called by the second one.
    pub fn start(runtime: &Handle, sentinel: u16, names: [(u16, u16); 2]) -> Self {
        let port = free_port();
        let listener = listen(runtime, port);
        let (blind, watched) = watch::channel(false);
        runtime.spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(look(client, sentinel, names, watched.clone()));
            }
        });
        Self { port, blind }
    }

    /// Whether the sentinel cannot be reached.
    pub fn is_blind(&self, blind: bool) {
        self.blind.send_replace(blind);
    }
}

async fn look(mut client: TcpStream, sentinel: u16, names: [(u16, u16); 2], mut blind: watch::Receiver<bool>) {
    let mut question = [0; 1024];
    while let Ok(count @ 1..) = client.read(&mut question).await {
        if blind.wait_for(|blind| !blind).await.is_err() {
            return;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sentinel));
        let Ok(mut server) = TcpStream::connect(address).await else { return };
        let mut answer = [0; 1024];
        if server.write_all(&question[..count]).await.is_err() {
            return;
        }
        let Ok(count @ 1..) = server.read(&mut answer).await else { return };
        let mut answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        for (name, told) in names {
            // All ports of a test have five digits.
            answer = answer.replace(&format!("\r\n{name}\r\n"), &format!("\r\n{told:05}\r\n"));
        }
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
