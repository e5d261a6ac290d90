//! Bodies compressed on their way: whole ones at once, streams piece by piece.
//!
//! Every piece can be read as soon as it has arrived (sync flush); the price is that nothing compressed is shared between
//! subscribers.

use bytes::Bytes;

use crate::delivery::{Charge, Encoding};
use crate::site::gzip::Encoder;

/// What ends a body in chunks.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a compressed body is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compression {
    /// `gzip_comp_level`
    pub level: u32,
    /// Whether the compressed bytes travel in chunks.
    pub chunked: bool,
}

impl Compression {
    /// A complete body, framed.
    pub(crate) fn whole(self, body: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut encoder = Encoder::new(self.level);
        encoder.piece(body, &mut packed);
        encoder.finish(&mut packed);
        let mut out = Vec::with_capacity(packed.len() + 16);
        self.frame(&packed, &mut out);
        out.extend_from_slice(self.end());
        out
    }

    /// A body that goes on.
    pub(crate) fn stream(self) -> CompressedStream {
        let charge = Charge::default();
        charge.set(Encoder::STATE);
        CompressedStream { encoder: Some(Encoder::new(self.level)), compression: self, charge }
    }

    fn frame(self, packed: &[u8], out: &mut Vec<u8>) {
        if packed.is_empty() {
            return;
        }
        if !self.chunked {
            out.extend_from_slice(packed);
            return;
        }
        chunk(packed, out);
    }

    fn end(self) -> &'static [u8] {
        if self.chunked { LAST_CHUNK } else { b"" }
    }
}

/// Appends bytes, of which there are some, as a chunk.
pub(super) fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The compressed body of a stream.
pub(crate) struct CompressedStream {
    /// `None` once the body has ended.
    encoder: Option<Encoder>,
    compression: Compression,
    /// For the encoder.
    charge: Charge,
}

impl Encoding for CompressedStream {
    fn piece(&mut self, piece: &[u8]) -> Bytes {
        #[cfg(test)]
        crate::model::provoked::reach("compression");
        let mut packed = Vec::new();
        if let Some(encoder) = &mut self.encoder {
            encoder.piece(piece, &mut packed);
        }
        let mut out = Vec::with_capacity(packed.len() + 16);
        self.compression.frame(&packed, &mut out);
        out.into()
    }

    fn end(&mut self) -> Bytes {
        let mut packed = Vec::new();
        if let Some(encoder) = self.encoder.take() {
            encoder.finish(&mut packed);
        }
        self.charge.set(0);
        let mut out = Vec::with_capacity(packed.len() + 16);
        self.compression.frame(&packed, &mut out);
        out.extend_from_slice(self.compression.end());
        out.into()
    }

    fn state(&self) -> usize {
        self.charge.get()
    }
}
