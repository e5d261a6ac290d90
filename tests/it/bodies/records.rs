//! The same requests within TLS, where a read of the socket is no read of the request: a record ends anywhere, several come
//! at once, and one comes in pieces.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::answers::Answers;
use super::site::{NGINX_TARGETS, PUSH_TARGETS, Site, connect, send};
use super::{assert_none, complaint, cut, early, every, pipeline, side_by_side};
use crate::tls_server::trusting;

/// How the records of a request come.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// One behind the other, each once the one before has been read.
    Each,
    /// All of them in one piece.
    Together,
    /// All of them, cut without regard to where they end.
    Torn(usize),
}

/// Sends each piece in a record of its own and reads to the end.
fn ask(site: &Site, config: &Arc<ClientConfig>, pieces: &[&[u8]], methods: &[&str], arrival: Arrival) -> Answers {
    let mut stream = connect(&site.tls());
    let mut session = ClientConnection::new(Arc::clone(config), ServerName::try_from("a.example").unwrap()).unwrap();
    while session.is_handshaking() || session.wants_write() {
        session.complete_io(&mut stream).unwrap();
    }
    let records = pieces.iter().map(|piece| record(&mut session, piece));
    let records: Vec<Vec<u8>> = match arrival {
        Arrival::Each => records.collect(),
        Arrival::Together => vec![records.collect::<Vec<_>>().concat()],
        Arrival::Torn(size) => records.collect::<Vec<_>>().concat().chunks(size).map(<[u8]>::to_vec).collect(),
    };
    send(&mut stream, records.iter().map(Vec::as_slice));
    read(session, stream, methods)
}

/// The record that holds a piece.
fn record(session: &mut ClientConnection, piece: &[u8]) -> Vec<u8> {
    session.writer().write_all(piece).unwrap();
    let mut record = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut record).unwrap();
    }
    record
}

fn read(session: ClientConnection, stream: UnixStream, methods: &[&str]) -> Answers {
    let mut bytes = Vec::new();
    let ended = match StreamOwned::new(session, stream).read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    };
    Answers::cut(&bytes, ended, methods)
}

#[test]
fn a_request_in_any_records_is_answered_as_in_one() {
    let site = Site::start();
    let config = trusting(b"http/1.1");
    // Those of nginx's that read a body, throw it away, refuse it, or take their time before they do.
    let nginx =
        NGINX_TARGETS.iter().filter(|target| ["/r200", "/deny", "/file.txt", "/slow/file.txt"].contains(target));
    let targets: Vec<&str> = nginx.chain(&PUSH_TARGETS).copied().collect();
    assert_none(side_by_side(&every(&targets, &["POST"]), |key, request| {
        let (bytes, methods) = pipeline(std::slice::from_ref(request), key);
        let ask = |places: &[usize], arrival| ask(&site, &config, &cut(&bytes, places), &methods, arrival);
        let (whole, early) = (ask(&[], Arrival::Together), early(&site, request));
        let end = request.bytes(key).len();
        let head = end - request.form.body.len();
        let middle = head + request.form.body.len() / 2;
        let every_byte: Vec<usize> = (head - 2..bytes.len()).collect();
        let first_bytes: Vec<usize> = (head - 1..(head + 12).min(bytes.len())).collect();
        let ways: [(&[usize], Arrival); 7] = [
            (&every_byte, Arrival::Together),
            (&first_bytes, Arrival::Each),
            (&[head], Arrival::Each),
            (&[middle, end], Arrival::Each),
            (&[head, middle, end], Arrival::Together),
            (&[head, middle], Arrival::Torn(head + 7)),
            (&[middle], Arrival::Torn(100)),
        ];
        ways.into_iter().find_map(|(places, arrival)| {
            let split = ask(places, arrival);
            let wrong = complaint(request, early, &whole, &split)?;
            Some(format!(
                "{}, {arrival:?}, head {head}, body to {end}, cut at {places:?}: {wrong}\n  in one record\n{}\n  in several\n{}",
                request.told(),
                whole.told(),
                split.told()
            ))
        })
    }));
    site.judge();
}
