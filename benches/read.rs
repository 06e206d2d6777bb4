//! What a range of rows of 100 bytes costs, beside copying them row by row from where they lie into the guest.
//!
//! `ENGINE/keep` is a query that reads the range and adds up the rows' bytes; `ENGINE/raw` is the copy alone, without any
//! guest code: into a buffer in the guest's memory, or into strings of the virtual machine.
//!
//! Goal: 10,000 rows on wasmtime and wasmer at most 3 × the copy.

mod measure;

use benches::engine::{ENGINES, Instance};
use benches::question::Question;
use benches::raw::{LuaTemplate, RawBuiltin, WasmerTemplate, WasmtimeTemplate, Watch};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_core::key;
use engine_core::manifest::Policy;
use engine_core::value::Value;
use measure::ask;

fn read(criterion: &mut Criterion) {
    let mut builtin = RawBuiltin::default();
    let mut wasmtime = WasmtimeTemplate::new(Watch::Epoch).instantiate();
    let mut wasmer = WasmerTemplate::new(true).instantiate();
    let mut lua = LuaTemplate::new(true).instantiate();
    for (name, rows) in [("rows_1", 1), ("rows_100", 100), ("rows_10000", 10_000)] {
        let group = &mut criterion.benchmark_group(format!("read/{name}"));
        group.throughput(Throughput::Elements(rows as u64));
        let prefix = &key::encode(&[Value::Int(rows)]).expect("a prefix of the blobs");
        for factory in ENGINES {
            let engine = factory.name();
            let instance = Instance::new(factory, Policy::Keep);
            ask(group, engine, "keep", &Question::scan(name, rows), instance);
            group.bench_function(BenchmarkId::new(engine, "raw"), |b| match engine {
                "builtin" => b.iter(|| builtin.copy(prefix)),
                "wasmtime" => b.iter(|| wasmtime.copy(prefix)),
                "wasmer" => b.iter(|| wasmer.copy(prefix)),
                _ => b.iter(|| lua.copy(prefix)),
            });
        }
    }
}

criterion_group!(benches, read);
criterion_main!(benches);
