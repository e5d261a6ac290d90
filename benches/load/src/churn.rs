//! Storms of connections: memory that comes must go again.
//!
//! Each storm brings subscribers of every transport, messages for them, and takes all away. Between storms a server should
//! need what it needed after the first one, and at their heights what it needed at the first height.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use crate::requests::{self, Transport};
use crate::rows::join;
use crate::servers::{Kind, Server, Setup};
use crate::swarm::Swarm;

/// Time an allocator gets to give memory back.
const REST: Duration = Duration::from_secs(15);

/// Memory around one storm, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) height: u64,
    pub(crate) after: u64,
    /// Server cpu, nanoseconds a connection.
    pub(crate) cpu: u64,
}

/// Runs `storms` of `connections` each; memory before the first, and the storms.
pub(crate) fn run(kind: &Kind, setup: &Setup, storms: usize, connections: usize) -> Result<(u64, Vec<Storm>)> {
    let server = Server::start(kind, setup)?;
    server.family.settle()?;
    let before = server.family.memory()?;
    let mut all = Vec::new();
    for number in 0..storms {
        let mut swarm = Swarm::new()?;
        let cpu = server.family.cpu()?;
        let each = connections / Transport::ALL.len();
        for transport in Transport::ALL {
            join(&mut swarm, &server, transport, each, |n| format!("{}{}", transport.name(), n / 2))?;
        }
        let publisher = swarm.connect(server.address)?;
        for n in 0..200 {
            for transport in Transport::ALL {
                let body = requests::message(200 + 37 * (n % 50));
                let channel = format!("{}{}", transport.name(), (n * 7 + number) % (each / 2).max(1));
                swarm.send(publisher, &requests::publish("note", &channel, &body))?;
            }
        }
        server.family.settle()?;
        let height = server.family.memory()?;
        swarm.close_all();
        server.family.settle()?;
        let cpu = (server.family.cpu()? - cpu) / connections as u64;
        sleep(REST);
        all.push(Storm { height, after: server.family.memory()?, cpu });
    }
    Ok((before, all))
}
