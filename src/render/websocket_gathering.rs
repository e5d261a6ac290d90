//! A message of a websocket client while its fragments come in, and how far its text has been looked at.
//!
//! It does not know frames, nor by whose rules a text is judged beyond UTF-8. A character may be cut between two looks.

/// A message whose fragments are being gathered.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes have been found to be valid UTF-8.
    pub(super) checked: usize,
    pub(super) binary: bool,
    pub(super) compressed: bool,
}

/// A text that is not valid UTF-8.
pub(super) struct InvalidText;

impl Gathered {
    /// Bytes that nobody has looked at.
    pub(super) fn unchecked(&self) -> &[u8] {
        self.bytes.get(self.checked..).unwrap_or_default()
    }

    /// Checks what has not been checked yet. A character may be cut at the end, unless the end must be one of a character.
    pub(super) fn check_text(&mut self, at_end: bool) -> Result<(), InvalidText> {
        if self.binary || self.compressed {
            return Ok(());
        }
        match std::str::from_utf8(self.unchecked()) {
            Ok(fine) => self.checked += fine.len(),
            Err(error) if at_end || error.error_len().is_some() => return Err(InvalidText),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}
