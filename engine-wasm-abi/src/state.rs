//! What the ABI keeps for one instance, shared by the instance's owner and the host functions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use engine_core::catalog::Catalog;
use engine_core::error::Error;
use engine_core::host::HostSlot;

use crate::v1_1::Numbers;
use crate::wasi::Output;
use crate::{v1_0, v1_1};

/// What the ABI keeps for one instance.
#[derive(Clone)]
pub(crate) struct State(Rc<Inner>);

pub(crate) struct Inner {
    /// The call that is running.
    pub(crate) slot: HostSlot,
    /// The storages that there are.
    pub(crate) catalog: Arc<Catalog>,
    /// The last read that failed in a way that the guest may handle.
    pub(crate) failed_read: RefCell<Option<Error>>,
    /// A buffer for the value of a row, kept between reads.
    pub(crate) value: Cell<Vec<u8>>,
    /// How many random blocks the WASI stub has taken.
    pub(crate) randoms: Cell<i64>,
    /// What was written to the WASI stub's outputs and is not a whole line yet.
    pub(crate) output: RefCell<Output>,
    pub(crate) v1_0: v1_0::Kept,
    pub(crate) v1_1: v1_1::Kept,
}

impl State {
    pub(crate) fn new(catalog: &Arc<Catalog>, numbers: Numbers) -> Self {
        Self(Rc::new(Inner {
            slot: HostSlot::default(),
            catalog: Arc::clone(catalog),
            failed_read: RefCell::default(),
            value: Cell::default(),
            randoms: Cell::default(),
            output: RefCell::default(),
            v1_0: v1_0::Kept::default(),
            v1_1: v1_1::Kept::new(numbers),
        }))
    }

    /// Forgets the invocation before.
    pub(crate) fn begin(&self) {
        self.failed_read.take();
        self.randoms.set(0);
        self.output.borrow_mut().clear();
        self.v1_0.begin();
        self.v1_1.begin();
    }
}

impl std::ops::Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
