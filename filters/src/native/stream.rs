//! A stream as a native filter sees it, and what is kept for the filter beside it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use tokio::runtime;

use super::task::{Handle, Outcome, Task};
use super::{Answer, CallError, StreamFilter, callout};
use crate::callout::{HttpAnswer, HttpCall, Pending};
use crate::filter::{Direction, Next, Verdict};
use crate::stream::{LocalReply, StreamRef};
use crate::worker::Level;

/// What a direction's last callback was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stage {
    pub(super) callback: &'static str,
    pub(super) about: About,
    /// No callback of this direction follows by itself.
    pub(super) last: bool,
}

/// What a callback is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum About {
    #[default]
    Headers,
    Data,
    Trailers,
}

/// What is kept for one filter of one stream.
pub(super) struct Own {
    name: &'static str,
    runtime: runtime::Handle,
    stages: [Cell<Stage>; 2],
    tasks: [RefCell<Option<Task>>; 2],
    pub(super) calls: RefCell<BTreeMap<u64, Box<dyn Pending>>>,
    ids: Cell<u64>,
}

impl Own {
    pub(super) fn new(name: &'static str, runtime: runtime::Handle) -> Self {
        Self {
            name,
            runtime,
            stages: Default::default(),
            tasks: Default::default(),
            calls: RefCell::default(),
            ids: Cell::default(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.ids.update(|id| id + 1);
        self.ids.get()
    }

    pub(super) fn enter(&self, direction: Direction, stage: Stage) {
        self.stages[direction as usize].set(stage);
    }

    /// Takes a direction's task for ended; answers whether it is that one.
    pub(super) fn end_task(&self, direction: Direction, id: u64) -> bool {
        let task = &self.tasks[direction as usize];
        let ended = task.borrow().as_ref().is_some_and(|task| task.id == id);
        if ended {
            task.take();
        }
        ended
    }

    /// Cancels what is under way.
    pub(super) fn cancel(&self) {
        self.tasks.iter().for_each(|task| drop(task.take()));
        drop(self.calls.take());
    }

    /// The verdict that an answer means behind a direction's last callback.
    pub(super) fn verdict(
        &self,
        stream: &StreamRef,
        direction: Direction,
        answer: Answer,
    ) -> Verdict {
        let busy = self.tasks[direction as usize].borrow().is_some();
        let stage = self.stages[direction as usize].get();
        if let Some(why) = refusal(stream, direction, stage, busy, &answer) {
            let words = match answer {
                Answer::StopAndBuffer => "StopAndBuffer",
                Answer::StopAndBufferWatermark => "StopAndBufferWatermark",
                Answer::StopNoBuffer => "StopNoBuffer",
                _ => "Running",
            };
            let line = format!("{} was answered with {words}, but {why}", stage.callback);
            return self.fail(stream, &line);
        }
        match answer {
            Answer::Continue => Verdict::Continue,
            Answer::StopAndBuffer => Verdict::Hold(Next::Whole),
            Answer::StopAndBufferWatermark if busy => Verdict::Hold(Next::EachWaiting),
            Answer::StopAndBufferWatermark => Verdict::Hold(Next::Each),
            Answer::StopNoBuffer => Verdict::Discard,
            Answer::Running => Verdict::Hold(Next::Resumed),
            Answer::LocalReply(reply) => {
                stream.local_reply(reply);
                Verdict::Hold(Next::Resumed)
            }
        }
    }

    /// Answers for a filter that did what it may not.
    pub(super) fn fail(&self, stream: &StreamRef, line: &str) -> Verdict {
        stream.worker().log(Level::Error, self.name, line);
        let reply = LocalReply::text(500, "Internal Server Error").because("filter_failed");
        stream.local_reply(reply);
        Verdict::Hold(Next::Resumed)
    }
}

/// Why an answer is none that its callback takes.
fn refusal(
    stream: &StreamRef,
    direction: Direction,
    stage: Stage,
    busy: bool,
    answer: &Answer,
) -> Option<&'static str> {
    match (answer, stage.about) {
        (Answer::Continue | Answer::LocalReply(_), _) => None,
        (Answer::Running, _) => (!busy).then_some("no task of this direction is under way"),
        (_, About::Trailers) => Some("trailers take only Continue, Running and LocalReply"),
        (Answer::StopNoBuffer, About::Headers) => Some("only data can be forgotten"),
        (Answer::StopNoBuffer, About::Data) if stream.is_flowing(direction) => None,
        _ => (stage.last && !busy).then_some("nothing follows, and no task is under way"),
    }
}

/// A stream as a native filter of type `F` sees it within a callback; beside what stands here it is a [`StreamRef`].
///
/// As with every [`StreamRef`], what is borrowed of it must not be held across another call of the stream's.
pub struct Stream<'a, F> {
    stream: &'a StreamRef,
    own: &'a Own,
    direction: Direction,
    filter: PhantomData<fn(&mut F)>,
}

impl<F> fmt::Debug for Stream<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("filter", &self.own.name)
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

impl<F> Deref for Stream<'_, F> {
    type Target = StreamRef;

    fn deref(&self) -> &StreamRef {
        self.stream
    }
}

impl<'a, F: StreamFilter> Stream<'a, F> {
    pub(super) fn new(stream: &'a StreamRef, own: &'a Own, direction: Direction) -> Self {
        Self {
            stream,
            own,
            direction,
            filter: PhantomData,
        }
    }

    /// The direction that the callback, or the task whose closure this is, belongs to.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Starts this direction's task on the host's runtime. What it ends with is the next answer of this direction, as a
    /// callback would have given it: an [`Answer`], or a [closure](Outcome::then) that gives one on the stream's thread.
    /// One that never ends holds its stream until that ends, so what may take long needs a timeout.
    ///
    /// Where nothing is held when it ends, a local reply counts and any other answer does nothing.
    /// A direction has one task: a second one takes the place of the first, which is cancelled. The end of the stream
    /// cancels it too; what it is in the midst of runs on to its next `await`.
    /// A panic of the task is the filter's: it is logged and answered with a local 500.
    pub fn spawn<T: Into<Outcome<F>> + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) {
        let task = Task::spawn(&self.own.runtime, self.handle(), self.own.id(), task);
        self.own.tasks[self.direction as usize].replace(Some(task));
    }

    /// The filter's handle for tasks and other threads.
    pub fn handle(&self) -> Handle<F> {
        Handle::new(self.stream, self.direction)
    }

    /// Begins a request to a cluster. What is answered is awaited in a task; dropping it gives the request up.
    /// A filter of a stream may have [so many](crate::FilterLimits::stream_calls) under way.
    pub fn http(
        &self,
        call: HttpCall,
    ) -> impl Future<Output = Result<HttpAnswer, CallError>> + Send + use<F> {
        callout::http(self.stream, self.own, self.handle(), call)
    }

    /// Writes a line to the log, with the filter's name.
    pub fn log(&self, level: Level, line: &str) {
        let worker = self.stream.worker();
        if level >= worker.log_level() {
            worker.log(level, self.own.name, line);
        }
    }

    /// The host's runtime, for tasks that outlive the stream. Nothing watches over those.
    pub fn runtime(&self) -> &runtime::Handle {
        &self.own.runtime
    }
}
