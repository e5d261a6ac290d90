//! A directive's row owns its default: the words it names say the same as its absence, and every name the code asks for is a
//! row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pushstreamd::internals::conf::directives::{
    self, Contents, Directive, EVENTS, HTTP, Kind, LOCATION, LOCATION_IF, MAIN, SERVER,
};
use pushstreamd::internals::conf::{LoadOptions, load};
use pushstreamd::internals::model::Line;

/// Defaults that cannot be compared by words: what they are seen from.
const ELSEWHERE: [(&str, &str); 6] = [
    ("push_stream_keepalive", "0.3.x has a default, later versions know only what is set"),
    ("push_stream_content_type", "the same"),
    ("push_stream_ping_message_text", "0.3.x has another default"),
    ("root", "who says it has a site"),
    ("index", "the same"),
    ("ssl", "the word itself is old and warned of"),
];

/// A configuration in which every value is looked at, with `words` in one of its places; `name` stands nowhere else in it.
fn configuration(place: usize, name: &str, words: &str) -> String {
    let at = |here: usize| if here == place { words } else { "" };
    let fixed = |directives: &str| {
        let of_others = |directive: &&str| directive.split_whitespace().next().is_some_and(|first| first != name);
        directives.split(';').filter(of_others).map(|directive| directive.to_owned() + ";").collect::<String>()
    };
    let memory = if name == "push_stream_max_reserved_memory" { "" } else { "push_stream_shared_memory_size 32m;" };
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let certificate = format!("ssl_certificate {certificate}; ssl_certificate_key {certificate};");
    format!(
        "{} events {{ {} }} http {{ {} {} {memory} server {{ {} {} {certificate} location /push {{ {} {} if ($arg_x) {{ {} \
         set $x 1; }} }} location = /ask {{ proxy_pass http://127.0.0.1:1; }} location /again {{ auth_request /ask; }} }} }}",
        at(0),
        at(1),
        at(2),
        fixed(
            "limit_conn_zone $arg_a zone=c:1m; limit_req_zone $arg_a zone=r:1m rate=1r/s; gzip_disable none;
             set_real_ip_from 10.0.0.0/8; auth_basic_user_file u"
        ),
        at(3),
        fixed("listen 127.0.0.1:1"),
        at(4),
        // Values of these are seen only where they are on.
        fixed(
            "limit_conn c 1; limit_req zone=r; push_stream_subscriber; push_stream_channels_path $arg_id; gzip on;
             charset utf-8"
        ),
        at(5),
    )
}

/// Everything the settings say, in an order of its own: tables have none.
fn told(text: &str, line: Option<Line>) -> Vec<String> {
    let options = LoadOptions {
        file: "f".into(),
        prefix: "/p".into(),
        text: Some(text.to_owned()),
        compat: line,
        ..LoadOptions::default()
    };
    let loaded = load(&options).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let debug = format!("{:?}", loaded.settings);
    let mut words: Vec<String> =
        debug.split([',', '{', '}', '[', ']', '(', ')']).map(|word| word.trim().to_owned()).collect();
    words.sort();
    words
}

/// The wire on which a name is known.
fn line_of(row: &Directive) -> Line {
    [Line::V05, Line::V040, Line::V035]
        .into_iter()
        .find(|line| row.lines.know(*line))
        .unwrap_or_else(|| if row.lines == directives::OURS { Line::V05 } else { Line::V034 })
}

#[test]
fn the_default_of_every_row_says_the_same_as_its_absence() {
    let (mut compared, mut wrong) = (0, Vec::new());
    let mut absent: BTreeMap<(String, Option<Line>), Vec<String>> = BTreeMap::new();
    for row in directives::all() {
        let is_value = !matches!(row.kind, Kind::Handler | Kind::Block(_) | Kind::Skipped(_) | Kind::Step);
        let Some(words) = row.default_words().filter(|_| is_value) else { continue };
        if ELSEWHERE.iter().any(|(name, _)| *name == row.name) {
            continue;
        }
        let quoted = if row.default.starts_with('"') { row.default.to_owned() } else { words.join(" ") };
        let line = Some(line_of(row));
        for (place, context) in [MAIN, EVENTS, HTTP, SERVER, LOCATION, LOCATION_IF].into_iter().enumerate() {
            if !row.contexts.meets(context) {
                continue;
            }
            let with = format!("{} {quoted};", row.name);
            let with_it = told(&configuration(place, row.name, &with), line);
            let without = absent.entry((configuration(place, row.name, ""), line));
            let without = without.or_insert_with_key(|(text, line)| told(text, *line));
            if with_it != *without {
                let only = |one: &[String], other: &[String]| {
                    one.iter().filter(|word| !other.contains(word)).take(5).cloned().collect::<Vec<_>>()
                };
                wrong.push(format!(
                    "{with} in place {place}: {:?} instead of {:?}",
                    only(&with_it, without),
                    only(without, &with_it)
                ));
            }
            compared += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 150, "{compared}");
}

#[test]
fn a_row_of_a_number_has_a_default_that_is_one_or_says_what_its_absence_means() {
    for row in directives::all() {
        let number = matches!(row.kind, Kind::Number | Kind::Seconds | Kind::Milliseconds | Kind::Size | Kind::Offset);
        let flag = row.kind == Kind::Flag;
        if let Some(words) = row.default_words() {
            assert!(!number || words[0].starts_with(|first: char| first.is_ascii_digit()), "{}", row.name);
            assert!(!flag || ["on", "off"].contains(&words[0]), "{}", row.name);
        } else {
            assert!(!flag, "{} has no default", row.name);
            assert!(row.default.is_empty() || row.default.ends_with(')'), "{}", row.name);
        }
        assert!(!matches!(row.kind, Kind::Block(Contents::Directives(_))) || row.default.is_empty(), "{}", row.name);
    }
}

/// Names that the compilation asks for, by the function it asks with.
#[test]
fn every_name_that_is_asked_for_is_a_row() {
    let mut asked: BTreeSet<(String, String)> = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conf");
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        for function in ["flag", "number", "quantity", "text", "complex", "word", "list", "entry", "own"] {
            for found in text.split(&format!(".{function}(\"")).skip(1) {
                asked.insert((function.to_owned(), found.split('"').next().unwrap().to_owned()));
            }
        }
    }
    assert!(asked.len() > 80, "{}", asked.len());
    for (function, name) in asked {
        let row = directives::named(&name).find(|row| row.meaning == name && row.kind != Kind::Silent);
        let row = row.unwrap_or_else(|| panic!("{function}({name:?}): no such directive"));
        let fits = match function.as_str() {
            "flag" => row.kind == Kind::Flag,
            "number" => {
                matches!(row.kind, Kind::Number | Kind::Seconds | Kind::Milliseconds | Kind::Size | Kind::Offset)
            }
            "quantity" => row.default_words().is_some(),
            "complex" => row.kind == Kind::Complex,
            _ => true,
        };
        assert!(fits, "{function}({name:?}) of a {:?}", row.kind);
    }
}
