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
fn frames_larger_than_a_guard_page_end_at_the_stack_limit() {
    // Each value lives across the call, so each has a place in the frame.
    let locals = 1_000;
    let gets: String = (0..locals)
        .map(|local| format!("(local.get {local})"))
        .collect();
    let adds = "i64.add ".repeat(locals - 1);
    let sets: String = (1..locals)
        .map(|local| format!("(local.set {local} (i64.mul (local.get 0) (i64.const {local})))"))
        .collect();
    let down = format!(
        "(func $large (param i64) (result i64) (local {}) {sets} (local.set 0 (call $large (local.get 0))) {gets} {adds})",
        "i64 ".repeat(locals - 1)
    );
    let guest = Guest {
        run: "(drop (call $large (i64.const 1))) (i32.const 0)",
        more: &down,
        ..Guest::default()
    };
    assert_eq!(
        run(&guest, limits()).error(),
        ErrorKind::Limit(Limit::Stack)
    );
}
