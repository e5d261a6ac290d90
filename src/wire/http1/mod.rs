//! HTTP/1 as nginx speaks it: bytes to a request, its verdict to bytes.
//!
//! [`connection`] is the life of a connection, `turn` that of one request. No library stands below it, since none spells and
//! orders heads as the module does (docs/adr/0001-http1-by-ourselves.md).

mod ahead;
mod body;
pub mod chunked_body;
pub(super) mod connection;
mod next;
mod spelled;
mod suspended;
#[cfg(test)]
mod tests;
mod turn;
mod waiting;
pub(super) mod waiting_head;
mod websocket;

/// Sent to a connection there is no room for, before a request has been read; it is closed after it.
pub const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Temporarily Unavailable\r\n\
    Content-Length: 0\r\n\
    Retry-After: 5\r\n\
    Connection: close\r\n\r\n";
