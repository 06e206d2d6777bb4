//! What it costs to begin: compiling a package, making an instance, and a call that has an instance to itself.
//!
//! `ENGINE/engine` is the whole engine API, with all checks of the package; `ENGINE/raw` is the runtime alone, compiling
//! the bare guest (for wasmer and Luau the same rewrite and the same compiler settings). The builtin engine has nothing
//! to compile and nothing raw.
//!
//! Goal: on wasmtime the fresh call at most 1.5 × raw.

mod measure;

use benches::application::{limits, source};
use benches::engine::{ENGINES, Instance, create, load};
use benches::question::Question;
use benches::raw::{LuaTemplate, WasmerTemplate, WasmtimeTemplate, Watch};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use engine_core::manifest::Policy;
use measure::ask;

/// Measures how long something takes to make; what was made is dropped outside of the measurement.
fn make<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    engine: &str,
    way: &str,
    make: impl FnMut() -> T,
) {
    let mut make = make;
    group.bench_function(BenchmarkId::new(engine, way), |b| {
        b.iter_with_large_drop(&mut make);
    });
}

fn compile(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/compile");
    for factory in ENGINES {
        let engine = create(factory);
        let source = source(factory, Policy::Keep, limits());
        make(group, factory.name(), "engine", || engine.load(&source));
    }
    let wasmtime = WasmtimeTemplate::engine(Watch::Epoch);
    make(group, "wasmtime", "raw", || {
        WasmtimeTemplate::compile(&wasmtime, Watch::Epoch)
    });
    make(group, "wasmer", "raw", || WasmerTemplate::new(true));
    make(group, "lua", "raw", || LuaTemplate::new(true));
}

/// Instances are dropped within the measurement: a pool has room for so many at a time.
fn instantiate(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/instantiate");
    let mut measure = |engine, way, make: &mut dyn FnMut()| {
        group.bench_function(BenchmarkId::new(engine, way), |b| b.iter(&mut *make));
    };
    for factory in ENGINES {
        let package = load(factory, Policy::Keep, limits());
        measure(factory.name(), "engine", &mut || {
            drop(package.instantiate())
        });
    }
    let wasmtime = WasmtimeTemplate::new(Watch::Epoch);
    measure("wasmtime", "raw", &mut || drop(wasmtime.instantiate()));
    let wasmer = WasmerTemplate::new(true);
    measure("wasmer", "raw", &mut || drop(wasmer.instantiate()));
    let lua = LuaTemplate::new(true);
    measure("lua", "raw", &mut || drop(lua.instantiate()));
}

fn fresh_call(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/fresh_call");
    let question = &Question::empty();
    for factory in ENGINES {
        let instance = Instance::new(factory, Policy::Fresh);
        ask(group, factory.name(), "engine", question, instance);
    }
    ask(
        group,
        "wasmtime",
        "raw",
        question,
        &WasmtimeTemplate::new(Watch::Epoch),
    );
    ask(group, "wasmer", "raw", question, &WasmerTemplate::new(true));
    ask(group, "lua", "raw", question, &LuaTemplate::new(true));
}

criterion_group!(benches, compile, instantiate, fresh_call);
criterion_main!(benches);
