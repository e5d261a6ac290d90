//! `pushstreamd health`: asks a running server, as a balancer would, whether it is ready.
//!
//! For containers without a shell and for scripts. Knows only the listener of `--status`; waits a bounded time.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step of the question may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than this the answer cannot be.
const LONGEST: u64 = 4096;

/// Prints what the server says of itself; 0 when it is ready.
pub(super) fn ask(address: SocketAddr) -> u8 {
    match answer(address) {
        Ok((200, said)) => {
            println!("{said}");
            0
        }
        Ok((_, said)) => {
            eprintln!("pushstreamd: [error] {address} says: {said}");
            1
        }
        Err(error) => {
            eprintln!("pushstreamd: [error] {address} does not answer: {error}");
            1
        }
    }
}

/// Status and text of `/readyz`.
fn answer(address: SocketAddr) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(text.as_bytes()).map_err(io::Error::other)?;
    match (parsed, head.code) {
        (httparse::Status::Complete(end), Some(code)) => {
            Ok((code, text.get(end..).unwrap_or_default().trim().to_owned()))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer.
    fn saying(text: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let _ = stream.read(&mut asked).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_server_that_says_so_is_ready() {
        assert_eq!(ask(saying("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n")), 0);
        assert_eq!(ask(saying("HTTP/1.1 503 Service Unavailable\r\n\r\nending\n")), 1);
        assert_eq!(ask(saying("HTTP/1.1 2")), 1);
        assert_eq!(ask(saying("")), 1);
    }

    #[test]
    fn a_port_nobody_listens_on_is_not_ready() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(ask(address), 1);
    }
}
