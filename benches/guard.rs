//! The hot paths, for counting their instructions: `scripts/guard.py` runs this under callgrind.
//!
//! Each path is warmed up and then measured within [`measured`], by whose name callgrind knows when to count. One line
//! for each goes to standard output, `path calls`, in the order of the measurements.

use benches::Subject;
use benches::engine::{ENGINES, Instance};
use benches::question::Question;
use benches::raw::{LuaTemplate, RawBuiltin, WasmerTemplate, WasmtimeTemplate, Watch};
use engine_core::manifest::Policy;

/// Until memory has grown to what a path needs.
const WARM_UP: usize = 200;

const CALLS: usize = 1_000;

/// What callgrind counts.
#[inline(never)]
fn measured(ask: &mut dyn FnMut()) {
    for _ in 0..CALLS {
        ask();
    }
}

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    for question in [Question::empty(), Question::order()] {
        let count = |engine: &str, way: &str, make: &dyn Fn() -> Box<dyn Subject>| {
            let path = format!("{engine}/{}/{way}", question.name);
            if !path.contains(&only) {
                return;
            }
            let mut subject = make();
            let mut ask = || question.ask(&mut *subject);
            for _ in 0..WARM_UP {
                ask();
            }
            measured(&mut ask);
            println!("{path} {CALLS}");
        };
        for factory in ENGINES {
            let keep = || Box::new(Instance::new(factory, Policy::Keep)) as Box<dyn Subject>;
            count(factory.name(), "keep", &keep);
        }
        count("builtin", "raw", &|| Box::new(RawBuiltin::default()));
        count("wasmtime", "raw", &|| {
            Box::new(WasmtimeTemplate::new(Watch::Epoch).instantiate())
        });
        count("wasmer", "raw", &|| {
            Box::new(WasmerTemplate::new(true).instantiate())
        });
        count("lua", "raw", &|| {
            Box::new(LuaTemplate::new(true).instantiate())
        });
    }
}
