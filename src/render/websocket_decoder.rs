//! Frames that come from a websocket client, decoded as their bytes arrive.
//!
//! An idle decoder holds nothing but its settings; while a frame or message is under way memory grows with the bytes that
//! have arrived, never by what a length field announces, and never beyond the bound given. Masked and unmasked frames are
//! both accepted. After a close or a violation everything else is ignored. What is answered is the connection's business.

use super::permessage_deflate::{self, InflateError};
use super::websocket_event::Event;
use super::websocket_frame::Farewell;
use super::websocket_gathering::{Gathered, InvalidText};
use super::websocket_head::{Head, HeadValues, unmask};
use super::websocket_rules::{BINARY, CLOSE, PING, PONG, TEXT, bad_text, is_module_utf8};
use crate::model::FrameRules;

/// Decodes the frames of one connection.
#[derive(Debug)]
pub struct Decoder {
    /// What is under way; `None` between messages.
    partial: Option<Box<Partial>>,
    max_message: u32,
    rules: FrameRules,
    deflate: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Partial {
    /// The head of the next frame, as far as it has arrived.
    head: Head,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// Payload of the control frame being read.
    control: Vec<u8>,
    /// The message whose fragments are being gathered.
    message: Option<Gathered>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    control: Option<u8>,
    mask: [u8; 4],
    /// Payload bytes read and still to come.
    read: usize,
    left: usize,
}

impl Decoder {
    /// A decoder that takes messages of at most `max_message` bytes.
    pub fn new(rules: FrameRules, max_message: usize) -> Self {
        let max_message = u32::try_from(max_message).unwrap_or(u32::MAX);
        Self { partial: None, max_message, rules, deflate: false, ended: false }
    }

    /// Bytes of a message that has not come whole.
    pub fn held(&self) -> usize {
        self.partial.as_ref().and_then(|partial| partial.message.as_ref()).map_or(0, |message| message.bytes.capacity())
    }

    /// The same on a connection that has agreed on permessage-deflate (RFC rules only).
    #[must_use]
    pub fn with_deflate(self) -> Self {
        Self { deflate: self.rules == FrameRules::Rfc, ..self }
    }

    /// Whether nothing is under way: no memory is held.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Takes bytes off the input up to the end of the next event. `None` means that all input is used up.
    pub fn decode(&mut self, input: &mut &[u8]) -> Option<Event> {
        if self.ended || input.is_empty() {
            *input = &[];
            return None;
        }
        let mut partial = self.partial.take().unwrap_or_default();
        let event = self.advance(&mut partial, input).unwrap_or_else(|farewell| Some(Event::Violation(farewell)));
        if matches!(event, Some(Event::Close { .. } | Event::Violation(_))) {
            self.ended = true;
            *input = &[];
        } else if !partial.is_idle() {
            self.partial = Some(partial);
        }
        event
    }

    fn advance(&self, partial: &mut Partial, input: &mut &[u8]) -> Result<Option<Event>, Farewell> {
        loop {
            if partial.frame.is_none() {
                let Some(frame) = self.read_head(partial, input)? else { return Ok(None) };
                partial.frame = Some(frame);
            }
            let Some(frame) = self.read_payload(partial, input)? else { return Ok(None) };
            partial.frame = None;
            if let Some(event) = self.finish(partial, &frame)? {
                return Ok(Some(event));
            }
        }
    }

    /// Reads the head of a frame; what is wrong with its first two bytes is told as soon as they are there.
    fn read_head(&self, partial: &mut Partial, input: &mut &[u8]) -> Result<Option<Frame>, Farewell> {
        while !partial.head.is_complete() {
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            if let Some(start) = partial.head.push(byte) {
                self.rules.check_start(start, partial.message.is_some(), self.deflate)?;
            }
        }
        let head = partial.head.take();
        self.open_frame(partial, &head).map(Some)
    }

    /// Makes room for the payload of a frame whose head is complete.
    fn open_frame(&self, partial: &mut Partial, head: &HeadValues) -> Result<Frame, Farewell> {
        let HeadValues { first, length, mask } = *head;
        let opcode = first & 0x0F;
        // By the module's rules a start frame within a message continues it, whatever its opcode.
        let control = match self.rules {
            FrameRules::OldModule => opcode != TEXT,
            FrameRules::Module => matches!(opcode, CLOSE | PING | PONG) && partial.message.is_none(),
            FrameRules::Rfc => matches!(opcode, CLOSE | PING | PONG),
        };
        let gathered = partial.message.as_ref().filter(|_| !control).map_or(0, |message| message.bytes.len());
        if length >= 1 << 63 && self.rules == FrameRules::Rfc {
            return Err(Farewell::Coded(1002, "the length is not valid"));
        }
        let largest = u64::from(self.max_message).max(if control { 125 } else { 0 });
        if length.saturating_add(gathered as u64) > largest {
            return Err(self.rules.too_large());
        }
        if !control && partial.message.is_none() {
            partial.message = Some(Gathered {
                bytes: Vec::new(),
                checked: 0,
                binary: opcode == BINARY,
                compressed: self.deflate && first & 0x40 != 0,
            });
        }
        Ok(Frame { fin: first & 0x80 != 0, control: control.then_some(opcode), mask, read: 0, left: length as usize })
    }

    /// Reads payload; the frame is returned once it is complete.
    fn read_payload(&self, partial: &mut Partial, input: &mut &[u8]) -> Result<Option<Frame>, Farewell> {
        let Partial { frame: Some(frame), control, message, .. } = partial else { return Ok(None) };
        let (fresh, rest) = input.split_at(frame.left.min(input.len()));
        *input = rest;
        let target = match (frame.control, message.as_mut()) {
            (None, Some(message)) => &mut message.bytes,
            _ => control,
        };
        let start = target.len();
        target.extend_from_slice(fresh);
        unmask(target.get_mut(start..).unwrap_or_default(), frame.mask, frame.read);
        frame.read += fresh.len();
        frame.left -= fresh.len();
        let frame = *frame;
        if let Some(message) = message.as_mut().filter(|_| frame.control.is_none() && self.rules == FrameRules::Rfc) {
            message.check_text(false).map_err(|InvalidText| bad_text())?;
        }
        Ok((frame.left == 0).then_some(frame))
    }

    /// What a complete frame means.
    fn finish(&self, partial: &mut Partial, frame: &Frame) -> Result<Option<Event>, Farewell> {
        if let Some(opcode) = frame.control {
            return self.rules.control_event(opcode, std::mem::take(&mut partial.control)).map(Some);
        }
        match partial.message.take() {
            Some(message) if self.rules == FrameRules::OldModule => Ok(Some(Event::Text(message.bytes))),
            Some(message) if self.rules == FrameRules::Module && !is_module_utf8(message.unchecked()) => {
                Err(Farewell::Silent)
            }
            Some(message) if self.rules == FrameRules::Module && frame.fin => Ok(Some(Event::Text(message.bytes))),
            Some(message) if self.rules == FrameRules::Module => {
                partial.message = Some(Gathered { checked: message.bytes.len(), ..message });
                Ok(None)
            }
            Some(message) if frame.fin => self.message_event(message).map(Some),
            message => {
                partial.message = message;
                Ok(None)
            }
        }
    }

    fn message_event(&self, mut message: Gathered) -> Result<Event, Farewell> {
        if message.compressed {
            message.bytes = permessage_deflate::inflate(&message.bytes, self.max_message as usize).map_err(
                |error| match error {
                    InflateError::TooLarge(_) => self.rules.too_large(),
                    InflateError::Broken => Farewell::Coded(1007, "compressed data is broken"),
                    InflateError::Incomplete => Farewell::Coded(1007, "compressed data ends too early"),
                },
            )?;
            message.compressed = false;
        }
        message.check_text(true).map_err(|InvalidText| bad_text())?;
        Ok(if message.binary { Event::Binary(message.bytes) } else { Event::Text(message.bytes) })
    }
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::render::websocket_frame;

    fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut out = Vec::new();
        websocket_frame::write_text(payload, &mut out);
        out[0] = first;
        if let Some(mask) = mask {
            out[1] |= 0x80;
            let at = out.len() - payload.len();
            out.splice(at.., mask.into_iter().chain(payload.iter().zip(mask.iter().cycle()).map(|(b, k)| b ^ k)));
        }
        out
    }

    #[test]
    fn before_0_5_every_text_frame_is_a_message_and_only_a_close_counts_beside_it() {
        let frames = [
            masked(0x81, b"\xc3\x28"),
            masked(0x01, b"Hel"),
            masked(0x80, b"lo"),
            masked(0x82, b"binary"),
            masked(0x89, b"ping"),
            masked(0x8A, b""),
            masked(0x88, b"\x03\xe8"),
        ];
        let (text, ignored) = (|text: &[u8]| Event::Text(text.to_vec()), || Event::Pong);
        let close = Event::Close { code: None, reason: Vec::new() };
        assert_eq!(
            events(FrameRules::OldModule, &frames),
            [text(b"\xc3\x28"), text(b"Hel"), ignored(), ignored(), ignored(), ignored(), close]
        );
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        frame(first, payload, Some([0x12, 0x34, 0x56, 0x78]))
    }

    fn events_in_pieces(mut decoder: Decoder, wire: &[u8], size: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for piece in wire.chunks(size.max(1)) {
            let mut rest = piece;
            while let Some(event) = decoder.decode(&mut rest) {
                events.push(event);
            }
            assert!(rest.is_empty());
        }
        events
    }

    fn events(rules: FrameRules, frames: &[Vec<u8>]) -> Vec<Event> {
        let wire = frames.concat();
        let whole = events_in_pieces(Decoder::new(rules, 1 << 20), &wire, usize::MAX);
        assert_eq!(whole, events_in_pieces(Decoder::new(rules, 1 << 20), &wire, 1));
        whole
    }

    fn text(text: &str) -> Event {
        Event::Text(text.as_bytes().to_vec())
    }

    fn coded(events: &[Event]) -> Option<u16> {
        match events.last() {
            Some(Event::Violation(Farewell::Coded(code, _))) => Some(*code),
            _ => None,
        }
    }

    #[test]
    fn an_idle_decoder_takes_sixteen_bytes() {
        assert!(size_of::<Decoder>() <= 16);
        let mut decoder = Decoder::new(FrameRules::Rfc, 100);
        assert_eq!(decoder.decode(&mut &masked(0x81, b"hi")[..]), Some(text("hi")));
        assert!(decoder.is_idle());
        assert_eq!(decoder.decode(&mut &b"\x81"[..]), None);
        assert!(!decoder.is_idle());
    }

    #[test]
    fn masked_and_unmasked_texts_of_every_length_arrive_whole() {
        for rules in [FrameRules::Module, FrameRules::Rfc] {
            for length in [0, 1, 125, 126, 65535, 65536, 200_000] {
                let payload = vec![b'n'; length];
                for mask in [None, Some([1, 2, 3, 4])] {
                    let wire = frame(0x81, &payload, mask);
                    let found = events_in_pieces(Decoder::new(rules, 200_000), &wire, 4096);
                    assert_eq!(found, [Event::Text(payload.clone())], "{length}");
                }
            }
        }
    }

    #[test]
    fn several_frames_in_one_read_are_all_seen() {
        let frames = [masked(0x81, b"1"), masked(0x8A, b"x"), masked(0x81, b"2"), masked(0x89, b"p")];
        let expected = |ping: &[u8]| vec![text("1"), Event::Pong, text("2"), Event::Ping(ping.to_vec())];
        assert_eq!(events(FrameRules::Rfc, &frames), expected(b"p"));
        assert_eq!(events(FrameRules::Module, &frames), expected(b""));
    }

    #[test]
    fn fragments_are_joined() {
        for rules in [FrameRules::Module, FrameRules::Rfc] {
            let frames = [masked(0x01, b"Hel"), masked(0x00, b""), masked(0x80, b"lo"), masked(0x81, b"!")];
            assert_eq!(events(rules, &frames), [text("Hello"), text("!")]);
        }
    }

    #[test]
    fn the_rfc_allows_control_frames_and_cut_characters_within_fragments() {
        let frames = [masked(0x01, b"\xC3"), masked(0x89, b"p"), masked(0x80, b"\xA9")];
        assert_eq!(events(FrameRules::Rfc, &frames), [Event::Ping(b"p".to_vec()), text("\u{e9}")]);
        assert_eq!(events(FrameRules::Module, &frames), [Event::Violation(Farewell::Silent)]);
        let frames = [masked(0x01, b"a"), masked(0x89, b"p")];
        assert_eq!(events(FrameRules::Module, &frames), [Event::Violation(Farewell::Empty)]);
    }

    #[test]
    fn the_modules_rules_close_as_the_module_does() {
        let empty = Event::Violation(Farewell::Empty);
        for (frames, expected) in [
            (vec![masked(0x82, b"\x01\x02")], empty.clone()),
            (vec![masked(0x83, b"x")], empty.clone()),
            (vec![masked(0x80, b"x")], empty.clone()),
            (vec![masked(0x01, b"a"), masked(0x81, b"b")], empty),
            (vec![masked(0x81, b"\xC3\x28")], Event::Violation(Farewell::Silent)),
            (vec![masked(0x88, &[0x03, 0xE8])], Event::Violation(Farewell::Silent)),
            (vec![masked(0x88, b"")], Event::Close { code: None, reason: Vec::new() }),
            (vec![masked(0xF1, b"rsv")], text("rsv")),
            (vec![masked(0x01, b"a"), masked(0x01, b"b"), masked(0x80, b"c")], text("abc")),
        ] {
            assert_eq!(events(FrameRules::Module, &frames), [expected], "{frames:x?}");
        }
    }

    #[test]
    fn the_rfcs_violations_have_their_codes() {
        for (frames, code) in [
            (vec![masked(0xC1, b"rsv1")], 1002),
            (vec![masked(0x91, b"rsv3")], 1002),
            (vec![masked(0x83, b"")], 1002),
            (vec![masked(0x8B, b"")], 1002),
            (vec![masked(0x80, b"x")], 1002),
            (vec![masked(0x01, b"a"), masked(0x81, b"b")], 1002),
            (vec![masked(0x09, b"")], 1002),
            (vec![masked(0x89, &[b'x'; 126])], 1002),
            (vec![masked(0x81, b"\xCE\xBA\xED\xA0\x80")], 1007),
            (vec![masked(0x01, b"\xCE"), masked(0x80, b"")], 1007),
            (vec![masked(0x88, b"\x03")], 1002),
            (vec![masked(0x88, b"\x03\xE8\xFF")], 1007),
            (vec![vec![0x81, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]], 1009),
            (vec![vec![0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], 1002),
        ] {
            assert_eq!(coded(&events(FrameRules::Rfc, &frames)), Some(code), "{frames:x?}");
        }
    }

    #[test]
    fn invalid_text_is_told_before_its_frame_ends() {
        let wire = masked(0x81, b"\xF4\x90 and more");
        let mut decoder = Decoder::new(FrameRules::Rfc, 100);
        assert_eq!(coded(&[decoder.decode(&mut &wire[..8]).unwrap()]), Some(1007));
        assert_eq!(decoder.decode(&mut &wire[8..]), None);
    }

    #[test]
    fn close_codes_are_judged() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            let payload = [&u16::to_be_bytes(code)[..], b"bye"].concat();
            let expected = Event::Close { code: Some(code), reason: b"bye".to_vec() };
            assert_eq!(events(FrameRules::Rfc, &[masked(0x88, &payload), masked(0x81, b"late")]), [expected]);
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(coded(&events(FrameRules::Rfc, &[masked(0x88, &u16::to_be_bytes(code))])), Some(1002), "{code}");
        }
    }

    #[test]
    fn a_message_may_not_outgrow_its_bound_by_fragments_either() {
        let wire = [masked(0x01, b"12345"), masked(0x80, b"678")].concat();
        let found = |rules| events_in_pieces(Decoder::new(rules, 7), &wire, 3);
        assert_eq!(coded(&found(FrameRules::Rfc)), Some(1009));
        assert_eq!(found(FrameRules::Module), [Event::Violation(Farewell::Empty)]);
    }

    #[test]
    fn compressed_messages_are_inflated_where_agreed() {
        let hello = masked(0xC1, &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]);
        let wire = [hello, masked(0x41, &[0xF2, 0x48, 0xCD]), masked(0x80, &[0xC9, 0xC9, 0x07, 0x00])].concat();
        for size in [1, 1000] {
            let decoder = Decoder::new(FrameRules::Rfc, 7).with_deflate();
            assert_eq!(events_in_pieces(decoder, &wire, size), [text("Hello"), text("Hello")]);
        }
        let broken = masked(0xC1, &[0xFF, 0xFF]);
        assert_eq!(coded(&events_in_pieces(Decoder::new(FrameRules::Rfc, 9).with_deflate(), &broken, 9)), Some(1007));
        let cut = masked(0xC1, &[0xF2, 0x48, 0xCD]);
        assert_eq!(coded(&events_in_pieces(Decoder::new(FrameRules::Rfc, 9).with_deflate(), &cut, 9)), Some(1007));
        let continued = [masked(0x01, b"a"), masked(0xC0, b"b")].concat();
        assert_eq!(
            coded(&events_in_pieces(Decoder::new(FrameRules::Rfc, 9).with_deflate(), &continued, 9)),
            Some(1002)
        );
    }

    fn some_frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![4 => Just(0x81u8), 2 => Just(0x01), 2 => Just(0x80), 2 => Just(0x00), 2 => any::<u8>(),
            1 => Just(0x89), 1 => Just(0x8A), 1 => Just(0x88), 1 => Just(0xC1)];
        let payload =
            prop_oneof!["\\PC{0,80}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..200)];
        (first, payload, any::<Option<[u8; 4]>>()).prop_map(|(first, payload, mask)| frame(first, &payload, mask))
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_split_does_not_matter(
            frames in prop::collection::vec(some_frame(), 0..8), size in 1usize..40, module: bool, deflate: bool,
        ) {
            let wire = frames.concat();
            let decoder = || {
                let decoder = Decoder::new(if module { FrameRules::Module } else { FrameRules::Rfc }, 300);
                if deflate { decoder.with_deflate() } else { decoder }
            };
            prop_assert_eq!(events_in_pieces(decoder(), &wire, usize::MAX), events_in_pieces(decoder(), &wire, size));
        }

        #[test]
        fn any_bytes_mean_the_same_in_any_pieces(wire in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..20, module: bool) {
            let decoder = || Decoder::new(if module { FrameRules::Module } else { FrameRules::Rfc }, 64).with_deflate();
            prop_assert_eq!(events_in_pieces(decoder(), &wire, usize::MAX), events_in_pieces(decoder(), &wire, size));
        }
    }
}
