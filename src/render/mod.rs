//! A message and a template become bytes.
