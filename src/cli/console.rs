//! What a command prints: its result on standard output, what there is to say beside it on standard error.
//!
//! Invariant: neither a reader that is gone (`| head`) nor a disk that is full is a panic.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints a result; the exit code.
pub fn print(text: &[u8]) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // Whoever read it has enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(format_args!("pushstreamd: [emerg] nothing can be written to standard output: {error}"));
            1
        }
        _ => 0,
    }
}

/// Says a line; where nobody listens it is lost.
pub fn say(line: fmt::Arguments<'_>) {
    // In one piece: others may write there too.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
