//! Channels, their backlog and their subscriptions.
