//! Lines of the error log that concern a request, with what nginx tells of it: `*7 text, client: A, server: S, request: "R",
//! host: "H", referrer: "F"`.
//!
//! Tools that ban clients read these lines. Each is one event with a field for each thing told; how that is spelled is the
//! log's business. Invariant: channel ids are shortened unless the configuration wants them whole.

use std::borrow::Cow;
use std::fmt::Arguments;

use tracing::Level;

use super::channel_veil::{self, veil};
use super::channels;
use super::exchange::Exchange;
use crate::model::{ChannelId, NOTICE};
use crate::request::peer::PeerAddress;
use crate::request::status;

/// What a line tells of a request.
pub(crate) struct About {
    /// Number of the connection.
    pub connection: u64,
    /// The client's address; `None`: nobody says.
    pub client: Option<String>,
    /// The server that answers.
    pub server: String,
    /// The request line, empty where none could be read.
    pub request: String,
    /// `Host`
    pub host: Option<String>,
    /// `Referer`
    pub referrer: Option<String>,
    /// The channels it names, empty where it names none.
    pub channels: String,
}

/// One event about a request. Levels and targets are known when the program is made.
macro_rules! tell {
    ($target:expr, $level:expr, $exchange:expr => $about:ident, { $($more:ident = $value:expr),* }, $text:expr) => {
        $exchange.told.set(true);
        // Who asks costs more than to know that nobody listens.
        if tracing::enabled!(target: $target, $level) {
            let $about = About::of($exchange);
            tracing::event!(
                target: $target,
                $level,
                connection = $about.connection,
                client = $about.client.as_ref().map(display),
                server = display(&$about.server),
                request = $about.request(),
                host = $about.host.as_deref(),
                referrer = $about.referrer.as_deref(),
                $($more = $value,)*
                "{}",
                $text
            );
        }
    };
}

/// Something went wrong with a request.
pub(crate) fn error(exchange: &Exchange<'_>, text: Arguments<'_>) {
    tell!(module_path!(), Level::ERROR, exchange => about, {}, text);
}

/// Something about a request is worth a warning.
pub(crate) fn warn(exchange: &Exchange<'_>, text: Arguments<'_>) {
    tell!(module_path!(), Level::WARN, exchange => about, {}, text);
}

/// A request was refused, by the rules of the module or by the site's.
pub(crate) fn refuse(exchange: &Exchange<'_>, reason: &str, text: Arguments<'_>) {
    tell!(
        NOTICE, Level::INFO, exchange => about,
        { channel = about.channels().map(display), reason = display(reason) },
        text
    );
}

/// A request was refused with this status; nothing where a line has said more of it already, or nobody wants one.
pub(crate) fn refuse_untold(exchange: &Exchange<'_>, reason: &str, status: u16) {
    let lines = &exchange.settings.log_lines;
    let unwanted = status == 404 && !exchange.location.core.log_not_found;
    if !exchange.told.get() && !lines.untold_refusals && !unwanted {
        let words = status::reason(status);
        let space = if words.is_empty() { "" } else { " " };
        refuse(exchange, reason, format_args!("request refused: {status}{space}{words}"));
    }
}

/// `2: No such file or directory`
pub(crate) fn system_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    error.raw_os_error().map_or_else(|| text.to_owned(), |code| format!("{code}: {text}"))
}

impl About {
    /// What is told of a request.
    pub(crate) fn of(exchange: &Exchange<'_>) -> Self {
        let whole = exchange.settings.log_lines.whole_ids;
        let ids = channels::ids(exchange, exchange.location);
        let shown = |text: &[u8]| if whole { lossy(text) } else { veil(text, &secrets(exchange, &ids)) };
        let field = |name: &str| exchange.head.header(name).map(shown);
        Self {
            connection: exchange.peer.connection,
            client: match exchange.remote {
                PeerAddress::Ip(address) => Some(address.ip().to_canonical().to_string()),
                PeerAddress::Unix => Some("unix:".to_owned()),
                PeerAddress::Untold => None,
            },
            server: exchange.server.name.to_string(),
            request: shown(exchange.head.line()),
            host: field("host"),
            referrer: field("referer"),
            channels: channel_veil::list(&ids, whole),
        }
    }

    /// The request line, if there is one.
    pub(crate) fn request(&self) -> Option<&str> {
        Some(&*self.request).filter(|line| !line.is_empty())
    }

    /// The channels, if there are any.
    pub(crate) fn channels(&self) -> Option<&str> {
        Some(&*self.channels).filter(|channels| !channels.is_empty())
    }
}

/// Text that came of a request as lines may show it.
pub(crate) fn shown(exchange: &Exchange<'_>, text: &[u8]) -> String {
    if exchange.settings.log_lines.whole_ids {
        return lossy(text);
    }
    veil(text, &secrets(exchange, &channels::ids(exchange, exchange.location)))
}

/// The ids that stand in what was sent.
fn secrets<'a>(exchange: &Exchange<'_>, ids: &'a [ChannelId]) -> Cow<'a, [ChannelId]> {
    if exchange.hidden.is_empty() { ids.into() } else { [ids, &exchange.hidden].concat().into() }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::About;
    use crate::conf::settings::{ChannelsPath, Location};
    use crate::site::fixture::{complex, location, server, settings, with_exchange};

    fn push_location() -> Location {
        let mut location = location(0, "root");
        let path = ChannelsPath { value: complex("$arg_id"), decode: true, split: true };
        location.push.channels_path = Some(path);
        location
    }

    #[test]
    fn a_line_says_who_asked_what_and_no_whole_channel_id() {
        let mut settings = settings(server(push_location(), vec![], vec![]));
        let about = |settings: &crate::conf::Settings| {
            let mut told = None;
            with_exchange(settings, "GET /a?id=0123456789.b3/b", &["Referer: http://x/0123456789"], |exchange| {
                told = Some(About::of(exchange));
            });
            told.unwrap()
        };
        let short = about(&settings);
        assert_eq!((short.client.as_deref(), &*short.server), (Some("127.0.0.1"), "localhost"));
        assert_eq!(short.request(), Some("GET /a?id=01234567\u{2026}/b HTTP/1.1"));
        assert_eq!(
            (short.host.as_deref(), short.referrer.as_deref()),
            (Some("Some.Host:8080"), Some("http://x/01234567\u{2026}"))
        );
        assert_eq!(short.channels(), Some("01234567\u{2026}/b"));
        settings.log_lines.whole_ids = true;
        let whole = about(&settings);
        assert_eq!(
            (whole.request(), whole.channels()),
            (Some("GET /a?id=0123456789.b3/b HTTP/1.1"), Some("0123456789/b"))
        );
    }
}
