//! Calls of native filters to other services, as futures that may be awaited on any thread.

use std::fmt;

use tokio::sync::oneshot;

use super::StreamFilter;
use super::stream::Own;
use super::task::Handle;
use crate::callout::{CallFailed, CallRefused, HttpAnswer, HttpCall};
use crate::stream::StreamRef;

/// Why a native filter's call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// It was not begun.
    Refused(CallRefused),
    /// It was begun and failed.
    Failed(CallFailed),
    /// The stream is over.
    Gone,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(CallRefused::UnknownCluster) => "there is no such cluster",
            Self::Refused(CallRefused::BadRequest(why)) => why,
            Self::Refused(CallRefused::Full) => "the filter has too many calls under way",
            Self::Refused(CallRefused::Unavailable) => "no calls can be made here",
            Self::Failed(CallFailed::Timeout) => "nobody answered in time",
            Self::Failed(CallFailed::Reset) => "the connection broke",
            Self::Failed(CallFailed::TooLarge) => "the answer is too large",
            Self::Gone => "the stream is gone",
        })
    }
}

impl std::error::Error for CallError {}

/// Begins a call. The filter keeps it until its answer is here or nobody waits for it any more.
pub(super) fn http<F: StreamFilter>(
    stream: &StreamRef,
    own: &Own,
    handle: Handle<F>,
    call: HttpCall,
) -> impl Future<Output = Result<HttpAnswer, CallError>> + Send + use<F> {
    let (send, receive) = oneshot::channel();
    let done = move |result| {
        // Who asked may have given up.
        let _ = send.send(result);
    };
    let worker = stream.worker();
    let begun = if own.calls.borrow().len() < worker.limits().stream_calls {
        worker.http(call, Box::new(done))
    } else {
        Err(CallRefused::Full)
    };
    let begun = begun.map(|pending| {
        let id = own.id();
        own.calls.borrow_mut().insert(id, pending);
        GiveUp { handle, id }
    });
    async move {
        let _waiting = begun.map_err(CallError::Refused)?;
        match receive.await {
            Ok(result) => result.map_err(CallError::Failed),
            Err(_) => Err(CallError::Gone),
        }
    }
}

/// Gives the call up when this is dropped, on the thread where it was begun.
struct GiveUp<F: StreamFilter> {
    handle: Handle<F>,
    id: u64,
}

impl<F: StreamFilter> Drop for GiveUp<F> {
    fn drop(&mut self) {
        let id = self.id;
        // With the stream its calls are gone.
        let _ = self.handle.visit(move |adapter, _| adapter.give_up(id));
    }
}
