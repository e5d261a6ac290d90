//! Whether what stands in front lets messages through at once: subscribes by it, publishes, and takes the time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Finding;
use crate::cli::tools::{Doctor, From, Mode};
use crate::tools::ToolError;
use crate::tools::follow::{Event, Target, follow};
use crate::tools::sent::Publisher;

/// How long a subscriber may take to be there.
const COMING: Duration = Duration::from_secs(5);
/// How long a message may take until it counts as held back.
const PATIENCE: Duration = Duration::from_secs(5);
/// What nginx has to be told where it holds messages back.
const UNBUFFERED: &str =
    "for nginx proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering, no gzip in these locations";
/// How long a subscriber has to be known to the server after its request has left.
const SETTLING: Duration = Duration::from_millis(500);

/// Errors are of the command line alone: what a server does is a finding.
pub(super) async fn look(wanted: &Doctor, url: &str) -> Result<Finding, ToolError> {
    let channel = format!("doctor-{:x}", std::process::id());
    let target = Target::new(wanted.mode, Some(url), &channel, &wanted.reach)?;
    let mut publisher = Publisher::new(&wanted.publish_url, &wanted.reach)?;
    // Where channels have to be there, it is.
    if let Err(error) = publisher.publish(&channel, "\"begin\"".into()).await {
        return cannot_publish(error);
    }
    let seen = Arc::new(Seen::default());
    let watching = tokio::spawn(watch(target, wanted.mode, Arc::clone(&seen)));
    let answered = tokio::select! {
        () = seen.connected.notified() => true,
        () = tokio::time::sleep(COMING) => false,
        () = seen.ended.notified() => false,
    };
    tokio::time::sleep(SETTLING).await;
    let sent = Instant::now();
    if let Err(error) = publisher.publish(&channel, "\"doctor looks\"".into()).await {
        return cannot_publish(error);
    }
    let came = timeout(PATIENCE, seen.arrived.notified()).await.is_ok();
    let took = sent.elapsed();
    watching.abort();
    let trouble = seen.trouble.lock().take();
    Ok(match (came, trouble) {
        (true, _) => Finding::fine("front", format!("a message was there after {:.1} ms", took.as_secs_f64() * 1000.0)),
        (false, Some((why, advice))) => Finding::bad("front", format!("no message came: {why}"), advice),
        (false, None) if answered => Finding::bad(
            "front",
            format!("connected, and no message within {} s", PATIENCE.as_secs()),
            format!("what stands in front holds answers back: {UNBUFFERED}; or the URLs lead to different servers"),
        ),
        (false, None) => Finding::bad(
            "front",
            format!("no answer within {} s, not even a head", COMING.as_secs()),
            format!("what stands in front waits for whole answers: {UNBUFFERED}"),
        ),
    })
}

/// What becomes of the subscriber.
#[derive(Default)]
struct Seen {
    connected: Notify,
    arrived: Notify,
    /// It will not try again.
    ended: Notify,
    /// Why it was refused or lost the last time, and what to do about it.
    trouble: Mutex<Option<(String, &'static str)>>,
}

async fn watch(target: Target, mode: Mode, seen: Arc<Seen>) {
    let trouble = |error: &ToolError| *seen.trouble.lock() = Some((error.to_string(), remedy(error, mode)));
    let told = |event: Event<'_>| {
        match event {
            Event::Connected(_) => seen.connected.notify_one(),
            Event::Message(message, _) if memchr::memmem::find(&message.text, b"doctor looks").is_some() => {
                seen.arrived.notify_one();
            }
            Event::Message(..) | Event::Silent => {}
            Event::Lost(error) => trouble(error),
        }
        ControlFlow::Continue(())
    };
    if let Err(error) = follow(&target, From::Now, told).await {
        trouble(&error);
        seen.ended.notify_one();
    }
}

fn cannot_publish(error: ToolError) -> Result<Finding, ToolError> {
    match error {
        ToolError::Asked(_) => Err(error),
        error => Ok(Finding::bad(
            "front",
            format!("not looked at, since nothing could be published: {error}"),
            "--publish-url names where the server itself takes messages",
        )),
    }
}

/// What to do about a subscriber that was refused or lost.
fn remedy(error: &ToolError, mode: Mode) -> &'static str {
    match error {
        ToolError::Refused { status: 502..=504, .. } => {
            "what stands in front does not reach the server behind it: its own error log says why"
        }
        ToolError::Refused { status: 400..=499, .. } if mode == Mode::Websocket => {
            "nginx passes a handshake on with proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; if it does, see that the URL leads to the publisher's server"
        }
        _ => "see that the URL leads to the same server as the publisher's",
    }
}
