//! What the thread of a stream offers to its filters: a log, a clock, metrics and calls to other services.

use std::io;
use std::sync::Arc;

use crate::callout::{CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending};
use crate::limits::FilterLimits;
use crate::metrics::Metrics;
use crate::surroundings::NodeId;

/// How grave a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For who looks for a mistake.
    Debug,
    /// What is worth knowing.
    Info,
    /// What should not be, and does no harm.
    Warn,
    /// What went wrong.
    Error,
    /// What stops the work.
    Critical,
}

impl Level {
    /// All levels, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Critical,
    ];

    /// The level of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// The level's name, such as `info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What a worker thread offers to the filters on it.
///
/// Answers of calls come back on this thread, never from within the call that began them.
pub trait Worker {
    /// The least level that is logged.
    fn log_level(&self) -> Level;

    /// Takes a line that a filter of this name logs.
    fn log(&self, level: Level, filter: &str, line: &str);

    /// Nanoseconds since 1970 began.
    fn time(&self) -> u64;

    /// Fills a place with random bytes: the system's, where the worker has no others.
    ///
    /// # Errors
    /// Where the system gives none.
    fn random(&self, place: &mut [u8]) -> io::Result<()> {
        Ok(getrandom::fill(place)?)
    }

    /// The metrics of the process.
    fn metrics(&self) -> &Arc<Metrics>;

    /// How much of the host a filter on this thread may take.
    fn limits(&self) -> FilterLimits {
        FilterLimits::default()
    }

    /// Who the proxy is, where it is one.
    fn node(&self) -> Option<&NodeId> {
        None
    }

    /// Begins a request to a cluster. It is given up when what is answered is dropped.
    ///
    /// # Errors
    /// Where the cluster is not known or the request is no request; `done` is not called then.
    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused>;

    /// Begins a stream to a gRPC service of a cluster. It is cancelled when what is answered is dropped.
    ///
    /// # Errors
    /// Where the cluster is not known or the metadata cannot be sent; `events` is not called then.
    fn grpc(&self, call: GrpcCall, events: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused>;
}
