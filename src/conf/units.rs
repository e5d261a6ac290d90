//! Numbers with units: nginx's times, sizes and offsets.
//!
//! Knows nothing of directives: what is wrong with a value is said by the caller, who has the directive's name.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// nginx keeps times and sizes in signed words.
const LARGEST: u64 = i64::MAX as u64;

/// Decimal digits only.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit).filter(|sum| *sum <= LARGEST)
    })
}

/// Bytes, with `k` and `m` in either case.
pub(super) fn size(text: &[u8]) -> Option<u64> {
    scaled(text, false)
}

/// Bytes, with `k`, `m` and `g` in either case.
pub(super) fn offset(text: &[u8]) -> Option<u64> {
    scaled(text, true)
}

fn scaled(text: &[u8], giga: bool) -> Option<u64> {
    let (last, rest) = text.split_last()?;
    let scale: u64 = match last.to_ascii_lowercase() {
        b'k' => 1 << 10,
        b'm' => 1 << 20,
        b'g' if giga => 1 << 30,
        _ => return number(text),
    };
    number(rest)?.checked_mul(scale).filter(|value| *value <= LARGEST)
}

/// A time in seconds: `1y6M`, `1h 30m`, `90`. No milliseconds.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    time(text, 1)
}

/// A time in milliseconds: `1h30m`, `1500ms`, `90` (seconds). No years and months.
pub(super) fn milliseconds(text: &[u8]) -> Option<u64> {
    time(text, 1000)
}

/// Units must come in descending order, each at most once; `per_second` is the resolution.
fn time(text: &[u8], per_second: u64) -> Option<u64> {
    let mut total = 0u64;
    let mut rank = 0;
    let mut rest = text;
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        any |= digits > 0;
        let value = if digits == 0 { 0 } else { number(&rest[..digits])? };
        rest = &rest[digits..];
        let (unit_rank, scale, length) = match rest {
            [] => return total.checked_add(value.checked_mul(per_second)?).filter(|total| *total <= LARGEST),
            [b'y', ..] if per_second == 1 => (1, 365 * DAY, 1),
            [b'M', ..] if per_second == 1 => (2, 30 * DAY, 1),
            [b'w', ..] => (3, 7 * DAY * per_second, 1),
            [b'd', ..] => (4, DAY * per_second, 1),
            [b'h', ..] => (5, HOUR * per_second, 1),
            [b'm', b's', ..] if per_second == 1000 => (8, 1, 2),
            [b'm', b's', ..] => return None,
            [b'm', ..] => (6, MINUTE * per_second, 1),
            [b's' | b' ', ..] => (7, per_second, 1),
            _ => return None,
        };
        if unit_rank <= rank {
            return None;
        }
        rank = unit_rank;
        total = total.checked_add(value.checked_mul(scale)?).filter(|total| *total <= LARGEST)?;
        rest = &rest[length..];
        while let [b' ', after @ ..] = rest {
            rest = after;
        }
    }
    any.then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(number(b"42"), Some(42));
        for bad in ["", "-1", "5chars", " 1", "99999999999999999999"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_no_gigabytes_and_offsets_do() {
        assert_eq!(
            (size(b"8m"), size(b"8M"), size(b"64k"), size(b"9")),
            (Some(8 << 20), Some(8 << 20), Some(65536), Some(9))
        );
        assert_eq!((size(b"1g"), size(b"m"), size(b"lots")), (None, None, None));
        assert_eq!(offset(b"1g"), Some(1 << 30));
    }

    #[test]
    fn times_are_sums_in_descending_order() {
        assert_eq!(seconds(b"1h30m"), Some(5400));
        assert_eq!(seconds(b"1d 12h"), Some(129_600));
        assert_eq!(seconds(b"1y2M"), Some(365 * DAY + 60 * DAY));
        assert_eq!(seconds(b"90"), Some(90));
        assert_eq!(milliseconds(b"1m30s"), Some(90_000));
        assert_eq!(milliseconds(b"1s250ms"), Some(1250));
        assert_eq!(milliseconds(b"0ms"), Some(0));
        assert_eq!(milliseconds(b"40"), Some(40_000));
    }

    #[test]
    fn malformed_times_are_refused() {
        for bad in ["", "soon", "-5", "1.5s", "30m1h", "1h1h", "s1500ms x"] {
            assert_eq!(milliseconds(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(seconds(b"1500ms"), None);
        assert_eq!(milliseconds(b"1y"), None);
    }

    proptest! {
        #[test]
        fn a_number_is_its_digits_and_nothing_else_is_one(text in prop_oneof!["[0-9]{0,22}", "[0-9]{0,4}\\PC{0,2}[0-9]{0,4}"]) {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let expected = text.parse::<u64>().ok().filter(|value| digits && *value <= LARGEST);
            prop_assert_eq!(number(text.as_bytes()), expected);
        }

        #[test]
        fn what_is_written_in_units_is_their_sum(
            days in 0..9999u64, hours in 0..9999u64, minutes in 0..9999u64, rest in 0..9999u64, space in " {0,2}",
        ) {
            let text = format!("{days}d{space}{hours}h{space}{minutes}m{space}{rest}s");
            let sum = days * DAY + hours * HOUR + minutes * MINUTE + rest;
            prop_assert_eq!((seconds(text.as_bytes()), milliseconds(text.as_bytes())), (Some(sum), Some(sum * 1000)));
            for (unit, scale) in [("k", 1 << 10), ("M", 1 << 20)] {
                let text = format!("{days}{unit}");
                prop_assert_eq!((size(text.as_bytes()), offset(text.as_bytes())), (Some(days * scale), Some(days * scale)));
            }
        }

        #[test]
        fn no_bytes_are_more_than_nginx_can_hold(text: Vec<u8>) {
            let all = [number(&text), size(&text), offset(&text), seconds(&text), milliseconds(&text)];
            prop_assert!(all.into_iter().flatten().all(|value| value <= LARGEST), "{:?}", all);
        }
    }
}
