//! A worker for tests: it keeps what is logged and called, and plays the answers that a test gives.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::callout::{
    CallFailed, CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpAnswer, HttpCall, HttpDone,
    Pending,
};
use crate::metrics::Metrics;
use crate::worker::{Level, Worker};

/// A worker that keeps what is logged and makes no calls; its clock stands still.
///
/// Calls to the cluster [`TestWorker::CLUSTER`] are kept until the test answers them; there is no other one.
#[derive(Debug, Default)]
pub struct TestWorker {
    /// What was logged: level, filter, line.
    pub lines: RefCell<Vec<(Level, String, String)>>,
    /// The calls that were begun, in order.
    pub calls: RefCell<Vec<TestCall>>,
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
}

/// A new [`TestWorker`].
pub fn worker() -> Rc<TestWorker> {
    Rc::default()
}

impl TestWorker {
    /// The only cluster.
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

    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        if call.cluster != Self::CLUSTER {
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
