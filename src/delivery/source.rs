//! What is made as it is taken: history, files, whatever is too much to be held for a client that may never read it.
//!
//! A source stands in the outbox between the bytes before and behind it. It does not know sockets; it is asked for more only
//! when what it made before has been sent.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

/// Bytes a source is asked for at a time.
pub(super) const PAGE: usize = 64 * 1024;

/// Bytes on their way to one client that are not made before they are wanted.
pub trait Source {
    /// The next bytes, about `room` of them (what cannot be divided may be longer); `None` when there are no more. An error
    /// ends the connection: what was promised cannot be kept.
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>>;

    /// Bytes that wait within the source itself, for this client alone.
    fn held(&self) -> usize {
        0
    }

    /// Memory that the making takes until it is over (a compressor's), about.
    fn state(&self) -> usize {
        0
    }
}

/// A body whose bytes are a subscriber's own (compressed), made from the rendered ones piece by piece.
pub trait Encoding {
    /// The bytes for a piece of the body.
    fn piece(&mut self, piece: &[u8]) -> Bytes;
    /// The bytes that end the body.
    fn end(&mut self) -> Bytes;
    /// Memory that it takes until the body has ended, about. The encoding itself enters it into the ledger.
    fn state(&self) -> usize;
}

/// An encoding that its subscriber shares with what waits to be encoded: the order of the bytes is that of sending.
pub type SharedEncoding = Rc<RefCell<dyn Encoding>>;

/// What is to be encoded once everything before it has been.
pub(super) struct Unencoded {
    encoding: SharedEncoding,
    what: What,
}

pub(super) enum What {
    Source(Box<dyn Source>),
    Piece(Bytes),
    End,
    Nothing,
}

/// A source whose bytes go through an encoding.
pub fn encoded(encoding: &SharedEncoding, source: Box<dyn Source>) -> Box<dyn Source> {
    Box::new(Unencoded::new(encoding, What::Source(source)))
}

impl Unencoded {
    pub(super) fn new(encoding: &SharedEncoding, what: What) -> Self {
        Self { encoding: Rc::clone(encoding), what }
    }
}

impl Source for Unencoded {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        let mut encoding = self.encoding.borrow_mut();
        if let What::Source(source) = &mut self.what {
            return Ok(source.next(room)?.map(|piece| encoding.piece(&piece)));
        }
        Ok(match std::mem::replace(&mut self.what, What::Nothing) {
            What::Piece(piece) => Some(encoding.piece(&piece)),
            What::End => Some(encoding.end()),
            What::Source(_) | What::Nothing => None,
        })
    }

    fn held(&self) -> usize {
        match &self.what {
            What::Source(source) => source.held(),
            What::Piece(piece) => piece.len(),
            What::End | What::Nothing => 0,
        }
    }

    fn state(&self) -> usize {
        if let What::Source(source) = &self.what { source.state() } else { 0 }
    }
}
