//! Migrations of small configurations, from text to text.

use std::path::Path;

use super::{Division, Paths, nginx_part, own_part};
use crate::conf::{LoadOptions, load, outline};

/// nginx's part and pushstreamd's own; the own part must load.
fn migrate(servers: &str) -> (String, String) {
    migrate_to(servers, false)
}

/// The same, for the unit of the packages or not.
fn migrate_to(servers: &str, unit: bool) -> (String, String) {
    let options = |text: String| LoadOptions {
        file: "/etc/nginx/nginx.conf".into(),
        prefix: "/etc/nginx".into(),
        text: Some(text),
        ..LoadOptions::default()
    };
    let text = format!(
        "user www-data; pid /run/nginx.pid; error_log /var/log/nginx/error.log warn; events {{}}\n\
         http {{ push_stream_shared_memory_size 64m; gzip_static on;\n{servers}\n}}"
    );
    let options_of_all = options(text);
    let tree = outline(&options_of_all).unwrap();
    let loaded = load(&LoadOptions { accept_unguarded: true, ..options_of_all }).unwrap();
    let division = Division::of(&tree, &loaded, 9000);
    let paths = Paths { unit, ..Paths::guessed(Path::new("/etc/nginx/nginx.conf")) };
    let own = own_part(&tree, &division, &paths);
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
fn for_the_unit_everything_lies_in_its_directories_and_nothing_says_who_it_is() {
    let servers = "server { listen 8893; access_log /var/log/nginx/push.log; access_log logs/$host.log;\n\
                   location /sub { push_stream_subscriber; push_stream_channels_path $arg_id; } }";
    let (_, own) = migrate_to(servers, true);
    for line in [
        "pid /run/pushstreamd/pushstreamd.pid;",
        "error_log /var/log/pushstreamd/pushstreamd.log warn;",
        "access_log /var/log/pushstreamd/pushstreamd-push.log;",
        "access_log /var/log/pushstreamd/pushstreamd-$host.log;",
        "push_stream_state /var/lib/pushstreamd;",
    ] {
        assert!(own.contains(line), "{line}\n{own}");
    }
    assert!(!own.contains("user ") && !own.contains("/var/log/nginx"), "{own}");
    let (_, own) = migrate(servers);
    assert!(own.contains("user www-data;") && !own.contains("push_stream_state"), "{own}");
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
         server {{ listen 81; server_name b.example; add_header X b; expires 1h; {push} {SITE} }}\n\
         server {{ listen 82; server_name c.example; push_stream_message_template c; {push} {SITE} }}"
    ));
    assert_eq!(nginx.matches("127.0.0.1:9000;").count(), 1, "{nginx}");
    assert_eq!(nginx.matches("127.0.0.1:9001;").count(), 1, "{nginx}");
    assert!(own.contains("server_name a.example b.example;"), "{own}");
    // nginx adds what it adds around its locations; twice would be once too many.
    assert!(!own.contains("add_header") && !own.contains("expires") && !nginx.contains("add_header"), "{nginx}{own}");
}

#[test]
fn a_server_leaves_only_the_ports_it_shares_with_a_site() {
    let (nginx, own) = migrate(&format!(
        "server {{ listen 80; server_name www.example; {SITE} }}\n\
         server {{ listen 80; listen 8893; server_name push.example;\n\
         location /sub {{ push_stream_subscriber; push_stream_channels_path $arg_id; }} }}"
    ));
    assert!(nginx.contains("proxy_pass http://127.0.0.1:9000;"), "{nginx}");
    assert!(nginx.contains("take these lines out.\n#     listen 8893; in /etc/nginx/nginx.conf:4"), "{nginx}");
    assert!(
        own.contains("listen 8893;") && own.contains("listen 127.0.0.1:9000;") && !own.contains("listen 80;"),
        "{own}"
    );
}

#[test]
fn headers_of_a_location_come_from_pushstreamd_alone() {
    let (nginx, own) = migrate(&format!(
        "add_header X-Http 1; server {{ listen 80; add_header X-Server 1; {SITE}\n\
         location /own {{ add_header X-Own 1; push_stream_subscriber; push_stream_channels_path $arg_id; }}\n\
         location /if {{ if ($arg_x) {{ add_header X-If 1; }} push_stream_subscriber; push_stream_channels_path $arg_id; }}\n\
         location /none {{ push_stream_subscriber; push_stream_channels_path $arg_id; }} }}\n\
         server {{ listen 8893; location /p {{ push_stream_publisher; push_stream_channels_path $arg_id; }} }}"
    ));
    assert_eq!(nginx.matches("add_header X-Pushstreamd \"\";").count(), 2, "{nginx}");
    for (header, times) in [("X-Own", 1), ("X-If", 1), ("X-Server", 1), ("X-Http", 1)] {
        assert_eq!(own.matches(header).count(), times, "{header}\n{own}");
    }
    let moved = own.find("listen 8893").unwrap();
    assert!(own.find("X-Http").unwrap() > moved, "what moves takes the header of http along\n{own}");
}

#[test]
fn a_file_that_servers_with_different_values_include_gets_one_text() {
    let directory = std::env::temp_dir().join(format!("pushstreamd-shared-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let shared = directory.join("sub.conf");
    std::fs::write(&shared, "location /sub { push_stream_subscriber; push_stream_channels_path $prefix$arg_id; }")
        .unwrap();
    let shared = shared.display();
    let (nginx, own) = migrate(&format!(
        "server {{ listen 80; set $prefix a_; include {shared}; {SITE} }}\n\
         server {{ listen 81; set $prefix b_; include {shared}; {SITE} }}"
    ));
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(nginx.matches(&format!("# was at {shared}:1")).count(), 1, "{nginx}");
    assert!(nginx.contains("proxy_pass http://127.0.0.1:$pushstreamd_port;"), "{nginx}");
    for port in [9000, 9001] {
        assert!(nginx.contains(&format!("#         add to it: set $pushstreamd_port {port};")), "{nginx}");
        assert!(own.contains(&format!("listen 127.0.0.1:{port};")), "{own}");
    }
}

#[test]
fn guards_that_only_nginx_can_apply_stay_with_it() {
    let push = "push_stream_publisher; push_stream_channels_path $arg_id;";
    let (nginx, own) = migrate(&format!(
        "geoip_country /c; js_set $who main.who; log_format x '$who'; limit_req_zone $geoip_city zone=z:1m rate=1r/s;\n\
         server {{ listen 8893; location /lua {{ access_by_lua_block {{ if ngx.var.arg_x == \"}}\" then ngx.exit(403) end }}\n\
         {push} }}\n\
         location /geo {{ if ($geoip_country_code = CN) {{ return 403; }} limit_req zone=z; {push} allow 10.0.0.0/8; deny all; }}\n\
         location /more {{ more_set_headers 'A: b'; {push} }} }}\n\
         server {{ listen 8894; location /free {{ {push} }} }}"
    ));
    for line in [
        "access_by_lua_block { if ngx.var.arg_x == \"}\" then ngx.exit(403) end }",
        "if ($geoip_country_code = CN) {",
        "return 403;",
        "limit_req zone=z;",
        "more_set_headers \"A: b\";",
        "(listen 8894)",
    ] {
        assert!(nginx.contains(line), "{line}\n{nginx}");
    }
    assert!(!nginx.contains("(listen 8893)"), "{nginx}");
    for word in ["by_lua", "geoip_country", "more_set", "listen 8893", "limit_req zone=z;"] {
        assert!(!own.contains(word), "{word}\n{own}");
    }
    assert!(
        own.contains("listen 8894;") && own.contains("listen 127.0.0.1:9000;") && own.contains("deny all;"),
        "{own}"
    );
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
