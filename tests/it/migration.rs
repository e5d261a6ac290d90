//! `pushstreamd migrate`, applied: Debian's nginx keeps the site and passes push requests on.
//!
//! Needs nginx in one of the usual places; without it there is nothing to be said, and the test says so.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Client, PATIENCE, Prefix, Running, Socket, eventually, exchange, free_port, request, said};

const PUSH: &str = "
    location = /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; allow 127.0.0.1; deny all; }
    location ~ ^/sub/(.*)$ {
        push_stream_subscriber;
        push_stream_channels_path $1;
        push_stream_message_template '{\"text\":\"~text~\"}\\n';
    }
    location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1; }";

fn nginx() -> Option<&'static str> {
    ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| Path::new(path).exists())
}

/// A site with something beside it, and more in the `http` block.
fn conf(prefix: &Prefix, beside: &str, http: &str) -> String {
    format!(
        "pid logs/nginx.pid; error_log logs/error.log; worker_processes 1;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path tmp; proxy_temp_path tmp2; fastcgi_temp_path tmp3; uwsgi_temp_path tmp4; scgi_temp_path tmp5;
            {http}
            server {{
                listen 127.0.0.1:{};
                location / {{ root {}; index page.txt; }}
                {beside}
            }}
        }}",
        prefix.port,
        prefix.dir.display()
    )
}

fn printed(prefix: &Prefix, part: &str, port: u16) -> String {
    let file = prefix.path("nginx.conf");
    let words =
        ["migrate", "-c", file.to_str().unwrap(), "--port", &port.to_string(), "--print", part].map(str::to_owned);
    let output = Command::new(env!("CARGO_BIN_EXE_pushstreamd")).args(words).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_site_goes_on_with_nginx_and_its_push_locations_with_pushstreamd() {
    let Some(nginx) = nginx() else {
        eprintln!("no nginx here, not tested");
        return;
    };
    let prefix = Prefix::new("migration");
    let (push_only, local) = (free_port(), free_port());
    let module = format!("push_stream_shared_memory_size 32m; server {{ listen 127.0.0.1:{push_only}; {PUSH} }}");
    prefix.write("nginx.conf", &conf(&prefix, PUSH, &module));
    let (snippet, own) = (printed(&prefix, "nginx", local), printed(&prefix, "own", local));
    assert!(snippet.contains(&format!("(listen 127.0.0.1:{push_only})")), "{snippet}");
    // What an administrator would do.
    prefix.write("page.txt", "the site");
    prefix.write("nginx.conf", &conf(&prefix, &snippet, ""));
    prefix.write("own.conf", &own);

    let dir = prefix.dir.to_str().unwrap();
    let mut own = Command::new(env!("CARGO_BIN_EXE_pushstreamd"));
    let own = own.args(["-p", dir, "-c", "own.conf", "-g", "daemon off;"]).stdin(Stdio::null()).spawn().unwrap();
    let _own = Running(own);
    eventually("pushstreamd serves", || TcpStream::connect(("127.0.0.1", local)).is_ok());
    let file = prefix.path("nginx.conf");
    let front = Command::new(nginx)
        .args(["-p", dir, "-c", file.to_str().unwrap(), "-g", "daemon off; master_process off;"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let _front = Running(front);
    eventually("nginx serves", || TcpStream::connect(("127.0.0.1", prefix.port)).is_ok());

    assert!(prefix.request("GET", "/page.txt", "").unwrap().ends_with("the site"));
    let mut subscriber = subscribed(prefix.port);
    let mut direct = subscribed(push_only);
    prefix.publish_at("/pub?id=a", "first");
    for reader in [&mut subscriber, &mut direct] {
        reader.until("{\"text\":\"first\"}");
    }
    let denied = exchange(prefix.port, "GET", "/sub/", "").unwrap();
    assert!(denied.starts_with("HTTP/1.1 400") && denied.contains("X-Nginx-PushStream-Explain"), "{denied}");
    Socket::open(connected(prefix.port), "/ws/a", b"");
}

fn connected(port: u16) -> Client {
    Client::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)
}

/// A subscriber of channel `a` that the server knows of.
fn subscribed(port: u16) -> Client {
    let mut client = connected(port);
    client.send(request("GET", "/sub/a", ""));
    assert_eq!(client.status(), 200);
    client
}
