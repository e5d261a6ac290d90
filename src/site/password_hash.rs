//! The hashes `htpasswd` and `openssl passwd` write: bcrypt, apr1 and md5-crypt, sha256- and sha512-crypt, `{SHA}`, `{SSHA}`,
//! `{PLAIN}`. The traditional DES crypt of eight characters is not accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Whether the hash is that of the password, however long it takes.
pub(super) fn verify(hash: &[u8], password: &[u8]) -> bool {
    let Ok(hash) = std::str::from_utf8(hash) else { return false };
    if let Some(plain) = hash.strip_prefix("{PLAIN}") {
        return same(plain.as_bytes(), password);
    }
    if let Some(encoded) = hash.strip_prefix("{SHA}") {
        return STANDARD.decode(encoded).is_ok_and(|sum| same(&sum, &Sha1::digest(password)));
    }
    if let Some(encoded) = hash.strip_prefix("{SSHA}") {
        return verify_salted(encoded, password);
    }
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    for magic in ["$apr1$", "$1$"] {
        if let Some(rest) = hash.strip_prefix(magic) {
            let salt = rest.split('$').next().unwrap_or_default();
            return same(md5_crypt(password, magic, salt).as_bytes(), hash.as_bytes());
        }
    }
    let Ok(password) = std::str::from_utf8(password) else { return false };
    match hash.get(..3) {
        Some("$5$") => sha_crypt::sha256_check(password, hash).is_ok(),
        Some("$6$") => sha_crypt::sha512_check(password, hash).is_ok(),
        _ => false,
    }
}

fn verify_salted(encoded: &str, password: &[u8]) -> bool {
    let Ok(decoded) = STANDARD.decode(encoded) else { return false };
    let Some((sum, salt)) = decoded.split_at_checked(20) else { return false };
    same(sum, &Sha1::new().chain_update(password).chain_update(salt).finalize())
}

/// Compares in a time that tells nothing about where the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// The md5-crypt scheme of FreeBSD (`$1$`) and Apache (`$apr1$`); the whole hash.
fn md5_crypt(password: &[u8], magic: &str, salt: &str) -> String {
    let salt = salt.get(..8).unwrap_or(salt);
    let mut round = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for chunk in password.chunks(16) {
        first.update(round.get(..chunk.len()).unwrap_or_default());
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { password.get(..1).unwrap_or_default() });
        bits >>= 1;
    }
    round = first.finalize();
    for step in 0..1000 {
        let mut sum = Md5::new();
        if step & 1 == 1 {
            sum.update(password);
        } else {
            sum.update(round);
        }
        if step % 3 != 0 {
            sum.update(salt);
        }
        if step % 7 != 0 {
            sum.update(password);
        }
        if step & 1 == 1 {
            sum.update(round);
        } else {
            sum.update(password);
        }
        round = sum.finalize();
    }
    format!("{magic}{salt}${}", encode_md5(&round.into()))
}

/// The digits of md5-crypt: six bits each, least significant first, bytes in the scheme's own order.
fn encode_md5(sum: &[u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] = sum.map(u32::from);
    let groups = [
        (b0 << 16 | b6 << 8 | b12, 4),
        (b1 << 16 | b7 << 8 | b13, 4),
        (b2 << 16 | b8 << 8 | b14, 4),
        (b3 << 16 | b9 << 8 | b15, 4),
        (b4 << 16 | b10 << 8 | b5, 4),
        (b11, 2),
    ];
    let mut out = String::with_capacity(22);
    for (mut bits, digits) in groups {
        for _ in 0..digits {
            out.push(DIGITS.get((bits & 63) as usize).map_or('.', |&digit| char::from(digit)));
            bits >>= 6;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_hash_is_verified() {
        for hash in [
            "{PLAIN}secret",
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
            "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/",
            "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM.",
            "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.",
            "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        ] {
            assert!(verify(hash.as_bytes(), b"secret"), "{hash}");
            assert!(!verify(hash.as_bytes(), b"wrong"), "{hash}");
        }
        let salted = STANDARD.encode([&Sha1::digest(b"secretsalt")[..], b"salt"].concat());
        assert!(verify(format!("{{SSHA}}{salted}").as_bytes(), b"secret"));
    }

    #[test]
    fn nothing_else_is_a_password() {
        for hash in ["", "secret", "rl.3StKT.4T8M", "$9$x", "$2y$bad", "$6$", "{SSHA}AAAA", "{SHA}!"] {
            assert!(!verify(hash.as_bytes(), b"secret"), "{hash}");
        }
    }
}
