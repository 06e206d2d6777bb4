//! One stack size in a process: a package with another limit does not load, unless it waives it.

use engine_core::error::ErrorKind;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;

use crate::support::{Guest, engine, limits, run, source, waiving};

#[test]
fn a_stack_of_another_size_is_refused_unless_it_is_waived() {
    // Settles the size.
    engine(&limits());
    let other = || Limits {
        stack: 64 << 10,
        ..limits()
    };
    let engine = engine(&other());
    let source = || source(&Guest::default().wat(), other(), Policy::Keep);
    let refused = engine.load(&source()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotKept);
    assert!(refused.message().contains("524288 bytes"), "{refused}");
    let package = engine.load(&waiving(source(), &[Limit::Stack])).unwrap();
    assert!(package.instantiate().is_ok());
}

#[test]
fn a_stack_of_a_size_that_no_stack_has_is_refused_with_the_range() {
    for (bytes, in_range) in [
        ((8 << 10) - 1, false),
        (8 << 10, true),
        (100 << 20, true),
        ((100 << 20) + 1, false),
    ] {
        let other = Limits {
            stack: bytes,
            ..limits()
        };
        // Settles the size.
        engine(&limits());
        let package = source(&Guest::default().wat(), other.clone(), Policy::Keep);
        let refused = engine(&other).load(&package).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotKept);
        let ranged = refused
            .message()
            .contains("stacks of 8192 to 104857600 bytes");
        assert_eq!(ranged, !in_range, "{refused}");
    }
}

#[test]
fn frames_larger_than_a_guard_page_end_at_the_stack_limit() {
    // What was loaded before the call and is added up after it has its place in the frame: 8 KB.
    let locals = 1..=1_000;
    let loads = locals.clone().map(|local| {
        let address = local * 8;
        format!("(local.set {local} (i64.load (i32.const {address})))")
    });
    let adds = locals.map(|local| format!("(local.get {local}) i64.add"));
    let large = format!(
        "(func $large (param i32) (result i64) (local {}) {}
            (if (result i64) (local.get 0)
                (then (call $large (i32.sub (local.get 0) (i32.const 1))))
                (else (i64.const 0)))
            {})",
        "i64 ".repeat(1_000),
        loads.collect::<String>(),
        adds.collect::<String>(),
    );
    for (depth, end) in [(20, Ok(1)), (200, Err(ErrorKind::Limit(Limit::Stack)))] {
        let code = format!("(drop (call $large (i32.const {depth}))) (call $answer (i32.const 1))");
        let guest = Guest {
            run: &code,
            more: &large,
            ..Guest::default()
        };
        let number = run(&guest, limits()).number();
        assert_eq!(number.map_err(|error| error.kind()), end, "{depth}");
    }
}
