//! A subscriber that does not give up: it goes on from where it was when it has lost its server, and tells what happens.
//!
//! Invariant: a position is moved on only by what has been handed out, so that nothing between two connections is missed
//! where the server tells positions at all.

use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use tokio::time::timeout;

use super::ToolError;
use super::address::{Address, Pattern};
use super::exchange::{self, Exchange};
use super::message::{Message, Messages};
use super::position::Position;
use super::trust::Trust;
use super::websocket;
use crate::cli::tools::{From, Mode, Reach};

/// How long to wait before the first attempt to connect again, and at most.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a server may take to refuse what it has let begin: only then a subscriber counts as connected that waits.
const GRACE: Duration = Duration::from_millis(300);
/// When a server that has said nothing, where it has to begin at once, is told of.
const SILENCE: Duration = Duration::from_secs(5);
/// How often a server is asked that answers at once.
const POLL: Duration = Duration::from_secs(1);

/// Whom to subscribe to, and how.
#[derive(Clone)]
pub(super) struct Target {
    mode: Mode,
    pattern: Pattern,
    channels: String,
    trust: Trust,
    fields: Vec<(String, String)>,
}

/// What happens to a subscriber.
pub(super) enum Event<'a> {
    /// It is connected, and will go on from there.
    Connected(&'a Position),
    /// A message has come, after which it is there.
    Message(&'a Message, &'a Position),
    /// The connection is lost or was refused for now; it tries again.
    Lost(&'a ToolError),
    /// The server has taken the request and says nothing, which this mode does not wait for.
    Silent,
}

/// How a connection has ended.
enum Ended {
    /// Nobody wants more.
    Enough,
    /// As it should: the next request goes out at once.
    Answered,
}

impl Target {
    pub(super) fn new(mode: Mode, url: Option<&str>, channels: &str, reach: &Reach) -> Result<Self, ToolError> {
        let missing =
            || ToolError::Asked("the embedded layout has no such mode: --url says where it is served".to_owned());
        let pattern = Pattern::new(url.or(mode.embedded()).ok_or_else(missing)?)?;
        let tls = pattern.address("", &Position::default())?.tls;
        let trust = Trust::new(reach.cacert.as_deref(), tls)?;
        Ok(Self { mode, pattern, channels: channels.to_owned(), trust, fields: reach.headers.clone() })
    }

    /// The same for other channels.
    pub(super) fn of(&self, channels: &str) -> Self {
        Self { channels: channels.to_owned(), ..self.clone() }
    }

    pub(super) fn place(&self) -> Result<String, ToolError> {
        Ok(self.pattern.address("", &Position::default())?.place())
    }
}

/// Subscribes until `told` has enough, or the server says no for good.
pub(super) async fn follow(
    target: &Target,
    from: From,
    mut told: impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<(), ToolError> {
    let mut subscriber =
        Subscriber { target, position: Position::of(from, target.mode), exchange: None, connected: false };
    let mut pause = PAUSE;
    loop {
        match subscriber.attempt(&mut told).await {
            Ok(Ended::Enough) => return Ok(()),
            Ok(Ended::Answered) => pause = PAUSE,
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                if std::mem::take(&mut subscriber.connected) {
                    pause = PAUSE;
                }
                subscriber.exchange = None;
                if told(Event::Lost(&error)).is_break() {
                    return Ok(());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether it is of no use to try again. A channel that is refused (403) may be there later; so may a server.
fn is_final(error: &ToolError) -> bool {
    match error {
        ToolError::Refused { status, .. } => matches!(status, 400..500) && !matches!(status, 403 | 408 | 429),
        ToolError::Lost { .. } => false,
        ToolError::Asked(_) | ToolError::Io(_) | ToolError::Untrusted { .. } => true,
    }
}

struct Subscriber<'a> {
    target: &'a Target,
    position: Position,
    exchange: Option<Exchange>,
    connected: bool,
}

impl Subscriber<'_> {
    async fn attempt(&mut self, told: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> Result<Ended, ToolError> {
        let target = self.target;
        let address = target.pattern.address(&target.channels, &self.position)?;
        if target.mode == Mode::Websocket {
            return self.by_websocket(&address, told).await;
        }
        let mut exchange = Exchange::again(self.exchange.take(), &address, &target.trust).await?;
        let mut fields: Vec<(&str, &str)> = target.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        if !target.pattern.takes_position() {
            fields.extend([("If-Modified-Since", &*self.position.time), ("If-None-Match", &*self.position.tag)]);
        }
        fields.push(("Last-Event-Id", &self.position.event_id));
        let answer = {
            let mut asking = pin!(exchange.ask("GET", &address, &fields, Bytes::new()));
            let soon = timeout(GRACE, &mut asking).await;
            // The answer to a long-poll comes with the first message only.
            if soon.is_err()
                && target.mode == Mode::LongPolling
                && tell_connected(&mut self.connected, &self.position, told).is_break()
            {
                return Ok(Ended::Enough);
            }
            match soon {
                Ok(answer) => answer?,
                Err(_) if target.mode == Mode::LongPolling => asking.await?,
                Err(_) => patiently(asking, told).await?,
            }
        };
        let answer = exchange::accepted(&address, answer).await?;
        if tell_connected(&mut self.connected, &self.position, told).is_break() {
            return Ok(Ended::Enough);
        }
        let (head, mut body) = answer.into_parts();
        let mut messages = Messages::of(target.mode);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| exchange::lost(&address, &error))?;
            for message in messages.take(frame.data_ref().map_or(&[][..], |data| data)) {
                if self.hand_out(&message, told).is_break() {
                    return Ok(Ended::Enough);
                }
            }
        }
        if let Some(message) = messages.finish()
            && self.hand_out(&message, told).is_break()
        {
            return Ok(Ended::Enough);
        }
        self.position.read_head(&head.headers);
        self.exchange = Some(exchange);
        match target.mode {
            Mode::LongPolling => Ok(Ended::Answered),
            Mode::Polling => {
                tokio::time::sleep(POLL).await;
                Ok(Ended::Answered)
            }
            _ => Err(ToolError::Lost { place: address.place(), why: "the server has ended the answer".to_owned() }),
        }
    }

    async fn by_websocket(
        &mut self,
        address: &Address,
        told: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Ended, ToolError> {
        let opening = websocket::Socket::open(address, &self.target.trust, &self.target.fields);
        let mut socket = patiently(pin!(opening), told).await?;
        // A refusal comes after the handshake.
        let mut first = timeout(GRACE, socket.next(address)).await.ok().transpose()?;
        if tell_connected(&mut self.connected, &self.position, told).is_break() {
            return Ok(Ended::Enough);
        }
        let mut messages = Messages::of(Mode::Websocket);
        loop {
            let bytes = match first.take() {
                Some(bytes) => bytes,
                None => socket.next(address).await?,
            };
            for message in messages.take(&bytes) {
                if self.hand_out(&message, told).is_break() {
                    return Ok(Ended::Enough);
                }
            }
        }
    }

    fn hand_out(&mut self, message: &Message, told: &mut impl FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        self.position.read_text(&message.text);
        if let Some(id) = &message.event_id {
            // Alone: of an event id and a time a server takes whichever comes first.
            self.position = Position { event_id: id.clone(), ..Position::default() };
        }
        told(Event::Message(message, &self.position))
    }
}

/// Waits for what has to come soon, and says so if it does not. Nobody has enough of a silence.
async fn patiently<T>(
    mut coming: Pin<&mut impl Future<Output = T>>,
    told: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> T {
    if let Ok(came) = timeout(SILENCE, &mut coming).await {
        return came;
    }
    let _ = told(Event::Silent);
    coming.await
}

fn tell_connected(
    connected: &mut bool,
    position: &Position,
    told: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if std::mem::replace(connected, true) {
        return ControlFlow::Continue(());
    }
    told(Event::Connected(position))
}
