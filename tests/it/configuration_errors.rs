//! What a configuration is refused for, and with which words: nginx's and the module's.

use proptest::prelude::*;
use pushstreamd::internals::conf::{LoadOptions, directives, load};
use pushstreamd::internals::model::Line;

/// Loads a text as the main file; the notes of a refusal, place cut off, or what it was accepted with.
fn judge(text: &str, compat: Option<Line>, strict: bool) -> Result<Vec<String>, Vec<String>> {
    let options = LoadOptions {
        file: "nginx.conf".into(),
        prefix: "/nowhere".into(),
        text: Some(text.to_owned()),
        compat,
        strict,
        ..LoadOptions::default()
    };
    let shown = |notes: &[pushstreamd::internals::conf::Note]| {
        let line = |note: &pushstreamd::internals::conf::Note| {
            let text = note.text.rsplit_once(" in /nowhere/nginx.conf:").map_or(&*note.text, |(text, _)| text);
            format!("[{}] {text}", format!("{:?}", note.level).to_lowercase())
        };
        notes.iter().map(line).collect()
    };
    match load(&options) {
        Ok(loaded) => Ok(shown(&loaded.notes)),
        Err(error) => Err(shown(&error.notes)),
    }
}

fn http(main: &str, server: &str) -> String {
    format!("events {{}} http {{ push_stream_shared_memory_size 8m; {main} server {{ {server} }} }}")
}

fn location(values: &str) -> String {
    format!("location /s {{ push_stream_subscriber; push_stream_channels_path $arg_id; {values} }}")
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    assert_eq!(judge(text, None, true), Err(words.iter().map(ToString::to_string).collect()), "{text}");
}

#[track_caller]
fn accepted(text: &str) {
    assert_eq!(judge(text, None, true), Ok(Vec::new()), "{text}");
}

#[test]
fn values_are_refused_with_the_words_for_their_type() {
    for (main, words) in [
        ("push_stream_message_ttl soon;", "[emerg] \"push_stream_message_ttl\" directive invalid value"),
        ("push_stream_message_ttl 1500ms;", "[emerg] \"push_stream_message_ttl\" directive invalid value"),
        (
            "push_stream_max_number_of_channels -1;",
            "[emerg] \"push_stream_max_number_of_channels\" directive invalid number",
        ),
        (
            "push_stream_timeout_with_body yes;",
            "[emerg] invalid value \"yes\" in \"push_stream_timeout_with_body\" directive, it must be \"on\" or \"off\"",
        ),
        ("push_stream_message_ttl;", "[emerg] invalid number of arguments in \"push_stream_message_ttl\" directive"),
        (
            "push_stream_message_ttl 1; push_stream_message_ttl 2;",
            "[emerg] \"push_stream_message_ttl\" directive is duplicate",
        ),
        (
            "push_stream_message_ttl 10 server {",
            "[emerg] invalid number of arguments in \"push_stream_message_ttl\" directive",
        ),
        ("push_stream_make_coffee on;", "[emerg] unknown directive \"push_stream_make_coffee\""),
        ("push_stream_subscriber;", "[emerg] \"push_stream_subscriber\" directive is not allowed here"),
    ] {
        let words = if main.ends_with('{') {
            "[emerg] directive \"push_stream_message_ttl\" is not terminated by \";\""
        } else {
            words
        };
        refused(&http(main, &location("")), &[words]);
    }
}

#[test]
fn the_zone_is_checked_only_where_the_module_is_used() {
    for name in [
        "message_ttl",
        "max_number_of_channels",
        "max_number_of_wildcard_channels",
        "max_subscribers_per_channel",
        "max_messages_stored_per_channel",
        "max_channel_id_length",
    ] {
        let main = format!("push_stream_{name} 0;");
        let words = format!("[error] push stream module: push_stream_{name} cannot be zero.");
        refused(&http(&main, &location("")), &[&words]);
        accepted(&http(&main, ""));
    }
    accepted("events {} http { server { location / { return 204; } } }");
    refused(
        &format!("events {{}} http {{ server {{ {} }} }}", location("")),
        &["[error] push stream module: push_stream_shared_memory_size must be set."],
    );
}

#[test]
fn the_size_of_the_zone_is_checked_everywhere() {
    let with = |sizes: &str| format!("events {{}} http {{ {sizes} }}");
    for size in ["64k", "lots", "1g"] {
        refused(
            &with(&format!("push_stream_shared_memory_size {size};")),
            &["[warn] The push_stream_shared_memory_size value must be at least 128KiB"],
        );
    }
    refused(
        &with("push_stream_shared_memory_size 8m; push_stream_shared_memory_size 8m;"),
        &["[emerg] duplicate zone \"push_stream_module\""],
    );
    refused(
        &with("push_stream_shared_memory_size 8m; push_stream_shared_memory_size 9m;"),
        &[
            "[emerg] the size 9437184 of shared memory zone \"push_stream_module\" conflicts with already declared size 8388608",
        ],
    );
    accepted(&with("push_stream_shared_memory_size 8m a; push_stream_shared_memory_size 9m b;"));
}

#[test]
fn locations_with_a_mode_are_checked() {
    for (values, words) in [
        ("push_stream_message_template '';", "push_stream_message_template cannot be blank."),
        ("push_stream_ping_message_interval 0;", "push_stream_ping_message_interval cannot be zero."),
        ("push_stream_subscriber_connection_ttl 0ms;", "push_stream_subscriber_connection_ttl cannot be zero."),
        ("push_stream_longpolling_connection_ttl 0;", "push_stream_longpolling_connection_ttl cannot be zero."),
        ("push_stream_wildcard_channel_max_qtd 0;", "push_stream_wildcard_channel_max_qtd cannot be zero."),
        (
            "push_stream_wildcard_channel_max_qtd 2;",
            "cannot set wildcard channel max qtd if push_stream_wildcard_channel_prefix is not set or blank.",
        ),
    ] {
        refused(&http("", &location(values)), &[&format!("[error] push stream module: {words}")]);
        accepted(&http("", &format!("location /s {{ {values} }}")));
    }
    let unset = "[error] push stream module: push_stream_channels_path must be set.";
    for mode in ["push_stream_subscriber", "push_stream_publisher", "push_stream_channels_statistics"] {
        refused(&http("", &format!("location /s {{ {mode}; }}")), &[unset]);
    }
    accepted(&http("push_stream_channels_path x;", "location /s { push_stream_subscriber; }"));
}

#[test]
fn modes_are_refused_twice_or_unknown() {
    refused(
        &http("", &location("push_stream_publisher;")),
        &["[emerg] \"push_stream_publisher\" directive is duplicate"],
    );
    accepted(&http("", &location("push_stream_channels_statistics;")));
    refused(
        &http("", "location /s { push_stream_subscriber pigeon; }"),
        &[
            "[error] push stream module: invalid push_stream_subscriber mode value: pigeon, accepted values (streaming, polling, long-polling, eventsource, websocket)",
        ],
    );
    refused(
        &http("", "location /s { push_stream_publisher root; }"),
        &[
            "[error] push stream module: invalid push_stream_publisher mode value: root, accepted values (normal, admin)",
        ],
    );
}

#[test]
fn padding_rules_are_refused_with_two_lines() {
    let unable = "[error] push stream module: push stream module: unable to parse paddings by user agent";
    for (rules, words) in [
        ("agent,x,y", "[error] push stream module: padding pattern not match the value agent,x,y"),
        ("a,1,0:b;2;0:c,3,0", "[error] push stream module: error applying padding pattern to b;2;0:c,3,0"),
        ("a(,1,2", "[emerg] pcre2_compile() failed: missing closing parenthesis in \"a(\""),
    ] {
        let rules = format!("push_stream_padding_by_user_agent '{rules}';");
        refused(&http("", &location(&rules)), &[words, unable]);
        accepted(&http("", &format!("location /p {{ push_stream_publisher; push_stream_channels_path x; {rules} }}")));
    }
    accepted(&http("", &location("push_stream_padding_by_user_agent 'a,b,1,2:c,3,4:';")));
}

#[test]
fn syntax_is_refused_with_its_place() {
    let place = |text: &str| {
        let options = LoadOptions {
            file: "nginx.conf".into(),
            prefix: "/nowhere".into(),
            text: Some(text.to_owned()),
            ..LoadOptions::default()
        };
        load(&options).unwrap_err().notes[0].text.clone()
    };
    for (text, words) in [
        ("events {}\n}\n", "unexpected \"}\" in /nowhere/nginx.conf:2"),
        ("events {\n", "unexpected end of file, expecting \"}\" in /nowhere/nginx.conf:2"),
        ("pid x", "unexpected end of file, expecting \";\" or \"}\" in /nowhere/nginx.conf:1"),
        ("\n\nhttp;", "directive \"http\" has no opening \"{\" in /nowhere/nginx.conf:3"),
        ("pid x {", "directive \"pid\" is not terminated by \";\" in /nowhere/nginx.conf:1"),
        ("http {}", "no \"events\" section in configuration"),
        ("events {} pid a; pid b;", "\"pid\" directive is duplicate in /nowhere/nginx.conf:1"),
        (
            "events {} include none.conf;",
            "open() \"/nowhere/none.conf\" failed (2: No such file or directory) in /nowhere/nginx.conf:1",
        ),
        (
            "events {} http { server { location /s { } location /s { } } }",
            "duplicate location \"/s\" in /nowhere/nginx.conf:1",
        ),
        ("events {} http { server { return 200 $no; } }", "unknown \"no\" variable"),
        (
            "events {} http { server { return 200 ${no; } }",
            "the closing bracket in \"no\" variable is missing in /nowhere/nginx.conf:1",
        ),
        (
            "events {} http { server { location = /a { location /a/b { } } } }",
            "location \"/a/b\" cannot be inside the exact location \"/a\" in /nowhere/nginx.conf:1",
        ),
    ] {
        assert_eq!(place(text), words, "{text}");
    }
}

#[test]
fn the_module_complains_at_the_end_of_http() {
    let text = "events {}\nhttp {\n push_stream_shared_memory_size 1m;\n server { location / {\n push_stream_subscriber; } }\n}\n";
    let options = LoadOptions { text: Some(text.into()), file: "f".into(), ..LoadOptions::default() };
    let error = load(&options).unwrap_err();
    assert_eq!(error.notes[0].text, "push stream module: push_stream_channels_path must be set. in f:6");
}

#[test]
fn each_version_knows_its_own_names() {
    let old = "events {} http { server { location /s { push_stream_websocket; push_stream_content_type x; } } }";
    let new = http("", &location(""));
    let since_035 = "events {} http { push_stream_channel_inactivity_time 10s; }";
    for (line, knows_old, knows_new, knows_035) in [
        (Line::V034, true, false, false),
        (Line::V035, true, false, true),
        (Line::V040, false, true, true),
        (Line::V05, false, true, true),
    ] {
        for (text, known) in [(old, knows_old), (&new, knows_new), (since_035, knows_035)] {
            let judged = judge(text, Some(line), true);
            assert_eq!(judged.is_ok(), known, "{line:?} {text} {judged:?}");
        }
    }
}

#[test]
fn old_spellings_are_warned_of_and_accepted_beside_new_ones() {
    let text = http(
        "push_stream_broadcast_channel_prefix all_; push_stream_min_message_buffer_timeout 5m;",
        &location("push_stream_content_type text/x;"),
    );
    let notes = judge(&text, None, false).unwrap();
    assert_eq!(
        notes,
        [
            "[warn] the \"push_stream_broadcast_channel_prefix\" directive is an old spelling of \"push_stream_wildcard_channel_prefix\"",
            "[warn] the \"push_stream_min_message_buffer_timeout\" directive is an old spelling of \"push_stream_message_ttl\"",
            "[warn] the \"push_stream_content_type\" directive is of an older version of the module",
        ]
    );
}

#[test]
fn directives_that_are_not_applied_are_reported_once() {
    let text = http("proxy_buffers 8 16k; sendfile on;", "proxy_buffers 4 4k; location / { proxy_pass http://b; }");
    assert_eq!(
        judge(&text, None, false).unwrap(),
        [
            "[warn] the \"proxy_buffers\" directive is not applied by pushstreamd",
            "[warn] the \"proxy_pass\" directive is not applied by pushstreamd",
        ]
    );
}

/// A configuration with the directive in a place where it may stand.
fn around(row: &directives::Directive) -> String {
    let words = vec!["1"; row.args.min].join(" ");
    let block = row.is_block();
    let directive = format!("{} {words}{}", row.name, if block { " { }" } else { ";" });
    let held = |context| row.contexts.meets(context);
    if held(directives::MAIN) {
        format!("{directive} events {{}}")
    } else if held(directives::EVENTS) {
        format!("events {{ {directive} }}")
    } else if held(directives::HTTP) {
        format!("events {{}} http {{ {directive} }}")
    } else if held(directives::UPSTREAM) {
        format!("events {{}} http {{ upstream u {{ server 127.0.0.1; {directive} }} }}")
    } else if held(directives::SERVER) {
        format!("events {{}} http {{ server {{ {directive} }} }}")
    } else {
        format!("events {{}} http {{ server {{ location / {{ {directive} }} }} }}")
    }
}

#[test]
fn every_accepted_directive_is_accepted_where_it_may_stand() {
    use directives::Kind;
    for row in directives::all() {
        if matches!(row.kind, Kind::Silent | Kind::NotApplied | Kind::Skipped(_)) {
            let judged = judge(&around(row), None, false);
            assert!(judged.is_ok(), "{} {judged:?}", row.name);
        }
    }
}

#[test]
fn nginx_directives_are_known() {
    let documented = "absolute_redirect accept_mutex access_log add_after_body add_header add_trailer aio alias allow \
        ancient_browser auth_basic auth_basic_user_file auth_delay auth_request auth_request_set autoindex break charset \
        charset_map client_body_buffer_size client_body_temp_path client_header_buffer_size client_max_body_size daemon \
        dav_methods debug_connection default_type deny directio disable_symlinks empty_gif env error_log error_page etag \
        events expires fastcgi_cache fastcgi_index fastcgi_intercept_errors fastcgi_param fastcgi_pass \
        fastcgi_split_path_info flv geo geoip_country grpc_pass grpc_set_header gunzip gzip gzip_disable gzip_static \
        gzip_types hash http http2 http2_max_concurrent_streams http3 if if_modified_since ignore_invalid_headers \
        image_filter index internal ip_hash keepalive keepalive_disable keepalive_requests keepalive_time \
        keepalive_timeout large_client_header_buffers least_conn limit_conn limit_conn_zone limit_except limit_rate \
        limit_rate_after limit_req limit_req_zone lingering_close listen load_module location lock_file log_format \
        log_not_found log_subrequest mail map map_hash_bucket_size master_process max_ranges memcached_pass merge_slashes \
        min_delete_depth mirror mp4 msie_padding multi_accept open_file_cache output_buffers override_charset pcre_jit \
        perl perl_set pid port_in_redirect postpone_output proxy_bind proxy_buffer_size proxy_buffering proxy_buffers \
        proxy_cache proxy_cache_bypass proxy_cache_key proxy_cache_lock proxy_cache_path proxy_cache_use_stale \
        proxy_cache_valid proxy_connect_timeout proxy_cookie_domain proxy_cookie_flags proxy_cookie_path \
        proxy_force_ranges proxy_hide_header proxy_http_version proxy_ignore_client_abort proxy_ignore_headers \
        proxy_intercept_errors proxy_max_temp_file_size proxy_method proxy_next_upstream proxy_no_cache proxy_pass \
        proxy_pass_header proxy_pass_request_body proxy_read_timeout proxy_redirect proxy_request_buffering \
        proxy_send_timeout proxy_set_body proxy_set_header proxy_socket_keepalive proxy_ssl_certificate proxy_ssl_name \
        proxy_ssl_server_name proxy_ssl_verify proxy_store proxy_temp_path random random_index real_ip_header \
        real_ip_recursive recursive_error_pages referer_hash_max_size reset_timedout_connection resolver return rewrite \
        rewrite_log root satisfy scgi_param scgi_pass secure_link secure_link_md5 secure_link_secret send_lowat \
        send_timeout sendfile sendfile_max_chunk server server_name server_name_in_redirect \
        server_names_hash_bucket_size server_tokens set set_real_ip_from slice source_charset split_clients ssi ssl \
        ssl_buffer_size ssl_certificate ssl_certificate_key ssl_ciphers ssl_client_certificate ssl_conf_command ssl_crl \
        ssl_dhparam ssl_early_data ssl_ecdh_curve ssl_engine ssl_ocsp ssl_password_file ssl_prefer_server_ciphers \
        ssl_protocols ssl_reject_handshake ssl_session_cache ssl_session_ticket_key ssl_session_tickets \
        ssl_session_timeout ssl_stapling ssl_trusted_certificate ssl_verify_client ssl_verify_depth stream stub_status \
        sub_filter subrequest_output_buffer_size tcp_nodelay tcp_nopush thread_pool timer_resolution try_files types \
        types_hash_max_size underscores_in_headers uninitialized_variable_warn upstream use user userid uwsgi_param \
        uwsgi_pass valid_referers variables_hash_max_size worker_aio_requests worker_connections worker_cpu_affinity \
        worker_priority worker_processes worker_rlimit_core worker_rlimit_nofile worker_shutdown_timeout \
        working_directory xslt_stylesheet zone";
    let unknown: Vec<&str> =
        documented.split_whitespace().filter(|name| directives::named(name).next().is_none()).collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

#[test]
fn blocks_may_nest_deeply_but_not_without_end() {
    let nested = |depth: usize| {
        let open: String = (0..depth).map(|_| "location / { ").collect();
        format!("events {{}} http {{ server {{ {open} {} }} }}", "}".repeat(depth))
    };
    accepted(&nested(60));
    let refused = judge(&nested(2000), None, true).unwrap_err();
    assert_eq!(refused, ["[emerg] blocks and includes are nested too deeply"]);
}

/// All rows but `listen`, which would ask the resolver about made-up host names.
fn rows() -> Vec<directives::Directive> {
    directives::all().iter().filter(|row| row.name != "listen").copied().collect()
}

/// Words that make a configuration likely to get far before it is refused.
fn vocabulary() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = rows().iter().map(|row| row.name).collect();
    prop_oneof![
        4 => proptest::sample::select(names).prop_map(str::to_owned),
        6 => proptest::sample::select(vec![
            "{", "}", ";", "on", "off", "0", "1", "8m", "30s", "$arg_id", "$x", "${", "\"", "'", "~", "=", "(", ")", "/a",
            "@n", "($x)", "*.a", "127.0.0.1:80", "events {}", "http {", "server {", "location / {", "if ($x) {", "#", "\n",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text: String) {
        let _ = judge(&text, None, false);
    }

    #[test]
    fn no_sequence_of_words_makes_the_loader_panic(words in proptest::collection::vec(vocabulary(), 0..60)) {
        let _ = judge(&words.join(" "), None, false);
        let inside = format!("events {{}} http {{ server {{ location / {{ {} }} }} }}", words.join(" "));
        let _ = judge(&inside, None, true);
    }

    #[test]
    fn no_value_makes_a_directive_panic(
        row in proptest::sample::select(rows()),
        words in proptest::collection::vec("[a-z0-9$=~.,:;/*@%\\[\\](){}\\\\-]{0,8}", 0..4),
    ) {
        let directive = format!("{} {};", row.name, words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" "));
        for text in [
            format!("{directive} events {{}}"),
            http(&directive, &location("")),
            http("", &directive),
            http("", &location(&directive)),
            http("", &format!("location / {{ if ($arg_x) {{ {directive} }} }}")),
        ] {
            let _ = judge(&text, None, false);
        }
    }
}

#[test]
fn the_modules_name_stands_before_its_complaints_since_04() {
    let bad = http("", &location("push_stream_message_template '';"));
    for (line, words) in [
        (Line::V034, "[error] push_stream_message_template cannot be blank."),
        (Line::V035, "[error] push_stream_message_template cannot be blank."),
        (Line::V040, "[error] push stream module: push_stream_message_template cannot be blank."),
    ] {
        assert_eq!(judge(&bad, Some(line), false), Err(vec![words.to_owned()]), "{line:?}");
    }
    let padding = http("", &location("push_stream_padding_by_user_agent x;"));
    let told = [
        "[error] padding pattern not match the value x",
        "[error] push stream module: unable to parse paddings by user agent",
    ];
    assert_eq!(judge(&padding, Some(Line::V034), false), Err(told.map(str::to_owned).to_vec()));
}

#[test]
fn a_header_template_that_is_a_directory_is_told_with_both_lines() {
    refused(
        &http("", &location("push_stream_header_template_file /;")),
        &[
            "[crit] pread() \"/\" failed (21: Is a directory)",
            "[error] push stream module: unable to read data from file \"/\" for header template",
        ],
    );
}

#[test]
fn a_misspelt_name_of_the_module_is_told_with_the_one_that_was_meant() {
    let bad = http("push_stream_mesage_ttl 1;", "");
    let told = "[emerg] unknown directive \"push_stream_mesage_ttl\", did you mean \"push_stream_message_ttl\"?";
    assert_eq!(judge(&bad, None, false), Err(vec![told.to_owned()]));
    refused(&bad, &["[emerg] unknown directive \"push_stream_mesage_ttl\""]);
}
