//! A part of a file on its way out: read as it is taken.
//!
//! It does not know what the file is. Invariant: a file that has become shorter than was promised tears its answer.

use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::reply_head::Framing;
use crate::conf::settings::Location;
use crate::delivery::Source;
use crate::push::compression::Compression;
use crate::push::history::Compressed;
use crate::request::reply::{FilePart, Reply};

/// A file, compressed if its head says so.
pub(super) fn of(part: &FilePart, reply: &Reply, framing: Framing, location: &Location) -> Box<dyn Source> {
    if !reply.gzip {
        return Box::new(part.clone());
    }
    let level = location.core.gzip.as_ref().map_or(1, |gzip| gzip.comp_level);
    Box::new(Compressed::new(part.clone(), Compression { level, chunked: framing.chunked }))
}

impl Source for FilePart {
    fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        if self.length == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; room.min(usize::try_from(self.length).unwrap_or(room))];
        let read = self.file.read_at(&mut buffer, self.offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(read);
        self.offset += read as u64;
        self.length -= read as u64;
        Ok(Some(buffer.into()))
    }
}
