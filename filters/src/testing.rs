//! A worker for tests: it keeps what is logged and makes no calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::callout::{CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending};
use crate::metrics::Metrics;
use crate::worker::{Level, Worker};

/// A worker that keeps what is logged and makes no calls; its clock stands still.
#[derive(Debug, Default)]
pub struct TestWorker {
    /// What was logged: level, filter, line.
    pub lines: RefCell<Vec<(Level, String, String)>>,
    metrics: Arc<Metrics>,
}

/// A new [`TestWorker`].
pub fn worker() -> Rc<TestWorker> {
    Rc::default()
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

    fn http(&self, _: HttpCall, _: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        Err(CallRefused::Unavailable)
    }

    fn grpc(&self, _: GrpcCall, _: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused> {
        Err(CallRefused::Unavailable)
    }
}
