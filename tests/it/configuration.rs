//! What a configuration comes to: values, inheritance, the choice of servers and locations, old spellings.

mod versions;

use std::sync::Arc;

use pushstreamd::internals::conf::settings::{
    AccessTarget, Condition, Expires, Handler, ListenAddress, Location, LogTarget, Match, Mode, Operation, RewriteFlag,
    Server, Settings, Who,
};
use pushstreamd::internals::conf::variable::{Builtin, Complex, Part, Source, Variable};
use pushstreamd::internals::conf::{LoadOptions, Loaded, load};
use pushstreamd::internals::model::Line;

#[track_caller]
fn loaded_as(text: &str, compat: Option<Line>, strict: bool) -> Loaded {
    let options = LoadOptions {
        file: "conf/nginx.conf".into(),
        prefix: "/srv".into(),
        text: Some(text.to_owned()),
        compat,
        strict,
        ..LoadOptions::default()
    };
    load(&options).unwrap_or_else(|error| panic!("{text}\n{error:?}"))
}

#[track_caller]
fn settings(main: &str, server: &str) -> Settings {
    let text = format!(
        "events {{}} http {{ push_stream_shared_memory_size 8m; {main} server {{ listen 127.0.0.1:8080; {server} }} }}"
    );
    loaded_as(&text, None, false).settings
}

fn server(settings: &Settings) -> &Arc<Server> {
    &settings.listeners[0].names.default
}

#[track_caller]
fn only_location(settings: &Settings) -> &Arc<Location> {
    &server(settings).locations.prefixes[0]
}

#[track_caller]
fn location(values: &str) -> Settings {
    settings("", &format!("location /s {{ push_stream_subscriber; push_stream_channels_path $arg_id; {values} }}"))
}

fn text(text: &str) -> Complex {
    Complex { parts: vec![Part::Text(text.as_bytes().into())] }
}

fn of(variable: Variable) -> Complex {
    Complex { parts: vec![Part::Variable(variable)] }
}

#[test]
fn defaults_are_the_modules() {
    let settings = location("");
    let push = &only_location(&settings).push;
    assert_eq!(&*push.message_template, b"~text~");
    assert!(push.header_template.is_empty() && push.channel_info_on_publish && !push.store_messages);
    assert_eq!((push.ping_message_interval, push.content_type.as_deref(), push.keepalive), (None, None, None));
    let path = push.channels_path.as_ref().unwrap();
    assert_eq!((&path.value, path.decode, path.split), (&of(Variable::Arg("id".into())), true, true));
    assert_eq!((&*settings.zone.ping_text, settings.zone.message_ttl, settings.zone.inactivity), (&b" "[..], 1800, 30));
    assert_eq!(
        (settings.zone.memory, &*settings.zone_name, settings.compat.line),
        (8 << 20, "push_stream_module", Line::V05)
    );
    let core = &only_location(&settings).core;
    assert_eq!((core.client_max_body_size, core.keepalive_timeout, core.keepalive_requests), (1 << 20, 75_000, 1000));
    assert_eq!(core.root.path, text("/srv/html"));
    assert!(
        matches!(&core.access_log[0].target, AccessTarget::Fixed(LogTarget::File(path)) if path.ends_with("srv/logs/access.log"))
    );
}

#[test]
fn values_are_inherited_whole_and_the_mode_is_not() {
    let settings = settings(
        "push_stream_message_template top; add_header X-Top 1; allow 10.0.0.0/8; deny all;",
        "location /a { push_stream_publisher admin; push_stream_channels_path x; push_stream_store_messages on;
            add_header X-One 1; add_header X-Two $uri always;
            location /a/b { push_stream_footer_template foot; allow all; } }",
    );
    let outer = only_location(&settings);
    assert_eq!(outer.handler, Handler::Publisher { admin: true });
    assert_eq!(outer.core.add_headers.len(), 2);
    assert_eq!(outer.core.access.len(), 2);
    let inner = &outer.nested.prefixes[0];
    assert_eq!(inner.handler, Handler::Static);
    assert!(inner.push.store_messages && inner.push.channels_path.is_some());
    assert_eq!((&*inner.push.message_template, &*inner.push.footer_template), (&b"top"[..], &b"foot"[..]));
    assert_eq!((inner.core.add_headers.len(), inner.core.access.len()), (2, 1));
    assert_eq!(inner.core.access[0].who, Who::All);
    assert_ne!(inner.number, outer.number);
}

#[test]
fn an_if_inherits_mode_and_values_even_those_written_after_it() {
    let settings = location(
        "if ($arg_time) { push_stream_last_received_message_time $arg_time; add_header X 1; }
         push_stream_message_template late;",
    );
    let location = only_location(&settings);
    assert!(location.push.last_received_message_time.is_none());
    let [Operation::If { condition: Condition::True(value), location: inner }] = location.rewrite.as_slice() else {
        panic!("{:?}", location.rewrite)
    };
    assert_eq!(*value, of(Variable::Arg("time".into())));
    assert_eq!(inner.handler, Handler::Subscriber(Mode::Streaming));
    assert_eq!(&*inner.push.message_template, b"late");
    assert!(inner.push.last_received_message_time.is_some());
    assert_eq!((inner.number, inner.core.add_headers.len()), (location.number, 1));
}

#[test]
fn conditions_are_read_in_all_forms() {
    let settings = settings(
        "",
        r#"if ( $arg_a ) { set $x 1; }
           if ($arg_a = "b c") { return 400; }
           if ($arg_a != "") { return 444; }
           if ($http_user_agent ~* "bad(bot|agent)") { return 403; }
           if ($arg_id !~ "^[a-z]{2}$") { break; }
           if (!-f "$document_root/x.html") { return 301 https://$host$request_uri; }
           if ($request_method = POST ) { return 200 ok; }"#,
    );
    let operations = &server(&settings).root.rewrite;
    let conditions: Vec<&Condition> = operations
        .iter()
        .map(|operation| match operation {
            Operation::If { condition, .. } => condition,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(conditions[0], Condition::True(_)));
    assert!(matches!(conditions[1], Condition::Equal { text: right, negate: false, .. } if *right == text("b c")));
    assert!(matches!(conditions[2], Condition::Equal { text, negate: true, .. } if text.parts.is_empty()));
    assert!(
        matches!(conditions[3], Condition::Matches { regex, negate: false, .. } if regex.compiled.is_match(b"A BadBot").unwrap())
    );
    assert!(matches!(conditions[4], Condition::Matches { regex, negate: true, .. } if &*regex.source == "^[a-z]{2}$"));
    assert!(matches!(conditions[5], Condition::File { negate: true, .. }));
    assert!(matches!(conditions[6], Condition::Equal { text: right, .. } if *right == text("POST")));
}

#[test]
fn rewrites_keep_or_drop_arguments_and_redirect_to_urls() {
    let settings = settings(
        "",
        r"rewrite ^/a/(?<who>.*)$ /b/$1? last; rewrite ^/c http://x/; rewrite ^/d /e permanent; rewrite ^/f /g; set $args a=$who;",
    );
    let operations = &server(&settings).root.rewrite;
    let flags: Vec<(RewriteFlag, bool)> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Rewrite { flag, drop_args, .. } => Some((*flag, *drop_args)),
            _ => None,
        })
        .collect();
    assert_eq!(
        flags,
        [
            (RewriteFlag::Last, true),
            (RewriteFlag::Redirect, false),
            (RewriteFlag::Permanent, false),
            (RewriteFlag::Continue, false)
        ]
    );
    assert!(matches!(&operations[4], Operation::SetArgs(value) if value.parts.len() == 2));
}

#[test]
fn locations_are_ready_for_nginx_order_of_choice() {
    let settings = settings(
        "",
        r"location / { } location /long/er { } location ^~ /long { } location = /x { } location =/y { }
          location ~ \.a$ { } location ~* \.b$ { } location @named { return 418; }",
    );
    let server = server(&settings);
    let prefixes: Vec<&[u8]> = server
        .locations
        .prefixes
        .iter()
        .map(|location| match &location.matched {
            Match::Prefix(uri) | Match::StrongPrefix(uri) => &**uri,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(prefixes, [&b"/long/er"[..], b"/long", b"/"]);
    assert_eq!(server.locations.exact.len(), 2);
    assert!(
        matches!(&server.locations.regexes[1].matched, Match::Regex(regex) if regex.compiled.is_match(b"/x.B").unwrap())
    );
    assert!(server.named.contains_key("named"));
}

#[test]
fn sockets_gather_their_servers_by_name() {
    let text = "events {} http {
        server { listen 8080; server_name first.example; }
        server { listen 8080 default_server backlog=64; server_name Second.Example *.wild.example .both.example; }
        server { listen 8080; listen [::1]:9090 reuseport; listen unix:/run/p.sock; server_name ~^re\\d+$ www.x.*; }
        server { listen 8080; server_name first.example; }
        server { listen 0.0.0.0:8443 quic; listen 9091 proxy_protocol http2; } }";
    let Loaded { settings, notes, .. } = loaded_as(text, None, false);
    assert_eq!(settings.listeners.len(), 4);
    let listener = &settings.listeners[0];
    assert_eq!(listener.address, ListenAddress::Ip("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(listener.backlog, Some(64));
    assert_eq!(&*listener.names.default.name, "second.example");
    assert!(listener.names.exact.contains_key("second.example") && listener.names.exact.contains_key("first.example"));
    assert_eq!((listener.names.masks.len(), listener.names.regexes.len()), (3, 1));
    assert_eq!(settings.listeners[2].address, ListenAddress::Unix("/run/p.sock".into()));
    assert!(settings.listeners[3].proxy_protocol && settings.listeners[3].http2);
    assert_eq!(notes[0].text, "conflicting server name \"first.example\" on 0.0.0.0:8080, ignored");
}

#[test]
fn tables_define_variables_that_may_be_used_before() {
    let settings = settings(
        "add_header X $a$b$c;
         map $http_upgrade $a { default up; '' close; ~*^web(?<rest>.*)$ $rest; *.x.y mask; hostnames; }
         geo $b { default 0; 10.0.0.0/8 1; 10.1.0.0/16 2; ranges; 192.168.0.1-192.168.0.2 3; }
         split_clients $remote_addr $c { 0.5% one; * rest; }",
        "",
    );
    let find = |name: &str| settings.variables.iter().find(|variable| &*variable.name == name).unwrap();
    let Source::Map(map) = &find("a").source else { panic!() };
    assert_eq!((map.exact.len(), map.masks.len(), map.regexes.len()), (1, 1, 1));
    assert_eq!((&map.key, &map.default), (&of(Variable::Http("upgrade".into())), &text("up")));
    let Source::Geo(geo) = &find("b").source else { panic!() };
    assert_eq!(geo.key, of(Variable::Builtin(Builtin::RemoteAddr)));
    let prefixes: Vec<u8> = geo.networks.iter().map(|(network, _)| network.prefix_len()).collect();
    assert_eq!(prefixes, [32, 32, 16, 8]);
    let Source::Split(split) = &find("c").source else { panic!() };
    assert_eq!(split.ranges[1].0, 1 << 32);
    assert!(matches!(find("rest").source, Source::Assigned));
}

#[test]
fn a_set_variable_named_like_a_header_still_reads_it() {
    let settings = settings("add_header X $http_a;", "if ($arg_x) { set $http_a 1; }");
    let variable = settings.variables.iter().find(|variable| &*variable.name == "http_a").unwrap();
    assert!(matches!(&variable.source, Source::Map(map) if map.default == of(Variable::Http("a".into()))));
}

#[test]
fn answers_take_their_values_from_nginx_directives() {
    let settings = location(
        "expires -1; default_type text/x; types { a/b C; } error_page 403 =200 /denied.html; error_page 404 = @f;
         limit_except GET { deny all; } satisfy any; auth_basic r; auth_basic_user_file users; keepalive_timeout 65 60;
         server_tokens off; set_real_ip_from 127.0.0.1; secure_link $arg_h; secure_link_md5 k; gzip on; gzip_types *;
         access_log logs/a combined if=$arg_l; client_max_body_size 1g; internal; alias /x/;",
    );
    let location = only_location(&settings);
    let core = &location.core;
    assert_eq!((core.expires.clone(), &*core.default_type), (Some(Expires::In(-1)), "text/x"));
    assert_eq!(core.types.get("c").map(|kind| &**kind), Some("a/b"));
    assert_eq!((core.error_pages[0].replace, core.error_pages[1].replace), (Some(Some(200)), Some(None)));
    let limited = &location.limit_except.as_ref().unwrap().location;
    assert_eq!((limited.core.access.len(), &limited.handler, core.access.len()), (1, &Handler::Static, 0));
    assert_eq!(core.auth_basic.as_ref().unwrap().user_file, text("/srv/conf/users"));
    assert_eq!((core.keepalive_timeout, core.keepalive_header), (65_000, Some(60)));
    assert_eq!(&*core.realip.as_ref().unwrap().header, "x-real-ip");
    assert!(core.gzip.as_ref().unwrap().all_types && core.satisfy_any && core.internal && core.root.alias == Some(2));
    assert!(core.access_log[0].condition.is_some() && core.secure_link.is_some() && !core.server_tokens);
    assert_eq!(core.client_max_body_size, 1 << 30);
}

#[test]
fn limits_share_their_zones() {
    let settings = settings(
        "limit_conn_zone $binary_remote_addr zone=c:1m; limit_req_zone $arg_k zone=r:1m rate=30r/m;",
        "limit_conn c 5; limit_req zone=r burst=3 nodelay; limit_req_status 429;",
    );
    let core = &server(&settings).root.core;
    assert_eq!((core.limit_conn[0].zone, core.limit_conn[0].most, core.limit_conn[0].status), (0, 5, 503));
    let request = &core.limit_req[0];
    assert_eq!((request.zone, request.burst, request.nodelay, request.status), (1, 3, u32::MAX, 429));
    assert_eq!(settings.limit_zones[1].rate, Some(500));
}

const OLD: &str = r"events {} http {
    push_stream_max_number_of_broadcast_channels 5; push_stream_broadcast_channel_prefix all_;
    server { listen 8080;
        location /pub { push_stream_publisher admin; set $push_stream_channel_id $arg_id; push_stream_keepalive on; }
        location /sub { push_stream_subscriber; push_stream_eventsource_support on; set $push_stream_channels_path $1; }
        location /lp { push_stream_subscriber long-polling; push_stream_eventsource_support on; push_stream_content_type text/x; }
        location /ws { push_stream_websocket; }
    } }";

#[test]
fn what_nginx_adds_up_is_added_up() {
    let settings = settings(
        "gzip on; gzip_types text/css; gzip_types image/png; gzip_proxied expired; gzip_proxied auth; ssl_protocols TLSv1.2;
         ssl_protocols TLSv1.3; secure_link_secret s; limit_zone one $binary_remote_addr 10m; charset_types a/b; charset_types c/d;",
        "location /s { limit_conn one 1; charset utf-8; gzip_types a/b; }",
    );
    let gzip = server(&settings).root.core.gzip.as_ref().unwrap();
    assert_eq!(gzip.types.iter().map(|kind| &**kind).collect::<Vec<_>>(), ["text/css", "image/png", "text/html"]);
    assert_eq!(gzip.proxied.len(), 2);
    let core = &only_location(&settings).core;
    assert_eq!(core.gzip.as_ref().unwrap().types.len(), 2);
    assert_eq!((core.limit_conn[0].most, settings.limit_zones[0].size), (1, 10 << 20));
    let charset = core.charset.as_ref().unwrap();
    assert!(["A/b", "c/d", "text/html"].iter().all(|kind| charset.is_for(kind)) && !charset.is_for("text/plain"));
}

#[test]
fn the_log_of_http_counts_where_main_has_none() {
    let logs = |main: &str, http: &str| {
        let text = format!("{main} events {{}} http {{ {http} server {{ error_log below; }} }}");
        let Loaded { settings, notes, .. } = loaded_as(&text, None, false);
        let unapplied =
            notes.iter().filter(|note| note.text.starts_with("the \"error_log\" directive is not applied")).count();
        (settings.process.error_log.iter().map(|log| format!("{:?}", log.target)).collect::<String>(), unapplied)
    };
    assert_eq!(logs("", "error_log logs/http;"), ("File(\"/srv/logs/http\")".to_owned(), 1));
    assert_eq!(logs("error_log logs/main;", "error_log logs/http;"), ("File(\"/srv/logs/main\")".to_owned(), 1));
}

#[test]
fn what_is_accepted_but_not_done_is_said() {
    let text = "env A=b; env PATH; events {} http { tcp_nodelay off; reset_timedout_connection on; server {
        listen 8080 reuseport fastopen=3; } }";
    let said: String = loaded_as(text, None, false).notes.into_iter().map(|note| note.text + "\n").collect();
    for words in [
        "\"A=b\" of the \"env\" directive is not applied",
        "\"off\" of the \"tcp_nodelay\" directive is not applied",
        "the \"reset_timedout_connection\" directive is not applied",
        "\"fastopen=3\" of the \"listen\" directive is not applied",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
}

#[test]
fn websocket_messages_have_a_limit_of_their_own() {
    let most = |values: &str| only_location(&location(values)).push.websocket_max_message_size;
    assert_eq!(most("client_max_body_size 1k;"), 1 << 20);
    assert_eq!(most("push_stream_websocket_max_message_size 2k;"), 2048);
}

#[test]
fn a_server_is_foreign_if_it_serves_more_than_push_and_error_pages() {
    let push = "location /sub { push_stream_subscriber; push_stream_channels_path x; }";
    let pages = "error_page 403 /403.html; location ^~ /403.html { root /p; } location @f { proxy_pass http://b; }
        location = /page { root /p; } error_page 404 /page; location / { deny all; }";
    for (values, foreign) in [
        (push.to_owned(), false),
        (format!("{push} {pages}"), false),
        (format!("{push} root /p; location / {{ return 404; }}"), false),
        (format!("{push} root /p;"), true),
        (format!("{push} location / {{ proxy_pass http://b; }}"), true),
        (format!("{push} location /files {{ alias /p; }}"), true),
    ] {
        let settings = settings("", &values);
        let server = server(&settings);
        assert_eq!((server.is_foreign(), server.serves_push()), (foreign, true), "{values}");
    }
}

#[test]
fn files_are_included_in_order_and_told() {
    let directory = std::env::temp_dir().join(format!("pushstreamd-include-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("parts")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    write("nginx.conf", "include mime.types; events {} http { include parts/*.conf; include none/*.conf; }");
    write("parts/2.conf", "server { listen 8082; location / { push_stream_publisher; push_stream_channels_path x; } }");
    write("parts/1.conf", "push_stream_shared_memory_size 1m;\r\nserver { listen 8081; include parts/in; }");
    write("parts/in", "location / { return 200 \"a;{b}\"; } # the end");
    let options = |strict| LoadOptions { file: directory.join("nginx.conf"), strict, ..LoadOptions::default() };
    let loaded = load(&options(false)).unwrap();
    let names: Vec<String> =
        loaded.files.iter().map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["nginx.conf", "1.conf", "in", "2.conf"]);
    assert_eq!(loaded.settings.listeners.len(), 2);
    assert!(loaded.notes[0].text.contains("mime.types"));
    assert!(
        load(&options(true)).unwrap_err().notes[0].text.contains("mime.types\" failed (2: No such file or directory)")
    );
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn directives_of_the_command_line_go_first() {
    let options = |file: &str| LoadOptions {
        text: Some(format!("{file} events {{ worker_connections 64; }}")),
        global_directives: "daemon off; pid run/x.pid;".into(),
        prefix: "/srv".into(),
        file: "f".into(),
        ..LoadOptions::default()
    };
    let process = load(&options("worker_processes auto; error_log stderr warn; env A=b;")).unwrap().settings.process;
    assert!(!process.daemon && process.pid.ends_with("srv/run/x.pid"));
    assert_eq!((process.worker_processes, process.worker_connections), (None, 64));
    assert_eq!(process.error_log.len(), 1);
    let error = load(&options("pid other;")).unwrap_err();
    assert_eq!(error.to_string(), "\"pid\" directive is duplicate in /srv/f:1");
}

#[test]
fn a_site_with_unknown_modules_loads() {
    let text = r#"events {} http {
        log_format main '$remote_addr "$request" ' '$upstream_response_time';
        header_filter_by_lua_block { if ngx.status == 200 then ngx.header["a"] = "}" end -- }
        }
        upstream b { ip_hash; server 127.0.0.1:8888 weight=5; keepalive 8 single; sticky; session_sticky hash=index; }
        fastcgi_split_path_info ^(.+\.php)(/.+)$; set_real_ip_from localhost; access_log "pipe:rollback logs/a interval=1d";
        brotli on; proxy_redirect ~^http://([^:]+):443(/.+)$ https://$1$2;
        server { access_log logs/a main; set $proxyserver http://b; location ~ \.php$ { fastcgi_pass b; fastcgi_param A $uri if_not_empty; } }
        server { listen 81 reuse_port so_keepalive=30m; location @fallback { proxy_pass $proxyserver; } error_page 404 = @fallback; } }
        stream { server { listen 1; proxy_pass x; anything { goes here; } } }"#;
    let Loaded { settings, notes, .. } = loaded_as(text, None, false);
    assert_eq!(settings.listeners.len(), 2);
    assert!(settings.log_formats.contains_key("main") && settings.log_formats.contains_key("combined"));
    assert!(notes.iter().any(|note| note.text.contains("\"header_filter_by_lua_block\" directive is not applied")));
}

#[test]
fn a_location_that_only_leads_on_to_push_is_no_site() {
    let foreign = |locations: &str| server(&settings("", locations)).foreign.is_some();
    let push = "location @push { push_stream_publisher; push_stream_channels_path $arg_id; }";
    assert!(!foreign(&format!("{push} location /p {{ try_files /none @push; }}")));
    assert!(foreign(&format!("{push} location /p {{ try_files $uri @push; }}")));
}
