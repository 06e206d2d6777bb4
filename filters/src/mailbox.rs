//! What is asked of a stream from outside of its callbacks, in order, from any thread.
//!
//! Every stream has one and few get anything, so an empty one is small: tokio's channel has room for its first 32 messages.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::handle::{Event, StreamGone};

/// A stream's mailbox, shared by all who may ask and by the chain, which alone takes.
#[derive(Clone, Default)]
pub(crate) struct Mailbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether there is an event, for who only looks. Changed under the lock alone.
    filled: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    /// The chain, while it waits for an event.
    waiting: Option<Waker>,
    closed: bool,
}

impl Mailbox {
    /// Puts an event behind all others.
    ///
    /// # Errors
    /// The stream is over.
    pub(crate) fn send(&self, event: Event) -> Result<(), StreamGone> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(StreamGone);
        }
        inner.events.push_back(event);
        self.0.filled.store(true, Ordering::Release);
        let waiting = inner.waiting.take();
        drop(inner);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Ok(())
    }

    /// Takes the first event, where there is one.
    pub(crate) fn take(&self) -> Option<Event> {
        if !self.0.filled.load(Ordering::Acquire) {
            return None;
        }
        self.pop(&mut self.lock())
    }

    /// Takes the first event as soon as there is one.
    pub(crate) fn poll_take(&self, context: &Context<'_>) -> Poll<Event> {
        let mut inner = self.lock();
        if let Some(event) = self.pop(&mut inner) {
            return Poll::Ready(event);
        }
        match &mut inner.waiting {
            Some(waiting) => waiting.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes no more events; those that are here can still be taken.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting = None;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn pop(&self, inner: &mut Inner) -> Option<Event> {
        let event = inner.events.pop_front();
        self.0
            .filled
            .store(!inner.events.is_empty(), Ordering::Release);
        event
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
