//! The library's face: a push server inside an application of axum.
//!
//! [`PushStream`] is a handle that is cheap to clone. Its router has every request decided by the engine that the server itself
//! has; publishing, deleting, subscribing and counting can be done without HTTP. Knows no wire: requests go to worker threads
//! of its own ([`threads`]), since what serves subscribers there cannot be sent between threads.

mod bitrix;
mod body;
mod failure;
mod message;
mod options;
mod pool;
mod router;
mod shared;
mod subscription;
mod subscriptions;
mod threads;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use tokio::sync::oneshot;

pub use failure::Error;
pub use message::{Channel, Message, Start, Statistics};
pub use options::Options;
pub use subscription::{End, Subscription};

use self::pool::Pool;
use self::router::Site;
use crate::conf::settings::ListenAddress;
use crate::delivery::wall as now;
use crate::metrics::tick;
use crate::model::{ChannelId, Draft, EventTags, Refusal};

/// A push server without sockets of its own.
///
/// ```no_run
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// use std::net::SocketAddr;
///
/// let push = pushstreamd::PushStream::from_text(
///     "location /pub { push_stream_publisher; push_stream_channels_path $arg_id; }
///      location ~ ^/ev/(.*)$ { push_stream_subscriber eventsource; push_stream_channels_path $1; }",
/// )?;
/// let app = axum::Router::new().nest("/push", push.router());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// push.publish("news", "hello")?;
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
/// # Ok(())
/// # }
/// ```
///
/// Its threads end when the last clone and the last router made of it are gone, and the log (`push_stream_state`) is written to its
/// end then; [`PushStream::shutdown`] does the latter before.
#[derive(Clone)]
pub struct PushStream {
    pool: Arc<Pool>,
    /// Whether the routes are those of Bitrix's layout.
    bitrix: bool,
}

impl PushStream {
    /// A push server with the configuration of this file, an `nginx.conf`. Listening sockets, users, logs of errors and what
    /// else belongs to a process are the application's business and are not looked at.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::options().from_file(path)
    }

    /// A push server with this configuration: a whole `nginx.conf`, or the directives of one `server` block, which then
    /// has one thread, 64 MB for messages, and no access log unless they name one.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        Self::options().from_text(text)
    }

    /// A push server with the layout of 1C-Bitrix "Push and Pull": `/bitrix/sub/`, `/bitrix/subws/`, `/bitrix/pub/`,
    /// `/channels-stats`. Publishing and statistics are for clients of the loopback interface, so the application has to be
    /// served with `into_make_service_with_connect_info::<SocketAddr>()` for them to be reached.
    pub fn bitrix() -> Result<Self, Error> {
        Self::options().bitrix()
    }

    /// For reading a configuration otherwise than usual.
    pub fn options() -> Options {
        Options::default()
    }

    /// The routes, which answer the module's URLs: the locations of the configuration, below whatever path the router is nested
    /// under. Of several servers in the configuration the first one answers that has a location for a path.
    ///
    /// `allow`, `deny` and the like know the client's address where the application is served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`; otherwise a client is taken for whoever is refused.
    pub fn router(&self) -> Router {
        let site = Site::all(&self.pool);
        if self.bitrix { bitrix::router(site) } else { site.router() }
    }

    /// The addresses that the servers of the configuration listen on, each with the routes of its servers alone: for an
    /// application that serves them on sockets of its own, so that what only a private socket offers stays private.
    pub fn sites(&self) -> Vec<(SocketAddr, Router)> {
        let listeners = self.pool.settings().listeners.iter().enumerate();
        let addresses = listeners.filter_map(|(at, listener)| match listener.address {
            ListenAddress::Ip(address) => Some((address, at)),
            ListenAddress::Unix(_) => None,
        });
        addresses.map(|(address, at)| (address, Site::one(&self.pool, at).router())).collect()
    }

    /// Publishes a message on a channel, which is created if it is missing; what the channel has then. Where channels are shared with other
    /// nodes, a message waits for its turn: [`PushStream::publish_in_turn`].
    pub fn publish(&self, channel: &str, text: impl Into<Vec<u8>>) -> Result<Channel, Error> {
        self.publish_event(channel, text, None, None)
    }

    /// [`PushStream::publish`] with an event id and an event type, as the fields `Event-Id` and `Event-Type` give them.
    pub fn publish_event(
        &self,
        channel: &str,
        text: impl Into<Vec<u8>>,
        event_id: Option<&str>,
        event_type: Option<&str>,
    ) -> Result<Channel, Error> {
        self.check_own_order()?;
        let (ids, draft) = self.admit(channel, text.into(), event_id, event_type)?;
        self.pool.hub().publish(&ids, &draft, now())?;
        Ok(self.channel(channel).unwrap_or_default())
    }

    /// A message that may be published, and where.
    fn admit(
        &self,
        channel: &str,
        text: Vec<u8>,
        event_id: Option<&str>,
        event_type: Option<&str>,
    ) -> Result<([ChannelId; 1], Draft), Error> {
        let id = ChannelId::new(channel.as_bytes());
        if id.as_bytes().is_empty() {
            return Err(Refusal::NoChannelId.into());
        }
        if text.is_empty() {
            return Err(Error::Empty);
        }
        let bytes = |text: &str| Box::from(text.as_bytes());
        let tags = EventTags { id: event_id.map(bytes), kind: event_type.map(bytes) };
        let event = (event_id.is_some() || event_type.is_some()).then(|| Arc::new(tags));
        let draft = Draft { text: text.into(), event, store: true, binary: false, at: tick() };
        let ids = [id];
        self.pool.hub().admit_publish(&ids, now())?;
        Ok((ids, draft))
    }

    /// Refuses what cannot be done at once.
    fn check_own_order(&self) -> Result<(), Error> {
        if self.pool.hub().is_led() { Err(Error::InTurn) } else { Ok(()) }
    }

    /// Deletes a channel and tells its subscribers; whether there was one. Where channels are shared: [`PushStream::delete_in_turn`].
    pub fn delete(&self, channel: &str) -> Result<bool, Error> {
        self.check_own_order()?;
        let ids = [ChannelId::new(channel.as_bytes())];
        self.pool.hub().admit_delete(&ids)?;
        Ok(self.pool.hub().delete(&ids, None, now()) > 0)
    }

    /// Subscribes to channels, written as in a channels path: ids with `/` between them, each with `.bN` for its last `N`
    /// messages. First comes what `start` says was missed, then what is published, each message once and in order.
    pub fn subscribe(&self, channels: &str, start: Start) -> Result<Subscription, Error> {
        self.pool.subscriptions().subscribe(channels, start)
    }

    /// A channel's numbers; `None` if it does not exist.
    pub fn channel(&self, channel: &str) -> Option<Channel> {
        self.pool.hub().find(&[ChannelId::new(channel.as_bytes())]).first().map(Channel::of)
    }

    /// Returns when all that was published and deleted up to now is on the disk that `push_stream_state` names; false if that is not to
    /// be, since the disk fails or there is none. With `push_stream_state_sync always` publishers over HTTP are answered after that;
    /// [`PushStream::publish`] does not wait.
    pub async fn synced(&self) -> bool {
        let (sender, synced) = oneshot::channel();
        self.pool.hub().when_synced(move |fine| {
            // Nobody may be waiting any more.
            let _ = sender.send(fine);
        });
        synced.await.unwrap_or(false)
    }

    /// Leaves the nodes that share its channels, if they do, when what waits for its turn has been told. Ends the log, so that another process or another `PushStream` can go on with it: from now on publishers are refused, and when
    /// it returns everything that was published is on the disk. Subscribers stay until the last clone and router are gone. Without
    /// it the same is done then, by whoever drops the last of them, who waits for the disk.
    pub async fn shutdown(&self) {
        self.pool.settle().await;
        let (sender, closed) = oneshot::channel();
        let hub = Arc::clone(self.pool.hub());
        let close = move || {
            Pool::close(&hub);
            let _ = sender.send(());
        };
        match std::thread::Builder::new().name("push-end".to_owned()).spawn(close) {
            Ok(_) => {
                // An error would be a panic there, which has been told.
                let _ = closed.await;
            }
            Err(_) => Pool::close(self.pool.hub()),
        }
    }

    /// The numbers of all channels together.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.pool.hub().census(now()))
    }
}

impl std::fmt::Debug for PushStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushStream").finish_non_exhaustive()
    }
}
