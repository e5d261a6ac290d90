//! Which version of the module a configuration is for, and what its words meant there.

use super::*;

#[test]
fn names_of_03_mean_what_they_meant() {
    let Loaded { settings, .. } = loaded_as(OLD, None, false);
    assert_eq!(settings.compat.line, Line::V034);
    assert_eq!((settings.zone.memory, &*settings.zone.wildcard_prefix), (32 << 20, &b"all_"[..]));
    assert_eq!((settings.zone.max_wildcard_channels, settings.zone.ping_text.len()), (Some(5), 0));
    let locations = &server(&settings).locations.prefixes;
    let at = |uri: &[u8]| {
        locations
            .iter()
            .find(|location| matches!(&location.matched, Match::Prefix(prefix) if &**prefix == uri))
            .unwrap()
    };
    let publisher = &at(b"/pub").push;
    let path = publisher.channels_path.as_ref().unwrap();
    assert!(!path.decode && !path.split);
    assert_eq!((publisher.keepalive, publisher.content_type.as_deref()), (Some(true), Some("text/plain")));
    assert_eq!(publisher.wildcard_channel_max_qtd, Some(5));
    let subscriber = at(b"/sub");
    assert_eq!(subscriber.handler, Handler::Subscriber(Mode::EventSource));
    assert!(!subscriber.push.channels_path.as_ref().unwrap().decode);
    assert_eq!((subscriber.push.paddings.len(), subscriber.push.keepalive), (2, Some(false)));
    let polling = at(b"/lp");
    assert_eq!(polling.handler, Handler::Subscriber(Mode::LongPolling));
    assert!(polling.push.eventsource_support);
    assert_eq!(at(b"/ws").handler, Handler::Subscriber(Mode::WebSocket));
    assert_eq!(settings.largest_padding, 4097);
}

#[test]
fn the_line_is_told_by_the_names_or_by_the_operator() {
    let line = |text: &str, compat| loaded_as(text, compat, false).settings.compat.line;
    assert_eq!(line("events {}", None), Line::V05);
    assert_eq!(line(OLD, Some(Line::V035)), Line::V035);
    let with_035 = OLD.replace(
        "push_stream_broadcast_channel_prefix",
        "push_stream_channel_inactivity_time 9; push_stream_broadcast_channel_prefix",
    );
    assert_eq!(line(&with_035, None), Line::V035);
    let ordinary = "events {} http { server { set $push_stream_channel_id $arg_id; location / {
        push_stream_publisher; push_stream_channels_path $push_stream_channel_id; } } push_stream_shared_memory_size 1m; }";
    assert_eq!(line(ordinary, None), Line::V05);
}

#[test]
fn the_newest_words_tell_the_line() {
    let wire = |text: &str| {
        let loaded = loaded_as(text, None, false);
        (loaded.settings.compat.line, loaded.wire.text)
    };
    let push = "push_stream_shared_memory_size 8m; server { location /p { push_stream_publisher;";
    let left_over = format!(
        "events {{}} http {{ {push} push_stream_channels_path $arg_id; set $push_stream_channel_id x; }} }} }}"
    );
    let (line, told) = wire(&left_over);
    assert_eq!(line, Line::V05);
    assert!(
        told.contains("\"push_stream_channels_path\" in ")
            && told.contains("newer than \"set $push_stream_channel_id\"")
    );
    let mode = format!(
        "events {{}} http {{ {push} }} location /s {{ push_stream_subscriber eventsource; \
         set $push_stream_channels_path x; }} }} push_stream_channels_path x; }}"
    );
    assert_eq!(wire(&mode).0, Line::V05);
    let (line, told) = wire(OLD);
    assert!(line == Line::V034 && told.starts_with("the wire is that of 0.3.4, by \"push_stream_"), "{told}");
    assert_eq!(wire("events {}").1, "the wire is that of 0.5 and 0.6, by no word of an older version");
}

#[test]
fn names_of_01_and_02_are_read_where_those_versions_had_them() {
    let text = "events {} http { push_stream_max_reserved_memory 10m; server { listen 8080;
        location /pub { set $push_stream_channel_id $arg_id; push_stream_publisher; push_stream_store_messages on;
            push_stream_max_message_buffer_length 20; push_stream_min_message_buffer_timeout 5m; }
        location ~ /sub/(.*) { set $push_stream_channels_path $1; push_stream_subscriber;
            push_stream_max_channel_id_length 200; push_stream_broadcast_channel_prefix broad_;
            push_stream_max_message_buffer_length 10; } } }";
    let Loaded { settings, notes, .. } = loaded_as(text, None, false);
    let zone = &settings.zone;
    assert_eq!((zone.memory, zone.max_messages_per_channel, zone.message_ttl), (10 << 20, Some(20), 300));
    assert_eq!((zone.max_channel_id_length, &*zone.wildcard_prefix), (Some(200), &b"broad_"[..]));
    let told = "\"push_stream_max_message_buffer_length\" counts for all locations";
    assert!(notes.iter().any(|note| note.text.starts_with(told)), "{notes:?}");
    // Later versions have them in http alone.
    let later = text
        .replace("push_stream_max_reserved_memory", "push_stream_shared_memory_size")
        .replace("push_stream_max_message_buffer_length", "push_stream_max_messages_stored_per_channel")
        .replace("push_stream_min_message_buffer_timeout", "push_stream_message_ttl");
    let options = LoadOptions { text: Some(later), ..LoadOptions::default() };
    let refused = load(&options).unwrap_err().to_string();
    assert!(
        refused.starts_with("\"push_stream_max_messages_stored_per_channel\" directive is not allowed here"),
        "{refused}"
    );
}
