//! What an invocation costs: engine against engine, with the instance kept and with a fresh one for each call.

use benches::{Bench, ENGINES, questions};
use criterion::{Criterion, criterion_group, criterion_main};
use engine_core::manifest::Policy;

fn invoke(criterion: &mut Criterion) {
    for question in questions() {
        for (policy, suffix) in [(Policy::Keep, ""), (Policy::Fresh, "_fresh")] {
            let mut group =
                criterion.benchmark_group(format!("invoke/{}{suffix}", question.name()));
            for factory in ENGINES {
                let mut bench = Bench::new(factory, policy);
                group.bench_function(factory.name(), |b| b.iter(|| bench.ask(&question)));
            }
            group.finish();
        }
    }
}

criterion_group!(benches, invoke);
criterion_main!(benches);
