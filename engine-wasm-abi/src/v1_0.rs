//! ABI 1.0: blocks that the guest allocates for the host, rows handed over one by one.

mod block;
mod guest;
mod host;
mod run;

use std::cell::Cell;

pub(crate) use host::FUNCTIONS;
pub(crate) use run::run;

/// What ABI 1.0 keeps for an instance.
#[derive(Default)]
pub(crate) struct Kept {
    /// The blocks that the host holds for as long as the run lasts: name and arguments.
    held: Cell<[Option<guest::Block>; 2]>,
}

impl Kept {
    /// Forgets the invocation before.
    pub(crate) fn begin(&self) {
        self.held.set([None; 2]);
    }
}
