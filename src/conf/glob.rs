//! File name patterns of `include`: `*`, `?` and `[...]`, component by component, sorted.
//!
//! Knows only names: what the files hold is not its business. A name that begins with a dot is matched only by a dot. Ours and not
//! the crate `glob`, because nginx asks glob(3): there `\` takes the next byte as it is, `[^a]` is `[!a]`, `**` is `*`, an unclosed
//! `[` is itself, and names that are no UTF-8 match; the crate has all five otherwise.

use std::path::{Path, PathBuf};

/// Whether `name` is a pattern at all.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The existing paths that match, in order.
pub(super) fn matches(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Some(name) = component.as_os_str().to_str() else { return Vec::new() };
        if !is_pattern(name) || matches!(component, std::path::Component::RootDir) {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        found = found.iter().flat_map(|directory| entries(directory, name)).collect();
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    found
}

/// Entries of a directory that match one component.
fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            (name.first() != Some(&b'.') || pattern.starts_with('.')) && fits(pattern.as_bytes(), name)
        })
        .map(|entry| directory.join(entry.file_name()))
        .collect()
}

/// Whether the whole name fits the pattern. Linear but for the last `*`, which alone is gone back to.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(n) {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], byte),
            Some(b'\\') if pattern.get(p + 1) == Some(&byte) => Some(2),
            Some(same) if *same == byte => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(step), _) => {
                p += step;
                n += 1;
            }
            (None, Some((after, at))) => {
                p = after;
                n = at + 1;
                star = Some((after, at + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

/// `[abc]`, `[a-z]`, `[!x]`: its length in the pattern if `byte` is in it. An unclosed one is an ordinary `[`.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let Some(close) = pattern.iter().skip(first + 1).position(|byte| *byte == b']') else {
        return (byte == b'[').then_some(1);
    };
    let close = first + 1 + close;
    let members = &pattern[first..close];
    let mut inside = false;
    let mut at = 0;
    while let Some(&low) = members.get(at) {
        if let (Some(b'-'), Some(&high)) = (members.get(at + 1), members.get(at + 2)) {
            inside |= (low..=high).contains(&byte);
            at += 3;
        } else {
            inside |= low == byte;
            at += 1;
        }
    }
    (inside != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_fit_names_as_the_shell_has_it() {
        for (pattern, name) in
            [("*.conf", "a.conf"), ("s?te[0-9].conf", "site7.conf"), ("a*b*c", "aXbYbc"), ("[!x]", "y"), ("*", "")]
        {
            assert!(fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [("*.conf", "a.conf~"), ("?", ""), ("[a-c]", "d"), ("[!x]", "x"), ("a*b", "aXc")] {
            assert!(!fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn matches_are_sorted_and_hidden_files_left_out() {
        let directory = std::env::temp_dir().join(format!("pushstreamd-glob-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("d")).unwrap();
        for name in ["d/b.conf", "d/a.conf", "d/.c.conf", "d/e.txt"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let found = matches(&directory.join("?/*.conf"));
        assert_eq!(found, [directory.join("d/a.conf"), directory.join("d/b.conf")]);
        assert_eq!(matches(&directory.join("none/*.conf")), Vec::<PathBuf>::new());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    /// A piece of a pattern and something it stands for.
    fn piece() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        prop_oneof![
            "[a-z.]{1,3}".prop_map(|text| (text.clone().into_bytes(), text.into_bytes())),
            any::<u8>().prop_map(|byte| (b"?".to_vec(), vec![byte])),
            prop::collection::vec(any::<u8>(), 0..5).prop_map(|some| (b"*".to_vec(), some)),
            (b'b'..=b'y').prop_map(|byte| (vec![b'[', byte - 1, b'-', byte + 1, b']'], vec![byte])),
            (b'A'..=b'Z').prop_map(|byte| (b"[!a-z]".to_vec(), vec![byte])),
            prop::sample::select(&b"*?[\\"[..]).prop_map(|byte| (vec![b'\\', byte], vec![byte])),
        ]
    }

    proptest! {
        #[test]
        fn a_name_made_by_a_pattern_fits_it(pieces in prop::collection::vec(piece(), 0..6)) {
            let (pattern, name): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
            prop_assert!(fits(&pattern.concat(), &name.concat()));
        }

        #[test]
        fn a_pattern_without_signs_fits_itself_alone(mut pattern: Vec<u8>, name: Vec<u8>) {
            pattern.retain(|byte| !b"*?[\\".contains(byte));
            prop_assert!(fits(&pattern, &pattern));
            prop_assert_eq!(fits(&pattern, &name), pattern == name);
        }
    }
}
