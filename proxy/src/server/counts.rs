//! The counters of a manager of HTTP, each looked up by its name once for a connection.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use filters::metrics::{Metric, MetricKind, Metrics};

/// Counters that appear in the process's metrics when they are first counted in.
pub(crate) struct Counts {
    metrics: Arc<Metrics>,
    prefix: String,
    known: RefCell<BTreeMap<Event, Option<Arc<Metric>>>>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request,
    /// By the first digit of its status.
    Response(u16),
}

impl Counts {
    /// The counters of this prefix.
    pub(crate) fn new(metrics: &Arc<Metrics>, prefix: &str) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            prefix: prefix.to_owned(),
            known: RefCell::default(),
        }
    }

    /// A connection began.
    pub(crate) fn connection(&self) {
        let prefix = &self.prefix;
        self.metrics
            .count(&format!("http.{prefix}.connections_total"));
    }

    /// A request began.
    pub(crate) fn request(&self) {
        self.count(Event::Request);
    }

    /// A request ended with this status.
    pub(crate) fn response(&self, status: u16) {
        self.count(Event::Response(status / 100));
    }

    /// A client does not speak HTTP.
    pub(crate) fn protocol_error(&self) {
        let prefix = &self.prefix;
        self.metrics
            .count(&format!("http.{prefix}.protocol_errors_total"));
    }

    fn count(&self, event: Event) {
        let mut known = self.known.borrow_mut();
        let metric = known.entry(event).or_insert_with(|| {
            let prefix = &self.prefix;
            let name = match event {
                Event::Request => format!("http.{prefix}.requests_total"),
                Event::Response(class) => format!("http.{prefix}.responses_{class}xx_total"),
            };
            self.metrics.define(MetricKind::Counter, &name)
        });
        if let Some(metric) = metric {
            metric.add(1);
        }
    }
}
