//! The next segment, made ahead on a thread of its own.
//!
//! Its file has a name that is no segment's until the log takes it, so a crash leaves nothing but a file to remove. The
//! zeros are written and synced in steps, and the log takes as many as there are.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, bounded};

use super::tail::Zeros;
use crate::log::LogError;
use crate::platform::{Access, Files, JoinHandle, Platform};

/// The name of the file.
const NAME: &str = "spare";

/// A segment in the making.
#[derive(Debug)]
pub(super) struct Spare {
    stop: Arc<AtomicBool>,
    made: Receiver<Zeros>,
    thread: JoinHandle,
}

impl Spare {
    /// Begins to make a file of `size` bytes in steps of `step`. There may be no thread for it.
    pub(super) fn begin(
        platform: &Arc<dyn Platform>,
        folder: &Path,
        size: u64,
        step: u64,
    ) -> Option<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (give, made) = bounded(1);
        let stopped = Arc::clone(&stop);
        let (machine, path) = (Arc::clone(platform), folder.join(NAME));
        let make = move || {
            let made =
                Zeros::open(machine.files(), &path, Access::CreateNew).and_then(|mut zeros| {
                    while zeros.filled() < size && !stopped.load(Ordering::Relaxed) {
                        let next = zeros.filled().saturating_add(step.max(1));
                        zeros.fill(next.min(size))?;
                        zeros.sync()?;
                    }
                    Ok(zeros)
                });
            match made {
                Ok(zeros) => drop(give.send(zeros)),
                // The log does without, and has the space.
                Err(_) => drop(machine.files().remove(&path)),
            }
        };
        let thread = platform.spawn("extengine-segment", Box::new(make)).ok()?;
        Some(Self { stop, made, thread })
    }

    /// The file as far as it is made, if it could be made.
    pub(super) fn take(self) -> Option<Zeros> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.join());
        self.made.try_recv().ok()
    }
}

/// Removes what is left of a spare that no segment was made of.
pub(super) fn remove(files: &dyn Files, folder: &Path) -> Result<(), LogError> {
    let path = folder.join(NAME);
    match files
        .exists(&path)
        .map_err(LogError::io("look for", &path))?
    {
        true => files.remove(&path).map_err(LogError::io("remove", &path)),
        false => Ok(()),
    }
}
