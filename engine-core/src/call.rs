//! One running invocation: capabilities, quotas, the deadline and the ledger, kept the same way for every engine.

mod batch;
mod buffers;
mod foreign;
mod packed;
mod read;
mod write;

use std::cell::{Cell, RefCell};

use crate::catalog::StorageId;
use crate::engine::{Invocation, Outcome};
use crate::error::{Error, ErrorKind, MESSAGE_BYTES, Result};
use crate::host::{Host, Party};
use crate::intent::Intents;
use crate::limits::{Ledger, Limit};
use crate::manifest::{ExtensionDecl, PackageManifest, Verb};
use crate::ticker::Ticker;

use batch::Batch;
pub use batch::Settle;
pub use buffers::Buffers;
pub use packed::Filled;

/// One running invocation, or several that follow one another in one crossing.
///
/// An engine makes one by [`Call::run`], or several by [`Call::begin_batch`], and lets the guest read and write through it.
/// What it refuses for good is *sticky*: it decides the outcome, whatever the guest does then. Nothing may be asked of a
/// call that has ended.
pub struct Call<'a> {
    host: &'a dyn Host,
    package: &'a PackageManifest,
    ticker: &'a Ticker,
    buffers: &'a Buffers,
    extension: Cell<&'a ExtensionDecl>,
    invocation: Cell<&'a Invocation<'a>>,
    started: Cell<u64>,
    deadline: Cell<u64>,
    ledger: RefCell<Ledger>,
    /// Beside the ledger, like the time that elapses: the processor would wait for a write to what is copied next.
    memory: Cell<u64>,
    sticky: RefCell<Option<Error>>,
    violation: RefCell<Option<Error>>,
    intents: RefCell<&'a mut Intents>,
    batch: Option<Batch<'a>>,
}

/// How an invocation ended; only [`Call::end`] makes it.
#[derive(Debug)]
pub struct Ended(Result<()>);

impl Ended {
    /// Whether the sandbox that ran can be used again.
    #[inline]
    pub fn leaves_instance_usable(&self) -> bool {
        match &self.0 {
            Ok(()) => true,
            Err(error) => error.kind().leaves_instance_usable(),
        }
    }
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("package", &self.package.name)
            .field("extension", &self.extension.get().name)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

impl<'a> Call<'a> {
    /// Makes an invocation: empties `intents`, starts the deadline, and lets `body` run the extension and
    /// [end](Call::end) the call.
    ///
    /// Nothing runs, and the outcome is `unknown`, where the package has no extension of that number.
    #[inline]
    pub fn run(
        invocation: &'a Invocation<'a>,
        package: &'a PackageManifest,
        ticker: &'a Ticker,
        host: &'a dyn Host,
        buffers: &'a Buffers,
        intents: &'a mut Intents,
        body: impl FnOnce(&Self) -> Ended,
    ) -> Outcome {
        let extension = match declared(package, invocation) {
            Ok(extension) => extension,
            Err(error) => {
                intents.clear();
                return error.into();
            }
        };
        let call = Self::of(
            extension, invocation, package, ticker, host, buffers, intents, None,
        );
        let Ended(result) = body(&call);
        call.outcome(result)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "private; the parts of the struct"
    )]
    #[inline(always)]
    fn of(
        extension: &'a ExtensionDecl,
        invocation: &'a Invocation<'a>,
        package: &'a PackageManifest,
        ticker: &'a Ticker,
        host: &'a dyn Host,
        buffers: &'a Buffers,
        intents: &'a mut Intents,
        batch: Option<Batch<'a>>,
    ) -> Self {
        intents.clear();
        let (started, deadline) = ticker.start(package.limits.deadline_ms);
        Self {
            host,
            package,
            ticker,
            buffers,
            extension: Cell::new(extension),
            invocation: Cell::new(invocation),
            started: Cell::new(started),
            deadline: Cell::new(deadline),
            ledger: RefCell::default(),
            memory: Cell::new(0),
            sticky: RefCell::new(None),
            violation: RefCell::new(None),
            intents: RefCell::new(intents),
            batch,
        }
    }

    /// Ends the invocation, with how the extension's run ended: settles which error stands, and drops every intent if
    /// there is one.
    #[inline]
    pub fn end(&self, run: Result<()>) -> Ended {
        self.buffers.close_all();
        let is_faulty = self.sticky.borrow().is_some() || self.violation.borrow().is_some();
        match run {
            Ok(()) if !is_faulty => Ended(Ok(())),
            run => self.end_in_error(run),
        }
    }

    #[cold]
    fn end_in_error(&self, run: Result<()>) -> Ended {
        let (sticky, violation) = (self.sticky.take(), self.violation.take());
        let error = sticky.or(run.err()).or(violation);
        Ended(error.map_or(Ok(()), |error| Err(self.lose(error))))
    }

    #[inline]
    fn outcome(&self, result: Result<()>) -> Outcome {
        let started = self.started.get();
        // The count stops some time behind the deadline.
        let elapsed_ms = match self.ticker.now() {
            now if now < self.deadline.get() => now.saturating_sub(started),
            _ => self.ticker.since(started),
        };
        Outcome {
            result,
            ledger: Ledger {
                elapsed_ms,
                memory: self.memory.get(),
                ..*self.ledger.borrow()
            },
        }
    }

    fn lose(&self, error: Error) -> Error {
        self.intents.borrow_mut().clear();
        let extension = self.extension.get();
        error
            .cut(MESSAGE_BYTES)
            .at(|| format!("{}/{}", self.package.name, extension.name))
    }

    /// The extension that runs.
    #[inline]
    pub fn extension(&self) -> &'a ExtensionDecl {
        self.extension.get()
    }

    /// The number of that extension in its package.
    #[inline]
    pub fn extension_number(&self) -> usize {
        self.invocation.get().extension
    }

    /// The package that it belongs to.
    #[inline]
    pub fn package(&self) -> &'a PackageManifest {
        self.package
    }

    /// The encoded arguments.
    #[inline]
    pub fn args(&self) -> &'a [u8] {
        self.invocation.get().args
    }

    /// The tick of the engine's ticker at which the deadline is over.
    #[inline]
    pub fn deadline(&self) -> u64 {
        self.deadline.get()
    }

    /// Takes note of a crossing, if anyone wants to know.
    #[inline]
    pub fn trace(&self, from: Party, to: Party, what: impl FnOnce() -> String) {
        if let Some(tracer) = self.invocation.get().tracer {
            tracer.crossing(from, to, &what());
        }
    }

    #[inline]
    fn is_traced(&self) -> bool {
        self.invocation.get().tracer.is_some()
    }

    /// Goes on, unless the invocation is lost already or its deadline is over.
    ///
    /// # Errors
    /// The first sticky error.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.sticky.borrow().is_none() && self.ticker.now() < self.deadline.get() {
            return Ok(());
        }
        self.check_again()
    }

    #[cold]
    fn check_again(&self) -> Result<()> {
        if self.has_ended() {
            let message = "the guest asked its host for an invocation that has ended";
            return Err(Error::new(ErrorKind::Abi, message));
        }
        if let Some(error) = &*self.sticky.borrow() {
            return Err(error.clone());
        }
        if self.ticker.now() >= self.deadline.get() {
            return Err(self.fail(Error::limit(
                Limit::Deadline,
                format_args!("{} ms", self.package.limits.deadline_ms),
            )));
        }
        Ok(())
    }

    /// Makes an error sticky, unless another came before it, and gives back the one that stands.
    pub fn fail(&self, error: Error) -> Error {
        self.sticky.borrow_mut().get_or_insert(error).clone()
    }

    /// The storage of this name, if the extension may do anything with it.
    ///
    /// # Errors
    /// `denied`, not sticky: the caller decides whether this was a read or an intent.
    pub fn storage(&self, name: &str) -> Result<StorageId> {
        self.reachable(self.package.catalog.id(name), name)
    }

    /// As [`Call::storage`], where the catalog was asked for the name before.
    ///
    /// # Errors
    /// As [`Call::storage`].
    #[inline]
    pub fn reachable(&self, storage: Option<StorageId>, name: &str) -> Result<StorageId> {
        match storage {
            Some(id) if self.extension().touches(id) => Ok(id),
            _ => Err(Error::new(
                ErrorKind::Denied,
                format!(
                    "the manifest gives this extension no access to a storage `{}`",
                    shown(name)
                ),
            )),
        }
    }

    #[inline]
    fn permit(&self, verb: Verb, storage: StorageId) -> Result<()> {
        if self.extension().verbs(storage).has(verb) {
            return Ok(());
        }
        Err(self.not_permitted(verb, storage))
    }

    #[cold]
    fn not_permitted(&self, verb: Verb, storage: StorageId) -> Error {
        let name = &self.package.catalog.storage(storage).name;
        Error::new(
            ErrorKind::Denied,
            format!("the manifest does not let this extension {verb} in storage `{name}`"),
        )
    }

    /// Sets the bytes of the guest's memory, which the engine itself measures.
    #[inline]
    pub fn used_memory(&self, bytes: usize) {
        self.memory.set(bytes as u64);
    }

    /// Sets the fuel used, which the engine itself measures.
    #[inline]
    pub fn used_fuel(&self, fuel: u64) {
        self.ledger.borrow_mut().fuel = Some(fuel);
    }

    /// Adds to a counter of the ledger.
    ///
    /// # Errors
    /// The limit, once the counter is above what is allowed.
    #[inline]
    fn count(
        &self,
        counter: impl FnOnce(&mut Ledger) -> &mut u64,
        more: usize,
        limit: Limit,
        allowed: impl Into<u64>,
    ) -> Result<()> {
        let ledger = &mut *self.ledger.borrow_mut();
        let used = counter(ledger);
        *used = used.saturating_add(more as u64);
        let allowed = allowed.into();
        if *used <= allowed {
            return Ok(());
        }
        Err(Error::limit(limit, allowed))
    }

    fn show_key(&self, storage: StorageId, key: &[u8]) -> String {
        let storage = self.package.catalog.storage(storage);
        let fields = storage.key.decode_key(key).unwrap_or_default();
        let shown: Vec<_> = fields
            .iter()
            .zip(storage.key.fields())
            .map(|(value, field)| crate::json::to_json(value, &field.ty).to_string())
            .collect();
        format!("{}({})", storage.name, shown.join(", "))
    }
}

/// As much of a name that a guest gave as messages have.
fn shown(name: &str) -> &str {
    const BYTES: usize = 256;
    &name[..name.floor_char_boundary(BYTES)]
}

#[inline]
fn declared<'a>(
    package: &'a PackageManifest,
    invocation: &Invocation<'_>,
) -> Result<&'a ExtensionDecl> {
    package.extensions.get(invocation.extension).ok_or_else(|| {
        Error::new(
            ErrorKind::Unknown,
            format!(
                "package `{}` has no extension number {}",
                package.name, invocation.extension
            ),
        )
    })
}
