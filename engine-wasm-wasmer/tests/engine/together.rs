//! Both WASM runtimes in one process: each takes its own traps and leaves the other's alone.

use std::cell::RefCell;
use std::env;
use std::process::Command;
use std::thread;

use engine_core::catalog::StorageId;
use engine_core::engine::ExtensionPackage;
use engine_core::error::{ErrorKind, Result};
use engine_core::host::{Host, TakeRow};
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;
use std::sync::Arc;

use crate::support::{self, COUNT, Guest, Run, limits, short, wasmtime};

const FIRST: &str = "EXTENGINE_TEST_FIRST";
const TRAP: ErrorKind = ErrorKind::Trap;

/// Code that fails, and how. The operands are not constants, so that compilers leave the failure to the machine.
const FAULTS: [(&str, ErrorKind); 10] = [
    ("unreachable", TRAP),
    ("(drop (i32.load (i32.const -4)))", TRAP),
    ("(drop (i32.load offset=4294967295 (global.get $n)))", TRAP),
    ("(drop (i32.div_u (i32.const 1) (global.get $n)))", TRAP),
    (
        "(drop (i32.div_s (i32.const 0x80000000) (i32.sub (global.get $n) (i32.const 1))))",
        TRAP,
    ),
    (
        "(drop (i32.trunc_f32_s (f32.div (f32.const 1) (f32.convert_i32_s (global.get $n)))))",
        TRAP,
    ),
    ("(call_indirect $t (type $void) (global.get $n))", TRAP),
    (
        "(call_indirect $t (type $void) (i32.add (global.get $n) (i32.const 9)))",
        TRAP,
    ),
    ("(call $down)", ErrorKind::Limit(Limit::Stack)),
    (
        "(drop (memory.grow (i32.const 60000)))",
        ErrorKind::Limit(Limit::Memory),
    ),
];

type Load = fn(&str, Limits, Policy) -> Result<Arc<dyn ExtensionPackage>>;

fn package(load: Load, code: &str, limits: Limits) -> Arc<dyn ExtensionPackage> {
    let guest = Guest {
        run: &format!("{code} (i32.const 0)"),
        more: r#"(type $void (func)) (table $t 1 funcref)
            (func $down (global.set $n (i32.add (global.get $n) (i32.const 1))) (call $down) (global.set $n (i32.const 0)))"#,
        ..Guest::default()
    };
    load(&guest.wat(), limits, Policy::Keep).unwrap()
}

/// Runs another instance whenever its guest reads.
struct Nest(RefCell<Box<dyn FnMut()>>);

impl Host for Nest {
    fn get(&self, _: StorageId, _: &[u8], _: &mut Vec<u8>) -> Result<bool> {
        self.0.borrow_mut()();
        Ok(false)
    }

    fn scan(&self, _: StorageId, _: &[u8], _: Option<&[u8]>, _: &mut TakeRow<'_>) -> Result<()> {
        Ok(())
    }

    fn log(&self, _: &str, _: &str) {}
}

/// A run that reads, which runs what is inside, and then fails.
fn around(packages: &[Arc<dyn ExtensionPackage>], kind: ErrorKind) -> Box<dyn FnMut()> {
    let Some((outer, inner)) = packages.split_first() else {
        return Box::new(|| {});
    };
    let mut run = Run::new(outer);
    let nest = Nest(RefCell::new(around(inner, kind)));
    Box::new(move || {
        let outcome = run.invoke(&nest, None);
        assert_eq!(outcome.result.unwrap_err().kind(), kind);
    })
}

#[test]
fn both_runtimes_take_their_own_traps_whichever_starts_first() {
    for first in ["wasmtime", "wasmer"] {
        let ended = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "together::in_a_process_of_its_own"])
            .env(FIRST, first)
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success(), "{first} first: {output}");
        assert!(output.contains("1 passed"), "{first} first: {output}");
    }
}

#[test]
#[ignore = "its parent runs it, in processes of their own"]
fn in_a_process_of_its_own() {
    let mut loads: [Load; 2] = [support::load, wasmtime::load];
    if env::var(FIRST).is_ok_and(|first| first == "wasmtime") {
        loads.reverse();
    }
    // The first runtime traps before the second one starts.
    for load in loads {
        let mut run = Run::new(&package(load, FAULTS[1].0, limits()));
        assert_eq!(run.error(), TRAP);
    }
    let [first, second] = loads;
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let order = if number % 2 == 0 {
                    [first, second]
                } else {
                    [second, first]
                };
                on_one_thread(order);
            });
        }
    });
}

fn on_one_thread([outer, inner]: [Load; 2]) {
    let counting = Guest {
        run: COUNT,
        ..Guest::default()
    };
    let mut sound = [outer, inner].map(|load| {
        let package = load(&counting.wat(), limits(), Policy::Keep);
        Run::new(&package.unwrap())
    });
    let mut rounds = 0;
    for (code, kind) in FAULTS {
        let reading = format!("(drop (call $get (i32.const 16) (i32.const 8))) {code}");
        let packages = [outer, inner, outer].map(|load| package(load, &reading, limits()));
        let mut runs = around(&packages, kind);
        for _ in 0..10 {
            runs();
            rounds += 1;
            for run in &mut sound {
                assert_eq!(run.number().unwrap(), rounds);
            }
        }
    }
    for load in [outer, inner] {
        let mut run = Run::new(&package(load, "(loop (br 0))", short()));
        assert_eq!(run.error(), ErrorKind::Limit(Limit::Deadline));
    }
}
