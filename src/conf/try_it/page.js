// Subscribes and publishes as the embedded layout has it. No dollar signs: this text is a value of the configuration.
"use strict";
const server = location.hostname + ":8893";
const find = (id) => document.getElementById(id);
const say = (text) => { find("state").textContent = text; };
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const reasons = {
  400: "this request is not understood; is there a channel?",
  403: "nobody has published to this channel yet, or it has gone; trying again",
};
let run = null;

function show(frame) {
  const message = JSON.parse(frame);
  const item = document.createElement("li");
  const small = document.createElement("small");
  small.textContent = message.channel + " #" + message.id;
  item.append(small, typeof message.text === "string" ? message.text : JSON.stringify(message.text));
  find("messages").append(item);
  item.scrollIntoView({ block: "nearest" });
  run.time = message.time;
  run.tag = message.tag;
}

function take(text) {
  for (const part of text.split("#!NGINXNMS!#").slice(1)) show(part.split("#!NGINXNME!#")[0]);
}

function query() {
  return "?CHANNEL_ID=" + encodeURIComponent(run.channel) + "&time=" + encodeURIComponent(run.time) + "&tag=" + run.tag;
}

async function poll(own) {
  while (run === own) {
    try {
      if (own.waits) say("Waiting for messages of " + own.channel + " by long-polling.");
      const asked = fetch("http://" + server + "/bitrix/sub/" + query(), { signal: own.stop.signal, cache: "no-store" });
      const answer = await asked;
      own.waits = answer.ok || answer.status === 304;
      if (answer.ok) {
        take(await answer.text());
      } else if (answer.status !== 304) {
        say(answer.status + ": " + (reasons[answer.status] || answer.statusText));
        await wait(1000);
      }
    } catch (error) {
      if (run !== own) return;
      say("The server cannot be reached; trying again.");
      await wait(1000);
    }
  }
}

function open(own) {
  const socket = own.socket = new WebSocket("ws://" + server + "/bitrix/subws/" + query());
  socket.onopen = () => say("Waiting for messages of " + own.channel + " by WebSocket.");
  socket.onmessage = (event) => { if (run === own) take(event.data); };
  socket.onclose = (event) => {
    if (run !== own) return;
    let why = "The connection is lost; trying again.";
    try {
      const said = JSON.parse(event.reason);
      why = said.http_status + ": " + (reasons[said.http_status] || said.explain);
    } catch (error) { /* no refusal */ }
    say(why);
    setTimeout(() => { if (run === own) open(own); }, 1000);
  };
}

function stop() {
  if (!run) return;
  const own = run;
  run = null;
  own.stop.abort();
  if (own.socket) own.socket.close();
  find("stop").disabled = true;
  say("Not subscribed.");
}

find("stop").onclick = () => {
  stop();
  find("subscribe").elements.channel.focus();
};

find("subscribe").onsubmit = (event) => {
  event.preventDefault();
  stop();
  const { channel, mode } = event.target.elements;
  run = { channel: channel.value, time: new Date().toUTCString(), tag: "0", stop: new AbortController(), waits: true };
  find("stop").disabled = false;
  if (mode.value === "poll") poll(run); else open(run);
};

find("publish").onsubmit = async (event) => {
  event.preventDefault();
  const { channel, text } = event.target.elements;
  const to = "/bitrix/pub/?CHANNEL_ID=" + encodeURIComponent(channel.value);
  try {
    const answer = await fetch(to, { method: "POST", body: JSON.stringify(text.value) });
    const explain = answer.headers.get("X-Nginx-PushStream-Explain");
    find("answer").textContent = answer.ok
      ? "Published: " + (await answer.text()).trim()
      : answer.status + " " + answer.statusText + (explain ? ": " + explain : "");
  } catch (error) {
    find("answer").textContent = "The server cannot be reached.";
  }
};
