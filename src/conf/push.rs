//! The module's values of one location, and its checks of locations that have a mode.
//!
//! Templates are kept as written; wrapping them for a framing is the renderer's business. The checks come in the
//! module's order and name the line of the `}` that closes `http`.

use std::sync::Arc;

use super::compiler::{Compiler, of_variable};
use super::complex;
use super::error::{Fault, Place, shown};
use super::namespace::Namespace;
use super::scope::Scope;
use super::settings::{ChannelsPath, Handler, Mode, Padding, Push};
use super::units;
use super::variable::Variable;
use super::zone::narrow;

/// Variables that held the channels in 0.3.x: of publishers and statistics, and of subscribers.
pub(super) const OLD_VARIABLES: [&str; 2] = ["push_stream_channel_id", "push_stream_channels_path"];
/// Browsers that 0.3.x padded for without being told.
const OLD_PADDINGS: &[u8] = b"[A|a]ndroid 2,4097,4097:[S|s]afari,1025,0";

/// Compiles the values. `handler` is what answers; `checked` is the place for complaints of a location with a mode.
pub(super) fn compile(
    scope: &Scope<'_, '_>,
    handler: &mut Handler,
    checked: Option<&Place>,
    compiler: &mut Compiler,
) -> Result<Push, Fault> {
    // Values of 0.3.x have a default there alone.
    let old = compiler.is_03();
    let of_03 = |name: &'static str| (old || scope.entry(name).is_some()).then_some(name);
    let subscriber = matches!(handler, Handler::Subscriber(_));
    let mut push = Push {
        channels_path: channels_path(scope, subscriber, compiler),
        store_messages: scope.flag("push_stream_store_messages"),
        channel_info_on_publish: scope.flag("push_stream_channel_info_on_publish"),
        authorized_channels_only: scope.flag("push_stream_authorized_channels_only"),
        header_template: Arc::from(scope.text("push_stream_header_template").unwrap_or_default()),
        message_template: Arc::from(scope.text("push_stream_message_template").unwrap_or_default()),
        footer_template: Arc::from(scope.text("push_stream_footer_template").unwrap_or_default()),
        wildcard_channel_max_qtd: scope
            .number("push_stream_wildcard_channel_max_qtd")
            .map(narrow)
            .or(compiler.zone.max_wildcard_channels),
        ping_message_interval: scope.number("push_stream_ping_message_interval"),
        subscriber_connection_ttl: scope.number("push_stream_subscriber_connection_ttl"),
        longpolling_connection_ttl: scope
            .number("push_stream_longpolling_connection_ttl")
            .or_else(|| scope.number("push_stream_subscriber_connection_ttl")),
        websocket_allow_publish: scope.flag("push_stream_websocket_allow_publish"),
        websocket_deflate: scope.flag("push_stream_websocket_deflate"),
        websocket_max_message_size: scope.quantity("push_stream_websocket_max_message_size"),
        last_received_message_time: scope.complex("push_stream_last_received_message_time").cloned(),
        last_received_message_tag: scope.complex("push_stream_last_received_message_tag").cloned(),
        last_event_id: scope.complex("push_stream_last_event_id").cloned(),
        user_agent: scope.complex("push_stream_user_agent").cloned(),
        paddings: Arc::default(),
        allowed_origins: scope.complex("push_stream_allowed_origins").cloned(),
        allow_connections_to_events_channel: scope.flag("push_stream_allow_connections_to_events_channel"),
        eventsource_support: scope.flag("push_stream_eventsource_support"),
        content_type: of_03("push_stream_content_type")
            .and_then(|name| scope.text(name))
            .map(|kind| shown(kind).into()),
        keepalive: of_03("push_stream_keepalive").map(|name| scope.flag(name)),
    };
    if let Some(place) = checked {
        check(scope, &push, handler, place, compiler)?;
    }
    if push.eventsource_support && *handler == Handler::Subscriber(Mode::Streaming) {
        *handler = Handler::Subscriber(Mode::EventSource);
        push.eventsource_support = false;
    }
    if push.message_template.is_empty() {
        push.message_template = Arc::from(&b"~text~"[..]);
    }
    if subscriber {
        push.paddings = paddings(scope, checked, compiler)?;
    }
    Ok(push)
}

/// The directive, or where there is none the variable of 0.3.x if the configuration sets it.
fn channels_path(scope: &Scope<'_, '_>, subscriber: bool, compiler: &mut Compiler) -> Option<ChannelsPath> {
    if let Some(value) = scope.complex("push_stream_channels_path") {
        return Some(ChannelsPath { value: value.clone(), decode: true, split: true });
    }
    let [id, path] = OLD_VARIABLES;
    let name = if subscriber { path } else { id };
    let understood = compiler.is_03() || compiler.dialect.only.is_none();
    if !understood || !compiler.namespace.is_claimed(name) {
        return None;
    }
    let Variable::Defined(index) = compiler.namespace.variable(name) else { return None };
    Some(ChannelsPath { value: of_variable(Variable::Defined(index)), decode: false, split: subscriber })
}

fn check(
    scope: &Scope<'_, '_>,
    push: &Push,
    handler: &Handler,
    place: &Place,
    compiler: &Compiler,
) -> Result<(), Fault> {
    let refuse = |text: &str| Err(Fault::module(text, place));
    if push.channels_path.is_none() && !compiler.is_03() {
        return refuse("push_stream_channels_path must be set.");
    }
    if push.eventsource_support && !matches!(handler, Handler::Subscriber(mode) if *mode != Mode::WebSocket) {
        return refuse("event source support is only available on subscriber location");
    }
    for (name, value) in [
        ("push_stream_ping_message_interval", push.ping_message_interval),
        ("push_stream_subscriber_connection_ttl", push.subscriber_connection_ttl),
        ("push_stream_longpolling_connection_ttl", push.longpolling_connection_ttl),
    ] {
        if value == Some(0) {
            return refuse(&format!("{} cannot be zero.", written(scope, name)));
        }
    }
    let event_source = *handler == Handler::Subscriber(Mode::EventSource) || push.eventsource_support;
    if push.message_template.is_empty() && !event_source {
        return refuse("push_stream_message_template cannot be blank.");
    }
    let Some(most) = push.wildcard_channel_max_qtd else { return Ok(()) };
    let kind = if written(scope, "push_stream_wildcard_channel_max_qtd").contains("broadcast") || compiler.is_03() {
        "broadcast"
    } else {
        "wildcard"
    };
    if most == 0 {
        return refuse(&format!("push_stream_{kind}_channel_max_qtd cannot be zero."));
    }
    if compiler.zone.wildcard_prefix.is_empty() {
        return refuse(&format!(
            "cannot set {kind} channel max qtd if push_stream_{kind}_channel_prefix is not set or blank."
        ));
    }
    if compiler.zone.max_wildcard_channels.is_some_and(|zone| most > zone) {
        return refuse(&format!(
            "max number of {kind} channels cannot be smaller than value in push_stream_{kind}_channel_max_qtd."
        ));
    }
    Ok(())
}

/// The spelling that was used for `name`.
fn written(scope: &Scope<'_, '_>, name: &str) -> String {
    scope.entry(name).map_or_else(|| name.to_owned(), |entry| entry.node.name().into_owned())
}

/// `REGEX,HEADER_MIN,MESSAGE_MIN[:...]`
fn paddings(scope: &Scope<'_, '_>, checked: Option<&Place>, compiler: &mut Compiler) -> Result<Arc<[Padding]>, Fault> {
    let written = scope.text("push_stream_padding_by_user_agent");
    let rules = match written {
        Some(rules) => rules,
        None if compiler.is_03() => OLD_PADDINGS,
        None => return Ok(Arc::default()),
    };
    let anywhere = Place { file: None, line: 1 };
    let place = checked.or_else(|| scope.entry("push_stream_padding_by_user_agent").map(|entry| &entry.node.place));
    let place = place.unwrap_or(&anywhere);
    let mut paddings = Vec::new();
    let mut rest = rules;
    while !rest.is_empty() {
        let end = memchr::memchr(b':', rest).unwrap_or(rest.len());
        let Some((agent, header_min, message_min)) = rule(&rest[..end]) else {
            let text = if paddings.is_empty() {
                format!("padding pattern not match the value {}", shown(rest))
            } else {
                format!("error applying padding pattern to {}", shown(rest))
            };
            return Err(unable(Fault::module(text, place), place));
        };
        // Groups named in a padding rule set nothing: the names go into a namespace of their own.
        let mut agent =
            complex::regex(agent, false, &mut Namespace::default(), place).map_err(|fault| unable(fault, place))?;
        agent.named.clear();
        compiler.largest_padding = compiler.largest_padding.max(header_min).max(message_min);
        paddings.push(Padding { agent, header_min, message_min });
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Ok(paddings.into())
}

fn unable(fault: Fault, place: &Place) -> Fault {
    fault.then(Fault::module("push stream module: unable to parse paddings by user agent", place))
}

/// Splits one rule; the regular expression may hold commas.
fn rule(rule: &[u8]) -> Option<(&[u8], usize, usize)> {
    let mut fields = rule.rsplitn(3, |byte| *byte == b',');
    let message_min = units::number(fields.next()?)?;
    let header_min = units::number(fields.next()?)?;
    let agent = fields.next().filter(|agent| !agent.is_empty())?;
    Some((agent, usize::try_from(header_min).ok()?, usize::try_from(message_min).ok()?))
}
