//! What the ABI keeps for one instance, shared by the instance's owner and the host functions.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use engine_core::catalog::Catalog;
use engine_core::error::{Error, Result};
use engine_core::host::HostSlot;

use crate::v1_1::Numbers;
use crate::wasi::{RANDOM_BLOCK, Wasi, WasiState};
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
    /// A buffer for the value of a row or the answer of a foreign function, kept between them.
    pub(crate) value: Cell<Vec<u8>>,
    /// What the WASI stub keeps.
    pub(crate) wasi: Wasi,
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
            wasi: Wasi::default(),
            v1_0: v1_0::Kept::default(),
            v1_1: v1_1::Kept::new(numbers),
        }))
    }

    /// Forgets the invocation before.
    #[inline]
    pub(crate) fn begin(&self) {
        self.failed_read.take();
        self.wasi.begin();
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

/// The index of the first `sys.random` block that the stub takes, far from those that extensions ask for themselves.
const FIRST_RANDOM: i64 = 1 << 32;

impl WasiState for State {
    fn wasi(&self) -> &Wasi {
        &self.wasi
    }

    fn running(&self) -> Result<bool> {
        if !self.slot.is_entered() {
            return Ok(false);
        }
        self.slot.with(|call| match call.has_ended() {
            true => Ok(false),
            false => call.check().map(|()| true),
        })
    }

    fn time(&self) -> Result<i64> {
        self.slot.with(|call| call.time())
    }

    fn random(&self, block: i64) -> Result<[u8; RANDOM_BLOCK]> {
        let random = self.slot.with(|call| call.random(FIRST_RANDOM + block))?;
        let mut bytes = [0; RANDOM_BLOCK];
        let len = random.len().min(RANDOM_BLOCK);
        bytes[..len].copy_from_slice(&random[..len]);
        Ok(bytes)
    }

    fn log(&self, level: &str, line: &str) -> Result<()> {
        self.slot.with(|call| call.log(level, line))
    }
}
