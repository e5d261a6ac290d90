//! What nodes tell each other of their channels when somebody asks: over a pair of channels of the server, apart from the log.
//!
//! Nothing is kept and nothing is certain: who does not answer within a moment is left out. It knows no statistics, only counts.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_core::Stream;
use parking_lot::Mutex;
use redis::{Msg, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::health::Health;
use super::keys::Keys;
use super::link::{Link, Linker, failure, within};
use crate::hub::{ChannelInfo, Found, Hub};
use crate::model::ChannelId;

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often it is looked whether that is over.
const LOOK: Duration = Duration::from_millis(10);
/// Most questions that wait for answers.
const MOST: usize = 1_000;
/// Between attempts to connect.
const AGAIN: Duration = Duration::from_millis(200);

/// The questions of this node.
pub(super) struct Questions {
    state: Mutex<State>,
    /// Rung when there is one to send.
    asked: Notify,
    /// Rung when there is one to wait for.
    open: Notify,
    health: Arc<Health>,
}

#[derive(Default)]
struct State {
    last: u64,
    /// Not sent yet.
    queue: Vec<Vec<u8>>,
    open: HashMap<u64, Question>,
}

struct Question {
    told: Found,
    /// Nodes that have not answered.
    left: usize,
    found: Vec<ChannelInfo>,
    until: Instant,
}

impl Questions {
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self { state: Mutex::default(), asked: Notify::new(), open: Notify::new(), health }
    }

    /// Asks the other nodes for channels.
    pub(super) fn ask(&self, ids: &[ChannelId], told: Found) {
        let left = self.health.others();
        let mut state = self.state.lock();
        if left == 0 || self.health.is_away() || state.open.len() >= MOST {
            drop(state);
            return told(Vec::new());
        }
        state.last += 1;
        let number = state.last;
        let ids: Vec<u8> = ids.iter().flat_map(|id| sized(id.as_bytes())).collect();
        state.queue.push([format!("{number}\n").as_bytes(), &ids].concat());
        let until = Instant::now() + PATIENCE;
        state.open.insert(number, Question { told, left, found: Vec::new(), until });
        drop(state);
        self.asked.notify_one();
        self.open.notify_one();
    }

    async fn next(&self) -> Vec<u8> {
        loop {
            if let Some(question) = self.state.lock().queue.pop() {
                return question;
            }
            self.asked.notified().await;
        }
    }

    /// A node has answered.
    fn answered(&self, answer: &[u8]) {
        let Some((number, mut rest)) = numbered(answer) else { return };
        let mut state = self.state.lock();
        let Some(question) = state.open.get_mut(&number) else { return };
        while let Some(info) = read_info(&mut rest) {
            question.found.push(info);
        }
        question.left = question.left.saturating_sub(1);
        if question.left > 0 {
            return;
        }
        let Some(question) = state.open.remove(&number) else { return };
        drop(state);
        (question.told)(question.found);
    }

    /// Ends questions that were asked long enough ago.
    pub(super) async fn expire(&self) {
        loop {
            self.open.notified().await;
            while !self.state.lock().open.is_empty() {
                sleep(LOOK).await;
                let now = Instant::now();
                let over: Vec<Question> =
                    self.state.lock().open.extract_if(|_, question| question.until <= now).map(|(_, it)| it).collect();
                for question in over {
                    (question.told)(question.found);
                }
            }
        }
    }
}

/// Asks and answers.
pub(super) struct Census {
    linker: Linker,
    keys: Keys,
    questions: Arc<Questions>,
    hub: Arc<Hub>,
    node: String,
}

impl Census {
    pub(super) fn new(linker: Linker, keys: Keys, questions: Arc<Questions>, hub: Arc<Hub>, node: String) -> Self {
        Self { linker, keys, questions, hub, node }
    }

    /// Asks and answers until it is over.
    pub(super) async fn run(self, mut over: watch::Receiver<bool>) {
        tokio::select! {
            // The sender is gone with the process.
            _ = over.changed() => {}
            () = self.questions.expire() => {}
            () = self.talk() => {}
        }
    }

    async fn talk(&self) {
        loop {
            // That the server is away is told by the others.
            let _ = self.talk_over_one().await;
            sleep(AGAIN).await;
        }
    }

    async fn talk_over_one(&self) -> RedisResult<()> {
        let (questions, answers) = (self.keys.questions(), self.keys.answers(&self.node));
        let mut link = self.linker.link().await?;
        let mut listening = self.linker.listen().await?;
        within(listening.subscribe(&[&questions, &answers])).await?;
        let mut messages = listening.into_on_message();
        loop {
            let message = tokio::select! {
                message = next(&mut messages) => message.ok_or_else(|| failure("it has hung up"))?,
                question = self.questions.next() => {
                    let question = [self.node.as_bytes(), b" ", &question].concat();
                    self.say(&mut link, &questions, &question).await?;
                    continue;
                }
            };
            let payload = message.get_payload_bytes();
            if message.get_channel_name() == answers {
                self.questions.answered(payload);
            } else if let Some((node, question)) = split_once(payload, b' ')
                && node != self.node.as_bytes()
                && let Some(answer) = answer(&self.hub, question)
            {
                let asker = String::from_utf8_lossy(node);
                self.say(&mut link, &self.keys.answers(&asker), &answer).await?;
            }
        }
    }

    async fn say(&self, link: &mut Link, channel: &str, text: &[u8]) -> RedisResult<()> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(text);
        within(command.query_async(&mut link.connection)).await
    }
}

async fn next(messages: &mut (impl Stream<Item = Msg> + Unpin)) -> Option<Msg> {
    poll_fn(|cx| Pin::new(&mut *messages).poll_next(cx)).await
}

/// `NUMBER\n`, then the channels asked for that are here: id, messages published, messages stored, subscribers.
fn answer(hub: &Hub, question: &[u8]) -> Option<Vec<u8>> {
    let (number, mut rest) = numbered(question)?;
    let mut ids = Vec::new();
    while let Some(id) = read_sized(&mut rest) {
        ids.push(ChannelId::new(id));
    }
    let mut answer = format!("{number}\n").into_bytes();
    for info in hub.find(&ids) {
        answer.extend(sized(info.id.as_bytes()));
        for count in [info.published, info.stored.into(), info.subscribers.into()] {
            answer.extend(sized(count.to_string().as_bytes()));
        }
    }
    Some(answer)
}

fn read_info(rest: &mut &[u8]) -> Option<ChannelInfo> {
    let id = ChannelId::new(read_sized(rest)?);
    let mut count = || std::str::from_utf8(read_sized(rest)?).ok()?.parse::<u64>().ok();
    let (published, stored, subscribers) = (count()?, count()?, count()?);
    Some(ChannelInfo { id, published, stored: stored.try_into().ok()?, subscribers: subscribers.try_into().ok()? })
}

/// `LENGTH:BYTES`
fn sized(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

fn read_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = split_once(rest, b':')?;
    let (bytes, after) = after.split_at_checked(std::str::from_utf8(length).ok()?.parse().ok()?)?;
    *rest = after;
    Some(bytes)
}

fn numbered(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = split_once(bytes, b'\n')?;
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, bytes)?;
    Some((bytes.get(..place)?, bytes.get(place + 1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_told_is_read_and_any_bytes_are_survived(
            id in prop::collection::vec(any::<u8>(), 0..20),
            counts in any::<(u64, u32, u32)>(),
            noise in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let (published, stored, subscribers) = counts;
            let mut told = sized(&id);
            for count in [published, stored.into(), subscribers.into()] {
                told.extend(sized(count.to_string().as_bytes()));
            }
            let expected = ChannelInfo { id: ChannelId::new(&id), published, stored, subscribers };
            prop_assert_eq!(read_info(&mut &told[..]), Some(expected));
            let _ = read_info(&mut &noise[..]);
            let _ = numbered(&noise);
        }
    }
}
