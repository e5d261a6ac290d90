//! The path of a request target, decoded and made canonical as nginx does: `%XX`, repeated slashes, `.` and `..`.
//!
//! Pure functions over bytes. Invariant: a canonical path begins with `/` and holds no NUL and no `.` or `..` segment, so
//! that it can be joined to a directory without leaving it.

use std::borrow::Cow;

use super::head::BadHead;

/// The canonical path and the arguments of a target as sent. A fragment is dropped.
pub(crate) fn canonical(target: &[u8], merge_slashes: bool) -> Result<(Cow<'_, [u8]>, &[u8]), BadHead> {
    let (path, args) = split_target(target);
    if path.is_empty() {
        return Ok((Cow::Borrowed(b"/"), args));
    }
    if is_canonical(path) {
        return Ok((Cow::Borrowed(path), args));
    }
    Ok((Cow::Owned(decode(path, merge_slashes)?), args))
}

/// Splits a target (or a rewritten URI) at the first `?`, dropping what follows a `#`.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'#', target).unwrap_or(target.len());
    let target = target.get(..end).unwrap_or_default();
    split_args(target)
}

/// Splits at the first `?`.
pub(crate) fn split_args(uri: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'?', uri) {
        Some(mark) => (uri.get(..mark).unwrap_or_default(), uri.get(mark + 1..).unwrap_or_default()),
        None => (uri, b""),
    }
}

/// Whether nothing has to be done, the case of nearly all requests.
fn is_canonical(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        match byte {
            b'%' => return false,
            b'/' | b'.' if after_slash => return false,
            _ => after_slash = byte == b'/',
        }
    }
    true
}

fn decode(path: &[u8], merge_slashes: bool) -> Result<Vec<u8>, BadHead> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        let byte = match byte {
            b'%' => match decode_escape(&mut rest)? {
                // An escaped `#`, `?` or `%` is an ordinary byte, and so is an escaped dot or slash a dot or slash.
                0 => return Err(BadHead::BadRequest),
                decoded => decoded,
            },
            byte => byte,
        };
        if byte == b'/' {
            close_segment(&mut out, merge_slashes)?;
        } else {
            out.push(byte);
        }
    }
    close_dots(&mut out)?;
    Ok(out)
}

fn decode_escape(rest: &mut std::slice::Iter<'_, u8>) -> Result<u8, BadHead> {
    let mut digit = || {
        let byte = *rest.next().ok_or(BadHead::BadRequest)?;
        (byte as char).to_digit(16).map(|digit| digit as u8).ok_or(BadHead::BadRequest)
    };
    Ok(digit()? << 4 | digit()?)
}

/// A slash has come: resolves the segment before it and begins the next.
fn close_segment(out: &mut Vec<u8>, merge_slashes: bool) -> Result<(), BadHead> {
    // A resolved dot segment has left the slash before it, which serves for this one, too.
    let resolved = close_dots(out)?;
    let merged = merge_slashes && out.last() == Some(&b'/');
    if !resolved && !merged {
        out.push(b'/');
    }
    Ok(())
}

/// Resolves a last segment of `.` or `..`, leaving the slash before it. Whether there was one.
fn close_dots(out: &mut Vec<u8>) -> Result<bool, BadHead> {
    if out.ends_with(b"/.") {
        out.pop();
        return Ok(true);
    }
    if out.ends_with(b"/..") {
        out.truncate(out.len() - 3);
        let parent = memchr::memrchr(b'/', out).ok_or(BadHead::BadRequest)?;
        out.truncate(parent + 1);
        return Ok(true);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(target: &str) -> Option<String> {
        canonical(target.as_bytes(), true).ok().map(|(path, _)| String::from_utf8_lossy(&path).into_owned())
    }

    #[test]
    fn paths_are_decoded_and_resolved() {
        for (target, expected) in [
            ("/a/b", "/a/b"),
            ("", "/"),
            ("?x", "/"),
            ("//a///b/", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/..b", "/a/..b"),
            ("/.a/...", "/.a/..."),
            ("/a%2fb%2F%2e%2e/c", "/a/c"),
            ("/a%20b%2520", "/a b%20"),
            ("/a%3Fb%23c", "/a?b#c"),
            ("/a+b", "/a+b"),
            ("/a#b?c", "/a"),
        ] {
            assert_eq!(path(target).as_deref(), Some(expected), "{target}");
        }
        for target in ["/..", "/a/../..", "/%zz", "/%4", "/%", "/a%00", "/%2e%2e/"] {
            assert_eq!(path(target), None, "{target}");
        }
    }

    #[test]
    fn slashes_stay_where_merging_is_off() {
        assert_eq!(&*canonical(b"//a//./b", false).unwrap().0, b"//a//b");
        assert_eq!(&*canonical(b"/a//../b", false).unwrap().0, b"/a/b");
    }

    #[test]
    fn arguments_end_at_a_fragment_and_are_not_decoded() {
        assert_eq!(canonical(b"/poll?id=a%20?b#frag", true).unwrap().1, b"id=a%20?b");
    }

    proptest! {
        #[test]
        fn a_path_never_leaves_its_root(
            target in prop_oneof![
                "[/.a%2eEfF5?#-]{0,24}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..64),
            ],
            merge: bool,
        ) {
            let target = [b"/", &target[..]].concat();
            if let Ok((path, _)) = canonical(&target, merge) {
                prop_assert!(path.starts_with(b"/"));
                prop_assert!(!path.split(|&b| b == b'/').any(|segment| segment == b".." || segment == b"."));
                prop_assert!(target.contains(&0) || !path.contains(&0), "no escape makes a NUL");
            }
        }
    }
}
