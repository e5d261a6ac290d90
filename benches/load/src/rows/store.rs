//! Memory of what is kept: messages and channels.

use anyhow::Result;

use super::publish::all;
use crate::requests;
use crate::servers::Server;
use crate::swarm::Swarm;

/// Bytes a stored message, its text included.
pub(super) fn message(server: &Server) -> Result<f64> {
    const CHANNELS: usize = 3000;
    const EACH: usize = 99;
    let mut swarm = Swarm::new()?;
    let body = requests::message(200);
    let publish = |n: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(&requests::publish("pub", &format!("{:032}", n % CHANNELS), &body));
    };
    all(&mut swarm, server, CHANNELS, publish)?;
    let before = server.family.memory()?;
    all(&mut swarm, server, CHANNELS * EACH, publish)?;
    Ok((server.family.memory()? as f64 - before as f64) / (CHANNELS * EACH) as f64)
}

/// Bytes a channel without messages, its id of 32 bytes included.
pub(super) fn channel(server: &Server) -> Result<f64> {
    const COUNT: usize = 200_000;
    let mut swarm = Swarm::new()?;
    let body = requests::message(200);
    let mut publish = |n: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(&requests::publish("note", &format!("{n:032}"), &body));
    };
    all(&mut swarm, server, 100, &mut publish)?;
    let before = server.family.memory()?;
    all(&mut swarm, server, COUNT, &mut publish)?;
    Ok((server.family.memory()? as f64 - before as f64) / COUNT as f64)
}
