//! The entries of `fuzz/`, fed with random bytes and with inputs made of the pieces that matter to each, on every `cargo test`.

use std::path::Path;

use proptest::prelude::*;

#[path = "../../fuzz/entry.rs"]
mod entry;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

/// Inputs made of words, with some noise between them.
fn words(words: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    (any::<u8>(), prop::collection::vec(piece, 0..40)).prop_map(|(first, pieces)| {
        let mut input = vec![first];
        input.extend(pieces.concat());
        input
    })
}

const CONFIGURATION: &[&[u8]] = &[
    b"events {} ",
    b"http { ",
    b"server { ",
    b"location / { ",
    b"location ~ ^/(a+)$ { ",
    b"if ($arg_x ~ \"a{2}\") { ",
    b"} ",
    b"; ",
    b"\"",
    b"'",
    b"\\",
    b"${",
    b"$1",
    b"# x\n",
    b"\n",
    b"listen 80; ",
    b"listen [::]:1 ",
    b"0",
    b"99999999999999999999",
    b"push_stream_shared_memory_size 32m; ",
    b"push_stream_publisher ",
    b"push_stream_subscriber ",
    b"websocket; ",
    b"push_stream_channels_path $arg_id; ",
    b"push_stream_message_ttl 1d 2h; ",
    b"push_stream_message_template ",
    b"push_stream_padding_by_user_agent \"[a,1,2\"; ",
    b"set $x ",
    b"map $x $y { ",
    b"default ",
    b"~(",
    b"return 200 ",
    b"rewrite ^ /x last; ",
    b"include *.nothing; ",
    b"access_log off; ",
    b"log_format f '$x'; ",
    b"geo $z { ",
    b"types { ",
    b"allow 10.0.0.0/8; ",
    b"error_page 404 = /x; ",
    b"limit_except GET { ",
    b"push_stream_ping_message_interval 10ms; ",
];
const TEMPLATE: &[&[u8]] = &[
    b"~",
    b"~id~",
    b"~text~",
    b"~TEXT~",
    b"~channel~",
    b"~size~",
    b"~time~",
    b"~tag~",
    b"~event-id~",
    b"~event-type~",
    b"data: ",
    b": ",
    b"\r",
    b"\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"a",
    b"\0",
];
const FRAMES: &[&[u8]] = &[
    &[0x81, 0x01, b'a'],
    &[0x01, 0x01, 0xC3],
    &[0x80, 0x01, 0xA9],
    &[0x89, 0x00],
    &[0x8A, 0x00],
    &[0x88, 0x02, 0x03, 0xE8],
    &[0x88, 0x00],
    &[0x81, 0x81, 1, 2, 3, 4, b'a' ^ 1],
    &[0x81, 0x7F],
    &[0, 0, 1, 0, 0, 0, 0, 0],
    &[0x81, 0x7E, 0x10, 0x00],
    &[0xC1, 0x03, 0x4B, 0x04, 0x00],
    &[0x41, 0x02, 0x4B, 0x04],
    &[0x80, 0x01, 0x00],
    &[0x82, 0x00],
    &[0xFF],
];
const HEAD: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"/a",
    b"?x=1",
    b" ",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"HTTP/2.0",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host: a",
    b"Host:",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"x_y: z",
    b":",
    b"\t",
    b"http://h/p",
    b"\0",
    b"%2F",
    b"\r\n\r\n",
];
const CHUNKS: &[&[u8]] = &[
    b"1",
    b"a",
    b"FF",
    b"0",
    b";x=y",
    b"\r\n",
    b"\n",
    b"\r",
    b"1\r\nx\r\n",
    b"0\r\n\r\n",
    b"Trailer: 1\r\n",
    b"ffffffffffffffffff",
];

proptest! {
    #[test]
    fn configurations(input in prop_oneof![bytes(), words(CONFIGURATION)]) {
        entry::configuration(&input, Path::new(env!("CARGO_TARGET_TMPDIR")));
    }

    #[test]
    fn channel_paths(input in prop_oneof![bytes(), words(&[b"a", b"/", b".b", b"3", b"%", b"%2", b"%2F", b"%3F", b"?", b"ALL", b"*"])]) {
        entry::channel_path(&input);
    }

    #[test]
    fn templates(input in prop_oneof![bytes(), words(TEMPLATE)]) {
        entry::template(&input);
    }

    #[test]
    fn websocket_frames(input in prop_oneof![bytes(), words(FRAMES)]) {
        entry::websocket_frames(&input);
    }

    #[test]
    fn request_heads(input in prop_oneof![bytes(), words(HEAD)]) {
        entry::request_head(&input);
    }

    #[test]
    fn chunked_bodies(input in prop_oneof![bytes(), words(CHUNKS)]) {
        entry::chunked_body(&input);
    }
}
