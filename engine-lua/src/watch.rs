//! The watch over running Lua code: deadline, memory, stack and fuel, checked at every interrupt.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use engine_core::limits::{Limit, Limits};
use engine_core::ticker::Ticker;
use mlua::{Lua, VmState};

use crate::countdown::{self, Turn};
use crate::error::{Cause, raise};

/// Bytes of stack that one Lua call counts as: its record and the registers of a usual function.
pub(crate) const FRAME: u32 = 128;

/// The stack is looked at once in so many interrupts; every call is an interrupt, so recursion gets this much deeper.
const LOOK_EVERY: u64 = 64;

/// When running code has to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The tick at which the time is over.
    pub at: u64,
    /// The time in milliseconds, for the message.
    pub ms: u32,
}

/// Ends an invocation that hits a limit of its sandbox, and keeps it ended: what the watch refused once it refuses
/// at every later interrupt and host call, so that no `pcall` can go on.
#[derive(Debug)]
pub struct Watch {
    ticker: Arc<Ticker>,
    limits: Limits,
    /// The fuel of each invocation; what runs before the first has none.
    fuel: Cell<Option<u64>>,
    /// Bytes that the empty sandbox takes; they are the engine's, not the guest's.
    base: Cell<usize>,
    /// Bytes of the virtual machine at which the guest may be over its limit.
    most: Cell<usize>,
    deadline: Cell<Deadline>,
    /// Interrupts up to the last one that was looked at.
    steps: Cell<u64>,
    /// How many were to pass from there to the next.
    wait: Cell<u32>,
    lost: RefCell<Option<Error>>,
}

impl Watch {
    /// A watch that keeps the `memory` and `stack` of these limits, and the `fuel` from [`meter`](Self::meter) on; it
    /// must have a virtual machine to [guard](Self::guard).
    pub fn new(ticker: Arc<Ticker>, limits: Limits, deadline: Deadline) -> Self {
        Self {
            ticker,
            limits,
            fuel: Cell::new(None),
            base: Cell::new(0),
            most: Cell::new(0),
            deadline: Cell::new(deadline),
            steps: Cell::new(0),
            wait: Cell::new(1),
            lost: RefCell::new(None),
        }
    }

    /// Watches over a virtual machine from now on; what it has by now is not counted as the guest's.
    ///
    /// # Errors
    /// The virtual machine's.
    pub fn guard(self: &Rc<Self>, lua: &Lua) -> mlua::Result<()> {
        let interrupt = Rc::clone(self);
        lua.set_interrupt(move |lua| match interrupt.step(lua) {
            Ok(()) => Ok(VmState::Continue),
            Err(error) => Err(raise(error)),
        });
        self.start(lua)
    }

    /// Sets what the empty sandbox takes, the allocator's cap above the limit, and the countdown of the interrupts, for
    /// which one must be set.
    ///
    /// The cap is the backstop for one large allocation between two interrupts. It leaves room for what the collector
    /// has not got round to.
    fn start(&self, lua: &Lua) -> mlua::Result<()> {
        self.base.set(lua.used_memory());
        let slack = (self.limits.memory / 4).max(256 << 10);
        let cap = self.limits.memory.saturating_add(slack);
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        lua.set_memory_limit(self.base.get().saturating_add(cap))?;
        let limit = usize::try_from(self.limits.memory).unwrap_or(usize::MAX);
        self.most
            .set(countdown::install(lua)?.saturating_add(limit));
        Ok(())
    }

    /// Begins an invocation, or the run of a chunk, which lasts until the turn is dropped.
    pub fn begin(&self, deadline: Deadline) -> Turn {
        let turn = Turn::begin();
        self.steps.set(0);
        self.wait.set(1);
        countdown::start(1, self.most.get());
        if self.lost.borrow().is_none() {
            self.deadline.set(deadline);
            self.wait();
        }
        turn
    }

    /// Keeps the limit on fuel from the next turn on: what a chunk does when a sandbox is made is no invocation's.
    pub(crate) fn meter(&self) {
        self.fuel.set(self.limits.fuel);
    }

    /// Waits for the next interrupt that matters.
    fn wait(&self) {
        let steps = self.steps.get();
        let look = LOOK_EVERY - steps % LOOK_EVERY;
        let fuel = self.fuel.get();
        let fuel = fuel.map(|fuel| fuel.saturating_add(1).saturating_sub(steps));
        let wait = look.min(fuel.unwrap_or(look)).max(1) as u32;
        self.wait.set(wait);
        countdown::start(wait, self.most.get());
    }

    /// Interrupts so far.
    fn steps(&self) -> u64 {
        self.steps.get() + u64::from(self.wait.get() - countdown::left().min(self.wait.get()))
    }

    /// Goes on, unless the invocation is lost or its deadline is over.
    ///
    /// # Errors
    /// The error that lost the invocation.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.ticker.now() < self.deadline.get().at {
            return Ok(());
        }
        self.over()
    }

    /// The deadline is over: its own, or the one that a lost invocation is given.
    #[cold]
    fn over(&self) -> Result<()> {
        let allowed = format!("{} ms", self.deadline.get().ms);
        Err(self.fail(Error::limit(Limit::Deadline, allowed)))
    }

    /// What an interrupt does that is looked at. Luau calls it at every loop, call and return, and in pattern matching.
    pub(crate) fn step(&self, lua: &Lua) -> Result<()> {
        let steps = self.steps() + 1;
        self.steps.set(steps);
        self.wait.set(1);
        countdown::start(1, self.most.get());
        self.check()?;
        if let Some(fuel) = self.fuel.get()
            && steps > fuel
        {
            return Err(self.fail(Error::limit(Limit::Fuel, fuel)));
        }
        if steps.is_multiple_of(LOOK_EVERY) {
            let frames = (self.limits.stack / FRAME) as usize;
            if lua.inspect_stack(frames, |_| ()).is_some() {
                return Err(self.settle(Cause::Stack));
            }
        }
        self.check_memory(lua)?;
        self.wait();
        Ok(())
    }

    /// Bytes that the guest takes; refuses to go on where they are over its limit even without garbage.
    ///
    /// # Errors
    /// The memory limit's, which loses the invocation.
    pub fn check_memory(&self, lua: &Lua) -> Result<u64> {
        let memory = self.memory(lua);
        if memory <= self.limits.memory {
            return Ok(memory);
        }
        let collected = lua.gc_collect().map(|()| self.memory(lua));
        match collected {
            Ok(memory) if memory <= self.limits.memory => Ok(memory),
            _ => Err(self.settle(Cause::Memory)),
        }
    }

    /// Bytes that the guest takes.
    pub(crate) fn memory(&self, lua: &Lua) -> u64 {
        lua.used_memory().saturating_sub(self.base.get()) as u64
    }

    /// The limits that are kept.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Interrupts so far, where fuel is limited.
    pub(crate) fn fuel(&self) -> Option<u64> {
        self.fuel.get().map(|_| self.steps())
    }

    /// Loses the invocation, unless it is lost already, and gives back the error that stands.
    pub(crate) fn fail(&self, error: Error) -> Error {
        self.deadline.set(Deadline {
            at: 0,
            ..self.deadline.get()
        });
        self.steps.set(self.steps());
        self.wait.set(1);
        countdown::start(1, self.most.get());
        self.lost.borrow_mut().get_or_insert(error).clone()
    }

    /// The error that lost the invocation.
    pub fn lost(&self) -> Option<Error> {
        self.lost.borrow().clone()
    }

    /// Lets a virtual machine go on behind a lost invocation, for what else is suspended on it.
    pub fn forgive(&self) {
        self.lost.take();
    }

    /// The error for a cause; Lua's own limits lose the invocation.
    pub fn settle(&self, cause: Cause) -> Error {
        match cause {
            Cause::Contract(error) => error,
            Cause::Memory => self.fail(Error::limit(Limit::Memory, self.limits.memory)),
            Cause::Stack => self.fail(Error::limit(Limit::Stack, self.limits.stack)),
            Cause::Other(text) => Error::new(ErrorKind::Trap, text),
        }
    }
}
