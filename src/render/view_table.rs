//! The views of a configuration, each only once: locations with equal templates, framing and padding share their view.
//!
//! It does not know locations, nor who uses a view. Invariant: a view that nobody uses any more, after a reload, is not kept.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::PaddingRule;
use super::view::View;
use super::view_spec::{Framing, Kind, ViewSpec};
use crate::model::Capabilities;

/// A [`ViewSpec`] that owns its bytes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    templates: [Box<[u8]>; 4],
    kind: Kind,
    framing: Framing,
    padding: Option<PaddingRule>,
    capabilities: Capabilities,
}

impl Key {
    fn new(spec: &ViewSpec<'_>) -> Self {
        Self {
            templates: [spec.header.into(), spec.message.into(), spec.footer.into(), spec.ping_text.into()],
            kind: spec.kind,
            framing: spec.framing,
            padding: spec.padding,
            capabilities: *spec.capabilities,
        }
    }
}

/// All views that somebody uses.
#[derive(Debug, Default)]
pub struct ViewTable {
    views: HashMap<Key, Weak<View>>,
}

impl ViewTable {
    /// The view of this specification, made if there is none yet.
    pub fn view(&mut self, spec: &ViewSpec<'_>) -> Arc<View> {
        let key = Key::new(spec);
        if let Some(view) = self.views.get(&key).and_then(Weak::upgrade) {
            return view;
        }
        // A view is made once for a configuration: the time to look who has gone with the one before.
        self.views.retain(|_, view| view.strong_count() > 0);
        let view = Arc::new(View::new(spec));
        self.views.insert(key, Arc::downgrade(&view));
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            capabilities: &Capabilities::default(),
        };
        let first = table.view(&spec);
        assert!(Arc::ptr_eq(&first, &table.view(&spec.clone())));
        let plain = table.view(&ViewSpec { framing: Framing::Plain, ..spec.clone() });
        assert_ne!(first.number(), plain.number());
        // Templates are compared each for itself, not glued together.
        let other = table.view(&ViewSpec { header: b"", message: b"hm", ..spec });
        assert_ne!(first.number(), other.number());
    }

    #[test]
    fn a_view_that_nobody_uses_is_dropped() {
        let mut table = ViewTable::default();
        let spec = ViewSpec {
            header: b"",
            message: b"old",
            footer: b"",
            ping_text: b" ",
            kind: Kind::Text,
            framing: Framing::Plain,
            padding: None,
            capabilities: &Capabilities::default(),
        };
        let old = table.view(&spec);
        let used = table.view(&ViewSpec { message: b"used", ..spec.clone() });
        let number = old.number();
        drop(old);
        table.view(&ViewSpec { message: b"new", ..spec.clone() });
        assert_eq!(table.views.len(), 2);
        assert_ne!(table.view(&spec).number(), number);
        assert_eq!(table.view(&ViewSpec { message: b"used", ..spec }).number(), used.number());
    }
}
