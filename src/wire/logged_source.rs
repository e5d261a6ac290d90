//! A body that is made as it is taken, with the access log lines of its request: they are written when it is over.
//!
//! Does not know what is sent. Invariant: the lines are written once, whether the client took everything or left.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use hyper::HeaderMap;

use super::elapsed::milliseconds_since;
use crate::delivery::Source;
use crate::push::context::Context;
use crate::site::access_log::{Outcome, SentHead};
use crate::site::log_files::OpenLines;

/// A head that was sent, for as long as its body takes.
pub(super) struct LastingHead {
    pub(super) bytes: usize,
    pub(super) is: HeadText,
}

/// How the head was sent.
pub(super) enum HeadText {
    Spelled(Vec<u8>),
    Fields(HeaderMap),
}

/// A source whose end is logged.
pub(super) struct LoggedSource {
    pub(super) source: Box<dyn Source>,
    pub(super) context: Rc<Context>,
    pub(super) lines: OpenLines,
    pub(super) status: u16,
    pub(super) began: Instant,
    pub(super) head: LastingHead,
    /// Bytes of body so far, and whether that was all.
    pub(super) made: u64,
    pub(super) complete: bool,
}

impl Source for LoggedSource {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        let made = self.source.next(room)?;
        match &made {
            Some(bytes) => self.made += bytes.len() as u64,
            None => self.complete = true,
        }
        Ok(made)
    }

    fn held(&self) -> usize {
        self.source.held()
    }

    fn state(&self) -> usize {
        self.source.state()
    }
}

impl Drop for LoggedSource {
    fn drop(&mut self) {
        let now = self.context.worker.now();
        let outcome = Outcome {
            status: self.status,
            bytes_sent: self.head.bytes as u64 + self.made,
            body_bytes_sent: self.made,
            request_time: milliseconds_since(self.began),
            now,
            complete: self.complete,
            sent_head: match &self.head.is {
                HeadText::Spelled(lines) => SentHead::Spelled(lines),
                HeadText::Fields(fields) => SentHead::Fields(fields),
            },
        };
        self.context.logs.write(&self.lines, &outcome);
    }
}
