//! A worker thread: a single-threaded runtime that accepts connections and serves them until it is told to stop.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::Socket;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::Instant;

use super::accept::{self, Door};
use super::listen::Share;
use super::memory;
use super::privileges;
use super::tls::TlsSite;
use crate::conf::Settings;
use crate::conf::settings::ListenAddress;
use crate::delivery::{Addresses, Connection, Departure, Worker};
use crate::hub::Hub;
use crate::metrics::{Cause, Reloads, Tally};
use crate::push::context::Context;
use crate::render::ViewTable;
use crate::site::limiter::Limiter;
use crate::site::opened_logs::OpenedLogs;
use crate::wire::{ListenerPlace, Workbench};

/// Bytes that may wait for a subscriber when one more message is added to them.
const SUBSCRIBER_BUDGET: usize = 8 * 1024 * 1024;
/// How often a stopping worker looks whether its connections are gone.
const STOP_POLL: Duration = Duration::from_millis(5);
/// Farewells are said this far apart, to so many subscribers at least: few are told at once.
const FAREWELL_PAUSE: Duration = Duration::from_millis(10);
const FEW: usize = 20;

/// What all workers share.
#[derive(Clone)]
pub(super) struct Shared {
    /// Channels and messages of the first zone.
    pub hub: Arc<Hub>,
    /// Those of each zone, by number.
    pub hubs: Arc<[Arc<Hub>]>,
    /// Rendered templates.
    pub views: Arc<Mutex<ViewTable>>,
    /// Counts of `limit_conn` and `limit_req`.
    pub limiter: Arc<Limiter>,
    /// What the workers count.
    pub tally: Arc<Tally>,
    /// Who is counted by address.
    pub addresses: Arc<Addresses>,
    /// What became of reloads.
    pub reloads: Arc<Reloads>,
    /// Numbers of connections.
    pub connections: Arc<AtomicU64>,
    /// Access logs, opened by the main thread.
    pub opened: Arc<OpenedLogs>,
}

/// What a worker can be told.
pub(super) enum Order {
    /// Serve under these settings; these sockets are new, addresses that are not kept are gone.
    Reconfigure {
        /// The new settings.
        settings: Arc<Settings>,
        /// TLS of the new settings.
        tls: Arc<TlsSite>,
        /// New listening sockets.
        opened: Share,
        /// Addresses that are listened on from now on, new ones or not.
        kept: Arc<[ListenAddress]>,
        /// The zones there are from now on, by number.
        hubs: Arc<[Arc<Hub>]>,
        /// Zones that servers have left, whose subscribers are told farewell: they come back to where those are now.
        left: BTreeSet<u16>,
        /// Over what time.
        spread: Duration,
        /// Whether all subscribers are told farewell, as the module does on reload.
        farewell: bool,
    },
    /// Open the access logs anew.
    ReopenLogs,
    /// Accept no more; whoever is connected stays.
    Rest,
    /// Let go of connections that hold too much.
    Relieve,
    /// Count up, as a sign of life.
    Beat(Arc<AtomicUsize>),
    /// Accept no more and close what is idle; drop the sender once nothing is under way, or after this time.
    Settle(Duration, UnboundedSender<()>),
    /// Leave to a successor: accept no more, tell subscribers farewell, drop the sender once all have been told.
    HandOver(Leave, UnboundedSender<()>),
    /// Accept again.
    Resume(Share),
    /// Leave, and end when all connections are gone or after this time.
    Stop(Leave, Duration),
}

/// How a worker takes its leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// What subscribers are told.
    pub departure: Departure,
    /// Over what time, so that they do not all come back at once.
    pub spread: Duration,
}

/// A running worker.
pub(super) struct Handle {
    /// Takes orders.
    pub orders: UnboundedSender<Order>,
    /// Ends when the worker has stopped.
    pub thread: JoinHandle<()>,
}

/// Starts worker number `index`.
pub(super) fn start(
    index: usize,
    shared: Shared,
    settings: Arc<Settings>,
    tls: Arc<TlsSite>,
    sockets: Share,
) -> io::Result<Handle> {
    let (orders, inbox) = unbounded_channel();
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("cannot start worker {index}: {error}");
                return;
            }
        };
        if let Err(error) = privileges::renounce() {
            tracing::error!("worker {index} cannot give up its privileges: {error}");
            return;
        }
        shared.tally.note_thread(index, nix::unistd::gettid().as_raw().unsigned_abs());
        let local = LocalSet::new();
        local.block_on(&runtime, WorkerThread::new(index, shared, settings, tls).run(sockets, inbox));
    })?;
    Ok(Handle { orders, thread })
}

struct WorkerThread {
    bench: Rc<Workbench>,
    door: Rc<Door>,
    listeners: RefCell<Vec<(Rc<ListenerPlace>, AbortHandle)>>,
}

impl WorkerThread {
    fn new(index: usize, shared: Shared, settings: Arc<Settings>, tls: Arc<TlsSite>) -> Self {
        let worker = Worker::new(index, shared.hub, shared.tally, SUBSCRIBER_BUDGET).with_addresses(shared.addresses);
        worker.serve_zones(&shared.hubs);
        let (memory, address) = memory::bounds(&settings);
        worker.set_bounds(memory, address);
        let context = Context::new(Rc::new(worker), settings, shared.views, shared.limiter);
        let context = Rc::new(context.with_opened_logs(shared.opened));
        let bench = Rc::new(Workbench::new(context));
        let door = Door { bench: Rc::clone(&bench), tls: RefCell::new(tls), numbers: shared.connections };
        Self { bench, door: Rc::new(door), listeners: RefCell::default() }
    }

    async fn run(self, sockets: Share, mut inbox: UnboundedReceiver<Order>) {
        let worker = Rc::clone(&self.bench.context.worker);
        let asked = self.bench.context.worker.tally().of(worker.index());
        spawn_local(async move { worker.serve().await });
        spawn_local(async move { asked.probe.answer().await });
        self.listen(sockets);
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Reconfigure { settings, tls, opened, kept, hubs, left, spread, farewell } => {
                    *self.door.tls.borrow_mut() = tls;
                    self.bench.context.worker.serve_zones(&hubs);
                    self.reconfigure(&settings, opened, &kept);
                    self.bench.context.reopen_logs();
                    if farewell {
                        self.bench.context.worker.farewell(Cause::Reload);
                    } else {
                        self.bench.context.worker.close_idle();
                        self.send_back(&left, spread);
                    }
                }
                Order::ReopenLogs => self.bench.context.reopen_logs(),
                Order::Rest => self.rest(),
                Order::Relieve => self.bench.context.worker.relieve(),
                Order::Beat(beats) => {
                    beats.fetch_add(1, Ordering::Relaxed);
                }
                Order::Settle(most, settled) => {
                    self.settle(most).await;
                    drop(settled);
                }
                Order::HandOver(leave, told) => {
                    self.take_leave(leave).await;
                    drop(told);
                }
                Order::Resume(sockets) => {
                    self.bench.context.worker.stay();
                    self.listen(sockets);
                }
                Order::Stop(leave, patience) => return self.stop(leave, patience, &mut inbox).await,
            }
        }
    }

    fn listen(&self, sockets: Share) {
        for (address, socket) in sockets {
            let index = place_of(&self.bench.context.settings(), &address).unwrap_or(usize::MAX);
            let place = Rc::new(ListenerPlace::new(address, index));
            let accepting = self.accept(Rc::clone(&place), socket);
            match accepting {
                Ok(task) => self.listeners.borrow_mut().push((place, task)),
                Err(error) => tracing::error!("cannot listen: {error}"),
            }
        }
    }

    fn accept(&self, place: Rc<ListenerPlace>, socket: Socket) -> io::Result<AbortHandle> {
        let door = Rc::clone(&self.door);
        let task = match place.address() {
            ListenAddress::Ip(_) => {
                let listener = TcpListener::from_std(socket.into())?;
                spawn_local(async move { accept::tcp(door, place, listener).await })
            }
            ListenAddress::Unix(_) => {
                let listener = UnixListener::from_std(socket.into())?;
                spawn_local(async move { accept::unix(door, place, listener).await })
            }
        };
        Ok(task.abort_handle())
    }

    fn reconfigure(&self, settings: &Arc<Settings>, opened: Share, kept: &[ListenAddress]) {
        let (memory, address) = memory::bounds(settings);
        self.bench.context.worker.set_bounds(memory, address);
        self.bench.reconfigure(Arc::clone(settings));
        self.listeners.borrow_mut().retain(|(place, task)| {
            let index = place_of(settings, place.address()).filter(|_| kept.contains(place.address()));
            place.set_index(index.unwrap_or(usize::MAX));
            if index.is_none() {
                task.abort();
            }
            index.is_some()
        });
        self.listen(opened);
    }

    /// Lets go of the listening sockets.
    fn rest(&self) {
        for (_, task) in self.listeners.borrow_mut().drain(..) {
            task.abort();
        }
    }

    async fn settle(&self, most: Duration) {
        self.rest();
        let worker = &self.bench.context.worker;
        worker.close_idle();
        let until = Instant::now() + most;
        while worker.is_busy() && Instant::now() < until {
            tokio::time::sleep(STOP_POLL).await;
        }
    }

    /// Accepts no more, closes what is idle, and tells every subscriber farewell.
    async fn take_leave(&self, leave: Leave) {
        self.rest();
        let worker = &self.bench.context.worker;
        let subscribers = worker.depart(leave.departure);
        say_farewell(worker, &subscribers, leave.spread, Cause::Farewell).await;
    }

    /// Tells the subscribers of these zones farewell, while all else goes on.
    fn send_back(&self, zones: &BTreeSet<u16>, spread: Duration) {
        if zones.is_empty() {
            return;
        }
        let worker = Rc::clone(&self.bench.context.worker);
        let subscribers = worker.let_go_of(zones);
        spawn_local(async move { say_farewell(&worker, &subscribers, spread, Cause::Reload).await });
    }

    async fn stop(&self, leave: Leave, patience: Duration, inbox: &mut UnboundedReceiver<Order>) {
        let mut until = Instant::now() + patience;
        self.take_leave(leave).await;
        while self.bench.context.worker.connections() > 0 && Instant::now() < until {
            // The server may be told to hurry.
            if let Ok(Order::Stop(_, patience)) = inbox.try_recv() {
                until = until.min(Instant::now() + patience);
            }
            tokio::time::sleep(STOP_POLL).await;
        }
    }
}

/// Tells these subscribers farewell, some at a time.
async fn say_farewell(worker: &Worker, subscribers: &[Rc<Connection>], spread: Duration, cause: Cause) {
    let rounds = (spread.as_millis() / FAREWELL_PAUSE.as_millis()).max(1);
    let some = subscribers.len().div_ceil(rounds as usize).max(FEW);
    for (round, some) in subscribers.chunks(some).enumerate() {
        if round > 0 {
            tokio::time::sleep(FAREWELL_PAUSE).await;
        }
        worker.say_farewell_to(some, cause);
    }
}

fn place_of(settings: &Settings, address: &ListenAddress) -> Option<usize> {
    settings.listeners.iter().position(|listener| listener.address == *address)
}
