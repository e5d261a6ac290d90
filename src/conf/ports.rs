//! Whose each port is: pushstreamd's if a server on it pushes and none serves a site, else nginx's.
//!
//! The one place where this is decided: `-t`, the start, a reload and `migrate` all ask here, and so cannot differ. It
//! binds nothing. What would be half a push server (subscribers whose publisher is left to nginx) is none.

use std::sync::Arc;

use super::Settings;
use super::error::Note;
use super::listen::display;
use super::settings::{Handler, ListenAddress, Listener, Location, Locations, LogLevel, Mode, Server};

/// What the module says of a configuration that does not use it.
pub const NOT_USED: &str = "ngx_http_push_stream_module will not be used with this configuration.";

/// The ports of a configuration, each with its fate.
#[derive(Debug)]
pub struct Ports<'s> {
    all: Vec<Port<'s>>,
    uses_module: bool,
    strict: bool,
}

/// A port.
#[derive(Debug)]
struct Port<'s> {
    listener: &'s Listener,
    served: bool,
    why: String,
    roles: Roles,
}

/// What push locations there are.
#[derive(Clone, Copy, Debug, Default)]
struct Roles {
    publishes: bool,
    subscribes: bool,
}

impl<'s> Ports<'s> {
    /// Divides the ports; `take_over`: all are to be served. `--strict` takes what is no site, or everything if all are sites, as the
    /// module's nginx does.
    pub fn of(settings: &'s Settings, take_over: bool) -> Self {
        let strict = settings.compat.strict;
        let mut ports: Vec<Port<'s>> =
            settings.listeners.iter().map(|listener| Port::of(listener, take_over, strict)).collect();
        if strict && !ports.iter().any(|port| port.served) {
            for port in &mut ports {
                port.take("--strict");
            }
        }
        Self { all: ports, uses_module: settings.uses_module, strict }
    }

    /// Those to be served.
    pub fn own(&self) -> impl Iterator<Item = &'s Listener> {
        self.all.iter().filter(|port| port.served).map(|port| port.listener)
    }

    /// Addresses to be served.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.own().map(|listener| listener.address.clone()).collect()
    }

    /// Whether a server keeps this address for itself: it is served.
    pub fn serves(&self, address: &ListenAddress) -> bool {
        self.all.iter().any(|port| port.served && port.listener.address == *address)
    }

    /// Whether any port is left to nginx.
    pub fn leaves_some(&self) -> bool {
        self.all.iter().any(|port| !port.served)
    }

    /// The table: a line for each port, with what becomes of it and why.
    pub fn table(&self) -> Vec<String> {
        let name = |port: &Port<'_>| format!("{} ({})", display(&port.listener.address), port.listener.origin);
        let width = self.all.iter().map(|port| name(port).len()).max().unwrap_or(0);
        let line = |port: &Port<'_>| {
            let fate = if port.served { "is served:" } else { "is left to nginx" };
            format!("{:width$} {fate} {}", name(port), port.why)
        };
        self.all.iter().map(line).collect()
    }

    /// What there is to say about the whole; an error where nothing would be served, or half of what belongs together.
    /// `file` is the configuration, for the command that helps.
    pub fn judge(&self, file: &str) -> Result<Vec<Note>, String> {
        let served = |port: &&Port<'_>| port.served;
        let migrate = format!("\"pushstreamd migrate -c {file}\" prints how to divide them");
        let bound = self.all.iter().any(|port| port.served);
        if !self.uses_module {
            return if bound || self.strict {
                Ok(vec![Note { level: LogLevel::Notice, text: NOT_USED.to_owned() }])
            } else {
                Err(format!("no location of the configuration publishes, subscribes or tells statistics: {NOT_USED}"))
            };
        }
        if !bound {
            return Err(format!("no port is left for pushstreamd: each that pushes has a site too; {migrate}"));
        }
        let own = Roles::of_all(self.all.iter().filter(served).map(|port| port.roles));
        let left: Vec<&Port<'_>> = self.all.iter().filter(|port| !port.served && port.roles.any()).collect();
        let other = Roles::of_all(left.iter().map(|port| port.roles));
        let places = |has: fn(&Roles) -> bool| {
            let names = left.iter().filter(|port| has(&port.roles)).map(|port| display(&port.listener.address));
            names.collect::<Vec<_>>().join(", ")
        };
        let half = "what is published on one side would never come to the other";
        if own.subscribes && !own.publishes && other.publishes {
            let places = places(|roles| roles.publishes);
            return Err(format!(
                "subscribers are served, but their publisher on {places} is left to nginx: {half}; {migrate}"
            ));
        }
        if own.publishes && !own.subscribes && other.subscribes {
            let places = places(|roles| roles.subscribes);
            return Err(format!(
                "a publisher is served, but its subscribers on {places} are left to nginx: {half}; {migrate}"
            ));
        }
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let places = places(|roles| roles.any());
        let text = format!("push locations on {places} are left to nginx; {migrate}");
        Ok(vec![Note { level: LogLevel::Warn, text }])
    }
}

impl<'s> Port<'s> {
    fn of(listener: &'s Listener, take_over: bool, strict: bool) -> Self {
        let servers: Vec<&Arc<Server>> = listener.names.all().collect();
        let roles = Roles::of_all(servers.iter().map(|server| Roles::of(server)));
        let pushes = servers.iter().find(|server| server.serves_push());
        let site = servers.iter().find_map(|server| server.foreign.as_deref());
        let all_sites = servers.iter().all(|server| server.is_foreign());
        let (served, why) = match (pushes, site) {
            (Some(server), None) => (true, format!("push locations of the server in {}", server.origin)),
            (_, Some(site)) if strict && !all_sites => (true, format!("--strict, in spite of {site}")),
            (_, None) if strict => (true, "--strict".to_owned()),
            (_, Some(site)) => (false, format!("because of {site}; --take-over binds it")),
            (None, None) => (false, "because nothing pushes there; --take-over binds it".to_owned()),
        };
        let mut port = Self { listener, served, why, roles };
        if take_over {
            port.take("--take-over");
        }
        port
    }

    fn take(&mut self, by: &str) {
        if !self.served {
            self.served = true;
            by.clone_into(&mut self.why);
        }
    }
}

impl Roles {
    fn of_all(roles: impl Iterator<Item = Self>) -> Self {
        roles.fold(Self::default(), |all, one| Self {
            publishes: all.publishes | one.publishes,
            subscribes: all.subscribes | one.subscribes,
        })
    }

    fn of(server: &Server) -> Self {
        let mut roles = Self::default();
        roles.look(&server.root);
        roles.look_within(&server.locations);
        server.named.values().for_each(|location| roles.look(location));
        roles
    }

    fn look_within(&mut self, locations: &Locations) {
        let all = locations.exact.values().chain(&locations.prefixes).chain(&locations.regexes);
        all.for_each(|location| self.look(location));
    }

    fn look(&mut self, location: &Location) {
        match location.handler {
            Handler::Publisher { .. } => self.publishes = true,
            Handler::Subscriber(mode) => {
                self.subscribes = true;
                self.publishes |= mode == Mode::WebSocket && location.push.websocket_allow_publish;
            }
            _ => {}
        }
        self.look_within(&location.nested);
    }

    fn any(self) -> bool {
        self.publishes || self.subscribes
    }
}
