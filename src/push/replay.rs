//! The control values of a subscribe request: from which message on the subscriber wants to go on.

use std::borrow::Cow;

use crate::conf::settings::{Location, Mode};
use crate::conf::variable::Complex;
use crate::model::{Capabilities, Replay, percent_decode};
use crate::request::http_date::parse_http_date;
use crate::site::exchange::Exchange;

/// Reads time, tag and event id from the sources the location names: a configured directive hides the header, even when
/// it expands to nothing.
pub(crate) fn replay(exchange: &Exchange<'_>, location: &Location, mode: Mode) -> Replay {
    let (push, capabilities) = (&location.push, &exchange.settings.capabilities);
    let time = source(exchange, push.last_received_message_time.as_ref(), "if-modified-since");
    let time = time.or_else(|| time_argument(exchange, location));
    let tag = source(exchange, push.last_received_message_tag.as_ref(), "if-none-match");
    let event_id = source(exchange, push.last_event_id.as_ref(), "last-event-id");
    let mut replay = Replay {
        time: time.and_then(|time| parse_http_date(&time)),
        tag: tag.and_then(|tag| parse_tag(&tag, capabilities)),
        event_id: event_id.filter(|id| !id.is_empty()).map(|id| id.into_owned().into()),
    };
    if capabilities.replay_by_mode {
        by_mode(&mut replay, mode);
    }
    if capabilities.bitrix_date_is_now && is_first_connect(&replay) {
        return Replay::default();
    }
    replay
}

/// Bitrix's older client asks for "only what is new" by tag 1 and 19 March 2022, midnight of wherever the browser is: a date
/// that lay in the future when it was written, and would bring the whole backlog on each page load now that it is past.
fn is_first_connect(replay: &Replay) -> bool {
    const FROM: i64 = 1_647_594_000; // 2022-03-18 09:00 UTC
    const UNTIL: i64 = 1_647_691_200; // 2022-03-19 12:00 UTC
    replay.tag == Some(1) && replay.event_id.is_none() && replay.time.is_some_and(|time| (FROM..=UNTIL).contains(&time))
}

fn source<'a>(exchange: &'a Exchange<'_>, configured: Option<&Complex>, header: &str) -> Option<Cow<'a, [u8]>> {
    match configured {
        Some(complex) => Some(percent_decode(&exchange.value(complex)).into()),
        None => exchange.head.header(header).map(Cow::Borrowed),
    }
}

/// Configurations that read the tag from `$arg_tag` but no time from anywhere lose messages with clients that send the time
/// only as an argument: there the argument `time` counts where there is no header.
fn time_argument<'a>(exchange: &'a Exchange<'_>, location: &Location) -> Option<Cow<'a, [u8]>> {
    let push = &location.push;
    if !exchange.settings.capabilities.time_argument || push.last_received_message_time.is_some() {
        return None;
    }
    push.last_received_message_tag.as_ref()?;
    let time = exchange.arg("time").filter(|time| !time.is_empty())?;
    Some(percent_decode(time).into())
}

/// No time means "everything stored" to a poll, an event id counts alone, a stream ignores the tag, and a websocket knows
/// backtracks only.
fn by_mode(replay: &mut Replay, mode: Mode) {
    match mode {
        Mode::WebSocket => *replay = Replay::default(),
        Mode::Polling | Mode::LongPolling => {
            replay.time.get_or_insert(0);
        }
        Mode::Streaming | Mode::EventSource => replay.tag = Some(0),
    }
    if replay.event_id.is_some() {
        replay.time = None;
    }
}

/// A tag: digits, where tags are weak with an optional `W/` before them; what is greater than nginx can hold is none.
fn parse_tag(value: &[u8], capabilities: &Capabilities) -> Option<i64> {
    let digits = match value.strip_prefix(b"W/") {
        Some(digits) if capabilities.weak_etags && !digits.is_empty() => digits,
        _ => value,
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Compat, Line};

    #[test]
    fn the_date_of_bitrix_first_connects_asks_for_new_messages_only() {
        let at = |date: &str, tag| Replay { time: parse_http_date(date.as_bytes()), tag, event_id: None };
        assert!(is_first_connect(&at("Fri, 18 Mar 2022 21:00:00 GMT", Some(1))));
        assert!(is_first_connect(&at("Sat, 19 Mar 2022 12:00:00 GMT", Some(1))));
        assert!(!is_first_connect(&at("Sat, 19 Mar 2022 12:00:01 GMT", Some(1))));
        assert!(!is_first_connect(&at("Fri, 18 Mar 2022 21:00:00 GMT", Some(2))));
        assert!(!is_first_connect(&at("Sun, 22 Nov 2026 18:43:51 GMT", Some(1))));
    }

    #[test]
    fn tags_are_digits_and_weak_from_0_5_on() {
        let parse_tag = |value: &[u8], line| parse_tag(value, &Capabilities::of(Compat { line, strict: false }));
        assert_eq!(parse_tag(b"7", Line::V05), Some(7));
        assert_eq!(parse_tag(b"W/7", Line::V05), Some(7));
        assert_eq!(parse_tag(b"W/7", Line::V040), None);
        assert_eq!(parse_tag(b"0009223372036854775807", Line::V05), Some(i64::MAX));
        for odd in [&b""[..], b"9223372036854775808", b"99999999999999999999999", b"W/", b"\"7\"", b"-1", b" 7", b"7 "]
        {
            assert_eq!(parse_tag(odd, Line::V05), None, "{odd:?}");
        }
    }
}
