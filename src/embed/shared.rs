//! What an application does where several nodes share channels: it waits for its turn in their order.
//!
//! It does not know how that is made. Without a backplane nothing waits.

use tokio::sync::oneshot;

use super::failure::Error;
use super::message::Channel;
use super::{PushStream, now};
use crate::hub::{ChannelInfo, Outcome};
use crate::model::{ChannelId, Refusal};

impl PushStream {
    /// Returns when this node has what the others of its zone have (`push_stream_backplane`); until then it serves nobody. Without a
    /// backplane that is at once.
    pub async fn joined(&self) {
        self.pool.joined().await;
    }

    /// [`PushStream::publish`] where channels may be shared with other nodes: returns when the message has its place in the order of all
    /// and this node has it. [`Error::Away`] says that it was not published, [`Error::Unanswered`] that it may have been.
    pub async fn publish_in_turn(&self, channel: &str, text: impl Into<Vec<u8>>) -> Result<Channel, Error> {
        self.publish_event_in_turn(channel, text, None, None).await
    }

    /// [`PushStream::publish_in_turn`] with an event id and an event type, as the fields `Event-Id` and `Event-Type` give them.
    pub async fn publish_event_in_turn(
        &self,
        channel: &str,
        text: impl Into<Vec<u8>>,
        event_id: Option<&str>,
        event_type: Option<&str>,
    ) -> Result<Channel, Error> {
        let hub = self.pool.hub();
        if !hub.is_led() {
            return self.publish_event(channel, text, event_id, event_type);
        }
        let (ids, draft) = self.admit(channel, text.into(), event_id, event_type)?;
        let local = self.pool.settings().backplane.local_on_failure.then(|| draft.clone());
        let (sender, outcome) = oneshot::channel();
        hub.hand_in(ids.to_vec(), draft, Box::new(telling(sender)));
        match (settled(outcome).await, local) {
            (Err(Refusal::Away | Refusal::Crowded), Some(draft)) => hub.publish(&ids, &draft, now())?,
            (outcome, _) => drop(outcome?),
        }
        Ok(self.channel(channel).unwrap_or_default())
    }

    /// [`PushStream::delete`] where channels may be shared with other nodes: whether one of them had it.
    pub async fn delete_in_turn(&self, channel: &str) -> Result<bool, Error> {
        let hub = self.pool.hub();
        if !hub.is_led() {
            return self.delete(channel);
        }
        let ids = [ChannelId::new(channel.as_bytes())];
        hub.admit_delete(&ids)?;
        hub.check_joined()?;
        let (sender, found) = oneshot::channel::<Vec<ChannelInfo>>();
        // One that only others have is one all the same.
        hub.find_everywhere(ids.to_vec(), Box::new(telling(sender)));
        let known = found.await.map_or(0, |found| found.len());
        let (sender, outcome) = oneshot::channel();
        hub.hand_in_delete(ids.to_vec(), None, Box::new(telling(sender)));
        Ok(settled(outcome).await?.max(known) > 0)
    }
}

/// Tells whoever waits at the other end.
fn telling<T: Send>(sender: oneshot::Sender<T>) -> impl FnOnce(T) + Send {
    move |told| {
        // Nobody may be waiting any more.
        let _ = sender.send(told);
    }
}

async fn settled(outcome: oneshot::Receiver<Outcome>) -> Outcome {
    outcome.await.unwrap_or(Err(Refusal::Unanswered))
}
