//! What is fuzzed: one function for each place where bytes of strangers come in.
//!
//! Shared by the targets of `cargo fuzz` and by `tests/it/fuzz_entry.rs`. Each function asserts, beside "no panic", the one
//! property that the code behind it promises for every input.

use std::path::Path;

use pushstreamd::internals::conf::{self, LoadOptions};
use pushstreamd::internals::model::{self, Capabilities, Compat, FrameRules, Line, Message};
use pushstreamd::internals::render::{Decoder, Event, Framing, Kind, Template, Values, View, ViewSpec};
use pushstreamd::internals::request::head::{self, HeadLimits};
use pushstreamd::internals::request::head_parser;
use pushstreamd::internals::wire::ChunkedBody;

/// A configuration, from the lexer to the settings: every mistake has a text of one line. `directory` is for inputs that
/// are no UTF-8, which come from a file as a real configuration does.
pub(crate) fn configuration(input: &[u8], directory: &Path) {
    // Files that would be waited for, or read for ever.
    if ["/dev", "/proc", "/sys"].iter().any(|path| input.windows(path.len()).any(|at| at == path.as_bytes())) {
        return;
    }
    let Some((switches, text)) = input.split_first() else { return };
    let file = directory.join(format!("fuzz-{}.conf", std::process::id()));
    let text = String::from_utf8(text.to_vec()).map_err(|bytes| std::fs::write(&file, bytes.as_bytes())).ok();
    let line = [None, Some(Line::V034), Some(Line::V040), Some(Line::V05)];
    let options = LoadOptions {
        file,
        prefix: directory.to_owned(),
        compat: line[usize::from(switches & 3)],
        strict: switches & 4 != 0,
        text,
        ..LoadOptions::default()
    };
    let notes = match conf::load(&options) {
        Ok(loaded) => loaded.notes,
        Err(error) => {
            assert!(!error.notes.is_empty(), "a refusal says why");
            error.notes
        }
    };
    assert!(notes.iter().all(|note| !note.text.is_empty()));
}

/// A channel path: ids never hold a separator, and every element is found again.
pub(crate) fn channel_path(input: &[u8]) {
    let decoded = model::percent_decode(input);
    assert!(decoded.len() <= input.len());
    let requested = model::parse_channel_path(&decoded);
    assert_eq!(requested.is_empty(), decoded.is_empty());
    assert!(requested.iter().all(|one| !one.id.as_bytes().contains(&b'/')));
    let elements = decoded.split(|byte| *byte == b'/').count() - usize::from(decoded.ends_with(b"/"));
    assert!(decoded.is_empty() || requested.len() == elements);
}

/// A template and a message: the first byte is where the one ends and the other begins. What is rendered is framed so that
/// a reader of the framing gets exactly the bodies back.
pub(crate) fn template(input: &[u8]) {
    let Some((&split, rest)) = input.split_first() else { return };
    let (source, text) = rest.split_at(usize::from(split).min(rest.len()));
    for line in [Line::V034, Line::V040, Line::V05] {
        let mut out = Vec::new();
        let message = Message::pseudo(1, text);
        Template::new(source, &Capabilities::of(Compat { line, strict: false }))
            .render(&Values::new(b"channel", &message), &mut out);
        if !source.contains(&b'~') {
            assert_eq!(out, source, "only tokens are replaced");
        }
        for kind in [Kind::Text, Kind::EventSource] {
            let framed = view(source, kind, Framing::Chunked, line).message(b"channel", &message);
            if line >= Line::V040 {
                assert_chunks(&framed);
            }
        }
        let framed = view(source, Kind::WebSocket, Framing::WebSocket, line).message(b"channel", &message);
        assert_one_frame(&framed, &out);
    }
}

fn view(source: &[u8], kind: Kind, framing: Framing, line: Line) -> View {
    View::new(&ViewSpec {
        header: source,
        message: source,
        footer: source,
        ping_text: source,
        kind,
        framing,
        padding: None,
        capabilities: &Capabilities::of(Compat { line, strict: false }),
    })
}

/// Whole chunks, none of them the end of the body.
fn assert_chunks(mut framed: &[u8]) {
    while !framed.is_empty() {
        let end = framed.iter().position(|byte| *byte == b'\r').unwrap_or_else(|| panic!("a size line"));
        let size = std::str::from_utf8(&framed[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.unwrap_or_else(|| panic!("a chunk size"));
        assert_ne!(size, 0, "no chunk ends the body");
        let after = &framed[end + 2 + size..];
        assert_eq!(&after[..2], b"\r\n");
        framed = &after[2..];
    }
}

/// One text frame with this payload, or nothing for an empty one.
fn assert_one_frame(framed: &[u8], payload: &[u8]) {
    if framed.is_empty() {
        assert!(payload.is_empty());
        return;
    }
    assert_eq!(framed[0], 0x81);
    assert!(framed.ends_with(payload));
    let head = framed.len() - payload.len();
    assert_eq!(
        head,
        if payload.len() < 126 {
            2
        } else if payload.len() < 65536 {
            4
        } else {
            10
        }
    );
}

/// Bytes of a websocket client: the same events whether they come at once or in pieces, and never more memory than allowed.
pub(crate) fn websocket_frames(input: &[u8]) {
    const LARGEST: usize = 4096;
    let Some((&step, bytes)) = input.split_first() else { return };
    for rules in [FrameRules::Module, FrameRules::Rfc] {
        for deflate in [false, true] {
            let decoder = || {
                let decoder = Decoder::new(rules, LARGEST);
                if deflate { decoder.with_deflate() } else { decoder }
            };
            let whole = events(decoder(), bytes, bytes.len().max(1));
            let pieces = events(decoder(), bytes, usize::from(step).max(1));
            assert_eq!(whole, pieces);
            for event in whole {
                match event {
                    Event::Text(text) => {
                        // What the module takes for UTF-8 is more than that.
                        let is_text = rules == FrameRules::Module || std::str::from_utf8(&text).is_ok();
                        assert!(text.len() <= LARGEST && is_text);
                    }
                    Event::Binary(bytes) => assert!(bytes.len() <= LARGEST),
                    Event::Ping(payload) => assert!(payload.len() <= LARGEST),
                    Event::Pong | Event::Close { .. } | Event::Violation(_) => {}
                }
            }
        }
    }
}

fn events(mut decoder: Decoder, bytes: &[u8], step: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for mut piece in bytes.chunks(step) {
        while let Some(event) = decoder.decode(&mut piece) {
            events.push(event);
        }
        assert!(piece.is_empty(), "all input is used");
    }
    events
}

/// The head of a request: what is read is within the input, and a prefix of it is never read differently.
pub(crate) fn request_head(input: &[u8]) {
    for spaces_in_target in [false, true] {
        let limits = HeadLimits {
            line: 512,
            field: 512,
            total: 2048,
            underscores: spaces_in_target,
            ignore_invalid: !spaces_in_target,
            spaces_in_target,
        };
        let Ok(Some((head, length))) = head_parser::parse(input, &limits) else { continue };
        assert!(length <= input.len());
        assert!(head.headers().all(|(_, value)| !value.contains(&b'\r') && !value.contains(&b'\n')));
        assert!(!head.target().contains(&b'\n') && !head.line().contains(&b'\n'));
        let _ = head::body_length(&head);
        let again = head_parser::parse(&input[..length], &limits);
        assert!(matches!(again, Ok(Some((_, same))) if same == length), "what follows a head does not change it");
        let before = head_parser::parse(&input[..length - 1], &limits);
        assert!(!matches!(before, Ok(Some(_))), "a head is complete with its last byte");
    }
}

/// A chunked body: the same bytes however the input is split.
pub(crate) fn chunked_body(input: &[u8]) {
    let Some((&step, bytes)) = input.split_first() else { return };
    let read = |step: usize| {
        let (mut body, mut out, mut used) = (ChunkedBody::new(4096), Vec::new(), 0);
        for piece in bytes.chunks(step) {
            match body.feed(piece, &mut out) {
                Ok(taken) => used += taken,
                Err(bad) => return Err(bad),
            }
            if body.is_done() {
                break;
            }
        }
        Ok((out, used, body.is_done()))
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(usize::from(step).max(1)));
    if let Ok((out, ..)) = whole {
        assert!(out.len() <= 4096);
    }
}
