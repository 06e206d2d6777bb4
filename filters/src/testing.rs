//! A worker for tests: it keeps what is logged and called, and plays the answers that a test gives.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::callout::{
    CallFailed, CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpAnswer, HttpCall, HttpDone,
    Pending,
};
use crate::limits::FilterLimits;
use crate::metrics::Metrics;
use crate::worker::{Level, Worker};

/// A worker that keeps what is logged and makes no calls; its clock stands still.
///
/// Calls to the clusters that it knows are kept until the test answers them.
#[derive(Debug, Default)]
pub struct TestWorker {
    /// What was logged: level, filter, line.
    pub lines: RefCell<Vec<(Level, String, String)>>,
    /// The calls that were begun, in order.
    pub calls: RefCell<Vec<TestCall>>,
    /// The clusters that it knows beside [`TestWorker::CLUSTER`].
    pub clusters: RefCell<Vec<String>>,
    /// Whether it makes no call now.
    pub busy: Cell<bool>,
    /// What a filter may take.
    pub limits: Cell<FilterLimits>,
    metrics: Arc<Metrics>,
}

/// A call that a filter began.
pub struct TestCall {
    /// What is asked.
    pub call: HttpCall,
    done: Option<HttpDone>,
    given_up: Rc<Cell<bool>>,
}

impl fmt::Debug for TestCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCall")
            .field("call", &self.call)
            .field("given_up", &self.given_up)
            .finish_non_exhaustive()
    }
}

impl TestCall {
    /// Whether nobody waits for the answer any more.
    pub fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    fn is_under_way(&self) -> bool {
        self.done.is_some() && !self.is_given_up()
    }
}

/// A new [`TestWorker`].
pub fn worker() -> Rc<TestWorker> {
    Rc::default()
}

impl TestWorker {
    /// A cluster that it knows.
    pub const CLUSTER: &str = "test";

    /// Ends a call, by its number from 0 on, that was begun, not ended and not given up; answers whether it is one.
    pub fn answer(&self, number: usize, result: Result<HttpAnswer, CallFailed>) -> bool {
        let mut calls = self.calls.borrow_mut();
        let call = calls.get_mut(number).filter(|call| !call.is_given_up());
        let Some(done) = call.and_then(|call| call.done.take()) else {
            return false;
        };
        drop(calls);
        done(result);
        true
    }

    /// How many calls were neither ended nor given up.
    pub fn under_way(&self) -> usize {
        let calls = self.calls.borrow();
        calls.iter().filter(|call| call.is_under_way()).count()
    }

    /// Ends the oldest call under way, and gives back what it asked; nothing where there is none.
    pub fn answer_next(&self, result: Result<HttpAnswer, CallFailed>) -> Option<HttpCall> {
        let oldest = {
            let calls = self.calls.borrow();
            let number = calls.iter().position(TestCall::is_under_way)?;
            (number, calls[number].call.clone())
        };
        self.answer(oldest.0, result).then_some(oldest.1)
    }
}

impl Worker for TestWorker {
    fn log_level(&self) -> Level {
        Level::Trace
    }

    fn log(&self, level: Level, filter: &str, line: &str) {
        let line = (level, filter.to_owned(), line.to_owned());
        self.lines.borrow_mut().push(line);
    }

    fn time(&self) -> u64 {
        1_700_000_000_000_000_000
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn limits(&self) -> FilterLimits {
        self.limits.get()
    }

    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        if self.busy.get() {
            return Err(CallRefused::Unavailable);
        }
        if call.cluster != Self::CLUSTER && !self.clusters.borrow().contains(&call.cluster) {
            return Err(CallRefused::UnknownCluster);
        }
        let given_up = Rc::default();
        self.calls.borrow_mut().push(TestCall {
            call,
            done: Some(done),
            given_up: Rc::clone(&given_up),
        });
        Ok(Box::new(TestPending(given_up)))
    }

    fn grpc(&self, _: GrpcCall, _: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused> {
        Err(CallRefused::Unavailable)
    }
}

struct TestPending(Rc<Cell<bool>>);

impl Pending for TestPending {}

impl Drop for TestPending {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
