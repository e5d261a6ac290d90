//! Debian's nginx and pushstreamd with one configuration, asked the same: what directives of nginx do that no recording asks.
//!
//! Needs nginx in one of the usual places.

mod http2;
mod sites;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::support::{Client, PATIENCE, Prefix, Running, eventually, nginx};

/// Both programs, each on a port of its own.
struct Both {
    own: Prefix,
    other: Prefix,
    _running: [Running; 2],
}

impl Both {
    fn start(http: &str, server: &str) -> Self {
        let error_log = if http.contains("error_log") { "" } else { "error_log logs/error.log;" };
        let conf = format!(
            "daemon off; pid logs/nginx.pid; {error_log} events {{ }} http {{ access_log off; \
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5; \
             {http} server {{ listen 127.0.0.1:@PORT@; server_name Main.Test *.wild.test; {server} }} }}"
        );
        let (own, other) = (Prefix::new("beside-own"), Prefix::new("beside-nginx"));
        own.configure(&conf);
        other.configure(&conf);
        let front = Command::new(nginx())
            .arg("-p")
            .arg(&other.dir)
            .arg("-c")
            .arg(other.path("nginx.conf"))
            .args(["-g", "master_process off;"])
            .stdin(Stdio::null())
            .spawn();
        let running = [own.spawn(&["--take-over"]), Running(front.unwrap())];
        for address in [own.address(), other.address()] {
            eventually("both serve", || std::net::TcpStream::connect(address).is_ok());
        }
        Self { own, other, _running: running }
    }

    /// The status and content type both give to a request; they must be the same.
    #[track_caller]
    fn agree(&self, uri: &str, fields: &str) -> String {
        let [here, there] = [&self.own, &self.other].map(|prefix| {
            let mut client = Client::open(prefix.address(), PATIENCE);
            client.send(format!("GET {uri} HTTP/1.1\r\nHost: main.test\r\n{fields}Connection: close\r\n\r\n"));
            let head = client.head();
            let told = |line: &&str| line.starts_with("HTTP/") || line.starts_with("Content-Type");
            head.lines().filter(told).collect::<Vec<_>>().join(" | ")
        });
        assert_eq!(here, there, "{uri} {fields:?}");
        here
    }
}

#[test]
fn referers_are_judged_as_nginx_judges_them() {
    let words = [
        "none a.test",
        "blocked a.test",
        "none blocked a.test",
        "server_names",
        "none blocked server_names",
        "example.com",
        "example.com/shop/",
        "*.example.com",
        ".example.com",
        "www.example.*",
        "~example",
        "~^good\\.test/a",
        "none *.example.com/x ~\\.org",
    ];
    let location = |(index, words): (usize, &&str)| {
        format!("location /{index} {{ valid_referers {words}; if ($invalid_referer) {{ return 403; }} return 204; }}\n")
    };
    let locations: String = words.iter().enumerate().map(location).collect();
    let inherited = "location /in { if ($invalid_referer) { return 403; } return 204; }
        location /two { valid_referers none c.test; valid_referers a.test; if ($invalid_referer) { return 403; } return 204; }";
    let both = Both::start("", &format!("valid_referers b.test; {locations} {inherited}"));
    let referers = [
        "",
        "http://example.com/",
        "https://example.com",
        "HTTP://EXAMPLE.com:8080/shop/x?y",
        "http://example.com/shop",
        "http://www.example.com/",
        "http://a.b.example.com/x",
        "http://www.example.org/",
        "http://notexample.com/",
        "http://good.test/a",
        "http://good.test/b",
        "http://main.test/",
        "http://sub.wild.test/",
        "http://wild.test/",
        "http://a.test/",
        "http://b.test/",
        "http://a.b/",
        "http://",
        "http://x",
        "example.com",
        "ftp://example.com/",
        "hidden by a proxy",
    ];
    let uris = (0..words.len()).map(|index| format!("/{index}")).chain(["/in".to_owned(), "/two".to_owned()]);
    let mut refused = 0;
    for uri in uris {
        for referer in referers {
            let field = if referer.is_empty() { String::new() } else { format!("Referer: {referer}\r\n") };
            refused += usize::from(both.agree(&uri, &field).contains(" 403 "));
        }
        let long = format!("Referer: http://{}.example.com/\r\n", "a".repeat(300));
        both.agree(&uri, &long);
        both.agree(&uri, "Referer:\r\n");
    }
    assert!(refused > 100, "{refused} were refused: the words have no effect");
}

#[test]
fn charsets_are_told_as_nginx_tells_them() {
    let types =
        ["text/html", "text/plain", "TEXT/XML", "application/json", "application/javascript", "text/css", "a/b"];
    let kind = |(index, kind): (usize, &&str)| {
        format!("location /{index} {{ default_type {kind}; return 200 x; }} location /own{index} {{ charset_types text/css a/b; \
                 default_type {kind}; return 200 x; }} location /all{index} {{ charset_types *; default_type {kind}; return 200 x; }}
                 location /off{index} {{ charset off; default_type {kind}; return 200 x; }}
                 location /var{index} {{ charset $arg_c; default_type {kind}; return 200 x; }}\n")
    };
    let locations: String = types.iter().enumerate().map(kind).collect();
    let more =
        "location /already { default_type 'text/html; charset=koi8-r'; return 200 x; } location /deny { deny all; }
        location /moved { return 301 /x; } location /found { return 302 /x; } location /other { return 307 /x; } location /none { return 204; }
        location /if { if ($arg_c) { charset koi8-r; } default_type text/html; return 200 x; }";
    let both = Both::start("charset utf-8;", &format!("{locations} {more}"));
    let mut told = 0;
    for index in 0..types.len() {
        for kind in ["", "own", "all", "off", "var"] {
            for arguments in ["", "?c=koi8-r"] {
                // Of an empty name nginx makes an error.
                let argument = if kind == "var" { "?c=koi8-r" } else { arguments };
                told += usize::from(both.agree(&format!("/{kind}{index}{argument}"), "").contains("charset="));
            }
        }
    }
    for uri in ["/already", "/deny", "/moved", "/found", "/other", "/none", "/missing", "/if", "/if?c=1"] {
        told += usize::from(both.agree(uri, "").contains("charset="));
    }
    assert!(told > 30, "{told}");
}

/// The messages a syslog server gets, with everything in them that differs from process to process named.
fn syslog_messages(http: &str, server: &str, count: usize) -> Vec<Vec<String>> {
    let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let locations = "location = /denied { deny all; } location / { return 204; }";
    let both = Both::start(
        &format!("log_format form '$server_port $request $status'; {}", http.replace("@SYSLOG@", &address)),
        &format!("{} {locations}", server.replace("@SYSLOG@", &address)),
    );
    let mut heard = Vec::new();
    for prefix in [&both.own, &both.other] {
        for target in ["/a", "/denied"] {
            Client::open(prefix.address(), PATIENCE).get(target, "Connection: close\r\n");
        }
        let mut messages = Vec::new();
        while messages.len() < count {
            let mut bytes = [0; 2048];
            let length = listener.recv(&mut bytes).unwrap();
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            let message = message.replace(&prefix.address().port().to_string(), "PORT");
            // Dates, processes, connections.
            let digits = message.replace(|c: char| c.is_ascii_digit(), "9");
            let (priority, rest) = digits.split_at(digits.find('>').unwrap());
            assert_eq!(priority.len() + rest.len(), message.len());
            messages.push(format!("{}{}", &message[..priority.len()], squeezed(rest)));
        }
        heard.push(messages);
    }
    heard
}

/// Numbers of whatever length as one digit.
fn squeezed(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !(c == '9' && out.ends_with('9')) {
            out.push(c);
        }
    }
    out
}

#[test]
fn access_log_lines_reach_syslog_as_nginx_sends_them() {
    for words in ["", ",facility=mail,severity=debug,tag=a_1", ",nohostname", ",facility=local0,tag=x,nohostname"] {
        let server = format!("access_log syslog:server=@SYSLOG@{words} form;");
        let heard = syslog_messages("", &server, 2);
        assert_eq!(heard[0], heard[1], "{words}");
    }
}

#[test]
fn error_log_lines_reach_syslog_with_their_own_severity() {
    let target = "error_log syslog:server=@SYSLOG@,facility=user,severity=debug,tag=x error;";
    let heard = syslog_messages(target, "", 1);
    for messages in &heard {
        let (head, line) = messages[0].split_once(" x: ").unwrap();
        assert!(head.starts_with("<11>") && line.starts_with("9/9/9 9:9:9 [error] 9#9: *9 "), "{}", messages[0]);
        assert!(line.contains("access forbidden by rule"), "{line}");
    }
    // What bans clients reads the whole line.
    assert_eq!(heard[0], heard[1]);
}

#[test]
fn logs_that_requests_name_are_those_of_nginx() {
    let server = "access_log logs/$arg_site-$status.log form; root @DIR@/$arg_root; location / { return 204; } location /gone { return 404; }";
    let both = Both::start("log_format form '$request $status';", server);
    // The workers of one of them are nobody.
    std::fs::set_permissions(both.own.path("logs"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let written = |prefix: &Prefix| {
        for target in [
            "/?site=a&root=logs",
            "/gone?site=a&root=logs",
            "/?site=a&root=logs&again",
            "/?site=b&root=none",
            "/?site=none/c&root=logs",
            "/?root=logs",
            "/?site=%2e%2e/d&root=logs",
        ] {
            Client::open(prefix.address(), PATIENCE).get(target, "Connection: close\r\n");
        }
        let mut written = std::collections::BTreeMap::new();
        for entry in std::fs::read_dir(prefix.path("logs")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if !["error.log", "nginx.pid"].contains(&&*name) {
                let text = prefix.read(&format!("logs/{name}"));
                written.insert(name, text);
            }
        }
        written
    };
    let (own, other) = (written(&both.own), written(&both.other));
    assert_eq!(own, other);
    assert_eq!(own.keys().map(String::as_str).collect::<Vec<_>>(), ["-204.log", "a-204.log", "a-404.log"]);
    assert_eq!(own["a-204.log"].lines().count(), 2);
}
