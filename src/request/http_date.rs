//! HTTP dates as nginx reads them: RFC 1123, RFC 850 and asctime, with a lenient eye.
//!
//! It does not look at the weekday, nor at what follows the seconds (`GMT`, a zone, a length, nothing); but in asctime the year
//! stands there. Whoever is stricter loses history: clients send back what libraries of their own have made of a date.

use jiff::ToSpan;
use jiff::civil::{Date, date};

/// Seconds since the epoch of a date.
pub(crate) fn parse_http_date(text: &[u8]) -> Option<i64> {
    let end_of_weekday = memchr::memchr2(b',', b' ', text)?;
    let asctime = text.get(end_of_weekday) == Some(&b' ');
    let mut rest = Rest(text.get(end_of_weekday + 1..)?);
    while rest.takes(b' ') {}
    if asctime {
        let month = rest.month()?;
        rest.byte()?;
        rest.takes(b' ');
        let day = rest.day()?;
        rest.expect(b' ')?;
        let time = rest.time()?;
        rest.expect(b' ')?;
        return seconds(rest.number(4)?, month, day, time);
    }
    let day = rest.number(2)?;
    let separator = rest.byte().filter(|byte| b" -".contains(byte))?;
    let month = rest.month()?;
    rest.expect(separator)?;
    let year = if separator == b' ' { rest.number(4)? } else { century(rest.number(2)?) };
    rest.expect(b' ')?;
    seconds(year, month, day, rest.time()?)
}

/// The year of two digits.
fn century(year: i64) -> i64 {
    if year < 70 { 2000 + year } else { 1900 + year }
}

fn seconds(year: i64, month: i8, day: i64, time: i64) -> Option<i64> {
    let first = Date::new(i16::try_from(year).ok()?, month, 1).ok()?;
    if day > i64::from(first.days_in_month()) {
        return None;
    }
    // The day 0 is the last of the month before, as it is for nginx.
    let day = first.checked_add((day - 1).days()).ok()?;
    let days = date(1970, 1, 1).until(day).ok()?.get_days();
    Some(i64::from(days) * 86_400 + time)
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// Takes the byte if it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        let there = self.0.first() == Some(&byte);
        if there {
            self.byte();
        }
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let mut number = 0;
        for _ in 0..digits {
            let digit = self.byte().filter(u8::is_ascii_digit)?;
            number = number * 10 + i64::from(digit - b'0');
        }
        Some(number)
    }

    /// A day of one or two digits, with a space behind.
    fn day(&mut self) -> Option<i64> {
        let digits = if self.0.get(1) == Some(&b' ') { 1 } else { 2 };
        self.number(digits)
    }

    fn month(&mut self) -> Option<i8> {
        const MONTHS: [&[u8; 3]; 12] =
            [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
        let name = self.0.get(..3)?;
        let place = MONTHS.iter().position(|month| *month == name)?;
        self.0 = self.0.get(3..)?;
        i8::try_from(place + 1).ok()
    }

    /// `HH:MM:SS` in seconds.
    fn time(&mut self) -> Option<i64> {
        let hours = self.number(2)?;
        self.expect(b':')?;
        let minutes = self.number(2)?;
        self.expect(b':')?;
        let seconds = self.number(2)?;
        let possible = hours <= 23 && minutes <= 59 && seconds <= 59;
        possible.then_some(hours * 3600 + minutes * 60 + seconds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THEN: i64 = 1_795_373_031;

    #[test]
    fn dates_of_all_forms_are_read() {
        for text in [
            "Sun, 22 Nov 2026 18:43:51 GMT",
            "Sunday, 22-Nov-26 18:43:51 GMT",
            "Sun Nov 22 18:43:51 2026",
            "Mon, 22 Nov 2026 18:43:51 UTC",
            "Sun, 22 Nov 2026 18:43:51 +0300",
            "Sun, 22 Nov 2026 18:43:51; length=5",
            "Sun, 22 Nov 2026 18:43:51",
            ",22 Nov 2026 18:43:51",
            "Sun,    22-Nov-26 18:43:51",
            "whatever   Nov 22 18:43:51 2026 and more",
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), Some(THEN), "{text}");
        }
        for (text, time) in [
            ("Thu Jan 1 00:00:00 1970", 0),
            ("Thu Jan  1 00:00:00 1970", 0),
            ("Thu, 01-Jan-70 00:00:00", 0),
            ("x, 31-Dec-69 23:59:59", 3_155_759_999),
            ("x, 31 Dec 1969 23:59:59", -1),
            ("x, 29 Feb 2024 00:00:00", 1_709_164_800),
            ("x, 00 Mar 2024 00:00:00", 1_709_164_800),
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), Some(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "12345",
            "Sun, 22 Nov 2026",
            "Sun, 22 Nov 2026 18:43",
            " Sun, 22 Nov 2026 18:43:51 GMT",
            "Sun, 22 nov 2026 18:43:51 GMT",
            "Sun, 2 Nov 2026 18:43:51 GMT",
            "Sun, 22-Nov 26 18:43:51 GMT",
            "Sun, 22 Nov 26 18:43:51 GMT",
            "Sun, 31 Nov 2026 18:43:51 GMT",
            "Sun, 29 Feb 2100 18:43:51 GMT",
            "Sun, 22 Nov 2026 24:43:51 GMT",
            "Sun, 22 Nov 2026 18:43:60 GMT",
            "Sun Nov 22 18:43:51",
            "22 Nov 2026 18:43:51 GMT",
        ] {
            assert_eq!(parse_http_date(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_whatever_stands_around_it(
            secs in 0i64..253_402_300_799,
            weekday in "[A-Za-z]{0,9}",
            spaces in 1usize..4,
            tail in "(| GMT| UTC| [+-][0-9]{4}|;[a-z =0-9]{0,9}|[^0-9].*)",
        ) {
            let at = jiff::Timestamp::from_second(secs).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            let gap = " ".repeat(spaces);
            let forms = [
                format!("{weekday},{gap}{}{tail}", at.strftime("%d %b %Y %H:%M:%S")),
                format!("{weekday}{gap}{}{tail}", at.strftime("%b %e %H:%M:%S %Y")),
                format!("{weekday}{gap}{}{tail}", at.strftime("%b %-d %H:%M:%S %Y")),
                format!("{weekday}{gap}{}{tail}", at.strftime("%b %d %H:%M:%S %Y")),
            ];
            for form in forms {
                prop_assert_eq!(parse_http_date(form.as_bytes()), Some(secs), "{}", form);
            }
            if (1970..2070).contains(&at.year()) {
                let form = format!("{weekday},{gap}{}{tail}", at.strftime("%d-%b-%y %H:%M:%S"));
                prop_assert_eq!(parse_http_date(form.as_bytes()), Some(secs), "{}", form);
            }
        }

        #[test]
        fn no_bytes_are_too_odd(text in prop::collection::vec(any::<u8>(), 0..40)) {
            parse_http_date(&text);
        }
    }
}
