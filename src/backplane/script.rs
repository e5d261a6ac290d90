//! The one script: its call and its answer.

use std::sync::Arc;

use redis::{RedisResult, Script};

use super::keys::Keys;
use super::link::{Link, failure, within_for};
use super::stream::StreamId;
use super::waiting::{Kind, Operation};
use crate::model::Stamp;

/// Most entries of the log of a zone, and most bytes.
const ENTRIES: usize = 100_000;
pub(super) const BYTES: usize = 64 << 20;

/// The format of entries and marks: what one version cannot read that another one writes is another format.
pub(super) const FORMAT: u64 = 1;

/// Calls the script for one node.
pub(super) struct Caller {
    script: Script,
    keys: Keys,
    /// Names this process.
    pub(super) node: String,
}

/// What a node has seen, lest it be given again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    pub(super) skipped: u64,
}

/// As it says that.
type Returned = (String, u64, u64, Vec<(String, String)>, u64, String, usize);

/// What the script answers.
#[derive(Debug)]
pub(super) struct Answer {
    /// The id of the last entry.
    pub(super) last: StreamId,
    pub(super) skipped: u64,
    /// Milliseconds by the server's clock.
    pub(super) now: u64,
    /// What each node says of itself.
    pub(super) nodes: Vec<(String, String)>,
    /// The last operation that was done.
    pub(super) done: u64,
    /// Why the next thing could not be done, and in how many channels it was.
    pub(super) failed: Option<(String, usize)>,
}

impl Caller {
    pub(super) fn new(keys: Keys, node: String) -> Self {
        Self { script: Script::new(include_str!("write.lua")), keys, node }
    }

    /// Does operations in order, before a deadline by the server's clock (0: at any time); with a sign of life if there is something to say.
    pub(super) async fn call(
        &self,
        link: &mut Link,
        (seen, deadline): (Seen, u64),
        about: &str,
        batch: &[Arc<Operation>],
    ) -> RedisResult<Answer> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.keys.zone).key(&self.keys.log).key(&self.keys.nodes);
        call.arg(&link.run).arg(&self.node).arg(seen.stamp.time).arg(seen.stamp.tag).arg(seen.skipped);
        call.arg(ENTRIES).arg(BYTES).arg(about).arg(deadline).arg(FORMAT);
        for operation in batch {
            match operation.kind {
                Kind::Publish { ttl, most, keep, stored } => {
                    let most = most.map(|most| most.to_string()).unwrap_or_default();
                    call.arg("P").arg(operation.number).arg(ttl).arg(most).arg(keep).arg(u8::from(stored));
                }
                Kind::Delete => {
                    call.arg("D").arg(operation.number);
                }
            }
            call.arg(&operation.payload).arg(operation.channels.len());
            for channel in &operation.channels {
                call.arg(channel.as_bytes());
                call.key(self.keys.counts(channel.as_bytes())).key(self.keys.messages(channel.as_bytes()));
            }
        }
        let bytes = batch.iter().map(|operation| operation.payload.len()).sum();
        let (last, skipped, now, nodes, done, why, partly): Returned =
            within_for(bytes, call.invoke_async(&mut link.connection)).await?;
        let last = last.parse().map_err(|()| failure("an answer that cannot be read"))?;
        let failed = (!why.is_empty()).then_some((why, partly));
        Ok(Answer { last, skipped, now, nodes, done, failed })
    }
}
