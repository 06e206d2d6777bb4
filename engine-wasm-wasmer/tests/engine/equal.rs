//! What both WASM engines must agree on to the unit and to the bit.

use engine_core::error::ErrorKind;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;

use crate::support::{COUNT, Guest, Rows, limits, load, run, wasmtime};

/// A loop that goes on for much longer than a slice of fuel.
const LONG: &str = r#"(loop $l
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (br_if $l (i32.lt_u (global.get $n) (i32.const 200000))))
    (global.set $n (i32.const 0))
    (call $answer (i32.const 3))"#;

const BULK: &str = r#"
    (memory.fill (i32.const 4096) (i32.const 7) (i32.const 60000))
    (memory.copy (i32.const 4096) (i32.const 8192) (i32.const 50000))
    (drop (memory.grow (i32.const 3)))
    (drop (table.grow $t (ref.func $leaf) (i32.const 100)))
    (table.fill $t (i32.const 0) (ref.func $leaf) (i32.const 100))
    (call $answer (call_indirect $t (type $leaf) (i32.const 40)))"#;

const READS: &str = r#"
    (drop (call $get (i32.const 16) (i32.const 8)))
    (drop (call $read (i32.const 1) (i32.const 40)))
    (call $answer (global.get $n))"#;

fn guests() -> Vec<(&'static str, Guest<'static>)> {
    let guest = |run| Guest {
        run,
        more: r#"(type $leaf (func (result i32)))
            (func $leaf (result i32) (i32.const 9))
            (elem declare func $leaf)
            (table $t 0 funcref)
            (func $fibonacci (param i32) (result i32)
                (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
                    (then (local.get 0))
                    (else (i32.add
                        (call $fibonacci (i32.sub (local.get 0) (i32.const 1)))
                        (call $fibonacci (i32.sub (local.get 0) (i32.const 2)))))))"#,
        on_read: "(global.set $n (i32.add (global.get $n) (i32.const 1)))",
        ..Guest::default()
    };
    vec![
        ("count", guest(COUNT)),
        ("long", guest(LONG)),
        ("bulk", guest(BULK)),
        ("reads", guest(READS)),
        (
            "calls",
            guest("(drop (call $fibonacci (i32.const 20))) (call $answer (i32.const 1))"),
        ),
        ("trap", guest("(call $leaf) unreachable")),
        ("nothing", guest("i32.const 0")),
    ]
}

/// What an invocation ends with: its error or its results, and its fuel.
type End = (Result<Vec<Vec<u8>>, ErrorKind>, Option<u64>);

fn both(guest: &Guest<'_>, limits: &Limits) -> End {
    let runs = [
        run(guest, limits.clone()),
        wasmtime::run(guest, limits.clone()),
    ];
    let [wasmer, wasmtime] = runs.map(|mut run| {
        let outcome = run.invoke(&Rows::new([(1, 7), (2, 8), (3, 9)]), None);
        let results = run.intents.results().map(<[u8]>::to_vec).collect();
        let result = outcome.result.map(|()| results);
        (result.map_err(|error| error.kind()), outcome.ledger.fuel)
    });
    assert_eq!(wasmer, wasmtime);
    wasmer
}

#[test]
fn fuel_is_counted_alike_on_both_engines() {
    for (name, guest) in guests() {
        let with = |fuel| both(&guest, &Limits { fuel, ..limits() });
        let (end, unlimited) = with(None);
        assert_eq!(unlimited, None, "{name}");
        let (same, used) = with(Some(1 << 40));
        assert_eq!(same, end, "{name}");
        let used = used.unwrap();
        assert_eq!(with(Some(used)), (end.clone(), Some(used)), "{name}");
        for too_little in [used - 1, used / 2, 1, 0] {
            let (out, counted) = with(Some(too_little));
            assert_eq!(out, Err(ErrorKind::Limit(Limit::Fuel)), "{name}");
            assert!(counted.unwrap() <= too_little, "{name}");
        }
    }
}

#[test]
fn a_long_run_takes_more_than_one_slice_of_fuel() {
    let (_, guest) = guests().swap_remove(1);
    let fuel = Some(u64::MAX);
    let (_, used) = both(&guest, &Limits { fuel, ..limits() });
    assert!(used.unwrap() > 1_000_000);
}

#[test]
fn every_nan_has_the_same_bits_on_both_engines() {
    let nans = [
        "(f64.div (f64.const 0) (f64.const 0))",
        "(f64.sub (f64.const inf) (f64.const inf))",
        "(f64.sqrt (f64.const -1))",
        "(f64.add (f64.const nan:0x1234) (f64.const 1))",
        "(f64.add (f64.const -nan:0x4321) (f64.const nan:0x1234))",
        "(f64.min (f64.const -nan) (f64.const 1))",
        "(f64.promote_f32 (f32.const -nan:0x200001))",
        "(f64x2.extract_lane 1 (f64x2.mul (v128.const f64x2 0 -nan:0x77) (v128.const f64x2 inf 3)))",
        "(f64.promote_f32 (f32x4.extract_lane 2 (f32x4.div (v128.const f32x4 0 0 0 0) (v128.const f32x4 0 0 0 0))))",
    ];
    for nan in nans {
        // The canonical NaN is positive and has one bit of payload.
        let code = format!(
            "(call $answer (i32.add (i32.const 1) (i64.eq (i64.reinterpret_f64 {nan}) (i64.const 0x7ff8000000000000))))"
        );
        let guest = Guest {
            run: &code,
            ..Guest::default()
        };
        let (results, _) = both(&guest, &limits());
        assert_eq!(results.unwrap(), [[0x91, 2]], "{nan}");
    }
}

#[test]
fn growth_ends_alike_on_both_engines() {
    const MEMORY: Result<u8, ErrorKind> = Err(ErrorKind::Limit(Limit::Memory));
    const TABLES: Result<u8, ErrorKind> = Err(ErrorKind::Limit(Limit::TableElements));
    for (memory, code, end) in [
        ("1", "(memory.grow (i32.const 0))", Ok(1)),
        ("1", "(memory.grow (i32.const 1023))", Ok(1)),
        ("1", "(memory.grow (i32.const 1024))", MEMORY),
        ("1 2", "(memory.grow (i32.const 2))", Ok(0xff)),
        ("1 2", "(memory.grow (i32.const 5000))", MEMORY),
        ("1 2", "(memory.grow (i32.const -1))", MEMORY),
        (
            "1",
            "(table.grow $t (ref.null func) (i32.const 3))",
            Ok(0xff),
        ),
        (
            "1",
            "(table.grow $t (ref.null func) (i32.const 20000))",
            TABLES,
        ),
        (
            "1",
            "(table.grow $u (ref.null func) (i32.const 19993))",
            Ok(5),
        ),
        (
            "1",
            "(table.grow $u (ref.null func) (i32.const 19994))",
            TABLES,
        ),
        (
            "1",
            "(table.grow $u (ref.null func) (i32.const -1))",
            TABLES,
        ),
    ] {
        let run = format!("(call $answer {code})");
        let guest = Guest {
            memory,
            run: &run,
            more: "(table $t 2 4 funcref) (table $u 5 funcref)",
            ..Guest::default()
        };
        let (results, _) = both(&guest, &limits());
        // The byte of −1 is canonical as it stands.
        assert_eq!(results, end.map(|byte| vec![vec![0x91, byte]]), "{code}");
    }
}

#[test]
fn a_segment_that_does_not_fit_is_a_trap_on_both_engines() {
    for more in [
        r#"(data (i32.const 65530) "too long")"#,
        "(table 1 funcref) (elem (i32.const 1) func $answer)",
    ] {
        let wat = Guest {
            more,
            ..Guest::default()
        }
        .wat();
        for load in [load, wasmtime::load] {
            let package = load(&wat, limits(), Policy::Keep).unwrap();
            let error = package.instantiate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Trap, "{more}: {error}");
        }
    }
}
