//! `pushstreamd pub`: publishes an argument, a file or standard input, whole or line by line.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use serde_json::Value;

use super::ToolError;
use super::sent::Publisher;
use crate::cli::console::{print, say};
use crate::cli::tools::{PUBLISHER, Pub};

pub(super) async fn run(wanted: &Pub) -> Result<u8, ToolError> {
    let publisher = Publisher::new(&wanted.url, &wanted.reach)?;
    let mut publisher = publisher
        .with("Event-Id", wanted.event_id.as_deref().unwrap_or_default())
        .with("Event-Type", wanted.event_type.as_deref().unwrap_or_default());
    let mut input = input(wanted)?;
    if !wanted.lines {
        let mut text = Vec::new();
        input.read_to_end(&mut text).map_err(|error| unread(wanted, &error))?;
        // What an editor or `echo` ends a text with is no part of it.
        if wanted.message.is_none() && text.ends_with(b"\n") {
            text.pop();
        }
        return send(wanted, &mut publisher, &text).await;
    }
    let mut code = 0;
    for line in BufReader::new(input).split(b'\n') {
        let line = line.map_err(|error| unread(wanted, &error))?;
        if !line.is_empty() {
            code = send(wanted, &mut publisher, &line).await?.max(code);
        }
    }
    Ok(code)
}

fn unread(wanted: &Pub, error: &std::io::Error) -> ToolError {
    let file = wanted.file.as_deref().filter(|file| *file != Path::new("-"));
    ToolError::Asked(format!("{}: {error}", file.unwrap_or(Path::new("standard input")).display()))
}

fn input(wanted: &Pub) -> Result<Box<dyn Read>, ToolError> {
    if let Some(message) = &wanted.message {
        return Ok(Box::new(std::io::Cursor::new(message.clone().into_bytes())));
    }
    if let Some(file) = wanted.file.as_deref().filter(|file| *file != Path::new("-")) {
        let opened = std::fs::File::open(file);
        let opened = opened.map_err(|error| unread(wanted, &error))?;
        return Ok(Box::new(opened));
    }
    if std::io::stdin().is_terminal() {
        say(format_args!("pushstreamd: the message is read from here; end it with Ctrl-D"));
    }
    Ok(Box::new(std::io::stdin()))
}

/// Publishes a text and prints the answer; whether that is read makes no message less.
async fn send(wanted: &Pub, publisher: &mut Publisher<'_>, text: &[u8]) -> Result<u8, ToolError> {
    let text = if wanted.quote {
        Value::String(String::from_utf8_lossy(text).into_owned()).to_string().into_bytes()
    } else {
        if wanted.url == PUBLISHER && serde_json::from_slice::<Value>(text).is_err() {
            say(format_args!(
                "pushstreamd: the message is no JSON, which clients of the embedded layout expect; --quote sends it as a string"
            ));
        }
        text.to_vec()
    };
    let answer = publisher.publish(&wanted.channels, text.into()).await?;
    Ok(print(&[answer.trim_ascii_end(), b"\n"].concat()))
}
