//! Assaults over HTTP/1 and websockets. A wave lasts a few seconds at most and holds at most a few hundred connections.

use std::sync::atomic::AtomicU64;

use flate2::{Compress, Compression, FlushCompress};

use super::field::{Dice, Field, Raider};
use crate::requests::{self, Transport};

/// A way to attack.
pub(super) struct Assault {
    pub(super) name: &'static str,
    pub(super) wave: fn(&Field, &mut Dice),
    pub(super) waves: AtomicU64,
}

impl Assault {
    pub(super) const fn new(name: &'static str, wave: fn(&Field, &mut Dice)) -> Self {
        Self { name, wave, waves: AtomicU64::new(0) }
    }
}

pub(super) static ALL: [Assault; 12] = [
    Assault::new("floods of connections", floods),
    Assault::new("slow heads", slow_heads),
    Assault::new("slow bodies", slow_bodies),
    Assault::new("slow readers", slow_readers),
    Assault::new("histories and files that are not read", unread),
    Assault::new("answers that are not read", pipelines),
    Assault::new("aborts", aborts),
    Assault::new("garbage", garbage),
    Assault::new("giant bodies and frames", giants),
    Assault::new("messages that do not get smaller", noise),
    Assault::new("compressed websockets", compressed),
    Assault::new("very many channels", many),
];

const OFFER: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(super) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn upgrade(target: &str, more: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\n{OFFER}{more}\r\n")
}

/// A client's frame, masked by nothing.
fn frame(first: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0xFF];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

fn floods(field: &Field, dice: &mut Dice) {
    for _ in 0..100 {
        let mut raider = Raider::to(field.plain);
        let first = [
            get("/poll/flood"),
            get("/nowhere"),
            get("/stats"),
            "POST /note?id=f HTTP/1.1\r\n".to_owned(),
            String::new(),
        ];
        raider.send(dice.one_of(&first));
        if dice.below(2) == 0 {
            raider.read(100);
        }
        if dice.below(2) == 0 {
            raider.reset();
        }
    }
}

fn slow_heads(field: &Field, _dice: &mut Dice) {
    let mut raiders: Vec<_> = (0..200).map(|_| Raider::to(field.plain)).collect();
    let mut head = b"GET /sub/slow HTTP/1.1\r\nHost: t\r\nX-Long: ".to_vec();
    head.extend_from_slice(&[b'a'; 100]);
    let mut letters = head.into_iter();
    field.every(200, 8000, || {
        let letter = [letters.next().unwrap_or(b'a')];
        for raider in &mut raiders {
            raider.send(letter);
        }
    });
}

fn slow_bodies(field: &Field, _dice: &mut Dice) {
    let mut raiders: Vec<_> = (0..100).map(|_| Raider::to(field.plain)).collect();
    for (number, raider) in raiders.iter_mut().enumerate() {
        let framing = if number % 2 == 0 { "Content-Length: 1000000" } else { "Transfer-Encoding: chunked" };
        raider.send(format!("POST /note?id=slow HTTP/1.1\r\nHost: t\r\n{framing}\r\n\r\n"));
    }
    field.every(200, 8000, || {
        for (number, raider) in raiders.iter_mut().enumerate() {
            raider.send(if number % 2 == 0 { "x" } else { "1\r\nx\r\n" });
        }
    });
}

fn slow_readers(field: &Field, _dice: &mut Dice) {
    let mut raiders = Vec::new();
    for _ in 0..20 {
        for transport in Transport::ALL {
            let mut raider = Raider::narrow(field.plain);
            raider.send(transport.request("noise"));
            raiders.push(raider);
        }
    }
    field.every(300, 8000, || {
        for raider in &mut raiders {
            raider.read(100);
        }
    });
}

fn unread(field: &Field, dice: &mut Dice) {
    let mut raiders = Vec::new();
    for _ in 0..30 {
        let mut raider = Raider::narrow(field.plain);
        let asked = [
            get("/sub/big.b100"),
            get("/ev/big.b100"),
            get("/poll/big.b100"),
            upgrade("/ws/big.b100", ""),
            get("/file"),
        ];
        raider.send(dice.one_of(&asked));
        raiders.push(raider);
    }
    field.every(500, 4000, || {
        for raider in raiders.iter_mut().step_by(3) {
            raider.read(1000);
        }
    });
    raiders.into_iter().for_each(Raider::reset);
}

fn pipelines(field: &Field, dice: &mut Dice) {
    let mut raiders: Vec<_> = (0..20).map(|_| Raider::narrow(field.plain)).collect();
    let many = [get("/poll/big.b100"), get("/stats?id=ALL"), get("/file"), get("/r200")].map(|one| one.repeat(200));
    for raider in &mut raiders {
        raider.send(dice.one_of(&many));
    }
    field.every(200, 2000, || {
        for raider in &mut raiders {
            raider.send(get("/nowhere").repeat(50));
        }
    });
}

fn aborts(field: &Field, dice: &mut Dice) {
    for _ in 0..80 {
        let mut raider = Raider::to(field.plain);
        let transport = *dice.one_of(&Transport::ALL);
        let channel = *dice.one_of(&["abort", "noise", "citizens1", "big.b3", "a/b/c/d"]);
        let bytes = match dice.below(4) {
            0 => requests::publish("note", "abort", &[b'x'; 5000]),
            1 => [transport.request(channel), vec![b'y'; 70_000]].concat(),
            _ => transport.request(channel),
        };
        let sent = bytes.get(..bytes.len() - dice.below(bytes.len() / 2)).unwrap_or_default();
        raider.send(sent);
        if dice.below(3) == 0 {
            raider.read(10);
        }
        if dice.below(2) == 0 {
            raider.reset();
        }
    }
}

fn garbage(field: &Field, dice: &mut Dice) {
    for _ in 0..50 {
        let door = *dice.one_of(&[field.plain, field.tls, field.http2]);
        let mut raider = Raider::to(door);
        let length = 1 + dice.below(2000);
        let mut bytes = match dice.below(4) {
            0 => dice.bytes(length),
            1 => upgrade("/ws/garbage", "").into_bytes(),
            2 => [get("/sub/garbage"), "POST /note?id=a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()]
                .concat()
                .into_bytes(),
            _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        };
        if dice.below(2) == 0 {
            let at = dice.below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = dice.next() as u8;
            }
        }
        bytes.extend(dice.bytes(length));
        raider.send(bytes);
        raider.read(100);
    }
}

fn giants(field: &Field, dice: &mut Dice) {
    let piece = vec![b'g'; 60_000];
    let mut declared = Raider::to(field.plain);
    declared.send("POST /note?id=g HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999\r\n\r\n");
    let mut chunks = Raider::to(field.plain);
    chunks.send("POST /note?id=g HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut socket = Raider::to(field.plain);
    socket.send(upgrade("/ws/giant", ""));
    let length = *dice.one_of(&[1 << 40, 900_000, u64::MAX >> 1]);
    socket.send(frame(0x81, length, b""));
    for _ in 0..30 {
        declared.send(&piece);
        chunks.send([format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat());
        socket.send(&piece);
        if field.is_over() {
            return;
        }
    }
}

fn noise(field: &Field, dice: &mut Dice) {
    let mut raider = Raider::to(field.plain);
    for _ in 0..20 {
        let size = 20_000 + dice.below(130_000);
        let text = dice.bytes(size);
        raider.send(requests::publish("note", "noise", &text));
        raider.read(1000);
        field.pause(std::time::Duration::from_millis(30));
    }
}

fn compressed(field: &Field, dice: &mut Dice) {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let mut raiders: Vec<_> = (0..30).map(|_| Raider::narrow(field.plain)).collect();
    for raider in &mut raiders {
        let target = *dice.one_of(&["/zip/noise", "/zip/big.b3/noise"]);
        raider.send(upgrade(target, offer));
        raider.read(200);
    }
    // A few bytes that become many.
    let mut bomb = Vec::with_capacity(200_000);
    let mut compress = Compress::new(Compression::best(), false);
    let _ = compress.compress_vec(&vec![0; 64 << 20], &mut bomb, FlushCompress::Sync);
    for (number, raider) in raiders.iter_mut().enumerate() {
        let length = bomb.len() as u64;
        match number % 4 {
            0 => raider.send(frame(0xC1, length, &bomb)),
            1 => raider.send(frame(0xC1, 200, &dice.bytes(200))),
            2 => raider.send(frame(0x41, length / 2, bomb.get(..bomb.len() / 2).unwrap_or_default())),
            _ => true,
        };
    }
    field.every(500, 3000, || {
        for raider in raiders.iter_mut().skip(20) {
            raider.read(2000);
        }
    });
}

fn many(field: &Field, dice: &mut Dice) {
    let start = dice.below(100_000);
    let path = (0..900).map(|n| format!("{:x}", start + n)).collect::<Vec<_>>().join("/");
    let mut raider = Raider::to(field.plain);
    raider.send(requests::publish("note", &path, &[b'm'; 10_000]));
    raider.read(1000);
    let mut raiders: Vec<_> = (0..10).map(|_| Raider::narrow(field.plain)).collect();
    for raider in &mut raiders {
        raider.send(dice.one_of(&[
            get(&format!("/sub/{path}")),
            get(&format!("/lp/{path}")),
            get("/stats?id=ALL"),
            get("/stats?id=c*"),
        ]));
    }
    field.every(300, 1500, || {
        raider.send(requests::publish("note", &path, b"m"));
        raider.read(1000);
    });
}
