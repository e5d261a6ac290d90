//! `secure_link` + `secure_link_md5`: whether a link carries the hash it should, and is not too old.
//!
//! Read through `$secure_link` (`1` good, `0` expired, empty wrong) and `$secure_link_expires`. With `secure_link_secret`
//! `$secure_link` is what the link protects.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::exchange::Exchange;
use crate::conf::settings::SecureLink;

/// The URL alphabet; padding may be left out.
const HASHES: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `$secure_link`
pub(crate) fn verdict<'a>(exchange: &'a Exchange<'_>) -> &'a [u8] {
    let Some(link) = &exchange.location.core.secure_link else { return b"" };
    let (value, hashed) = match &**link {
        SecureLink::Hashed { value, hashed } => (exchange.value(value), hashed),
        SecureLink::Secret(word) => return protected(&exchange.uri, word).unwrap_or_default(),
    };
    let (hash, expires) = split(&value);
    let expires = match expires.map(seconds) {
        None => None,
        Some(Some(expires)) => Some(expires),
        Some(None) => return b"",
    };
    let right = Md5::digest(exchange.value(hashed));
    if !HASHES.decode(hash).is_ok_and(|hash| hash.ct_eq(&right).into()) {
        return b"";
    }
    if expires.is_some_and(|expires| expires < u64::from(exchange.now.secs())) { b"0" } else { b"1" }
}

/// `$secure_link_expires`
pub(crate) fn expires(exchange: &Exchange<'_>) -> Vec<u8> {
    let Some(link) = &exchange.location.core.secure_link else { return Vec::new() };
    let SecureLink::Hashed { value, .. } = &**link else { return Vec::new() };
    let value = exchange.value(value);
    split(&value).1.filter(|text| seconds(text).is_some()).unwrap_or_default().to_vec()
}

/// The link of `/PREFIX/HASH/LINK` if its hash is right.
fn protected<'u>(uri: &'u [u8], word: &[u8]) -> Option<&'u [u8]> {
    let mut parts = uri.strip_prefix(b"/")?.splitn(3, |byte| *byte == b'/').skip(1);
    let (hash, link) = (parts.next()?, parts.next()?);
    let digest = Md5::new().chain_update(link).chain_update(word).finalize();
    bool::from(format!("{digest:x}").as_bytes().ct_eq(&hash.to_ascii_lowercase())).then_some(link)
}

/// `hash[,expires]`
fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b',', value) {
        Some(comma) => (value.get(..comma).unwrap_or_default(), value.get(comma + 1..)),
        None => (value, None),
    }
}

/// A moment in seconds since the epoch; zero is none.
fn seconds(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&seconds| seconds > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::conf::settings::{Location, SecureLink};
    use crate::conf::variable::{Builtin, Variable};
    use crate::site::fixture::{complex, location, server, settings, with_exchange};
    use crate::site::phases::route;

    /// MD5 of `1795373032/a secret`, and of the same with a moment that is over; with and without padding.
    const GOOD: &str = "zh6v2yHCL36WnLIsNlrIAw";
    const LATE: &str = "eYf-3AaOiYWhVvYKprVeeQ==";

    #[test]
    fn links_are_good_expired_or_wrong() {
        let mut made: Location = location(1, "/");
        made.core.secure_link = Some(Arc::new(SecureLink::Hashed {
            value: complex("$arg_md5,$arg_expires"),
            hashed: complex("$arg_expires$uri secret"),
        }));
        let settings = settings(server(location(0, "root"), vec![made], vec![]));
        for (args, good, expires) in [
            ("md5=GOOD&expires=1795373032", "1", "1795373032"),
            ("md5=LATE&expires=1795373030", "0", "1795373030"),
            ("md5=GOOD&expires=1795373033", "", "1795373033"),
            ("md5=GOOD&expires=x", "", ""),
            ("md5=!&expires=1795373032", "", "1795373032"),
        ] {
            let args = args.replace("GOOD", GOOD).replace("LATE", LATE);
            with_exchange(&settings, &format!("GET /a?{args}"), &[], |exchange| {
                route(exchange);
                let told = |builtin| exchange.variable(&Variable::Builtin(builtin)).into_owned();
                assert_eq!(told(Builtin::SecureLink), good.as_bytes(), "{args}");
                assert_eq!(told(Builtin::SecureLinkExpires), expires.as_bytes(), "{args}");
            });
        }
    }
}
