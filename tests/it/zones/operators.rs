//! What operators are told of zones: which there are, what is in each, and all together as before.

use serde_json::Value;

use super::{HOSTS, Site};
use crate::support::{eventually, exchange, free_port};

fn told(port: u16, target: &str) -> (String, String) {
    let answer = exchange(port, "GET", target, "").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn json(port: u16, target: &str) -> Value {
    serde_json::from_str(&told(port, target).1).unwrap()
}

#[test]
fn status_metrics_and_listings_tell_zones_apart() {
    let port = free_port();
    let http = "push_stream_status_messages on;";
    let site = Site::start(http, &HOSTS, &["--status", &format!("127.0.0.1:{port}")]);
    eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    site.publish("first.example", "a", "one");
    site.publish("chat.example", "a", "two");
    site.publish("chat2.example", "b", "three");
    let _stream = site.subscribe("chat.example", "a");
    let status = json(port, "/status");
    assert_eq!(
        (&status["channels"], &status["stored_messages"], &status["subscribers"]),
        (&3.into(), &3.into(), &1.into())
    );
    let zones: Vec<(&str, u64, u64, u64)> = status["zones"]
        .as_array()
        .unwrap()
        .iter()
        .map(|zone| {
            let number = |name: &str| zone[name].as_u64().unwrap();
            (zone["name"].as_str().unwrap(), number("channels"), number("published_messages"), number("subscribers"))
        })
        .collect();
    assert_eq!(zones, [("default", 1, 1, 0), ("chat", 2, 2, 1), ("news.v2", 0, 0, 0)]);
    let listed = |target: &str| -> Vec<String> {
        let listed = json(port, target);
        listed.as_array().unwrap().iter().map(|channel| channel["channel"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("/channels"), ["a"]);
    assert_eq!(listed("/channels?zone=default"), ["a"]);
    assert_eq!(listed("/channels?zone=chat"), ["a", "b"]);
    assert_eq!(listed("/channels?zone=news.v2"), [""; 0]);
    assert_eq!(told(port, "/channels?zone=other").0, "HTTP/1.1 404 Not Found");
    let place = json(port, "/channels?zone=chat&prefix=b")[0]["place"].clone();
    assert_eq!(json(port, &format!("/messages?zone=chat&place={place}"))["messages"][0]["text"], "three");
    assert_eq!(told(port, &format!("/messages?zone=other&place={place}")).0, "HTTP/1.1 404 Not Found");
    let metrics = told(port, "/metrics").1;
    for line in [
        "pushstreamd_zone_messages_published_total{zone=\"chat\"} 2",
        "pushstreamd_zone_channels{zone=\"default\"} 1",
        "pushstreamd_zone_subscribers{zone=\"chat\"} 1",
        "pushstreamd_zone_memory_limit_bytes{zone=\"news.v2\"} 33554432",
        "pushstreamd_messages_published_total 3",
        "pushstreamd_memory_limit_bytes 100663296",
    ] {
        assert!(metrics.lines().any(|told| told.trim_end_matches(".0") == line), "{line} in {metrics}");
    }
}

#[test]
fn one_zone_is_told_of_as_it_always_was() {
    let port = free_port();
    let site = Site::start("", &HOSTS[..2], &["--status", &format!("127.0.0.1:{port}")]);
    eventually("the operators' listener", || exchange(port, "GET", "/readyz", "").is_ok());
    site.publish("first.example", "a", "one");
    assert_eq!(json(port, "/status")["zones"].as_array().unwrap().len(), 1);
    assert!(!told(port, "/metrics").1.contains("pushstreamd_zone_"));
}
