//! What ABI 1.0 keeps for one instance, shared by the instance's owner and the host functions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use engine_core::error::Error;
use engine_core::host::HostSlot;

use crate::guest::Block;
use crate::wasi::Output;

/// What ABI 1.0 keeps for one instance.
#[derive(Clone, Default)]
pub(crate) struct State(Rc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    /// The call that is running.
    pub(crate) slot: HostSlot,
    /// The blocks that the host holds for as long as the run lasts: name and arguments.
    pub(crate) held: Cell<[Option<Block>; 2]>,
    /// The last read that failed in a way that the guest may handle.
    pub(crate) failed_read: RefCell<Option<Error>>,
    /// A buffer for the value of a row, kept between reads.
    pub(crate) value: Cell<Vec<u8>>,
    /// How many random blocks the WASI stub has taken.
    pub(crate) randoms: Cell<i64>,
    /// What was written to the WASI stub's outputs and is not a whole line yet.
    pub(crate) output: RefCell<Output>,
}

impl State {
    /// Forgets the invocation before.
    pub(crate) fn begin(&self) {
        self.held.set([None; 2]);
        self.failed_read.take();
        self.randoms.set(0);
        self.output.borrow_mut().clear();
    }
}

impl std::ops::Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
