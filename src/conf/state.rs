//! The directives of the log: its directory, relative to the prefix, and its sync.

use super::compiler::Compiler;
use super::error::Fault;
use super::objection::invalid_value;
use super::scope::Scope;
use super::settings::{State, durability};
use crate::model::Durability;

/// Compiles the values of `http`.
pub(super) fn compile(http: &Scope<'_, '_>, compiler: &Compiler) -> Result<State, Fault> {
    let dir = http.text("push_stream_state").filter(|dir| *dir != b"off").map(|dir| compiler.in_prefix(dir));
    let sync = match http.entry("push_stream_state_sync") {
        Some(entry) => durability(entry.node.arg(0)).ok_or_else(|| invalid_value(entry.node))?,
        None => Durability::default(),
    };
    Ok(State { dir, sync })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::{LoadOptions, load};

    fn loaded(words: &str, strict: bool) -> Result<State, String> {
        let text = format!("events {{}} http {{ {words} push_stream_shared_memory_size 1m; server {{ listen 1; }} }}");
        let options = LoadOptions { prefix: "/p".into(), text: Some(text), strict, ..LoadOptions::default() };
        load(&options).map(|loaded| loaded.settings.state).map_err(|error| error.notes[0].text.clone())
    }

    #[test]
    fn the_directory_is_below_the_prefix_and_synced_once_a_second() {
        assert_eq!(loaded("", false), Ok(State::default()));
        assert_eq!(loaded("push_stream_state off;", false), Ok(State::default()));
        let below = loaded("push_stream_state state;", false).unwrap();
        assert_eq!((below.dir.as_deref(), below.sync), (Some(Path::new("/p/state")), Durability::Second));
        let other = loaded("push_stream_state /var/lib/push; push_stream_state_sync always;", false).unwrap();
        assert_eq!((other.dir.as_deref(), other.sync), (Some(Path::new("/var/lib/push")), Durability::Always));
    }

    #[test]
    fn a_sync_that_does_not_exist_is_refused_and_the_module_knows_none() {
        let refused = loaded("push_stream_state_sync 2s;", false).unwrap_err();
        assert!(refused.contains("invalid value") && refused.contains("push_stream_state_sync"), "{refused}");
        assert!(loaded("push_stream_state state;", true).unwrap_err().contains("unknown directive"));
    }
}
