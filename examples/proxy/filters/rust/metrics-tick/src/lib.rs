//! Counts requests, and on every tick calls the host's function `compress` and says what it answered.
//!
//! The configuration is the time from tick to tick in milliseconds; 1,000 where there is none.

use std::time::{Duration, SystemTime};

use log::{error, info, warn};
use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// What is compressed on every tick.
const TEXT: &[u8] = b"the same words, the same words, the same words again";

#[derive(Clone, Copy, Default)]
struct Metrics {
    requests: u32,
    open: u32,
    millis: u32,
}

impl Metrics {
    fn define() -> Result<Self, Status> {
        Ok(Self {
            requests: define_metric(MetricType::Counter, "metrics_tick.requests")?,
            open: define_metric(MetricType::Gauge, "metrics_tick.open")?,
            millis: define_metric(MetricType::Histogram, "metrics_tick.duration_ms")?,
        })
    }
}

#[derive(Default)]
struct Root {
    metrics: Metrics,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        let text = String::from_utf8_lossy(&configuration);
        let period = match text.trim() {
            "" => Ok(1_000),
            text => text.parse(),
        };
        let Ok(period) = period else {
            error!("`{text}` is no number of milliseconds");
            return false;
        };
        match Metrics::define() {
            Ok(metrics) => self.metrics = metrics,
            Err(status) => {
                error!("the metrics cannot be defined: {status:?}");
                return false;
            }
        }
        self.set_tick_period(Duration::from_millis(period));
        true
    }

    fn on_tick(&mut self) {
        match self.call_foreign_function("compress", Some(TEXT)) {
            Ok(answer) => {
                let len = answer.map_or(0, |answer| answer.len());
                info!("compress made {len} bytes of {}", TEXT.len());
            }
            Err(status) => warn!("compress failed: {status:?}"),
        }
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            metrics: self.metrics,
            began: self.get_current_time(),
            counted: false,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    metrics: Metrics,
    began: SystemTime,
    counted: bool,
}

impl Stream {
    fn count(&mut self) -> Result<(), Status> {
        increment_metric(self.metrics.requests, 1)?;
        increment_metric(self.metrics.open, 1)?;
        self.counted = true;
        Ok(())
    }

    fn end(&self) -> Result<(), Status> {
        let took = self.get_current_time().duration_since(self.began);
        record_metric(
            self.metrics.millis,
            took.map_or(0, |took| took.as_millis() as u64),
        )?;
        increment_metric(self.metrics.open, -1)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        if let Err(status) = self.count() {
            warn!("the request is not counted: {status:?}");
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.counted
            && let Err(status) = self.end()
        {
            warn!("the request's end is not counted: {status:?}");
        }
    }
}
