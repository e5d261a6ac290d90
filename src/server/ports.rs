//! Which ports are pushstreamd's: those with at least one server that is there for push alone.
//!
//! A port whose every server serves a site too (backends, static files) stays with nginx, since taking it would take the
//! site off the net; it is bound only when somebody says so.

use super::listen::shown;
use crate::conf::Settings;
use crate::conf::settings::{ListenAddress, Listener};

/// The listeners of a configuration, divided.
pub(super) struct Ports<'s> {
    /// To be bound.
    pub own: Vec<&'s Listener>,
    /// To be left alone.
    pub left: Vec<&'s Listener>,
}

impl<'s> Ports<'s> {
    /// Divides; `take_over`: all are to be bound. Where all ports would be left, `--strict` binds them as the module's nginx
    /// does.
    pub(super) fn of(settings: &'s Settings, take_over: bool) -> Self {
        let (left, own): (Vec<_>, Vec<_>) =
            settings.listeners.iter().partition(|listener| !take_over && is_foreign(listener));
        if own.is_empty() && settings.compat.strict {
            return Self { own: left, left: own };
        }
        Self { own, left }
    }

    /// Addresses to be bound.
    pub(super) fn addresses(&self) -> Vec<ListenAddress> {
        self.own.iter().map(|listener| listener.address.clone()).collect()
    }

    /// A line for each port that is left alone.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.left.iter().map(|listener| {
            let why = listener.names.all().find_map(|server| server.foreign.as_deref()).unwrap_or_default();
            let pushes = listener.names.all().any(|server| server.serves_push());
            let advice = if pushes { "; see \"pushstreamd migrate\" for its push locations" } else { "" };
            format!(
                "{} ({}) is left to nginx because of {why}{advice}; --take-over binds it",
                shown(&listener.address),
                listener.origin
            )
        })
    }
}

fn is_foreign(listener: &Listener) -> bool {
    listener.names.all().all(|server| server.is_foreign())
}
