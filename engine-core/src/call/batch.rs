//! Invocations that follow one another in one crossing: each is settled by itself before the next one begins.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::{Buffers, Call, declared};
use crate::engine::{Invocation, Outcome};
use crate::error::Result;
use crate::host::Host;
use crate::intent::Intents;
use crate::manifest::PackageManifest;
use crate::ticker::Ticker;

/// Who takes the outcome and the intents of each invocation of a batch, by its place.
pub type Settle<'a> = dyn FnMut(usize, Outcome, &mut Intents) + 'a;

/// Where a call is in its batch.
pub(super) struct Batch<'a> {
    invocations: &'a [Invocation<'a>],
    /// The place of the invocation that runs or ran last.
    place: Cell<usize>,
    running: Cell<bool>,
    settle: RefCell<&'a mut Settle<'a>>,
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("place", &self.place)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl<'a> Call<'a> {
    /// Begins the first invocation of a batch that the package has an extension for; those before it are settled as
    /// `unknown`. None where there is none.
    pub fn begin_batch(
        invocations: &'a [Invocation<'a>],
        settle: &'a mut Settle<'a>,
        package: &'a PackageManifest,
        ticker: &'a Ticker,
        host: &'a dyn Host,
        buffers: &'a Buffers,
        intents: &'a mut Intents,
    ) -> Option<Self> {
        for (place, invocation) in invocations.iter().enumerate() {
            match declared(package, invocation) {
                Ok(extension) => {
                    let batch = Some(Batch {
                        invocations,
                        place: Cell::new(place),
                        running: Cell::new(true),
                        settle: RefCell::new(settle),
                    });
                    return Some(Self::of(
                        extension, invocation, package, ticker, host, buffers, intents, batch,
                    ));
                }
                Err(error) => {
                    intents.clear();
                    settle(place, error.into(), intents);
                }
            }
        }
        None
    }

    /// Whether an invocation of the batch has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.running.get())
    }

    /// Whether the last invocation of a batch has ended.
    pub fn has_ended(&self) -> bool {
        self.batch.is_some() && !self.is_running()
    }

    /// Ends the running invocation of the batch and settles it; answers whether the sandbox can be used again.
    pub fn settle(&self, run: Result<()>) -> bool {
        let ended = self.end(run);
        let usable = ended.leaves_instance_usable();
        if let Some(batch) = &self.batch {
            self.hand_over(batch, self.outcome(ended.0));
        }
        usable
    }

    fn hand_over(&self, batch: &Batch<'_>, outcome: Outcome) {
        batch.running.set(false);
        // Until the next one begins, whatever is asked is looked at closely.
        self.deadline.set(0);
        let settle = &mut *batch.settle.borrow_mut();
        settle(batch.place.get(), outcome, &mut self.intents.borrow_mut());
    }

    /// Starts the time of the invocation that has begun, and its deadline, from now on.
    pub fn start_again(&self) {
        let (started, deadline) = self.ticker.start(self.package.limits.deadline_ms);
        self.started.set(started);
        self.deadline.set(deadline);
    }

    /// Begins the next invocation of the batch, with a deadline and a ledger of its own; false where there is none.
    pub fn advance(&self) -> bool {
        let Some(batch) = &self.batch else {
            return false;
        };
        loop {
            let place = batch.place.get() + 1;
            let Some(invocation) = batch.invocations.get(place) else {
                return false;
            };
            batch.place.set(place);
            batch.running.set(true);
            self.intents.borrow_mut().clear();
            self.ledger.take();
            self.memory.set(0);
            match declared(self.package, invocation) {
                Ok(extension) => {
                    self.extension.set(extension);
                    self.invocation.set(invocation);
                    self.start_again();
                    return true;
                }
                Err(error) => self.hand_over(batch, error.into()),
            }
        }
    }
}
