//! The stub of WASI preview 1.

use engine_core::error::ErrorKind;
use engine_core::limits::{Limit, Limits};

use crate::support::{Guest, Rows, limits, run};

const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

/// Two pieces of text at 1024, and a list of both at 1040.
const TEXT: &str = r#"
    (data (i32.const 1024) "one\ntw" "o\n\nthree")
    (data (i32.const 1040) "\00\04\00\00\06\00\00\00" "\06\04\00\00\08\00\00\00")"#;

#[test]
fn output_becomes_lines_of_the_log_by_stream() {
    let write = r#"(drop (call $write (i32.const 1) (i32.const 1040) (i32.const 2) (i32.const 1060)))
        (drop (call $write (i32.const 2) (i32.const 1040) (i32.const 1) (i32.const 1064)))"#;
    let code = format!("{write} (call $answer (i32.load (i32.const 1060)))");
    let mut run = run(
        &Guest {
            imports: IMPORTS,
            init: write,
            run: &code,
            more: TEXT,
            ..Guest::default()
        },
        limits(),
    );
    for _ in 0..2 {
        let host = Rows::default();
        let outcome = run.invoke(&host, None);
        outcome.result.unwrap();
        assert_eq!(outcome.ledger.log_lines, 6);
        assert_eq!(crate::support::number(&run.intents), 14);
        assert_eq!(
            host.log.take(),
            [
                "info: one",
                "info: two",
                "info: ",
                "error: one",
                "info: three",
                "error: tw"
            ]
        );
    }
}

#[test]
fn output_beyond_the_limit_ends_the_guest() {
    let code = "(loop (drop (call $write (i32.const 1) (i32.const 1040) (i32.const 2) (i32.const 1060))) (br 0)) unreachable";
    let guest = Guest {
        imports: IMPORTS,
        run: code,
        more: TEXT,
        ..Guest::default()
    };
    let lines = Limits {
        log_lines: 5,
        ..limits()
    };
    assert_eq!(
        run(&guest, lines).error(),
        ErrorKind::Limit(Limit::LogLines)
    );
    // Without a newline the bytes count all the same.
    let one_line = r#"(data (i32.const 1024) "aaaaaaaaaaaaaa") (data (i32.const 1040) "\00\04\00\00\06\00\00\00" "\06\04\00\00\08\00\00\00")"#;
    let guest = Guest {
        more: one_line,
        ..guest
    };
    let bytes = Limits {
        log_bytes: 10_000,
        ..limits()
    };
    assert_eq!(
        run(&guest, bytes).error(),
        ErrorKind::Limit(Limit::LogBytes)
    );
}

#[test]
fn what_a_crashing_guest_wrote_is_logged() {
    let code = "(drop (call $write (i32.const 2) (i32.const 1040) (i32.const 2) (i32.const 1060))) unreachable";
    let guest = Guest {
        imports: IMPORTS,
        run: code,
        more: TEXT,
        ..Guest::default()
    };
    let host = Rows::default();
    let outcome = run(&guest, limits()).invoke(&host, None);
    assert_eq!(outcome.result.unwrap_err().kind(), ErrorKind::Trap);
    assert_eq!(
        host.log.take(),
        ["error: one", "error: two", "error: ", "error: three"]
    );
}

#[test]
fn clock_and_randomness_are_the_invocations_and_nothing_in_init() {
    let init = r#"
        (i64.store (i32.const 1100) (i64.const -1)) (i64.store (i32.const 1108) (i64.const -1))
        (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 1100)))
        (drop (call $random (i32.const 1108) (i32.const 8)))
        (if (i64.ne (i64.load (i32.const 1100)) (i64.const 1000)) (then unreachable))
        (if (i64.ne (i64.load (i32.const 1108)) (i64.const 0)) (then unreachable))"#;
    // The test host's random bytes are all the last byte of the key, which counts up, plus one.
    let code = r#"
        (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 1100)))
        (if (i64.ne (i64.load (i32.const 1100)) (i64.const 1700000000000000000)) (then unreachable))
        (drop (call $random (i32.const 1108) (i32.const 33)))
        (call $answer (i32.add
            (i32.mul (i32.const 10) (i32.load8_u (i32.const 1139)))
            (i32.load8_u (i32.const 1140))))"#;
    let mut run = run(
        &Guest {
            imports: IMPORTS,
            init,
            run: code,
            ..Guest::default()
        },
        limits(),
    );
    assert_eq!(run.number().unwrap(), 12);
    assert_eq!(run.number().unwrap(), 12);
}

#[test]
fn there_are_standard_streams_and_nothing_else() {
    let code = r#"(call $answer (i32.add
        (i32.mul (call $stat (i32.const 1) (i32.const 1100)) (i32.const 64))
        (i32.or (call $stat (i32.const 3) (i32.const 1100)) (call $prestat (i32.const 3) (i32.const 1100)))))"#;
    let mut run = run(
        &Guest {
            imports: IMPORTS,
            run: code,
            ..Guest::default()
        },
        limits(),
    );
    assert_eq!(run.number().unwrap(), 8);
}

#[test]
fn polling_returns_at_once_with_an_event_for_each_subscription() {
    // A clock with user data 9, then a descriptor.
    let code = r#"
        (i64.store (i32.const 1100) (i64.const 9))
        (i32.store8 (i32.const 1156) (i32.const 1))
        (drop (call $poll (i32.const 1100) (i32.const 1300) (i32.const 2) (i32.const 1200)))
        (if (i32.ne (i32.load8_u (i32.const 1300)) (i32.const 9)) (then unreachable))
        (call $answer (i32.add
            (i32.mul (i32.load (i32.const 1200)) (i32.const 10))
            (i32.load16_u (i32.const 1340))))"#;
    let mut run = run(
        &Guest {
            imports: IMPORTS,
            run: code,
            ..Guest::default()
        },
        limits(),
    );
    assert_eq!(run.number().unwrap(), 28);
}

#[test]
fn exit_is_a_trap_and_a_bad_address_breaks_the_rules() {
    for (code, kind) in [
        ("(call $exit (i32.const 0)) (i32.const 0)", ErrorKind::Trap),
        (
            "(call $environ (i32.const -4) (i32.const 0))",
            ErrorKind::Abi,
        ),
        (
            "(call $random (i32.const 65000) (i32.const 1000))",
            ErrorKind::Abi,
        ),
        (
            "(call $write (i32.const 1) (i32.const 65530) (i32.const 2) (i32.const 0))",
            ErrorKind::Abi,
        ),
        (
            "(call $poll (i32.const 0) (i32.const 0) (i32.const 70000) (i32.const 0))",
            ErrorKind::Abi,
        ),
    ] {
        let guest = Guest {
            imports: IMPORTS,
            run: code,
            ..Guest::default()
        };
        assert_eq!(run(&guest, limits()).error(), kind, "{code}");
    }
}
