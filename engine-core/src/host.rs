//! What an extension may ask of its host, and the one way by which an engine reaches it.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::call::Call;
use crate::catalog::StorageId;
use crate::error::{Error, ErrorKind, Result};
use crate::foreign::ForeignFunction;

/// What an extension may ask: rows of the state, a line in the log, an answer of a foreign function.
///
/// Keys and values are in their encodings and pass through unread. Capabilities, quotas and the form of keys are
/// checked by [`Call`] before the host is asked.
pub trait Host {
    /// Appends the value of a row to `value` and answers true, or answers false where there is no such row.
    ///
    /// # Errors
    /// `io` where the state cannot be read.
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool>;

    /// Hands the rows whose keys begin with `prefix` to `take`, in key order, from behind the key `after` on, until it
    /// answers false for one or there is none left.
    ///
    /// # Errors
    /// `io` where the state cannot be read.
    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()>;

    /// Takes a line of the log.
    fn log(&self, level: &str, message: &str);

    /// Answers for a foreign function: calls it, or takes the answer from where it was kept.
    ///
    /// # Errors
    /// `rejected` for what the guest may handle, as [`ForeignFunction::call`]; any other ends the invocation.
    fn call(&self, function: &ForeignFunction, argument: &[u8]) -> Result<Vec<u8>> {
        function.call(argument)
    }
}

/// Who takes rows as they are read, key and value: it copies what it keeps, asks nobody, and answers false for a row that
/// it did not take, behind which it wants no other.
pub type TakeRow<'t> = dyn FnMut(&[u8], &[u8]) -> bool + 't;

/// Rows that a range read copied, in key order.
///
/// A chunk is full at [`RowChunk::ROWS`] rows or [`RowChunk::BYTES`] bytes, so one storage operation is bounded.
#[derive(Debug, Default)]
pub struct RowChunk {
    bytes: Vec<u8>,
    ends: Vec<(usize, usize)>,
    cut: bool,
}

impl RowChunk {
    /// How many rows a chunk takes.
    pub const ROWS: usize = 128;
    /// From how many bytes on a chunk is full.
    pub const BYTES: usize = 64 << 10;

    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.cut = false;
    }

    /// Adds a row, or answers false where it is full: for [`Host::scan`].
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.cut = Self::is_full(self.ends.len(), self.bytes.len());
        if self.cut {
            return false;
        }
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
        true
    }

    /// Whether so many rows of so many bytes are as much as one storage operation reads.
    #[inline]
    pub(crate) fn is_full(rows: usize, bytes: usize) -> bool {
        rows >= Self::ROWS || bytes >= Self::BYTES
    }

    /// Whether there was a row that it did not take.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The last row.
    pub fn last(&self) -> Option<(&[u8], &[u8])> {
        let (&(key_end, end), before) = self.ends.split_last()?;
        let start = before.last().map_or(0, |(_, end)| *end);
        Some((&self.bytes[start..key_end], &self.bytes[key_end..end]))
    }

    /// The rows: key and value each.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let (mut start, mut rest) = (0, &*self.bytes);
        self.ends.iter().map(move |&(key_end, end)| {
            let (key, behind) = rest.split_at(key_end - start);
            let (value, behind) = behind.split_at(end - key_end);
            (start, rest) = (end, behind);
            (key, value)
        })
    }
}

/// One end of a crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The partition that invokes.
    Partition,
    /// The instance, host side.
    Instance,
    /// The user's code.
    Guest,
    /// The host state.
    HostState,
    /// A foreign function.
    Foreign,
}

/// Takes note of each crossing between partition, instance, guest and host state.
pub trait Tracer {
    /// Takes note of one crossing.
    fn crossing(&self, from: Party, to: Party, what: &str);
}

/// Where host functions find the call that is running: a pointer scoped to the call.
///
/// Guests call back into the host through functions that were made long before the call, so the call cannot be their
/// parameter. An engine keeps one slot per instance and enters it around each call.
#[derive(Clone, Debug, Default)]
pub struct HostSlot(Rc<Cell<Option<NonNull<Call<'static>>>>>);

impl HostSlot {
    /// Makes `call` the running call while `guest` runs.
    #[inline]
    pub fn enter<R>(&self, call: &Call<'_>, guest: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a HostSlot, Option<NonNull<Call<'static>>>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.0.set(self.1);
            }
        }
        let pointer = NonNull::from(call).cast::<Call<'static>>();
        let _leave = Leave(self, self.0.replace(Some(pointer)));
        guest()
    }

    /// Lets `guest` run without a running call: in what it does for its host, where it may ask for nothing.
    pub fn leave<R>(&self, guest: impl FnOnce() -> R) -> R {
        struct Enter<'a>(&'a HostSlot, Option<NonNull<Call<'static>>>);
        impl Drop for Enter<'_> {
            fn drop(&mut self) {
                self.0.0.set(self.1);
            }
        }
        let _enter = Enter(self, self.0.take());
        guest()
    }

    /// Whether a call is running.
    #[inline]
    pub fn is_entered(&self) -> bool {
        self.0.get().is_some()
    }

    /// Hands the running call to `ask`.
    ///
    /// # Errors
    /// `abi` where no call is running, as during a guest's initialisation.
    #[inline]
    pub fn with<R>(&self, ask: impl FnOnce(&Call<'_>) -> Result<R>) -> Result<R> {
        let Some(pointer) = self.0.get() else {
            return Err(Error::new(
                ErrorKind::Abi,
                "the guest asked its host outside of an invocation",
            ));
        };
        #[allow(unsafe_code, reason = "the scoped pointer that this type exists for")]
        // SAFETY: `enter` stored a reference that outlives its frame, and its guard, which runs before the frame ends
        // even when it unwinds, removes the pointer. The slot is not `Send`, so nothing runs beside that frame.
        // `Call` has no exclusive access, and `ask` cannot keep the reference: its lifetime is not nameable there.
        let call = unsafe { pointer.as_ref() };
        ask(call)
    }
}
