//! The world of a case: its clock, its randomness, its log and the calls that are made.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use filters::callout::{
    CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending,
};
use filters::metrics::Metrics;
use filters::{Level, Worker};

use crate::case::Setup;

/// What a case's filters are offered: a clock and randomness of the case's own, calls that are kept for it to answer.
#[derive(Default)]
pub struct World {
    /// Nanoseconds since 1970.
    pub(crate) now: Cell<u64>,
    random: Cell<u64>,
    /// What was logged since it was last taken: `level words`.
    pub(crate) lines: RefCell<Vec<String>>,
    pub(crate) calls: RefCell<VecDeque<Call>>,
    clusters: Option<Vec<String>>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("calls", &self.calls.borrow().len())
            .finish_non_exhaustive()
    }
}

/// A call that no step has looked at yet.
pub(crate) struct Call {
    pub(crate) made: Made,
    pub(crate) fate: Rc<Fate>,
}

/// What a call is, and who is told of its end.
pub(crate) enum Made {
    Http(HttpCall, HttpDone),
    Grpc(GrpcCall, GrpcEvents),
}

/// What becomes of a call while it is under way.
#[derive(Default)]
pub(crate) struct Fate {
    pub(crate) given_up: Cell<bool>,
    /// The messages of a gRPC call.
    pub(crate) sent: RefCell<Vec<Bytes>>,
}

/// A call under way, as who made it has it.
struct UnderWay(Rc<Fate>);

impl Pending for UnderWay {}

impl GrpcStream for UnderWay {
    fn send(&mut self, message: Bytes, _: bool) -> Result<(), CallRefused> {
        self.0.sent.borrow_mut().push(message);
        Ok(())
    }

    fn close(&mut self) {}
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.given_up.set(true);
    }
}

impl Call {
    /// The call as somebody reads it.
    pub(crate) fn show(&self) -> String {
        match &self.made {
            Made::Http(call, _) => format!("{call:?}"),
            Made::Grpc(call, _) => format!("{call:?} {:?}", self.fate.sent),
        }
    }

    pub(crate) fn cluster(&self) -> &str {
        match &self.made {
            Made::Http(call, _) => &call.cluster,
            Made::Grpc(call, _) => &call.cluster,
        }
    }
}

impl World {
    pub(crate) fn new(setup: &Setup) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(setup.nanos()),
            random: Cell::new(setup.seed.unwrap_or(0)),
            clusters: setup.clusters.clone(),
            ..Self::default()
        })
    }

    fn call(&self, made: Made) -> Result<UnderWay, CallRefused> {
        let fate = Rc::new(Fate::default());
        let call = Call {
            made,
            fate: Rc::clone(&fate),
        };
        let known = |clusters: &Vec<String>| clusters.iter().any(|known| known == call.cluster());
        if !self.clusters.as_ref().is_none_or(known) {
            return Err(CallRefused::UnknownCluster);
        }
        self.calls.borrow_mut().push_back(call);
        Ok(UnderWay(fate))
    }
}

impl Worker for World {
    fn log_level(&self) -> Level {
        Level::Trace
    }

    fn log(&self, level: Level, _: &str, line: &str) {
        let line = format!("{} {line}", level.name());
        self.lines.borrow_mut().push(line);
    }

    fn time(&self) -> u64 {
        self.now.get()
    }

    /// Bytes of SplitMix64, from the case's seed on.
    fn random(&self, place: &mut [u8]) -> io::Result<()> {
        for place in place.chunks_mut(8) {
            let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.random.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (mixed ^ (mixed >> 31)).to_le_bytes();
            place.copy_from_slice(&bytes[..place.len()]);
        }
        Ok(())
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        Ok(Box::new(self.call(Made::Http(call, done))?))
    }

    fn grpc(&self, call: GrpcCall, events: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused> {
        Ok(Box::new(self.call(Made::Grpc(call, events))?))
    }
}
