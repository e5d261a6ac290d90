//! The same locations over HTTP/2: a body in any DATA frames, padded, with empty ones between, ended by a frame with data, by
//! one without, or by trailers, is answered, and published, as in one.
//!
//! The client is `h2`; on its way to the server each of its DATA frames is made into those that are wanted ([`Reframed`]).

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, client};
use http::{HeaderMap, Request, Response};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::LocalSet;

use super::answers::Answer;
use super::forms::{HIDDEN, LIMIT};
use super::site::{NGINX_TARGETS, PUSH_TARGETS, Site, await_taken, connect};
use super::{METHODS, assert_none, side_by_side};
use crate::support::{PROMPTLY, property};

/// Requests of one connection: `h2` ends one that has sent a hundred empty frames.
const FEW: usize = 11;

const PREFACE: usize = 24;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// How a body comes.
#[derive(Clone, Debug)]
struct Frames {
    /// Where it is cut.
    cuts: Vec<usize>,
    /// Bytes of padding in each frame.
    padding: Option<u8>,
    /// An empty frame before each.
    hollow: bool,
    end: End,
}

/// What ends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its last frame.
    Last,
    /// A frame without data behind it.
    Empty,
    Trailers,
}

const WHOLE: Frames = Frames { cuts: Vec::new(), padding: None, hollow: false, end: End::Last };

/// A connection whose DATA frames are made anew. Each frame is read before the next comes.
struct Reframed {
    reads: tokio::net::UnixStream,
    writes: UnixStream,
    /// What the client has written and is no whole frame yet.
    held: Vec<u8>,
    preface: usize,
    frames: Rc<RefCell<Frames>>,
}

impl Reframed {
    fn put(&mut self, kind: u8, flags: u8, stream: &[u8], payload: &[u8]) -> io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(stream);
        frame.extend_from_slice(payload);
        self.put_bytes(&frame)
    }

    fn put_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let until = Instant::now() + PROMPTLY;
        while !bytes.is_empty() {
            match self.writes.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {}
                Err(error) => return Err(error),
            }
        }
        await_taken(&self.writes);
        Ok(())
    }

    /// One DATA frame of the client as the wanted ones.
    fn put_data(&mut self, flags: u8, stream: &[u8], body: &[u8]) -> io::Result<()> {
        let Frames { cuts, padding, hollow, end } = self.frames.borrow().clone();
        let pieces = super::cut(body, &cuts);
        let last = pieces.len() - 1;
        for (number, piece) in pieces.into_iter().enumerate() {
            if hollow {
                self.put(DATA, 0, stream, &[])?;
            }
            let ends = if number == last && end == End::Last { flags & END_STREAM } else { 0 };
            match padding {
                None => self.put(DATA, ends, stream, piece)?,
                Some(length) => {
                    let padded = [&[length], piece, &vec![0; length.into()]].concat();
                    self.put(DATA, ends | PADDED, stream, &padded)?;
                }
            }
        }
        if end == End::Empty && flags & END_STREAM != 0 {
            self.put(DATA, END_STREAM, stream, &[])?;
        }
        Ok(())
    }
}

impl AsyncWrite for Reframed {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        let preface = self.preface.min(self.held.len());
        if preface > 0 {
            let begin: Vec<u8> = self.held.drain(..preface).collect();
            self.preface -= preface;
            self.put_bytes(&begin)?;
        }
        while let Some(&[_, a, b, kind, flags, s1, s2, s3, s4]) = self.held.get(..9) {
            let length = usize::from(a) << 8 | usize::from(b);
            if self.held.len() < 9 + length {
                break;
            }
            let frame: Vec<u8> = self.held.drain(..9 + length).collect();
            if kind == DATA {
                self.put_data(flags, &[s1, s2, s3, s4], &frame[9..])?;
            } else {
                self.put_bytes(&frame)?;
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reads).poll_shutdown(context)
    }
}

impl AsyncRead for Reframed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reads).poll_read(context, into)
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Answer(Answer),
    Reset(Reason),
}

/// A connection, used for one request after the other.
struct Http2 {
    client: SendRequest<Bytes>,
    frames: Rc<RefCell<Frames>>,
}

/// A request of these tests.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    target: String,
    /// What it says of its length.
    length: Option<usize>,
    body: Vec<u8>,
}

impl Http2 {
    /// Runs what is asked over a connection of its own.
    fn with<T>(site: &Site, ask: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let writes = connect(&site.http2());
            writes.set_nonblocking(true).unwrap();
            let reads = tokio::net::UnixStream::from_std(writes.try_clone().unwrap()).unwrap();
            let frames = Rc::new(RefCell::new(WHOLE));
            let wire = Reframed { reads, writes, held: Vec::new(), preface: PREFACE, frames: Rc::clone(&frames) };
            let (client, connection) = client::handshake(wire).await.unwrap();
            tokio::task::spawn_local(connection);
            ask(&mut Self { client, frames }).await
        })
    }

    async fn ask(&mut self, asked: &Asked, frames: &Frames) -> Outcome {
        *self.frames.borrow_mut() = frames.clone();
        let mut request = Request::builder().method(asked.method).uri(format!("http://h{}", asked.target));
        if let Some(length) = asked.length {
            request = request.header("content-length", length);
        }
        let mut client = self.client.clone().ready().await.unwrap();
        let (answer, mut sender) = client.send_request(request.body(()).unwrap(), false).unwrap();
        // The server may have answered, and reset the rest.
        let ends = frames.end != End::Trailers;
        let _ = sender.send_data(Bytes::from(asked.body.clone()), ends);
        if !ends {
            let _ = sender.send_trailers(HeaderMap::from_iter([("x-a".parse().unwrap(), "b".parse().unwrap())]));
        }
        let answered = tokio::time::timeout(PROMPTLY, whole(answer)).await;
        match answered.unwrap_or_else(|_| panic!("{asked:?} {frames:?}: no answer")) {
            Ok((response, body)) => Outcome::Answer(Answer::of_http2(&response, &body)),
            Err(error) => Outcome::Reset(error.reason().unwrap_or_else(|| panic!("{asked:?} {frames:?}: {error}"))),
        }
    }

    /// Asked in one frame, as the same in pieces is compared with.
    async fn whole(&mut self, asked: &Asked) -> Outcome {
        self.ask(asked, &WHOLE).await
    }
}

async fn whole(answer: client::ResponseFuture) -> Result<(Response<()>, Vec<u8>), h2::Error> {
    let (head, mut rest) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = rest.data().await {
        match piece {
            Ok(piece) => {
                rest.flow_control().release_capacity(piece.len())?;
                body.extend_from_slice(&piece);
            }
            // All of the answer, and no more of the request, please.
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => break,
            Err(error) => return Err(error),
        }
    }
    Ok((Response::from_parts(head, ()), body))
}

/// Every way to cut so many bytes.
fn cuts(length: usize) -> Vec<Vec<usize>> {
    let ways = 0..1_u32 << length.saturating_sub(1);
    ways.map(|way| (1..length).filter(|place| way >> (place - 1) & 1 == 1).collect()).collect()
}

/// Small bodies in every way, others in a few.
fn ways() -> Vec<(Vec<u8>, Frames)> {
    let large = HIDDEN.repeat(LIMIT / HIDDEN.len() + 2);
    let every = |step: usize, text: &str| (1..text.len()).filter(|place| place % step == 0).collect::<Vec<_>>();
    let mut bodies: Vec<(&str, Vec<usize>)> = cuts(5).into_iter().map(|cuts| ("hello", cuts)).collect();
    bodies.extend([("", vec![]), (HIDDEN, vec![]), (HIDDEN, every(1, HIDDEN)), (HIDDEN, every(7, HIDDEN))]);
    bodies.extend([(large.as_str(), vec![]), (&large, every(10, &large)), (&large, vec![LIMIT])]);
    let mut ways = Vec::new();
    for (number, (body, cuts)) in bodies.into_iter().enumerate() {
        for end in [End::Last, End::Empty, End::Trailers] {
            for padding in [None, Some(number as u8)] {
                let hollow = number % 2 == 1 && cuts.len() < 8;
                let frames = Frames { cuts: cuts.clone(), padding, hollow, end };
                ways.push((body.as_bytes().to_vec(), frames));
            }
        }
    }
    ways
}

#[test]
fn a_body_in_any_data_frames_is_answered_as_in_one() {
    let site = Site::start();
    let targets = [&NGINX_TARGETS[..], &PUSH_TARGETS[..]].concat();
    let ways = ways();
    let jobs: Vec<_> = targets.iter().flat_map(|target| ways.chunks(FEW).map(move |ways| (target, ways))).collect();
    assert_none(side_by_side(&jobs, |key, (target, ways)| {
        Http2::with(&site, async |http2| {
            for (number, (body, frames)) in ways.iter().enumerate() {
                let target = format!("{target}{}k={key}", if target.contains('?') { '&' } else { '?' });
                let length = (number % 2 == 0).then_some(body.len());
                let asked = Asked { method: "POST", target, length, body: body.clone() };
                let (whole, split) = (http2.whole(&asked).await, http2.ask(&asked, frames).await);
                if whole != split {
                    return Some(format!("{asked:?} as {frames:?}\n  in one\n{whole:?}\n  in several\n{split:?}"));
                }
            }
            None
        })
    }));
    site.judge();
}

#[test]
fn any_request_in_any_data_frames_is_answered_as_in_one() {
    let site = Site::start();
    let targets = [&NGINX_TARGETS[..], &PUSH_TARGETS[..]].concat();
    let bodies = ["", "hello", HIDDEN].map(|body| body.as_bytes().to_vec()).to_vec();
    let frames = (
        prop::collection::vec(0..60_usize, 0..8),
        prop::option::of(any::<u8>()),
        any::<bool>(),
        prop::sample::select(vec![End::Last, End::Empty, End::Trailers]),
    );
    let frames = frames.prop_map(|(mut cuts, padding, hollow, end)| {
        cuts.sort_unstable();
        Frames { cuts, padding, hollow, end }
    });
    let request = (prop::sample::select(METHODS.to_vec()), prop::sample::select(targets), prop::sample::select(bodies));
    let request = (request, any::<bool>(), frames).prop_map(|((method, target, body), says, frames)| {
        // A deletion is answered by what there is.
        let target = if method == "DELETE" { target.replace("id=p", "id=gone") } else { target.to_owned() };
        (Asked { method, target, length: says.then_some(body.len()), body }, frames)
    });
    // Streams of one connection, one behind the other: what is left of one would be seen by the next.
    let strategy = prop::collection::vec(request, 1..5);
    let result = property(96).run(&strategy, |requests| {
        Http2::with(&site, async |http2| {
            for (asked, frames) in &requests {
                let (whole, split) = (http2.whole(asked).await, http2.ask(asked, frames).await);
                prop_assert_eq!(&whole, &split, "{:?} as {:?}", asked, frames);
            }
            Ok(())
        })
    });
    site.judge();
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_is_published_is_the_whole_body_whatever_its_frames() {
    let site = Site::start();
    let ways: Vec<_> = ways().into_iter().filter(|(body, _)| (1..=LIMIT).contains(&body.len())).enumerate().collect();
    assert_none(side_by_side(&ways, |_, (number, (body, frames))| {
        let target = format!("/admin?id=frames{number}");
        let asked = Asked { method: "POST", target, length: None, body: body.clone() };
        let outcome = Http2::with(&site, async |http2| http2.ask(&asked, frames).await);
        let text = site.stored(&format!("frames{number}"));
        (text.as_bytes() != body).then(|| format!("{asked:?} as {frames:?}: {outcome:?}, and there is {text:?}"))
    }));
    site.judge();
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_refused_and_not_published() {
    let site = Site::start();
    let jobs: Vec<_> = ways().into_iter().enumerate().collect();
    assert_none(side_by_side(&jobs, |_, (number, (body, frames))| {
        let lengths = [body.len() + 1, body.len() + 100, body.len().saturating_sub(1), 0];
        let lengths = lengths.into_iter().filter(|length| *length != body.len());
        Http2::with(&site, async |http2| {
            for length in lengths {
                let id = format!("wrong{number}-{length}");
                let target = format!("/admin?id={id}");
                let asked = Asked { method: "POST", target, length: Some(length), body: body.clone() };
                let outcome = http2.ask(&asked, frames).await;
                let refused = match &outcome {
                    Outcome::Reset(reason) => *reason == Reason::PROTOCOL_ERROR,
                    Outcome::Answer(answer) => matches!(answer.status, 400 | 413),
                };
                let stored = site.stored(&id);
                if !refused || !stored.is_empty() {
                    return Some(format!("{asked:?} as {frames:?}: {outcome:?}, and there is {stored:?}"));
                }
            }
            // The connection, and what it carries next, is not harmed.
            let asked = Asked { method: "GET", target: "/r200".into(), length: None, body: Vec::new() };
            match http2.whole(&asked).await {
                Outcome::Answer(answer) if answer.status == 200 => None,
                other => Some(format!("afterwards: {other:?}")),
            }
        })
    }));
    site.judge();
}
