//! Why a request was refused, in one word: by the rules of the module, or by the site before them.

use crate::model::Refusal;

/// The words, each at the place of its number.
const NAMES: [&str; 26] = [
    "no_channel_id",
    "reserved_id",
    "id_too_large",
    "empty_post",
    "too_many_wildcards",
    "subscribers_limit",
    "not_authorized",
    "too_many_channels",
    "events_channel_read_only",
    "events_channel_forbidden",
    "leaving",
    "memory_full",
    "joining",
    "away",
    "crowded",
    "unanswered",
    "handshake",
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "method",
    "too_large",
    "limited",
    "unavailable",
    "failed",
];

/// A reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused(u8);

impl Refused {
    /// How many there are.
    pub const COUNT: usize = NAMES.len();
    /// A websocket that could not be begun.
    pub const HANDSHAKE: Self = Self(16);

    /// All of them, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len() as u8).map(Self)
    }

    /// That of an answer without a reason of the module; `None` if it refuses nothing.
    pub fn of_status(status: u16) -> Option<Self> {
        if status < 400 {
            return None;
        }
        let number = match status {
            401 => 18,
            403 => 19,
            404 => 20,
            405 => 21,
            413 => 22,
            429 => 23,
            503 => 24,
            500.. => 25,
            _ => 17,
        };
        Some(Self(number))
    }

    /// The word of labels and log lines.
    pub fn name(self) -> &'static str {
        NAMES.get(self.index()).copied().unwrap_or_default()
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(match refusal {
            Refusal::NoChannelId => 0,
            Refusal::ReservedId => 1,
            Refusal::IdTooLarge => 2,
            Refusal::EmptyPost => 3,
            Refusal::TooManyWildcards => 4,
            Refusal::SubscribersLimit => 5,
            Refusal::NotAuthorized => 6,
            Refusal::TooManyChannels => 7,
            Refusal::EventsChannelReadOnly => 8,
            Refusal::EventsChannelForbidden => 9,
            Refusal::Leaving => 10,
            Refusal::MemoryFull => 11,
            Refusal::Joining => 12,
            Refusal::Away => 13,
            Refusal::Crowded => 14,
            Refusal::Unanswered => 15,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        assert_eq!(Refused::from(Refusal::NotAuthorized).name(), "not_authorized");
        assert_eq!(Refused::from(Refusal::MemoryFull).name(), "memory_full");
        assert_eq!(Refused::HANDSHAKE.name(), "handshake");
        let words = [400, 401, 403, 404, 405, 408, 413, 414, 429, 494, 500, 502, 503]
            .map(|status| Refused::of_status(status).map(Refused::name).unwrap());
        let wanted = "bad_request unauthorized forbidden not_found method bad_request too_large bad_request limited \
                      bad_request failed failed unavailable";
        assert_eq!(words.join(" "), wanted);
        assert_eq!(Refused::of_status(304), None);
        let mut all: Vec<_> = Refused::all().map(Refused::name).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Refused::COUNT);
    }
}
