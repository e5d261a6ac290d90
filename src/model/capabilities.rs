//! What the spoken wire does that another does not: the one place where versions of the module, and following it to the letter
//! or doing better, are told apart.
//!
//! Computed once for a configuration. Everybody else reads a name and never asks for a version. What differs in the
//! configuration alone (names, defaults, checks) stands in `conf`.

use super::version::{Compat, Line};

/// The differences between wires, each with the rule it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities {
    // Every answer.
    /// Answers of the module, handshakes included, forbid caches to keep them (`Expires`, `Cache-Control`); since 0.3.5.
    pub forbids_caching: bool,
    /// Other origins are allowed (`*`) where no origin is configured; 0.3.4 only.
    pub any_origin_by_default: bool,
    /// Publishers tell other origins methods and headers too, not the allowed origin alone; since 0.4.0.
    pub cors_for_publishers: bool,
    /// `Access-Control-Allow-Headers`; those of events came with 0.4.0.
    pub cors_headers: &'static str,
    /// `X-Nginx-PushStream-Tag`; the number that a release carries can lag behind the release.
    pub module_tag: &'static str,
    /// `X-Nginx-PushStream-Commit`
    pub module_commit: &'static str,
    /// Wildcard channels are called broadcast channels in statistics and refusals; 0.3.x.
    pub says_broadcast: bool,
    /// Raw spaces within the target of a request are part of it; an error to the letter of the reference.
    pub spaces_in_target: bool,

    // Channels and their messages.
    /// Tag of the first message in a second: 1, or 0 as in 0.3.x, where answers without a message always have that tag.
    pub first_tag: u32,
    /// The message of a deletion bears the time of it; 0.3.x.
    pub deletion_has_time: bool,
    /// Full memory refuses messages (the module), or else drops the oldest stored ones.
    pub refuse_when_full: bool,
    /// What was missed on several channels comes in order of publish, or else channel after channel (the module).
    pub merge_replay: bool,
    /// A refused request leaves no channel behind and a repeated id counts against the limit of subscribers (the module:
    /// neither).
    pub exact_admission: bool,
    /// The messages of a deleted channel count as stored until the janitor comes, or else (before 0.5.0) are trash at once.
    pub deleted_stay_stored: bool,
    /// Stamps of a new process may begin in the second the last one ended in (the module), or else begin with the next.
    pub stamps_begin_at_once: bool,
    /// A reload says farewell to subscribers (the module).
    pub reload_says_farewell: bool,

    // Publishers.
    /// `PUT` publishes as `POST` does; since 0.4.0.
    pub put_publishes: bool,
    /// `OPTIONS` of a publisher location is answered; since 0.4.0.
    pub publishers_have_options: bool,
    /// The body of a `DELETE` is the text that subscribers read; since 0.4.0.
    pub deletion_brings_text: bool,
    /// The info of a reserved id is that of an unknown channel (404), or else (since 0.4.0) refused.
    pub reserved_id_is_unknown: bool,
    /// The connection is left open, but unread, after an empty post; 0.3.x to the letter.
    pub empty_post_leaves_open: bool,

    // Statistics.
    /// The summary counts stored messages and the trash; since 0.3.5.
    pub summary_counts_stored: bool,
    /// The summary counts channels that are being deleted; since 0.5.0.
    pub summary_counts_deleted: bool,
    /// Numbers in JSON are strings; up to 0.4.0.
    pub numbers_are_strings: bool,
    /// Channel ids are escaped as their format asks; the module writes their bytes.
    pub ids_are_escaped: bool,
    /// Whoever asks for several channels reads a list, even of one (the module writes that one in the form for one).
    pub several_are_a_list: bool,

    // Where subscribers go on.
    /// Tags in `Etag` are weak, and read with or without their `W/`; since 0.5.0.
    pub weak_etags: bool,
    /// gzip takes away tags that are neither weak nor quoted, as nginx's does; before 0.5.0, to the letter.
    pub gzip_takes_etag: bool,
    /// What a subscriber asks for depends on its mode: polls without a time want everything stored, streams ignore tags, event
    /// ids count alone, websockets know backtracks only; 0.3.x.
    pub replay_by_mode: bool,
    /// The date that Bitrix's older client sends on its first connect asks for new messages only.
    pub bitrix_date_is_now: bool,
    /// The argument `time` counts where the tag comes from an argument and the time from nowhere.
    pub time_argument: bool,

    // Streams and polls.
    /// The module itself cuts streams into chunks, whatever HTTP/1 the client speaks; 0.3.x.
    pub own_chunks: bool,
    /// A proxy is told not to hold streams back (`X-Accel-Buffering`).
    pub unbuffered_by_proxies: bool,
    /// The head of a stream waits for its first bytes where there is neither header template nor history (the module).
    pub head_waits_for_bytes: bool,
    /// Callbacks that are no name are refused.
    pub callbacks_are_checked: bool,
    /// A body in a callback is `application/javascript`; since 0.3.5.
    pub callbacks_are_javascript: bool,
    /// In callbacks each stored message, and that of a deletion, is followed by a comma; up to 0.4.0, to the letter.
    pub callback_trails_comma: bool,
    /// A poll that finds nothing new names a content type; since 0.3.5.
    pub empty_poll_has_type: bool,
    /// Browsers may keep the answer to a preflight (`Access-Control-Max-Age`).
    pub preflights_are_kept: bool,

    // Templates, event streams, padding.
    /// `~size~` is a token of templates; since 0.5.0.
    pub size_token: bool,
    /// Templates are filled in up to the first NUL of a text; 0.3.x to the letter.
    pub texts_end_at_nul: bool,
    /// Every body of an HTTP answer is followed by a line break of its own; 0.3.x.
    pub bodies_end_with_break: bool,
    /// What ends a line of an event stream: a line feed since 0.5.0.
    pub event_line_end: &'static str,
    /// What an event stream begins with where there is no header template.
    pub event_greeting: &'static str,
    /// Templates that bring their own `data: ` or `: ` stay as they are; since 0.4.0.
    pub event_templates_stay: bool,
    /// `\r\n`, `\r` and `\n` all end a line of an event's text, wherever they stand (the module stops at the last line feed before
    /// the first NUL).
    pub all_line_ends_count: bool,
    /// `~tag~` of a ping.
    pub ping_tag: u32,
    /// Padding is made of spaces; 0.3.x.
    pub padding_is_spaces: bool,
    /// Padding counts the bytes around a body too; 0.3.x.
    pub padding_counts_frame: bool,

    // Websockets.
    /// A refusal is an HTTP answer, or else (since 0.4.0) a close frame after the handshake.
    pub refuses_before_handshake: bool,
    /// The connection ends after a handshake that failed; since 0.4.0.
    pub failed_handshake_closes: bool,
    /// By which rules the frames of clients are judged.
    pub frame_rules: FrameRules,
    /// The close frame of a server that leaves says why; the module's is empty.
    pub farewells_have_code: bool,
    /// What becomes of TCP after the close frames.
    pub after_close: AfterClose,
    /// A message of a client goes to all channels of its path, or else (0.3.x) to the first.
    pub websocket_publishes_to_all: bool,
    /// A ping follows each message of a client; 0.3.5 and 0.4.0.
    pub ping_follows_publish: bool,
}

/// Whose reading of the websocket protocol counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameRules {
    /// The module's before 0.5: every text frame is a message, whatever its bytes and its FIN; a close ends the connection;
    /// nothing else is looked at.
    OldModule,
    /// The module's: UTF-8 is checked frame by frame, pings come without their payload, closes without their code.
    Module,
    /// RFC 6455, except that unmasked frames and lengths that are not minimal are accepted.
    Rfc,
}

/// What becomes of TCP after the close frames of a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterClose {
    /// The client closes first (RFC 6455); our side is closed meanwhile.
    HalfClosed,
    /// It stays open until the client closes it, unless the server is leaving; 0.3.x to the letter.
    StaysOpen,
    /// It is closed at once; the module's way since 0.4.0.
    Closed,
}

impl Capabilities {
    /// The table.
    pub fn of(compat: Compat) -> Self {
        let Compat { line, strict } = compat;
        let since = |first: Line| line >= first;
        let old = line < Line::V040;
        let (module_tag, module_commit) = match line {
            Line::V034 => ("0.3.4", "ab5f17888393a57a3191f0f4ea631be717e6a30b"),
            Line::V035 => ("0.3.4", "3a4907ae5aa3ac2222924aa7d30973958657d9c2"),
            Line::V040 => ("0.4.0", "022a5c4188e4b3df03c8c173647d88e81093f136"),
            Line::V05 => ("0.5.4", "3d4cc6dc3ab97ac3516246c680a33cb83dd66ab7"),
        };
        Self {
            forbids_caching: since(Line::V035),
            any_origin_by_default: line == Line::V034,
            cors_for_publishers: since(Line::V040),
            cors_headers: if old {
                "If-Modified-Since,If-None-Match"
            } else {
                "If-Modified-Since,If-None-Match,Etag,Event-Id,Event-Type,Last-Event-Id"
            },
            module_tag,
            module_commit,
            says_broadcast: old,
            spaces_in_target: !strict,

            // A client that goes on from a timeout's tag 0 would miss a message of that second whose tag is 0.
            first_tag: u32::from(!(old && strict)),
            deletion_has_time: old,
            refuse_when_full: strict,
            merge_replay: !strict,
            exact_admission: !strict,
            deleted_stay_stored: since(Line::V05),
            stamps_begin_at_once: strict,
            reload_says_farewell: strict,

            put_publishes: since(Line::V040),
            publishers_have_options: since(Line::V040),
            deletion_brings_text: since(Line::V040),
            reserved_id_is_unknown: old,
            empty_post_leaves_open: old && strict,

            summary_counts_stored: since(Line::V035),
            summary_counts_deleted: since(Line::V05),
            numbers_are_strings: line <= Line::V040,
            ids_are_escaped: !strict,
            several_are_a_list: !strict,

            weak_etags: since(Line::V05),
            gzip_takes_etag: strict && line < Line::V05,
            replay_by_mode: old,
            bitrix_date_is_now: !strict,
            time_argument: !strict,

            own_chunks: old,
            unbuffered_by_proxies: !strict,
            head_waits_for_bytes: strict,
            callbacks_are_checked: !strict,
            callbacks_are_javascript: since(Line::V035),
            callback_trails_comma: strict && line <= Line::V040,
            empty_poll_has_type: since(Line::V035),
            preflights_are_kept: !strict,

            size_token: since(Line::V05),
            texts_end_at_nul: old && strict,
            bodies_end_with_break: old,
            event_line_end: if since(Line::V05) { "\n" } else { "\r\n" },
            event_greeting: match line {
                Line::V034 => ":",
                Line::V035 => "",
                Line::V040 => ": \r\n",
                Line::V05 => ": \n",
            },
            event_templates_stay: since(Line::V040),
            all_line_ends_count: !strict,
            ping_tag: u32::from(old),
            padding_is_spaces: old,
            padding_counts_frame: old,

            refuses_before_handshake: old,
            failed_handshake_closes: since(Line::V040),
            frame_rules: match (strict, line) {
                (false, _) => FrameRules::Rfc,
                (true, Line::V05) => FrameRules::Module,
                (true, _) => FrameRules::OldModule,
            },
            farewells_have_code: !strict,
            after_close: match (strict, old) {
                (false, _) => AfterClose::HalfClosed,
                (true, true) => AfterClose::StaysOpen,
                (true, false) => AfterClose::Closed,
            },
            websocket_publishes_to_all: since(Line::V040),
            ping_follows_publish: matches!(line, Line::V035 | Line::V040),
        }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::of(Compat::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wire_is_one_of_its_own() {
        let wires: Vec<_> = [Line::V034, Line::V035, Line::V040, Line::V05]
            .into_iter()
            .flat_map(|line| [false, true].map(|strict| Capabilities::of(Compat { line, strict })))
            .collect();
        for (place, wire) in wires.iter().enumerate() {
            assert!(!wires[..place].contains(wire), "{wire:?}");
        }
    }
}
