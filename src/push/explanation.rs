//! Refusals as answers: status and `X-Nginx-PushStream-Explain`, worded as the spoken version words them.

use std::borrow::Cow;

use crate::conf::settings::Line;
use crate::model::Refusal;
use crate::push::fields::explain;
use crate::request::reply::{Fields, Reply};

/// The text of a refusal; 0.3.x called wildcard channels broadcast channels.
pub(crate) fn explanation(refusal: Refusal, line: Line) -> Cow<'static, str> {
    match refusal {
        Refusal::TooManyWildcards if line < Line::V040 => "Subscribed too much broadcast channels.".into(),
        refusal => refusal.to_string().into(),
    }
}

/// The header-only answer that refuses a request: the given fields, then why.
pub(crate) fn refused(refusal: Refusal, line: Line, fields: Fields) -> Reply {
    let reply = Reply::header_only(refusal.status()).with(fields);
    if refusal.status() == 500 { reply } else { reply.with([explain(explanation(refusal, line))]) }
}
