//! Guards that pushstreamd cannot apply: a push location that one of them protects is not served.

use pushstreamd::internals::conf::directives::{Effect, FAMILIES};
use pushstreamd::internals::conf::settings::LogLevel;
use pushstreamd::internals::conf::{LoadOptions, Loaded, load};

use crate::support::Random;

/// Loads a text; the emergencies of a refusal.
fn judged(text: &str, change: impl Fn(&mut LoadOptions)) -> Result<Loaded, Vec<String>> {
    let mut options = LoadOptions {
        file: "nginx.conf".into(),
        prefix: "/nowhere".into(),
        text: Some(text.to_owned()),
        ..LoadOptions::default()
    };
    change(&mut options);
    load(&options).map_err(|error| error.notes.iter().map(|note| note.text.clone()).collect())
}

fn refusal(text: &str) -> Vec<String> {
    judged(text, |_| ()).err().unwrap_or_else(|| panic!("it loads: {text}"))
}

fn loaded(text: &str) -> Loaded {
    judged(text, |_| ()).unwrap_or_else(|notes| panic!("{notes:?}\n{text}"))
}

const PUSH: &str = "push_stream_publisher admin; push_stream_channels_path $arg_id;";

fn http(http: &str, server: &str, location: &str) -> String {
    format!(
        "events {{}} http {{ push_stream_shared_memory_size 8m; {http}\n server {{ listen 127.0.0.1:1; {server}\n \
         location = /pub {{ {location}\n {PUSH} }} location = /site {{ return 204; }} }} }}"
    )
}

/// A directive of each pattern of guards, as it may be written.
fn guards() -> Vec<String> {
    let of_guards = FAMILIES.iter().filter(|family| family.effect == Effect::Guards);
    let names = of_guards.flat_map(|family| family.names.split_ascii_whitespace());
    let mut all = Vec::new();
    for pattern in names {
        all.push(format!("{};", pattern.replace('*', "_nobody_knows")));
        if pattern.contains("_by_lua") {
            let name = pattern.trim_end_matches('*');
            all.push(format!("{name}_file /guard.lua;"));
            all.push(format!("{name}_block {{ if ngx.var.x then ngx.exit(403) end }}"));
        }
    }
    assert!(all.len() > 60);
    all
}

#[test]
fn every_guard_that_applies_to_a_push_location_ends_the_loading_and_is_named_with_its_line() {
    for guard in guards() {
        let name = guard.split([' ', ';']).next().unwrap();
        for (place, line, text) in [
            ("the location", 3, http("", "", &guard)),
            ("the server", 2, http("", &guard, "")),
            ("http", 1, http(&guard, "", "")),
            ("an if", 3, http("", "", &format!("if ($arg_x) {{ {guard} }}"))),
            ("limit_except", 3, http("", "", &format!("limit_except GET {{ {guard} }}"))),
        ] {
            let notes = refusal(&text);
            let told = format!(
                "\"{name}\" guards \"location = /pub\", and pushstreamd cannot apply it in /nowhere/nginx.conf:"
            );
            let found = notes.iter().find(|note| note.starts_with(&told));
            let found = found.unwrap_or_else(|| panic!("{guard} in {place}: {notes:?}"));
            assert!(found.ends_with(&format!(":{line}")), "{found}");
            assert!(notes.last().unwrap().contains("--accept-unguarded"), "{notes:?}");
        }
    }
}

#[test]
fn a_guard_elsewhere_or_turned_off_stops_nothing() {
    for guard in guards() {
        let elsewhere = format!(
            "events {{}} http {{ push_stream_shared_memory_size 8m; \
             server {{ listen 127.0.0.1:1; location /pub {{ {PUSH} }} location /other {{ {guard} return 204; }} }} \
             server {{ listen 127.0.0.1:2; {guard} }} }}"
        );
        loaded(&elsewhere);
    }
    for switch in ["auth_jwt", "auth_pam", "modsecurity", "auth_ldap", "waf", "auth_nobody_has_met"] {
        loaded(&http(&format!("{switch} \"x\";"), "", &format!("{switch} off;")));
        refusal(&http(&format!("{switch} off;"), &format!("{switch} \"x\";"), ""));
    }
}

#[test]
fn accepted_guards_are_warned_of_one_by_one() {
    let text = http("auth_jwt x;", "", "access_by_lua_file /x; make_coffee;");
    for strict in [false, true] {
        let loaded = judged(&text, |options| {
            options.accept_unguarded = true;
            options.strict = strict;
        });
        let notes = loaded.unwrap().notes;
        for name in ["auth_jwt", "access_by_lua_file", "make_coffee"] {
            let told =
                notes.iter().filter(|note| note.text.contains(&format!("\"{name}\"")) && note.text.contains("/pub"));
            assert!(told.clone().count() == 1 && told.clone().all(|note| note.level == LogLevel::Warn), "{notes:?}");
        }
        assert_eq!(judged(&text, |options| options.strict = strict).unwrap_err().len(), 4);
    }
}

#[test]
fn a_word_nobody_knows_is_refused_inside_a_push_location_and_counted_elsewhere() {
    let inside = refusal(&http("", "", "make_coffee strong;"));
    assert!(inside[0].starts_with("unknown directive \"make_coffee\" in \"location = /pub\""), "{inside:?}");
    refusal(&http("", "", "if ($arg_x) { make_coffee strong; }"));
    let elsewhere = http("make_coffee a; make_coffee b { whatever { is; in it; } }", "make_coffee c; serve_tea;", "");
    let notes: Vec<String> = loaded(&elsewhere).notes.into_iter().map(|note| note.text).collect();
    assert!(notes.iter().any(|note| note.starts_with("unknown directive \"make_coffee\" (3 times) is not applied")));
    assert!(notes.iter().any(|note| note.starts_with("unknown directive \"serve_tea\" is not applied")));
    // What only touches headers, logs or bodies does no harm inside either.
    for touching in
        ["more_set_headers 'A: b';", "log_by_lua_block { x() }", "brotli on;", "vhost_traffic_status_filter off;"]
    {
        loaded(&http("", "", touching));
    }
}

#[test]
fn a_misspelt_guard_does_not_stand_open() {
    for (guard, meant) in [("denny all;", "deny"), ("alow 10.0.0.1;", "allow"), ("auth_reqest /x;", "auth_request")] {
        for text in [http(guard, "", ""), http("", guard, ""), http("", "", guard)] {
            let notes = refusal(&text);
            assert!(
                notes
                    .iter()
                    .any(|note| note.contains(&format!("did you mean \"{meant}\"?")) || note.contains("guards")),
                "{notes:?}"
            );
        }
    }
}

/// A condition, a link, a limit or channels that hang on what nobody fills in.
#[test]
fn what_depends_on_a_variable_of_another_module_does_not_stand_open() {
    for (main, server, location, variable) in [
        ("geoip_country /x;", "if ($geoip_country_code = CN) { return 403; }", "", "geoip_country_code"),
        ("geoip_country /x;", "", "if ($geoip_country_code = CN) { return 403; }", "geoip_country_code"),
        ("", "", "if ($geoip2_data_country_code = CN) { return 403; }", "geoip2_data_country_code"),
        ("geoip2 /x { $where country iso_code; }", "", "if ($where != DE) { return 403; }", "where"),
        (
            "map $geoip_country_code $bad { CN 1; default 0; }",
            "set $refused $bad;",
            "if ($refused) { return 403; }",
            "geoip_country_code",
        ),
        ("js_set $verdict main.check;", "", "if ($verdict = no) { return 403; }", "verdict"),
        ("", "set_by_lua_block $verdict { return 1 }", "if ($verdict) { return 403; }", "verdict"),
        ("geo $near { default 0; proxy 10.0.0.0/8; 10.1.0.0/16 1; }", "", "if ($near = 0) { return 403; }", "near"),
        ("serve_tea;", "", "if ($naxsi_verdict) { return 403; }", "naxsi_verdict"),
        ("", "", "if ($ssl_client_fingerprint = abc) { return 403; }", "ssl_client_fingerprint"),
        ("limit_req_zone $geoip_city zone=z:1m rate=1r/s;", "limit_req zone=z;", "", "geoip_city"),
        ("limit_conn_zone $jwt_claim_sub zone=z:1m;", "", "limit_conn z 1;", "jwt_claim_sub"),
        ("", "", "secure_link $jwt_x; secure_link_md5 a;", "jwt_x"),
    ] {
        let notes = refusal(&http(main, server, location));
        assert!(notes.iter().any(|note| note.contains(&format!("depends on ${variable}, "))), "{notes:?}");
        // The same elsewhere is nobody's business.
        loaded(&http(main, "", ""));
    }
    let channels = "events {} http { push_stream_shared_memory_size 8m; js_set $who main.who; server { listen 127.0.0.1:1; \
                    location /sub { push_stream_subscriber; push_stream_channels_path user_$who; } } }";
    assert!(refusal(channels)[0].contains("depends on $who"));
    // nginx has no value for these either when it decides.
    loaded(&http("", "", "if ($upstream_status = 404) { return 403; }"));
    // What is only written down opens nothing.
    loaded(&http("log_format x '$geoip_country_code $vts_counter'; add_header A $geoip_city; brotli on;", "", ""));
}

#[test]
fn an_access_check_that_cannot_be_asked_is_refused() {
    let with = |auth: &str| http("", auth, "auth_request /auth;");
    for auth in [
        "location = /auth { fastcgi_pass 127.0.0.1:9000; }",
        "location /auth { proxy_pass https://127.0.0.1; }",
        "location ~ ^/a { content_by_lua_block { ngx.exit(403) } }",
        "location = /auth { js_content main.check; }",
        "location = /auth { ask_pass 127.0.0.1:1; }",
    ] {
        let notes = refusal(&with(auth));
        assert!(notes.iter().any(|note| note.contains("asks \"/auth\", which \"")), "{notes:?}");
    }
    for auth in ["location = /auth { proxy_pass http://127.0.0.1:9; }", "location /auth { return 403; }", ""] {
        loaded(&with(auth));
    }
    // What is asked is a guard itself.
    let notes = refusal(&with("location = /auth { access_by_lua_file /x; return 204; }"));
    assert!(notes[0].starts_with("\"access_by_lua_file\" guards \"location = /auth\""), "{notes:?}");
}

#[test]
fn revoked_certificates_matter_where_certificates_are_asked_for() {
    loaded(&http("", "ssl_crl /x;", ""));
    refusal(&http("", "ssl_crl /x; ssl_verify_client optional;", ""));
}

#[test]
fn guards_on_the_way_to_an_inner_push_location_count() {
    let with = |outer: &str| {
        format!(
            "events {{}} http {{ push_stream_shared_memory_size 8m; server {{ listen 127.0.0.1:1; \
             location /in {{ {outer} try_files /none @push; }} location @push {{ {PUSH} }} }} }}"
        )
    };
    loaded(&with(""));
    refusal(&with("access_by_lua_file /x;"));
    refusal(&with("if ($geoip_city) { return 403; }"));
}

/// Guards that can be turned off further in, and some that cannot.
const SWITCHES: [&str; 4] = ["auth_jwt", "modsecurity", "auth_pam", "waf"];
const HANDLERS: [&str; 3] = ["access_by_lua_file", "js_access", "rewrite_by_lua_file"];
/// What guards nothing, wherever it stands.
const HARMLESS: [&str; 6] = [
    "more_set_headers 'A: b';",
    "brotli on;",
    "log_by_lua_block { if x then y('}') end }",
    "vhost_traffic_status_filter on;",
    "auth_jwt_key_file /k;",
    "add_header A b;",
];

/// A configuration made from a seed, and whether a push location in it has a guard that cannot be applied: kept beside the
/// text by what is said of inheritance, not by looking at the text.
struct Mixture {
    random: Random,
    text: String,
    open: bool,
}

impl Mixture {
    fn of(seed: u64) -> Self {
        let mut mixture = Self { random: Random(seed), text: String::new(), open: false };
        mixture.text += "events {} http { push_stream_shared_memory_size 8m; ";
        let http = mixture.values(&[]);
        for port in 1..=1 + mixture.random.below(2) {
            mixture.text += &format!("server {{ listen 127.0.0.1:{port}; ");
            let server = mixture.values(&http);
            mixture.locations(&server, "", 0);
            mixture.text += "} ";
        }
        mixture.text += "}";
        mixture
    }

    /// Directives of a block; the guards that are on in it after them.
    fn values(&mut self, around: &[&'static str]) -> Vec<&'static str> {
        let mut on = around.to_vec();
        for name in SWITCHES {
            match self.random.below(12) {
                0 => {
                    self.text += &format!("{name} on; ");
                    on.push(name);
                }
                1 => {
                    self.text += &format!("{name} off; ");
                    on.retain(|other| *other != name);
                }
                _ => {}
            }
        }
        if self.random.below(16) == 0 {
            let name = *self.random.pick(&HANDLERS);
            self.text += &format!("{name} /guard; ");
            on.push(name);
        }
        if self.random.below(3) == 0 {
            self.text += *self.random.pick(&HARMLESS);
        }
        on
    }

    fn unknown(&mut self, one_in: u64) -> bool {
        let stands = self.random.below(one_in) == 0;
        if stands {
            self.text += "make_coffee strong; ";
        }
        stands
    }

    fn locations(&mut self, around: &[&'static str], path: &str, depth: u64) {
        for number in 0..=self.random.below(3) {
            let path = format!("{path}/{number}");
            self.text += &format!("location {path} {{ ");
            let pushes = self.random.below(2) == 0;
            let on = self.values(around);
            let unknown = self.unknown(if pushes { 12 } else { 2 });
            if pushes {
                self.text += PUSH;
            }
            let mut open = !on.is_empty() || unknown;
            if self.random.below(3) == 0 {
                self.text += "if ($arg_x) { ";
                let within = self.values(&on);
                open |= !within.is_empty() | self.unknown(12);
                self.text += "} ";
            }
            self.open |= pushes && open;
            if depth < 2 && self.random.below(3) == 0 {
                self.locations(&on, &path, depth + 1);
            }
            self.text += "} ";
        }
    }
}

#[test]
fn nothing_that_guards_a_push_location_is_waved_through_and_nothing_else_stops_a_start() {
    let (mut refused, mut loaded) = (0, 0);
    for seed in 1..=150 {
        let mixture = Mixture::of(seed);
        let verdict = judged(&mixture.text, |_| ());
        assert_eq!(verdict.is_err(), mixture.open, "seed {seed}: {:?}\n{}", verdict.err(), mixture.text);
        if mixture.open { refused += 1 } else { loaded += 1 }
    }
    assert!(refused > 30 && loaded > 30, "{refused} {loaded}");
}
