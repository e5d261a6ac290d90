//! Whose each port is, and that `-t` and a start say the same of it.

use std::net::{SocketAddr, TcpStream};

use pushstreamd::internals::conf::ports::Ports;
use pushstreamd::internals::conf::{LoadOptions, load};

use crate::support::{Prefix, Random, eventually, free_port, said};

const PUB: &str = "location = /pub { push_stream_publisher admin; push_stream_channels_path $arg_id; }";
const SUB: &str = "location ~ ^/sub/(.*)$ { push_stream_subscriber; push_stream_channels_path $1; }";

/// The ports served of these servers, and the verdict.
fn served(servers: &str) -> (Vec<u16>, Result<Vec<String>, String>) {
    let text = format!("events {{}} http {{ push_stream_shared_memory_size 8m; {servers} }}");
    let options =
        LoadOptions { file: "n.conf".into(), prefix: "/nowhere".into(), text: Some(text), ..LoadOptions::default() };
    let settings = load(&options).unwrap_or_else(|error| panic!("{error}: {servers}")).settings;
    let ports = Ports::of(&settings, false);
    let own = ports.own().map(|listener| match listener.address {
        pushstreamd::internals::conf::settings::ListenAddress::Ip(address) => address.port(),
        pushstreamd::internals::conf::settings::ListenAddress::Unix(_) => 0,
    });
    let own = own.collect();
    let table = ports.table();
    assert_eq!(table.len(), settings.listeners.len());
    for line in table {
        assert_ne!(line.contains(" is served: "), line.contains(" is left to nginx because "), "{line}");
    }
    (own, ports.judge("n.conf").map(|notes| notes.into_iter().map(|note| note.text).collect()))
}

#[test]
fn a_port_that_only_returns_is_the_sites() {
    let (own, verdict) = served(&format!(
        "server {{ listen 81; return 301 https://$host$request_uri; }} server {{ listen 82 default_server; return 444; }}
         server {{ listen 82; server_name a; root /tmp; }} server {{ listen 83; {PUB} {SUB} location / {{ deny all; }} }}
         server {{ listen 84 default_server; return 444; }} server {{ listen 84; server_name b; {SUB} }}"
    ));
    assert_eq!((own, verdict), (vec![83, 84], Ok(vec![])));
}

#[test]
fn what_a_push_server_has_beside_push_is_no_site() {
    for beside in [
        "error_page 403 /403.html; location = /403.html { root /e; }",
        "error_page 403 /403.html; location ^~ /errors/403.html { root /e; }",
        "error_page 403 /403.html; location ~* ^/(403|404|50[0-4]).html$ { root /e; }",
        "error_page 403 /403.html; location ^~ /errors/ { root /e; }",
        "error_page 403 404 /pages/no.html; location /pages/ { root /e; }",
        "error_page 500 502 /50x; location ~ ^/50x$ { root /e; }",
        "error_page 404 = @fallback; location @fallback { proxy_pass http://127.0.0.1:1; }",
        "location /nginx_status { stub_status; } location /traffic { vhost_traffic_status_display; }",
        "location = /favicon.ico { root /e; } location ~ ^/(favicon\\.ico|robots\\.txt)$ { root /e; }",
        "location ^~ /.well-known/acme-challenge/ { root /e; }",
        "location / { deny all; } root /e;",
        "location / { return 404; } index index.php;",
        "location /closed { deny all; root /e; }",
        "location /auth { internal; proxy_pass http://127.0.0.1:1; }",
    ] {
        assert_eq!(
            served(&format!("server {{ listen 81; {PUB} {SUB} {beside} }}")),
            (vec![81], Ok(vec![])),
            "{beside}"
        );
    }
}

#[test]
fn a_site_keeps_its_port_and_the_command_that_divides_is_told() {
    for site in [
        "location / { proxy_pass http://127.0.0.1:1; }",
        "location ~ \\.php$ { fastcgi_pass 127.0.0.1:1; }",
        "root /var/www;",
        "location / { root /var/www; }",
        "location / { try_files $uri /index.php; }",
        "location /files/ { alias /f/; }",
        "location ~* \\.(css|js|png)$ { root /var/www; }",
        "location ~ \\.html$ { root /var/www; }",
        "location /up { upload_pass /x; }",
    ] {
        let (own, verdict) = served(&format!("server {{ listen 81; {PUB} {SUB} {site} }}"));
        let verdict = verdict.unwrap_err();
        assert!(own.is_empty() && verdict.contains("\"pushstreamd migrate -c n.conf\""), "{site}: {verdict}");
        // The same on a port that a push server shares by its name.
        let (own, _) =
            served(&format!("server {{ listen 81; {PUB} {SUB} }} server {{ listen 81; server_name b; {site} }}"));
        assert!(own.is_empty(), "{site}");
    }
}

#[test]
fn half_a_pair_is_none() {
    let site = "location / { root /tmp; }";
    for (here, there, served_alone) in [
        (SUB, PUB, "subscribers are served, but their publisher on 0.0.0.0:82 is left to nginx"),
        (PUB, SUB, "a publisher is served, but its subscribers on 0.0.0.0:82 are left to nginx"),
    ] {
        let (own, verdict) = served(&format!("server {{ listen 81; {here} }} server {{ listen 82; {there} {site} }}"));
        assert_eq!(own, [81]);
        assert!(verdict.unwrap_err().starts_with(served_alone));
    }
    // Whole pairs beside more of it elsewhere are whole.
    let (own, verdict) = served(&format!("server {{ listen 81; {SUB} {PUB} }} server {{ listen 82; {SUB} {site} }}"));
    assert_eq!(own, [81]);
    assert!(verdict.unwrap()[0].starts_with("push locations on 0.0.0.0:82 are left to nginx"));
    // Clients of websockets that publish need no publisher.
    let socket = "location ~ ^/ws/(.*)$ { push_stream_subscriber websocket; push_stream_channels_path $1;
        push_stream_websocket_allow_publish on; }";
    let (own, verdict) = served(&format!("server {{ listen 81; {socket} }} server {{ listen 82; {PUB} {site} }}"));
    assert!(own == [81] && verdict.is_ok());
}

/// The words of `-t` and of a start with this configuration, and whether they succeed.
fn tried(http: &str, port: u16) -> ((bool, String), (bool, String)) {
    let prefix = Prefix::new("ports");
    prefix.write("nginx.conf", &format!("events {{}} http {{ access_log off; {http} }}"));
    let test = prefix.run(&["-t"]);
    let tested = (test.status.success(), said(&test));
    let mut server = prefix.spawn(&["-g", "daemon off;"]);
    let mut ended = None;
    eventually("the server serves or has ended", || {
        ended = server.ended();
        ended.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    (tested, (ended.is_none(), prefix.read("stderr")))
}

#[test]
fn a_test_fails_for_exactly_what_a_start_fails_for() {
    let port = free_port();
    let other = free_port();
    let site = "location / { root /tmp; }";
    for (http, succeeds, words) in [
        (
            format!("server {{ listen 127.0.0.1:{port}; return 404; }}"),
            false,
            "ngx_http_push_stream_module will not be used",
        ),
        (
            format!("push_stream_shared_memory_size 8m; server {{ listen 127.0.0.1:{port}; {PUB} {SUB} {site} }}"),
            false,
            "no port is left for pushstreamd",
        ),
        (
            format!(
                "push_stream_shared_memory_size 8m; server {{ listen 127.0.0.1:{port}; {SUB} }}
                 server {{ listen 127.0.0.1:{other}; {PUB} {site} }}"
            ),
            false,
            "subscribers are served, but their publisher",
        ),
        (
            format!(
                "push_stream_shared_memory_size 8m; server {{ listen 127.0.0.1:{port}; {SUB} {PUB} }}
                 server {{ listen 127.0.0.1:{other}; {PUB} {site} }}"
            ),
            true,
            "are left to nginx; \"pushstreamd migrate -c ",
        ),
    ] {
        let ((tested, test_said), (started, start_said)) = tried(&http, port);
        assert_eq!((tested, started), (succeeds, succeeds), "{test_said}\n{start_said}");
        assert!(test_said.contains(words) && start_said.contains(words), "{test_said}\n{start_said}");
        assert!(test_said.contains("the wire is that of 0.5 and 0.6, by no word of an older version"), "{test_said}");
    }
}

/// What servers may hold; each is a site, half a push server, a whole one, or neither.
const PARTS: [&str; 10] = [
    PUB,
    SUB,
    SUB,
    "location / { root /tmp; }",
    "location / { deny all; }",
    "return 301 https://$host$request_uri;",
    "location = /50x.html { root /tmp; } error_page 502 /50x.html;",
    "location /site { access_by_lua_file /x; make_coffee; proxy_pass http://127.0.0.1:1; }",
    "location /st { push_stream_channels_statistics; push_stream_channels_path $arg_id; }",
    "location /guarded { auth_jwt x; push_stream_publisher; push_stream_channels_path $arg_id; }",
];

#[test]
fn a_test_and_a_start_agree_about_whatever_stands_together() {
    let mut seen = [0, 0];
    for seed in 1..=14 {
        let mut random = Random(seed);
        let prefix = Prefix::new("mixtures");
        let mut http = "push_stream_shared_memory_size 8m; ".to_owned();
        for port in [free_port(), free_port()] {
            let parts: std::collections::BTreeSet<&str> = (0..=random.below(3)).map(|_| *random.pick(&PARTS)).collect();
            let parts: String = parts.into_iter().collect();
            http += &format!("server {{ listen 127.0.0.1:{port}; {parts} }} ");
        }
        prefix.write(
            "nginx.conf",
            &format!("pid pid; error_log e.log info; events {{}} http {{ access_log off; {http} }}"),
        );
        let test = prefix.run(&["-t"]);
        let mut server = prefix.spawn(&["-g", "daemon off;"]);
        eventually("the server serves or has ended", || {
            server.ended().is_some() || prefix.read("e.log").contains("listening on")
        });
        let started = server.ended().is_none();
        assert_eq!(test.status.success(), started, "seed {seed}: {http}\n{}\n{}", said(&test), prefix.read("stderr"));
        seen[usize::from(started)] += 1;
        if started {
            // The table of the test names the ports of the start, and no others.
            let served: Vec<SocketAddr> = said(&test)
                .lines()
                .filter_map(|line| line.split_once("] ")?.1.split_once(" (").filter(|_| line.contains(" is served: ")))
                .filter_map(|(address, _)| address.parse().ok())
                .collect();
            assert!(!served.is_empty(), "{}", said(&test));
            for address in served {
                eventually("what is told to be served is", || TcpStream::connect(address).is_ok());
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");
}
