//! HTTP as nginx speaks it: request, location, verb, reply.

pub mod statistics_format;
