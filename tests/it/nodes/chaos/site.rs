//! What the nodes are: a server for each zone with all modes, a history that nothing falls out of, and what a change of the configuration changes.

use super::ZONES;
use crate::nodes::node::Node;
use crate::support::TEMPLATE;

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location ~ ^/streaming/(.*) { push_stream_subscriber; push_stream_channels_path $1; }
    location ~ ^/polling/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; }
    location ~ ^/long-polling/(.*) {
        push_stream_subscriber long-polling; push_stream_longpolling_connection_ttl 2s; push_stream_channels_path $1;
    }
    location ~ ^/eventsource/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/websocket/(.*) { push_stream_subscriber websocket; push_stream_channels_path $1; }";

/// A node that has joined.
pub fn node(backplane: &str) -> Node {
    let node = Node::configured(&["--backplane", backplane], &configuration(0));
    node.await_ready();
    node
}

/// The configuration after so many changes: a zone comes and goes, servers change places, pings come at another pace.
pub fn configuration(changes: usize) -> String {
    let server = |host: &str, zone: &str| {
        format!("server {{ listen 127.0.0.1:@PORT@; server_name {host}; push_stream_zone {zone}; {LOCATIONS} }}\n")
    };
    let [first, chat] = &ZONES;
    let mut servers = vec![server(first.host, "default"), server(chat.host, "chat")];
    if changes % 2 == 1 {
        servers.insert(0, server("extra", "extra"));
    }
    if changes % 3 == 1 {
        servers.reverse();
    }
    format!(
        "daemon off; worker_processes 2; pid logs/nginx.pid; error_log logs/error.log info;
        events {{ }}
        http {{
            push_stream_shared_memory_size 256m; push_stream_message_ttl 1d;
            push_stream_max_messages_stored_per_channel 200000; push_stream_ping_message_interval {}s;
            push_stream_events_channel_id events;
            push_stream_last_received_message_time $arg_time; push_stream_last_received_message_tag $arg_tag;
            push_stream_message_template '{TEMPLATE}';
            {}
        }}",
        2 + changes % 5,
        servers.concat()
    )
}
