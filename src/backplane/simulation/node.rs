//! A node of the simulation: a real hub that follows a real position and joins by a real snapshot.

use std::sync::Arc;

use super::server::Server;
use crate::backplane::position::{Gap, Onward, Position};
use crate::backplane::record::{What, marks};
use crate::backplane::snapshot::Snapshot;
use crate::hub::{Found, Hub, Order, Terms, Told};
use crate::log::Entry;
use crate::model::{Capabilities, ChannelId, Draft, Now, Zone};

/// Takes nothing: publishes go to the model.
struct Nowhere;

impl Order for Nowhere {
    fn publish(&self, _: Vec<ChannelId>, _: Draft, _: Terms, _: Told) {}

    fn delete(&self, _: Vec<ChannelId>, _: Option<Box<[u8]>>, _: Told) {}

    fn catch_up(&self, told: Told) {
        told(Ok(0));
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn others(&self) -> (usize, u64) {
        (0, 0)
    }

    fn ask(&self, _: &[ChannelId], _: Found) {}
}

/// The node.
pub(super) struct Node {
    pub(super) hub: Hub,
    position: Option<Position>,
    pub(super) connected: bool,
    /// Whether it has not heard yet that another server has taken over.
    pub(super) behind_the_times: bool,
}

fn zone() -> Zone {
    Zone { deleted_text: (*b"gone").into(), ..Zone::bare(32 << 20, 5, 1_000_000) }
}

impl Node {
    pub(super) fn new() -> Self {
        let hub = Hub::new(zone(), Capabilities::default(), 1, Now(77_000_000), None);
        hub.follow(Arc::new(Nowhere));
        Self { hub, position: None, connected: true, behind_the_times: false }
    }

    /// Finds its place anew, as the tail does with a new connection.
    fn connect(&mut self, server: &Server) {
        self.connected = true;
        let Some(position) = &self.position else { return self.join(server) };
        let number = match position.onward(&server.epoch.zone, &server.lineage, server.number) {
            Onward::Here => {
                let there = server.log.iter().find(|(id, _)| *id == position.id);
                if there.is_none_or(|(_, bytes)| !position.is_at(bytes)) && position.checksum.is_some() {
                    self.join(server);
                }
                return;
            }
            Onward::Behind(number, _) => number,
            Onward::Anew(_) => return self.join(server),
            Onward::Later => unreachable!("an epoch begins at once"),
        };
        match server.log.iter().find_map(|(id, bytes)| position.before(number, *id, bytes)) {
            Some(before) => self.position = Some(before),
            None => self.join(server),
        }
    }

    pub(super) fn join(&mut self, server: &Server) {
        let (id, bytes) = server.log.last().unwrap();
        let checksum = Some(crc32c::crc32c(bytes));
        let (zone, lineage) = (server.epoch.zone.clone(), server.lineage.clone());
        let position = Position { id: *id, number: server.number, checksum, zone, lineage };
        let mut snapshot = Snapshot::at(position.clone(), server.last);
        for (channel, (count, ahead, epoch, last)) in &server.counts {
            let counts = format!("{count} {ahead} {epoch} {} {}", last.time, last.tag);
            let stored = server.stored.get(channel).map(Vec::as_slice).unwrap_or_default();
            snapshot.add(channel.as_bytes(), counts.as_bytes(), stored);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(snapshot.install(&self.hub));
        self.hub.join();
        self.position = Some(position);
    }

    /// Applies up to so many entries.
    pub(super) fn read(&mut self, server: &Server, most: usize) {
        if !self.connected {
            self.connect(server);
        }
        let Some(position) = &mut self.position else { return self.join(server) };
        let after = position.id;
        for (id, bytes) in server.log.iter().filter(|(id, _)| *id > after).take(most) {
            let record = match position.advance(*id, bytes) {
                Ok((record, _)) => record.unwrap(),
                Err(Gap) => return self.join(server),
            };
            match record.what {
                What::Change(entry, _) => self.hub.apply(entry, Now::default()),
                What::Time(marks) => self.hub.apply(Entry::Marks(marks), Now::default()),
                What::Epoch(_) => self.hub.apply(Entry::Marks(marks(record.stamp, 0)), Now::default()),
            };
        }
    }
}
