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
    let (wasmtime, wasmer) = (
        WasmtimeTemplate::new(Watch::Epoch),
        WasmerTemplate::new(true),
    );
    let lua = LuaTemplate::new(true);
    for question in &questions() {
        let fresh = question.name == "order";
        let group = &mut criterion.benchmark_group(format!("invoke/{}", question.name));
        for factory in ENGINES {
            let name = factory.name();
            ask(
                group,
                name,
                "keep",
                question,
                Instance::new(factory, Policy::Keep),
            );
            if fresh {
                ask(
                    group,
                    name,
                    "fresh",
                    question,
                    Instance::new(factory, Policy::Fresh),
                );
            }
        }
        ask(group, "builtin", "raw", question, RawBuiltin::default());
        ask(group, "wasmtime", "raw", question, wasmtime.instantiate());
        ask(group, "wasmer", "raw", question, wasmer.instantiate());
        ask(group, "lua", "raw", question, lua.instantiate());
        if fresh {
            ask(group, "wasmtime", "raw_fresh", question, &wasmtime);
            ask(group, "wasmer", "raw_fresh", question, &wasmer);
            ask(group, "lua", "raw_fresh", question, &lua);
        }
    }
}

criterion_group!(benches, invoke);
criterion_main!(benches);
