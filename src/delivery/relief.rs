//! When too much is held for all connections, those that hold the most are let go.
//!
//! How much is too much is set from outside; the count is the ledger's. A connection that holds less than its share is spared,
//! whatever others do: whoever reads is not dropped for those who do not. Bodies are refused by whoever reads them.

use std::cmp::Reverse;
use std::rc::Rc;

use super::address::AddressBounds;
use super::connection::Connection;
use super::ledger;
use super::parting::Cut;
use super::worker::Worker;

impl Worker {
    /// Sets what all connections of the process may hold, and those of one address; 0: any amount.
    pub fn set_bounds(&self, memory: usize, address: AddressBounds) {
        self.memory.set(memory);
        self.address_bounds.set(address);
    }

    /// Whether connections are counted by address.
    pub fn counts_addresses(&self) -> bool {
        self.address_bounds.get() != AddressBounds::default()
    }

    /// Whether more is held than may be: no body that goes on is taken until that is over.
    pub fn is_short_of_memory(&self) -> bool {
        let most = self.memory.get();
        most != 0 && ledger::held() > most
    }

    /// Counts a body that was not taken.
    pub fn count_refused_body(&self) {
        self.counts.refused_bodies.add(1);
        tracing::warn!(
            held = ledger::held(),
            most = self.memory.get(),
            "push stream module: too much is held for all connections, body refused"
        );
    }

    /// Notes what a client has sent and nobody has dealt with: bytes that are held for it beside its outbox.
    pub fn hold_input(&self, connection: &Rc<Connection>, bytes: usize) {
        if connection.holding.input.get() == bytes || self.has_let_go(connection) {
            return;
        }
        let of_address = connection.hold_input(bytes);
        self.bound_address(connection, of_address);
        self.call_for_relief();
    }

    /// Has the worker's loop look at what is held, if it is too much.
    pub(super) fn call_for_relief(&self) {
        if self.is_short_of_memory() {
            self.ring();
        }
    }

    /// Gives a connection up whose address holds too much: it is the one that asked for more.
    pub(super) fn bound_address(&self, connection: &Connection, held: usize) {
        let most = self.address_bounds.get().memory;
        if most != 0 && held > most && !connection.is_broken() {
            self.cut(connection, Cut::AddressMemory { held, most });
            connection.give_up();
        }
    }

    /// Lets connections go until less is held than may be, those that hold the most first. A worker does so when it finds that one of
    /// its clients is slow; whoever sees all workers calls for it now and then.
    pub fn relieve(&self) {
        let most = self.memory.get();
        let stays = ledger::staying();
        if most == 0 || stays <= most {
            return;
        }
        // With some room, or the next message would do it again. Other workers may be at it too: each lets go of its part of what
        // is too much, those of its clients that hold the most, and comes back while that was not enough.
        let too_much = stays - (most - most / 8);
        let goal = stays - too_much.div_ceil(self.workers().max(1));
        for (held, connection) in self.holders(most) {
            // What others let go meanwhile counts as well.
            if ledger::staying() <= goal {
                return;
            }
            self.cut(&connection, Cut::Memory { held, most });
            connection.give_up();
        }
    }

    /// Those who hold more than their share, who holds the most first: if all of them held less, it would not be too much.
    fn holders(&self, most: usize) -> Vec<(usize, Rc<Connection>)> {
        let connections = self.connections.borrow();
        // Streams of HTTP/2 hold something each; other workers have about as many.
        let streams = connections.len() * self.workers();
        let share = most / self.connections_everywhere().max(streams).max(1);
        let staying = connections.iter().map(|(_, connection)| connection).filter(|connection| !connection.is_broken());
        let held = staying.map(|connection| (connection.held(), Rc::clone(connection)));
        let mut holders: Vec<_> = held.filter(|(held, _)| *held > share).collect();
        holders.sort_unstable_by_key(|(held, _)| Reverse(*held));
        holders
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::Stream;
    use crate::delivery::ledger::hold;
    use crate::delivery::subscribers::tests::zone;
    use crate::hub::Hub;
    use crate::metrics::{Cause, Tally};
    use crate::model::{Capabilities, Now};

    fn worker() -> Worker {
        workers(1).pop().unwrap()
    }

    fn workers(count: usize) -> Vec<Worker> {
        let hub = Arc::new(Hub::new(zone(), Capabilities::default(), count, Now(0), None));
        let tally = Arc::new(Tally::new(count));
        (0..count).map(|index| Worker::new(index, Arc::clone(&hub), Arc::clone(&tally), 1 << 20)).collect()
    }

    fn enter(worker: &Worker) -> Rc<Connection> {
        worker.enter(Connection::seated(Stream::Body, worker.seat()))
    }

    #[test]
    fn those_who_hold_the_most_go_first_and_no_more_of_them_than_needed() {
        let worker = worker();
        let connections: Vec<_> = (0..10).map(|_| enter(&worker)).collect();
        for (at, connection) in connections.iter().enumerate() {
            connection.push(hold(vec![0; at * 1000]));
        }
        assert_eq!(ledger::held(), 45_000);
        worker.set_bounds(45_000, AddressBounds::default());
        worker.relieve();
        assert!(connections.iter().all(|connection| !connection.is_broken()));
        worker.set_bounds(36_000, AddressBounds::default());
        worker.relieve();
        let gone: Vec<_> = connections.iter().map(|connection| connection.is_broken()).collect();
        assert_eq!(gone, [false, false, false, false, false, false, false, false, true, true]);
        assert_eq!(ledger::held(), 28_000);
        assert_eq!(worker.tally().totals().cut(Cause::Memory), 2);
    }

    #[test]
    fn what_many_share_is_held_once_and_nobody_goes_for_it() {
        let worker = worker();
        let message = hold(vec![0; 10_000]);
        let connections: Vec<_> = (0..100).map(|_| enter(&worker)).collect();
        for connection in &connections {
            connection.push(message.clone());
        }
        worker.set_bounds(20_000, AddressBounds::default());
        worker.relieve();
        assert_eq!(ledger::held(), 10_000);
        assert!(connections.iter().all(|connection| !connection.is_broken()));
    }

    #[test]
    fn of_those_who_share_a_message_no_more_go_than_what_is_their_own_asks_for() {
        let worker = worker();
        let message = hold(vec![0; 10_000]);
        let connections: Vec<_> = (0..20).map(|_| enter(&worker)).collect();
        for (at, connection) in connections.iter().enumerate() {
            connection.push(message.clone());
            if at < 10 {
                connection.push(hold(vec![0; 1000]));
            }
        }
        // With 128 bytes for each place in a queue.
        assert_eq!(ledger::held(), 21_280);
        worker.set_bounds(15_000, AddressBounds::default());
        worker.relieve();
        assert_eq!(ledger::held(), 21_280 - 8 * 1128);
        assert_eq!(worker.tally().totals().cut(Cause::Memory), 8);
    }

    #[test]
    fn whoever_holds_less_than_a_share_is_spared() {
        let worker = worker();
        let small = enter(&worker);
        small.push(hold(vec![0; 400]));
        let elsewhere = hold(vec![0; 5000]);
        let _others: Vec<_> = (0..4).map(|_| worker.seat()).collect();
        worker.set_bounds(4000, AddressBounds::default());
        worker.relieve();
        assert!(!small.is_broken());
        drop(elsewhere);
        assert_eq!(ledger::held(), 400);
    }

    #[test]
    fn what_a_client_sends_counts_until_its_task_has_let_go() {
        let worker = worker();
        let (first, second) = (enter(&worker), enter(&worker));
        worker.set_bounds(1000, AddressBounds::default());
        worker.hold_input(&first, 900);
        worker.hold_input(&second, 600);
        assert!(worker.is_short_of_memory());
        worker.relieve();
        worker.relieve();
        assert!(first.is_broken() && !second.is_broken(), "the first is leaving, that is enough");
        worker.dismiss(&first);
        assert_eq!(ledger::held(), 600);
        worker.dismiss(&second);
        assert_eq!(ledger::held(), 0);
    }

    #[test]
    fn an_address_is_bounded_over_all_its_connections() {
        let worker = worker();
        worker.set_bounds(0, AddressBounds { connections: 2, memory: 1000 });
        let address = |last| [10, 0, 0, last].into();
        let enter = |last| worker.enter(Connection::seated(Stream::Body, worker.seat_of(address(last)).unwrap()));
        let (one, two, other) = (enter(1), enter(1), enter(2));
        assert!(worker.seat_of(address(1)).is_err());
        let stream = worker.enter(Connection::beside(&one, Stream::Body));
        for connection in [&one, &other, &stream] {
            connection.push(Bytes::from(vec![0; 400]));
            worker.flush(connection);
        }
        worker.hold_input(&two, 300);
        assert!(two.is_broken() && ![&one, &other, &stream].iter().any(|connection| connection.is_broken()));
        worker.dismiss(&two);
        drop(two);
        worker.hold_input(&one, 150);
        assert!(!one.is_broken());
        for connection in [one, stream, other] {
            worker.dismiss(&connection);
        }
        let again = enter(1);
        again.push(Bytes::from(vec![0; 900]));
        worker.flush(&again);
        assert!(!again.is_broken(), "nothing is left of those who are gone");
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A worker looks at what is held.
        Look(usize),
        /// The task of one that was told to go has let go of everything.
        Gone(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![2 => (0usize..4).prop_map(Step::Look), 1 => any::<prop::sample::Index>().prop_map(Step::Gone)]
    }

    proptest! {
        /// What is sent ahead is held until its task has let go of it, which may be long after.
        #[test]
        fn however_often_and_in_whatever_order_workers_look_no_more_go_than_have_to(
            count in 1usize..5,
            sizes in prop::collection::vec((0usize..4, 1usize..5000, any::<bool>()), 1..60),
            part in 1usize..100,
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let workers = workers(count);
            let mut clients: Vec<_> = sizes.iter().map(|&(at, size, sent)| {
                let at = at % count;
                let connection = enter(&workers[at]);
                if sent { workers[at].hold_input(&connection, size) } else { connection.push(hold(vec![0; size])) }
                (at, size, connection)
            }).collect();
            let all: usize = sizes.iter().map(|size| size.1).sum();
            let largest = sizes.iter().map(|size| size.1).max().unwrap();
            let most = (all * part / 100).max(1);
            for worker in &workers {
                worker.set_bounds(most, AddressBounds::default());
            }
            let least = most - most / 8;
            let rounds = (0..200).map(|round| Step::Look(round % count));
            for step in steps.into_iter().chain(rounds) {
                match step {
                    Step::Look(at) => workers[at % count].relieve(),
                    Step::Gone(which) => {
                        let (at, _, connection) = &clients[which.index(clients.len())];
                        if connection.is_broken() {
                            workers[*at].dismiss(connection);
                        }
                    }
                }
                let stays: usize = clients.iter().filter(|client| !client.2.is_broken()).map(|client| client.1).sum();
                prop_assert!(all <= most || stays + largest > least, "{stays} stay of {all}, {most} may");
            }
            let stays: usize = clients.iter().filter(|client| !client.2.is_broken()).map(|client| client.1).sum();
            prop_assert!(stays <= most, "{stays} stay of {all}, {most} may");
            for (at, _, connection) in clients.drain(..) {
                workers[at].dismiss(&connection);
            }
            prop_assert_eq!((ledger::held(), ledger::staying()), (0, 0));
        }
    }
}
