//! What a filter costs that is told of a request's headers: its callback alone, and with a stream around it.
//!
//! A group is what is asked and what the filter does: `callback_empty` and `stream_empty` nothing, `callback_header` and
//! `stream_header` read one header and add another. In it stand `ENGINE/WAY`: `filter` goes through a machine and a chain,
//! `raw` is the same module over bare host functions (see [`benches::filtering`]). Making and dropping the headers is not
//! measured.
//!
//! Goal: `callback_empty` and `callback_header` at most 3 × raw, which makes the same calls of the host.

use benches::filtering::{ASKS, SUBJECTS, Work, headers};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

/// So many at a time that the clock does not count, and that they are still in the processor's cache.
const BATCH: BatchSize = BatchSize::NumIterations(100);

fn filters(criterion: &mut Criterion) {
    for work in Work::ALL {
        for (asked, ask) in ASKS {
            let name = format!("filters/{asked}_{}", work.name());
            let group = &mut criterion.benchmark_group(name);
            for (engine, way, make) in SUBJECTS {
                let mut subject = make(work);
                group.bench_function(BenchmarkId::new(engine, way), |b| {
                    b.iter_batched(headers, |headers| ask(&mut *subject, headers), BATCH);
                });
            }
        }
    }
}

criterion_group!(benches, filters);
criterion_main!(benches);
