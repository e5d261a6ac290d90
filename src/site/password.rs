//! Password files of `auth_basic_user_file`: one `user:hash[:comment]` a line.
//!
//! Does not know the hashes, only which of them no worker may wait for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::exchange::Exchange;
use super::log_context;
use super::password_hash::verify;
use super::slow_password::{SlowPassword, is_slow};

/// What the file says of a user and a password.
pub(crate) enum Checked {
    /// They belong together.
    Right,
    /// Computing it takes too long for a worker.
    Slow(SlowPassword),
    /// The status: 401, or 403 and 500 where the file cannot be read. The error log has been told.
    Wrong(u16),
}

/// Whether the file knows the user with this password.
pub(crate) fn check(exchange: &Exchange<'_>, file: &[u8], user: &[u8], password: &[u8]) -> Checked {
    let path = OsStr::from_bytes(file);
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => {
            let (shown, why) = (path.display(), log_context::system_error(&error));
            log_context::error(exchange, format_args!("open() \"{shown}\" failed ({why})"));
            return Checked::Wrong(if error.kind() == std::io::ErrorKind::NotFound { 403 } else { 500 });
        }
    };
    let hash = text.split(|&byte| byte == b'\n').find_map(|line| entry(line, user));
    match hash {
        Some(hash) if is_slow(hash) => {
            let slow = SlowPassword::new(hash, password);
            if slow.is_remembered() { Checked::Right } else { Checked::Slow(slow) }
        }
        Some(hash) if verify(hash, password) => Checked::Right,
        Some(_) => {
            tell_mismatch(exchange, user);
            Checked::Wrong(401)
        }
        None => {
            let (user, path) = (String::from_utf8_lossy(user), path.display());
            log_context::error(exchange, format_args!("user \"{user}\" was not found in \"{path}\""));
            Checked::Wrong(401)
        }
    }
}

/// In nginx's words, which programs that ban clients look for.
pub(crate) fn tell_mismatch(exchange: &Exchange<'_>, user: &[u8]) {
    let user = String::from_utf8_lossy(user);
    log_context::error(exchange, format_args!("user \"{user}\": password mismatch"));
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
    }
}
