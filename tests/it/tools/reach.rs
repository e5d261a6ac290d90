//! How the tools reach a server and what they say where it is the wrong way: passwords, redirects, the wrong scheme or mode; and that
//! what comes is printed byte for byte, to whoever reads it.

use std::process::Stdio;

use super::{Tail, prefix, publish, serve, tool, url};
use crate::support::{Prefix, Running, said};

fn guarded() -> (Prefix, Running) {
    let prefix = Prefix::new("reach");
    prefix.write("passwords", "u:{PLAIN}p:w\n");
    prefix.configure(
        "daemon off; pid logs/nginx.pid; error_log logs/error.log notice; events { }
        http {
            push_stream_shared_memory_size 16m;
            server {
                listen 127.0.0.1:@PORT@; auth_basic x; auth_basic_user_file passwords;
                location /pub { push_stream_publisher; push_stream_channels_path $arg_id; push_stream_store_messages on; }
                location /old { auth_basic off; return 301 /pub?id=$arg_id; }
                location /poll { push_stream_subscriber long-polling; push_stream_channels_path $arg_id; }
                location /ws { push_stream_subscriber websocket; push_stream_channels_path $arg_id; push_stream_message_template '~text~'; }
            }
        }",
    );
    let running = serve(&prefix);
    (prefix, running)
}

#[test]
fn a_password_in_the_url_is_sent_and_shown_nowhere() {
    let (prefix, _server) = guarded();
    let of = |user: &str, path: &str| format!("http://{user}{}{path}", prefix.address());
    let publish = |user: &str, path: &str| tool(&["pub", "--url", &of(user, path), "a", "x"]).output().unwrap();
    let refused = publish("", "/pub?id={}");
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("401 Unauthorized; user:password@ before the host"), "{}", said(&refused));
    let wrong = publish("u:secret@", "/pub?id={}");
    assert!(said(&wrong).contains("401") && !said(&wrong).contains("secret"), "{}", said(&wrong));
    assert!(publish("u:p@", "/pub?id={}").status.success());
    for (mode, path) in [("long-polling", "/poll?id={}"), ("websocket", "/ws?id={}")] {
        let tail = Tail::start(&prefix, &["tail", "--mode", mode, "--url", &of("u:p@", path), "a"]);
        tail.has_said("connected to 127.0.0.1:");
        assert!(publish("u:p@", "/pub?id={}").status.success());
        assert_eq!(tail.line(), "x");
    }
}

#[test]
fn the_wrong_way_to_a_server_is_told_with_the_right_one() {
    let (prefix, _server) = guarded();
    let at = prefix.address();
    for (url, why) in [
        (format!("http://{at}/old?id={{}}"), "301 the server sends on to http".to_owned()),
        (format!("https://{at}/pub?id={{}}"), "it does not speak TLS: the URL may begin with http://".to_owned()),
        (format!("{at}/pub?id={{}}"), "a URL begins with http://".to_owned()),
        ("http://127.0.0.1:1/{}".to_owned(), "127.0.0.1:1: connection refused: nothing listens there".to_owned()),
    ] {
        let output = tool(&["pub", "--url", &url, "a", "x"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(said(&output).contains(&why) && said(&output).lines().count() == 1, "{url}: {}", said(&output));
    }
    let output = tool(&["pub", "--file", "/", "a"]).output().unwrap();
    assert!(said(&output).starts_with("pushstreamd: /: Is a directory"), "{}", said(&output));
    let long = format!("http://u:p@{at}/poll?id={{}}");
    let tail = Tail::start(&prefix, &["tail", "--mode", "streaming", "--url", &long, "a"]);
    tail.has_said("has not answered for a while: is streaming the mode of this URL?");
}

#[test]
fn what_is_published_comes_out_byte_for_byte_however_long_it_is() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let mut bytes: Vec<u8> = (0..=255).cycle().take(400_000).collect();
    bytes.push(b' ');
    prefix.write("bytes", "");
    std::fs::write(prefix.path("bytes"), &bytes).unwrap();
    let file = prefix.path("bytes").to_string_lossy().into_owned();
    assert!(publish(&prefix, "bytes", &["--file", &file], "").status.success());
    let url = url(&prefix, "/poll?id={}");
    let words = ["tail", "--from", "start", "--count", "1", "--url", &url, "bytes"];
    let output = tool(&words).stderr(Stdio::null()).output().unwrap();
    bytes.push(b'\n');
    assert!(output.stdout == bytes, "{} bytes of {}", output.stdout.len(), bytes.len());
}

#[test]
fn a_publisher_whose_answers_nobody_reads_publishes_all_the_same() {
    let prefix = prefix();
    let _server = serve(&prefix);
    let url = url(&prefix, "/pub?id={}");
    let mut child = tool(&["pub", "--lines", "--url", &url, "unread"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"1\n2\n3\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let stats = prefix.request("GET", "/stats?id=unread", "").unwrap();
    assert!(stats.contains("\"stored_messages\": 3"), "{stats}");
}
