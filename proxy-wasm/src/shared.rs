//! What machines of the same id share, on all threads of the process: data and queues.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;

use crate::abi::Status;
use crate::machine::{Mailbox, Message};

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

/// Who is told that something waits in a queue: the plugin that registered it, on a machine of a thread.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) mailbox: Mailbox,
    pub(crate) machine: u32,
    pub(crate) plugin: u32,
}

impl Owner {
    fn is(&self, other: &Self) -> bool {
        self.is_on(&other.mailbox, other.machine) && self.plugin == other.plugin
    }

    fn is_on(&self, mailbox: &Mailbox, machine: u32) -> bool {
        Arc::ptr_eq(&self.mailbox, mailbox) && self.machine == machine
    }

    fn ring(&self, queue: u32) {
        (self.mailbox)(Message::QueueReady {
            machine: self.machine,
            plugin: self.plugin,
            queue,
        });
    }
}

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
    /// Who registered it, the last one at the end, each with how often he was told without having heard it.
    owners: Mutex<Vec<(Owner, usize)>>,
}

impl Queue {
    /// Who is to be told that so many messages wait.
    fn told(&self, waiting: usize) -> Option<Owner> {
        let mut owners = lock(&self.owners);
        let (owner, told) = owners.last_mut()?;
        if *told >= waiting {
            return None;
        }
        *told += 1;
        Some(owner.clone())
    }
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
                self.take(0, value.len().saturating_sub(old.len()))?;
                self.give(0, old.len().saturating_sub(value.len()));
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
    pub(crate) fn register(&self, vm: &Arc<str>, name: &[u8], owner: Owner) -> Result<u32, Status> {
        let place = (Arc::clone(vm), name.to_vec());
        let id = match self.ids.entry(place) {
            dashmap::Entry::Occupied(entry) => *entry.get(),
            dashmap::Entry::Vacant(entry) => {
                self.take(0, name.len())?;
                let Some(id) = self.next_id() else {
                    self.give(0, name.len());
                    return Err(Status::InternalFailure);
                };
                self.queues.insert(id, Queue::default());
                *entry.insert(id)
            }
        };
        if let Some(queue) = self.queues.get(&id) {
            let mut owners = lock(&queue.owners);
            let known = owners.iter().position(|(known, _)| known.is(&owner));
            // What he was told and has not heard stands, however often he registers.
            let told = known.map_or(0, |known| owners.remove(known).1);
            owners.push((owner, told));
        }
        Ok(id)
    }

    /// The number of one more queue, where there may be one more: no name goes, so the last number counts them.
    fn next_id(&self) -> Option<u32> {
        let relaxed = Ordering::Relaxed;
        let next = |last: u32| {
            let next = last.checked_add(1);
            next.filter(|next| *next as usize <= self.limits.queues)
        };
        let last = self.next.fetch_update(relaxed, relaxed, next).ok();
        last.and_then(next)
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
        // Before anybody puts the next one: of two who count one after the other in the wrong order, one would be silent.
        let owner = queue.told(messages.len());
        drop(messages);
        drop(queue);
        if let Some(owner) = owner {
            owner.ring(id);
        }
        Ok(())
    }

    /// Who registered a queue has heard it once.
    pub(crate) fn rang(&self, id: u32, owner: &Owner) {
        if let Some(queue) = self.queues.get(&id)
            && let Some((_, told)) = lock(&queue.owners)
                .iter_mut()
                .find(|(known, _)| known.is(owner))
        {
            *told = told.saturating_sub(1);
        }
    }

    /// A machine is gone: nobody on it is told of anything any more.
    pub(crate) fn forget(&self, mailbox: &Mailbox, machine: u32) {
        for queue in &self.queues {
            lock(&queue.owners).retain(|(owner, _)| !owner.is_on(mailbox, machine));
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

    /// Who counts what he is told, by so much each time.
    fn owner(rung: &Arc<AtomicU32>, by: u32) -> Owner {
        let rung = Arc::clone(rung);
        Owner {
            mailbox: Arc::new(move |_| {
                rung.fetch_add(by, Ordering::Relaxed);
            }),
            machine: 0,
            plugin: 0,
        }
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
        let (first, last) = (owner(&rung, 1), owner(&rung, 100));
        let id = shared.register(&vm("a"), b"q", first).expect("room");
        assert_eq!(shared.register(&vm("a"), b"q", last), Ok(id));
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
        let owner = owner(&rung, 1);
        let id = shared
            .register(&vm("a"), b"q", owner.clone())
            .expect("room");
        let pass = || {
            assert_eq!(shared.enqueue(id, b"m"), Ok(()));
            assert!(shared.dequeue(id).is_ok());
        };
        (0..100).for_each(|_| pass());
        assert_eq!(rung.load(Ordering::Relaxed), 1, "nobody has heard it");
        shared.rang(id, &owner);
        (0..100).for_each(|_| pass());
        assert_eq!(rung.load(Ordering::Relaxed), 2);
        for _ in 0..3 {
            assert_eq!(shared.enqueue(id, b"m"), Ok(()));
        }
        assert_eq!(rung.load(Ordering::Relaxed), 4, "one for each message");
    }

    #[test]
    fn who_registers_again_and_again_is_told_no_more_often() {
        let shared = Shared::default();
        let rung = Arc::new(AtomicU32::new(0));
        let one = owner(&rung, 1);
        let other = Owner {
            plugin: 1,
            ..one.clone()
        };
        let pass = |owner: &Owner| {
            let id = shared.register(&vm("a"), b"q", owner.clone());
            let id = id.expect("room");
            assert_eq!(shared.enqueue(id, b"m"), Ok(()));
            assert!(shared.dequeue(id).is_ok());
            id
        };
        for _ in 0..100 {
            pass(&one);
            pass(&other);
        }
        assert_eq!(rung.load(Ordering::Relaxed), 2, "each once");
        let id = pass(&one);
        shared.rang(id, &one);
        pass(&other);
        pass(&one);
        assert_eq!(rung.load(Ordering::Relaxed), 3, "one of them has heard it");
    }

    #[test]
    fn who_is_gone_is_told_nothing_and_another_one_is() {
        let shared = Shared::default();
        let rung = Arc::new(AtomicU32::new(0));
        let (stays, goes) = (owner(&rung, 1), owner(&rung, 100));
        let id = shared.register(&vm("a"), b"q", stays).expect("room");
        assert_eq!(shared.register(&vm("a"), b"q", goes.clone()), Ok(id));
        assert_eq!(shared.enqueue(id, b"m"), Ok(()));
        shared.forget(&goes.mailbox, goes.machine);
        assert_eq!(Arc::strong_count(&goes.mailbox), 1, "nobody keeps it");
        assert_eq!(shared.enqueue(id, b"m"), Ok(()));
        assert_eq!(rung.load(Ordering::Relaxed), 101);
    }

    #[test]
    fn a_value_makes_room_for_the_one_in_its_place() {
        let shared = Shared::new(SharedLimits {
            bytes: 10,
            ..SharedLimits::default()
        });
        let a = vm("a");
        let set = |value: &[u8]| shared.set(&a, b"k", value, 0);
        for value in [b"123456789", b"987654321"] {
            assert_eq!(set(value), Ok(()));
        }
        assert_eq!(set(b"1234567890"), Err(Status::InternalFailure));
        assert_eq!(set(b"1"), Ok(()));
        assert_eq!(shared.bytes.load(Ordering::Relaxed), 2);
        assert_eq!(set(b"123456789"), Ok(()));
    }

    #[test]
    fn threads_that_register_at_once_pay_once_and_keep_the_limit() {
        let threads = 4;
        for _ in 0..500 {
            let shared = Shared::new(SharedLimits {
                queues: 2,
                ..SharedLimits::default()
            });
            let begin = std::sync::Barrier::new(threads);
            // All ask for one name, then each for one of its own.
            let register = |thread: usize| {
                let owner = owner(&Arc::default(), 1);
                begin.wait();
                let same = shared.register(&vm("a"), b"same", owner.clone());
                begin.wait();
                let own = shared.register(&vm("a"), &[thread as u8], owner);
                (same, own.is_ok())
            };
            let answers = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..threads)
                    .map(|thread| scope.spawn(move || register(thread)))
                    .collect();
                let answers = threads.into_iter().map(|thread| thread.join());
                answers.collect::<Result<Vec<_>, _>>().expect("no panic")
            });
            assert!(answers.iter().all(|(same, _)| *same == Ok(1)));
            assert_eq!(answers.iter().filter(|(_, own)| *own).count(), 1);
            let paid = shared.bytes.load(Ordering::Relaxed);
            assert_eq!(paid, b"same".len() + 1);
        }
    }

    #[test]
    fn who_reads_a_queue_is_told_of_each_message_however_many_put_them_at_once() {
        for _ in 0..50 {
            let shared = Shared::default();
            let rung = Arc::new(AtomicU32::new(0));
            let id = shared.register(&vm("a"), b"q", owner(&rung, 1));
            let id = id.expect("room");
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..100 {
                            shared.enqueue(id, b"m").expect("room");
                        }
                    });
                }
            });
            assert_eq!(rung.load(Ordering::Relaxed), 400);
        }
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
        let owner = owner(&Arc::default(), 1);
        let id = shared.register(&a, b"", owner.clone()).expect("room");
        let other = shared.register(&a, b"r", owner);
        assert_eq!(other, Err(Status::InternalFailure));
        assert_eq!(shared.enqueue(id, b"1234567"), Ok(()));
        assert_eq!(shared.enqueue(id, b""), Err(Status::InternalFailure));
        assert!(shared.dequeue(id).is_ok());
        assert_eq!(shared.enqueue(id, b""), Ok(()));
    }
}
