//! A chat in one page of Rust: an axum application of your own, with a push server nested into it.
//!
//!     cargo run --example chat        # then open http://127.0.0.1:3000 in two windows
//!
//! The push server only streams; what is said comes in through a handler of the application, which may check whatever it
//! likes before it publishes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::UNIX_EPOCH;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use pushstreamd::PushStream;
use serde::{Deserialize, Serialize};

/// Directives of nginx and nginx-push-stream-module: an event stream of one channel.
const CONFIGURATION: &str = "
    location = /events {
        # Newcomers begin with the last twenty messages; who comes back goes on behind the last one seen.
        set $start chat.b20;
        if ($http_last_event_id) { set $start chat; }
        push_stream_subscriber eventsource;
        push_stream_channels_path $start;
        push_stream_ping_message_interval 30s;
    }";

const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>Chat</title>
<ul id="lines"></ul>
<form><input id="name" value="guest"> <input id="text" autofocus> <button>Say</button></form>
<script>
  const field = (id) => document.getElementById(id);
  // After a lost connection EventSource sends the id of the last event it has seen.
  new EventSource('/push/events').onmessage = (event) => {
    const { name, text } = JSON.parse(event.data);
    const line = document.createElement('li');
    line.textContent = `${name}: ${text}`;
    field('lines').append(line);
  };
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    const body = JSON.stringify({ name: field('name').value, text: field('text').value });
    fetch('/say', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    field('text').value = '';
  };
</script>"#;

#[derive(Deserialize, Serialize)]
struct Line {
    name: String,
    text: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let push = PushStream::from_text(CONFIGURATION)?;
    let app = Router::new()
        .route("/", get(Html(PAGE)))
        .route("/say", post(say).layer(DefaultBodyLimit::max(4096)))
        .with_state(push.clone())
        .nest("/push", push.router());

    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    println!("http://127.0.0.1:{port}");
    // With the clients' addresses, which `allow`, `deny` and the like would need.
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Publishes a line. The event id, a time, is what a browser goes on from.
async fn say(State(push): State<PushStream>, Json(line): Json<Line>) -> Result<StatusCode, (StatusCode, String)> {
    let refused = |why: String| (StatusCode::UNPROCESSABLE_ENTITY, why);
    let text = serde_json::to_string(&line).map_err(|error| refused(error.to_string()))?;
    let id = UNIX_EPOCH.elapsed().unwrap_or_default().as_micros().to_string();
    push.publish_event("chat", text, Some(&id), None).map_err(|error| refused(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT)
}
