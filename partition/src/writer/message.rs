//! What the writer is asked, and a command's place in its queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine_core::catalog::StorageId;
use engine_core::error::Result;

use crate::answer;
use crate::log::Position;
use crate::partition::{Accepted, Shared};
use crate::program::Loaded;
use crate::record::Projection;
use crate::shadow::Follower;
use crate::store::{Bytes, Snapshot, StateStore};

/// What the writer is asked.
pub(crate) enum Message {
    /// Run a command.
    Command(Submission),
    /// Take what an asynchronous projector made, and answer with the state that has it.
    Projection(Box<Projection>, Reader),
    /// Answer with the durable state, for an asynchronous projector.
    Read(Reader),
    /// Answer with the durable state and its offset.
    Snapshot(answer::Sender<(u64, Arc<dyn Snapshot>)>),
    /// Make the instance of a version of a package that is about to be taken up.
    Warm(usize, Arc<Loaded>, answer::Sender<()>),
    /// Tell a shadow of the commands that are refused from now on, and keep the log for it, until it is gone.
    Shadow(Follower),
    /// Write a checkpoint.
    Checkpoint(answer::Sender<()>),
    /// A checkpoint of so many bytes was written, or none.
    CheckpointDone(Position, Result<u64>),
    /// Answer everything that is in the queue before this, and end.
    Stop,
}

/// An asynchronous projector that waits for a view of the storages that it may use. What it does not hold, the store
/// need not keep as it was.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) storages: Arc<[StorageId]>,
    pub(crate) answer: answer::Sender<Arc<dyn Snapshot>>,
}

impl Reader {
    pub(super) fn answer(self, store: &dyn StateStore) {
        self.answer.send(store.snapshot_of(&self.storages));
    }
}

/// A command in the queue.
pub(crate) struct Submission {
    /// The number of its extension.
    pub(crate) command: usize,
    /// Short ones are not on the heap: what one thread allocates and another one frees costs both.
    pub(crate) args: Bytes,
    pub(crate) id: Option<String>,
    pub(crate) place: Place,
    pub(crate) answer: answer::Sender<Accepted>,
}

/// A command's place in the queue, free again when this is dropped.
pub(crate) struct Place(pub(crate) Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.depth.fetch_sub(1, Ordering::Relaxed);
    }
}
