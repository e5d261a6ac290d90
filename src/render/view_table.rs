//! The views of a configuration, each only once: locations with equal templates, framing and padding share their view.
//!
//! Filled while a configuration is compiled and dropped with it. It does not know locations.

use std::collections::HashMap;
use std::sync::Arc;

use super::PaddingRule;
use super::view::{Framing, Kind, View, ViewSpec};

/// A [`ViewSpec`] that owns its bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    templates: [Box<[u8]>; 4],
    kind: Kind,
    framing: Framing,
    padding: Option<PaddingRule>,
    line: u8,
}

impl Key {
    fn new(spec: &ViewSpec<'_>) -> Self {
        Self {
            templates: [spec.header.into(), spec.message.into(), spec.footer.into(), spec.ping_text.into()],
            kind: spec.kind,
            framing: spec.framing,
            padding: spec.padding,
            line: spec.line as u8,
        }
    }
}

/// All views made so far.
#[derive(Debug, Default)]
pub struct ViewTable {
    views: HashMap<Key, Arc<View>>,
}

impl ViewTable {
    /// The view of this specification, made if there is none yet.
    pub fn view(&mut self, spec: &ViewSpec<'_>) -> Arc<View> {
        Arc::clone(self.views.entry(Key::new(spec)).or_insert_with(|| Arc::new(View::new(spec))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::settings::Line;

    #[test]
    fn equal_specifications_share_a_view_and_others_do_not() {
        let mut table = ViewTable::default();
        let spec = ViewSpec {
            header: b"h",
            message: b"m",
            footer: b"",
            ping_text: b" ",
            kind: Kind::Text,
            framing: Framing::Chunked,
            padding: None,
            line: Line::V05,
        };
        let first = table.view(&spec);
        assert!(Arc::ptr_eq(&first, &table.view(&spec.clone())));
        let plain = table.view(&ViewSpec { framing: Framing::Plain, ..spec.clone() });
        assert_ne!(first.number(), plain.number());
        // Templates are compared each for itself, not glued together.
        let other = table.view(&ViewSpec { header: b"", message: b"hm", ..spec });
        assert_ne!(first.number(), other.number());
    }
}
