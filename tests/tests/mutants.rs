//! Engines with one defect each: the conformance suite catches every one of them, by the case that is named here.
//!
//! A mutant is a real engine behind wrappers that break one invariant. The named case passes on the engine itself and
//! fails on its mutant.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conformance::Subject;
use conformance::cases::case;
use engine_builtin::BuiltinFactory;
use engine_core::cache::CodeCache;
use engine_core::catalog::StorageId;
use engine_core::engine::{
    Code, CodeReport, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome,
    PackageSource,
};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory};
use engine_core::host::{Host, TakeRow};
use engine_core::intent::Intents;
use engine_core::limits::{Capabilities, Ledger, Limit};
use engine_core::manifest::{PackageManifest, Policy};
use engine_core::value::{self, Value};
use engine_lua::LuaFactory;
use engine_wasm_wasmtime::WasmtimeFactory;
// Links the suite's native guest in.
use suite as _;

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// What the guest asked for before it crashed is kept.
    IntentsKeptAfterATrap,
    /// The deadline is never over.
    DeadlineIgnored,
    /// A quota is not kept, though the engine says that it is.
    QuotaIgnored,
    /// A limit that the engine cannot keep is waived on the manifest's behalf.
    LimitWaivedInSilence,
    /// The policy `fresh` is taken for `keep`.
    GlobalLeaked,
    /// A rejection is taken for a crash, and a crash for a rejection.
    KindsSwapped,
    /// A timeout ends every invocation of the engine that is running.
    EpochShared,
    /// What crashed is run again, and what both attempts asked for is kept.
    RetryAppliedTwice,
    /// After a timeout an instance refuses everything.
    ClosedAfterATimeout,
    /// Intents come out in another order.
    OrderLost,
    /// Random bytes are the engine's own, always the same.
    RandomnessFixed,
    /// A failed invocation has no ledger.
    LedgerLost,
}

#[derive(Clone, Copy)]
struct MutantFactory {
    original: &'static dyn ExtEngineFactory,
    defect: Defect,
}

impl ExtEngineFactory for MutantFactory {
    fn kind(&self) -> EngineKind {
        self.original.kind()
    }

    fn name(&self) -> &'static str {
        self.original.name()
    }

    fn version(&self) -> &'static str {
        self.original.version()
    }

    fn capabilities(&self) -> Capabilities {
        self.original.capabilities()
    }

    fn create(&self, limits: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Ok(Arc::new(MutantEngine {
            original: self.original.create(limits)?,
            defect: self.defect,
            timeouts: Arc::default(),
        }))
    }
}

#[derive(Debug)]
struct MutantEngine {
    original: Arc<dyn ExtEngine>,
    defect: Defect,
    timeouts: Arc<AtomicU64>,
}

impl ExtEngine for MutantEngine {
    fn name(&self) -> &'static str {
        self.original.name()
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        _: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        let mut manifest = PackageManifest::clone(&source.manifest);
        match self.defect {
            Defect::DeadlineIgnored => manifest.limits.deadline_ms = u32::MAX,
            Defect::QuotaIgnored => manifest.limits.intents = u32::MAX,
            Defect::LimitWaivedInSilence => manifest.waived = Limit::ALL.into(),
            Defect::GlobalLeaked => manifest.policy = Policy::Keep,
            _ => {}
        }
        let original = self.original.load(&PackageSource {
            manifest: Arc::new(manifest),
            code: source.code.clone(),
        })?;
        Ok(Arc::new(MutantPackage {
            original,
            defect: self.defect,
            timeouts: self.timeouts.clone(),
        }))
    }

    fn inspect(&self, code: &Code) -> Result<CodeReport> {
        self.original.inspect(code)
    }
}

#[derive(Debug)]
struct MutantPackage {
    original: Arc<dyn ExtensionPackage>,
    defect: Defect,
    timeouts: Arc<AtomicU64>,
}

impl ExtensionPackage for MutantPackage {
    fn manifest(&self) -> &Arc<PackageManifest> {
        self.original.manifest()
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        Ok(Box::new(MutantInstance {
            original: self.original.instantiate()?,
            defect: self.defect,
            timeouts: self.timeouts.clone(),
            closed: Cell::new(false),
        }))
    }
}

#[derive(Debug)]
struct MutantInstance {
    original: Box<dyn ExtensionInstance>,
    defect: Defect,
    timeouts: Arc<AtomicU64>,
    closed: Cell<bool>,
}

const TIMEOUT: ErrorKind = ErrorKind::Limit(Limit::Deadline);

fn kind(outcome: &Outcome) -> Option<ErrorKind> {
    outcome.result.as_ref().err().map(Error::kind)
}

impl ExtensionInstance for MutantInstance {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let timeouts = self.timeouts.load(Ordering::SeqCst);
        let fixed = FixedRandomness(host);
        let host: &dyn Host = match self.defect {
            Defect::RandomnessFixed => &fixed,
            _ => host,
        };
        let mut outcome = self.original.invoke(invocation, host, intents);
        match (self.defect, kind(&outcome)) {
            (Defect::IntentsKeptAfterATrap, Some(ErrorKind::Trap)) => {
                // The guest of the suite asks for the same when it is told not to crash.
                let mut args = value::decode(invocation.args).expect("arguments");
                if let Some(how) = args.first_mut() {
                    *how = Value::Text("nothing".into());
                }
                let args = value::encode(&args);
                let calm = Invocation {
                    args: &args,
                    ..invocation
                };
                let _ = self.original.invoke(calm, host, intents);
            }
            (Defect::KindsSwapped, Some(kind @ (ErrorKind::Rejected | ErrorKind::Trap))) => {
                let swapped = match kind {
                    ErrorKind::Trap => ErrorKind::Rejected,
                    _ => ErrorKind::Trap,
                };
                outcome.result = Err(Error::new(swapped, "swapped"));
            }
            (Defect::EpochShared, Some(TIMEOUT)) => {
                self.timeouts.fetch_add(1, Ordering::SeqCst);
            }
            (Defect::EpochShared, None) if self.timeouts.load(Ordering::SeqCst) != timeouts => {
                intents.clear();
                outcome.result = Err(Error::limit(Limit::Deadline, "another's"));
            }
            (Defect::RetryAppliedTwice, Some(ErrorKind::Trap)) => {
                let mut second = Intents::new();
                outcome = self.original.invoke(invocation, host, &mut second);
                for attempt in [&second, &second] {
                    attempt.iter().for_each(|intent| intents.push(intent));
                }
            }
            (Defect::ClosedAfterATimeout, found) => {
                if self.closed.get() {
                    intents.clear();
                    outcome.result = Err(Error::new(ErrorKind::Internal, "closed"));
                }
                self.closed.set(self.closed.get() || found == Some(TIMEOUT));
            }
            (Defect::OrderLost, None) => {
                let ordered = intents.clone();
                intents.clear();
                let mut reversed: Vec<_> = ordered.iter().collect();
                reversed.reverse();
                reversed.into_iter().for_each(|intent| intents.push(intent));
                ordered.results().for_each(|row| intents.push_result(row));
            }
            (Defect::LedgerLost, Some(_)) => outcome.ledger = Ledger::default(),
            _ => {}
        }
        outcome
    }
}

struct FixedRandomness<'a>(&'a dyn Host);

impl Host for FixedRandomness<'_> {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        if storage == StorageId::RANDOM {
            value.extend(value::encode(&[Value::Bytes(vec![4; 32])]));
            return Ok(true);
        }
        self.0.get(storage, key, value)
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        self.0.scan(storage, prefix, after, take)
    }

    fn log(&self, level: &str, message: &str) {
        self.0.log(level, message);
    }
}

const ENGINES: [&dyn ExtEngineFactory; 3] = [&WasmtimeFactory, &LuaFactory, &BuiltinFactory];

/// Makes sure that a case passes on engines and fails on their mutants.
fn is_caught_on(engines: &[&'static dyn ExtEngineFactory], defect: Defect, name: &str) {
    let case = case(name);
    for original in engines.iter().copied() {
        case(&Subject::new(original));
        let mutant: &'static MutantFactory =
            Box::leak(Box::new(MutantFactory { original, defect }));
        let run = catch_unwind(AssertUnwindSafe(|| case(&Subject::new(mutant))));
        let engine = original.name();
        assert!(run.is_err(), "{name} lets {defect:?} pass on {engine}");
    }
}

fn is_caught(defect: Defect, name: &str) {
    is_caught_on(&ENGINES, defect, name);
}

#[test]
fn intents_kept_after_a_trap_are_caught() {
    is_caught(Defect::IntentsKeptAfterATrap, "trap_yields_no_intents");
}

#[test]
fn an_ignored_deadline_is_caught() {
    is_caught(
        Defect::DeadlineIgnored,
        "a_deadline_ends_a_run_of_host_reads",
    );
}

#[test]
fn an_ignored_quota_is_caught() {
    is_caught(Defect::QuotaIgnored, "intents_are_limited");
}

#[test]
fn a_limit_waived_in_silence_is_caught() {
    // The only engine here that has limits which it cannot keep.
    let engines: [&dyn ExtEngineFactory; 1] = [&BuiltinFactory];
    is_caught_on(
        &engines,
        Defect::LimitWaivedInSilence,
        "a_limit_is_kept_or_refused",
    );
}

#[test]
fn a_global_leaked_between_calls_is_caught() {
    // Native code has the program's globals.
    let engines: [&dyn ExtEngineFactory; 2] = [&WasmtimeFactory, &LuaFactory];
    is_caught_on(
        &engines,
        Defect::GlobalLeaked,
        "a_fresh_instance_remembers_nothing",
    );
}

#[test]
fn swapped_kinds_are_caught() {
    is_caught(Defect::KindsSwapped, "a_rejection_is_no_trap");
}

#[test]
fn a_shared_epoch_is_caught() {
    is_caught(
        Defect::EpochShared,
        "one_timeout_leaves_sixteen_others_undisturbed",
    );
}

#[test]
fn a_retry_applied_twice_is_caught() {
    is_caught(
        Defect::RetryAppliedTwice,
        "a_failed_attempt_adds_nothing_to_the_next",
    );
}

#[test]
fn an_engine_closed_after_a_timeout_is_caught() {
    is_caught(
        Defect::ClosedAfterATimeout,
        "an_instance_works_after_a_timeout",
    );
}

#[test]
fn a_lost_order_of_intents_is_caught() {
    is_caught(Defect::OrderLost, "many_intents_keep_their_order");
}

#[test]
fn randomness_that_is_not_the_hosts_is_caught() {
    is_caught(
        Defect::RandomnessFixed,
        "other_randomness_gives_other_bytes",
    );
}

#[test]
fn a_lost_ledger_is_caught() {
    is_caught(Defect::LedgerLost, "a_failure_has_a_ledger");
}
