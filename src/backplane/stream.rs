//! The stream of the server, as far as it is read: ids, and entries of one field.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::{Cmd, RedisResult, ToSingleRedisArg, Value};
use tokio::time::timeout;

use super::link::{Link, failure, no_answer};

/// How long the answer to a read may take: a connection that is half open says nothing for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How long that to a read of one entry may take where it is as large as a body may be.
const PATIENCE_FOR_ONE: Duration = Duration::from_secs(30);
/// Milliseconds a read waits for an entry.
const BLOCK: u64 = 500;

/// The place of an entry in a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct StreamId(pub(super) u64, pub(super) u64);

/// An entry: its place and the value of its field.
pub(super) type Item = (StreamId, Vec<u8>);

impl StreamId {
    /// The place right before.
    pub(super) fn before(self) -> Self {
        match self {
            Self(at, 0) => Self(at.saturating_sub(1), u64::MAX),
            Self(at, number) => Self(at, number - 1),
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for StreamId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, number) = text.split_once('-').ok_or(())?;
        Ok(Self(at.parse().map_err(drop)?, number.parse().map_err(drop)?))
    }
}

/// The entries behind a place, up to so many; waits for a moment if there are none.
pub(super) async fn read_after(link: &mut Link, key: &str, after: StreamId, count: usize) -> RedisResult<Vec<Item>> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK).arg("STREAMS").arg(key).arg(after.to_string());
    // `[[KEY, ENTRIES]]`
    let Value::Array(mut streams) = ask(link, &command, patience_for(count)).await? else { return Ok(Vec::new()) };
    match streams.pop() {
        Some(Value::Array(mut stream)) => items(stream.pop().unwrap_or_default()),
        _ => Ok(Vec::new()),
    }
}

/// How long entries may take of which so many are read because no more come in time.
pub(super) fn patience_for(count: usize) -> Duration {
    if count == 1 { PATIENCE_FOR_ONE } else { PATIENCE }
}

/// The entries from a place on (`-`: the first, `(ID`: behind it), up to another and up to so many.
pub(super) async fn range(
    link: &mut Link,
    key: impl ToSingleRedisArg,
    from: &str,
    to: &str,
    count: usize,
    patience: Duration,
) -> RedisResult<Vec<Item>> {
    let mut command = redis::cmd("XRANGE");
    command.arg(key).arg(from).arg(to).arg("COUNT").arg(count);
    items(ask(link, &command, patience).await?)
}

async fn ask(link: &mut Link, command: &Cmd, patience: Duration) -> RedisResult<Value> {
    let answer = timeout(patience, command.query_async(&mut link.connection)).await;
    answer.unwrap_or_else(|_| Err(no_answer()))
}

/// `[[ID, [FIELD, VALUE]], ...]`
pub(super) fn items(answer: Value) -> RedisResult<Vec<Item>> {
    let Value::Array(entries) = answer else { return Ok(Vec::new()) };
    entries.into_iter().map(|entry| item(entry).ok_or_else(|| failure("a stream that cannot be read"))).collect()
}

fn item(entry: Value) -> Option<Item> {
    let Value::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next()) else { return None };
    match fields.into_iter().nth(1) {
        Some(Value::BulkString(value)) => Some((std::str::from_utf8(&id).ok()?.parse().ok()?, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any answer of a server that is none, or not the one that was asked.
    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<i64>().prop_map(Value::Int),
            "[0-9-]{0,12}".prop_map(|text| Value::BulkString(text.into())),
            "[a-z]{0,5}".prop_map(Value::SimpleString),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Value::Array))
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(value in any_value()) {
            let _ = items(value);
        }
    }

    #[test]
    fn places_are_read_and_have_one_before() {
        assert_eq!("12-3".parse(), Ok(StreamId(12, 3)));
        assert_eq!("12".parse::<StreamId>(), Err(()));
        assert_eq!(StreamId(12, 3).before(), StreamId(12, 2));
        assert_eq!(StreamId(12, 0).before(), StreamId(11, u64::MAX));
    }

    #[test]
    fn an_answer_that_is_no_stream_is_refused() {
        let text = |text: &str| Value::BulkString(text.into());
        let fields = Value::Array(vec![text("e"), text("value")]);
        let good = Value::Array(vec![Value::Array(vec![text("1-2"), fields.clone()])]);
        assert_eq!(items(good).unwrap(), [(StreamId(1, 2), b"value".to_vec())]);
        assert!(items(Value::Nil).unwrap().is_empty());
        for entry in [Value::Nil, Value::Array(vec![text("1"), fields]), Value::Array(vec![text("1-2"), Value::Nil])] {
            assert!(items(Value::Array(vec![entry])).is_err());
        }
    }
}
