//! TLS, HTTP/2 and the PROXY protocol through the real server: certificates and versions as configured, client
//! certificates, reload, and every kind of subscriber over each way in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{PROMPTLY, Prefix, free_port, within};
use crate::tls_server::{self, Client, Served, TlsServer, handshake};
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, client};
use http::Request;

/// The request, and everything the server answers until it closes.
fn ask(client: Client, request: &str) -> String {
    let mut client = client;
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // The end without close_notify would be an error.
    client.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
}

/// Reads until `wanted` has come.
fn read_until(client: &mut impl Read, wanted: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let mut looked = 0;
    while !text[looked..].windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
        looked = text.len().saturating_sub(wanted.len());
        let read = client.read(&mut buffer).unwrap();
        assert!(read > 0, "closed before {wanted:?}: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn publish(server: &TlsServer, text: &str) {
    let length = text.len();
    let post =
        format!("POST /pub?id=x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    let mut plain = server.plain();
    plain.write_all(post.as_bytes()).unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn the_name_asked_for_chooses_certificate_versions_and_suites() {
    let server = TlsServer::start("");
    let a = server.client("a.example").served();
    assert_eq!(a.certificate, server.certificate("a"));
    assert_eq!((a.version.as_str(), a.suite.as_str()), ("TLSv1_3", "TLS13_AES_256_GCM_SHA384"));
    let b = server.client("b.example").served();
    assert_eq!(b.certificate, server.certificate("b"));
    assert_eq!(b.version, "TLSv1_2");
    assert_eq!(b.suite, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(server.client("unknown.example").served().certificate, server.certificate("a"));
    assert!(
        ask(server.client("b.example").connect(), &get("/").replace("a.example", "b.example"))
            .ends_with("b.example TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256 https")
    );
}

#[test]
fn a_version_that_is_not_configured_is_refused() {
    let server = TlsServer::start("");
    assert!(server.client("b.example").only_tls13().try_connect().is_err());
    assert!(server.client("a.example").only_tls13().try_connect().is_ok());
}

#[test]
fn sessions_resume_with_either_version() {
    let server = TlsServer::start("");
    for name in ["a.example", "b.example"] {
        let config = server.client(name).config();
        let full = handshake(&config, name, server.tls_port, &get("/who"));
        let resumed = handshake(&config, name, server.tls_port, &get("/who"));
        assert_eq!((full, resumed), (Served::FULL, Served::RESUMED), "{name}");
    }
}

#[test]
fn a_server_that_wants_client_certificates_refuses_others_with_a_page() {
    let server = TlsServer::start("");
    let request = get("/").replace("a.example", "c.example");
    let none = ask(server.client("c.example").connect(), &request);
    assert!(none.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{none}");
    assert!(none.contains("<center>No required SSL certificate was sent</center>"), "{none}");
    let good = ask(server.client("c.example").with_certificate("client").connect(), &request);
    assert!(good.ends_with("SUCCESS CN=client one,O=Us"), "{good}");
    let strange = ask(server.client("c.example").with_certificate("stranger").connect(), &request);
    assert!(strange.contains("<center>The SSL certificate error</center>"), "{strange}");
    let elsewhere = ask(server.client("a.example").connect(), &request);
    assert!(elsewhere.starts_with("HTTP/1.1 421 "), "{elsewhere}");
}

#[test]
fn plain_http_on_a_tls_port_is_told_so() {
    let server = TlsServer::start("");
    let mut plain = TcpStream::connect(("127.0.0.1", server.tls_port)).unwrap();
    plain.write_all(b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("<center>The plain HTTP request was sent to HTTPS port</center>"), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");

    let server = TlsServer::start("error_page 497 https://$host$request_uri;");
    let mut plain = TcpStream::connect(("127.0.0.1", server.tls_port)).unwrap();
    plain.write_all(b"GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 302 "), "{answer}");
    assert!(answer.contains("Location: https://a.example/x?y=1\r\n"), "{answer}");
}

#[test]
fn subscribers_of_every_mode_get_messages_through_tls() {
    let server = TlsServer::start("");
    let mut stream = server.client("a.example").connect();
    stream.write_all(get("/sse?id=x").as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n");
    let mut poll = server.client("a.example").connect();
    poll.write_all(get("/lp?id=x").as_bytes()).unwrap();
    let mut socket = server.client("a.example").connect();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(format!("GET /ws?id=x HTTP/1.1\r\nHost: a\r\n{upgrade}").as_bytes()).unwrap();
    read_until(&mut socket, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    server.await_subscribers(3);
    publish(&server, "one for all");
    assert!(read_until(&mut stream, "data: one for all").contains("data: one for all"));
    assert!(read_until(&mut poll, "one for all").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(read_until(&mut socket, "one for all").contains("\u{b}one for all"));
}

#[test]
fn a_message_larger_than_all_buffers_passes_through_tls() {
    let server = TlsServer::start("");
    let mut stream = server.client("a.example").connect();
    stream.write_all(get("/sse?id=x").as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n");
    server.await_subscribers(1);
    let large = "x".repeat(3_000_000);
    publish(&server, &large);
    std::thread::sleep(Duration::from_millis(300));
    let text = read_until(&mut stream, "x\n");
    assert_eq!(text.bytes().filter(|&byte| byte == b'x').count(), large.len());
}

#[test]
fn a_reload_shows_the_new_certificate_and_keeps_the_old_one_when_it_is_broken() {
    let server = TlsServer::start("");
    let old = server.certificate("a");
    let mut kept = server.client("a.example").connect();
    kept.write_all(get("/sse?id=x").as_bytes()).unwrap();
    read_until(&mut kept, "\r\n\r\n");

    server.write("a.crt", "no certificate");
    server.reload();
    server.await_log("cannot load certificate \"");
    assert_eq!(server.client("a.example").served().certificate, old);

    let new = server.renew("a");
    assert_ne!(new, old);
    server.reload();
    within(PROMPTLY, "the new certificate", || server.client("a.example").served().certificate == new);
    publish(&server, "still here");
    read_until(&mut kept, "data: still here");
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    for (file, text, message) in [
        ("a.crt", "nothing", "a.crt\": PEM_read_bio_X509_AUX() failed (no start line)"),
        ("a.key", "nothing", "a.key\": PEM_read_bio_PrivateKey() failed (no start line)"),
    ] {
        let output = TlsServer::refused(|server| server.write(file, text));
        assert!(output.contains("[emerg] cannot load certificate"), "{output}");
        assert!(output.contains(message), "{output}");
    }
    let output = TlsServer::refused(|server| {
        std::fs::copy(server.directory().join("b.key"), server.directory().join("a.key")).unwrap();
    });
    assert!(output.contains("a.key\") failed (key values mismatch)"), "{output}");
}

#[test]
fn the_proxy_protocol_names_the_client_and_is_mandatory() {
    let server = TlsServer::start("");
    let mut four = server.behind_proxy();
    four.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n").unwrap();
    four.write_all(get("/who").as_bytes()).unwrap();
    assert!(read_until(&mut four, "192.0.2.7").ends_with("192.0.2.7 192.0.2.7 4711"));
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    binary.extend([192, 0, 2, 9, 192, 0, 2, 8, 0x12, 0x67, 0, 80]);
    binary.extend(get("/who").as_bytes());
    let mut two = server.behind_proxy();
    for part in binary.chunks(5) {
        two.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(read_until(&mut two, "192.0.2.9").ends_with("192.0.2.9 192.0.2.9 4711"));
    let mut none = server.behind_proxy();
    none.write_all(get("/who").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = none.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

async fn http2(server: &TlsServer) -> client::SendRequest<Bytes> {
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", server.http2_port)).await.unwrap();
    let (client, connection) = client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

async fn body_until(body: &mut RecvStream, wanted: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.windows(wanted.len().max(1)).any(|window| window == wanted) {
        let Some(piece) = body.data().await else { break };
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test]
async fn streams_and_polls_work_over_http2() {
    let server = TlsServer::start("");
    let mut client = http2(&server).await;
    let get = |path: &str| Request::get(format!("http://a.example{path}")).body(()).unwrap();
    let (sse, _) = client.send_request(get("/sse?id=x"), true).unwrap();
    let sse = sse.await.unwrap();
    assert_eq!(sse.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert!(!sse.headers().contains_key("connection") && !sse.headers().contains_key("transfer-encoding"));
    let (poll, _) = client.send_request(get("/lp?id=x"), true).unwrap();
    server.subscribers(2).await;
    let post = Request::post("http://a.example/pub?id=x").body(()).unwrap();
    let (answer, mut sender) = client.send_request(post, false).unwrap();
    sender.send_data(Bytes::from_static(b"over two"), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let poll = poll.await.unwrap();
    assert!(poll.headers().contains_key("etag") && poll.headers().contains_key("last-modified"));
    assert_eq!(body_until(&mut poll.into_body(), b"over two").await, b"over two");
    body_until(&mut sse.into_body(), b"data: over two").await;
}

#[tokio::test]
async fn a_poll_over_http2_ends_with_304_and_a_stream_that_is_reset_unsubscribes() {
    let server = TlsServer::start("");
    let mut client = http2(&server).await;
    let (short, _) = client.send_request(Request::get("http://a/short?id=x").body(()).unwrap(), true).unwrap();
    let short = short.await.unwrap();
    assert_eq!((short.status().as_u16(), &short.headers()["content-length"]), (304, &"0".parse().unwrap()));
    for path in ["/sse?id=x", "/lp?id=x"] {
        let request = Request::get(format!("http://a{path}")).body(()).unwrap();
        let (_answer, mut sender) = client.send_request(request, true).unwrap();
        server.subscribers(1).await;
        sender.send_reset(h2::Reason::CANCEL);
        server.subscribers(0).await;
    }
}

#[tokio::test]
async fn a_websocket_works_over_http2() {
    let server = TlsServer::start("");
    let mut client = http2(&server).await;
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut connect =
        Request::connect("http://a.example/ws?id=x").header("sec-websocket-version", "13").body(()).unwrap();
    connect.extensions_mut().insert(Protocol::from_static("websocket"));
    let (answer, mut sender) = client.send_request(connect, false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("sec-websocket-accept"));
    let mut body = answer.into_body();
    server.subscribers(1).await;
    publish(&server, "through a tunnel");
    assert_eq!(body_until(&mut body, b"tunnel").await, b"\x81\x10through a tunnel");
    // A masked frame with text is published to the channel, and comes back.
    sender.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
    assert_eq!(body_until(&mut body, b"hi").await, b"\x81\x02hi");
    sender.send_data(Bytes::from_static(b"\x88\x82\0\0\0\0\x03\xe8"), false).unwrap();
    assert_eq!(body_until(&mut body, b"never").await, b"\x88\x02\x03\xe8");
    server.subscribers(0).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_over_http2() {
    let server = TlsServer::start("");
    let mut client = http2(&server).await;
    let post = Request::post("http://a.example/small?id=x").body(()).unwrap();
    let (answer, mut sender) = client.send_request(post, false).unwrap();
    sender.send_data(Bytes::from(vec![b'x'; 60_000]), false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    sender.send_data(Bytes::from_static(b"the rest"), true).unwrap();
}

#[test]
fn curl_and_openssl_agree_if_they_are_here() {
    let server = TlsServer::start("");
    let port = server.tls_port;
    if let Some(text) =
        tls_server::run("curl", &["-sk", "--http2", "-D", "-", &format!("https://127.0.0.1:{port}/who")], "")
    {
        assert!(text.starts_with("HTTP/2 200"), "{text}");
    }
    let connect = format!("127.0.0.1:{port}");
    let old = ["s_client", "-connect", &connect, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    if let Some(text) = tls_server::run("openssl", &old, "") {
        assert!(text.contains("Cipher is (NONE)"), "TLS 1.1 must be refused: {text}");
    }
    let again = ["s_client", "-connect", &connect, "-tls1_2"];
    if let Some(text) = tls_server::run("openssl", &again, "R\n") {
        assert!(text.contains("no renegotiation"), "{text}");
    }
}

#[test]
fn a_server_that_rejects_handshakes_needs_no_certificate_and_refuses_who_asks_for_it() {
    let port = free_port();
    let conf = format!(
        "daemon off; pid @DIR@/pid; error_log @DIR@/error.log info; events {{}}
        http {{
            access_log off; push_stream_shared_memory_size 8m;
            server {{ listen 127.0.0.1:{port} ssl default_server; ssl_reject_handshake on; }}
            server {{
                listen 127.0.0.1:{port} ssl; listen 127.0.0.1:@PORT@; server_name a.example;
                ssl_certificate @DIR@/own.crt; ssl_certificate_key @DIR@/own.key;
                location /sub {{ push_stream_subscriber; push_stream_channels_path $arg_id; }}
                location /pub {{ push_stream_publisher; push_stream_channels_path $arg_id; }}
            }}
        }}"
    );
    let prefix = Prefix::new("reject");
    tls_server::self_signed(&prefix.dir, "own");
    prefix.configure(&conf);
    let _running = prefix.spawn(&[]);
    within(PROMPTLY, "the server serves", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let shake = |name: &'static str| {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PROMPTLY)).unwrap();
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let mut session = rustls::ClientConnection::new(tls_server::trusting(b"http/1.1"), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        std::io::Result::Ok(())
    };
    shake("a.example").unwrap();
    let refused = shake("other.example").unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
}
