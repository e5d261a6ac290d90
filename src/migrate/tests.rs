//! Migrations of small configurations, from text to text.

use std::path::Path;

use super::{Division, nginx_part, own_part};
use crate::conf::{LoadOptions, load, outline};

/// nginx's part and pushstreamd's own; the own part must load.
fn migrate(servers: &str) -> (String, String) {
    let options = |text: String| LoadOptions {
        file: "/etc/nginx/nginx.conf".into(),
        prefix: "/etc/nginx".into(),
        text: Some(text),
        ..LoadOptions::default()
    };
    let text = format!(
        "pid /run/nginx.pid; error_log /var/log/nginx/error.log warn; events {{}}\n\
         http {{ push_stream_shared_memory_size 64m; gzip_static on;\n{servers}\n}}"
    );
    let options_of_all = options(text);
    let tree = outline(&options_of_all).unwrap();
    let settings = load(&options_of_all).unwrap().settings;
    let division = Division::of(&tree, &settings, 9000);
    let own = own_part(&tree, &division, Path::new("/etc/nginx"));
    load(&options(own.clone())).unwrap_or_else(|error| panic!("{error}\n{own}"));
    (nginx_part(&tree, &division), own)
}

const SITE: &str = "location / { proxy_pass http://127.0.0.1:8080; }";

#[test]
fn a_server_for_push_alone_moves_with_its_port() {
    let (nginx, own) = migrate(
        "server { listen 8893; error_page 404 = @back; location @back { proxy_pass http://127.0.0.1:1; }\n\
         location /sub { push_stream_subscriber; push_stream_channels_path $arg_id; } }",
    );
    assert!(nginx.contains("take them out of nginx's configuration.\n#     server in "), "{nginx}");
    assert!(nginx.contains("(listen 8893)"), "{nginx}");
    assert!(!nginx.contains("proxy_pass"), "{nginx}");
    assert!(own.contains("listen 8893;") && !own.contains("proxy_pass") && !own.contains("@back"), "{own}");
    assert!(own.contains("pid /run/pushstreamd.pid;"), "{own}");
    assert!(own.contains("error_log /var/log/nginx/pushstreamd.log warn;"), "{own}");
    assert!(!own.contains("gzip_static"), "{own}");
}

#[test]
fn push_locations_of_a_site_become_proxies() {
    let (nginx, own) = migrate(&format!(
        "server {{ listen 80; server_name a.example; set $channel $arg_id; {SITE}\n\
         location ~ ^/ws/(.*)$ {{ push_stream_subscriber websocket; push_stream_channels_path $channel; allow 10.0.0.0/8; deny all; }}\n\
         location = /pub {{ push_stream_publisher; push_stream_channels_path $channel; client_max_body_size 5m; }} }}"
    ));
    for line in [
        "location ~ ^/ws/(.*)$ {\n    proxy_pass http://127.0.0.1:9000;",
        "proxy_set_header Upgrade $http_upgrade;",
        "location = /pub {",
        "    client_max_body_size 5m;",
        "#     push_stream_shared_memory_size in /etc/nginx/nginx.conf:2",
    ] {
        assert!(nginx.contains(line), "{line}\n{nginx}");
    }
    for line in ["listen 127.0.0.1:9000;", "server_name a.example;", "set $channel $arg_id;", "allow 10.0.0.0/8;"] {
        assert!(own.contains(line), "{line}\n{own}");
    }
    assert!(!own.contains("listen 80;") && !own.contains("proxy_pass"), "{own}");
}

#[test]
fn sites_with_the_same_push_part_share_a_port() {
    let push = "location /sub { push_stream_subscriber; push_stream_channels_path $arg_id; }";
    let (nginx, own) = migrate(&format!(
        "server {{ listen 80; server_name a.example; {push} {SITE} }}\n\
         server {{ listen 81; server_name b.example; {push} {SITE} }}\n\
         server {{ listen 82; server_name c.example; add_header X c; {push} {SITE} }}"
    ));
    assert_eq!(nginx.matches("127.0.0.1:9000;").count(), 1, "{nginx}");
    assert_eq!(nginx.matches("127.0.0.1:9001;").count(), 1, "{nginx}");
    assert!(own.contains("server_name a.example b.example;"), "{own}");
}

#[test]
fn a_server_that_shares_a_port_with_a_site_stays() {
    let (nginx, own) = migrate(&format!(
        "server {{ listen 80; server_name www.example; {SITE} }}\n\
         server {{ listen 80; listen 8893; server_name push.example;\n\
         location /sub {{ push_stream_subscriber; push_stream_channels_path $arg_id; }} }}"
    ));
    assert!(nginx.contains("proxy_pass http://127.0.0.1:9000;"), "{nginx}");
    assert!(!own.contains("listen 8893"), "{own}");
}

#[test]
fn what_auth_request_asks_comes_along() {
    let (nginx, own) = migrate(&format!(
        "server {{ listen 80; {SITE}\n\
         location = /auth {{ internal; proxy_pass http://127.0.0.1:8080/check; }}\n\
         location /sub {{ auth_request /auth; push_stream_subscriber; push_stream_channels_path $arg_id; }} }}"
    ));
    assert!(own.contains("proxy_pass http://127.0.0.1:8080/check;"), "{own}");
    assert!(!nginx.contains("location = /auth"), "{nginx}");
}
