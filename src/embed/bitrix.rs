//! The routes of Bitrix's layout, with their query as a type.
//!
//! What the query says is handed on to the site in the module's own spelling: it takes `+` for a plus sign, and knows no
//! parameter that is not named here.

use std::fmt::Write;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use axum::routing::any;
use serde::Deserialize;

use super::router::{Site, answer};

/// The query of a subscriber (`/bitrix/sub/`, `/bitrix/subws/`) or a publisher (`/bitrix/pub/`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct PushQuery {
    /// Channel ids with `/` between them.
    #[serde(rename = "CHANNEL_ID")]
    channel_id: Option<String>,
    /// Tag of the last message received.
    tag: Option<String>,
    /// Time of the last message received, an HTTP date.
    time: Option<String>,
    /// Against caches; of no meaning.
    rnd: Option<String>,
    /// A function of JSONP, which this layout refuses.
    callback: Option<String>,
}

impl PushQuery {
    fn parameters(&self) -> [(&'static str, Option<&String>); 5] {
        [
            ("CHANNEL_ID", self.channel_id.as_ref()),
            ("tag", self.tag.as_ref()),
            ("time", self.time.as_ref()),
            ("rnd", self.rnd.as_ref()),
            ("callback", self.callback.as_ref()),
        ]
    }
}

/// The query of `/channels-stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct StatisticsQuery {
    /// A channel, several with `/` between them, `prefix*` or `ALL`; none: the summary.
    id: Option<String>,
}

/// The routes.
pub(super) fn router(site: Site) -> Router {
    Router::new()
        .route("/bitrix/sub/", any(push))
        .route("/bitrix/sub", any(push))
        .route("/bitrix/subws/", any(push))
        .route("/bitrix/pub/", any(push))
        .route("/channels-stats", any(statistics))
        .fallback(answer)
        .with_state(site)
}

type Asked<T> = Result<Query<T>, QueryRejection>;

async fn push(state: State<Site>, query: Asked<PushQuery>, request: Request) -> Response {
    match query {
        Ok(Query(query)) => answer(state, asking(request, &query.parameters())).await,
        // A parameter that comes twice: the site takes the first.
        Err(_) => answer(state, request).await,
    }
}

async fn statistics(state: State<Site>, query: Asked<StatisticsQuery>, request: Request) -> Response {
    match query {
        Ok(Query(query)) => answer(state, asking(request, &[("id", query.id.as_ref())])).await,
        Err(_) => answer(state, request).await,
    }
}

/// The request with exactly this query.
fn asking(mut request: Request, parameters: &[(&str, Option<&String>)]) -> Request {
    let mut target = request.uri().path().to_owned();
    let mut separator = '?';
    for (name, value) in parameters.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        target.push(separator);
        target.push_str(name);
        target.push('=');
        write_value(value, &mut target);
        separator = '&';
    }
    let mut parts = request.uri().clone().into_parts();
    // A path that came in a URI, and bytes that may stand in a query.
    if let Ok(target) = PathAndQuery::try_from(target) {
        parts.path_and_query = Some(target);
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

/// Appends a value as the module reads it: what is not plain is escaped, a space too.
fn write_value(value: &str, target: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:,;*!$'()@".contains(&byte) {
            target.push(byte as char);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn handed_on(uri: &str) -> String {
        let Query(query) = Query::<PushQuery>::try_from_uri(&uri.parse().unwrap()).unwrap();
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        asking(request, &query.parameters()).uri().to_string()
    }

    #[test]
    fn a_query_is_read_as_forms_are_and_told_as_the_module_reads() {
        assert_eq!(
            handed_on("/bitrix/sub/?CHANNEL_ID=a%2Fb&tag=7&time=Sun,+22%20Nov%202026+18:43:51+GMT&rnd=1&other=x"),
            "/bitrix/sub/?CHANNEL_ID=a/b&tag=7&time=Sun,%2022%20Nov%202026%2018:43:51%20GMT&rnd=1"
        );
        assert_eq!(handed_on("/bitrix/sub/?CHANNEL_ID=%D0%B0%26b"), "/bitrix/sub/?CHANNEL_ID=%D0%B0%26b");
        assert_eq!(handed_on("/bitrix/sub/"), "/bitrix/sub/");
        assert_eq!(handed_on("/bitrix/sub/?tag="), "/bitrix/sub/?tag=");
    }
}
