//! One request at the service and what it occupies: a connection without a socket, and a session for its log and its limits.
//!
//! Invariant: dropping it ends its subscription, whatever the way out.

use std::any::Any;
use std::rc::Rc;

use crate::delivery::{Connection, Stream};
use crate::metrics::Activity;
use crate::push::context::Context;
use crate::request::peer::Peer;
use crate::site::exchange::Exchange;
use crate::wire::listener_place::ListenerPlace;
use crate::wire::session::Session;
use crate::wire::workbench::Workbench;

/// A request that is being answered.
pub(crate) struct Visit {
    bench: Rc<Workbench>,
    connection: Rc<Connection>,
    pub(super) session: Box<Session>,
    complete: bool,
    /// Dropped at the end, which tells whoever brought the request.
    _guard: Box<dyn Any>,
}

impl Visit {
    /// A request of this peer, the `number`th of its connection, which `of` stands for where the worker knows one; `guard` is
    /// dropped when all is over.
    pub(crate) fn new(
        bench: Rc<Workbench>,
        peer: Rc<Peer>,
        place: Rc<ListenerPlace>,
        number: u64,
        of: Option<&Connection>,
        guard: Box<dyn Any>,
    ) -> Self {
        let stream = of.map_or_else(|| Connection::new(Stream::Body), |of| Connection::beside(of, Stream::Body));
        let connection = bench.context.worker.enter(stream);
        bench.context.worker.set_activity(&connection, Activity::Writing);
        bench.context.worker.count_request();
        bench.context.worker.begin_request(&connection);
        let mut session = Session::new(peer, place, Vec::new());
        session.requests = number;
        Self { bench, connection, session, complete: false, _guard: guard }
    }

    /// What its worker shares.
    pub(super) fn bench(&self) -> &Rc<Workbench> {
        &self.bench
    }

    /// The context of its worker's requests.
    pub(super) fn context(&self) -> &Context {
        &self.bench.context
    }

    /// The connection whose outbox the answer comes from.
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Notes what has to be done when the subscription that begins now is over.
    pub(super) fn begin_subscription(&mut self, exchange: &mut Exchange<'_>, answered: bool) {
        self.session.begin_subscription(&self.bench.context, exchange, &self.connection, answered);
    }

    /// The answer has ended as it should.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let worker = &self.bench.context.worker;
        if std::thread::panicking() {
            worker.count_panic(&self.connection);
        }
        self.session.end_subscription(&self.bench.context, self.complete);
        worker.dismiss(&self.connection);
    }
}
