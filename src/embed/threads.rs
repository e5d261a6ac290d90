//! A thread with a worker: requests come to it by a channel, responses leave it by another.
//!
//! Invariant: a request whose caller is gone is given up, and so is a response that nobody reads any more.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use super::body::{self, ChannelBody};
use super::now;
use super::subscriptions::Subscriptions;
use crate::conf::Settings;
use crate::delivery::{AddressBounds, Worker};
use crate::hub::Hub;
use crate::metrics::{Cause, Tally};
use crate::push::context::Context;
use crate::render::ViewTable;
use crate::request::peer::Peer;
use crate::site::limiter::Limiter;
use crate::wire::service::{self, Visit};
use crate::wire::{ListenerPlace, Workbench};

/// Bytes that may wait for a subscriber when one more message is added to them.
const SUBSCRIBER_BUDGET: usize = 8 * 1024 * 1024;
/// How often the janitor is called.
const SWEEP: Duration = Duration::from_millis(250);

/// A request of the application.
pub(super) struct Call {
    pub request: Request<Body>,
    /// Who sent it.
    pub peer: Peer,
    /// Which of the configuration's sockets it is taken to have come by.
    pub listener: usize,
    /// Takes the response; dropped without one, the request is reset.
    pub response: oneshot::Sender<Response<ChannelBody>>,
}

/// What all threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub hub: Arc<Hub>,
    pub settings: Arc<Settings>,
    pub views: Arc<Mutex<ViewTable>>,
    pub limiter: Arc<Limiter>,
    pub tally: Arc<Tally>,
    pub subscriptions: Arc<Subscriptions>,
}

/// Starts thread number `index`; it ends when the sender is dropped.
pub(super) fn start(index: usize, shared: Shared) -> io::Result<UnboundedSender<Call>> {
    let (calls, inbox) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name(format!("push-{index}"))
        .spawn(move || LocalSet::new().block_on(&runtime, serve(index, shared, inbox)))?;
    Ok(calls)
}

async fn serve(index: usize, shared: Shared, mut inbox: UnboundedReceiver<Call>) {
    let worker = Rc::new(Worker::new(index, Arc::clone(&shared.hub), shared.tally, SUBSCRIBER_BUDGET));
    let memory = shared.settings.bounds.memory.unwrap_or(0);
    worker.set_bounds(usize::try_from(memory).unwrap_or(usize::MAX), AddressBounds::default());
    let context = Context::new(Rc::clone(&worker), Arc::clone(&shared.settings), shared.views, shared.limiter);
    let bench = Rc::new(Workbench::new(Rc::new(context)));
    let places = shared.settings.listeners.iter().enumerate();
    let places: Vec<_> =
        places.map(|(at, listener)| Rc::new(ListenerPlace::new(listener.address.clone(), at))).collect();
    let delivering = Rc::clone(&worker);
    spawn_local(async move { delivering.serve().await });
    spawn_local(relieve(Rc::clone(&worker)));
    if index == 0 {
        spawn_local(sweep(shared.hub));
        spawn_local(shared.subscriptions.deliver());
    }
    while let Some(call) = inbox.recv().await {
        if let Some(place) = places.get(call.listener) {
            spawn_local(answer(Rc::clone(&bench), Rc::clone(place), call));
        }
    }
    // Nobody is left who could call: subscribers are told farewell.
    worker.farewell(Cause::Farewell);
}

/// Answers a request, unless its caller goes away.
async fn answer(bench: Rc<Workbench>, place: Rc<ListenerPlace>, call: Call) {
    let Call { mut request, peer, mut response, .. } = call;
    let upgraded = hyper::upgrade::on(&mut request);
    let tunnel = async { upgraded.await.ok().map(TokioIo::new) };
    let visit = Visit::new(bench, Rc::new(peer), place, 1, None, Box::new(()));
    let answered = tokio::select! {
        answered = service::answer(visit, request, tunnel) => answered,
        () = response.closed() => return,
    };
    // An error resets the request, which dropping the sender does.
    let Ok(answered) = answered else { return };
    let (head, body) = answered.into_parts();
    let (sent, pump) = body::channel(body);
    if response.send(Response::from_parts(head, sent)).is_ok() {
        pump.await;
    }
}

/// Has the worker look now and then whether too much is held.
async fn relieve(worker: Rc<Worker>) {
    let mut pause = tokio::time::interval(SWEEP);
    loop {
        pause.tick().await;
        worker.relieve();
    }
}

/// Has the janitor come for as long as the thread lasts.
async fn sweep(hub: Arc<Hub>) {
    let mut pause = tokio::time::interval(SWEEP);
    loop {
        pause.tick().await;
        while hub.sweep(now()) {}
    }
}
