//! From a request to what answers it, phase after phase, against settings built by hand.

use std::sync::Arc;

use crate::conf::Settings;
use crate::conf::settings::*;
use crate::conf::variable::{Definition, Geo, Map, Source};
use crate::request::head::BadHead;
use crate::site::fixture::*;
use crate::site::phases::{Routed, authorized, route};

/// A site of one server with these locations.
pub(crate) fn site(all: Vec<Location>) -> Settings {
    settings(server(location(0, "root"), all, vec![]))
}

pub(crate) fn static_location(number: usize, pattern: &str, root: &str) -> Location {
    let mut made = location(number, pattern);
    made.handler = Handler::Static;
    made.core.root.path = complex(root);
    made
}

/// A directory with a page, an index and an empty directory; gone when dropped.
pub(crate) struct Directory(pub std::path::PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pushstreamd-http-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("empty")).unwrap();
        std::fs::write(path.join("page.html"), "the page").unwrap();
        std::fs::write(path.join("index.html"), "the index").unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn deny() -> AccessRule {
    AccessRule { allow: false, who: Who::All }
}

fn returns(code: u16, text: Option<&str>) -> Operation {
    Operation::Return(Return { code, text: text.map(complex) })
}

fn rewrites(source: &str, replacement: &str, flag: RewriteFlag) -> Operation {
    Operation::Rewrite { regex: regex(source), replacement: complex(replacement), drop_args: false, flag }
}

#[test]
fn locations_are_chosen_as_nginx_does() {
    let settings = site(vec![
        location(1, "/one"),
        location(2, "/one/two"),
        location(3, "= /one/exact"),
        location(4, "^~ /one/strong"),
        location(5, "~ ^/one/.*\\.reg$"),
        location(6, "~* \\.ANY$"),
        location(7, "~ \\.any$"),
    ]);
    for (target, expected) in [
        ("/one", "serve 1"),
        ("/onemore?id=a.b1", "serve 1"),
        ("/one/two", "serve 2"),
        ("/one/twofold/x", "serve 2"),
        ("/one/exact", "serve 3"),
        ("/one/exact/", "serve 1"),
        ("/one/strong/y.reg", "serve 4"),
        ("/one/y.reg", "serve 5"),
        ("/one/two/y.reg", "serve 5"),
        ("/one/z.any", "serve 6"),
        ("/one/z.Any", "serve 6"),
        ("//one//%65xact", "serve 3"),
        ("/two", "404 <html>"),
    ] {
        assert_eq!(routed(&settings, &format!("GET {target}"), &[]), expected, "{target}");
    }
}

#[test]
fn nested_locations_are_looked_at_before_regexes_of_their_siblings() {
    let mut outer = location(1, "/a");
    outer.nested = locations(vec![location(2, "/a/b"), location(3, "~ \\.js$")]);
    let mut strong = location(4, "^~ /s");
    strong.nested = locations(vec![location(5, "/s/t")]);
    let settings = site(vec![outer, strong, location(6, "~ \\.(js|css)$")]);
    for (target, expected) in
        [("/a/x.js", 3), ("/a/b/x.css", 6), ("/a/b/x", 2), ("/a", 1), ("/s/t/x.js", 5), ("/s/x.js", 4)]
    {
        assert_eq!(routed(&settings, &format!("GET {target}"), &[]), format!("serve {expected}"), "{target}");
    }
}

#[test]
fn the_last_true_if_supplies_the_values_and_every_one_runs() {
    let branch = |number, operations| Arc::new(Location { rewrite: operations, ..location(number, "if") });
    let mut guard = location(1, "/guard");
    guard.rewrite = vec![
        Operation::Set(0, complex("none")),
        Operation::If {
            condition: Condition::True(complex("$arg_callback")),
            location: branch(2, vec![returns(400, None)]),
        },
        Operation::If {
            condition: Condition::Equal { value: complex("$request_method"), text: complex("POST"), negate: false },
            location: branch(3, vec![returns(405, None)]),
        },
        Operation::If {
            condition: Condition::Matches {
                value: complex("$http_user_agent"),
                regex: regex("(?i)bad(bot|agent)"),
                negate: false,
            },
            location: branch(4, vec![returns(200, Some("you are a $1"))]),
        },
        Operation::If {
            condition: Condition::True(complex("$arg_b")),
            location: branch(5, vec![Operation::Set(0, complex("$arg_b.b1"))]),
        },
        Operation::If { condition: Condition::True(complex("$arg_c")), location: branch(6, vec![]) },
    ];
    let settings = site(vec![guard]);
    for (line, headers, expected) in [
        ("GET /guard", &[][..], "serve 1"),
        ("GET /guard?callback=0", &[], "serve 1"),
        ("GET /guard?callback=x", &[], "400 <html>"),
        ("POST /guard", &[], "405 <html>"),
        ("GET /guard", &["User-Agent: A BadBot 2"], "200 you are a Bot"),
        ("GET /guard?b=1", &[], "serve 5"),
        ("GET /guard?b=1&c=1", &[], "serve 6"),
    ] {
        assert_eq!(routed(&settings, line, headers), expected, "{line}");
    }
    with_exchange(&settings, "GET /guard?b=x&c=1", &[], |exchange| {
        route(exchange);
        assert_eq!(&*exchange.value(&complex("<$v0>$v1")), b"<x.b1>");
    });
}

#[test]
fn returns_answer_before_everything_else() {
    let with = |number, pattern, operation| {
        let mut made = location(number, pattern);
        made.rewrite = vec![operation];
        made.core.access = Arc::new([deny()]);
        made
    };
    let settings = site(vec![
        with(1, "/drop", returns(444, None)),
        with(2, "/gone", returns(410, None)),
        with(3, "/moved", returns(301, Some("/new"))),
        with(4, "/empty", returns(204, None)),
        with(5, "/text", returns(200, Some("text $arg_text\n"))),
        with(6, "/teapot", returns(418, None)),
        with(7, "/bad", returns(400, Some("so bad"))),
    ]);
    for (target, expected) in [
        ("/drop", "drop"),
        ("/gone", "410 <html>"),
        ("/moved", "301 -> /new <html>"),
        ("/empty", "204 "),
        ("/text?text=hi", "200 text hi\n"),
        ("/teapot", "418 "),
        ("/bad", "400 so bad"),
    ] {
        assert_eq!(routed(&settings, &format!("GET {target}"), &[]), expected, "{target}");
    }
}

#[test]
fn rewrites_change_the_uri_and_look_again() {
    let with = |number, pattern: &str, operations| Location { rewrite: operations, ..location(number, pattern) };
    let settings = site(vec![
        with(1, "/last", vec![rewrites("^/last/(.*)$", "/target/$1?added=1", RewriteFlag::Last), returns(500, None)]),
        with(2, "/break", vec![rewrites("^/break/(.*)$", "/target/$1", RewriteFlag::Break), returns(500, None)]),
        with(3, "/target", vec![]),
        with(4, "/loop", vec![rewrites("^(.*)$", "$1/x", RewriteFlag::Last)]),
        with(5, "/go", vec![rewrites("^/go/(.*)$", "/to/$1", RewriteFlag::Permanent)]),
        with(6, "/away", vec![rewrites("^/away", "http://other.example/", RewriteFlag::Continue)]),
        with(7, "/next", vec![rewrites("^/next", "/target", RewriteFlag::Continue), Operation::Set(0, complex("ran"))]),
    ]);
    for (target, expected) in [
        ("/last/a?x=2", "serve 3"),
        ("/break/a", "serve 2"),
        ("/loop", "500 <html>"),
        ("/go/a%20b?x=1", "301 -> /to/a%20b?x=1 <html>"),
        ("/away", "302 -> http://other.example/ <html>"),
        ("/next", "serve 3"),
    ] {
        assert_eq!(routed(&settings, &format!("GET {target}"), &[]), expected, "{target}");
    }
    with_exchange(&settings, "GET /last/a?x=2", &[], |exchange| {
        route(exchange);
        assert_eq!(&*exchange.value(&complex("$uri $args $request_uri")), b"/target/a added=1&x=2 /last/a?x=2");
    });
    with_exchange(&settings, "GET /next?x=2", &[], |exchange| {
        route(exchange);
        assert_eq!(&*exchange.value(&complex("$uri $args $v0")), b"/target x=2 ran");
    });
}

/// The locations of `deny` with the error pages of the recordings.
pub(crate) fn guarded(directory: &Directory) -> Settings {
    let denied = |number, pattern: &str, replace, target: &str| {
        let mut made = location(number, pattern);
        made.core.access = Arc::new([deny()]);
        if !target.is_empty() {
            made.core.error_pages = Arc::new([ErrorPage { codes: vec![403], replace, target: complex(target) }]);
        }
        made
    };
    let mut hidden = static_location(9, "= /page.html", directory.path());
    hidden.core.internal = true;
    let fallback = Location { rewrite: vec![returns(418, Some("teapot"))], ..location(10, "named") };
    settings(server(
        location(0, "root"),
        vec![
            denied(1, "/plain", None, ""),
            denied(2, "/pages", None, "/page.html"),
            denied(3, "/code", Some(Some(200)), "/page.html"),
            denied(4, "/named", Some(None), "@fallback"),
            denied(5, "/keep", None, "@fallback"),
            denied(6, "/missing", None, "/not-there.html"),
            denied(7, "/url", None, "http://other.example/$uri"),
            denied(8, "/nobody", None, "@nobody"),
            hidden,
        ],
        vec![("fallback", fallback)],
    ))
}

#[test]
fn error_pages_are_followed_once() {
    let directory = Directory::new("pages");
    let settings = guarded(&directory);
    for (line, expected) in [
        ("GET /plain", "403 <html>"),
        ("GET /pages", "403 the page"),
        ("POST /pages", "403 the page"),
        ("GET /code", "200 the page"),
        ("GET /named", "418 teapot"),
        ("GET /keep", "403 teapot"),
        ("GET /missing", "404 <html>"),
        ("GET /url", "302 -> http://other.example//url <html>"),
        ("GET /nobody", "500 <html>"),
        ("GET /page.html", "404 <html>"),
    ] {
        assert_eq!(routed(&settings, line, &[]), expected, "{line}");
    }
}

#[test]
fn static_files_are_served_as_nginx_does() {
    let directory = Directory::new("files");
    let mut alias = static_location(2, "/alias/", &format!("{}/", directory.path()));
    alias.core.root.alias = Some("/alias/".len());
    let settings = site(vec![static_location(1, "/", directory.path()), alias]);
    for (line, expected) in [
        ("GET /page.html", "200 the page"),
        ("GET /", "200 the index"),
        ("GET /alias/page.html", "200 the page"),
        ("GET /empty", "301 -> /empty/ <html>"),
        ("GET /empty?x", "301 -> /empty/?x <html>"),
        ("GET /empty/", "403 <html>"),
        ("GET /nothing", "404 <html>"),
        ("GET /nothing/", "404 <html>"),
        ("GET /page.html/x", "404 <html>"),
        ("POST /page.html", "405 <html>"),
        ("POST /nothing", "404 <html>"),
        ("DELETE /page.html", "405 <html>"),
    ] {
        assert_eq!(routed(&settings, line, &[]), expected, "{line}");
    }
    assert_eq!(routed(&settings, "GET /page.html", &["Range: bytes=4-"]), "206 page");
    assert_eq!(routed(&settings, "GET /page.html", &["Range: bytes=99-"]), "416 <html>");
    assert_eq!(routed(&settings, "GET /page.html", &["If-None-Match: *"]), "304 ");
}

#[test]
fn limit_except_and_access_rules_guard_a_location() {
    let mut limited = location(1, "/limited");
    let mut others = location(2, "limit_except");
    others.core.access = Arc::new([deny()]);
    limited.limit_except = Some(LimitExcept { methods: vec!["GET".into()], location: Arc::new(others) });
    let settings = site(vec![limited]);
    assert_eq!(routed(&settings, "POST /limited", &[]), "403 <html>");
    assert_eq!(routed(&settings, "GET /limited", &[]), "serve 1");
    assert_eq!(routed(&settings, "HEAD /limited", &[]), "serve 1");
}

#[test]
fn passwords_and_addresses_combine_by_satisfy() {
    let directory = Directory::new("passwords");
    let file = directory.0.join("users");
    std::fs::write(&file, "bob:{PLAIN}secret\n").unwrap();
    let basic = Arc::new(AuthBasic { realm: complex("the realm"), user_file: complex(file.to_str().unwrap()) });
    let with = |number, pattern, satisfy_any, access: Vec<AccessRule>| {
        let mut made = location(number, pattern);
        made.core.auth_basic = Some(basic.clone());
        made.core.satisfy_any = satisfy_any;
        made.core.access = access.into();
        made
    };
    let allow = || AccessRule { allow: true, who: Who::All };
    let settings = site(vec![
        with(1, "/all", false, vec![]),
        with(2, "/any-allowed", true, vec![allow()]),
        with(3, "/any-denied", true, vec![deny()]),
        with(4, "/all-denied", false, vec![deny()]),
    ]);
    let right = "Authorization: Basic Ym9iOnNlY3JldA==";
    let wrong = "Authorization: Basic Ym9iOndyb25n";
    for (target, headers, expected) in [
        ("/all", &[][..], "401 <html>"),
        ("/all", &[wrong], "401 <html>"),
        ("/all", &["Authorization: Basic !"], "401 <html>"),
        ("/all", &[right], "serve 1"),
        ("/any-allowed", &[], "serve 2"),
        ("/any-denied", &[], "401 <html>"),
        ("/any-denied", &[right], "serve 3"),
        ("/all-denied", &[right], "403 <html>"),
    ] {
        assert_eq!(routed(&settings, &format!("GET {target}"), headers), expected, "{target} {headers:?}");
    }
    with_exchange(&settings, "GET /all", &[], |exchange| {
        assert!(matches!(route(exchange), Routed::Reply(_)));
        assert_eq!(exchange.carried, [("WWW-Authenticate", b"Basic realm=\"the realm\"".into())]);
    });
}

#[test]
fn auth_request_is_left_to_the_caller_and_goes_on_afterwards() {
    let mut made = location(1, "/asked");
    made.core.auth_request = Some(complex("/auth$uri"));
    let settings = site(vec![made]);
    for (status, expected) in [(204, "serve"), (401, "401"), (403, "403"), (404, "500")] {
        with_exchange(&settings, "GET /asked", &[], |exchange| {
            let Routed::Authorize { uri } = route(exchange) else { panic!("asks") };
            assert_eq!(uri, b"/auth/asked");
            let told = match authorized(exchange, status) {
                Routed::Serve(_) => "serve".to_owned(),
                Routed::Reply(reply) => exchange.status_sent(&reply).to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(told, expected);
        });
    }
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let mut root = location(0, "root");
    let trusted = Who::Network("127.0.0.0/8".parse().unwrap());
    root.core.realip =
        Some(Arc::new(RealIp { from: vec![trusted], header: "x-forwarded-for".into(), recursive: true }));
    let core = root.core.clone();
    let settings = settings(server(root, vec![Location { core, ..location(1, "/") }], vec![]));
    for (header, expected) in [
        ("X-Forwarded-For: 10.0.0.1, 127.0.0.9", "10.0.0.1"),
        ("X-Forwarded-For: 1.1.1.1, 10.0.0.1", "10.0.0.1"),
        ("X-Forwarded-For: unknown", "127.0.0.1"),
        ("X-Other: 10.0.0.1", "127.0.0.1"),
    ] {
        with_exchange(&settings, "GET /", &[header], |exchange| {
            route(exchange);
            assert_eq!(&*exchange.value(&complex("$remote_addr")), expected.as_bytes(), "{header}");
        });
    }
}

#[test]
fn variables_have_the_values_of_the_request() {
    let mut settings = site(vec![location(1, "/")]);
    let text = |value: &str| complex(value);
    settings.variables.push(Definition {
        name: "v2".into(),
        source: Source::Map(Arc::new(Map {
            key: complex("$http_upgrade"),
            exact: [(b"".as_slice().into(), text("close"))].into(),
            masks: vec![],
            regexes: vec![(regex("^h(.)$"), text("<$1>"))],
            default: text("upgrade $v3"),
        })),
    });
    settings.variables.push(Definition {
        name: "v3".into(),
        source: Source::Geo(Arc::new(Geo {
            key: complex("$remote_addr"),
            networks: vec![("127.0.0.0/8".parse().unwrap(), b"local".as_slice().into())],
            default: b"far".as_slice().into(),
        })),
    });
    settings.variables.push(Definition {
        name: "v4".into(),
        source: Source::Map(Arc::new(Map {
            key: complex("$v4"),
            exact: [].into(),
            masks: vec![],
            regexes: vec![],
            default: text("circle"),
        })),
    });
    let value = |headers: &[&str], asked: &str| {
        with_exchange(&settings, "GET /a%20b?id=x&MY_id=y#f", headers, |exchange| {
            route(exchange);
            String::from_utf8(exchange.value(&complex(asked)).into_owned()).unwrap()
        })
    };
    assert_eq!(value(&[], "$v2"), "close");
    assert_eq!(value(&["Upgrade: websocket"], "$v2"), "upgrade local");
    assert_eq!(value(&["Upgrade: h2"], "$v2"), "<2>");
    assert_eq!(value(&[], "$v4"), "circle");
    assert_eq!(value(&[], "$uri|$args|$request_uri"), "/a b|id=x&MY_id=y|/a%20b?id=x&MY_id=y#f");
    assert_eq!(value(&["X-Forwarded-For: a", "x-forwarded-for: b"], "$http_x_forwarded_for"), "a, b");
    assert_eq!(value(&[], "$host-$arg_ID.b1-$arg_my_id-$arg_none"), "some.host-x.b1-y-");
}

#[test]
fn set_args_changes_the_arguments() {
    let made = Location { rewrite: vec![Operation::SetArgs(complex("id=$arg_x"))], ..location(1, "/") };
    with_exchange(&site(vec![made]), "GET /?x=1", &[], |exchange| {
        route(exchange);
        assert_eq!(exchange.arg("id"), Some(&b"1"[..]));
    });
}

#[test]
fn bad_hosts_and_bad_paths_are_refused() {
    let settings = site(vec![]);
    for (target, host) in [("/", "a b"), ("/", ""), ("/%zz", "a"), ("/..", "a"), ("/%00", "a")] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let refused = exchange(&settings, &bytes).err();
        assert_eq!(refused, Some(BadHead::BadRequest), "{bytes:?}");
    }
}
