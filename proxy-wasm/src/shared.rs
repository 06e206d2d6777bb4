//! What machines of the same id share, on all threads of the process: data and queues.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;

use crate::abi::Status;

/// How much all machines of a process may share.
///
/// A guest that stores without end gets `INTERNAL_FAILURE`, and nothing else suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedLimits {
    /// Bytes of keys, values, names of queues and queued messages; 64 MiB.
    pub bytes: usize,
    /// Keys and messages; 100,000.
    pub entries: usize,
    /// Queues; 1,000.
    pub queues: usize,
}

impl Default for SharedLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            entries: 100_000,
            queues: 1_000,
        }
    }
}

/// Told that something waits in a queue: the thread and the context that registered it.
pub(crate) type Ring = Arc<dyn Fn(u32) + Send + Sync>;

/// What machines share.
#[derive(Default)]
pub(crate) struct Shared {
    limits: SharedLimits,
    data: DashMap<(Arc<str>, Vec<u8>), (Bytes, u32)>,
    queues: DashMap<u32, Queue>,
    ids: DashMap<(Arc<str>, Vec<u8>), u32>,
    next: AtomicU32,
    bytes: AtomicUsize,
    entries: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    messages: Mutex<VecDeque<Bytes>>,
    ring: Mutex<Option<Ring>>,
    /// How often it rang without having been heard.
    rung: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .field("bytes", &self.bytes)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(limits: SharedLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// A value, and the number to change it with.
    pub(crate) fn get(&self, vm: &Arc<str>, key: &[u8]) -> Option<(Bytes, u32)> {
        let entry = self.data.get(&(Arc::clone(vm), key.to_vec()))?;
        Some(entry.clone())
    }

    /// Sets a value; with a number that is not 0, only where nobody else has since it was read.
    pub(crate) fn set(
        &self,
        vm: &Arc<str>,
        key: &[u8],
        value: &[u8],
        cas: u32,
    ) -> Result<(), Status> {
        let place = (Arc::clone(vm), key.to_vec());
        match self.data.entry(place) {
            dashmap::Entry::Occupied(mut entry) => {
                let (old, number) = entry.get().clone();
                if cas != 0 && cas != number {
                    return Err(Status::CasMismatch);
                }
                self.take(0, value.len())?;
                self.give(0, old.len());
                // 0 stands for "whatever it is".
                let number = number.checked_add(1).unwrap_or(1);
                entry.insert((Bytes::copy_from_slice(value), number));
            }
            dashmap::Entry::Vacant(entry) => {
                if cas != 0 {
                    return Err(Status::CasMismatch);
                }
                self.take(1, key.len() + value.len())?;
                entry.insert((Bytes::copy_from_slice(value), 1));
            }
        }
        Ok(())
    }

    /// The queue of a name, made at the first time; whoever registers it last is told of its messages.
    pub(crate) fn register(&self, vm: &Arc<str>, name: &[u8], ring: Ring) -> Result<u32, Status> {
        let place = (Arc::clone(vm), name.to_vec());
        if !self.ids.contains_key(&place) {
            if self.ids.len() >= self.limits.queues {
                return Err(Status::InternalFailure);
            }
            self.take(0, name.len())?;
        }
        let id = *self.ids.entry(place).or_insert_with(|| {
            let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            self.queues.insert(id, Queue::default());
            id
        });
        if let Some(queue) = self.queues.get(&id) {
            *lock(&queue.ring) = Some(ring);
            queue.rung.store(0, Ordering::Relaxed);
        }
        Ok(id)
    }

    /// The queue of a name.
    pub(crate) fn resolve(&self, vm: &[u8], name: &[u8]) -> Option<u32> {
        let vm = std::str::from_utf8(vm).ok()?;
        let id = self.ids.get(&(Arc::from(vm), name.to_vec()))?;
        Some(*id)
    }

    /// Puts a message into a queue, and tells who registered it, unless he was told as often as there are messages and
    /// has not heard yet: what waits to be heard is bounded as the messages are.
    pub(crate) fn enqueue(&self, id: u32, message: &[u8]) -> Result<(), Status> {
        let queue = self.queues.get(&id).ok_or(Status::NotFound)?;
        self.take(1, message.len())?;
        let mut messages = lock(&queue.messages);
        messages.push_back(Bytes::copy_from_slice(message));
        let is_new = queue.rung.load(Ordering::Relaxed) < messages.len();
        if is_new {
            queue.rung.fetch_add(1, Ordering::Relaxed);
        }
        drop(messages);
        let ring = lock(&queue.ring).clone().filter(|_| is_new);
        drop(queue);
        if let Some(ring) = ring {
            ring(id);
        }
        Ok(())
    }

    /// Who registered a queue has heard it once.
    pub(crate) fn rang(&self, id: u32) {
        if let Some(queue) = self.queues.get(&id) {
            let less = |rung: usize| rung.checked_sub(1);
            // One that was registered anew may not have rung since.
            let _ = queue
                .rung
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Takes a queue's first message.
    pub(crate) fn dequeue(&self, id: u32) -> Result<Bytes, Status> {
        let queue = self.queues.get(&id).ok_or(Status::NotFound)?;
        let message = lock(&queue.messages).pop_front().ok_or(Status::Empty)?;
        self.give(1, message.len());
        Ok(message)
    }

    fn take(&self, entries: usize, bytes: usize) -> Result<(), Status> {
        let all = self.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        let used = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > self.limits.entries || used > self.limits.bytes {
            self.give(entries, bytes);
            return Err(Status::InternalFailure);
        }
        Ok(())
    }

    fn give(&self, entries: usize, bytes: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn a_value_changes_only_for_who_read_the_last_one() {
        let shared = Shared::default();
        assert_eq!(
            shared.set(&vm("a"), b"k", b"1", 7),
            Err(Status::CasMismatch)
        );
        assert_eq!(shared.set(&vm("a"), b"k", b"1", 0), Ok(()));
        let (value, cas) = shared.get(&vm("a"), b"k").expect("set");
        assert_eq!((&value[..], cas), (&b"1"[..], 1));
        assert_eq!(shared.set(&vm("a"), b"k", b"2", cas), Ok(()));
        assert_eq!(
            shared.set(&vm("a"), b"k", b"3", cas),
            Err(Status::CasMismatch)
        );
        assert_eq!(shared.set(&vm("a"), b"k", b"4", 0), Ok(()));
        assert!(shared.get(&vm("b"), b"k").is_none());
    }

    #[test]
    fn a_queue_is_first_in_first_out_and_tells_who_registered_it_last() {
        let shared = Shared::default();
        let rung = Arc::new(AtomicU32::new(0));
        let ring = |by: u32| -> Ring {
            let rung = Arc::clone(&rung);
            Arc::new(move |_| {
                rung.fetch_add(by, Ordering::Relaxed);
            })
        };
        let id = shared.register(&vm("a"), b"q", ring(1)).expect("room");
        assert_eq!(shared.register(&vm("a"), b"q", ring(100)), Ok(id));
        assert_eq!(shared.resolve(b"a", b"q"), Some(id));
        assert_eq!(shared.resolve(b"b", b"q"), None);
        assert_eq!(shared.dequeue(id), Err(Status::Empty));
        assert_eq!(shared.dequeue(id + 1), Err(Status::NotFound));
        for message in [b"1", b"2"] {
            assert_eq!(shared.enqueue(id, message), Ok(()));
        }
        assert_eq!(shared.dequeue(id).as_deref(), Ok(&b"1"[..]));
        assert_eq!(shared.dequeue(id).as_deref(), Ok(&b"2"[..]));
        assert_eq!(rung.load(Ordering::Relaxed), 200);
    }

    #[test]
    fn a_queue_rings_no_more_often_than_it_is_heard_or_has_messages() {
        let shared = Shared::default();
        let rung = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&rung);
        let ring: Ring = Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let id = shared.register(&vm("a"), b"q", ring).expect("room");
        let pass = || {
            assert_eq!(shared.enqueue(id, b"m"), Ok(()));
            assert!(shared.dequeue(id).is_ok());
        };
        (0..100).for_each(|_| pass());
        assert_eq!(rung.load(Ordering::Relaxed), 1, "nobody has heard it");
        shared.rang(id);
        (0..100).for_each(|_| pass());
        assert_eq!(rung.load(Ordering::Relaxed), 2);
        for _ in 0..3 {
            assert_eq!(shared.enqueue(id, b"m"), Ok(()));
        }
        assert_eq!(rung.load(Ordering::Relaxed), 4, "one for each message");
    }

    #[test]
    fn nothing_grows_without_bound() {
        let shared = Shared::new(SharedLimits {
            bytes: 8,
            entries: 2,
            queues: 1,
        });
        let a = vm("a");
        assert_eq!(
            shared.set(&a, b"k", b"123456789", 0),
            Err(Status::InternalFailure)
        );
        assert_eq!(shared.set(&a, b"k", b"1234567", 0), Ok(()));
        assert_eq!(shared.set(&a, b"k", b"", 0), Ok(()));
        let id = shared.register(&a, b"", Arc::new(|_| ())).expect("room");
        let other = shared.register(&a, b"r", Arc::new(|_| ()));
        assert_eq!(other, Err(Status::InternalFailure));
        assert_eq!(shared.enqueue(id, b"1234567"), Ok(()));
        assert_eq!(shared.enqueue(id, b""), Err(Status::InternalFailure));
        assert!(shared.dequeue(id).is_ok());
        assert_eq!(shared.enqueue(id, b""), Ok(()));
    }
}
