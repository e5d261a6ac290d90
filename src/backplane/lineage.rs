//! The epochs of a zone, one after the other, and where each began: what tells whether a server goes on from what a node has applied, or from
//! before it.
//!
//! Each epoch has a name that is given once, so that two servers that went on from the same place, each without the other, are never taken
//! for one. Any text may be read.

/// Epochs that are known of a zone: who is further apart reads it anew. The script keeps as many.
const MOST: usize = 32;

/// The epochs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Lineage(Vec<Began>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Began {
    name: Box<str>,
    /// The number of the last entry before it.
    after: u64,
}

/// How what a server holds goes with what was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fork {
    /// It goes on from there.
    Onward,
    /// Both are the same up to this entry.
    At(u64),
    /// It has less, and nobody has gone on from there yet.
    Unsettled,
    /// They have nothing in common that is known.
    Apart,
}

impl Lineage {
    /// `NAME:AFTER,NAME:AFTER`, the last one last.
    pub(super) fn read(text: &str) -> Self {
        let began = |word: &str| {
            let (name, after) = word.rsplit_once(':')?;
            Some(Began { name: name.into(), after: after.parse().ok()? })
        };
        Self(text.split(',').filter_map(began).collect())
    }

    /// The epoch that goes on.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.last().map(|began| &*began.name)
    }

    /// Another one begins behind an entry.
    pub(super) fn push(&mut self, name: &str, after: u64) {
        self.0.push(Began { name: name.into(), after });
        let over = self.0.len().saturating_sub(MOST);
        self.0.drain(..over);
    }

    /// What it was at an entry.
    pub(super) fn up_to(&self, number: u64) -> Self {
        Self(self.0.iter().filter(|began| began.after < number).cloned().collect())
    }

    /// How the zone of a server, with so many entries, goes with this one and the number of the last entry that was applied.
    pub(super) fn fork(&self, number: u64, server: &Self, entries: u64) -> Fork {
        let common = self.0.iter().enumerate().rev();
        let mut common = common.filter_map(|(at, own)| Some((at, server.0.iter().position(|other| other == own)?)));
        let Some((own, other)) = common.next() else { return Fork::Apart };
        let own_end = self.0.get(own + 1).map(|next| next.after);
        match (own_end, server.0.get(other + 1)) {
            (None, None) if entries >= number => Fork::Onward,
            (_, None) => Fork::Unsettled,
            (own_end, Some(next)) => Fork::At(own_end.unwrap_or(number).min(next.after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fork(own: &str, number: u64, server: &str, entries: u64) -> Fork {
        Lineage::read(own).fork(number, &Lineage::read(server), entries)
    }

    #[test]
    fn a_server_goes_on_from_what_was_applied_or_from_before_it() {
        assert_eq!(fork("a:0", 7, "a:0", 9), Fork::Onward);
        assert_eq!(fork("a:0", 7, "a:0,b:9", 12), Fork::At(7), "nothing is lost");
        assert_eq!(fork("a:0", 7, "a:0,b:5", 12), Fork::At(5));
        assert_eq!(fork("a:0", 7, "a:0", 5), Fork::Unsettled);
        assert_eq!(fork("a:0,b:5", 7, "a:0", 6), Fork::Unsettled);
        assert_eq!(fork("a:0,b:5", 9, "a:0,c:5", 6), Fork::At(5), "two have gone on from the same place");
        assert_eq!(fork("a:0,b:5", 9, "a:0,c:7,d:8", 8), Fork::At(5));
        assert_eq!(fork("a:0,b:5", 9, "a:0,c:3,d:8", 8), Fork::At(3));
        assert_eq!(fork("a:0", 9, "z:0", 3), Fork::Apart);
        assert_eq!(fork("", 0, "z:0", 3), Fork::Apart);
    }

    #[test]
    fn it_holds_the_last_epochs_and_knows_what_it_was() {
        let mut lineage = Lineage::read("a:0,b:5");
        assert_eq!(lineage.name(), Some("b"));
        assert_eq!((lineage.up_to(5), lineage.up_to(6)), (Lineage::read("a:0"), lineage.clone()));
        (0..100).for_each(|number| lineage.push("c", number));
        assert_eq!(lineage.0.len(), MOST);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[a-c0-9:,.]{0,60}", number in any::<u64>(), other in "[a-c0-9:,.]{0,60}") {
            let lineage = Lineage::read(&text);
            let _ = lineage.up_to(number).fork(number, &Lineage::read(&other), number);
        }
    }
}
