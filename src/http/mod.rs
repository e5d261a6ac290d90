//! HTTP as nginx speaks it: request, location, verb, reply.
