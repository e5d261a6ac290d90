//! What attackers share: where the doors are, when it is over, dice, and connections that expect nothing good.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use socket2::{Domain, SockRef, Socket, Type};

use super::town::Town;
use crate::answer::Answer;
use crate::requests;

/// Messages of the channel `big`, and the size of each.
const HISTORY: usize = 40;
const PAGE: usize = 1_000_000;

/// The field before the town.
pub(super) struct Field {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) http2: SocketAddr,
    over: AtomicBool,
}

impl Field {
    pub(super) fn new(plain: SocketAddr, tls: SocketAddr, http2: SocketAddr) -> Self {
        Self { plain, tls, http2, over: AtomicBool::new(false) }
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits, not beyond the end.
    pub(super) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_over() && Instant::now() < until {
            sleep(Duration::from_millis(20).min(time));
        }
    }

    /// Does something again and again, with a pause between, for a time.
    pub(super) fn every(&self, pause: u64, time: u64, mut act: impl FnMut()) {
        let until = Instant::now() + Duration::from_millis(time);
        while !self.is_over() && Instant::now() < until {
            act();
            self.pause(Duration::from_millis(pause));
        }
    }
}

/// Seeded chance (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    pub(super) fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len());
        of.get(at).unwrap_or_else(|| unreachable!("one of nothing"))
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 24) as u8).collect()
    }
}

/// A hostile connection: nothing it does is an error.
pub(super) struct Raider(Option<TcpStream>);

impl Raider {
    pub(super) fn to(address: SocketAddr) -> Self {
        Self::connect(address, None)
    }

    /// With a receive buffer that is full at once.
    pub(super) fn narrow(address: SocketAddr) -> Self {
        Self::connect(address, Some(2048))
    }

    fn connect(address: SocketAddr, receive: Option<usize>) -> Self {
        let made = || -> std::io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            if let Some(size) = receive {
                socket.set_recv_buffer_size(size)?;
            }
            socket.connect_timeout(&address.into(), Duration::from_secs(2))?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(Duration::from_millis(50)))?;
            stream.set_write_timeout(Some(Duration::from_millis(50)))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        Self(made().ok())
    }

    /// Sends; whether it went.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.as_mut().is_some_and(|stream| stream.write_all(bytes.as_ref()).is_ok())
    }

    /// Reads a little.
    pub(super) fn read(&mut self, count: usize) -> usize {
        let mut buffer = vec![0; count];
        self.0.as_mut().and_then(|stream| stream.read(&mut buffer).ok()).unwrap_or(0)
    }

    /// Leaves by RST.
    pub(super) fn reset(self) {
        if let Some(stream) = &self.0 {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// The stream, for another protocol over it.
    pub(super) fn stream(&mut self) -> Option<&mut TcpStream> {
        self.0.as_mut()
    }
}

/// Fills the channel `big`.
pub(super) fn store_history(town: &Town) -> Result<()> {
    let mut stream = TcpStream::connect(town.plain)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut answers, mut buffer) = (Vec::new(), [0; 4096]);
    for _ in 0..HISTORY {
        stream.write_all(&requests::publish("pub", "big", &vec![b'h'; PAGE]))?;
        while Answer::read(&answers).is_none() {
            match stream.read(&mut buffer)? {
                0 => bail!("no answer"),
                read => answers.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            }
        }
        answers.clear();
    }
    Ok(())
}
