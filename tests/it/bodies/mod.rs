//! Where a request ends: every kind of location with every form of body, cut anywhere, one request behind the other.
//!
//! What a request is answered when it comes alone and whole is what it has to be answered in any company and any pieces; a
//! request that breaks its own framing ends the connection; nothing within a body is ever run. For what nginx serves
//! itself, all of it is as Debian's nginx has it.
//!
//! `PROPTEST_CASES` sets how many random pipelines are sent (96).

mod answers;
mod forms;
mod frames;
mod heads;
mod records;
mod site;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use crate::support::property;
use answers::Answers;
use forms::{Form, Kind};
use site::{NGINX_TARGETS, PUSH_TARGETS, Site};

const METHODS: [&str; 7] = ["POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];
const END: &str = "GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One request.
#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    target: &'static str,
    form: Form,
}

impl Request {
    /// Its bytes; `key` is the one its rate is counted by.
    fn bytes(&self, key: usize) -> Vec<u8> {
        let Self { method, target, form } = self;
        let key = format!("{}k={key}", if target.contains('?') { '&' } else { '?' });
        // A deletion is answered by what there is.
        let target = if *method == "DELETE" { target.replace("id=p", "id=gone") } else { (*target).to_owned() };
        let handshake = if target.starts_with("/ws") { HANDSHAKE } else { "" };
        let mut bytes =
            format!("{method} {target}{key} HTTP/1.1\r\nHost: h\r\n{handshake}{}\r\n", form.fields).into_bytes();
        bytes.extend_from_slice(&form.body);
        bytes
    }

    /// Whether its head alone is refused, and asks for no body.
    fn is_refused_head(&self) -> bool {
        self.method == "HEAD" && self.form.kind == Kind::Refused
    }

    fn told(&self) -> String {
        format!("{} {} with {}", self.method, self.target, self.form.name)
    }

    /// Behind a handshake come frames, whatever they are.
    fn may_become_a_websocket(&self) -> bool {
        self.target.starts_with("/ws") && self.method == "GET"
    }
}

/// A pipeline's bytes, its methods, and its last request, which ends it.
fn pipeline(requests: &[Request], key: usize) -> (Vec<u8>, Vec<&'static str>) {
    let mut bytes: Vec<u8> = requests.iter().flat_map(|request| request.bytes(key)).collect();
    bytes.extend_from_slice(END.as_bytes());
    (bytes, requests.iter().map(|request| request.method).chain(["GET"]).collect())
}

/// The bytes cut at these places.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for &place in places {
        if place > from && place < bytes.len() {
            pieces.push(&bytes[from..place]);
            from = place;
        }
    }
    pieces.push(&bytes[from..]);
    pieces
}

/// What is wrong with the answers to one request and the end in pieces, if they were these in one piece.
fn complaint(request: &Request, early: u16, whole: &Answers, split: &Answers) -> Option<&'static str> {
    if !split.ended {
        return Some("the connection hangs");
    }
    if request.form.kind != Kind::Broken {
        return (whole.all != split.all || whole.rest != split.rest).then_some("in pieces it is answered otherwise");
    }
    match &split.all[..] {
        _ if !split.rest.is_empty() && !request.may_become_a_websocket() => Some("what follows is no answer"),
        [only] if !likely(only.status, early) => Some("a broken body has a strange answer"),
        [] | [_] => None,
        _ => Some("something behind a broken body was run"),
    }
}

/// Whether a broken body may have this answer: that it is broken, or what the location says before it looks at bodies.
fn likely(status: u16, early: u16) -> bool {
    matches!(status, 400 | 413) || status == early
}

/// What the location answers before it looks at bodies.
fn early(site: &Site, request: &Request) -> u16 {
    let form = forms::all().into_iter().find(|form| form.name == "no body").unwrap();
    let (bytes, methods) = pipeline(&[Request { form, ..*request }], 100);
    let status = site.ask(&[&bytes], &methods).all[0].status;
    let publisher = ["/pub", "/admin", "/asked", "/slowly"].iter().any(|place| request.target.starts_with(place));
    let takes_bodies = publisher && ["POST", "PUT", "DELETE"].contains(&request.method);
    if takes_bodies && status == 200 { 400 } else { status }
}

/// Runs a check for each job on several threads; what they complain about.
fn side_by_side<J: Sync>(jobs: &[J], check: impl Fn(usize, &J) -> Option<String> + Sync) -> Vec<String> {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for key in 0..8 {
            let (next, complaints, check) = (&next, &complaints, &check);
            scope.spawn(move || {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(complaint) = check(key, job) {
                        complaints.lock().unwrap().push(complaint);
                    }
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

#[track_caller]
fn assert_none(mut complaints: Vec<String>) {
    complaints.sort_by_key(String::len);
    let (count, few) = (complaints.len(), complaints.iter().take(12).cloned().collect::<Vec<_>>().join("\n"));
    assert!(complaints.is_empty(), "{count} complaints, the shortest:\n{few}");
}

fn every(targets: &[&'static str], methods: &[&'static str]) -> Vec<Request> {
    let mut requests = Vec::new();
    for target in targets {
        for method in methods {
            requests.extend(forms::all().into_iter().map(|form| Request { method, target, form }));
        }
    }
    requests
}

#[test]
fn a_request_in_two_pieces_is_answered_as_in_one() {
    let site = Site::start();
    let targets = [&NGINX_TARGETS[..], &PUSH_TARGETS[..]].concat();
    let requests = every(&targets, &["POST"]);
    assert_none(side_by_side(&requests, |key, request| {
        let (bytes, methods) = pipeline(std::slice::from_ref(request), key);
        let (whole, early) = (site.ask(&[&bytes], &methods), early(&site, request));
        // Each place from the end of the head to the first bytes of what follows; long bodies at their ends.
        let head = request.bytes(key).len() - request.form.body.len();
        let last = head + request.form.body.len() + 3;
        let places = (head - 2..=last).filter(|place| *place < head + 40 || *place + 12 > last);
        places.clone().chain([1]).find_map(|place| {
            let split = site.ask(&cut(&bytes, &[place]), &methods);
            let wrong = complaint(request, early, &whole, &split)?;
            let at = String::from_utf8_lossy(&bytes[place.saturating_sub(12)..place]).into_owned();
            Some(format!(
                "{}, cut behind {at:?}: {wrong}\n  in one piece\n{}\n  in two\n{}",
                request.told(),
                whole.told(),
                split.told()
            ))
        })
    }));
    site.judge();
}

#[test]
fn each_request_has_one_answer_and_a_broken_one_is_the_last() {
    let site = Site::start();
    let targets = [&NGINX_TARGETS[..], &PUSH_TARGETS[..]].concat();
    assert_none(side_by_side(&every(&targets, &METHODS), |key, request| {
        let (bytes, methods) = pipeline(std::slice::from_ref(request), key);
        let whole = site.ask(&[&bytes], &methods);
        let wrong = |what: &str| Some(format!("{}: {what}\n{}", request.told(), whole.told()));
        let count = whole.all.len();
        if !whole.ended {
            return wrong("the connection hangs");
        }
        if whole.all.first().is_some_and(|answer| answer.status == 101) || request.is_refused_head() {
            return None;
        }
        if !whole.rest.is_empty() {
            return wrong("what follows is no answer");
        }
        match request.form.kind {
            Kind::Whole if count == 2 || count == 1 && whole.all[0].closes => None,
            Kind::Whole => wrong("not each request has one answer"),
            _ if count <= 1 => None,
            _ => wrong("something behind a broken request was run"),
        }
    }));
    site.judge();
}

#[test]
fn what_nginx_serves_too_is_answered_as_nginx_does_whole_and_in_pieces() {
    let site = Site::start();
    if !site.has_nginx() {
        return;
    }
    assert_none(side_by_side(&every(&NGINX_TARGETS, &METHODS), |key, request| {
        let (bytes, methods) = pipeline(std::slice::from_ref(request), key);
        let head = request.bytes(key).len() - request.form.body.len();
        let middle = head + request.form.body.len() / 2;
        for places in [&[][..], &[head], &[middle], &[head, middle, middle + 1]] {
            let pieces = cut(&bytes, places);
            let (own, nginx) = (site.ask(&pieces, &methods), site.ask_nginx(&pieces, &methods));
            let same = match request.form.kind {
                // Which of them saw the break first is a matter of what had come.
                Kind::Broken => own.all.len() <= 1 && nginx.all.len() <= 1 && own.rest.is_empty(),
                _ => own.statuses() == nginx.statuses(),
            };
            if !same || !own.ended {
                let shown: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
                return Some(format!(
                    "{} as {shown:?}\n  nginx\n{}\n  here\n{}",
                    request.told(),
                    nginx.told(),
                    own.told()
                ));
            }
        }
        None
    }));
    site.judge();
}

#[test]
fn any_pipeline_in_any_pieces_is_answered_as_its_requests_alone() {
    let site = Site::start();
    let alone: Mutex<HashMap<String, Answers>> = Mutex::default();
    let targets = [&NGINX_TARGETS[..], &PUSH_TARGETS[..]].concat();
    let request =
        (prop::sample::select(METHODS.to_vec()), prop::sample::select(targets), prop::sample::select(forms::all()))
            .prop_map(|(method, target, form)| Request { method, target, form })
            .prop_filter("frames are not answers", |request| !request.may_become_a_websocket())
            .prop_filter("has a test of its own", |request| !request.is_refused_head());
    let strategy = (prop::collection::vec(request, 1..6), prop::collection::vec(any::<prop::sample::Index>(), 0..12));
    let result = property(96).run(&strategy, |(requests, places)| {
        let (bytes, methods) = pipeline(&requests, 0);
        let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len())).collect();
        places.sort_unstable();
        let answers = site.ask(&cut(&bytes, &places), &methods);
        let shown = || {
            format!(
                "{:?} cut at {places:?}\n{}",
                requests.iter().map(Request::told).collect::<Vec<_>>(),
                answers.told()
            )
        };
        prop_assert!(answers.ended && answers.rest.is_empty(), "hangs, or what follows is no answer: {}", shown());
        let mut got = answers.all.iter();
        for request in &requests {
            let mut known = alone.lock().unwrap();
            let expected = known.entry(request.told()).or_insert_with(|| {
                let (bytes, methods) = pipeline(std::slice::from_ref(request), 0);
                site.ask(&[&bytes], &methods)
            });
            let (answer, expected) = (got.next(), expected.all.first());
            if request.form.kind == Kind::Broken {
                if let Some(answer) = answer {
                    prop_assert!(
                        likely(answer.status, early(&site, request)),
                        "{} for a broken body: {}",
                        answer.status,
                        shown()
                    );
                }
                prop_assert!(got.next().is_none(), "something behind a broken body was run: {}", shown());
                return Ok(());
            }
            let (Some(answer), Some(expected)) = (answer, expected) else {
                return Err(TestCaseError::fail(format!("an answer is missing: {}", shown())));
            };
            prop_assert_eq!(answer, expected, "{}", shown());
            if answer.closes {
                prop_assert!(got.next().is_none(), "{}", shown());
                return Ok(());
            }
        }
        prop_assert_eq!(got.len(), 1, "the end has one answer: {}", shown());
        Ok(())
    });
    site.judge();
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_refused_head_has_no_body() {
    let site = Site::start();
    for request in every(&["/r200", "/pub?id=p"], &["HEAD"]).iter().filter(|request| request.is_refused_head()) {
        let (bytes, methods) = pipeline(std::slice::from_ref(request), 0);
        let answers = site.ask(&[&bytes], &methods);
        assert!(answers.rest.is_empty(), "{}\n{}", request.told(), answers.told());
    }
}

#[test]
fn an_expectation_is_met_where_nginx_meets_it() {
    let site = Site::start();
    if !site.has_nginx() {
        return;
    }
    // Either is right, and nobody waits for it: nothing to send, a directory without its slash, a page of an error.
    let mut requests = every(&NGINX_TARGETS, &METHODS);
    requests
        .retain(|request| request.form.name != "Expect and no body" && !["/named/x", "/sub"].contains(&request.target));
    assert_none(side_by_side(&requests, |key, request| {
        let (bytes, methods) = pipeline(std::slice::from_ref(request), key);
        let head = request.bytes(key).len() - request.form.body.len();
        let pieces = cut(&bytes, &[head]);
        let (own, nginx) = (site.ask(&pieces, &methods), site.ask_nginx(&pieces, &methods));
        let wrong = || format!("{}\n  nginx\n{}\n  here\n{}", request.told(), nginx.told(), own.told());
        (own.continued != nginx.continued).then(wrong)
    }));
}
