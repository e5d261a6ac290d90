//! What `doctor` says of what stands in front: Debian's nginx as people write it, and something that holds everything back.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::doctor::{doctor, finding};
use super::{LOCATIONS, MODES, prefix, serve, url};
use crate::support::{Prefix, Running, eventually, free_port, nginx};

/// Grade, what was found, and what to do.
fn front(prefix: &Prefix, url: &str, mode: &str) -> [String; 3] {
    let publish = super::url(prefix, "/pub?id={}");
    let (code, found) = doctor(prefix, &["--url", url, "--mode", mode, "--publish-url", &publish]);
    let front = finding(&found, "front");
    let told = ["grade", "found", "advice"].map(|member| front[member].as_str().unwrap_or_default().to_owned());
    assert!(told[0] == "fine" || code == Some(1), "{front}");
    told
}

#[test]
fn a_doctor_sees_that_a_message_comes_at_once_in_each_mode() {
    let prefix = prefix();
    let _server = serve(&prefix);
    for (mode, path) in MODES {
        let [grade, found, _] = front(&prefix, &url(&prefix, path), mode);
        assert!(grade == "fine" && found.contains(" ms"), "{mode}: {found}");
    }
}

#[test]
fn a_doctor_sees_what_waits_for_whole_answers() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let port = holding_back(prefix.port);
    let [grade, found, advice] = front(&prefix, &format!("http://127.0.0.1:{port}/stream?id={{}}"), "streaming");
    assert!(grade == "bad" && advice.contains("proxy_buffering off"), "{found}: {advice}");
}

/// The port of something in front that reads an answer to its end before it passes anything on.
fn holding_back(server: u16) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut upstream = std::net::TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (mut requests, mut to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut requests, &mut to_server));
                let mut whole = Vec::new();
                let _ = std::io::Read::read_to_end(&mut upstream, &mut whole);
                let _ = (&client).write_all(&whole);
            });
        }
    });
    port
}

/// Debian's nginx in front of a port, with these lines beside its `proxy_pass`.
struct Nginx {
    own: Prefix,
    _running: Running,
}

impl Nginx {
    fn before(port: u16, lines: &str) -> Self {
        let own = Prefix::new("tools-nginx");
        own.configure(&format!(
            "daemon off; pid logs/nginx.pid; error_log logs/error.log; events {{ }} http {{ access_log off;
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
             server {{ listen 127.0.0.1:@PORT@; location / {{ proxy_pass http://127.0.0.1:{port}; {lines} }} }} }}"
        ));
        let started = Command::new(nginx())
            .arg("-p")
            .arg(&own.dir)
            .arg("-c")
            .arg(own.path("nginx.conf"))
            .args(["-g", "master_process off;"])
            .stdin(Stdio::null())
            .spawn();
        let running = Running(started.unwrap());
        eventually("nginx serves", || std::net::TcpStream::connect(own.address()).is_ok());
        Self { own, _running: running }
    }
}

#[test]
fn a_doctor_tells_nginx_in_front_that_holds_back_from_one_that_does_not() {
    const HANDSHAKE: &str =
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
    let prefix = prefix();
    let _server = serve(&prefix);
    let dead = free_port();
    let cases = [
        // The server says by X-Accel-Buffering that nothing is to be held back.
        ("streaming", prefix.port, "", "fine", ""),
        ("eventsource", prefix.port, "", "fine", ""),
        ("long-polling", prefix.port, "", "fine", ""),
        ("streaming", prefix.port, "proxy_ignore_headers X-Accel-Buffering;", "bad", "proxy_buffering off"),
        ("streaming", prefix.port, "proxy_ignore_headers X-Accel-Buffering; proxy_buffering off;", "fine", ""),
        ("long-polling", prefix.port, "proxy_ignore_headers X-Accel-Buffering;", "fine", ""),
        ("websocket", prefix.port, "", "bad", "Upgrade $http_upgrade"),
        ("websocket", prefix.port, HANDSHAKE, "fine", ""),
        ("long-polling", dead, "", "bad", "does not reach the server behind it"),
    ];
    std::thread::scope(|scope| {
        for (mode, port, lines, grade, advice) in cases {
            let prefix = &prefix;
            scope.spawn(move || {
                let nginx = Nginx::before(port, lines);
                let (_, path) = MODES.into_iter().find(|(name, _)| *name == mode).unwrap();
                let told = front(prefix, &url(&nginx.own, path), mode);
                assert!(told[0] == grade && told[2].contains(advice), "{mode} {lines:?}: {told:?}");
            });
        }
    });
}

#[test]
fn a_doctor_finds_an_untuned_nginx_before_a_server_that_does_not_tell_it_to_pass_on() {
    let prefix = Prefix::new("tools-strict");
    prefix.configure(&format!(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log; events {{ }}
         http {{ push_stream_shared_memory_size 16m; server {{ listen 127.0.0.1:@PORT@; {LOCATIONS} }} }}"
    ));
    let _server = prefix.spawn(&["--strict"]);
    prefix.wait_until_serving();
    let nginx = Nginx::before(prefix.port, "");
    let [grade, found, advice] = front(&prefix, &url(&nginx.own, "/stream?id={}"), "streaming");
    assert!(grade == "bad" && advice.contains("proxy_buffering off"), "{found}: {advice}");
}

#[test]
fn a_doctor_who_cannot_publish_still_tells_the_rest() {
    let prefix = prefix();
    let nobody = format!("http://127.0.0.1:{}/pub?id={{}}", free_port());
    let (code, found) = doctor(&prefix, &["--url", &nobody, "--publish-url", &nobody]);
    let front: &Value = finding(&found, "front");
    assert!(front["found"].as_str().unwrap().contains("nothing could be published"), "{front}");
    assert_eq!((code, finding(&found, "configuration")["grade"].as_str()), (Some(1), Some("fine")));
}
