//! Which version of each package runs, and how that changes while everything runs.
//!
//! A version is taken up by each thread between two invocations, and by the writer between two groups, so that what is in
//! flight ends on the version that it began on, and a group of the log names one version of each package.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use engine_core::error::{Error, ErrorKind};

use crate::manifest::Rollback;
use crate::program::{Loaded, Program};
use crate::record::PackageHash;

/// What runs of a package, and what became of the versions before.
#[derive(Clone, Debug)]
pub struct PackageStatus {
    /// The package.
    pub name: String,
    /// The engine that it runs on.
    pub engine: String,
    /// The file of the manifest that has code for this engine, where it is in a file.
    pub file: Option<PathBuf>,
    /// The version that runs.
    pub hash: PackageHash,
    /// The version that comes back by itself if this one fails too often.
    pub before: Option<PackageHash>,
    /// The last version that was taken back, until another one is put in its place.
    pub rolled_back: Option<RolledBack>,
}

/// A version that failed too often.
#[derive(Clone, Debug)]
pub struct RolledBack {
    /// The version.
    pub hash: PackageHash,
    /// The failure that was one too many.
    pub error: Error,
}

/// The versions that run, shared by all partitions of an application.
pub(crate) struct Lineup {
    /// Counts the changes, so that a thread sees at one glance that there is none.
    changes: AtomicU64,
    slots: Mutex<Vec<Slot>>,
    notices: Arc<dyn Fn(&str) + Send + Sync>,
}

struct Slot {
    name: String,
    current: Arc<Loaded>,
    /// What ran before, while the current version can be taken back.
    before: Option<Arc<Loaded>>,
    rolled_back: Option<RolledBack>,
}

impl fmt::Debug for Lineup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lineup")
            .field("changes", &self.changes())
            .finish_non_exhaustive()
    }
}

impl Lineup {
    /// The packages as they were loaded.
    pub(crate) fn new(program: &Program, notices: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        let packages = program.spec().packages.iter().zip(program.packages());
        let slots = packages.map(|(spec, loaded)| Slot {
            name: spec.name.clone(),
            current: loaded.clone(),
            before: None,
            rolled_back: None,
        });
        Self {
            changes: AtomicU64::new(0),
            slots: Mutex::new(slots.collect()),
            notices,
        }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the versions have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The version of a package.
    pub(crate) fn version(&self, package: usize) -> Arc<Loaded> {
        self.slots()[package].current.clone()
    }

    /// The version of each package, and after how many changes.
    pub(crate) fn versions(&self) -> (u64, Vec<Arc<Loaded>>) {
        let slots = self.slots();
        let versions = slots.iter().map(|slot| slot.current.clone());
        (self.changes(), versions.collect())
    }

    /// Puts a version in the place of the current one, which comes back if the new one is on trial and fails.
    pub(crate) fn switch(&self, package: usize, version: Arc<Loaded>) {
        let mut slots = self.slots();
        let slot = &mut slots[package];
        let on_trial = version.trial.is_some();
        let before = std::mem::replace(&mut slot.current, version);
        slot.before = on_trial.then_some(before);
        slot.rolled_back = None;
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Brings back what ran before a version that failed too often, unless that has happened.
    fn roll_back(&self, trial: &Trial, error: &Error) {
        let mut slots = self.slots();
        let slot = &mut slots[trial.package];
        let current = slot.current.trial.as_ref();
        if !current.is_some_and(|current| std::ptr::eq(current, trial)) {
            return;
        }
        let Some(before) = slot.before.take() else {
            return;
        };
        let failed = std::mem::replace(&mut slot.current, before);
        let message = format!(
            "package `{}` runs on version {} again: version {} failed {} times within {} invocations, at last with: {error}",
            slot.name,
            hex(&slot.current.hash),
            hex(&failed.hash),
            trial.rule.failures,
            trial.rule.of,
        );
        slot.rolled_back = Some(RolledBack {
            hash: failed.hash,
            error: error.clone(),
        });
        self.changes.fetch_add(1, Ordering::Release);
        drop(slots);
        (self.notices)(&message);
    }

    /// What runs, in the order of the manifest; the files are for the caller to add.
    pub(crate) fn status(&self) -> Vec<PackageStatus> {
        let slots = self.slots();
        let status = slots.iter().map(|slot| PackageStatus {
            name: slot.name.clone(),
            engine: slot.current.engine.clone(),
            file: None,
            hash: slot.current.hash,
            before: slot.before.as_ref().map(|before| before.hash),
            rolled_back: slot.rolled_back.clone(),
        });
        status.collect()
    }
}

/// A version that is watched: it goes when it fails too often.
pub(crate) struct Trial {
    rule: Rollback,
    invocations: AtomicU64,
    /// The numbers of the last invocations that failed.
    faults: Mutex<VecDeque<u64>>,
    package: usize,
    lineup: Weak<Lineup>,
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("rule", &self.rule)
            .field("invocations", &self.invocations)
            .finish_non_exhaustive()
    }
}

impl Trial {
    pub(crate) fn new(rule: Rollback, package: usize, lineup: &Arc<Lineup>) -> Self {
        Self {
            rule,
            invocations: AtomicU64::new(0),
            faults: Mutex::default(),
            package,
            lineup: Arc::downgrade(lineup),
        }
    }

    /// Counts an invocation, and the fault that ended it.
    pub(crate) fn count(&self, fault: Option<&Error>) {
        let number = self.invocations.fetch_add(1, Ordering::Relaxed);
        let Some(error) = fault else { return };
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push_back(number);
        let old = |first: &u64| number.saturating_sub(*first) >= self.rule.of.into();
        while faults.front().is_some_and(old) {
            faults.pop_front();
        }
        let is_enough = faults.len() >= self.rule.failures as usize;
        drop(faults);
        if is_enough && let Some(lineup) = self.lineup.upgrade() {
            lineup.roll_back(self, error);
        }
    }
}

/// Whether an extension failed by a fault of its code, and not in its own words or by the state that it met.
pub(crate) fn is_fault(kind: ErrorKind) -> bool {
    use ErrorKind::{Abi, BadIntent, Denied, Internal, Limit, Trap};
    matches!(kind, Trap | Abi | Limit(_) | BadIntent | Denied | Internal)
}

/// A version as people read it.
pub fn hex(hash: &PackageHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
