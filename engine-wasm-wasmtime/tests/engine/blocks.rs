//! Guests that break the rules about blocks.

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;

use crate::support::{Guest, limits, run};

fn error_of(guest: &Guest<'_>) -> ErrorKind {
    run(guest, limits()).error()
}

#[test]
fn an_address_outside_of_memory_breaks_the_rules() {
    for code in [
        "i32.const -1",
        "i32.const 65536",
        "i32.const 65520",
        "(call $get (i32.const 65530) (i32.const 8))",
        "(call $get (i32.const -5) (i32.const 8))",
        "(call $get (i32.const 16) (i32.const 65533))",
        "(call $get (i32.const 16) (i32.const -1))",
        "(call $read (i32.const 1) (i32.const -9))",
        "(i32.store (i32.const 16) (i32.const -1)) (call $get (i32.const 16) (i32.const 8))",
        "(i32.store (i32.const 20) (i32.const 65500)) (call $get (i32.const 16) (i32.const 8))",
    ] {
        let guest = Guest {
            run: code,
            ..Guest::default()
        };
        assert_eq!(error_of(&guest), ErrorKind::Abi, "{code}");
    }
}

#[test]
fn a_malformed_result_breaks_the_rules() {
    for code in [
        // An unknown status.
        "(drop (call $answer (i32.const 1))) (i32.store (i32.const 224) (i32.const 5)) (i32.const 224)",
        // A message that leaves the memory.
        "(drop (call $answer (i32.const 1))) (i32.store (i32.const 228) (i32.const 65537)) (i32.const 224)",
        // Intents that leave the memory.
        "(drop (call $answer (i32.const 1))) (i32.store (i32.const 240) (i32.const 65530)) (i32.const 224)",
        // An unknown op.
        "(drop (call $answer (i32.const 1))) (i32.store (i32.const 256) (i32.const 5)) (i32.const 224)",
        // A record that ends behind the region.
        "(drop (call $answer (i32.const 1))) (i32.store (i32.const 268) (i32.const 3)) (i32.const 224)",
    ] {
        let guest = Guest {
            run: code,
            ..Guest::default()
        };
        assert_eq!(error_of(&guest), ErrorKind::Abi, "{code}");
    }
}

#[test]
fn blocks_that_overlap_break_the_rules() {
    const COUNTED: &str = "(global.set $n (i32.add (global.get $n) (i32.const 1)))";
    const NEXT: &str =
        "global.get $free (global.set $free (i32.add (global.get $free) (local.get $size)))";
    let third_at = |at: &str| {
        format!(
            "{COUNTED} (if (i32.gt_u (global.get $n) (i32.const 2)) (then (return (i32.const {at})))) {NEXT}"
        )
    };
    for (malloc, code) in [
        // Name and arguments in one place, or one byte too near: the name has four.
        ("i32.const 4096", "i32.const 0"),
        (
            "global.get $free (global.set $free (i32.add (global.get $free) (i32.const 3)))",
            "i32.const 0",
        ),
        // An element on the arguments; a key and its element in one place.
        (
            &third_at("4104"),
            "(call $get (i32.const 16) (i32.const 8))",
        ),
        (
            &third_at("8192"),
            "(call $read (i32.const 1) (i32.const 40))",
        ),
    ] {
        let guest = Guest {
            run: code,
            malloc,
            ..Guest::default()
        };
        assert_eq!(error_of(&guest), ErrorKind::Abi, "{malloc}");
    }
}

#[test]
fn a_block_outside_of_memory_breaks_the_rules() {
    for malloc in ["i32.const 65535", "i32.const -4"] {
        let guest = Guest {
            malloc,
            ..Guest::default()
        };
        assert_eq!(error_of(&guest), ErrorKind::Abi, "{malloc}");
    }
}

/// Allocates twice, for name and arguments, and then no more.
const TWICE: &str = r#"(if (i32.eq (global.get $n) (i32.const 2)) (then (return (i32.const 0))))
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    global.get $free (global.set $free (i32.add (global.get $free) (local.get $size)))"#;

#[test]
fn without_memory_for_its_arguments_a_guest_ends_with_memory() {
    let guest = Guest {
        malloc: "i32.const 0",
        ..Guest::default()
    };
    assert_eq!(error_of(&guest), ErrorKind::Limit(Limit::Memory));
}

#[test]
fn without_memory_for_an_element_the_guest_gets_code_4() {
    let guest = Guest {
        run: "(i32.store (i32.const 224) (i32.sub (call $get (i32.const 16) (i32.const 8)) (i32.const 3))) (i32.const 224)",
        malloc: TWICE,
        ..Guest::default()
    };
    assert_eq!(error_of(&guest), ErrorKind::Rejected);
}

#[test]
fn without_memory_for_a_row_of_a_range_the_guest_ends_with_memory() {
    let guest = Guest {
        run: "(drop (call $read (i32.const 1) (i32.const 40))) (i32.const 0)",
        malloc: TWICE,
        ..Guest::default()
    };
    assert_eq!(error_of(&guest), ErrorKind::Limit(Limit::Memory));
}

#[test]
fn a_failed_read_that_is_handed_on_without_words_keeps_the_hosts() {
    // A key of two bytes that is no tuple; code 2 becomes status 3.
    let code = r#"(i32.store8 (i32.const 28) (i32.const 0x99))
        (i32.store (i32.const 224) (i32.add (call $get (i32.const 16) (i32.const 8)) (i32.const 1)))
        (i32.const 224)"#;
    let mut run = run(
        &Guest {
            run: code,
            ..Guest::default()
        },
        limits(),
    );
    let error = run
        .invoke(&crate::support::Rows::default(), None)
        .result
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadKey);
    assert!(error.message().contains("key field `k`"), "{error}");
}
