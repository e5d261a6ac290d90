//! A node of the simulation: a real hub that follows a real position and joins, step by step, by a real snapshot while it keeps what comes.

use std::sync::Arc;

use super::CHANNELS;
use super::server::Server;
use crate::backplane::installation::Installation;
use crate::backplane::kept::Kept;
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

/// Bytes that a node keeps of the log: so few that there is not always room.
const KEPT: usize = 1000;

/// The node.
pub(super) struct Node {
    pub(super) hub: Hub,
    position: Option<Position>,
    pub(super) connected: bool,
    /// Whether it has not heard yet that another server has taken over.
    pub(super) behind_the_times: bool,
    /// Whether it serves.
    pub(super) joined: bool,
    joining: Option<Joining>,
    kept: Kept,
}

/// How far it is with the whole zone.
enum Joining {
    /// These channels are still to be read.
    Reading(Box<Snapshot>, Vec<&'static str>),
    /// It is being installed.
    Installing(Installation, Position),
}

fn zone() -> Zone {
    Zone { deleted_text: (*b"gone").into(), ..Zone::bare(32 << 20, 5, 1_000_000) }
}

impl Node {
    pub(super) fn new() -> Self {
        let hub = Hub::new(zone(), Capabilities::default(), 1, Now(77_000_000), None);
        hub.follow(Arc::new(Nowhere));
        Self {
            hub,
            position: None,
            connected: false,
            behind_the_times: false,
            joined: false,
            joining: None,
            kept: Kept::new(String::new(), KEPT),
        }
    }

    /// Finds its place anew, as the tail does with a new connection.
    fn connect(&mut self, server: &Server) {
        self.connected = true;
        self.joining = None;
        let Some(position) = &self.position else { return self.begin_to_read(server) };
        let place = match position.onward(&server.epoch.zone, &server.lineage, server.number) {
            Onward::Here => {
                let there = server.log.iter().find(|(id, _)| *id == position.id);
                let is_there = there.is_some_and(|(_, bytes)| position.is_at(bytes));
                (is_there || position.checksum.is_none()).then(|| position.clone())
            }
            Onward::Behind(number, _) => server.log.iter().find_map(|(id, bytes)| position.before(number, *id, bytes)),
            Onward::Anew(_) => None,
            Onward::Later => unreachable!("an epoch begins at once"),
        };
        match place {
            Some(place) => {
                self.kept.begin_behind(place.id, 0);
                self.position = Some(place);
            }
            None => self.begin_to_read(server),
        }
    }

    /// Reads all of the zone from now on.
    fn begin_to_read(&mut self, server: &Server) {
        let (id, bytes) = server.log.last().unwrap();
        let checksum = Some(crc32c::crc32c(bytes));
        let (zone, lineage) = (server.epoch.zone.clone(), server.lineage.clone());
        let position = Position { id: *id, number: server.number, checksum, zone, lineage };
        self.kept.begin_behind(*id, 0);
        let snapshot = Box::new(Snapshot::at(position, server.last));
        self.joining = Some(Joining::Reading(snapshot, CHANNELS.to_vec()));
    }

    /// Goes on by one step: reads a channel of the zone, installs so much of it, or applies so many entries.
    pub(super) fn read(&mut self, server: &Server, most: usize) {
        // What was read over a connection is brought to its end, whatever becomes of that.
        let is_under_way = matches!(self.joining, Some(Joining::Installing(..))) || !self.kept.is_empty();
        let is_reading = matches!(self.joining, Some(Joining::Reading(..)));
        if !self.connected && (is_reading || !is_under_way) {
            self.connect(server);
        }
        if self.connected {
            self.keep_up(server, most);
        }
        match self.joining.take() {
            Some(Joining::Reading(snapshot, left)) => self.read_zone(server, snapshot, left),
            Some(Joining::Installing(mut installation, position)) => {
                if installation.go_on(&self.hub, most) {
                    self.joining = Some(Joining::Installing(installation, position));
                } else {
                    self.position = Some(position);
                }
            }
            None => self.apply(server, most),
        }
    }

    fn keep_up(&mut self, server: &Server, most: usize) {
        if most > 0 && self.kept.has_room() {
            let most = most.min(1000);
            let behind = server.log.iter().filter(|(id, _)| *id > self.kept.last);
            self.kept.take(behind.take(most).cloned().collect(), most);
        }
    }

    fn read_zone(&mut self, server: &Server, mut snapshot: Box<Snapshot>, mut left: Vec<&'static str>) {
        let Some(channel) = left.pop() else {
            if snapshot.is_of(&server.epoch.zone, &server.lineage, server.number) {
                let position = snapshot.position.clone();
                self.joining = Some(Joining::Installing(Installation::new(*snapshot, &self.hub), position));
            } else {
                self.connected = false;
            }
            return;
        };
        if let Some((count, ahead, epoch, last)) = server.counts.get(channel) {
            let counts = format!("{count} {ahead} {epoch} {} {}", last.time, last.tag);
            let stored = server.stored.get(channel).map(Vec::as_slice).unwrap_or_default();
            snapshot.add(channel.as_bytes(), counts.as_bytes(), stored);
        }
        self.joining = Some(Joining::Reading(snapshot, left));
    }

    fn apply(&mut self, server: &Server, most: usize) {
        let Some(position) = &mut self.position else { return };
        for _ in 0..most {
            let Some((id, bytes)) = self.kept.next() else { break };
            let record = match position.advance(id, &bytes) {
                Ok((record, _)) => record.unwrap(),
                Err(Gap) => return self.begin_to_read(server),
            };
            match record.what {
                What::Change(entry, _) => self.hub.apply(entry, Now::default()),
                What::Time(marks) => self.hub.apply(Entry::Marks(marks), Now::default()),
                What::Epoch(_) => self.hub.apply(Entry::Marks(marks(record.stamp, 0)), Now::default()),
            };
        }
        if self.kept.is_at_end() && !self.joined {
            self.hub.join();
            self.joined = true;
        }
    }
}
