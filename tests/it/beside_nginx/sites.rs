//! Sites nobody has written: made by a grammar of nginx's language from a seed, loaded by both programs and asked the same.
//!
//! The grammar has what decides about a request: locations of all kinds within one another, rewrite operations, error pages, access
//! rules, `limit_except`, `try_files`, files, headers, names of servers. `SITES` (how many) and `SEED` (the first) widen a run.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::{fs, io::Read, io::Write};

use crate::support::{PATIENCE, Prefix, Random, Running, eventually, nginx, number_from_environment};

/// The rules; `<:name>` stands for one of the lines of that name.
const GRAMMAR: &str = include_str!("sites.grammar");
/// Directives that may stand once in a block, and what they bring along.
const ONCE: &str = "default_type expires root alias internal charset etag log_not_found absolute_redirect port_in_redirect \
    server_name_in_redirect server_tokens recursive_error_pages chunked_transfer_encoding max_ranges if_modified_since gzip \
    client_max_body_size satisfy auth_basic auth_request try_files limit_except index";
const REQUESTS: usize = 40;

struct Maker {
    random: Random,
}

impl Maker {
    /// A line of the grammar with everything in it made.
    fn make(&mut self, name: &str) -> String {
        let rules: Vec<&str> = GRAMMAR
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(" ="))
            .map(|rule| rule.strip_prefix(' ').unwrap_or(rule))
            .collect();
        assert!(!rules.is_empty(), "no rule {name}");
        let line = *self.random.pick(&rules);
        self.filled(line)
    }

    fn filled(&mut self, line: &str) -> String {
        let Some((before, rest)) = line.split_once("<:") else { return line.to_owned() };
        let (name, after) = rest.split_once('>').expect("a name ends");
        let made = self.make(name);
        format!("{before}{made}{}", self.filled(after))
    }

    /// Up to so many directives of a kind, each that may stand once only once.
    fn directives(&mut self, kind: &str, most: u64) -> String {
        let mut seen: Vec<String> = Vec::new();
        let mut made = String::new();
        for _ in 0..self.random.below(most + 1) {
            let directive = self.make(kind);
            // A line may hold several directives.
            let names: Vec<String> = directive
                .split(';')
                .filter_map(|part| part.split_whitespace().next().map(str::to_owned))
                .filter(|name| ONCE.split_whitespace().any(|once| once == name))
                .collect();
            if !names.iter().any(|name| seen.contains(name)) {
                seen.extend(names);
                made += &directive;
                made.push(' ');
            }
        }
        made
    }

    fn locations(&mut self, outer: Option<&str>) -> String {
        let count = if outer.is_none() { 3 + self.random.below(5) } else { self.random.below(3) };
        let mut made = String::new();
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..count {
            let modifier = self.make("modifier");
            let regex = modifier.starts_with('~');
            let name = match outer {
                _ if regex => self.make("pattern"),
                None => self.make("path").replace("%20", "\\ "),
                Some(outer) => format!("{}{}", outer.trim_end_matches('/'), self.make("below")),
            };
            let exact = modifier == "=";
            let key = format!("{exact}{name}");
            if !regex && seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let mut block = self.directives("directive", 4);
            if !regex && !exact && outer.is_none_or(|outer| outer.matches('/').count() < 4) && self.random.below(3) == 0
            {
                block += &self.locations(Some(&name));
            }
            made += &format!("    location {modifier} {name} {{ {block} }}\n");
        }
        made
    }

    fn configuration(&mut self) -> String {
        let (http, server) = (self.directives("http", 2), self.directives("server", 5));
        let (locations, error) = (self.locations(None), self.directives("directive", 3));
        let (named, asked) = (self.directives("directive", 3), self.make("asked"));
        let other = self.make("other");
        format!(
            "daemon off; pid @DIR@/pid; error_log @DIR@/error.log; worker_processes 1; events {{ worker_connections 256; }}\n\
             http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n  \
             scgi_temp_path t5; uninitialized_variable_warn off; types {{ text/html html; text/plain txt; application/x-php php; }}\n  \
             map $arg_a $mapped {{ 1 M; ~^x(.*)$ \"X$1\"; ~^(?<nm>[b-d]+)$ named; default \"d$v\"; }}\n  {http}\n  \
             server {{ listen 127.0.0.1:@PORT@ default_server; server_name main.test alias.test; root @DIR@/html;\n    \
             set $v init; set $w \"\"; set $nm \"\"; {server}\n{locations}    location @named {{ {named} }}\n    \
             location = /err {{ {error} }}\n    location = /ask {{ {asked} }}\n  }}\n  \
             server {{ listen 127.0.0.1:@PORT@; server_name o.test *.wild.test ~^re(?<nm>\\d+)\\.test$; {other} }}\n}}\n"
        )
    }

    fn request(&mut self) -> String {
        let method = self.make("method");
        let body = if matches!(&*method, "POST" | "PUT") { "abc" } else { "" };
        let (target, host) = (self.make("target"), self.make("host"));
        let (first, second) = (self.make("field"), self.make("field"));
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let fields = [first, second].iter().filter(|field| !field.is_empty()).fold(String::new(), |all, field| {
            let name = field.split(':').next().unwrap_or_default();
            if all.contains(name) { all } else { format!("{all}{field}\r\n") }
        });
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}Connection: close\r\n\r\n{body}")
    }
}

fn furnish(prefix: &Prefix) {
    for directory in ["html/dir", "html/al", "html/a"] {
        fs::create_dir_all(prefix.path(directory)).unwrap();
    }
    for name in [
        "file.txt",
        "x.html",
        "x.php",
        "50x.html",
        "dir/index.html",
        "dir/file.txt",
        "al/file.txt",
        "sp ace",
        "a/b",
        "index.html",
    ] {
        let file = fs::File::create(prefix.path("html").join(name)).unwrap();
        (&file).write_all(name.as_bytes()).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    }
    prefix.write("htpasswd", "u:{PLAIN}p\n");
}

fn ask(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// What must be the same: all but the date, the name of the program and lengths.
fn told(answer: &[u8], prefix: &Prefix) -> String {
    let text: String = answer.iter().map(|byte| char::from(*byte)).collect();
    let text = text.replace(&prefix.port.to_string(), "PORT").replace(&*prefix.dir.to_string_lossy(), "DIR");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let is_page = body.starts_with("<html>");
    // Lengths tell nothing that bodies do not, and those of paths differ.
    let kept = head
        .lines()
        .filter(|line| !matches!(line.split(':').next().unwrap_or_default(), "Date" | "Server" | "Content-Length"));
    let later = |line: &str| {
        let moves = line.starts_with("Expires: ") && !line.contains("1970") && !line.contains("2037");
        if moves { "Expires: later".to_owned() } else { line.to_owned() }
    };
    let head: Vec<String> = kept.map(later).collect();
    let title = body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let body = title.filter(|_| is_page).map_or(body, |(title, _)| title);
    format!("{} || {body}", head.join(" | "))
}

/// Whether the site could be asked; what differs ends the test.
fn compare(seed: u64) -> bool {
    let mut maker = Maker { random: Random(seed) };
    let conf = maker.configuration();
    let prefixes = [Prefix::new("sites-own"), Prefix::new("sites-nginx")];
    for prefix in &prefixes {
        prefix.configure(&conf);
        furnish(prefix);
    }
    let [own, other] = &prefixes;
    let mut front = Command::new(nginx());
    front.arg("-p").arg(&other.dir).arg("-c").arg(other.path("nginx.conf")).arg("-e").arg(other.path("error.log"));
    let verdicts = [own.run(&["-t", "--take-over"]), front.arg("-t").output().unwrap()];
    let [here, there] = verdicts.each_ref().map(|verdict| verdict.status.success());
    let words = verdicts.map(|verdict| crate::support::said(&verdict));
    assert_eq!(here, there, "SEED={seed}: {}\n{}\n{conf}", words[0], words[1]);
    if !there {
        return false;
    }
    let mut front = Command::new(nginx());
    front.arg("-p").arg(&other.dir).arg("-c").arg(other.path("nginx.conf")).args(["-g", "master_process off;"]);
    let front = front.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _running = [own.spawn(&["--take-over"]), Running(front)];
    for prefix in &prefixes {
        eventually("both serve", || TcpStream::connect(prefix.address()).is_ok());
    }
    for _ in 0..REQUESTS {
        let request = maker.request();
        let [here, there] = [own, other].map(|prefix| told(&ask(prefix.address(), &request), prefix));
        assert_eq!(here, there, "SEED={seed}: {request:?} (pushstreamd, nginx)\n{conf}");
    }
    true
}

#[test]
fn sites_that_a_grammar_makes_are_answered_as_nginx_answers_them() {
    let first = number_from_environment("SEED", 1);
    let asked = (first..first + number_from_environment("SITES", 25)).filter(|seed| compare(*seed)).count();
    assert!(asked > 0, "nginx loads none of them");
}
