//! `pushstreamd tail`: prints messages as they come, and on standard error what becomes of the connection.

use std::io::Write;
use std::ops::ControlFlow;

use clap::ValueEnum as _;
use jiff::Timestamp;
use serde::Serialize;

use super::ToolError;
use super::follow::{Event, Target, follow};
use super::message::Message;
use super::position::Position;
use crate::cli::console::say;
use crate::cli::tools::{Mode, Tail};

/// A message as a line of JSON.
#[derive(Serialize)]
struct Shown<'a> {
    received: String,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    time: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tag: &'a str,
}

pub(super) async fn run(wanted: &Tail) -> Result<u8, ToolError> {
    let target = Target::new(wanted.mode, wanted.url.as_deref(), &wanted.channels, &wanted.reach)?;
    let place = target.place()?;
    let mut seen = 0;
    let mut last_trouble = String::new();
    let mut broken = Ok(());
    let told = |event: Event<'_>| {
        match event {
            Event::Connected(position) => {
                say(format_args!(
                    "pushstreamd: connected to {place}{}",
                    going_on(wanted.mode, position, !last_trouble.is_empty())
                ));
                last_trouble.clear();
            }
            Event::Lost(error) => {
                let trouble = explained(error);
                // Said once, however often it is tried.
                if trouble != last_trouble {
                    say(format_args!("pushstreamd: {trouble}; trying again"));
                }
                last_trouble = trouble;
            }
            Event::Silent => {
                let mode = wanted.mode.to_possible_value();
                let mode = mode.as_ref().map_or("this", |mode| mode.get_name());
                say(format_args!("pushstreamd: {place} has not answered for a while: is {mode} the mode of this URL?"));
            }
            Event::Message(message, position) => {
                seen += 1;
                broken = print(wanted.json, message, position);
                if broken.is_err() || wanted.count.is_some_and(|count| seen >= count) {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    };
    follow(&target, wanted.from, told).await?;
    Ok(broken.map(|()| 0)?)
}

fn going_on(mode: Mode, position: &Position, again: bool) -> String {
    match (again, position.is_known()) {
        (false, false) => " from now on".to_owned(),
        (false, true) => format!(", from {}", position.shown()),
        (true, false) if mode == Mode::LongPolling => " again: nothing had come before".to_owned(),
        (true, _) => format!(" again, going on from {}", position.shown()),
    }
}

/// What is wrong, and what it may mean.
fn explained(error: &ToolError) -> String {
    match error {
        ToolError::Refused { status: 403, .. } => {
            format!("{error} (where channels have to be there, one has to be published to first)")
        }
        other => other.to_string(),
    }
}

fn print(json: bool, message: &Message, position: &Position) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let shown = Shown {
            received: Timestamp::now().to_string(),
            text: &String::from_utf8_lossy(&message.text),
            event_id: message.event_id.as_deref(),
            event_type: message.event_type.as_deref(),
            time: &position.time,
            tag: &position.tag,
        };
        serde_json::to_writer(&mut out, &shown)?;
        writeln!(out)?;
    } else {
        out.write_all(&message.text)?;
        writeln!(out)?;
    }
    // It may be read by a pipe.
    out.flush()
}
