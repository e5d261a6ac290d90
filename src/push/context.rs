//! What every request of a worker shares: the worker, the current configuration, views, limits, logs.
//!
//! One per worker thread. The configuration is swapped as a whole; a request keeps the one it began with.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::mode;
use crate::conf::Settings;
use crate::conf::settings::Location;
use crate::delivery::{LocalZone, Worker};
use crate::render::{Framing, PaddingRule, View, ViewSpec, ViewTable};
use crate::site::exchange::Exchange;
use crate::site::limiter::Limiter;
use crate::site::log_files::LogFiles;
use crate::site::opened_logs::OpenedLogs;

/// The shared state of a worker's requests.
pub struct Context {
    /// The worker.
    pub worker: Rc<Worker>,
    settings: RefCell<Arc<Settings>>,
    /// When the worker, or the configuration in force, began.
    started: Cell<Instant>,
    view_table: Arc<Mutex<ViewTable>>,
    views: RefCell<HashMap<ViewKey, Arc<View>>>,
    /// Counts of `limit_conn` and `limit_req`.
    pub(crate) limiter: Arc<Limiter>,
    /// Access logs.
    pub(crate) logs: LogFiles,
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
            started: Cell::new(Instant::now()),
            view_table,
            views: RefCell::default(),
            limiter,
            logs: LogFiles::default(),
        }
    }

    /// The same with access logs that another thread opens.
    #[must_use]
    pub(crate) fn with_opened_logs(self, opened: Arc<OpenedLogs>) -> Self {
        Self { logs: LogFiles::new(opened), ..self }
    }

    /// The configuration in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The zone of the server that was asked.
    pub fn zone(&self, exchange: &Exchange<'_>) -> Rc<LocalZone> {
        self.worker.zone(exchange.server.zone)
    }

    /// Puts another configuration in force for all requests that begin from now on.
    pub fn reconfigure(&self, settings: Arc<Settings>) {
        *self.settings.borrow_mut() = settings;
        self.started.set(Instant::now());
        self.views.borrow_mut().clear();
    }

    /// Opens the access logs anew (after they have been moved away).
    pub fn reopen_logs(&self) {
        self.logs.reopen();
    }

    /// Seconds since the worker began, or since the last reload, with which nginx's workers begin.
    pub fn uptime(&self) -> u64 {
        self.started.get().elapsed().as_secs()
    }

    /// How messages of a location are rendered for this request; `padded`: the mode knows padding.
    pub fn view(&self, exchange: &Exchange<'_>, location: &Location, framing: Framing, padded: bool) -> Arc<View> {
        let padding = if padded { padding_rule(exchange, location) } else { None };
        let key = ViewKey { location: location.number, framing, padding };
        let settings = exchange.settings;
        // A request may be older than the configuration in force, whose numbers are others.
        let current = std::ptr::eq(settings, &raw const **self.settings.borrow());
        if let Some(view) = self.views.borrow().get(&key).filter(|_| current) {
            return Arc::clone(view);
        }
        let view = self.view_table.lock().view(&ViewSpec {
            header: &location.push.header_template,
            message: &location.push.message_template,
            footer: &location.push.footer_template,
            ping_text: &settings.zone.ping_text,
            kind: mode::kind(location),
            framing,
            padding: padding.and_then(|index| location.push.paddings.get(index)).map(|rule| PaddingRule {
                header_min: rule.header_min,
                message_min: rule.message_min,
                largest: settings.largest_padding,
            }),
            capabilities: &settings.capabilities,
        });
        if current {
            self.views.borrow_mut().insert(key, Arc::clone(&view));
        }
        view
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
