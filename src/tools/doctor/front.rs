//! Whether what stands in front lets messages through at once: subscribes by it, publishes, and takes the time.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Finding;
use crate::cli::tools::{Doctor, From};
use crate::tools::ToolError;
use crate::tools::follow::{Event, Target, follow};
use crate::tools::sent::Publisher;

/// How long a subscriber may take to be there.
const COMING: Duration = Duration::from_secs(5);
/// How long a message may take until it counts as held back.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a subscriber has to be known to the server after its request has left.
const SETTLING: Duration = Duration::from_millis(500);

pub(super) async fn look(wanted: &Doctor, url: &str) -> Result<Finding, ToolError> {
    let channel = format!("doctor-{:x}", std::process::id());
    let target = Target::new(wanted.mode, Some(url), &channel, &wanted.reach)?;
    let mut publisher = Publisher::new(&wanted.publish_url, &wanted.reach)?;
    // Where channels have to be there, it is.
    publisher.publish(&channel, "\"begin\"".into()).await?;
    let connected = Arc::new(Notify::new());
    let trouble = Arc::new(Mutex::new(None));
    let arrived = Arc::new(Notify::new());
    let (told_connected, told_trouble, told_arrived) = (connected.clone(), trouble.clone(), arrived.clone());
    let watching = tokio::spawn(async move {
        let told = |event: Event<'_>| {
            match event {
                Event::Connected(_) => told_connected.notify_one(),
                Event::Message(message, _) if message.text.contains("doctor looks") => told_arrived.notify_one(),
                Event::Message(..) => {}
                Event::Lost(error) => *told_trouble.lock() = Some(error.to_string()),
            }
            ControlFlow::Continue(())
        };
        follow(&target, From::Now, told).await
    });
    let answered = timeout(COMING, connected.notified()).await.is_ok();
    tokio::time::sleep(SETTLING).await;
    let sent = Instant::now();
    publisher.publish(&channel, "\"doctor looks\"".into()).await?;
    let came = timeout(PATIENCE, arrived.notified()).await.is_ok();
    let took = sent.elapsed();
    watching.abort();
    let why = trouble.lock().take();
    Ok(match (came, why) {
        (true, _) => Finding::fine("front", format!("a message was there after {:.1} ms", took.as_secs_f64() * 1000.0)),
        (false, Some(why)) => Finding::bad(
            "front",
            format!("no message came: {why}"),
            "see that the URL leads to the same server as the publisher's",
        ),
        (false, None) if answered => Finding::bad(
            "front",
            format!("connected, and no message within {} s", PATIENCE.as_secs()),
            "what stands in front holds answers back: proxy_buffering off; and proxy_http_version 1.1; for nginx (docs/MIGRATION.md), or the URLs lead to different servers",
        ),
        (false, None) => Finding::bad(
            "front",
            format!("no answer within {} s, not even a head", COMING.as_secs()),
            "what stands in front waits for whole answers: proxy_buffering off; for nginx (docs/MIGRATION.md)",
        ),
    })
}
