//! One measurement: a subject asked a question, under `ENGINE/WAY` in the question's group.

use benches::Subject;
use benches::question::Question;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId};

/// Measures how long a subject takes to answer.
pub(crate) fn ask(
    group: &mut BenchmarkGroup<'_, WallTime>,
    engine: &str,
    way: &str,
    question: &Question,
    mut subject: impl Subject,
) {
    group.bench_function(BenchmarkId::new(engine, way), |b| {
        b.iter(|| question.ask(&mut subject));
    });
}
