//! Metrics of the process: counters, gauges and histograms by name, and their text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// How often which value was recorded.
    Histogram,
}

/// The upper ends of a histogram's buckets; the last one has none.
const BUCKETS: [u64; 16] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000, 600_000, 3_600_000,
];

/// One metric; safe to use from many threads.
#[derive(Debug)]
pub struct Metric {
    kind: MetricKind,
    value: AtomicU64,
    /// Of a histogram: how many values each bucket has, then their sum.
    buckets: Option<Box<[AtomicU64; BUCKETS.len() + 2]>>,
}

impl Metric {
    fn new(kind: MetricKind) -> Self {
        let histogram = kind == MetricKind::Histogram;
        Self {
            kind,
            value: AtomicU64::new(0),
            buckets: histogram.then(|| Box::new([const { AtomicU64::new(0) }; BUCKETS.len() + 2])),
        }
    }

    /// What it counts.
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Changes a counter or gauge by so much. A counter does not shrink: `false`, and nothing happens, like with a histogram.
    pub fn add(&self, by: i64) -> bool {
        let fits = match self.kind {
            MetricKind::Counter => by >= 0,
            MetricKind::Gauge => true,
            MetricKind::Histogram => false,
        };
        if fits {
            self.value.fetch_add(by as u64, Ordering::Relaxed);
        }
        fits
    }

    /// Adds to a counter, sets a gauge, or records a histogram's value, as Envoy's WASM plugins have it.
    pub fn record(&self, value: u64) {
        let Some(buckets) = &self.buckets else {
            if self.kind == MetricKind::Counter {
                self.value.fetch_add(value, Ordering::Relaxed);
            } else {
                self.value.store(value, Ordering::Relaxed);
            }
            return;
        };
        let bucket = BUCKETS.partition_point(|&end| end < value);
        buckets[bucket].fetch_add(1, Ordering::Relaxed);
        buckets[BUCKETS.len() + 1].fetch_add(value, Ordering::Relaxed);
        self.value.fetch_add(1, Ordering::Relaxed);
    }

    /// The value of a counter or gauge; how many values a histogram has.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// All metrics of a process, by name.
#[derive(Debug, Default)]
pub struct Metrics {
    by_name: DashMap<String, Arc<Metric>>,
    /// How many each owner made.
    owners: DashMap<String, usize>,
}

impl Metrics {
    /// The most metrics of one owner: a guest that makes up names fills neither the memory nor the place of others.
    pub const MOST: usize = 10_000;

    /// The most bytes of a name.
    pub const LONGEST: usize = 1_024;

    /// The metric of a name of the host's own, as [`Metrics::define_for`].
    pub fn define(&self, kind: MetricKind, name: &str) -> Option<Arc<Metric>> {
        self.define_for("", kind, name)
    }

    /// The metric of a name, made at the first time, for a guest of this name.
    ///
    /// Nothing where the name is another kind's or too long, or the guest has made too many.
    pub fn define_for(&self, owner: &str, kind: MetricKind, name: &str) -> Option<Arc<Metric>> {
        if let Some(known) = self.by_name.get(name) {
            return (known.kind == kind).then(|| Arc::clone(&known));
        }
        if name.len() > Self::LONGEST {
            return None;
        }
        let mut made = self.owners.entry(owner.to_owned()).or_default();
        if *made >= Self::MOST {
            return None;
        }
        let metric = self.by_name.entry(name.to_owned());
        let metric = Arc::clone(&metric.or_insert_with(|| {
            *made += 1;
            Arc::new(Metric::new(kind))
        }));
        (metric.kind == kind).then_some(metric)
    }

    /// Adds one to the counter of a name.
    pub fn count(&self, name: &str) {
        if let Some(metric) = self.define(MetricKind::Counter, name) {
            metric.add(1);
        }
    }

    /// The metric of a name, where there is one.
    pub fn get(&self, name: &str) -> Option<Arc<Metric>> {
        self.by_name.get(name).map(|metric| Arc::clone(&metric))
    }

    /// All metrics in Prometheus's text format, in the order of their names.
    ///
    /// Whatever Prometheus does not take in a name becomes `_`, so two names may fall together; the first one stays then.
    pub fn prometheus(&self) -> String {
        let mut all = BTreeMap::new();
        for entry in &self.by_name {
            let name: String = entry.key().chars().map(plain).collect();
            let name = match name.as_bytes().first() {
                Some(b'0'..=b'9') => format!("_{name}"),
                _ => name,
            };
            all.entry(name).or_insert_with(|| Arc::clone(entry.value()));
        }
        let mut text = String::new();
        for (name, metric) in all {
            // Writing to a string does not fail.
            let _ = metric.write(&name, &mut text);
        }
        text
    }
}

impl Metric {
    fn write(&self, name: &str, text: &mut String) -> std::fmt::Result {
        let Some(buckets) = &self.buckets else {
            return match self.kind {
                MetricKind::Counter => {
                    writeln!(text, "# TYPE {name} counter\n{name} {}", self.get())
                }
                _ => writeln!(
                    text,
                    "# TYPE {name} gauge\n{name} {}",
                    self.get().cast_signed()
                ),
            };
        };
        writeln!(text, "# TYPE {name} histogram")?;
        let mut count = 0;
        for (bucket, end) in buckets.iter().zip(BUCKETS) {
            count += bucket.load(Ordering::Relaxed);
            writeln!(text, "{name}_bucket{{le=\"{end}\"}} {count}")?;
        }
        count += buckets[BUCKETS.len()].load(Ordering::Relaxed);
        let sum = buckets[BUCKETS.len() + 1].load(Ordering::Relaxed);
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?;
        writeln!(text, "{name}_sum {sum}\n{name}_count {count}")
    }
}

fn plain(letter: char) -> char {
    match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | ':' => letter,
        _ => '_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_as_prometheus_reads_it() {
        let metrics = Metrics::default();
        metrics.count("9 calls");
        let gauge = metrics.define(MetricKind::Gauge, "g").expect("new");
        gauge.add(-3);
        let times = metrics.define(MetricKind::Histogram, "t.ms").expect("new");
        times.record(2);
        times.record(u64::MAX / 2);
        let text = metrics.prometheus();
        assert!(
            text.contains("# TYPE _9_calls counter\n_9_calls 1\n"),
            "{text}"
        );
        assert!(text.contains("# TYPE g gauge\ng -3\n"), "{text}");
        assert!(
            text.contains("t_ms_bucket{le=\"1\"} 0\nt_ms_bucket{le=\"2\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("t_ms_bucket{le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.ends_with("t_ms_count 2\n"), "{text}");
    }

    #[test]
    fn a_name_is_one_kinds_alone_and_a_counter_only_grows() {
        let metrics = Metrics::default();
        let counter = metrics.define(MetricKind::Counter, "c").expect("new");
        assert!(metrics.define(MetricKind::Gauge, "c").is_none());
        assert!(counter.add(2) && !counter.add(-1));
        assert_eq!(metrics.get("c").map(|metric| metric.get()), Some(2));
    }

    #[test]
    fn what_is_recorded_adds_to_a_counter_and_sets_a_gauge() {
        let metrics = Metrics::default();
        for (kind, expected) in [(MetricKind::Counter, 8), (MetricKind::Gauge, 3)] {
            let metric = metrics.define(kind, &format!("{kind:?}")).expect("new");
            metric.record(5);
            metric.record(3);
            assert_eq!(metric.get(), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_guest_that_makes_up_names_leaves_room_for_others() {
        let metrics = Metrics::default();
        let make = |owner: &str, name: &str| {
            let made = metrics.define_for(owner, MetricKind::Counter, name);
            made.is_some()
        };
        assert!((0..Metrics::MOST).all(|number| make("guest", &number.to_string())));
        assert!(!make("guest", "one more"));
        assert!(make("guest", "7"), "it is there already");
        assert!(make("other", "one more") && make("guest", "one more"));
        assert!(!make("other", &"x".repeat(Metrics::LONGEST + 1)));
        metrics.count("of the host");
        assert_eq!(
            metrics.get("of the host").map(|metric| metric.get()),
            Some(1)
        );
    }
}
