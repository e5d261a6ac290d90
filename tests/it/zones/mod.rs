//! Zones: servers of one zone share everything of the module, servers of different zones nothing.

mod isolation;
mod lives;
mod operators;

use crate::support::{Client, PATIENCE, Prefix, Reply, Running};

/// Each `server_name`, and the directive that says its zone.
pub const HOSTS: [(&str, &str); 5] = [
    ("first.example", ""),
    ("named.example", "push_stream_zone default;"),
    ("chat.example", "push_stream_zone chat;"),
    ("chat2.example", "push_stream_zone chat;"),
    ("news.example", "push_stream_zone news.v2;"),
];

const LOCATIONS: &str = "
    location /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; push_stream_store_messages on; }
    location /memory { push_stream_publisher; push_stream_channels_path $arg_id; }
    location /stats { push_stream_channels_statistics; push_stream_channels_path $arg_id; }
    location ~ ^/sub/(.*) {
        push_stream_subscriber; push_stream_channels_path $1; push_stream_message_template \"~channel~ ~id~ ~text~\\n\";
        push_stream_footer_template \"BYE\\n\";
    }
    location ~ ^/poll/(.*) {
        push_stream_subscriber polling; push_stream_channels_path $1; push_stream_message_template \"~channel~ ~id~ ~text~\\n\";
    }
    location ~ ^/lp/(.*) {
        push_stream_subscriber long-polling; push_stream_channels_path $1;
        push_stream_message_template \"~channel~ ~id~ ~text~\\n\"; push_stream_longpolling_connection_ttl 20s;
    }
    location ~ ^/ev/(.*) { push_stream_subscriber eventsource; push_stream_channels_path $1; }
    location ~ ^/ws/(.*) {
        push_stream_subscriber websocket; push_stream_channels_path $1; push_stream_message_template \"~text~\";
        push_stream_websocket_allow_publish on; push_stream_store_messages on;
    }";

/// A configuration of these servers, all at one socket.
pub fn configuration(http: &str, servers: &[(&str, &str)]) -> String {
    let servers: String = servers
        .iter()
        .map(|(host, words)| {
            format!("server {{ listen 127.0.0.1:@PORT@ http2; server_name {host}; {words} {LOCATIONS} }}\n")
        })
        .collect();
    format!(
        "daemon off; worker_processes 2; pid logs/nginx.pid; error_log logs/error.log info;
        events {{ worker_connections 1024; }}
        http {{
            access_log off; default_type text/plain; push_stream_shared_memory_size 32m; {http}
            {servers}
        }}"
    )
}

/// Sends a request to a host.
pub fn send(client: &mut Client, host: &str, line: &str, fields: &str, body: &str) {
    let rest = if line.starts_with("GET") {
        "\r\n".to_owned()
    } else {
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    };
    client.send(format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}{rest}"));
}

/// A request to a host on a connection that may be another's too, and its whole answer.
pub fn ask(client: &mut Client, host: &str, line: &str, body: &str) -> Reply {
    send(client, host, line, "", body);
    client.reply()
}

/// A directory with a configuration, and a server in it.
pub struct Site {
    pub process: Running,
    pub prefix: Prefix,
}

impl Site {
    pub fn start(http: &str, servers: &[(&str, &str)], words: &[&str]) -> Self {
        let prefix = Prefix::new("zones");
        prefix.configure(&configuration(http, servers));
        let process = prefix.spawn(words);
        prefix.wait_until_serving();
        Self { process, prefix }
    }

    pub fn connect(&self) -> Client {
        Client::open(self.prefix.address(), PATIENCE)
    }

    pub fn ask(&self, host: &str, line: &str, body: &str) -> Reply {
        ask(&mut self.connect(), host, line, body)
    }

    #[track_caller]
    pub fn publish(&self, host: &str, channel: &str, text: &str) {
        let reply = self.ask(host, &format!("POST /pub?id={channel}"), text);
        assert_eq!(reply.status, 200, "{}", reply.head);
    }

    /// What is stored in a channel.
    pub fn stored(&self, host: &str, channel: &str) -> Vec<String> {
        let mut client = self.connect();
        let since = "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        send(&mut client, host, &format!("GET /poll/{channel}"), since, "");
        client.reply().text().lines().map(str::to_owned).collect()
    }

    /// A stream whose head has been read.
    pub fn subscribe(&self, host: &str, channels: &str) -> Client {
        let mut client = self.connect();
        send(&mut client, host, &format!("GET /sub/{channels}"), "", "");
        client.head();
        client
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.0.kill();
        let _ = self.process.0.wait();
        if !std::thread::panicking() {
            assert!(!self.prefix.log().contains("panicked"), "{}", self.prefix.log());
        }
    }
}
