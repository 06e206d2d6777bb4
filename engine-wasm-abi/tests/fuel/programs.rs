//! Small programs of every kind run the same, metered or not, on both runtimes.

use engine_wasm_abi::fuel::{Costs, meter};
use engine_wasm_abi::inspect::inspect;

use crate::engines::{End, Outcome, Runner, Wasmer, Wasmtime};

/// The programs, each of which exports `run: (i32) -> i64`.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "straight line",
        r#"(func (export "run") (param i32) (result i64)
        (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 3)))"#,
    ),
    (
        "branches",
        r#"(func (export "run") (param i32) (result i64)
        (if (result i64) (i32.gt_s (local.get 0) (i32.const 3))
            (then (if (i32.eqz (local.get 0)) (then (return (i64.const 9)))) (i64.const 1))
            (else (nop) (i64.add (i64.const 2) (i64.const 3)))))"#,
    ),
    (
        "loop",
        r#"(func (export "run") (param i32) (result i64) (local i64)
        (loop $l
            (local.set 1 (i64.add (local.get 1) (i64.extend_i32_u (local.get 0))))
            (br_if $l (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
        (local.get 1))"#,
    ),
    (
        "nested loops",
        r#"(func (export "run") (param i32) (result i64) (local $j i32) (local $n i64)
        (block $done
            (loop $outer
                (br_if $done (i32.le_s (local.get 0) (i32.const 0)))
                (local.set $j (local.get 0))
                (loop $inner
                    (local.set $n (i64.add (local.get $n) (i64.const 1)))
                    (br_if $inner (i32.gt_s
                        (local.tee $j (i32.sub (local.get $j) (i32.const 1))) (i32.const 0))))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br $outer)))
        (local.get $n))"#,
    ),
    (
        "br_table",
        r#"(func (export "run") (param i32) (result i64)
        (block $other (block $two (block $one (block $zero
            (br_table $zero $one $two $other (local.get 0)))
            (return (i64.const 10)))
            (return (i64.add (i64.const 20) (i64.const 1))))
            (br $other))
        (i64.const 30))"#,
    ),
    (
        "br_table with values, in a loop",
        r#"(func (export "run") (param i32) (result i64)
        (block $out (result i64)
            (loop $again (result i64)
                (i64.const 5)
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_table $out $out $out (i32.ge_s (local.get 0) (i32.const 4))))))"#,
    ),
    (
        "fibonacci",
        r#"(func $fib (export "run") (param i32) (result i64)
        (if (result i64) (i32.lt_s (local.get 0) (i32.const 2))
            (then (i64.extend_i32_s (local.get 0)))
            (else (i64.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))"#,
    ),
    (
        "mutual recursion",
        r#"
        (func $even (export "run") (param i32) (result i64)
            (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (i64.const 1))))
            (call $odd (i32.sub (local.get 0) (i32.const 1))))
        (func $odd (param i32) (result i64)
            (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (i64.const 0))))
            (call $even (i32.sub (local.get 0) (i32.const 1))))"#,
    ),
    (
        "call through a table",
        r#"
        (type $f (func (param i32) (result i64)))
        (table funcref (elem $double $triple))
        (func $double (param i32) (result i64) (i64.extend_i32_s (i32.shl (local.get 0) (i32.const 1))))
        (func $triple (param i32) (result i64) (i64.extend_i32_s (i32.mul (local.get 0) (i32.const 3))))
        (func (export "run") (type $f)
            (call_indirect (type $f) (i32.const 7) (i32.and (local.get 0) (i32.const 1))))"#,
    ),
    (
        "call of a null reference",
        r#"
        (table 8 funcref)
        (func (export "run") (param i32) (result i64)
            (call_indirect (result i64) (local.get 0)))"#,
    ),
    (
        "call of another type",
        r#"
        (table funcref (elem $f))
        (func $f (param i64))
        (func (export "run") (param i32) (result i64)
            (call_indirect (result i64) (local.get 0)))"#,
    ),
    (
        "host call",
        r#"
        (import "env" "next" (func $next (param i32) (result i32)))
        (func $twice (param i32) (result i32) (call $next (call $next (local.get 0))))
        (func (export "run") (param i32) (result i64) (i64.extend_i32_s (call $twice (local.get 0))))"#,
    ),
    (
        "memory.fill",
        r#"(memory (export "memory") 1 1)
        (func (export "run") (param i32) (result i64)
            (memory.fill (i32.const 16) (i32.const 7) (i32.mul (local.get 0) (i32.const 1000)))
            (i64.load (i32.const 12)))"#,
    ),
    (
        "memory.fill out of bounds",
        r#"(memory (export "memory") 1 1)
        (func (export "run") (param i32) (result i64)
            (i32.store (i32.const 0) (i32.const 1))
            (memory.fill (i32.const 16) (i32.const 7) (i32.mul (local.get 0) (i32.const 65500)))
            (i64.load (i32.const 0)))"#,
    ),
    (
        "memory.copy",
        r#"(memory (export "memory") 1) (data (i32.const 0) "overlapping")
        (func (export "run") (param i32) (result i64)
            (memory.copy (i32.const 2) (i32.const 0) (i32.mul (local.get 0) (i32.const 300)))
            (i64.load (i32.const 2)))"#,
    ),
    (
        "memory.init and data.drop",
        r#"(memory (export "memory") 1) (data $d "passive data")
        (func (export "run") (param i32) (result i64)
            (memory.init $d (i32.const 1) (i32.const 0) (local.get 0))
            (data.drop $d)
            (memory.init $d (i32.const 9) (i32.const 0) (i32.and (local.get 0) (i32.const 2)))
            (i64.load (i32.const 1)))"#,
    ),
    (
        "memory.grow",
        r#"(memory (export "memory") 1 4)
        (func (export "run") (param i32) (result i64)
            (i64.add
                (i64.extend_i32_s (memory.grow (local.get 0)))
                (i64.extend_i32_s (memory.size))))"#,
    ),
    (
        "table.grow, table.fill and table.size",
        r#"(table $t 1 100 funcref) (elem declare func $f)
        (func $f (result i64) (i64.const 77))
        (func (export "run") (param i32) (result i64)
            (drop (table.grow $t (ref.null func) (i32.mul (local.get 0) (i32.const 3))))
            (table.fill $t (i32.const 1) (ref.func $f) (local.get 0))
            (if (ref.is_null (table.get $t (i32.const 0)))
                (then (return (i64.extend_i32_s (table.size $t)))))
            (call_indirect $t (result i64) (i32.const 1)))"#,
    ),
    (
        "table.copy",
        r#"(table $a 10 funcref) (table $b funcref (elem $f $f $f $f))
        (func $f (result i64) (i64.const 5))
        (func (export "run") (param i32) (result i64)
            (table.copy $a $b (i32.const 1) (i32.const 0) (local.get 0))
            (call_indirect $a (result i64) (local.get 0)))"#,
    ),
    (
        "table.init and elem.drop",
        r#"(table $a 10 funcref) (elem $e func $f $g $f)
        (func $f (result i64) (i64.const 5))
        (func $g (result i64) (i64.const 6))
        (func (export "run") (param i32) (result i64)
            (table.init $a $e (i32.const 0) (i32.const 0) (local.get 0))
            (elem.drop $e)
            (call_indirect $a (result i64) (i32.const 1)))"#,
    ),
    (
        "element expressions",
        r#"
        (table $t 4 funcref) (elem (table $t) (i32.const 1) funcref (ref.func $f) (ref.null func) (ref.func $g))
        (func $f (result i64) (i64.const 5))
        (func $g (result i64) (i64.const 6))
        (func (export "run") (param i32) (result i64)
            (call_indirect $t (result i64) (local.get 0)))"#,
    ),
    (
        "division",
        r#"(func (export "run") (param i32) (result i64)
        (i64.div_s (i64.const 100) (i64.extend_i32_s (local.get 0))))"#,
    ),
    (
        "unreachable",
        r#"(func (export "run") (param i32) (result i64)
        (block $a (br_if $a (local.get 0)) (unreachable))
        (i64.const 4))"#,
    ),
    (
        "load out of bounds",
        r#"(memory (export "memory") 1 1)
        (func (export "run") (param i32) (result i64) (local i32)
            (loop $l
                (i32.store (local.get 1) (local.get 1))
                (local.set 1 (i32.add (local.get 1) (i32.mul (local.get 0) (i32.const 2000))))
                (br_if $l (local.get 0)))
            (i64.const 1))"#,
    ),
    (
        "float to integer",
        r#"(func (export "run") (param i32) (result i64)
        (i64.add
            (i64.trunc_sat_f64_s (f64.mul (f64.convert_i32_s (local.get 0)) (f64.const 1e18)))
            (i64.trunc_f64_s (f64.sqrt (f64.mul (f64.convert_i32_s (local.get 0)) (f64.const 1e36))))))"#,
    ),
    (
        "sign extension and select",
        r#"(func (export "run") (param i32) (result i64)
        (select
            (i64.extend8_s (i64.const 0x80))
            (i64.extend_i32_s (i32.extend16_s (i32.const 0xffff)))
            (i32.and (local.get 0) (i32.const 1))))"#,
    ),
    (
        "vectors",
        r#"(memory (export "memory") 1)
        (func (export "run") (param i32) (result i64) (local v128)
            (local.set 1 (i8x16.splat (local.get 0)))
            (v128.store (i32.const 3) (i16x8.mul (local.get 1) (i16x8.splat (i32.const 3))))
            (i64x2.extract_lane 1 (i32x4.add (local.get 1) (v128.load (i32.const 3)))))"#,
    ),
    (
        "blocks of several values",
        r#"
        (func $pair (param i64) (result i64 i64) (local.get 0) (i64.const 2))
        (func (export "run") (param i32) (result i64)
            (call $pair (i64.extend_i32_s (local.get 0)))
            (block $b (param i64 i64) (result i64 i64)
                (br_if $b (local.get 0))
                (i64.mul)
                (i64.const 3))
            (loop $l (param i64 i64) (result i64)
                (i64.add)
                (br_if $l (i64.const 1) (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0)))
                (drop)))"#,
    ),
    (
        "globals of constant expressions",
        r#"
        (global $base i32 (i32.const 40))
        (global $sum (mut i64) (i64.add (i64.const 1) (i64.mul (i64.const 2) (i64.const 3))))
        (func (export "run") (param i32) (result i64)
            (global.set $sum (i64.add (global.get $sum) (i64.extend_i32_s (global.get $base))))
            (global.get $sum))"#,
    ),
    (
        "code after a branch",
        r#"(func (export "run") (param i32) (result i64)
        (block $out
            (br $out)
            (loop $dead (br_if $dead (i32.const 1)) (memory.fill (i32.const 0) (i32.const 0) (i32.const 9)))
            (if (i32.const 1) (then (br $out)) (else (drop (memory.grow (i32.const 1))))))
        (block (result i64)
            (return (i64.const 3))
            (drop) (br_table 0 0 (i64.const 1) (i32.const 0))))
        (memory 1)"#,
    ),
    (
        "sieve",
        r#"(memory (export "memory") 1)
        (func (export "run") (param i32) (result i64) (local $i i32) (local $j i32) (local $n i64)
            (local.set $i (i32.const 2))
            (block $done (loop $next
                (br_if $done (i32.ge_s (local.get $i) (i32.mul (local.get 0) (i32.const 10))))
                (if (i32.eqz (i32.load8_u (local.get $i))) (then
                    (local.set $n (i64.add (local.get $n) (i64.const 1)))
                    (local.set $j (local.get $i))
                    (loop $mark
                        (i32.store8 (local.get $j) (i32.const 1))
                        (local.set $j (i32.add (local.get $j) (local.get $i)))
                        (br_if $mark (i32.lt_s (local.get $j) (i32.const 100))))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $next)))
            (local.get $n))"#,
    ),
];

/// Programs that only a limit ends.
const ENDLESS: &[(&str, &str)] = &[
    (
        "empty loop",
        r#"(func (export "run") (param i32) (result i64) (loop (br 0)) (unreachable))"#,
    ),
    (
        "empty recursion",
        r#"(func $f (export "run") (param i32) (result i64) (call $f (local.get 0)))"#,
    ),
    (
        "loop that writes",
        r#"(memory (export "memory") 1)
        (func (export "run") (param i32) (result i64)
            (loop $l
                (local.set 0 (i32.and (i32.add (local.get 0) (i32.const 1)) (i32.const 0xffff)))
                (i32.store8 (local.get 0) (i32.const 1))
                (br $l))
            (unreachable))"#,
    ),
    (
        "loop of fills",
        r#"(memory (export "memory") 1 1)
        (func (export "run") (param i32) (result i64)
            (loop $l
                (local.set 0 (i32.add (local.get 0) (i32.const 100)))
                (memory.fill (i32.const 0) (local.get 0) (local.get 0))
                (br $l))
            (unreachable))"#,
    ),
    (
        "loop of host calls",
        r#"(import "env" "next" (func $next (param i32) (result i32)))
        (func (export "run") (param i32) (result i64)
            (loop $l (local.set 0 (call $next (local.get 0))) (br $l))
            (unreachable))"#,
    ),
];

const ARGUMENTS: [i32; 6] = [0, 1, 2, 3, 6, -1];
const SLICES: [u64; 4] = [1, 13, 1000, u64::MAX];

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {text})")).unwrap()
}

/// Runs it on both runtimes with slices of every size, and answers what all of them answered.
fn run_everywhere(
    name: &str,
    runners: &[&dyn Runner],
    argument: i32,
    limit: Option<u64>,
) -> Outcome {
    let mut outcomes = Vec::new();
    for (runner, slice) in runners.iter().flat_map(|r| SLICES.map(|slice| (r, slice))) {
        outcomes.push(runner.run(argument, limit, slice));
    }
    let first = outcomes[0].clone();
    for outcome in &outcomes {
        let same = *outcome == first;
        assert!(
            same,
            "{name}({argument}), limit {limit:?}: {:?}, {} and {:?}, {}",
            outcome.end, outcome.used, first.end, first.used
        );
    }
    first
}

#[test]
fn a_metered_program_computes_what_it_did_before() {
    for (name, text) in PROGRAMS {
        let original = module(text);
        assert_eq!(inspect(&original).problems, [], "{name}");
        let metered = meter(&original, &Costs::default()).unwrap();
        for (original, metered) in [
            (
                &Wasmtime::compile(&original) as &dyn Runner,
                &Wasmtime::compile(&metered) as &dyn Runner,
            ),
            (&Wasmer::compile(&original), &Wasmer::compile(&metered)),
        ] {
            for argument in ARGUMENTS {
                let before = original.run(argument, None, 1000);
                let after = metered.run(argument, None, 1000);
                assert_eq!(before.end, after.end, "{name}({argument})");
                assert!(before.memory == after.memory, "{name}({argument})");
            }
        }
    }
}

#[test]
fn runtimes_and_slices_agree_on_what_is_used_and_where_it_ends() {
    for (name, text) in PROGRAMS {
        let metered = meter(&module(text), &Costs::default()).unwrap();
        let runners: [&dyn Runner; 2] = [&Wasmtime::compile(&metered), &Wasmer::compile(&metered)];
        for argument in ARGUMENTS {
            let whole = run_everywhere(name, &runners, argument, None);
            assert!(whole.used > 0, "{name}({argument})");
            let enough = run_everywhere(name, &runners, argument, Some(whole.used));
            assert_eq!(enough.end, whole.end, "{name}({argument})");
            for limit in [0, whole.used / 2, whole.used - 1] {
                let short = run_everywhere(name, &runners, argument, Some(limit));
                assert_eq!(
                    short.end,
                    End::OutOfFuel,
                    "{name}({argument}), limit {limit}"
                );
                assert_eq!(short.used, limit, "{name}({argument})");
            }
        }
    }
}

#[test]
fn every_endless_program_ends_at_the_same_point() {
    for (name, text) in ENDLESS {
        let metered = meter(&module(text), &Costs::default()).unwrap();
        let runners: [&dyn Runner; 2] = [&Wasmtime::compile(&metered), &Wasmer::compile(&metered)];
        for limit in [0, 1, 50, 4321] {
            let outcome = run_everywhere(name, &runners, 0, Some(limit));
            assert_eq!(
                (outcome.end, outcome.used),
                (End::OutOfFuel, limit),
                "{name}"
            );
        }
    }
}
