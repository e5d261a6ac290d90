//! `pushstreamd bench`: subscribers, a steady stream of messages, and how long each was on its way.
//!
//! A message carries the moment it was due, whenever it could be sent: a server that makes publishers wait delays all that were
//! to be sent meanwhile, as it would those of publishers who do not know of one another. The way ends when a subscriber of this
//! process has it whole. The clients' own work on this machine is in the figures: where they are the slower part, they are not
//! the server's.

mod outcome;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::Mutex;

use self::outcome::Outcome;
use super::ToolError;
use super::follow::{Event, Target, follow};
use super::sent::Publisher;
use crate::cli::tools::{Bench, From};

/// Publishers, each with a connection of its own.
const PUBLISHERS: u32 = 8;
/// How long subscribers may take to come, and the last messages to arrive.
const COMING: Duration = Duration::from_secs(60);
const ARRIVING: Duration = Duration::from_secs(5);
/// How long a subscriber that is answered with a message may take until it is counted as there.
const SETTLING: Duration = Duration::from_millis(300);
/// How often it is looked how far things are.
const LOOK: Duration = Duration::from_millis(50);
/// The longest way that is measured, microseconds.
const LONGEST: u64 = 600_000_000;

/// What all tasks know of a run.
struct Run {
    /// The name of its channels and messages.
    name: String,
    began: Instant,
    tally: Mutex<Tally>,
}

struct Tally {
    connected: usize,
    lost: u64,
    /// Why, the first time.
    trouble: Option<String>,
    delivered: u64,
    ways: Histogram<u64>,
    /// Messages published, by channel.
    published: Vec<u64>,
    failed: u64,
    /// How long after it was due a message was sent at most.
    late: Duration,
}

pub(super) async fn run(wanted: &Bench) -> Result<u8, ToolError> {
    // Not the name of another run, and short enough for any limit.
    let name = format!("bench-{:x}-{:x}", std::process::id(), Timestamp::now().as_millisecond() & 0xff_ffff);
    let target = Target::new(wanted.mode, wanted.url.as_deref(), "", &wanted.reach)?;
    let channels = wanted.channels.clamp(1, wanted.subscribers.max(1));
    let ways = Histogram::new_with_bounds(1, LONGEST, 3).map_err(|error| ToolError::Asked(error.to_string()))?;
    let tally = Tally {
        connected: 0,
        lost: 0,
        trouble: None,
        delivered: 0,
        ways,
        published: vec![0; channels],
        failed: 0,
        late: Duration::ZERO,
    };
    let run = Arc::new(Run { name, began: Instant::now(), tally: Mutex::new(tally) });
    raise_file_limit(wanted.subscribers)?;
    // Where channels have to be there, they are.
    let mut publisher = Publisher::new(&wanted.publish_url, &wanted.reach)?;
    for channel in 0..channels {
        publisher.publish(&run.channel(channel), "\"begin\"".into()).await?;
    }
    subscribe(&run, &target, wanted.subscribers, channels).await?;
    let began = Instant::now();
    publish(&run, wanted, channels).await?;
    let took = began.elapsed();
    wait_for_the_last(&run, wanted.subscribers).await;
    let tally = run.tally.lock();
    let outcome = Outcome::of(wanted, &tally, expected(&tally, wanted.subscribers), took);
    outcome.print(wanted.json, &tally.ways)?;
    Ok(u8::from(outcome.lost > 0 || outcome.failed > 0))
}

impl Run {
    fn channel(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// How it goes, for whoever waits for the end.
    fn standing(&self) -> String {
        let tally = self.tally.lock();
        let published: u64 = tally.published.iter().sum();
        let p99 = tally.ways.value_at_quantile(0.99) as f64 / 1000.0;
        format!("seconds: {published} published, {} delivered, p99 {p99:.1} ms", tally.delivered)
    }

    /// A JSON string, so that any template can have it. `due`: since the beginning of the run.
    fn message(&self, size: usize, due: Duration) -> String {
        let mut text = format!("\"{}@{}@", self.name, due.as_micros());
        let padding = size.saturating_sub(text.len() + 1);
        text.extend(std::iter::repeat_n('x', padding));
        text.push('"');
        text
    }

    /// When a message of this run was due, microseconds since its beginning.
    fn due(&self, text: &str) -> Option<u64> {
        // The channel's name may stand before it.
        let (_, rest) = text.split_once(&format!("{}@", self.name))?;
        rest.split('@').next()?.parse().ok()
    }

    fn told(&self, event: &Event<'_>) {
        match event {
            Event::Connected(_) => self.tally.lock().connected += 1,
            Event::Lost(error) => {
                let mut tally = self.tally.lock();
                tally.lost += 1;
                tally.trouble.get_or_insert_with(|| error.to_string());
            }
            Event::Silent => {}
            Event::Message(message, _) => {
                let Some(due) = self.due(&String::from_utf8_lossy(&message.text)) else { return };
                let way = (self.began.elapsed().as_micros() as u64).saturating_sub(due).clamp(1, LONGEST);
                let mut tally = self.tally.lock();
                tally.delivered += 1;
                tally.ways.saturating_record(way);
            }
        }
    }
}

fn raise_file_limit(subscribers: usize) -> Result<(), ToolError> {
    let wanted = subscribers as u64 + 64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    if hard < wanted {
        return Err(ToolError::Asked(format!(
            "{subscribers} subscribers need {wanted} open files, and {hard} are allowed: ulimit -n {wanted}"
        )));
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(std::io::Error::from)?)
}

async fn subscribe(run: &Arc<Run>, target: &Target, subscribers: usize, channels: usize) -> Result<(), ToolError> {
    let bar = progress("subscribers", subscribers as u64);
    for number in 0..subscribers {
        let (own, target) = (Arc::clone(run), target.of(&run.channel(number % channels)));
        tokio::spawn(async move {
            let told = |event: Event<'_>| {
                own.told(&event);
                ControlFlow::Continue(())
            };
            if let Err(error) = follow(&target, From::Now, told).await {
                own.told(&Event::Lost(&error));
            }
        });
        // No more at once than a listening socket takes.
        if number % 64 == 63 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bar.set_position(run.tally.lock().connected as u64);
    }
    let until = Instant::now() + COMING;
    loop {
        let (connected, trouble) = {
            let tally = run.tally.lock();
            (tally.connected, tally.trouble.clone())
        };
        bar.set_position(connected as u64);
        if connected >= subscribers {
            break;
        }
        if let Some(trouble) = trouble.filter(|_| connected == 0) {
            bar.finish_and_clear();
            return Err(ToolError::Asked(trouble));
        }
        if Instant::now() > until {
            bar.finish_and_clear();
            return Err(ToolError::Asked(format!("only {connected} of {subscribers} subscribers came")));
        }
        tokio::time::sleep(LOOK).await;
    }
    bar.finish_and_clear();
    tokio::time::sleep(SETTLING).await;
    Ok(())
}

/// Publishes at the rate that is wanted, each message when its time has come, whatever became of the one before.
async fn publish(run: &Arc<Run>, wanted: &Bench, channels: usize) -> Result<(), ToolError> {
    let publishers = wanted.rate.div_ceil(100).clamp(1, PUBLISHERS);
    let bar = progress("seconds", wanted.seconds);
    let messages = u64::from(wanted.rate) * wanted.seconds;
    let first = run.began.elapsed();
    let work = async |index: u32| -> Result<(), ToolError> {
        let mut publisher = Publisher::new(&wanted.publish_url, &wanted.reach)?;
        let mut number = u64::from(index);
        while number < messages {
            let due = first + Duration::from_secs_f64(number as f64 / f64::from(wanted.rate));
            tokio::time::sleep(due.saturating_sub(run.began.elapsed())).await;
            let late = run.began.elapsed().saturating_sub(due);
            let second = run.began.elapsed().saturating_sub(first).as_secs();
            if index == 0 && bar.position() != second {
                bar.set_position(second);
                bar.set_message(run.standing());
            }
            let channel = number as usize % channels;
            let sent = publisher.publish(&run.channel(channel), run.message(wanted.size, due).into()).await;
            let mut tally = run.tally.lock();
            tally.late = tally.late.max(late);
            match (sent, tally.published.get_mut(channel)) {
                (Ok(_), Some(published)) => *published += 1,
                (Ok(_), None) => {}
                (Err(error), _) => {
                    tally.failed += 1;
                    tally.trouble.get_or_insert_with(|| error.to_string());
                }
            }
            number += u64::from(publishers);
        }
        Ok(())
    };
    let done = all((0..publishers).map(work)).await;
    bar.finish_and_clear();
    done
}

/// Runs futures beside one another to their ends; the first error.
async fn all<F: Future<Output = Result<(), ToolError>>>(futures: impl Iterator<Item = F>) -> Result<(), ToolError> {
    let mut left: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        let mut failed = None;
        left.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(done) => {
                failed = failed.take().or(done.err());
                false
            }
        });
        match failed {
            Some(error) => std::task::Poll::Ready(Err(error)),
            None if left.is_empty() => std::task::Poll::Ready(Ok(())),
            None => std::task::Poll::Pending,
        }
    })
    .await
}

/// Messages that subscribers should have had in all.
fn expected(tally: &Tally, subscribers: usize) -> u64 {
    let channels = tally.published.len();
    let on = |channel: usize| (subscribers / channels + usize::from(channel < subscribers % channels)) as u64;
    tally.published.iter().enumerate().map(|(channel, published)| published * on(channel)).sum()
}

async fn wait_for_the_last(run: &Run, subscribers: usize) {
    let until = Instant::now() + ARRIVING;
    loop {
        {
            let tally = run.tally.lock();
            if tally.delivered >= expected(&tally, subscribers) {
                return;
            }
        }
        if Instant::now() > until {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// On standard error, and only where somebody sees it.
fn progress(of: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    let bar = ProgressBar::new(length).with_message(of.to_owned());
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
