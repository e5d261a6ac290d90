//! Single functions of the hot paths: rendering, frames, request heads, channel paths; and loading a configuration.
//!
//! `cargo bench --bench functions`. The figures mean something beside those of the revision before, on the same machine.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement, not the product")]

use std::path::PathBuf;

use divan::{Bencher, black_box};
use pushstreamd::internals::conf::{self, LoadOptions};
use pushstreamd::internals::model::{Capabilities, FrameRules, Message, Stamp, parse_channel_path, percent_decode};
use pushstreamd::internals::render::{Decoder, Framing, Kind, View, ViewSpec};
use pushstreamd::internals::request::head::HeadLimits;
use pushstreamd::internals::request::head_parser::parse;

const TEMPLATE: &[u8] = br#"#!NGINXNMS!#{"id":~id~,"channel":"~channel~","tag":"~tag~","time":"~time~","eventid":"~event-id~","text":~text~}#!NGINXNME!#"#;
const CHANNEL: &[u8] = b"0a1b2c3d4e5f60718293a4b5c6d7e8f9";

fn main() {
    divan::main();
}

fn message() -> Message {
    Message { id: 7, seq: 7, stamp: Stamp { time: 1_795_373_031, tag: 3 }, ..Message::pseudo(7, &[b'x'; 200]) }
}

#[divan::bench(args = [(Kind::Text, Framing::Chunked), (Kind::EventSource, Framing::Chunked), (Kind::WebSocket, Framing::WebSocket)])]
fn render_a_message(bencher: Bencher<'_, '_>, (kind, framing): (Kind, Framing)) {
    let view = View::new(&ViewSpec {
        header: b"",
        message: TEMPLATE,
        footer: b"",
        ping_text: b" ",
        kind,
        framing,
        padding: None,
        capabilities: &Capabilities::default(),
    });
    let message = message();
    bencher.bench_local(|| view.message(black_box(CHANNEL), black_box(&message)));
}

#[divan::bench(args = [FrameRules::Rfc, FrameRules::Module])]
fn decode_a_frame_of_200_bytes(bencher: Bencher<'_, '_>, rules: FrameRules) {
    let frame: Vec<u8> =
        [&[0x81, 0xFE, 0, 200, 1, 2, 3, 4][..], &[b'y' ^ 1, b'y' ^ 2, b'y' ^ 3, b'y' ^ 4].repeat(50)].concat();
    bencher.bench_local(|| {
        let mut decoder = Decoder::new(rules, 1 << 20);
        decoder.decode(&mut black_box(frame.as_slice())).unwrap()
    });
}

#[divan::bench]
fn parse_the_head_of_a_publish(bencher: Bencher<'_, '_>) {
    let head =
        b"POST /bitrix/pub/?CHANNEL_ID=0a1b2c3d4e5f60718293a4b5c6d7e8f9 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 200\r\n\r\n";
    bencher.bench_local(|| parse(black_box(head), &HeadLimits::DEFAULT).unwrap().map(|(_, length)| length));
}

#[divan::bench]
fn read_a_channel_path() -> usize {
    parse_channel_path(&percent_decode(black_box(
        b"0a1b2c3d4e5f60718293a4b5c6d7e8f9%2Fffeeddccbbaa99887766554433221100.b5",
    )))
    .len()
}

#[divan::bench]
fn load_the_default_configuration(bencher: Bencher<'_, '_>) {
    let options = LoadOptions {
        file: PathBuf::from("default.conf"),
        prefix: PathBuf::from("."),
        text: Some(include_str!("../nginx-conf-examples/default.conf").to_owned()),
        ..LoadOptions::default()
    };
    bencher.bench_local(|| conf::load(&options).unwrap().settings.listeners.len());
}
