//! The answer to a connection there is no room for.

/// Sent before a request has been read; the connection is closed after it.
pub const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Temporarily Unavailable\r\n\
    Content-Length: 0\r\n\
    Retry-After: 5\r\n\
    Connection: close\r\n\r\n";
