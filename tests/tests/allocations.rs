//! A warm invocation allocates nothing on the host's side: counted at the allocator, on every engine.

#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use benches::application::{extension, limits};
use benches::engine::{ENGINES, Instance, load};
use benches::question::Question;
use benches::world::World;
use engine_core::engine::Invocation;
use engine_core::factory::{EngineKind, ExtEngineFactory};
use engine_core::intent::Intents;
use engine_core::manifest::Policy;
use engine_core::value::{Value, encode};
use engine_wasm_wasmer::WasmerFactory;
use engine_wasm_wasmtime::WasmtimeFactory;

/// The system's allocator, which counts what the thread asks for while it is told to.
struct Counting;

thread_local! {
    static COUNTED: Cell<Option<usize>> = const { Cell::new(None) };
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNTED.set(COUNTED.get().map(|count| count + 1));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNTED.set(COUNTED.get().map(|count| count + 1));
        // SAFETY: the caller's.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often a thread allocates during `work`.
fn allocations(work: impl FnOnce()) -> usize {
    COUNTED.set(Some(0));
    work();
    COUNTED.take().unwrap_or_default()
}

const CALLS: usize = 1_000;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn a_warm_invocation_allocates_nothing() {
    let questions = [
        Question::empty(),
        Question::read(),
        Question::read_write(),
        Question::order(),
        Question::ten(),
        Question::payload("args_1k", 1 << 10),
        Question::payload("args_64k", 64 << 10),
        Question::scan("scan", 100),
        Question::scan("scan_chunks", 10_000),
    ];
    for factory in ENGINES {
        let mut instance = Instance::new(factory, Policy::Keep);
        for question in &questions {
            let calls = if question.name == "scan_chunks" {
                10
            } else {
                CALLS
            };
            for _ in 0..2 * calls {
                question.ask(&mut instance);
            }
            let counted = allocations(|| (0..calls).for_each(|_| question.ask(&mut instance)));
            let what = format!("{} on {}", question.name, factory.name());
            // Luau allocates what a script makes, in the same heap: a few objects for each invocation, and for each row.
            let allowed = match (factory.kind(), question.name) {
                (EngineKind::Lua, "empty") => CALLS / 100,
                (EngineKind::Lua, "scan") => 300 * CALLS,
                (EngineKind::Lua, "scan_chunks") => 300 * 100 * calls,
                (EngineKind::Lua, "ten") => 50 * CALLS,
                (EngineKind::Lua, _) => 5 * CALLS,
                _ => 0,
            };
            assert!(counted <= allowed, "{what}: {counted}");
        }
    }
}

#[test]
fn a_warm_batch_allocates_nothing() {
    let args = encode(&[0, 1, 2, 3].map(Value::Int));
    let one = Invocation {
        extension: extension("Order"),
        args: &args,
        tracer: None,
    };
    let batch = [one; 64];
    let runtimes: [&dyn ExtEngineFactory; 2] = [&WasmtimeFactory, &WasmerFactory];
    for factory in runtimes {
        let package = load(factory, Policy::Keep, limits());
        let mut instance = package.instantiate().expect("an instance");
        let (mut intents, mut ended) = (Intents::new(), 0);
        let mut run = || {
            instance.invoke_batch(&batch, World::get(), &mut intents, &mut |_, outcome, _| {
                ended += usize::from(outcome.result.is_ok());
            });
        };
        (0..50).for_each(|_| run());
        assert_eq!(allocations(run), 0, "on {}", factory.name());
        assert_eq!(ended, 51 * batch.len());
    }
}
