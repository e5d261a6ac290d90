//! The process: it reads the configuration, binds, starts the workers, and then follows signals.
//!
//! Everything that can fail at start does so before the first thread runs; a reload repeats the same steps beside the
//! running server and swaps the result in, or changes nothing.

mod accept;
mod certificates;
mod ciphers;
mod client_certificate;
mod command;
mod distinguished_name;
mod ending;
mod examination;
mod expiry;
mod greeting;
mod health;
mod holder;
mod inherited;
mod listen;
mod log;
mod log_line;
mod log_paths;
mod memory;
mod origin;
mod privileges;
mod process;
mod proxy_protocol;
mod purpose;
mod reload;
mod rendered;
mod service;
mod signals;
mod state;
mod status;
mod succession;
mod successor;
mod supervisor;
mod tls;
mod worker_thread;
mod zones;

pub use command::run;
pub(crate) use examination::{Examined, Standing, examine};
pub(crate) use expiry::expiry;

use crate::delivery::wall as now;
