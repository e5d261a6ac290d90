//! When a certificate ends (`notAfter`), for whoever watches that it does not.
//!
//! Invariant: a certificate that tells no time that can be read has no end here; what clients think of it is their business.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::distinguished_name::{SEQUENCE, VERSION, any_element, element};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last second of a DER certificate, since the epoch.
pub(crate) fn expiry(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature, issuer.
    for _ in 0..3 {
        fields = any_element(fields)?.2;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, _, rest) = any_element(validity)?;
    let (kind, text, _) = any_element(rest)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match kind {
        // RFC 5280: two digits from 50 on are of the twentieth century.
        UTC_TIME if text.as_bytes().first()? >= &b'5' => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_ends_in_this_century_or_another() {
        for (year, end) in [(2031, 1_927_843_200), (1999, 918_000_000), (2050, 2_527_459_200), (2999, 32_474_995_200)] {
            assert_eq!(expiry(&certificate(year)), Some(end), "{year}");
        }
    }

    #[test]
    fn one_that_is_cut_ends_never() {
        let whole = certificate(2031);
        assert!((0..whole.len()).all(|cut| expiry(&whole[..cut]).is_none()));
    }
}
