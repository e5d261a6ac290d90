//! Password files of `auth_basic_user_file`: one `user:hash[:comment]` a line.
//!
//! Does not know the hashes, only which of them no worker may wait for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::password_hash::verify;
use super::slow_password::{SlowPassword, is_slow};

/// What the file says of a user and a password.
pub(crate) enum Checked {
    /// They belong together.
    Right,
    /// Computing it takes too long for a worker.
    Slow(SlowPassword),
}

/// Whether the file knows the user with this password. `Err`: a status, 401, or 403 and 500 where the file cannot be read.
pub(crate) fn check(file: &[u8], user: &[u8], password: &[u8]) -> Result<Checked, u16> {
    let path = OsStr::from_bytes(file);
    let text = std::fs::read(path).map_err(|error| {
        tracing::error!("open() {path:?} failed ({error})");
        if error.kind() == std::io::ErrorKind::NotFound { 403_u16 } else { 500 }
    })?;
    let hash = text.split(|&byte| byte == b'\n').find_map(|line| entry(line, user));
    match hash {
        Some(hash) if is_slow(hash) => {
            let slow = SlowPassword::new(hash, password);
            Ok(if slow.is_remembered() { Checked::Right } else { Checked::Slow(slow) })
        }
        Some(hash) if verify(hash, password) => Ok(Checked::Right),
        _ => Err(401),
    }
}

/// The hash of a line that is about this user.
fn entry<'t>(line: &'t [u8], user: &[u8]) -> Option<&'t [u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let rest = line.strip_prefix(user)?.strip_prefix(b":")?;
    rest.split(|&byte| byte == b':').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_belong_to_whole_user_names() {
        assert_eq!(entry(b"bob:hash:comment\r", b"bob"), Some(&b"hash"[..]));
        assert_eq!(entry(b"bobby:hash", b"bob"), None);
        assert_eq!(entry(b"#bob:hash", b"#bob"), None);
        assert!(matches!(check(b"/does/not/exist", b"a", b"b"), Err(403)));
    }
}
