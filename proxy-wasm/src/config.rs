//! What a plugin is: its code, its configuration, its limits, and what happens when it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine_core::limits::Limits;

/// A virtual machine for filters. Plugins with the same one share it on each thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VmConfig {
    /// Whose data, queues and metrics it shares; those of all machines with this id.
    pub vm_id: String,
    /// The module.
    pub code: Arc<[u8]>,
    /// What `proxy_on_vm_start` finds.
    pub configuration: Vec<u8>,
    /// The guest's environment.
    pub environment: BTreeMap<String, String>,
    /// The engine, such as `wasmtime`.
    pub engine: String,
    /// The limits: on code, memory and stack of the machine, and `deadline_ms` and `fuel` of each callback.
    pub limits: Limits,
    /// The callbacks and host functions, by their names, that may be used; all where this is none.
    pub capabilities: Option<BTreeSet<String>>,
}

/// A plugin: a virtual machine and what it does there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginConfig {
    /// Its name in the log and in metrics.
    pub name: String,
    /// Which of the module's roots it is.
    pub root_id: String,
    /// The machine.
    pub vm: VmConfig,
    /// What `proxy_on_configure` finds.
    pub configuration: Vec<u8>,
    /// How a stream is answered for which the plugin failed.
    pub policy: FailurePolicy,
    /// How long the machine rests when it fails again and again.
    pub backoff: Backoff,
    /// Whether a filter that pauses at the headers sees the body all the same, before the headers go on.
    pub body_before_headers: bool,
}

/// How a stream is answered for which a plugin failed, or has no working machine; and when the machine is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// With the status 503. The machine is replaced at once where it had served a stream's callback since it was started,
    /// or one before it had within the last [`Backoff::base`], so that a stream that fails now and then costs no other
    /// one anything; otherwise after the wait that [`Backoff`] says.
    #[default]
    Closed,
    /// Not at all: it goes on as if the plugin were not there. The machine is replaced as with [`Self::Closed`].
    Open,
    /// With the status 503. The machine is replaced after the wait that [`Backoff`] says, and never before.
    Reload,
}

/// How long a machine that failed rests before it is replaced.
///
/// After `base`, and twice as long for each failure in a row up to `max`, less up to half of it by chance, so that threads do
/// not start all at the same time. Failures are in a row where no machine between them served a stream's callback.
/// Of several plugins on a machine the one that failed says it, by its policy and its waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    /// One second, and ten.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The wait after so many failures in a row, before chance has its part.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1));
        self.base
            .saturating_mul(doubled.unwrap_or(u32::MAX))
            .min(self.max)
    }
}
