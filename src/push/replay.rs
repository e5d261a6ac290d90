//! The control values of a subscribe request: from which message on the subscriber wants to go on.

use std::borrow::Cow;

use crate::conf::settings::{Line, Location, Mode};
use crate::conf::variable::Complex;
use crate::model::{Replay, percent_decode};
use crate::request::date::parse_http_date;
use crate::site::exchange::Exchange;

/// Reads time, tag and event id from the sources the location names: a configured directive hides the header, even when
/// it expands to nothing.
pub(crate) fn replay(exchange: &Exchange<'_>, location: &Location, mode: Mode) -> Replay {
    let (push, compat) = (&location.push, exchange.settings.compat);
    let time = source(exchange, push.last_received_message_time.as_ref(), "if-modified-since");
    let time = time.or_else(|| time_argument(exchange, location));
    let tag = source(exchange, push.last_received_message_tag.as_ref(), "if-none-match");
    let event_id = source(exchange, push.last_event_id.as_ref(), "last-event-id");
    let mut replay = Replay {
        time: time.and_then(|time| parse_date(&time)),
        tag: tag.and_then(|tag| parse_tag(&tag, compat.line)),
        event_id: event_id.filter(|id| !id.is_empty()).map(|id| id.into_owned().into()),
    };
    if compat.line < Line::V040 {
        as_in_0_3(&mut replay, mode);
    }
    if !compat.strict && is_first_connect(&replay) {
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
/// only as an argument: there the argument `time` counts where there is no header (not under `--strict`).
fn time_argument<'a>(exchange: &'a Exchange<'_>, location: &Location) -> Option<Cow<'a, [u8]>> {
    let push = &location.push;
    if exchange.settings.compat.strict || push.last_received_message_time.is_some() {
        return None;
    }
    push.last_received_message_tag.as_ref()?;
    let time = exchange.arg("time").filter(|time| !time.is_empty())?;
    Some(percent_decode(time).into())
}

/// 0.3.x: no time means "everything stored" to a poll, an event id counts alone, a stream ignores the tag, and a websocket
/// knows backtracks only.
fn as_in_0_3(replay: &mut Replay, mode: Mode) {
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

/// An HTTP date (RFC 1123, RFC 850, asctime), or an RFC 2822 date with a numeric zone, as Unix seconds.
pub(crate) fn parse_date(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (text, offset) = split_zone(text);
    Some(parse_http_date(text.as_bytes())? - offset)
}

/// Takes a numeric zone off and puts `GMT` in its place; the offset in seconds.
fn split_zone(text: &str) -> (Cow<'_, str>, i64) {
    let Some((date, zone)) = text.rsplit_once(' ') else { return (text.into(), 0) };
    let (sign, digits) = match zone.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return (text.into(), 0),
    };
    let (Some(hours), Some(minutes)) = (digits.get(..2), digits.get(2..4)) else { return (text.into(), 0) };
    match (hours.parse::<i64>(), minutes.parse::<i64>()) {
        (Ok(hours), Ok(minutes)) if digits.len() == 4 => {
            (format!("{date} GMT").into(), sign * (hours * 3600 + minutes * 60))
        }
        _ => (text.into(), 0),
    }
}

/// A tag: digits, from 0.5 on with an optional `W/` before them.
fn parse_tag(value: &[u8], line: Line) -> Option<i64> {
    let digits = match value.strip_prefix(b"W/") {
        Some(digits) if line >= Line::V05 && !digits.is_empty() => digits,
        _ => value,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_forms_are_read() {
        for text in [
            "Sun, 22 Nov 2026 18:43:51 GMT",
            "Sunday, 22-Nov-26 18:43:51 GMT",
            "Sun Nov 22 18:43:51 2026",
            "Sun, 22 Nov 2026 21:43:51 +0300",
            "Sun, 22 Nov 2026 16:13:51 -0230",
        ] {
            assert_eq!(parse_date(text.as_bytes()), Some(1_795_373_031), "{text}");
        }
        for text in ["", "soon", "Sun, 22 Nov 2026", "12345"] {
            assert_eq!(parse_date(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_date_of_bitrix_first_connects_asks_for_new_messages_only() {
        let at = |date: &str, tag| Replay { time: parse_date(date.as_bytes()), tag, event_id: None };
        assert!(is_first_connect(&at("Fri, 18 Mar 2022 21:00:00 GMT", Some(1))));
        assert!(is_first_connect(&at("Sat, 19 Mar 2022 12:00:00 GMT", Some(1))));
        assert!(!is_first_connect(&at("Sat, 19 Mar 2022 12:00:01 GMT", Some(1))));
        assert!(!is_first_connect(&at("Fri, 18 Mar 2022 21:00:00 GMT", Some(2))));
        assert!(!is_first_connect(&at("Sun, 22 Nov 2026 18:43:51 GMT", Some(1))));
    }

    #[test]
    fn tags_are_digits_and_weak_from_0_5_on() {
        assert_eq!(parse_tag(b"7", Line::V05), Some(7));
        assert_eq!(parse_tag(b"W/7", Line::V05), Some(7));
        assert_eq!(parse_tag(b"W/7", Line::V040), None);
        for odd in [&b""[..], b"W/", b"\"7\"", b"-1", b" 7", b"7 "] {
            assert_eq!(parse_tag(odd, Line::V05), None, "{odd:?}");
        }
    }
}
