//! What the connections of a worker share on the wire: the context of their requests, heads in waiting, scratch buffers.
//!
//! One per worker thread. Nothing here outlives a turn but the heads, which are dropped with the configuration they are of.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use super::http1::waiting_head::WaitingHead;
use crate::conf::Settings;
use crate::push::context::Context;

/// Room for one read from a socket.
const INPUT: usize = 64 * 1024;
/// Long-poll heads kept for sharing; more than that is a sign of heads that differ each time.
const HEADS: usize = 512;

/// What the connections of a worker share.
pub struct Workbench {
    /// The context of their requests.
    pub context: Rc<Context>,
    heads: RefCell<HashMap<Box<[u8]>, Rc<WaitingHead>>>,
    input: Cell<Vec<u8>>,
    output: Cell<Vec<u8>>,
}

impl Workbench {
    /// The workbench of a worker.
    pub fn new(context: Rc<Context>) -> Self {
        Self { context, heads: RefCell::default(), input: Cell::default(), output: Cell::default() }
    }

    /// Puts another configuration in force for all requests that begin from now on.
    pub fn reconfigure(&self, settings: Arc<Settings>) {
        self.context.reconfigure(settings);
        self.heads.borrow_mut().clear();
    }

    /// One shared copy of equal heads: a waiting long-poll costs a pointer, not a head.
    pub(super) fn share(&self, head: WaitingHead) -> Rc<WaitingHead> {
        let mut heads = self.heads.borrow_mut();
        if let Some(shared) = heads.get(head.bytes()) {
            return Rc::clone(shared);
        }
        if heads.len() >= HEADS {
            heads.clear();
        }
        let shared = Rc::new(head);
        heads.insert(shared.bytes().into(), Rc::clone(&shared));
        shared
    }

    /// Lends the buffer for a read, [`INPUT`] bytes long; give it back with [`Workbench::return_input`].
    pub(super) fn lend_input(&self) -> Vec<u8> {
        let mut input = self.input.take();
        input.resize(INPUT, 0);
        input
    }

    /// Takes the buffer of [`Workbench::lend_input`] back.
    pub(super) fn return_input(&self, input: Vec<u8>) {
        self.input.set(input);
    }

    /// Lends an empty buffer for answers; give it back with [`Workbench::return_output`].
    pub(super) fn lend_output(&self) -> Vec<u8> {
        self.output.take()
    }

    /// Takes the buffer of [`Workbench::lend_output`] back, unless a large answer has made it large.
    pub(super) fn return_output(&self, mut output: Vec<u8>) {
        output.clear();
        if output.capacity() <= INPUT {
            self.output.set(output);
        }
    }
}
