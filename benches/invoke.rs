//! What an invocation costs through the whole engine API, beside the raw runtime doing the same.
//!
//! A group is a question, and in it stand `ENGINE/WAY`: `keep` and `fresh` are the engine under these policies, `raw` is
//! the runtime alone (see [`benches::raw`]), `raw_fresh` the same with a new instance for each call. A fresh call of
//! nothing stands in the bench `start`.
//!
//! Goals, as ratios of medians: `empty` kept, wasmtime 3 × raw, wasmer 2 ×, Lua 2 ×, builtin 20 ns more than raw;
//! `order` 2 × raw; `order` fresh on wasmtime 1.5 × raw fresh.

mod measure;

use benches::engine::{ENGINES, Instance};
use benches::question::Question;
use benches::raw::{LuaTemplate, RawBuiltin, WasmerTemplate, WasmtimeTemplate, Watch};
use criterion::{Criterion, criterion_group, criterion_main};
use engine_core::manifest::Policy;
use measure::ask;

fn questions() -> [Question; 7] {
    [
        Question::empty(),
        Question::read(),
        Question::read_write(),
        Question::ten(),
        Question::order(),
        Question::payload("args_1k", 1 << 10),
        Question::payload("args_64k", 64 << 10),
    ]
}

fn invoke(criterion: &mut Criterion) {
    let wasmtime = WasmtimeTemplate::new(Watch::Epoch);
    let wasmer = WasmerTemplate::new(true);
    let lua = LuaTemplate::new(true);
    for question in &questions() {
        let group = &mut criterion.benchmark_group(format!("invoke/{}", question.name));
        for factory in ENGINES {
            let engine = factory.name();
            let kept = Instance::new(factory, Policy::Keep);
            ask(group, engine, "keep", question, kept);
            match engine {
                "builtin" => ask(group, engine, "raw", question, RawBuiltin::default()),
                "wasmtime" => ask(group, engine, "raw", question, wasmtime.instantiate()),
                "wasmer" => ask(group, engine, "raw", question, wasmer.instantiate()),
                _ => ask(group, engine, "raw", question, lua.instantiate()),
            }
            if question.name != "order" {
                continue;
            }
            let fresh = Instance::new(factory, Policy::Fresh);
            ask(group, engine, "fresh", question, fresh);
            match engine {
                "builtin" => {}
                "wasmtime" => ask(group, engine, "raw_fresh", question, &wasmtime),
                "wasmer" => ask(group, engine, "raw_fresh", question, &wasmer),
                _ => ask(group, engine, "raw_fresh", question, &lua),
            }
        }
    }
}

criterion_group!(benches, invoke);
criterion_main!(benches);
