//! The head of a response, as the `http` crate has it.
//!
//! Fields about the connection are the business of whoever writes the response.

use hyper::header::{DATE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED};
use hyper::{Response, StatusCode};

use crate::conf::settings::Location;
use crate::model::{Now, Stamp};
use crate::request::date;
use crate::request::reply::Reply;
use crate::site::exchange::Exchange;
use crate::wire::reply_head::{Framing, HeadSink, write_head};

/// Makes the head of a response.
#[derive(Default)]
struct Fields {
    response: Response<()>,
    /// Whether what is only known at the end is left out, to be filled in then.
    late: bool,
    modified: bool,
    tagged: Option<Box<str>>,
}

impl Fields {
    fn append(&mut self, name: HeaderName, value: &[u8]) {
        // What no head of HTTP can hold was refused or cleaned before.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.response.headers_mut().append(name, value);
        }
    }
}

impl HeadSink for Fields {
    fn status(&mut self, status: u16) {
        *self.response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            self.append(name, value);
        }
    }

    fn date(&mut self, seconds: i64) {
        if !self.late {
            self.append(DATE, &date::http_date(seconds));
        }
    }

    fn last_modified(&mut self, seconds: i64) {
        self.modified = true;
        if !self.late {
            self.append(LAST_MODIFIED, &date::format_http_date(seconds));
        }
    }

    fn etag(&mut self, prefix: &str, tag: i64) {
        if self.late {
            self.tagged = Some(prefix.into());
        } else {
            self.append(ETAG, format!("{prefix}{tag}").as_bytes());
        }
    }

    fn chunked(&mut self) {}

    fn connection(&mut self, _: bool, _: Option<u64>) {}

    fn end(&mut self) {}
}

/// The head of a reply.
pub(super) fn head(reply: &Reply, exchange: &Exchange<'_>, location: &Location) -> (Response<()>, Framing) {
    let mut fields = Fields::default();
    let framing = write_head(reply, exchange, location, true, &mut fields);
    (fields.response, framing)
}

/// The head of an answer that is still to come; times and tag are put in then.
pub(super) struct LateHead(Fields);

impl LateHead {
    /// The head of `reply`, whose times and tag do not count.
    pub(super) fn new(reply: &Reply, exchange: &Exchange<'_>, location: &Location) -> Self {
        let mut fields = Fields { late: true, ..Fields::default() };
        write_head(reply, exchange, location, true, &mut fields);
        Self(fields)
    }

    /// The head, sent `now`; `stamp` is that of the last message it brings.
    pub(super) fn at(&self, now: Now, stamp: Stamp) -> Response<()> {
        let mut fields = Fields { response: self.0.response.clone(), ..Fields::default() };
        fields.date(i64::from(now.secs()));
        if self.0.modified {
            fields.last_modified(i64::from(stamp.time));
        }
        if let Some(prefix) = &self.0.tagged {
            fields.etag(prefix, i64::from(stamp.tag));
        }
        fields.response
    }
}
