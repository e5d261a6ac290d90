//! What every request of a worker shares: the worker, the current configuration, views, scratch buffers.
//!
//! One per worker thread. The configuration is swapped as a whole; a request keeps the one it began with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::exchange::Exchange;
use super::limiter::Limiter;
use super::log_files::LogFiles;
use super::subscribe;
use super::waiting_head::WaitingHead;
use crate::conf::Settings;
use crate::conf::settings::Location;
use crate::delivery::Worker;
use crate::render::{Framing, PaddingRule, View, ViewSpec, ViewTable};

/// Room for one read from a socket.
const INPUT: usize = 64 * 1024;
/// Long-poll heads kept for sharing; more than that is a sign of heads that differ each time.
const HEADS: usize = 512;

/// The shared state of a worker's requests.
pub struct Context {
    /// The worker.
    pub worker: Rc<Worker>,
    settings: RefCell<Arc<Settings>>,
    started: Instant,
    view_table: Arc<Mutex<ViewTable>>,
    views: RefCell<HashMap<ViewKey, Arc<View>>>,
    heads: RefCell<HashMap<Box<[u8]>, Rc<WaitingHead>>>,
    /// Counts of `limit_conn` and `limit_req`.
    pub(super) limiter: Arc<Limiter>,
    /// Access logs.
    pub(super) logs: LogFiles,
    input: Cell<Vec<u8>>,
    output: Cell<Vec<u8>>,
}

/// What the bytes of a location depend on beside the message.
#[derive(PartialEq, Eq, Hash)]
struct ViewKey {
    location: usize,
    framing: Framing,
    padding: Option<usize>,
}

impl Context {
    /// The context of a worker under these settings; `view_table` and `limiter` are shared by all workers.
    pub fn new(
        worker: Rc<Worker>,
        settings: Arc<Settings>,
        view_table: Arc<Mutex<ViewTable>>,
        limiter: Arc<Limiter>,
    ) -> Self {
        Self {
            worker,
            settings: RefCell::new(settings),
            started: Instant::now(),
            view_table,
            views: RefCell::default(),
            heads: RefCell::default(),
            limiter,
            logs: LogFiles::default(),
            input: Cell::default(),
            output: Cell::default(),
        }
    }

    /// The configuration in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Puts another configuration in force for all requests that begin from now on.
    pub fn reconfigure(&self, settings: Arc<Settings>) {
        *self.settings.borrow_mut() = settings;
        self.views.borrow_mut().clear();
        self.heads.borrow_mut().clear();
    }

    /// Opens the access logs anew (after they have been moved away).
    pub fn reopen_logs(&self) {
        self.logs.reopen();
    }

    /// Seconds since the worker began.
    pub fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// How messages of a location are rendered for this request; `padded`: the mode knows padding.
    pub fn view(&self, exchange: &Exchange<'_>, location: &Location, framing: Framing, padded: bool) -> Arc<View> {
        let padding = if padded { padding_rule(exchange, location) } else { None };
        let key = ViewKey { location: location.number, framing, padding };
        if let Some(view) = self.views.borrow().get(&key) {
            return Arc::clone(view);
        }
        let settings = exchange.settings;
        let view = self.view_table.lock().view(&ViewSpec {
            header: &location.push.header_template,
            message: &location.push.message_template,
            footer: &location.push.footer_template,
            ping_text: &settings.zone.ping_text,
            kind: subscribe::kind(location),
            framing,
            padding: padding.and_then(|index| location.push.paddings.get(index)).map(|rule| PaddingRule {
                header_min: rule.header_min,
                message_min: rule.message_min,
                largest: settings.largest_padding,
            }),
            line: settings.compat.line,
        });
        self.views.borrow_mut().insert(key, Arc::clone(&view));
        view
    }

    /// One shared copy of equal heads: a waiting long-poll costs a pointer, not a head.
    pub fn share(&self, head: WaitingHead) -> Rc<WaitingHead> {
        let mut heads = self.heads.borrow_mut();
        if let Some(shared) = heads.get(head.bytes()) {
            return Rc::clone(shared);
        }
        if heads.len() >= HEADS {
            heads.clear();
        }
        let shared = Rc::new(head);
        heads.insert(shared.bytes().into(), Rc::clone(&shared));
        shared
    }

    /// Lends the buffer for a read, [`INPUT`] bytes long; give it back with [`Context::return_input`].
    pub fn lend_input(&self) -> Vec<u8> {
        let mut input = self.input.take();
        input.resize(INPUT, 0);
        input
    }

    /// Takes the buffer of [`Context::lend_input`] back.
    pub fn return_input(&self, input: Vec<u8>) {
        self.input.set(input);
    }

    /// Lends an empty buffer for answers; give it back with [`Context::return_output`].
    pub fn lend_output(&self) -> Vec<u8> {
        self.output.take()
    }

    /// Takes the buffer of [`Context::lend_output`] back, unless a large answer has made it large.
    pub fn return_output(&self, mut output: Vec<u8>) {
        output.clear();
        if output.capacity() <= INPUT {
            self.output.set(output);
        }
    }
}

/// The first padding rule whose regex matches the user agent.
fn padding_rule(exchange: &Exchange<'_>, location: &Location) -> Option<usize> {
    let push = &location.push;
    if push.paddings.is_empty() {
        return None;
    }
    let agent = match &push.user_agent {
        Some(complex) => crate::model::percent_decode(&exchange.value(complex)).into(),
        None => std::borrow::Cow::Borrowed(exchange.head.header("user-agent")?),
    };
    if agent.is_empty() {
        return None;
    }
    push.paddings.iter().position(|rule| rule.agent.compiled.is_match(&agent).unwrap_or(false))
}
