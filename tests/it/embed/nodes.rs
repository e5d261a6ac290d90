//! Applications, and a server, that share channels over a real Redis.

use super::*;
use crate::nodes::node::Node;
use crate::nodes::redis::Redis;

fn conf(redis: &Redis) -> String {
    let own =
        format!("push_stream_message_ttl 10m; push_stream_backplane {}; push_stream_state never-used;", redis.url());
    format!("events {{}} http {{ push_stream_shared_memory_size 8m; {own} server {{ listen 81; {SERVER} }} }}")
}

fn node(redis: &Redis, runtime: &Runtime) -> PushStream {
    let push = PushStream::from_text(&conf(redis)).unwrap();
    runtime.block_on(push.joined());
    push
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn applications_and_servers_share_channels_in_one_order() {
    let (redis, runtime) = (Redis::start(), runtime());
    let server = Node::start(&redis.url());
    let one = Application::of(node(&redis, &runtime), PushStream::router);
    let two = node(&redis, &runtime);
    let mut at_server = server.subscribe("a");
    let mut at_one = Client::open(one.address, PATIENCE);
    at_one.send_request("GET /sub/a", &[], b"");
    at_one.head();
    let mut at_two = two.subscribe("a", Start::Now).unwrap();
    let published = runtime.block_on(one.push.publish_in_turn("a", "of one")).unwrap();
    assert_eq!((published.published_messages, published.stored_messages), (1, 1));
    server.publish("a", "of the server");
    let tagged = runtime.block_on(two.publish_event_in_turn("a", "of two", Some("e3"), None)).unwrap();
    assert_eq!(tagged.published_messages, 3);
    let reply = one.connect().ask("POST /pub?id=a", &[], b"over HTTP");
    assert_eq!(reply.status, 200, "{}", reply.head);
    let texts = ["of one", "of the server", "of two", "over HTTP"];
    for (number, text) in (1..).zip(texts) {
        let message = runtime.block_on(at_two.next()).unwrap();
        assert_eq!((message.id, &message.text[..]), (number, text.as_bytes()));
        at_one.until(&format!("{number}:{text}"));
        at_server.until(&format!("{number} a {text}\n"));
    }
    // Who comes later has it all; nothing is done at once.
    let late = node(&redis, &runtime);
    let mut stored = late.subscribe("a", Start::Stored).unwrap();
    for text in texts {
        assert_eq!(&runtime.block_on(stored.next()).unwrap().text[..], text.as_bytes());
    }
    assert!(matches!(late.publish("a", "x"), Err(Error::InTurn)));
    assert!(matches!(late.delete("a"), Err(Error::InTurn)));
    assert_eq!(runtime.block_on(late.delete_in_turn("a")).ok(), Some(true));
    assert!(runtime.block_on(at_two.next()).is_none());
    assert_eq!(at_two.end(), Some(End::Deleted));
    at_one.until("Channel deleted");
    at_server.until("Channel deleted");
    // No node has it any more.
    assert_eq!(runtime.block_on(late.delete_in_turn("a")).ok(), Some(false));
    let nodes = || server.backplane()["nodes"].as_array().unwrap().len();
    eventually("all are nodes", || nodes() == 4);
    runtime.block_on(late.shutdown());
    assert!(matches!(runtime.block_on(late.publish_in_turn("a", "x")), Err(Error::Refused(_))));
    drop(two);
    eventually("two have left", || nodes() == 2);
    assert!(!std::path::Path::new("never-used").exists());
}

#[test]
fn an_application_without_its_backplane_is_told_and_goes_on_with_it() {
    let (mut redis, runtime) = (Redis::durable(), runtime());
    let push = node(&redis, &runtime);
    runtime.block_on(push.publish_in_turn("a", "one")).unwrap();
    let mut seen = push.subscribe("a", Start::Stored).unwrap();
    redis.kill();
    eventually("it is away", || matches!(runtime.block_on(push.publish_in_turn("a", "x")), Err(Error::Away(_))));
    assert_eq!(&runtime.block_on(seen.next()).unwrap().text[..], b"one");
    // Another one has nobody to ask.
    let early = PushStream::from_text(&conf(&redis)).unwrap();
    assert!(matches!(early.subscribe("a", Start::Now), Err(Error::Away(_))));
    assert!(matches!(runtime.block_on(early.publish_in_turn("a", "x")), Err(Error::Away(_))));
    redis.go_on();
    runtime.block_on(early.joined());
    eventually("it is back", || runtime.block_on(push.publish_in_turn("a", "two")).is_ok());
    assert_eq!(&runtime.block_on(seen.next()).unwrap().text[..], b"two");
    eventually("the other one has it", || early.channel("a").is_some_and(|channel| channel.published_messages == 2));
}

#[test]
fn a_backplane_that_cannot_be_used_is_an_error_of_loading() {
    let conf = "events {} http { push_stream_shared_memory_size 8m; push_stream_backplane rediss://h;
        push_stream_backplane_ca /nonexistent/ca.pem; server {} }";
    assert!(matches!(PushStream::from_text(conf), Err(Error::Backplane(_))));
}
