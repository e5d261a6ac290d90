//! Dates of the wire and of the logs, written into a buffer without allocation.
//!
//! Time is an argument everywhere. The date of the current second is formatted once per second and thread; the local time
//! zone is read once, when the first log line needs it.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

use crate::model::Now;

/// Length of `Sun, 22 Nov 2026 18:43:51 GMT`.
const HTTP_DATE_LENGTH: usize = 29;

thread_local! {
    static ZONE: TimeZone = TimeZone::system();
    static LAST: Cell<(i64, [u8; HTTP_DATE_LENGTH])> = const { Cell::new((i64::MIN, [0; HTTP_DATE_LENGTH])) };
}

/// `Sun, 22 Nov 2026 18:43:51 GMT` for a number of seconds since the epoch.
pub(crate) fn http_date(secs: i64) -> [u8; HTTP_DATE_LENGTH] {
    let (last, text) = LAST.get();
    if last == secs {
        return text;
    }
    let text = format_http_date(secs);
    LAST.set((secs, text));
    text
}

/// As [`http_date`] for dates other than the current one: leaves the remembered date alone.
pub(crate) fn format_http_date(secs: i64) -> [u8; HTTP_DATE_LENGTH] {
    // httpdate holds the years 1970 to 9999.
    let secs = secs.clamp(0, 253_402_300_799) as u64;
    let mut text = [b' '; HTTP_DATE_LENGTH];
    let _ = write!(&mut text[..], "{}", httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(secs)));
    text
}

/// `$time_local`: `22/Nov/2026:18:43:51 +0000`.
pub(crate) fn time_local(now: Now) -> String {
    local(now, "%d/%b/%Y:%H:%M:%S %z")
}

/// `$time_iso8601`: `2026-11-22T18:43:51+00:00`.
pub(crate) fn time_iso8601(now: Now) -> String {
    local(now, "%Y-%m-%dT%H:%M:%S%:z")
}

/// The time of an error log line: `2026/11/22 18:43:51`.
pub fn log_date(now: Now) -> String {
    local(now, "%Y/%m/%d %H:%M:%S")
}

/// The time of a line that is JSON: `2026-11-22T18:43:51.007+00:00`.
pub(crate) fn rfc3339(now: Now) -> String {
    local(now, &format!("%Y-%m-%dT%H:%M:%S.{:03}%:z", now.0 % 1000))
}

/// The time of a message to syslog: `Nov 22 18:43:51`, `Nov  2 18:43:51`.
pub(crate) fn syslog_date(now: Now) -> String {
    local(now, "%b %e %H:%M:%S")
}

/// `$msec`: `1795373031.123`.
pub(crate) fn msec(now: Now) -> String {
    seconds(now.0)
}

/// Milliseconds as seconds with three decimals (`$request_time`).
pub(crate) fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// When the local clock next shows so many seconds past midnight, in seconds since the epoch.
pub(crate) fn next_time_of_day(now: Now, seconds: u64) -> i64 {
    let next = Timestamp::from_second(i64::from(now.secs())).and_then(|timestamp| {
        let here = ZONE.with(|zone| timestamp.to_zoned(zone.clone()));
        let time = jiff::Span::new().try_seconds(i64::try_from(seconds).unwrap_or_default())?;
        let today = here.start_of_day()?.datetime().checked_add(time)?.to_zoned(here.time_zone().clone())?;
        let next = if today > here { today } else { today.checked_add(jiff::Span::new().try_days(1)?)? };
        Ok(next.timestamp().as_second())
    });
    next.unwrap_or_else(|_| i64::from(now.secs()))
}

fn local(now: Now, format: &str) -> String {
    let Ok(timestamp) = Timestamp::from_second(i64::from(now.secs())) else { return String::new() };
    ZONE.with(|zone| timestamp.to_zoned(zone.clone()).strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_nginx_does() {
        assert_eq!(&http_date(1_795_373_031), b"Sun, 22 Nov 2026 18:43:51 GMT");
        assert_eq!(&http_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&http_date(i64::MIN), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(msec(Now(1_795_373_031_007)), "1795373031.007");
    }

    #[test]
    fn the_next_time_of_a_day_is_today_or_tomorrow() {
        let now = Now(1_795_373_031_000);
        let hour = |at: i64| (at + 86_400 - i64::from(now.secs())) % 86_400;
        for seconds in [0, 1, 55_800, 86_399] {
            let next = next_time_of_day(now, seconds);
            assert!((1..=86_400).contains(&(next - i64::from(now.secs()))), "{seconds}: {next}");
            // A later time of the day comes so much later, or a day earlier.
            let later = next_time_of_day(now, seconds / 2);
            let apart = (hour(next) - hour(later)).rem_euclid(86_400);
            assert_eq!(apart, seconds as i64 - seconds as i64 / 2, "{seconds}");
        }
    }

    #[test]
    fn log_times_have_the_shape_of_nginx() {
        let now = Now(1_795_373_031_007);
        assert_eq!(time_local(now).len(), "22/Nov/2026:18:43:51 +0000".len());
        assert_eq!(time_iso8601(now).len(), "2026-11-22T18:43:51+00:00".len());
        assert_eq!(rfc3339(now).len(), "2026-11-22T18:43:51.007+00:00".len());
        assert_eq!(rfc3339(now).parse::<Timestamp>().unwrap().as_millisecond(), now.0 as i64);
    }
}
