//! Where the server tells of itself, and to whom.

use std::net::SocketAddr;
use std::path::PathBuf;

/// `push_stream_status` and what begins with it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The operators' listener; `None`: there is none.
    pub address: Option<SocketAddr>,
    /// The file that holds the token; `None`: there is none.
    pub token_file: Option<PathBuf>,
    /// Certificate and key with which it speaks TLS.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether the texts of messages are shown.
    pub messages: bool,
}
