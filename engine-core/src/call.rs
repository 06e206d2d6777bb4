//! One running invocation: capabilities, quotas, the deadline and the ledger, kept the same way for every engine.

use std::cell::{Cell, RefCell};

use crate::catalog::StorageId;
use crate::engine::{Invocation, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::host::{Host, Party, RowChunk};
use crate::intent::{Intent, Intents};
use crate::key::Extent;
use crate::limits::{Ledger, Limit, READ_DEPTH};
use crate::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Verb};
use crate::ticker::Ticker;
use crate::value::{Reader, Token};

/// One running invocation.
///
/// An engine makes one for each invocation, lets the guest read and write through it, and ends it with
/// [`Call::finish`]. What it refuses for good is *sticky*: it decides the outcome, whatever the guest does then.
pub struct Call<'a> {
    host: &'a dyn Host,
    package: &'a PackageManifest,
    extension: &'a ExtensionDecl,
    invocation: Invocation<'a>,
    ticker: &'a Ticker,
    started: u64,
    deadline: u64,
    ledger: Cell<Ledger>,
    depth: Cell<u32>,
    sticky: RefCell<Option<Error>>,
    violation: RefCell<Option<Error>>,
    intents: RefCell<&'a mut Intents>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("package", &self.package.name)
            .field("extension", &self.extension.name)
            .field("ledger", &self.ledger.get())
            .finish_non_exhaustive()
    }
}

impl<'a> Call<'a> {
    /// Begins an invocation: empties `intents` and starts the deadline.
    ///
    /// # Errors
    /// `unknown` where the package has no extension of that number.
    pub fn begin(
        invocation: Invocation<'a>,
        package: &'a PackageManifest,
        ticker: &'a Ticker,
        host: &'a dyn Host,
        intents: &'a mut Intents,
    ) -> Result<Self> {
        intents.clear();
        let Some(extension) = package.extensions.get(invocation.extension) else {
            return Err(Error::new(
                ErrorKind::Unknown,
                format!(
                    "package `{}` has no extension number {}",
                    package.name, invocation.extension
                ),
            ));
        };
        let (started, deadline) = ticker.start(package.limits.deadline());
        Ok(Self {
            host,
            package,
            extension,
            invocation,
            ticker,
            started,
            deadline,
            ledger: Cell::default(),
            depth: Cell::new(0),
            sticky: RefCell::new(None),
            violation: RefCell::new(None),
            intents: RefCell::new(intents),
        })
    }

    /// The extension that runs.
    pub fn extension(&self) -> &'a ExtensionDecl {
        self.extension
    }

    /// The package that it belongs to.
    pub fn package(&self) -> &'a PackageManifest {
        self.package
    }

    /// The encoded arguments.
    pub fn args(&self) -> &'a [u8] {
        self.invocation.args
    }

    /// The tick of the engine's ticker at which the deadline is over.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Takes note of a crossing, if anyone wants to know.
    pub fn trace(&self, from: Party, to: Party, what: impl FnOnce() -> String) {
        if let Some(tracer) = self.invocation.tracer {
            tracer.crossing(from, to, &what());
        }
    }

    /// Goes on, unless the invocation is lost already or its deadline is over.
    ///
    /// # Errors
    /// The first sticky error.
    pub fn check(&self) -> Result<()> {
        if let Some(error) = &*self.sticky.borrow() {
            return Err(error.clone());
        }
        if self.ticker.now() >= self.deadline {
            return Err(self.fail(Error::limit(
                Limit::Deadline,
                format!("{} ms", self.package.limits.deadline_ms),
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
        match self.package.catalog.id(name) {
            Some(id) if self.extension.verbs(id) != crate::manifest::Verbs::NONE => Ok(id),
            _ => Err(Error::new(
                ErrorKind::Denied,
                format!("the manifest gives this extension no access to a storage `{name}`"),
            )),
        }
    }

    fn permit(&self, verb: Verb, storage: StorageId) -> Result<()> {
        if self.extension.verbs(storage).has(verb) {
            return Ok(());
        }
        let name = &self.package.catalog.storage(storage).name;
        Err(Error::new(
            ErrorKind::Denied,
            format!("the manifest does not let this extension {verb} in storage `{name}`"),
        ))
    }

    fn count(&self, limit: Limit, update: impl FnOnce(&mut Ledger) -> bool) -> Result<()> {
        let mut ledger = self.ledger.get();
        let within = update(&mut ledger);
        self.ledger.set(ledger);
        if within {
            return Ok(());
        }
        let limits = &self.package.limits;
        let allowed = match limit {
            Limit::HostReads => u64::from(limits.host_reads),
            Limit::RowsRead => u64::from(limits.rows_read),
            Limit::BytesRead => limits.bytes_read,
            Limit::ReadDepth => u64::from(READ_DEPTH),
            Limit::Intents => u64::from(limits.intents),
            Limit::IntentBytes => limits.intent_bytes,
            Limit::ResultBytes => limits.result_bytes,
            Limit::LogLines => u64::from(limits.log_lines),
            Limit::LogBytes => limits.log_bytes,
            _ => 0,
        };
        Err(Error::limit(limit, allowed))
    }

    fn before_read(&self, storage: StorageId, key: &[u8], extent: Extent) -> Result<()> {
        self.check()?;
        self.permit(Verb::Read, storage)
            .map_err(|error| self.fail(error))?;
        let max = self.package.limits.host_reads;
        self.count(Limit::HostReads, |ledger| {
            ledger.host_reads = ledger.host_reads.saturating_add(1);
            ledger.host_reads <= max
        })
        .map_err(|error| self.fail(error))?;
        let storage = self.package.catalog.storage(storage);
        storage.key.check_key(key, extent).map_err(|error| {
            Error::new(
                error.kind(),
                format!("storage `{}`: {}", storage.name, error.message()),
            )
        })
    }

    fn after_row(&self, len: usize) -> Result<()> {
        let limits = &self.package.limits;
        self.count(Limit::RowsRead, |ledger| {
            ledger.rows_read = ledger.rows_read.saturating_add(1);
            ledger.rows_read <= limits.rows_read
        })
        .and_then(|()| {
            self.count(Limit::BytesRead, |ledger| {
                ledger.bytes_read = ledger.bytes_read.saturating_add(len as u64);
                ledger.bytes_read <= limits.bytes_read
            })
        })
        .map_err(|error| self.fail(error))
    }

    /// Appends the value of a row to `value` and answers true, or answers false where there is no such row.
    ///
    /// # Errors
    /// `bad_key` and `io`, which the guest may handle; `denied` and limits, which are sticky.
    pub fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.before_read(storage, key, Extent::Full)?;
        self.trace(Party::Instance, Party::HostState, || {
            format!("get {}", self.show_key(storage, key))
        });
        let before = value.len();
        let found = self.host.get(storage, key, value)?;
        self.trace(Party::HostState, Party::Instance, || {
            if found {
                format!("row of {} bytes", value.len() - before)
            } else {
                "no such row".to_owned()
            }
        });
        if found {
            self.after_row(key.len() + (value.len() - before))?;
        }
        Ok(found)
    }

    /// Hands the rows whose keys begin with `prefix` to `each`, in key order, and stops at its first error.
    ///
    /// Rows are copied in chunks: nothing of the host is borrowed while `each` runs, so it may read in turn, four deep at most.
    ///
    /// # Errors
    /// As [`Call::get`], and those of `each`.
    pub fn read(
        &self,
        storage: StorageId,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        self.before_read(storage, prefix, Extent::Prefix)?;
        let depth = self.depth.get() + 1;
        if depth > READ_DEPTH {
            return Err(self.fail(Error::limit(Limit::ReadDepth, READ_DEPTH)));
        }
        self.trace(Party::Instance, Party::HostState, || {
            format!("read {}", self.show_key(storage, prefix))
        });
        self.depth.set(depth);
        let read = self.read_chunks(storage, prefix, &mut each);
        self.depth.set(depth - 1);
        read
    }

    fn read_chunks(
        &self,
        storage: StorageId,
        prefix: &[u8],
        each: &mut impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut chunk = RowChunk::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            self.check()?;
            chunk.clear();
            self.host
                .scan(storage, prefix, after.as_deref(), &mut chunk)?;
            for (key, value) in chunk.rows() {
                self.after_row(key.len() + value.len())?;
                self.trace(Party::HostState, Party::Instance, || {
                    format!("row {}", self.show_key(storage, key))
                });
                each(key, value)?;
            }
            if !chunk.is_full() {
                return Ok(());
            }
            if let Some((key, _)) = chunk.rows().last() {
                let after = after.get_or_insert_default();
                after.clear();
                after.extend_from_slice(key);
            }
        }
    }

    /// Takes an intent; one on `sys.log` becomes a line of the log.
    ///
    /// # Errors
    /// `denied`, `bad_intent` or a limit. The first one decides the outcome of an invocation that otherwise ends well,
    /// and no intent is taken behind it.
    pub fn write(&self, verb: Verb, storage: StorageId, key: &[u8], value: &[u8]) -> Result<()> {
        self.judge(|| {
            self.permit(verb, storage)?;
            let declared = self.package.catalog.storage(storage);
            let misfit = |error: Error| {
                Error::new(
                    ErrorKind::BadIntent,
                    format!("{verb} in storage `{}`: {}", declared.name, error.message()),
                )
            };
            declared.key.check_key(key, Extent::Full).map_err(misfit)?;
            if verb == Verb::Delete {
                if !value.is_empty() {
                    return Err(misfit(Error::new(
                        ErrorKind::BadIntent,
                        "a delete has no value",
                    )));
                }
            } else {
                declared.value.check(value).map_err(misfit)?;
            }
            if storage == StorageId::LOG {
                return self.log_row(value);
            }
            let limits = &self.package.limits;
            self.count(Limit::Intents, |ledger| {
                ledger.intents = ledger.intents.saturating_add(1);
                ledger.intents <= limits.intents
            })?;
            let len = key.len() + value.len();
            self.count(Limit::IntentBytes, |ledger| {
                ledger.intent_bytes = ledger.intent_bytes.saturating_add(len as u64);
                ledger.intent_bytes <= limits.intent_bytes
            })?;
            let intent = Intent {
                verb,
                storage,
                key,
                value,
            };
            self.trace(Party::Instance, Party::Partition, || {
                format!("{verb} {}", self.show_key(storage, key))
            });
            self.intents.borrow_mut().push(intent);
            Ok(())
        })
    }

    /// Takes a result row.
    ///
    /// # Errors
    /// `bad_intent` or a limit, as [`Call::write`].
    pub fn result(&self, row: &[u8]) -> Result<()> {
        self.judge(|| {
            let ExtensionDecl { kind, result, .. } = self.extension;
            let misfit = |what: String| Error::new(ErrorKind::BadIntent, what);
            if self.intents.borrow().results().len() >= kind.max_results() {
                return Err(misfit(match kind.max_results() {
                    0 => format!("a {kind} has no result"),
                    _ => format!("a {kind} has one result"),
                }));
            }
            result
                .check(row)
                .map_err(|error| misfit(format!("result: {}", error.message())))?;
            let max = self.package.limits.result_bytes;
            self.count(Limit::ResultBytes, |ledger| {
                ledger.result_bytes = ledger.result_bytes.saturating_add(row.len() as u64);
                ledger.result_bytes <= max
            })?;
            self.trace(Party::Instance, Party::Partition, || {
                format!("result of {} bytes", row.len())
            });
            self.intents.borrow_mut().push_result(row);
            Ok(())
        })
    }

    /// Refuses an intent for a reason that the engine found, as [`Call::write`] does.
    pub fn refuse_intent(&self, error: Error) -> Error {
        self.violation.borrow_mut().get_or_insert(error).clone()
    }

    fn judge(&self, intent: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(error) = &*self.violation.borrow() {
            return Err(error.clone());
        }
        intent().map_err(|error| self.refuse_intent(error))
    }

    /// Takes a line for the host's log.
    ///
    /// # Errors
    /// A limit, sticky.
    pub fn log(&self, level: &str, message: &str) -> Result<()> {
        self.count_log(message).map_err(|error| self.fail(error))?;
        self.host.log(level, message);
        Ok(())
    }

    fn count_log(&self, message: &str) -> Result<()> {
        let limits = &self.package.limits;
        self.count(Limit::LogLines, |ledger| {
            ledger.log_lines = ledger.log_lines.saturating_add(1);
            ledger.log_lines <= limits.log_lines
        })?;
        self.count(Limit::LogBytes, |ledger| {
            ledger.log_bytes = ledger.log_bytes.saturating_add(message.len() as u64);
            ledger.log_bytes <= limits.log_bytes
        })
    }

    /// Logs a row of `sys.log` that was checked against its schema.
    fn log_row(&self, row: &[u8]) -> Result<()> {
        let mut reader = Reader::new(row);
        reader.token()?;
        if let (Token::Text(level), Token::Text(message)) = (reader.token()?, reader.token()?) {
            self.count_log(message)?;
            self.host.log(level, message);
        }
        Ok(())
    }

    /// The time of the invocation in microseconds since the Unix epoch, as `sys.context` has it.
    ///
    /// # Errors
    /// `io` where the host cannot say.
    pub fn time(&self) -> Result<i64> {
        let mut row = Vec::new();
        self.host.get(StorageId::CONTEXT, &[], &mut row)?;
        let mut reader = Reader::new(&row);
        reader.token()?;
        match reader.token()? {
            Token::Int(time) => Ok(time),
            _ => Err(Error::new(ErrorKind::Io, "sys.context has no time")),
        }
    }

    /// The random bytes of an index, as `sys.random` has them.
    ///
    /// # Errors
    /// `io` where the host has none.
    pub fn random(&self, index: i64) -> Result<Vec<u8>> {
        let mut key = Vec::new();
        crate::key::KeyWriter(&mut key).int(index);
        let mut row = Vec::new();
        self.host.get(StorageId::RANDOM, &key, &mut row)?;
        let mut reader = Reader::new(&row);
        reader.token()?;
        match reader.token()? {
            Token::Bytes(bytes) => Ok(bytes.to_owned()),
            _ => Err(Error::new(ErrorKind::Io, "sys.random has no bytes")),
        }
    }

    /// Sets what the engine itself measures.
    pub fn used(&self, memory: u64, fuel: Option<u64>) {
        let mut ledger = self.ledger.get();
        ledger.memory = memory;
        ledger.fuel = fuel;
        self.ledger.set(ledger);
    }

    /// Ends the invocation: settles which error stands, and drops every intent if there is one.
    pub fn finish(self, run: Result<()>) -> Outcome {
        let mut ledger = self.ledger.get();
        ledger.elapsed_ms = self.ticker.since(self.started);
        let sticky = self.sticky.into_inner();
        let violation = self.violation.into_inner();
        let result = match (sticky, run, violation) {
            (Some(error), ..) | (None, Err(error), _) | (None, Ok(()), Some(error)) => Err(error),
            (None, Ok(()), None) => Ok(()),
        };
        if result.is_err() {
            self.intents.into_inner().clear();
        }
        Outcome {
            result: result.map_err(|error| {
                error.at(|| format!("{}/{}", self.package.name, self.extension.name))
            }),
            ledger,
        }
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

    /// Whether the kind of this extension sees `sys.event`.
    pub fn has_event(&self) -> bool {
        matches!(
            self.extension.kind,
            ExtensionKind::Validator | ExtensionKind::Projector
        )
    }
}
