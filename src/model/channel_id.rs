//! A channel id: any bytes (an id that came by a channel path holds no `/`), compared byte by byte.

use std::fmt;
use std::sync::Arc;

/// A cheap handle on the bytes of a channel id. The empty id is an ordinary id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(Arc<[u8]>);

impl ChannelId {
    /// The id with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes of the id.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether no publisher or subscriber may use this id: `ALL`, or an id that contains `*`.
    pub fn is_reserved(&self) -> bool {
        &*self.0 == b"ALL" || self.0.contains(&b'*')
    }
}

impl From<&str> for ChannelId {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({:?})", String::from_utf8_lossy(&self.0))
    }
}
