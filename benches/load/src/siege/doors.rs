//! Assaults on the other doors: TLS handshakes that are begun, finished and left, and HTTP/2 by hand.

use std::io::{Read as _, Write as _};

use rustls::Stream;

use super::assault::{Assault, get};
use super::field::{Dice, Field, Raider};
use crate::http2::{PREFACE, frame, get as request, settings};
use crate::tls::session;

pub(super) static ALL: [Assault; 5] = [
    Assault::new("TLS handshakes left open", half_open),
    Assault::new("TLS handshakes and aborts", handshakes),
    Assault::new("HTTP/2 without windows", no_windows),
    Assault::new("HTTP/2 rapid resets", rapid_resets),
    Assault::new("HTTP/2 floods of frames", frames),
];

fn half_open(field: &Field, dice: &mut Dice) {
    let mut raiders: Vec<_> = (0..100).map(|_| Raider::to(field.tls)).collect();
    for raider in raiders.iter_mut().skip(20) {
        let Ok(mut session) = session() else { return };
        let mut hello = Vec::new();
        let _ = session.write_tls(&mut hello);
        let sent = dice.below(hello.len());
        raider.send(hello.get(..sent).unwrap_or_default());
    }
    field.every(500, 4000, || {
        for raider in &mut raiders {
            raider.send(b"\x16");
        }
    });
}

fn handshakes(field: &Field, dice: &mut Dice) {
    for _ in 0..15 {
        let mut raider = Raider::to(field.tls);
        let (Ok(mut session), Some(tcp)) = (session(), raider.stream()) else { continue };
        let mut stream = Stream::new(&mut session, tcp);
        let target = *dice.one_of(&["/sub/tls", "/lp/tls", "/poll/big.b100", "/file"]);
        let _ = stream.write_all(get(target).as_bytes());
        let _ = stream.read(&mut [0; 100]);
        if dice.below(2) == 0 {
            raider.send(dice.bytes(300));
        }
        raider.reset();
    }
}

fn no_windows(field: &Field, dice: &mut Dice) {
    let mut raiders: Vec<_> = (0..8).map(|_| Raider::narrow(field.http2)).collect();
    for raider in &mut raiders {
        raider.send([PREFACE, &settings(dice.below(2) as u32 * 100)].concat());
        for number in 0..40 {
            let path =
                *dice.one_of(&["/sub/noise", "/ev/noise", "/lp/noise", "/poll/big.b100", "/file", "/stats?id=ALL"]);
            raider.send(request(2 * number + 1, path));
        }
    }
    field.every(200, 6000, || {
        for raider in &mut raiders {
            raider.read(100);
        }
    });
}

fn rapid_resets(field: &Field, dice: &mut Dice) {
    let mut raider = Raider::to(field.http2);
    raider.send([PREFACE, &settings(65_535)].concat());
    for number in 0..400 {
        let stream = 2 * number + 1;
        let path = *dice.one_of(&["/sub/reset", "/lp/reset", "/poll/big.b100", "/file"]);
        if !raider.send([request(stream, path), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()) {
            return;
        }
    }
    raider.read(1000);
}

fn frames(field: &Field, dice: &mut Dice) {
    let mut raider = Raider::narrow(field.http2);
    raider.send([PREFACE, &settings(65_535)].concat());
    let noise = dice.bytes(1000);
    // A head that never ends, settings, pings, empty data, windows that overflow.
    let flood = match dice.below(5) {
        0 => frame(9, 0, 1, &noise),
        1 => settings(1),
        2 => frame(6, 0, 0, &[0; 8]),
        3 => frame(0, 0, 1, b""),
        _ => frame(8, 0, 0, &0x7FFF_FFFF_u32.to_be_bytes()),
    };
    if dice.below(2) == 0 {
        raider.send(frame(1, 0, 1, &noise));
    } else {
        raider.send(request(1, "/sub/frames"));
    }
    for _ in 0..200 {
        if field.is_over() || !raider.send(flood.repeat(20)) {
            return;
        }
    }
}
