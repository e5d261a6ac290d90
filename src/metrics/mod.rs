//! What the server counts of itself, and how that is told to Prometheus.
//!
//! Who counts: each worker for itself ([`Counts`]), in cells that nobody else writes, so that counting costs a load and a store
//! and no two workers share a cache line. Who sums: [`Tally`], when somebody asks ([`Totals`]). Who spells: [`exposition`], from a
//! [`Snapshot`] of plain numbers. It knows no connection and no HTTP; nothing here is ever asked on the way of a message.
//! Invariants: what is counted up is never counted down, through every reload; no channel id is in a label.

mod cause;
mod clock;
mod count;
mod counts;
pub mod exposition;
mod histogram;
mod probe;
mod process;
mod refused;
mod reloads;
mod totals;

pub use cause::{Cause, Mode};
pub use clock::tick;
pub use counts::{Activity, Counts};
pub use exposition::{Format, Snapshot, ZoneCensus};
pub use histogram::BOUNDS;
pub use process::Process;
pub use refused::Refused;
pub use reloads::Reloads;
pub use totals::{Tally, Totals};
