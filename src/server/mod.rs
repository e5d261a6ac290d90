//! The process: workers, listeners, signals, logs.
