//! The hot path of a subscriber: the lean connection, the table of a worker's subscribers, fan-out, deadlines.
//!
//! Everything here belongs to one worker thread (`Rc`, `Cell`); only the hub is shared. It knows bytes, views and
//! channels, but no HTTP: what a long-poll is answered with is asked of a [`Waiting`] that the floor above hands in.
//! A waiting subscriber costs no timer, no buffer and no wake-up.

mod address;
mod admission;
mod clock;
mod connection;
mod deadlines;
mod departure;
mod ending;
mod event;
mod fan_out;
mod fence;
mod ledger;
mod local_zone;
mod outbox;
mod parting;
mod relief;
mod seat;
mod source;
mod stream;
mod subscribers;
mod tls_stream;
mod traffic;
mod watch;
mod worker;

pub use address::{AddressBounds, Addresses};
pub use admission::Admission;
pub use clock::wall;
pub use connection::{Connection, Flush};
pub use departure::Departure;
pub use event::{Awaited, Event};
pub use ledger::{Charge, held, hold};
pub use local_zone::LocalZone;
pub use parting::Caller;
pub use seat::Seat;
pub use source::{Encoding, SharedEncoding, Source, encoded};
pub use stream::Stream;
pub use subscribers::{Ending, Manner, Waiting};
pub use tls_stream::TlsStream;
pub use worker::Worker;
