//! How large an entry of a group may be.

use engine_core::error::Error;
use engine_core::limits::Limit;

use crate::log::CommandLog;
use crate::manifest::AppSpec;

/// How many characters the log keeps of what a job failed with.
pub(crate) const JOB_ERROR: usize = 1000;

/// How many bytes the entry of a job has then at most.
const JOB_ENTRY: usize = 8 << 10;

/// The largest entry that a group takes: two of them and the group's head fit the log's largest group.
pub(crate) fn max_entry(log: &dyn CommandLog, spec: &AppSpec) -> usize {
    let storages = spec.catalog.storages();
    let storages: usize = storages.map(|(_, storage)| storage.name.len() + 5).sum();
    let packages = spec.packages.iter();
    let packages: usize = packages.map(|package| package.name.len() + 24).sum();
    let head = storages + packages + JOB_ENTRY;
    log.max_group().saturating_sub(head) / 2
}

/// Names the limit that is hit by what does not fit a group of the log.
pub(crate) fn too_large(max: usize) -> Error {
    Error::limit(
        Limit::IntentBytes,
        format!("{max} bytes in one entry of the log"),
    )
}
