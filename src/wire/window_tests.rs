//! A client of HTTP/2 that opens no window, or not enough of one, is found like any other that does not read.

use bytes::Bytes;
use h2::SendStream;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::ext::Protocol;
use hyper::http::Request;
use tokio::io::AsyncWriteExt;

use super::trial::{Trial, with_trial};
use crate::delivery::{AddressBounds, held};
use crate::metrics::Cause;

/// With so many milliseconds for a client that takes nothing.
fn locations(send_timeout: u64) -> String {
    format!("{LOCATIONS} send_timeout {send_timeout}ms;")
}

const LOCATIONS: &str = "
    keepalive_timeout 300ms;
    location ~ ^/pub/(.*)$ { push_stream_publisher; push_stream_channels_path $1; }
    location = /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/sub/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/poll/(.*)$ { push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
";

/// A client whose streams begin with this window.
async fn client(trial: &Trial, window: u32) -> SendRequest<Bytes> {
    let (client, connection) =
        client::Builder::new().initial_window_size(window).handshake(trial.http2()).await.unwrap();
    tokio::task::spawn_local(connection);
    client.ready().await.unwrap()
}

/// A websocket on a channel.
fn websocket(client: &mut SendRequest<Bytes>, target: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::connect(format!("http://h{target}"))
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    client.send_request(request.body(()).unwrap(), false).unwrap()
}

fn get(target: &str) -> Request<()> {
    Request::get(format!("http://h{target}")).body(()).unwrap()
}

#[test]
fn a_subscriber_that_opens_no_window_is_reset_and_its_subscription_is_over() {
    for window in [0, 100] {
        with_trial(&locations(300), async |trial| {
            let mut client = client(trial, window).await;
            let (first, _) = client.send_request(get("/sub/a"), true).unwrap();
            let (second, _) = client.send_request(get("/sub/a"), true).unwrap();
            let (other, _) = client.send_request(get("/sub/b"), true).unwrap();
            let (first, second, other) = (first.await.unwrap(), second.await.unwrap(), other.await.unwrap());
            assert_eq!(trial.census().subscribers, 3);
            trial.publish("a", &[b'x'; 1000]);
            trial.until("both are cut off", |trial| trial.tally.totals().cut(Cause::SendTimeout) == 2).await;
            trial.until("both are gone", |trial| trial.census().subscribers == 1).await;
            for mut answer in [first, second] {
                while let Some(data) = answer.body_mut().data().await {
                    if let Err(error) = data {
                        assert!(error.is_reset(), "{error}");
                        break;
                    }
                }
            }
            drop(other);
        });
    }
}

#[test]
fn a_subscriber_for_whom_nothing_waits_may_keep_its_window_shut() {
    with_trial(&locations(300), async |trial| {
        let mut client = client(trial, 0).await;
        let (answer, _) = client.send_request(get("/sub/a"), true).unwrap();
        let mut answer = answer.await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(800)).await;
        assert_eq!(trial.census().subscribers, 1);
        trial.publish("a", b"news");
        answer.body_mut().flow_control().release_capacity(0).unwrap();
        trial.until("it is cut off", |trial| trial.tally.totals().cut(Cause::SendTimeout) == 1).await;
    });
}

#[test]
fn an_answer_that_nobody_takes_ends_with_its_connection() {
    with_trial(&locations(300), async |trial| {
        let mut client = client(trial, 0).await;
        let (answer, _) = client.send_request(get("/stats"), true).unwrap();
        let answer = answer.await.unwrap();
        trial.until("it is cut off", |trial| trial.tally.totals().cut(Cause::SendTimeout) == 1).await;
        trial.until("its connection is closed", |trial| trial.worker.connections() == 0).await;
        drop(answer);
    });
}

#[test]
fn a_connection_that_takes_nothing_is_let_go_however_much_it_says() {
    with_trial(&locations(400), async |trial| {
        trial.publish("a", &vec![b'x'; 8 << 20]);
        let mut socket = trial.http2();
        let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
        let window = [&[0, 0, 4, 8, 0, 0, 0, 0, 0][..], &0x4000_0000_u32.to_be_bytes()].concat();
        // GET http /sub/a.b1, literally.
        let block = [&[0x82, 0x86, 0x04, 9][..], b"/sub/a.b1", &[0x01, 1], b"h"].concat();
        let request = [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1][..], &block].concat();
        let hello = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &window, &request].concat();
        socket.write_all(&hello).await.unwrap();
        trial.until("it is there", |trial| trial.census().subscribers == 1).await;
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"12345678"].concat();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while trial.worker.connections() > 0 {
            assert!(std::time::Instant::now() < until, "it stays");
            // Which it need not read any more.
            let _ = socket.try_write(&ping);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        trial.until("nothing is left", |trial| trial.worker.entered() == 0 && held() == 0).await;
    });
}

#[test]
fn what_http2_holds_for_a_socket_that_is_full_counts_for_its_connection() {
    with_trial(&locations(60_000), async |trial| {
        trial.worker.set_bounds(900_000, AddressBounds::default());
        let mut other = trial.client();
        other.get("/sub/b").await;
        let (blocked, mut connection) = h2::client::Builder::new()
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30)
            .handshake::<_, Bytes>(trial.http2())
            .await
            .unwrap();
        let mut blocked = blocked.ready().await.unwrap();
        let mut answers = Vec::new();
        for number in 0..100 {
            answers.push(blocked.send_request(get(&format!("/sub/c{number}")), true).unwrap());
        }
        // It sends its requests and is heard no more: nobody reads what comes for it.
        let asking = std::future::poll_fn(|cx| {
            let _ = std::pin::Pin::new(&mut connection).poll(cx);
            if trial.census().subscribers == 101 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        let asked = tokio::time::timeout(std::time::Duration::from_secs(5), async {
            tokio::select! { () = asking => {}, () = trial.until("all ask", |trial| trial.census().subscribers == 101) => {} }
        });
        asked.await.unwrap();
        for number in 0..100 {
            trial.publish(&format!("c{number}"), &vec![b'x'; 20_000]);
            // One after another: what each stream has goes down to HTTP/2, and no stream holds much.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        trial.until("it is let go", |trial| trial.census().subscribers == 1 && trial.worker.connections() == 1).await;
        trial.publish("b", b"news");
        other.see(b"<news>").await;
        trial.until("what it held is given back", |_| held() < 1000).await;
    });
}

#[test]
fn a_websocket_that_opens_no_window_is_reset_by_its_first_message() {
    for window in [0, 100] {
        with_trial(&locations(300), async |trial| {
            let mut client = client(trial, window).await;
            let (answer, sending) = websocket(&mut client, "/ws/a");
            let mut answer = answer.await.unwrap();
            trial.publish("a", &[b'x'; 1000]);
            trial.until("it is cut off", |trial| trial.tally.totals().cut(Cause::SendTimeout) == 1).await;
            trial.until("it is gone", |trial| trial.census().subscribers == 0).await;
            let ended = loop {
                match answer.body_mut().data().await {
                    Some(Ok(_)) => {}
                    ended => break ended,
                }
            };
            assert!(ended.is_some_and(|ended| ended.unwrap_err().is_reset()));
            drop(sending);
        });
    }
}

#[test]
fn a_publish_that_is_cancelled_within_its_body_publishes_nothing() {
    with_trial(&locations(300), async |trial| {
        for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR, h2::Reason::INTERNAL_ERROR] {
            let mut client = client(trial, 65_535).await;
            let request = Request::post("http://h/pub/a").body(()).unwrap();
            let (_, mut body) = client.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            // Half of it has come before the reset does.
            let (answer, _) = client.send_request(get("/stats"), true).unwrap();
            answer.await.unwrap();
            body.send_reset(reason);
            let (answer, _) = client.send_request(get("/stats"), true).unwrap();
            answer.await.unwrap();
        }
        trial.until("all are gone", |trial| trial.worker.connections() == 0).await;
        assert_eq!(trial.census().published, 0);
    });
}

#[test]
fn a_reader_that_opens_its_window_a_little_at_a_time_gets_everything() {
    with_trial(&locations(1_200), async |trial| {
        let mut client = client(trial, 20_000).await;
        let (answer, _) = client.send_request(get("/sub/a"), true).unwrap();
        let mut answer = answer.await.unwrap();
        trial.publish("a", &vec![b'x'; 100_000]);
        let mut seen = 0;
        while seen < 100_002 {
            let data = answer.body_mut().data().await.unwrap().unwrap();
            seen += data.len();
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            answer.body_mut().flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(trial.tally.totals().cut(Cause::SendTimeout), 0);
    });
}

#[test]
fn deliveries_over_http2_are_timed_unless_they_wait_for_the_client() {
    with_trial(&locations(300_000), async |trial| {
        let timed = |count: u64| move |trial: &Trial| trial.tally.totals().delay.count() == count;
        let mut open = client(trial, 65_535).await;
        let (stream, _) = open.send_request(get("/sub/a"), true).unwrap();
        let (poll, _) = open.send_request(get("/poll/a"), true).unwrap();
        let (socket, _sender) = websocket(&mut open, "/ws/a");
        let (mut stream, mut socket) = (stream.await.unwrap(), socket.await.unwrap());
        trial.until("all wait", |trial| trial.census().subscribers == 3).await;
        trial.publish("a", b"one");
        assert!(stream.body_mut().data().await.unwrap().unwrap().ends_with(b"<one>"));
        assert!(poll.await.unwrap().body_mut().data().await.unwrap().unwrap().ends_with(b"<one>"));
        assert!(socket.body_mut().data().await.unwrap().unwrap().ends_with(b"<one>"));
        trial.until("three are timed", timed(3)).await;
        let mut shut = client(trial, 0).await;
        let (waiting, _) = shut.send_request(get("/sub/b"), true).unwrap();
        let mut waiting = waiting.await.unwrap();
        trial.publish("b", b"two");
        trial.until("it waits", |trial| trial.worker.waiting() > 0).await;
        shut.send_request(get("/sub/a"), true).unwrap().0.await.unwrap();
        trial.publish("a", b"three");
        trial.until("who reads is timed", timed(5)).await;
        waiting.body_mut().flow_control().release_capacity(0).unwrap();
    });
}
