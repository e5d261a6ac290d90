//! The floor: the least a one-thread server can do for the same clients.
//!
//! It looks at the first bytes of a request, keeps lists of sockets by channel, answers with fixed bytes, and sends each
//! message with one `send()` a subscriber. No HTTP rules, no store, no limits, no timeouts: what a server costs beyond
//! this is its own.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nok\r\n\r\n";
const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const DONE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
const POLL_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nLast-Modified: Sun, 22 Nov 2026 20:00:00 GMT\r\n\
    Etag: 1\r\nContent-Length: 201\r\n\r\n";

/// What a subscriber gets around a message.
#[derive(Clone, Copy)]
enum Framing {
    Poll,
    Stream,
    EventSource,
    WebSocket,
}

struct Floor {
    poll: Poll,
    sockets: Vec<Option<TcpStream>>,
    free: Vec<usize>,
    lists: HashMap<Vec<u8>, Vec<(usize, Framing)>>,
}

/// Serves for ever.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(socket.into());
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor { poll, sockets: Vec::new(), free: Vec::new(), lists: HashMap::new() };
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        floor.poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener)?;
            } else {
                floor.read(event.token().0, &mut buffer);
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((mut socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    let slot = self.free.pop().unwrap_or(self.sockets.len());
                    self.poll.registry().register(&mut socket, Token(slot), Interest::READABLE)?;
                    match self.sockets.get_mut(slot) {
                        Some(place) => *place = Some(socket),
                        None => self.sockets.push(Some(socket)),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Requests arrive whole and by one read each, which is what its client sends.
    fn read(&mut self, slot: usize, buffer: &mut [u8]) {
        let Some(mut socket) = self.sockets.get(slot).and_then(Option::as_ref) else { return };
        match socket.read(buffer) {
            Ok(0) => self.close(slot),
            Ok(read) => self.answer_all(slot, buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.close(slot),
        }
    }

    fn close(&mut self, slot: usize) {
        if let Some(place) = self.sockets.get_mut(slot) {
            *place = None;
            self.free.push(slot);
        }
        for list in self.lists.values_mut() {
            list.retain(|(own, _)| *own != slot);
        }
    }

    fn answer_all(&mut self, slot: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return };
            let head = bytes.get(..end + 4).unwrap_or_default();
            let length = content_length(head);
            let body = bytes.get(end + 4..end + 4 + length).unwrap_or_default();
            bytes = bytes.get(end + 4 + length..).unwrap_or_default();
            let target = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            match target.get(..4).unwrap_or_default() {
                b"/pub" | b"/not" => {
                    let channel = target.rsplit(|byte| *byte == b'=').next().unwrap_or_default();
                    self.publish(channel, body);
                    self.send(slot, DONE);
                }
                b"/sub" => self.subscribe(slot, target, Framing::Stream, STREAM_HEAD),
                b"/ev/" => self.subscribe(slot, target, Framing::EventSource, STREAM_HEAD),
                b"/ws/" => self.subscribe(slot, target, Framing::WebSocket, UPGRADE),
                b"/lp/" => self.subscribe(slot, target, Framing::Poll, b""),
                _ => self.send(slot, DONE),
            }
        }
    }

    fn subscribe(&mut self, slot: usize, target: &[u8], framing: Framing, answer: &[u8]) {
        let channel = target.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.lists.entry(channel.to_vec()).or_default().push((slot, framing));
        if !answer.is_empty() {
            self.send(slot, answer);
        }
    }

    fn publish(&mut self, channel: &[u8], body: &[u8]) {
        let Some(list) = self.lists.get_mut(channel) else { return };
        let Some(&(_, framing)) = list.first() else { return };
        let mut bytes = Vec::with_capacity(body.len() + 160);
        match framing {
            Framing::Poll => bytes.extend_from_slice(POLL_HEAD),
            Framing::Stream => bytes.extend_from_slice(format!("{:x}\r\n", body.len() + 1).as_bytes()),
            Framing::EventSource => bytes.extend_from_slice(format!("{:x}\r\ndata: ", body.len() + 8).as_bytes()),
            Framing::WebSocket => {
                bytes.extend_from_slice(&[0x81, 126]);
                bytes.extend_from_slice(&(body.len() as u16 + 1).to_be_bytes());
            }
        }
        bytes.extend_from_slice(body);
        bytes.push(b'\n');
        match framing {
            Framing::Stream => bytes.extend_from_slice(b"\r\n"),
            Framing::EventSource => bytes.extend_from_slice(b"\n\r\n"),
            _ => {}
        }
        let receivers = if matches!(framing, Framing::Poll) { std::mem::take(list) } else { list.clone() };
        for (slot, _) in receivers {
            self.send(slot, &bytes);
        }
    }

    /// Sends once; what a full socket does not take is lost.
    fn send(&mut self, slot: usize, bytes: &[u8]) {
        if let Some(mut socket) = self.sockets.get(slot).and_then(Option::as_ref) {
            let _ = socket.write(bytes);
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let label = b"Content-Length: ";
    let Some(at) = memchr::memmem::find(head, label) else { return 0 };
    let digits = head.get(at + label.len()..).unwrap_or_default();
    digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, byte| sum * 10 + usize::from(byte - b'0'))
}
