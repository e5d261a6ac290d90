//! Publishers that are ahead of the workers wait, whatever door they come by, and lose nothing by it.

use std::time::Duration;

use super::trial::with_trial;

const LOCATIONS: &str = "
    location ~ ^/pub/(.*)$ { push_stream_publisher; push_stream_channels_path $1; }
    location ~ ^/sub/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template '<~text~>'; }
    location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_websocket_allow_publish on;
        push_stream_message_template '~text~'; }
";
/// Notes after which a publisher waits.
const MANY: usize = 4096;
const MESSAGES: usize = 9000;

#[test]
fn a_websocket_that_publishes_faster_than_the_workers_deliver_waits_within_a_read() {
    with_trial(LOCATIONS, async |trial| {
        let mut reader = trial.client();
        reader.get("/sub/a").await;
        let mut publisher = trial.client();
        publisher.open_websocket("/ws/a", "").await;
        publisher.see(b"\r\n\r\n").await;
        trial.until("both are there", |trial| trial.census().subscribers == 2).await;
        // Masked with zeros; all of them fit into one read.
        let frames: Vec<u8> = (0..MESSAGES).flat_map(|_| [0x81, 0x81, 0, 0, 0, 0, b'm']).collect();
        trial.stop_delivering();
        publisher.send(&frames[..frames.len() - 7]).await;
        trial.until("it has begun", |trial| trial.published("a") > MANY).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(trial.published("a"), MANY + 1, "the rest waits");
        trial.go_on_delivering();
        publisher.send(&frames[..7]).await;
        trial.until("all are published", |trial| trial.published("a") == MESSAGES).await;
        for _ in 0..MESSAGES {
            reader.see(b"<m>").await;
        }
    });
}

#[test]
fn requests_sent_ahead_publish_no_more_than_one_read_holds_before_they_wait() {
    with_trial(LOCATIONS, async |trial| {
        let mut reader = trial.client();
        reader.get("/sub/a").await;
        trial.until("it is there", |trial| trial.census().subscribers == 1).await;
        trial.stop_delivering();
        for _ in 0..=MANY {
            trial.publish("a", b"m");
        }
        let mut publisher = trial.client();
        let request = b"POST /pub/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nm";
        publisher.send(&request.repeat(3)).await;
        trial.until("what was read is answered", |trial| trial.published("a") == MANY + 4).await;
        publisher.send(&request.repeat(3)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(trial.published("a"), MANY + 4, "the next read waits");
        trial.go_on_delivering();
        trial.until("it goes on", |trial| trial.published("a") == MANY + 7).await;
    });
}
