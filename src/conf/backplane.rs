//! The directives of the backplane.

use super::compiler::Compiler;
use super::error::Fault;
use super::objection::invalid_value;
use super::row_default::default_word;
use super::scope::Scope;
use super::settings::Backplane;

/// Compiles the values of `http`.
pub(super) fn compile(http: &Scope<'_, '_>, compiler: &Compiler) -> Result<Backplane, Fault> {
    let mut backplane = Backplane {
        password_file: http.text("push_stream_backplane_password_file").map(|file| compiler.in_prefix(file)),
        ca: http.text("push_stream_backplane_ca").map(|file| compiler.in_prefix(file)),
        local_on_failure: http.flag("push_stream_backplane_local_on_failure"),
        ..Backplane::none()
    };
    if let Some(entry) = http.entry("push_stream_backplane").filter(|entry| entry.node.arg(0) != b"off") {
        let url = String::from_utf8_lossy(entry.node.arg(0));
        let address =
            url.parse().map_err(|why| Fault::emerg(format!("invalid backplane: {why}"), &entry.node.place))?;
        backplane.address = Some(address);
    }
    if let Some(entry) = http.entry("push_stream_backplane_zone") {
        let name = String::from_utf8_lossy(entry.node.arg(0)).into_owned();
        // It stands in the names of keys and in patterns of them.
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if name.is_empty() || !plain {
            return Err(invalid_value(entry.node));
        }
        backplane.zone = name.into();
    }
    Ok(backplane)
}

impl Backplane {
    /// A process that is alone.
    pub(super) fn none() -> Self {
        let zone = default_word("push_stream_backplane_zone").unwrap_or_default();
        let zone = String::from_utf8_lossy(zone).into();
        Self { address: None, password_file: None, ca: None, zone, local_on_failure: false }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::{LoadOptions, load};

    fn loaded(words: &str, strict: bool) -> Result<Backplane, String> {
        let text = format!("events {{}} http {{ {words} push_stream_shared_memory_size 1m; server {{ listen 1; }} }}");
        let options = LoadOptions { prefix: "/p".into(), text: Some(text), strict, ..LoadOptions::default() };
        load(&options).map(|loaded| loaded.settings.backplane).map_err(|error| error.notes[0].text.clone())
    }

    #[test]
    fn a_process_is_alone_unless_a_backplane_is_named() {
        assert_eq!(loaded("", false), Ok(Backplane::none()));
        assert_eq!(loaded("push_stream_backplane off;", false), Ok(Backplane::none()));
        let named = loaded(
            "push_stream_backplane redis://r; push_stream_backplane_password_file secret; push_stream_backplane_zone a.b;
             push_stream_backplane_ca /ca.pem; push_stream_backplane_local_on_failure on;",
            false,
        );
        let named = named.unwrap();
        assert_eq!(named.address.as_ref().map(ToString::to_string).as_deref(), Some("redis://r:6379/0"));
        assert_eq!(named.password_file.as_deref(), Some(Path::new("/p/secret")));
        assert_eq!(named.ca.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!((&*named.zone, named.local_on_failure), ("a.b", true));
    }

    #[test]
    fn what_cannot_be_is_refused_and_the_module_knows_none_of_it() {
        let refused = loaded("push_stream_backplane redis://u:secret@r;", false).unwrap_err();
        assert!(refused.contains("password_file") && !refused.contains("secret"), "{refused}");
        assert!(loaded("push_stream_backplane_zone a*;", false).unwrap_err().contains("invalid value"));
        assert!(loaded("push_stream_backplane redis://r;", true).unwrap_err().contains("unknown directive"));
    }
}
