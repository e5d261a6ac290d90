//! The phase before access: `limit_req`, then `limit_conn`, with the values of the request's location.
//!
//! A request is judged once by each, at the first location that limits it, however it is redirected afterwards. Does not
//! count itself; [`super::limiter`] does.

use std::sync::Arc;

use super::exchange::Exchange;
use super::limiter::{LONGEST_KEY, Pace, Rated};
use super::log_context;
use crate::conf::settings::LimitZone;

/// What the limits have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// The request goes on.
    Pass,
    /// It goes on after so many milliseconds.
    Wait(u64),
    /// It is refused with this status.
    Refused(u16),
}

/// Judges the request.
pub(crate) fn check(exchange: &mut Exchange<'_>) -> Limited {
    if exchange.route.subrequest {
        return Limited::Pass;
    }
    if !exchange.route.pace_known {
        match pace(exchange) {
            Limited::Pass => {}
            other => return other,
        }
    }
    match connections(exchange) {
        Ok(()) => Limited::Pass,
        Err(status) => Limited::Refused(status),
    }
}

fn pace(exchange: &mut Exchange<'_>) -> Limited {
    let limits = &exchange.location.core.limit_req;
    let (Some(limiter), false) = (exchange.limiter, limits.is_empty()) else { return Limited::Pass };
    let rated: Vec<Rated<'_>> = limits
        .iter()
        .filter_map(|limit| {
            let zone = exchange.settings.limit_zones.get(limit.zone)?;
            Some((limit, zone, key(exchange, zone)?))
        })
        .collect();
    if rated.is_empty() {
        return Limited::Pass;
    }
    let pace = limiter.pace(&rated, limiter.clock());
    let zone = |place: usize| rated.get(place).map_or("", |(_, zone, _)| &*zone.name);
    let judged = match pace {
        Pace::Free => Limited::Pass,
        Pace::Late { wait, excess, limit } => {
            let excess = decimal(excess);
            let zone = zone(limit);
            log_context::warn(exchange, format_args!("delaying request, excess: {excess}, by zone \"{zone}\""));
            Limited::Wait(wait)
        }
        Pace::Over { excess, limit } => {
            let excess = decimal(excess);
            let zone = zone(limit);
            log_context::error(exchange, format_args!("limiting requests, excess: {excess} by zone \"{zone}\""));
            Limited::Refused(rated.get(limit).map_or(503, |(limit, ..)| limit.status))
        }
    };
    exchange.route.pace_known = true;
    judged
}

fn connections(exchange: &mut Exchange<'_>) -> Result<(), u16> {
    if exchange.route.connections_known {
        return Ok(());
    }
    let limits = &exchange.location.core.limit_conn;
    let Some(limiter) = exchange.limiter else { return Ok(()) };
    for limit in limits.iter() {
        let Some(zone) = exchange.settings.limit_zones.get(limit.zone) else { continue };
        let Some(key) = key(exchange, zone) else { continue };
        exchange.route.connections_known = true;
        let Some(hold) = limiter.hold(limit, zone, &key) else {
            log_context::error(exchange, format_args!("limiting connections by zone \"{}\"", zone.name));
            exchange.holds.clear();
            return Err(limit.status);
        };
        exchange.holds.push(hold);
    }
    Ok(())
}

/// The key of the request; none where it is empty or endless, which is not counted.
fn key(exchange: &Exchange<'_>, zone: &LimitZone) -> Option<Arc<[u8]>> {
    let key = exchange.value(&zone.key);
    if key.len() > LONGEST_KEY {
        let length = key.len();
        let zone = &zone.name;
        log_context::error(
            exchange,
            format_args!("the value of the key of zone \"{zone}\" is too long: {length} bytes"),
        );
        return None;
    }
    (!key.is_empty()).then(|| Arc::from(&*key))
}

/// Thousandths as nginx writes them: `1.500`.
fn decimal(thousandths: u64) -> String {
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::conf::{LoadOptions, load};
    use crate::model::Now;
    use crate::request::head::RequestHead;
    use crate::request::peer::{Peer, PeerAddress};
    use crate::site::limiter::Limiter;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_wall_clock_that_is_set_back_or_forth_changes_no_rate() {
        let text = "events {} http { push_stream_shared_memory_size 1m; limit_req_zone $server_port zone=z:1m rate=5r/s;
            server { listen 127.0.0.1:1; limit_req zone=z; location / { push_stream_subscriber; push_stream_channels_path a; } } }";
        let options = LoadOptions {
            file: "f".into(),
            prefix: "/nonexistent".into(),
            text: Some(text.to_owned()),
            ..LoadOptions::default()
        };
        let settings = load(&options).unwrap().settings;
        let limiter = Arc::new(Limiter::default());
        let local = PeerAddress::Ip(([127, 0, 0, 1], 1).into());
        let peer = Rc::new(Peer { remote: local, local, tls: None, proxy: None, connection: 1 });
        let asked = |wall: u64| {
            let head = RequestHead::unreadable(b"");
            let listener = &settings.listeners[0];
            let mut exchange = Exchange::new(&settings, listener, Rc::clone(&peer), head, Now(wall), 1);
            exchange.limiter = Some(&limiter);
            check(&mut exchange)
        };
        assert_eq!(asked(10 * HOUR), Limited::Pass);
        assert_eq!(asked(20 * HOUR), Limited::Refused(503), "no time has passed");
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(asked(9 * HOUR), Limited::Pass, "the next request of a quarter of a second");
    }
}
