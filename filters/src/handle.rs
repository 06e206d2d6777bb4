//! A filter's handle to its stream for tasks on other threads.

use std::fmt;

use tokio::sync::oneshot;

use crate::filter::{Direction, Filter, Verdict};
use crate::mailbox::Mailbox;
use crate::stream::{LocalReply, StreamRef};

/// What somebody asks of a stream from outside of its callbacks.
pub(crate) enum Event {
    /// Nothing but to look what was asked for meanwhile.
    Wake,
    /// A filter says how a direction goes on that it holds.
    Resume(usize, Direction, Verdict),
    /// Something to be done with the filter of this place.
    Visit(usize, Visit),
}

/// Something to be done with a filter and its stream, on their thread.
pub(crate) type Visit = Box<dyn FnOnce(&mut dyn Filter, &StreamRef) + Send>;

/// The stream is over: there is nothing left to be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamGone;

impl fmt::Display for StreamGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream is gone")
    }
}

impl std::error::Error for StreamGone {}

/// One filter's handle to its stream, to be used from any thread.
///
/// It keeps nothing of the stream alive: once the stream is over, every method answers [`StreamGone`].
#[derive(Clone)]
pub struct StreamHandle {
    pub(crate) filter: usize,
    pub(crate) events: Mailbox,
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle")
            .field("filter", &self.filter)
            .field("gone", &self.events.is_closed())
            .finish()
    }
}

impl StreamHandle {
    /// Lets a direction that the filter holds go on, as [`StreamRef::resume`].
    ///
    /// # Errors
    /// The stream is over.
    pub fn resume(&self, direction: Direction) -> Result<(), StreamGone> {
        self.send(Event::Resume(self.filter, direction, Verdict::Continue))
    }

    /// Answers the request, as [`StreamRef::local_reply`].
    ///
    /// # Errors
    /// The stream is over.
    pub fn local_reply(&self, reply: LocalReply) -> Result<(), StreamGone> {
        self.visit(|_, stream| stream.local_reply(reply))
    }

    /// Does something with the stream on its thread, between two callbacks, and answers what that gives.
    ///
    /// # Errors
    /// The stream ended before.
    pub async fn with<T: Send + 'static>(
        &self,
        run: impl FnOnce(&StreamRef) -> T + Send + 'static,
    ) -> Result<T, StreamGone> {
        let (send, receive) = oneshot::channel();
        self.visit(|_, stream| {
            // Who asked may have given up.
            let _ = send.send(run(stream));
        })?;
        receive.await.map_err(|_| StreamGone)
    }

    /// Does something with the filter and its stream on their thread, between two callbacks.
    ///
    /// # Errors
    /// The stream is over. Where it ends before the turn comes, nothing is done and nobody is told.
    pub fn visit(
        &self,
        run: impl FnOnce(&mut dyn Filter, &StreamRef) + Send + 'static,
    ) -> Result<(), StreamGone> {
        self.send(Event::Visit(self.filter, Box::new(run)))
    }

    fn send(&self, event: Event) -> Result<(), StreamGone> {
        self.events.send(event)
    }
}
