//! Where the server tells of itself.

use std::net::SocketAddr;

/// `push_stream_status`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The operators' listener; `None`: there is none.
    pub address: Option<SocketAddr>,
}
