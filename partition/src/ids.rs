//! Command ids: what makes a repeated command harmless.

use std::collections::HashMap;
use std::sync::Arc;

use imbl::Vector;

use crate::store::Bytes;

/// An accepted command that can be recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: Arc<str>,
    pub(crate) offset: u64,
    /// Hash of the command's name and arguments.
    pub(crate) hash: [u8; 16],
    /// The result row, where there was one.
    pub(crate) result: Option<Bytes>,
}

/// The accepted ids of a partition, at most a window of the last ones.
#[derive(Debug)]
pub(crate) struct Ids {
    window: usize,
    /// In order of acceptance, and cheap to share with a checkpoint that is being written.
    order: Vector<Arc<Accepted>>,
    by_id: HashMap<Arc<str>, Arc<Accepted>>,
}

impl Ids {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window,
            order: Vector::new(),
            by_id: HashMap::new(),
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Accepted> {
        self.by_id.get(id).map(|accepted| &**accepted)
    }

    /// Remembers an accepted command and forgets the oldest one beyond the window.
    pub(crate) fn remember(&mut self, accepted: Accepted) {
        let accepted = Arc::new(accepted);
        self.by_id.insert(accepted.id.clone(), accepted.clone());
        self.order.push_back(accepted);
        while self.order.len() > self.window {
            // Under a smaller window, an id may have been forgotten and accepted again.
            if let Some(oldest) = self.order.pop_front()
                && self
                    .get(&oldest.id)
                    .is_some_and(|last| last.offset == oldest.offset)
            {
                self.by_id.remove(&oldest.id);
            }
        }
    }

    /// Whether the last ids here are those that `other` remembers.
    pub(crate) fn end_with(&self, other: &Self) -> bool {
        let mut pairs = self.order.iter().rev().zip(other.order.iter().rev());
        other.order.len() <= self.order.len() && pairs.all(|(own, other)| own == other)
    }

    /// The remembered ids, oldest first, as they are now.
    pub(crate) fn snapshot(&self) -> Vector<Arc<Accepted>> {
        self.order.clone()
    }
}

/// The hash by which a repeated command is told from another one under the same id.
pub(crate) fn hash(command: &str, args: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(command.len() as u64).to_le_bytes());
    hasher.update(command.as_bytes());
    hasher.update(args);
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}
