//! What the values of a push location mean for one request: its channels, its allowed origin.

use std::borrow::Cow;

use crate::conf::settings::Location;
use crate::model::{ChannelId, Requested, parse_channel_path, percent_decode};
use crate::site::exchange::Exchange;

/// The channels a request names; empty where the path is empty or unset.
pub(crate) fn requested(exchange: &Exchange<'_>, location: &Location) -> Vec<Requested> {
    let Some(path) = &location.push.channels_path else { return Vec::new() };
    let value = exchange.value(&path.value);
    let value: Cow<'_, [u8]> = if path.decode { percent_decode(&value).into() } else { value };
    if path.split {
        return parse_channel_path(&value);
    }
    if value.is_empty() { Vec::new() } else { vec![Requested { id: ChannelId::new(&value), backtrack: 0 }] }
}

/// The ids alone, for publishers and statistics, which ignore backtracks.
pub(crate) fn ids(exchange: &Exchange<'_>, location: &Location) -> Vec<ChannelId> {
    requested(exchange, location).into_iter().map(|requested| requested.id).collect()
}

/// Value of `push_stream_allowed_origins`, if it is set.
pub(crate) fn origin(exchange: &Exchange<'_>, location: &Location) -> Option<Vec<u8>> {
    let value = exchange.value(location.push.allowed_origins.as_ref()?);
    Some(percent_decode(&value))
}
