//! What users of nginx-push-stream-module suffered from: one test for each defect, through the real server.
//!
//! A name ends with the numbers of the issues of that project it answers, where there are any. By default none of the
//! defects is here; `docs/COMPATIBILITY.md` names these tests.

mod crashes;
mod delivery;
mod memory;
mod publishing;
mod reload;
mod requests;
mod statistics;
mod websocket;
mod wires;
