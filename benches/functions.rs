//! What a call of a plugin's function costs, beside a typed call on bare wasmtime.
//!
//! Goals: `add/wasmtime/local` at most 3 × `add/wasmtime/raw`; `add/wasmtime/pool`, from any thread, at most 5 µs more than
//! `local`; a row of `rows_1024/wasmtime/arrow` at most 20 ns more than one of `rows_1024/wasmtime/raw`.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use benches::adding::{LocalAdd, RawAdd, manager};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use functions::Value;

const ROWS: i32 = 1024;

fn add(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("functions/add");
    let mut raw = RawAdd::default();
    group.bench_function(BenchmarkId::new("wasmtime", "raw"), |b| {
        b.iter(|| raw.add(1, 2))
    });
    for engine in ["wasmtime", "wasmer"] {
        let mut local = LocalAdd::new(engine);
        group.bench_function(BenchmarkId::new(engine, "local"), |b| {
            b.iter(|| local.add(1, 2))
        });
        let manager = manager(engine);
        let args = [Value::I32(1), Value::I32(2)];
        group.bench_function(BenchmarkId::new(engine, "pool"), |b| {
            b.iter(|| manager.execute("add", &args).expect("it adds"));
        });
        let mut executor = manager.local();
        group.bench_function(BenchmarkId::new(engine, "local_by_name"), |b| {
            b.iter(|| executor.execute("add", &args).expect("it adds"));
        });
    }
}

fn rows(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("functions/rows_1024");
    let numbers: Vec<i32> = (0..ROWS).collect();
    let mut raw = RawAdd::default();
    group.bench_function(BenchmarkId::new("wasmtime", "raw"), |b| {
        b.iter(|| numbers.iter().map(|n| raw.add(*n, 1)).collect::<Vec<_>>());
    });
    let a: ArrayRef = Arc::new(Int32Array::from(numbers));
    let b: ArrayRef = Arc::new(Int32Array::from(vec![1; ROWS as usize]));
    let batch = RecordBatch::try_from_iter([("a", a), ("b", b)]).expect("columns of one length");
    for engine in ["wasmtime", "wasmer"] {
        let mut executor = manager(engine).local();
        group.bench_function(BenchmarkId::new(engine, "arrow"), |b| {
            b.iter(|| executor.execute_arrow("add", &batch).expect("it adds"));
        });
    }
}

criterion_group!(benches, add, rows);
criterion_main!(benches);
