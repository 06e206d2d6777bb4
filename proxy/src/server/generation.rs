//! A configuration prepared for all threads, and what a proxy is told beside it.

use std::fmt;
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};
use filters::Level;
use filters::metrics::Metrics;
use proxy_wasm::ProxyWasm;

use super::LogSink;
use super::lines::Lines;
use super::parts::Parts;
use crate::config::Bootstrap;
use crate::upstream;

/// What a proxy is told beside its configuration.
#[derive(Clone)]
pub struct Options {
    /// The engine that runs WASM filters, such as `wasmtime`.
    pub engine: String,
    /// How many workers serve connections.
    pub concurrency: usize,
    /// The least level that is logged.
    pub level: Level,
    /// Where the log goes.
    pub log: LogSink,
    /// What WASM filters call by name and what their machines share, across generations.
    pub wasm: Arc<ProxyWasm>,
    /// The metrics, across generations.
    pub metrics: Arc<Metrics>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("engine", &self.engine)
            .field("concurrency", &self.concurrency)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// A configuration with everything that can be prepared for all threads.
#[derive(Debug)]
pub struct Generation {
    pub(crate) bootstrap: Bootstrap,
    /// What problems call the configuration.
    pub(crate) file: String,
    pub(crate) options: Options,
    pub(crate) parts: Parts,
    pub(crate) upstreams: Arc<[upstream::Blueprint]>,
    /// Where native filters' tasks run.
    pub(crate) tasks: tokio::runtime::Handle,
    /// Where access logs go.
    pub(crate) lines: Arc<Lines>,
}

impl Generation {
    /// Prepares a configuration.
    ///
    /// # Errors
    /// `manifest` with everything that cannot be prepared, each with its place in the file.
    pub(crate) fn prepare(
        bootstrap: Bootstrap,
        file: String,
        options: &Options,
        tasks: &tokio::runtime::Handle,
        lines: &Arc<Lines>,
    ) -> Result<Arc<Self>> {
        let mut problems = Vec::new();
        let upstreams = upstream::prepare(&bootstrap.clusters);
        let upstreams = upstreams
            .map_err(|error| problems.push(error.to_string()))
            .ok();
        let parts = Parts::prepare(&bootstrap, options, &mut problems);
        match upstreams {
            Some(upstreams) if problems.is_empty() => Ok(Arc::new(Self {
                bootstrap,
                file,
                options: options.clone(),
                parts,
                upstreams,
                tasks: tasks.clone(),
                lines: Arc::clone(lines),
            })),
            _ => Err(refused(&file, &problems)),
        }
    }
}

/// Why a configuration cannot be served: its problems, which begin with their places.
pub(crate) fn refused(file: &str, problems: &[String]) -> Error {
    let lines = problems.iter().map(|problem| format!("{file}:{problem}"));
    let lines: Vec<_> = lines.collect();
    Error::new(ErrorKind::Manifest, lines.join("\n"))
}
