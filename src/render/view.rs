//! A view: the one way a message looks for all connections that share templates, framing and padding.
//!
//! Made at load time; a message is rendered at most once per view and the bytes are shared by all its subscribers. Nothing
//! is ever framed as a chunk of zero bytes, which would end the response. The view does not know who receives its bytes.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::padding::{self, PaddingRule};
use super::permessage_deflate;
use super::template::{Template, Values};
use super::view_spec::{Framing, Kind, ViewSpec};
use super::{eventsource, websocket_frame};
use crate::model::{Capabilities, Message};

/// A compiled view.
#[derive(Debug)]
pub struct View {
    number: u32,
    kind: Kind,
    framing: Framing,
    capabilities: Capabilities,
    padding: Option<PaddingRule>,
    template: Template,
    header: Bytes,
    footer: Bytes,
    ping: Bytes,
}

impl View {
    /// Compiles a view and frames the bodies that never change.
    pub fn new(spec: &ViewSpec<'_>) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let capabilities = *spec.capabilities;
        let (header, message, footer) = match spec.kind {
            Kind::EventSource => (
                eventsource::header(spec.header, &capabilities),
                eventsource::message_template(spec.message, &capabilities),
                eventsource::footer(spec.footer, &capabilities),
            ),
            Kind::Text | Kind::WebSocket => (spec.header.to_vec(), spec.message.to_vec(), spec.footer.to_vec()),
        };
        let mut view = Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            kind: spec.kind,
            framing: spec.framing,
            capabilities,
            padding: spec.padding.filter(|_| !matches!(spec.framing, Framing::WebSocket | Framing::WebSocketDeflate)),
            template: Template::new(&message, &capabilities),
            header: Bytes::new(),
            footer: Bytes::new(),
            ping: Bytes::new(),
        };
        view.header = view.framed_header(&header);
        view.footer = view.frame(&footer);
        view.ping = view.framed_ping(spec.ping_text);
        view
    }

    /// Unique among the views of the process.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The header, framed, with its padding; empty if nothing is sent.
    pub fn header(&self) -> &Bytes {
        &self.header
    }

    /// The footer, framed; empty if nothing is sent.
    pub fn footer(&self) -> &Bytes {
        &self.footer
    }

    /// What keeps a silent connection alive, framed, with its padding; empty if it renders to nothing.
    pub fn ping(&self) -> &Bytes {
        &self.ping
    }

    /// A message of a channel, framed, with its padding; empty if it renders to nothing.
    pub fn message(&self, channel: &[u8], message: &Message) -> Bytes {
        #[cfg(test)]
        crate::model::provoked::reach("render");
        let values = self.values(channel, message);
        let mut out = Vec::new();
        if self.kind == Kind::EventSource {
            for field in self.event_fields(message).into_iter().flatten() {
                self.write_body(&field, &mut out);
            }
        }
        let mut body = Vec::with_capacity(values.text.len() + 128);
        self.write_data(&values, &mut body);
        let start = out.len();
        self.write_body(&body, &mut out);
        if message.binary && matches!(self.framing, Framing::WebSocket | Framing::WebSocketDeflate) {
            websocket_frame::make_binary(out.get_mut(start..).unwrap_or_default());
        }
        self.write_padding(self.measure(body.len(), out.len() - start), false, &mut out);
        out.into()
    }

    /// A message of a channel without framing and padding.
    pub fn raw(&self, channel: &[u8], message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        if self.kind == Kind::EventSource {
            for field in self.event_fields(message).into_iter().flatten() {
                out.extend_from_slice(&field);
                out.extend_from_slice(self.body_end());
            }
        }
        self.write_data(&self.values(channel, message), &mut out);
        out.extend_from_slice(self.body_end());
        out
    }

    /// What ends the stream of bodies: the last chunk, nothing, or a close frame.
    pub fn end(&self) -> &'static [u8] {
        match self.framing {
            Framing::Chunked => b"0\r\n\r\n",
            Framing::Plain => b"",
            Framing::WebSocket | Framing::WebSocketDeflate => &websocket_frame::CLOSE,
        }
    }

    /// How messages are formatted.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether the view is that of a websocket.
    pub fn is_websocket(&self) -> bool {
        matches!(self.framing, Framing::WebSocket | Framing::WebSocketDeflate)
    }

    /// One body of its own: a chunk, a text frame, or the bytes as they are. What is empty stays empty.
    pub fn frame(&self, body: &[u8]) -> Bytes {
        let mut out = Vec::new();
        if !body.is_empty() {
            self.write_body(body, &mut out);
        }
        out.into()
    }

    /// What the wire has that the view speaks.
    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Appends a body without the line break that may follow most of them.
    pub(super) fn write_bare(&self, body: &[u8], out: &mut Vec<u8>) {
        self.write_framed(body, b"", out);
    }

    /// Appends a body of its own.
    pub(super) fn write_body(&self, body: &[u8], out: &mut Vec<u8>) {
        self.write_framed(body, self.body_end(), out);
    }

    /// The line break that follows a body, where one does.
    fn body_end(&self) -> &'static [u8] {
        match self.framing {
            Framing::Chunked | Framing::Plain if self.capabilities.bodies_end_with_break => b"\r\n",
            _ => b"",
        }
    }

    fn write_framed(&self, body: &[u8], end: &[u8], out: &mut Vec<u8>) {
        let length = body.len() + end.len();
        if length == 0 {
            return;
        }
        out.reserve(length + 20);
        match self.framing {
            Framing::Chunked => {
                write_chunk_size(length, out);
                out.extend_from_slice(body);
                out.extend_from_slice(end);
                out.extend_from_slice(b"\r\n");
            }
            Framing::Plain => {
                out.extend_from_slice(body);
                out.extend_from_slice(end);
            }
            Framing::WebSocket => websocket_frame::write_text(body, out),
            Framing::WebSocketDeflate => permessage_deflate::write_text(body, out),
        }
    }

    fn event_fields(&self, message: &Message) -> [Option<Vec<u8>>; 2] {
        [
            message.event_id().map(|id| eventsource::field(b"id", id, &self.capabilities)),
            message.event_type().map(|kind| eventsource::field(b"event", kind, &self.capabilities)),
        ]
    }

    /// What is rendered.
    fn values<'a>(&self, channel: &'a [u8], message: &'a Message) -> Values<'a> {
        let mut values = Values::new(channel, message);
        if self.capabilities.texts_end_at_nul {
            let end = memchr::memchr(0, values.text);
            values.text = end.and_then(|end| values.text.get(..end)).unwrap_or(values.text);
        }
        values
    }

    fn write_data(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        match self.kind {
            Kind::EventSource => eventsource::data(&self.template, values, &self.capabilities, out),
            Kind::Text | Kind::WebSocket => self.template.render(values, out),
        }
    }

    fn framed_header(&self, header: &[u8]) -> Bytes {
        let mut out = self.frame(header).to_vec();
        self.write_padding(self.measure(header.len(), out.len()), true, &mut out);
        out.into()
    }

    fn framed_ping(&self, text: &[u8]) -> Bytes {
        match self.kind {
            Kind::WebSocket => Bytes::from_static(&websocket_frame::PING),
            Kind::EventSource => self.frame(&eventsource::ping(&self.capabilities)),
            Kind::Text => {
                let mut ping = Message::pseudo(Message::PING, text);
                ping.stamp.tag = self.capabilities.ping_tag;
                self.message(b"", &ping)
            }
        }
    }

    /// The length that padding looks at.
    fn measure(&self, body: usize, framed: usize) -> usize {
        if self.capabilities.padding_counts_frame { framed } else { body }
    }

    /// Appends the filler that follows a body of this length; nothing follows what was not sent.
    fn write_padding(&self, length: usize, header: bool, out: &mut Vec<u8>) {
        let Some(rule) = self.padding.as_ref().filter(|_| !out.is_empty()) else { return };
        let size = if header { rule.after_header(length) } else { rule.after_message(length) };
        if size > 0 {
            self.write_body(&padding::filler(size, self.kind == Kind::EventSource, &self.capabilities), out);
        }
    }
}

fn write_chunk_size(length: usize, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{length:x}\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Compat, EventTags, FrameRules, Line};
    use crate::render::{Decoder, Event};

    fn spoken(line: Line, strict: bool) -> &'static Capabilities {
        Box::leak(Box::new(Capabilities::of(Compat { line, strict })))
    }

    fn spec(kind: Kind, framing: Framing) -> ViewSpec<'static> {
        ViewSpec {
            header: b"",
            message: b"~text~",
            footer: b"",
            ping_text: b" ",
            kind,
            framing,
            padding: None,
            capabilities: spoken(Line::V05, false),
        }
    }

    fn message(text: &[u8], id: Option<&[u8]>, kind: Option<&[u8]>) -> Message {
        let mut message = Message::pseudo(1, text);
        message.event = Some(std::sync::Arc::new(EventTags { id: id.map(Into::into), kind: kind.map(Into::into) }));
        message
    }

    /// Decodes chunks strictly; panics where they are broken.
    pub(crate) fn chunks(mut wire: &[u8]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        while !wire.is_empty() {
            let end = wire.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&wire[..end]).unwrap(), 16).unwrap();
            assert!(size > 0);
            chunks.push(wire[end + 2..end + 2 + size].to_vec());
            assert_eq!(&wire[end + 2 + size..end + 4 + size], b"\r\n");
            wire = &wire[end + 4 + size..];
        }
        chunks
    }

    #[test]
    fn a_streaming_message_is_one_chunk() {
        let view = View::new(&ViewSpec { header: b"HEAD ~id~", footer: b"F", ..spec(Kind::Text, Framing::Chunked) });
        assert_eq!(view.header(), &b"9\r\nHEAD ~id~\r\n"[..]);
        assert_eq!(view.footer(), &b"1\r\nF\r\n"[..]);
        assert_eq!(view.message(b"a", &message(b"hello", None, None)), &b"5\r\nhello\r\n"[..]);
        assert_eq!(view.ping(), &b"1\r\n \r\n"[..]);
        assert_eq!(view.end(), b"0\r\n\r\n");
        assert_eq!(view.frame(b""), &b""[..]);
    }

    #[test]
    fn what_renders_to_nothing_is_not_sent() {
        let view = View::new(&ViewSpec {
            message: b"~event-id~",
            ping_text: b"",
            padding: Some(PaddingRule { header_min: 100, message_min: 100, largest: 100 }),
            ..spec(Kind::Text, Framing::Chunked)
        });
        assert!(view.message(b"a", &message(b"x", None, None)).is_empty());
        assert!(view.ping().is_empty());
        assert!(view.header().is_empty());
    }

    #[test]
    fn an_event_has_its_id_and_type_in_chunks_of_their_own() {
        let view = View::new(&spec(Kind::EventSource, Framing::Chunked));
        let wire = view.message(b"a", &message(b"one\ntwo", Some(b"17"), Some(b"alarm")));
        assert_eq!(chunks(&wire), [&b"id: 17\n"[..], b"event: alarm\n", b"data: one\ndata: two\n\n"]);
        assert_eq!(view.raw(b"a", &message(b"x", Some(b""), None)), b"id: \ndata: x\n\n");
        assert_eq!(view.ping(), &b"5\r\n: -1\n\r\n"[..]);
        assert_eq!(view.header(), &b"3\r\n: \n\r\n"[..]);
        assert!(view.footer().is_empty());
    }

    #[test]
    fn a_websocket_message_is_one_text_frame() {
        let view =
            View::new(&ViewSpec { header: b"H", message: b"<~text~>", ..spec(Kind::WebSocket, Framing::WebSocket) });
        assert_eq!(view.header(), &b"\x81\x01H"[..]);
        assert_eq!(view.message(b"a", &message(b"x", None, None)), &b"\x81\x03<x>"[..]);
        assert_eq!(view.ping(), &b"\x89\x00"[..]);
        assert_eq!(view.end(), b"\x88\x00");
    }

    #[test]
    fn the_03_lines_end_every_body_with_a_line_break() {
        let old = |kind| ViewSpec { capabilities: spoken(Line::V034, false), ..spec(kind, Framing::Chunked) };
        let view = View::new(&ViewSpec {
            header: b"HEAD\n",
            padding: Some(PaddingRule { header_min: 1025, message_min: 0, largest: 4097 }),
            ..old(Kind::Text)
        });
        assert_eq!(view.message(b"a", &message(b"x", None, None)), &b"3\r\nx\r\n\r\n"[..]);
        let header = chunks(view.header());
        assert_eq!(header[0], b"HEAD\n\r\n");
        assert_eq!(header[1], [&[b' '; 1100][..], b"\r\n"].concat());

        let view = View::new(&old(Kind::EventSource));
        let wire = view.message(b"a", &message(b"l1\nl2", Some(b"9"), Some(b"t")));
        assert_eq!(chunks(view.header()).concat(), b":\r\n");
        assert_eq!(chunks(&wire).concat(), b"id: 9\r\nevent: t\r\ndata: l1\r\ndata: l2\r\n\r\n");
        assert_eq!(view.raw(b"a", &message(b"l1\nl2", Some(b"9"), None)), b"id: 9\r\ndata: l1\r\ndata: l2\r\n\r\n");
        let view = View::new(&ViewSpec {
            capabilities: spoken(Line::V035, false),
            ..spec(Kind::WebSocket, Framing::WebSocket)
        });
        assert_eq!(view.message(b"a", &message(b"x", None, None)), &b"\x81\x01x"[..]);
    }

    #[test]
    fn a_text_ends_at_its_nul_in_strict_templates_of_the_03_lines_only() {
        for (line, strict, expected) in [
            (Line::V034, true, &b"<a>\r\n"[..]),
            (Line::V035, true, b"<a>\r\n"),
            (Line::V035, false, b"<a\0b>\r\n"),
            (Line::V040, true, b"<a\0b>"),
        ] {
            let capabilities = spoken(line, strict);
            let spec = ViewSpec { message: b"<~text~>", capabilities, ..spec(Kind::Text, Framing::Plain) };
            assert_eq!(View::new(&spec).message(b"a", &message(b"a\0b", None, None)), expected, "{line:?} {strict}");
        }
    }

    #[test]
    fn short_bodies_are_padded_in_a_chunk_of_their_own() {
        let rule = PaddingRule { header_min: 500, message_min: 300, largest: 1040 };
        let view = View::new(&ViewSpec { header: b"HEAD", padding: Some(rule), ..spec(Kind::Text, Framing::Chunked) });
        assert_eq!(chunks(view.header()).iter().map(Vec::len).collect::<Vec<_>>(), [4, 500]);
        let sizes = |text: &[u8]| {
            chunks(&view.message(b"a", &message(text, None, None))).iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(b"hello"), [5, 300]);
        assert_eq!(sizes(&[b'x'; 300]), [300]);
        assert_eq!(chunks(view.ping()).iter().map(Vec::len).collect::<Vec<_>>(), [1, 300]);
        let view = View::new(&ViewSpec { padding: Some(rule), ..spec(Kind::EventSource, Framing::Chunked) });
        let wire = chunks(&view.message(b"a", &message(b"x", Some(&[b'i'; 400]), None)));
        assert_eq!(wire.iter().map(Vec::len).collect::<Vec<_>>(), [405, 9, 300]);
        assert_eq!(view.ping(), &b"5\r\n: -1\n\r\n"[..]);
    }

    proptest! {
        #[test]
        fn no_text_template_or_id_can_break_the_chunks(
            text in prop::collection::vec(any::<u8>(), 0..300), template in prop::collection::vec(any::<u8>(), 0..40),
            id in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), eventsource: bool, padded: bool,
        ) {
            let kind = if eventsource { Kind::EventSource } else { Kind::Text };
            let template = [&template[..], b"~text~~event-id~"].concat();
            let padding = padded.then_some(PaddingRule { header_min: 9, message_min: 250, largest: 250 });
            let view = View::new(&ViewSpec { message: &template, padding, ..spec(kind, Framing::Chunked) });
            let plain = View::new(&ViewSpec { message: &template, padding, ..spec(kind, Framing::Plain) });
            let message = message(&text, id.as_deref(), None);
            let body = chunks(&view.message(b"a", &message)).concat();
            prop_assert_eq!(&body, &plain.message(b"a", &message));
            prop_assert!(body.starts_with(&view.raw(b"a", &message)));
        }

        #[test]
        fn a_frame_holds_exactly_the_rendering(text in "\\PC{0,300}", deflate: bool) {
            let framing = if deflate { Framing::WebSocketDeflate } else { Framing::WebSocket };
            let view = View::new(&ViewSpec { message: b"<~text~~text~>", ..spec(Kind::WebSocket, framing) });
            let message = message(text.as_bytes(), None, None);
            let wire = view.message(b"a", &message);
            let mut decoder = Decoder::new(FrameRules::Rfc, 1 << 20);
            if deflate { decoder = decoder.with_deflate(); }
            let mut rest = &wire[..];
            prop_assert_eq!(decoder.decode(&mut rest), Some(Event::Text(view.raw(b"a", &message))));
            prop_assert!(rest.is_empty());
        }
    }
}
