//! A line to a Redis that is not as it should be: what is asked is answered with an error in its place, comes late, or trickles.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::free_port;

/// What is wrong with the line.
#[derive(Clone, Default)]
pub struct Wrong {
    /// What commands of this name are answered, and the name; of all commands if that is empty.
    pub answer: Option<(&'static str, &'static str)>,
    /// How late each command gets there.
    pub late: Duration,
    /// How late those of a name do, beyond that.
    pub slow: Option<(&'static str, Duration)>,
    /// Bytes a second that come back.
    pub narrow: Option<usize>,
}

/// The line.
pub struct Liar {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    wrong: Wrong,
    /// Commands answered in another's place.
    answered: usize,
}

impl Liar {
    /// One before the server at a port.
    pub fn before(server: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect((Ipv4Addr::LOCALHOST, server))) else {
                    continue;
                };
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || carry_there(client, server, &there));
                std::thread::spawn(move || carry_back(from, to, &back));
            }
        });
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on this is wrong.
    pub fn set(&self, wrong: Wrong) {
        self.state.lock().unwrap().wrong = wrong;
    }

    /// How many commands were answered in the server's place.
    pub fn answered(&self) -> usize {
        self.state.lock().unwrap().answered
    }
}

fn carry_there(mut client: TcpStream, mut server: TcpStream, state: &Mutex<State>) {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65536]);
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
        while let Some((name, length)) = command(&bytes) {
            let wrong = state.lock().unwrap().wrong.clone();
            let is_slow = |of: &str| name.eq_ignore_ascii_case(of.as_bytes());
            let slow = wrong.slow.filter(|(of, _)| is_slow(of)).map_or(Duration::ZERO, |(_, late)| late);
            std::thread::sleep(wrong.late + slow);
            let lie = wrong.answer.filter(|(of, _)| of.is_empty() || name.eq_ignore_ascii_case(of.as_bytes()));
            let done = match lie {
                Some((_, answer)) => {
                    state.lock().unwrap().answered += 1;
                    client.write_all(format!("-{answer}\r\n").as_bytes())
                }
                None => server.write_all(&bytes[..length]),
            };
            if done.is_err() {
                return;
            }
            bytes.drain(..length);
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn carry_back(mut server: TcpStream, mut client: TcpStream, state: &Mutex<State>) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        if let Some(rate) = state.lock().unwrap().wrong.narrow {
            std::thread::sleep(Duration::from_secs_f64(count as f64 / rate as f64));
        }
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// The name of the first command, and its length, once it is whole: `*COUNT\r\n`, then `$LENGTH\r\nWORD\r\n` for each word.
fn command(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let number = |at: usize| {
        let end = at + bytes.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        Some((std::str::from_utf8(&bytes[at + 1..end]).ok()?.parse::<usize>().ok()?, end + 2))
    };
    let (words, mut at) = number(0)?;
    let mut name = Vec::new();
    for word in 0..words {
        let (length, from) = number(at)?;
        at = from + length + 2;
        let text = bytes.get(from..from + length)?;
        if word == 0 {
            name = text.to_vec();
        }
    }
    (at <= bytes.len()).then_some((name, at))
}
