//! Tasks of native filters on the host's runtime, and their way back to the stream's thread.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::task::Poll;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::adapter::Adapter;
use super::{Answer, CallError, Stream, StreamFilter};
use crate::callout::{HttpAnswer, HttpCall};
use crate::filter::Direction;
use crate::handle::{StreamGone, StreamHandle};
use crate::panics::{self, Panic};
use crate::stream::StreamRef;

/// What a task of a filter of type `F` ends with.
pub struct Outcome<F>(pub(super) End<F>);

pub(super) enum End<F> {
    Answer(Answer),
    #[expect(
        clippy::type_complexity,
        reason = "a boxed closure, named by its variant"
    )]
    Then(Box<dyn FnOnce(&mut F, &Stream<'_, F>) -> Answer + Send>),
    /// It gives no answer; in words.
    None(&'static str),
}

impl<F> fmt::Debug for Outcome<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            End::Answer(answer) => answer.fmt(f),
            End::Then(_) => f.write_str("Then"),
            End::None(why) => f.write_str(why),
        }
    }
}

impl<F> Outcome<F> {
    /// Runs something with the filter and its stream on their thread, which gives the answer; it may spawn the next task
    /// and answer [`Answer::Running`].
    pub fn then(run: impl FnOnce(&mut F, &Stream<'_, F>) -> Answer + Send + 'static) -> Self {
        Self(End::Then(Box::new(run)))
    }
}

impl<F> From<Answer> for Outcome<F> {
    fn from(answer: Answer) -> Self {
        Self(End::Answer(answer))
    }
}

/// For tasks that use `?` on what their [`Handle`] answers: once the stream is gone nobody asks for an answer.
/// Where it is only another stream that is gone, this one is answered with a local 500.
impl<F, T: Into<Self>> From<Result<T, StreamGone>> for Outcome<F> {
    fn from(result: Result<T, StreamGone>) -> Self {
        match result {
            Ok(outcome) => outcome.into(),
            Err(StreamGone) => Self(End::None("a task ended without an answer")),
        }
    }
}

/// A task under way, which is cancelled when this is dropped.
pub(super) struct Task {
    pub(super) id: u64,
    abort: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Task {
    pub(super) fn spawn<F: StreamFilter, T: Into<Outcome<F>> + 'static>(
        runtime: &runtime::Handle,
        handle: Handle<F>,
        id: u64,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let report = Report {
            handle: Some((handle, id)),
        };
        let task = runtime.spawn(run(report, task));
        Self {
            id,
            abort: task.abort_handle(),
        }
    }
}

async fn run<F: StreamFilter, T: Into<Outcome<F>>>(
    mut report: Report<F>,
    task: impl Future<Output = T> + Send + 'static,
) {
    let mut task = Box::pin(task);
    let end = poll_fn(|context| {
        let polled = panics::catch(|| task.as_mut().poll(context).map(Into::into));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    match end.await {
        Ok(outcome) => report.end(outcome),
        Err(panic) => report.panicked(panic),
    }
}

/// Tells the stream how its task ended, also where the runtime drops it.
struct Report<F: StreamFilter> {
    handle: Option<(Handle<F>, u64)>,
}

impl<F: StreamFilter> Report<F> {
    fn end(&mut self, Outcome(end): Outcome<F>) {
        if let Some((handle, id)) = self.handle.take() {
            let direction = handle.direction;
            // A stream that is gone needs no answer.
            let _ = handle.visit(move |adapter, stream| adapter.ended(stream, direction, id, end));
        }
    }

    fn panicked(&mut self, Panic(seen): Panic) {
        if let Some((handle, _)) = self.handle.take() {
            // On the stream's thread it is a panic of the filter's like any other.
            let _ = handle.visit(move |_, _| resume_unwind(Box::new(seen)));
        }
    }
}

impl<F: StreamFilter> Drop for Report<F> {
    fn drop(&mut self) {
        self.end(Outcome(End::None("the runtime dropped a task")));
    }
}

/// A native filter's handle to itself and its stream, to be used from any thread.
///
/// It keeps nothing of the stream alive: once the stream is over, every method answers [`StreamGone`].
pub struct Handle<F> {
    handle: StreamHandle,
    pub(super) direction: Direction,
    filter: PhantomData<fn(&mut F)>,
}

impl<F> Clone for Handle<F> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            ..*self
        }
    }
}

impl<F> fmt::Debug for Handle<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.handle).finish()
    }
}

impl<F: StreamFilter> Handle<F> {
    pub(super) fn new(stream: &StreamRef, direction: Direction) -> Self {
        Self {
            handle: stream
                .handle()
                .expect("a filter is called with a stream of its own"),
            direction,
            filter: PhantomData,
        }
    }

    /// Does something with the filter and its stream on their thread, between two callbacks, and answers what that gives.
    /// Dropping what is awaited does not take it back.
    ///
    /// # Errors
    /// The stream ended before.
    pub async fn with<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut F, &Stream<'_, F>) -> T + Send + 'static,
    ) -> Result<T, StreamGone> {
        let (send, receive) = oneshot::channel();
        let direction = self.direction;
        self.visit(move |adapter, stream| {
            // Who asked may have given up.
            let _ = send.send(adapter.run(stream, direction, run));
        })?;
        receive.await.map_err(|_| StreamGone)
    }

    /// Makes a request to a cluster; giving up the wait gives up the request.
    ///
    /// # Errors
    /// The request was not begun, or there is no answer, or the stream ended before.
    pub async fn http(&self, call: HttpCall) -> Result<HttpAnswer, CallError> {
        let begun = self.with(|_, stream| stream.http(call)).await;
        begun.map_err(|StreamGone| CallError::Gone)?.await
    }

    pub(super) fn visit(
        &self,
        run: impl FnOnce(&mut Adapter<F>, &StreamRef) + Send + 'static,
    ) -> Result<(), StreamGone> {
        self.handle.visit(move |filter, stream| {
            let filter: &mut dyn Any = filter;
            if let Some(adapter) = filter.downcast_mut() {
                run(adapter, stream);
            }
        })
    }
}
