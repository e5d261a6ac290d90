//! Configurations of tests: text with `@PORT@` and `@DIR@` in it, which the server of the test fills in.

/// The locations most tests need; `/pub` and `/stats` take the id as an argument, the others have the path in the URI.
pub const LOCATIONS: &str = r#"
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /drop { push_stream_publisher admin; push_stream_channels_path $arg_id; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/sub/(.*) { push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/poll/(.*) { push_stream_subscriber polling; push_stream_channels_path $1; push_stream_message_template "<~text~>"; }
    location ~ ^/lp/(.*) {
        push_stream_subscriber long-polling; push_stream_channels_path $1; push_stream_message_template "<~text~>";
        push_stream_longpolling_connection_ttl 700ms;
    }
    location ~ ^/ev/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/ws/(.*) {
        push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_websocket_allow_publish on;
        push_stream_message_template "<~text~>";
    }
"#;

/// A whole configuration with an access log: `zone` within `http`, `locations` within its one server.
pub fn framed(workers: usize, zone: &str, locations: &str) -> String {
    format!(
        "daemon off; worker_processes {workers}; pid @DIR@/pid; error_log @DIR@/error.log info;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log @DIR@/access.log;\n  push_stream_shared_memory_size 64m;\n  {zone}\n  \
         server {{\n    listen 127.0.0.1:@PORT@;\n    {locations}\n  }}\n}}\n"
    )
}

/// A whole configuration of two workers without an access log: directives of `http` and of its one server.
pub(super) fn of_sections(http: &str, server: &str) -> String {
    let memory =
        if http.contains("push_stream_shared_memory_size") { "" } else { "push_stream_shared_memory_size 32m;" };
    format!(
        "daemon off; worker_processes 2; pid server.pid; error_log error.log info; events {{ worker_connections 1024; }}
http {{ access_log off; default_type text/plain; {memory} {http}
    server {{ listen 127.0.0.1:@PORT@; {server}
    }}
}}\n"
    )
}
