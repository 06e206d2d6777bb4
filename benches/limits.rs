//! What limits cost on a loop of 1,000 steps, beside what the runtimes' own checks cost on the same loop.
//!
//! - `ENGINE/keep`: the engine with deadline and memory limit; `ENGINE/fuel`: with fuel as well, where the engine keeps it.
//! - `ENGINE/raw`: the runtime's own check (wasmtime's epoch, the metered slices on wasmer, Luau's interrupt with a flag);
//!   `raw_unlimited`: none; `raw_fuel`: wasmtime's own fuel as well. The others count anyway: wasmer's slices are fuel, and
//!   Luau knows no finer measure than its interrupts, so that their `fuel` stands beside `raw`.
//!
//! The group `loop_0` is the same call without a step: what is left of `loop_1000` without it is the loop.
//!
//! Goal, loop against loop: wasmtime no more than raw, Lua at most 1.1 × raw.

mod measure;

use benches::application::limits;
use benches::engine::{ENGINES, Instance, load};
use benches::question::Question;
use benches::raw::{LuaTemplate, RawBuiltin, WasmerTemplate, WasmtimeTemplate, Watch};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use engine_core::limits::{Keeping, Limit, Limits};
use engine_core::manifest::Policy;
use measure::ask;

/// More than any loop here needs.
const FUEL: u64 = 1_000_000_000;

fn cost(criterion: &mut Criterion) {
    for (name, steps) in [("loop_0", 0), ("loop_1000", 1_000)] {
        let group = &mut criterion.benchmark_group(format!("limits/{name}"));
        let question = &Question::spin(name, steps);
        for factory in ENGINES {
            let engine = factory.name();
            ask(
                group,
                engine,
                "keep",
                question,
                Instance::new(factory, Policy::Keep),
            );
            if factory.capabilities().of(Limit::Fuel) == Keeping::Kept {
                let limits = Limits {
                    fuel: Some(FUEL),
                    ..limits()
                };
                let package = load(factory, Policy::Keep, limits);
                ask(group, engine, "fuel", question, Instance::of(&package));
            }
            raw(group, engine, question);
        }
    }
}

fn raw(group: &mut BenchmarkGroup<'_, WallTime>, engine: &str, question: &Question) {
    if engine == "builtin" {
        return ask(group, engine, "raw", question, RawBuiltin::default());
    }
    for (way, watch) in [
        ("raw", Watch::Epoch),
        ("raw_unlimited", Watch::None),
        ("raw_fuel", Watch::Fuel),
    ] {
        let watched = watch != Watch::None;
        match engine {
            "wasmtime" => {
                let raw = WasmtimeTemplate::new(watch).instantiate();
                ask(group, engine, way, question, raw);
            }
            _ if watch == Watch::Fuel => {}
            "wasmer" => {
                let raw = WasmerTemplate::new(watched).instantiate();
                ask(group, engine, way, question, raw);
            }
            _ => {
                let raw = LuaTemplate::new(watched).instantiate();
                ask(group, engine, way, question, raw);
            }
        }
    }
}

criterion_group!(benches, cost);
criterion_main!(benches);
