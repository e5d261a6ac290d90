//! What an application is told: messages, channels, numbers.

use bytes::Bytes;

use crate::hub::{Census, ChannelInfo, Missed};
use crate::model::{self, Replay};

/// A message as a subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Id of its channel.
    pub channel: String,
    /// Its number on the channel, counted from 1 over all publishes (`~id~`).
    pub id: i64,
    /// What was published.
    pub text: Bytes,
    /// Second of publish since the Unix epoch: with `tag` the place to go on from ([`Start::After`]).
    pub time: u32,
    /// Place within that second over all channels.
    pub tag: u32,
    /// `Event-Id`
    pub event_id: Option<String>,
    /// `Event-Type`
    pub event_type: Option<String>,
}

impl Message {
    pub(super) fn of(channel: &[u8], message: &model::Message) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            channel: text(channel),
            id: message.id,
            text: Bytes::copy_from_slice(&message.text),
            time: message.stamp.time,
            tag: message.stamp.tag,
            event_id: message.event_id().map(text),
            event_type: message.event_type().map(text),
        }
    }

    pub(super) fn missed(missed: &Missed) -> Self {
        Self::of(missed.channel.as_bytes(), &missed.message)
    }
}

/// From which message on a subscriber wants its channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// What is published from now on.
    #[default]
    Now,
    /// Everything that is stored.
    Stored,
    /// What was published after the message with this time and tag.
    After {
        /// Second since the Unix epoch.
        time: u32,
        /// Place within that second.
        tag: u32,
    },
    /// What was published after the message with this event id.
    AfterEvent(String),
}

impl Start {
    pub(super) fn into_replay(self) -> Replay {
        match self {
            Self::Now => Replay::default(),
            Self::Stored => Replay { time: Some(0), ..Replay::default() },
            Self::After { time, tag } => {
                Replay { time: Some(i64::from(time)), tag: Some(i64::from(tag)), event_id: None }
            }
            Self::AfterEvent(id) => Replay { event_id: Some(id.into_bytes().into()), ..Replay::default() },
        }
    }
}

/// The numbers of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Channel {
    /// Its id.
    pub channel: String,
    /// Messages published since it was created.
    pub published_messages: u64,
    /// Messages stored.
    pub stored_messages: u32,
    /// Subscribers.
    pub subscribers: u32,
}

impl Channel {
    pub(super) fn of(info: &ChannelInfo) -> Self {
        Self {
            channel: String::from_utf8_lossy(info.id.as_bytes()).into_owned(),
            published_messages: info.published,
            stored_messages: info.stored,
            subscribers: info.subscribers,
        }
    }
}

/// The numbers of all channels together.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Channels, wildcard channels left out.
    pub channels: u32,
    /// Wildcard channels.
    pub wildcard_channels: u32,
    /// Messages published.
    pub published_messages: u64,
    /// Messages stored.
    pub stored_messages: u64,
    /// Subscribers, those of [`super::PushStream::subscribe`] included.
    pub subscribers: u64,
    /// Seconds since the start.
    pub uptime: u64,
}

impl Statistics {
    pub(super) fn of(census: &Census) -> Self {
        Self {
            channels: census.channels,
            wildcard_channels: census.wildcard_channels,
            published_messages: census.published,
            stored_messages: census.stored,
            subscribers: census.subscribers,
            uptime: census.uptime,
        }
    }
}
