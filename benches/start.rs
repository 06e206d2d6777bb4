//! What it costs to begin: compiling a package or finding it compiled, making an instance, and a call that has an
//! instance to itself.
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
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use engine_core::cache::CodeCache;
use engine_core::factory::EngineKind;
use engine_core::manifest::Policy;
use measure::ask;
use tempfile::TempDir;

/// What is compiled is dropped outside of the measurement.
fn compile(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/compile");
    for factory in ENGINES {
        let name = factory.name();
        let engine = create(factory);
        let source = source(factory, Policy::Keep, limits());
        group.bench_function(BenchmarkId::new(name, "engine"), |b| {
            b.iter_with_large_drop(|| engine.load(&source));
        });
        if name == "builtin" {
            continue;
        }
        let wasmtime = WasmtimeTemplate::engine(Watch::Epoch);
        group.bench_function(BenchmarkId::new(name, "raw"), |b| match name {
            "wasmtime" => {
                b.iter_with_large_drop(|| WasmtimeTemplate::compile(&wasmtime, Watch::Epoch));
            }
            "wasmer" => b.iter_with_large_drop(|| WasmerTemplate::new(true)),
            _ => b.iter_with_large_drop(|| LuaTemplate::new(true)),
        });
    }
}

/// A package whose compiled code another load has kept, with the check of what is kept; raw, code that lies in memory and
/// that nobody checks.
fn cached(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/cached");
    let folder = TempDir::new().expect("a folder");
    let cache = CodeCache::open(folder.path().join("code")).expect("a cache");
    for factory in ENGINES {
        if factory.kind() != EngineKind::Wasm {
            continue;
        }
        let engine = create(factory);
        let source = source(factory, Policy::Keep, limits());
        let load = || {
            engine
                .load_cached(&source, Some(&cache))
                .expect("the guest loads")
        };
        drop(load());
        let name = factory.name();
        group.bench_function(BenchmarkId::new(name, "engine"), |b| {
            b.iter_with_large_drop(load);
        });
        let raw = BenchmarkId::new(name, "raw");
        if name == "wasmtime" {
            let engine = WasmtimeTemplate::engine(Watch::Epoch);
            let code = WasmtimeTemplate::compiled(&engine);
            group.bench_function(raw, |b| {
                b.iter_with_large_drop(|| WasmtimeTemplate::revive(&engine, &code, Watch::Epoch));
            });
        } else {
            let code = WasmerTemplate::new(true).compiled();
            group.bench_function(raw, |b| {
                b.iter_with_large_drop(|| WasmerTemplate::revive(&code));
            });
        }
    }
}

/// Instances are dropped within the measurement: a pool has room for so many at a time.
fn instantiate(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/instantiate");
    for factory in ENGINES {
        let name = factory.name();
        let package = load(factory, Policy::Keep, limits());
        group.bench_function(BenchmarkId::new(name, "engine"), |b| {
            b.iter(|| drop(package.instantiate().expect("an instance")));
        });
        let raw = BenchmarkId::new(name, "raw");
        match name {
            "builtin" => continue,
            "wasmtime" => {
                let wasmtime = WasmtimeTemplate::new(Watch::Epoch);
                group.bench_function(raw, |b| b.iter(|| drop(wasmtime.instantiate())))
            }
            "wasmer" => {
                let wasmer = WasmerTemplate::new(true);
                group.bench_function(raw, |b| b.iter(|| drop(wasmer.instantiate())))
            }
            _ => {
                let lua = LuaTemplate::new(true);
                group.bench_function(raw, |b| b.iter(|| drop(lua.instantiate())))
            }
        };
    }
}

fn fresh_call(criterion: &mut Criterion) {
    let group = &mut criterion.benchmark_group("start/fresh_call");
    let question = &Question::empty();
    for factory in ENGINES {
        let name = factory.name();
        let fresh = Instance::new(factory, Policy::Fresh);
        ask(group, name, "engine", question, fresh);
        match name {
            "builtin" => {}
            "wasmtime" => {
                let raw = WasmtimeTemplate::new(Watch::Epoch);
                ask(group, name, "raw", question, &raw);
            }
            "wasmer" => ask(group, name, "raw", question, &WasmerTemplate::new(true)),
            _ => ask(group, name, "raw", question, &LuaTemplate::new(true)),
        }
    }
}

criterion_group!(benches, compile, cached, instantiate, fresh_call);
criterion_main!(benches);
