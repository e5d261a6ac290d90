//! A panic below one request or one delivery ends that connection; it is counted, and nobody else notices.

use std::sync::Arc;

use hyper::http::{Request, StatusCode};
use parking_lot::Mutex;

use super::trial::{Trial, with_trial};
use crate::metrics::Cause;
use crate::model::provoked;

const LOCATIONS: &str = "
    location = /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/sub/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/zip/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template '<~text~>';
        default_type text/plain; gzip on; gzip_types *; gzip_min_length 0; }
    location ~ ^/poll/(.*)$ { push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_message_template '<~text~>';
        push_stream_websocket_deflate on; push_stream_websocket_allow_publish on; }
";

/// A panic has been counted, and the connections and subscriptions that are left are these.
async fn only_one_is_gone(trial: &Trial, connections: usize, subscribers: u64) {
    assert!(!provoked::is_armed(), "the place was not reached");
    let counted = |trial: &Trial| trial.tally.totals().cut(Cause::Panic);
    trial
        .until("one connection is gone", |trial| {
            counted(trial) == 1 && trial.worker.entered() == connections && trial.census().subscribers == subscribers
        })
        .await;
}

#[test]
fn a_panic_while_a_message_is_made_for_one_subscriber_leaves_the_batch_to_all_others() {
    for (place, target, more) in [
        ("render", "/sub/a", ""),
        ("delivery", "/sub/a", ""),
        ("compression", "/zip/a", "Accept-Encoding: gzip\r\n"),
        ("render", "/poll/a", ""),
    ] {
        with_trial(LOCATIONS, async |trial| {
            let mut victim = trial.client();
            victim.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{more}\r\n").as_bytes()).await;
            trial.until("the victim has subscribed", |trial| trial.census().subscribers == 1).await;
            let (mut same, mut other) = (trial.client(), trial.client());
            same.get("/sub/a").await;
            other.get("/sub/b").await;
            trial.until("all have subscribed", |trial| trial.census().subscribers == 3).await;
            provoked::arm(place);
            for (channel, text) in [("a", "one"), ("b", "two"), ("a", "three")] {
                trial.publish(channel, text.as_bytes());
            }
            same.see(b"<one>").await;
            same.see(b"<three>").await;
            other.see(b"<two>").await;
            victim.rest().await;
            only_one_is_gone(trial, 2, 2).await;
        });
    }
}

/// What is told by this thread from now on.
fn overheard() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Arc::<Mutex<Vec<u8>>>::default();
    let writer = Arc::clone(&lines);
    let told = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Sink(Arc::clone(&writer))).finish();
    (lines, tracing::subscriber::set_default(told))
}

#[test]
fn a_panic_is_told_once_with_the_reason_that_is_counted() {
    let (lines, _told) = overheard();
    with_trial(LOCATIONS, async |trial| {
        let mut victim = trial.client();
        victim.get("/sub/a").await;
        trial.until("it has subscribed", |trial| trial.census().subscribers == 1).await;
        provoked::arm("render");
        trial.publish("a", b"one");
        victim.rest().await;
        only_one_is_gone(trial, 0, 0).await;
        let of_panic = |mode: &[u64]| mode.get(Cause::Panic as usize).copied();
        assert_eq!(trial.tally.totals().ended.iter().filter_map(|mode| of_panic(&mode[..])).sum::<u64>(), 1);
    });
    let lines = String::from_utf8(lines.lock().clone()).unwrap();
    let told: Vec<_> = lines.lines().filter(|line| line.contains("mode=streaming")).collect();
    assert!(told.len() == 1 && told[0].contains("reason=panic") && told[0].contains("ERROR"), "{lines}");
}

#[test]
fn a_panic_while_a_request_is_answered_ends_its_connection_alone() {
    with_trial(LOCATIONS, async |trial| {
        let (mut victim, mut other) = (trial.client(), trial.client());
        provoked::arm("statistics");
        victim.get("/stats").await;
        assert_eq!(victim.rest().await, b"");
        other.get("/stats").await;
        other.see(b"200 OK").await;
        only_one_is_gone(trial, 1, 0).await;
    });
}

#[test]
fn a_panic_while_history_is_made_leaves_no_subscription_behind() {
    for (target, deflate) in [("/ws/a", true), ("/ws/a", false), ("/sub/a", false), ("/zip/a", false)] {
        with_trial(LOCATIONS, async |trial| {
            trial.publish("a", &[b'x'; 200]);
            let mut victim = trial.client();
            provoked::arm("render");
            let since = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
            if target.starts_with("/ws") {
                let extension = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
                victim.open_websocket(target, &format!("{since}{extension}")).await;
            } else {
                victim.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{since}\r\n").as_bytes()).await;
            }
            let seen = victim.rest().await;
            assert!(
                !target.starts_with("/ws") || seen.starts_with(b"HTTP/1.1 101 "),
                "what stands before has been sent"
            );
            only_one_is_gone(trial, 0, 0).await;
        });
    }
}

#[test]
fn a_panic_in_one_stream_of_http2_resets_that_stream_alone() {
    with_trial(LOCATIONS, async |trial| {
        let (mut client, connection) = h2::client::handshake(trial.http2()).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = |target: &str| Request::get(format!("http://h{target}")).body(()).unwrap();
        let (waiting, _) = client.send_request(request("/sub/a"), true).unwrap();
        trial.until("the subscriber is there", |trial| trial.census().subscribers == 1).await;
        provoked::arm("http2");
        let (victim, _) = client.send_request(request("/stats"), true).unwrap();
        assert!(victim.await.unwrap_err().is_reset());
        let (answer, _) = client.send_request(request("/stats"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
        trial.publish("a", b"news");
        let mut body = waiting.await.unwrap().into_body();
        assert!(body.data().await.unwrap().unwrap().ends_with(b"<news>"));
        only_one_is_gone(trial, 2, 1).await;
    });
}
