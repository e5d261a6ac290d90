//! What a subscriber has missed on its way out: rendered as it is taken, a page of the hub at a time.
//!
//! It does not know how long the client takes. Invariant: it holds one page, however much was missed.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::compression::{CompressedStream, Compression, LAST_CHUNK, chunk};
use crate::delivery::{Charge, Encoding, LocalZone, Source, Worker};
use crate::hub::{History, Missed};
use crate::render::{PollWriter, View};

/// The messages of a history, one by one.
pub(crate) struct MissedMessages {
    worker: Rc<Worker>,
    zone: Rc<LocalZone>,
    history: History,
    page: std::vec::IntoIter<Missed>,
    /// For its places in channels, as many as there were.
    charge: Charge,
}

impl MissedMessages {
    /// The messages of a history that the hub of this zone of the worker has begun.
    pub(crate) fn new(worker: &Rc<Worker>, zone: &Rc<LocalZone>, history: History) -> Self {
        let charge = Charge::default();
        charge.set(history.state());
        Self { worker: Rc::clone(worker), zone: Rc::clone(zone), history, page: Vec::new().into_iter(), charge }
    }

    /// Memory that it takes until it is over, beside the page.
    fn state(&self) -> usize {
        self.charge.get()
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.history.is_empty()
    }

    /// Reads a page ahead; whether it is the last one.
    pub(crate) fn is_short(&mut self) -> bool {
        self.page = self.zone.hub().history_page(&mut self.history).into_iter();
        self.history.is_empty()
    }
}

impl Iterator for MissedMessages {
    type Item = Missed;

    fn next(&mut self) -> Option<Missed> {
        let mut next = self.page.next();
        if next.is_none() {
            self.page = self.zone.hub().history_page(&mut self.history).into_iter();
            next = self.page.next();
        }
        self.worker.counts().replayed.add(next.is_some().into());
        next
    }
}

/// What a stream begins with.
pub(crate) struct StreamHistory {
    missed: MissedMessages,
    view: Arc<View>,
}

impl StreamHistory {
    pub(crate) fn new(missed: MissedMessages, view: &Arc<View>) -> Self {
        Self { missed, view: Arc::clone(view) }
    }
}

impl Source for StreamHistory {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        let view = &self.view;
        Ok(page(room, self.missed.by_ref().map(|missed| view.message(missed.channel.as_bytes(), &missed.message))))
    }

    fn state(&self) -> usize {
        self.missed.state()
    }
}

/// Joins pieces until there is no more room. One that fills the room by itself is passed on as it is.
fn page(room: usize, pieces: impl Iterator<Item = Bytes>) -> Option<Bytes> {
    let mut out = Vec::new();
    for piece in pieces {
        if out.is_empty() && piece.len() >= room {
            return Some(piece);
        }
        out.extend_from_slice(&piece);
        if out.len() >= room {
            break;
        }
    }
    Some(Bytes::from(out)).filter(|out| !out.is_empty())
}

/// The body of a poll that has missed much.
pub(crate) struct PollHistory {
    missed: MissedMessages,
    view: Arc<View>,
    writer: PollWriter,
    /// What stands before the messages.
    opening: Vec<u8>,
    over: bool,
}

impl PollHistory {
    pub(crate) fn new(missed: MissedMessages, view: &Arc<View>, writer: PollWriter, opening: Vec<u8>) -> Self {
        Self { missed, view: Arc::clone(view), writer, opening, over: false }
    }
}

impl Source for PollHistory {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        if self.over {
            return Ok(None);
        }
        let mut out = std::mem::take(&mut self.opening);
        while out.len() < room {
            let Some(missed) = self.missed.next() else {
                self.writer.close(&self.view, &mut out);
                self.over = true;
                break;
            };
            self.writer.message(&self.view, &missed.channel, &missed.message, &mut out);
        }
        Ok(Some(out.into()))
    }

    fn state(&self) -> usize {
        self.missed.state()
    }
}

/// A body that is compressed as it is taken, and framed.
pub(crate) struct Compressed<S> {
    source: S,
    stream: Option<CompressedStream>,
}

impl<S> Compressed<S> {
    pub(crate) fn new(source: S, compression: Compression) -> Self {
        Self { source, stream: Some(compression.stream()) }
    }
}

impl<S: Source> Source for Compressed<S> {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        if let Some(piece) = self.source.next(room)? {
            return Ok(Some(stream.piece(&piece)));
        }
        let end = stream.end();
        self.stream = None;
        Ok(Some(end))
    }

    fn state(&self) -> usize {
        self.source.state() + self.stream.as_ref().map_or(0, Encoding::state)
    }
}

/// A body that goes in chunks as it is taken.
pub(crate) struct Chunked<S> {
    source: S,
    over: bool,
}

impl<S> Chunked<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source, over: false }
    }
}

impl<S: Source> Source for Chunked<S> {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        if self.over {
            return Ok(None);
        }
        let mut out = Vec::new();
        if let Some(piece) = self.source.next(room)? {
            chunk(&piece, &mut out);
        } else {
            self.over = true;
            out.extend_from_slice(LAST_CHUNK);
        }
        Ok(Some(out.into()))
    }

    fn state(&self) -> usize {
        self.source.state()
    }
}
