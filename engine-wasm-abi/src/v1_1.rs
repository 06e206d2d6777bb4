//! ABI 1.1: numbers instead of names, one exchange buffer, rows pulled by the guest, batches.

mod host;
mod output;
mod run;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

pub(crate) use host::FUNCTIONS;
pub(crate) use run::{exchange, run, run_batch};

/// What ABI 1.1 keeps for an instance.
pub(crate) struct Kept {
    /// The address of the exchange header.
    header: Cell<u32>,
    /// Whether a kept value or answer waits for `HostTake`.
    waiting: Cell<bool>,
    /// The last name that `HostStorage` did not know, for the message of whoever uses it all the same.
    unknown: RefCell<String>,
    /// The same of `HostForeign`.
    unknown_foreign: RefCell<String>,
    numbers: Numbers,
}

impl Kept {
    pub(crate) fn new(numbers: Numbers) -> Self {
        Self {
            header: Cell::new(0),
            waiting: Cell::new(false),
            unknown: RefCell::default(),
            unknown_foreign: RefCell::default(),
            numbers,
        }
    }

    /// Forgets the invocation before.
    pub(crate) fn begin(&self) {
        self.waiting.set(false);
    }
}

/// The guest's own numbers of its package's extensions, which are asked for once.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(Arc<[AtomicI32]>);

impl Numbers {
    /// No guest gives this one out.
    const UNASKED: i32 = i32::MIN;

    pub(crate) fn new(extensions: usize) -> Self {
        let unasked = || AtomicI32::new(Self::UNASKED);
        Self(std::iter::repeat_with(unasked).take(extensions).collect())
    }

    #[inline]
    fn get(&self, extension: usize) -> Option<i32> {
        let number = self.0.get(extension)?.load(Ordering::Relaxed);
        (number != Self::UNASKED).then_some(number)
    }

    fn set(&self, extension: usize, number: i32) {
        if let Some(place) = self.0.get(extension) {
            place.store(number, Ordering::Relaxed);
        }
    }
}
