//! A chain with one native filter whose callbacks a test writes, on a runtime of its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use filters::native::{Answer, BoxError, NativeConfig, NativeFilter, Stream, StreamFilter};
use filters::testing::{self, TestWorker};
use filters::{Chain, Direction, EndReason, Headers, Level, Part, Settings, StreamInfo};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

/// What a callback does.
pub(crate) type Step = Box<dyn FnMut(&mut Played, &Stream<'_, Played>) -> Answer>;

pub(crate) type Notes = Rc<RefCell<Vec<String>>>;

type Steps = VecDeque<(&'static str, Step)>;

thread_local! {
    /// What the filters of this thread do, by the numbers that are their configuration.
    static PLAYS: RefCell<Vec<(Steps, Notes)>> = const { RefCell::new(Vec::new()) };
}

/// A filter that does what a test says at each callback, and goes on where it says nothing.
pub(crate) struct Played {
    steps: Steps,
    notes: Notes,
}

impl Played {
    fn play(&mut self, name: &'static str, stream: &Stream<'_, Self>, end: bool) -> Answer {
        let body = stream.body(stream.direction());
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let end = if end { ", end" } else { "" };
        self.note(format!("{name} {body:?}{end}"));
        self.step(name, stream)
    }

    fn step(&mut self, name: &'static str, stream: &Stream<'_, Self>) -> Answer {
        let place = self.steps.iter().position(|(at, _)| *at == name);
        let step = place.and_then(|place| self.steps.remove(place));
        step.map_or(Answer::Continue, |(_, mut step)| step(self, stream))
    }

    pub(crate) fn note(&self, line: impl Into<String>) {
        self.notes.borrow_mut().push(line.into());
    }
}

impl StreamFilter for Played {
    fn decode_headers(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.play("decode_headers", stream, end)
    }

    fn decode_data(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.play("decode_data", stream, end)
    }

    fn decode_trailers(&mut self, stream: &Stream<'_, Self>) -> Answer {
        self.play("decode_trailers", stream, false)
    }

    fn encode_headers(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.play("encode_headers", stream, end)
    }

    fn encode_data(&mut self, stream: &Stream<'_, Self>, end: bool) -> Answer {
        self.play("encode_data", stream, end)
    }

    fn encode_trailers(&mut self, stream: &Stream<'_, Self>) -> Answer {
        self.play("encode_trailers", stream, false)
    }

    fn on_connection(&mut self, stream: &Stream<'_, Self>) -> Answer {
        self.play("on_connection", stream, false)
    }

    fn on_close(&mut self, _: &Stream<'_, Self>, direction: Direction, by_us: bool) {
        self.note(format!("on_close {direction:?} by us: {by_us}"));
    }

    fn on_log(&mut self, stream: &Stream<'_, Self>) {
        self.play("on_log", stream, false);
    }

    fn on_destroy(&mut self, stream: &Stream<'_, Self>, reason: EndReason) {
        self.note(format!("on_destroy {reason:?}"));
        self.step("on_destroy", stream);
    }
}

impl NativeFilter for Played {
    type Config = usize;

    fn parse(config: &Value) -> Result<usize, BoxError> {
        Ok(serde_json::from_value(config.clone())?)
    }

    fn new(config: &Arc<usize>) -> Self {
        let (steps, notes) = PLAYS.with_borrow_mut(|plays| std::mem::take(&mut plays[**config]));
        Self { steps, notes }
    }
}

filters::native_filter!("test.played", Played);

/// The host's runtime, apart from the threads of streams.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).build().expect("a runtime")
});

/// A stream with one [`Played`] filter.
pub(crate) struct Bench {
    pub(crate) chain: Chain,
    pub(crate) notes: Notes,
    pub(crate) worker: Rc<TestWorker>,
}

/// A step for [`bench`].
pub(crate) fn at(
    callback: &'static str,
    step: impl FnMut(&mut Played, &Stream<'_, Played>) -> Answer + 'static,
) -> (&'static str, Step) {
    (callback, Box::new(step))
}

/// A stream of HTTP with a body limit of ten bytes.
pub(crate) fn bench(steps: impl IntoIterator<Item = (&'static str, Step)>) -> Bench {
    bench_on(Chain::new, RUNTIME.handle(), steps)
}

pub(crate) fn tcp(steps: impl IntoIterator<Item = (&'static str, Step)>) -> Bench {
    bench_on(Chain::tcp, RUNTIME.handle(), steps)
}

type New =
    fn(Vec<Box<dyn filters::Filter>>, StreamInfo, Settings, Rc<dyn filters::Worker>) -> Chain;

pub(crate) fn bench_on(
    new: New,
    runtime: &tokio::runtime::Handle,
    steps: impl IntoIterator<Item = (&'static str, Step)>,
) -> Bench {
    let notes = Notes::default();
    let number = PLAYS.with_borrow_mut(|plays| {
        plays.push((steps.into_iter().collect(), Rc::clone(&notes)));
        plays.len() - 1
    });
    let config = NativeConfig::parse("test.played", &number.into()).expect("it is registered");
    let worker = testing::worker();
    let (filters, settings) = (vec![config.filter(runtime)], Settings { limit: 10 });
    Bench {
        chain: new(filters, StreamInfo::default(), settings, worker.clone()),
        notes,
        worker,
    }
}

impl Bench {
    /// Headers of a direction arrive.
    pub(crate) fn headers(&mut self, direction: Direction, end: bool) {
        let headers = match direction {
            Direction::Request => Headers::from_iter([(":method", "POST"), (":path", "/")]),
            Direction::Response => Headers::from_iter([(":status", "200")]),
        };
        self.chain.headers(direction, headers, end);
    }

    pub(crate) fn data(&mut self, direction: Direction, data: &'static str, end: bool) {
        let data = Bytes::from_static(data.as_bytes());
        self.chain.data(direction, data, end);
    }

    pub(crate) fn trailers(&mut self, direction: Direction) {
        let trailers = Headers::from_iter([("checked", "no")]);
        self.chain.trailers(direction, trailers);
    }

    /// Everything that came out of a direction, in words.
    pub(crate) fn out(&mut self, direction: Direction) -> String {
        let mut words = Vec::new();
        while let Some(part) = self.chain.take(direction) {
            let (what, end) = match part {
                Part::Headers { end } => ("headers".to_owned(), end),
                Part::Data { data, end } => (String::from_utf8_lossy(&data).into_owned(), end),
                Part::Trailers => ("trailers".to_owned(), false),
            };
            words.push(if end { what + ", end" } else { what });
        }
        words.join(" | ")
    }

    /// Does what tasks ask of the stream until something comes out of a direction.
    pub(crate) fn until_out(&mut self, direction: Direction) -> String {
        loop {
            let out = self.out(direction);
            if !out.is_empty() {
                return out;
            }
            self.event();
        }
    }

    /// Does what tasks ask of the stream until something holds.
    pub(crate) fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            self.event();
        }
    }

    /// Waits for one thing that somebody asks of the stream, and does it. It may have been done before this, when
    /// something arrived.
    fn event(&mut self) {
        RUNTIME.block_on(self.chain.event());
    }

    /// What the filter was told and noted.
    pub(crate) fn notes(&self) -> String {
        self.notes.take().join("\n")
    }

    /// The status and details of the proxy's own answer.
    pub(crate) fn answered(&self) -> (u16, String) {
        let stream = self.chain.stream();
        let info = stream.info();
        (info.status, info.details.clone())
    }

    /// What was logged as an error.
    pub(crate) fn errors(&self) -> Vec<String> {
        let lines = self.worker.lines.borrow();
        let errors = lines.iter().filter(|(level, ..)| *level == Level::Error);
        errors.map(|(.., line)| line.clone()).collect()
    }
}
