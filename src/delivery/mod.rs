//! The lean connection: what one subscriber misses, receives, and how it ends.
