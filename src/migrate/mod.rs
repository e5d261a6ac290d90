//! From one nginx with the module to nginx and pushstreamd beside it.
//!
//! Reads the configuration there is and says two things: what to change in it ([`nginx_part`]), and the configuration
//! pushstreamd runs ([`own_part`]). Touches no file. It works on the text of the configuration and on the compiled
//! settings, which tell whose a server is; it knows nothing of running servers.
//!
//! A server that is there for push alone moves with its ports. A server that serves a site too, or that only nginx can guard,
//! stays nginx's; its push locations become proxies to a port of their own, which answers them with all their values.

mod division;
mod nginx_part;
mod own_part;
mod paths;
#[cfg(test)]
mod tests;

pub use division::Division;
pub use nginx_part::nginx_part;
pub use own_part::own_part;
pub use paths::Paths;
