//! Resident memory: of an idle instance, of a package, and of many packages with an instance each.
//!
//!     cargo bench --bench memory [-- --packages N]
//!
//! Prints a JSON object a line: `question`, `engine`, `way` (`engine` or `raw`), `count`, and `bytes`.
//! - `instance`: bytes of one more instance of a package, after one order.
//! - `package`: bytes of one more package, without an instance.
//! - `loaded_COUNT`: bytes of one of `count` packages with one instance each: 100 on each engine, and on wasmtime 1,000 as
//!   well, or as many as `--packages` says.
//!
//! Each line is measured in a process of its own, as the kernel counts resident pages (`VmRSS`), so it includes what an
//! allocator keeps for later. Pages that instances share are counted once. A raw package is the bare guest, compiled; those
//! of wasmtime share an engine, as ours do.
//!
//! Goals, on wasmtime: an instance at most 100 KB beyond what the guest touched, which is about what `raw` takes; 1,000
//! packages with one instance each under 1 GB.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use benches::Subject;
use benches::application::{limits, source};
use benches::engine::{ENGINES, Instance, create};
use benches::question::Question;
use benches::raw::{LuaTemplate, WasmerTemplate, WasmtimeTemplate, Watch};
use benches::world::World;
use engine_core::engine::{Code, PackageSource};
use engine_core::factory::{EngineKind, ExtEngineFactory, factory};
use engine_core::manifest::Policy;

/// How many instances or packages an average is taken over.
const MANY: usize = 100;

/// The packages of the goal.
const PACKAGES: &str = "1000";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, question, engine, way, count] = args.as_slice()
        && flag == "--one"
    {
        let count = count.parse().expect("a number");
        return one(question, engine, way, count);
    }
    let packages = args.iter().skip_while(|arg| *arg != "--packages").nth(1);
    let packages = packages.map_or(PACKAGES, String::as_str);
    for factory in ENGINES {
        for way in ["engine", "raw"] {
            let raw = way == "raw";
            if raw && factory.kind() == EngineKind::Builtin {
                continue;
            }
            for question in ["instance", "package", "loaded"] {
                run(question, factory.name(), way, &MANY.to_string());
            }
        }
    }
    run("loaded", "wasmtime", "engine", packages);
}

/// Measures in another process.
fn run(question: &str, engine: &str, way: &str, count: &str) {
    let program = std::env::current_exe().expect("this program has a path");
    let ended = Command::new(program)
        .args(["--one", question, engine, way, count])
        .status();
    assert!(ended.expect("the process starts").success());
}

fn one(question: &str, engine: &str, way: &str, count: usize) {
    let factory = factory(engine).expect("an engine of the benches");
    // The shop itself does not count.
    World::get();
    let bytes = match (question, way) {
        ("instance", "raw") => raw_instance(engine, count),
        ("instance", _) => instance(factory, count),
        ("package", "raw") => raw_package(engine, count),
        ("package", _) => package(factory, count),
        (_, "raw") => raw_loaded(engine, count),
        _ => loaded(factory, count),
    };
    let question = match question {
        "loaded" => format!("loaded_{count}"),
        question => question.to_owned(),
    };
    println!(
        r#"{{"question": "memory/{question}", "engine": "{engine}", "way": "{way}", "count": {count}, "bytes": {bytes}}}"#
    );
}

/// Bytes of one more of what `make` makes.
fn each<T>(count: usize, mut make: impl FnMut(usize) -> T) -> u64 {
    // The first ones pay for what is made once.
    let warm: Vec<T> = (0..3).map(&mut make).collect();
    let mut made = Vec::with_capacity(count);
    let before = resident();
    made.extend((3..3 + count).map(make));
    let after = resident();
    black_box((warm, made));
    after.saturating_sub(before) / count as u64
}

fn asked<S: Subject>(mut subject: S) -> S {
    Question::order().ask(&mut subject);
    subject
}

fn instance(factory: &dyn ExtEngineFactory, count: usize) -> u64 {
    let package = create(factory).load(&source(factory, Policy::Keep, limits()));
    let package = package.expect("the guest loads");
    each(count, |_| asked(Instance::of(&package)))
}

fn raw_instance(engine: &str, count: usize) -> u64 {
    match engine {
        "wasmtime" => {
            let template = WasmtimeTemplate::new(Watch::Epoch);
            each(count, |_| asked(template.instantiate()))
        }
        "wasmer" => {
            let template = WasmerTemplate::new(true);
            each(count, |_| asked(template.instantiate()))
        }
        _ => {
            let template = LuaTemplate::new(true);
            each(count, |_| asked(template.instantiate()))
        }
    }
}

fn package(factory: &dyn ExtEngineFactory, count: usize) -> u64 {
    let engine = create(factory);
    each(count, |n| {
        engine.load(&variant(factory, n)).expect("the guest loads")
    })
}

fn raw_package(engine: &str, count: usize) -> u64 {
    match engine {
        "wasmtime" => {
            let engine = WasmtimeTemplate::engine(Watch::Epoch);
            each(count, |_| WasmtimeTemplate::compile(&engine, Watch::Epoch))
        }
        "wasmer" => each(count, |_| WasmerTemplate::new(true)),
        _ => each(count, |_| LuaTemplate::new(true)),
    }
}

/// Bytes of one of so many, with its share of what is made once.
fn of_all<T>(count: usize, make: impl FnMut(usize) -> T) -> u64 {
    let before = resident();
    let made: Vec<T> = (0..count).map(make).collect();
    let after = resident();
    black_box(made);
    after.saturating_sub(before) / count as u64
}

fn loaded(factory: &dyn ExtEngineFactory, count: usize) -> u64 {
    let engine = create(factory);
    of_all(count, |n| {
        let package = engine.load(&variant(factory, n)).expect("the guest loads");
        asked(Instance::of(&package))
    })
}

fn raw_loaded(engine: &str, count: usize) -> u64 {
    match engine {
        "wasmtime" => {
            let engine = WasmtimeTemplate::engine(Watch::Epoch);
            of_all(count, |_| {
                let template = WasmtimeTemplate::compile(&engine, Watch::Epoch);
                let instance = asked(template.instantiate());
                (template, instance)
            })
        }
        "wasmer" => of_all(count, |_| {
            let template = WasmerTemplate::new(true);
            let instance = asked(template.instantiate());
            (template, instance)
        }),
        _ => of_all(count, |_| {
            let template = LuaTemplate::new(true);
            let instance = asked(template.instantiate());
            (template, instance)
        }),
    }
}

/// The guest with other bytes for each number, so that nothing takes it for the same package.
fn variant(factory: &dyn ExtEngineFactory, n: usize) -> PackageSource {
    let mut source = source(factory, Policy::Keep, limits());
    if let Code::Bytes(code) = &source.code {
        let mut code = code.to_vec();
        match factory.kind() {
            // A custom section of the name `n`, with four bytes.
            EngineKind::Wasm => {
                code.extend_from_slice(&[0, 6, 1, b'n']);
                code.extend_from_slice(&(n as u32).to_le_bytes());
            }
            _ => code.extend_from_slice(format!("\n-- {n}\n").as_bytes()),
        }
        source.code = Code::Bytes(Arc::from(code));
    }
    source
}

/// Bytes that the kernel keeps in memory for this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.expect("a size").parse().expect("a number");
    kilobytes * 1024
}
