//! Random control flow, and random bytes.

use std::num::NonZeroU32;

use engine_wasm_abi::fuel::{Costs, meter};
use engine_wasm_abi::inspect::FEATURES;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::engines::{End, Runner, Wasmer, Wasmtime, counted_by_wasmtime};

/// A statement of the random programs, which compute with local 1.
#[derive(Debug, Clone)]
enum Code {
    Step(u8),
    Block(Vec<Code>),
    Loop(Vec<Code>),
    If(Vec<Code>, Vec<Code>),
    Branch(usize),
    BranchIf(usize),
    BranchTable(Vec<usize>),
    Return,
    Trap,
    Call,
    Fill(u8),
}

fn code() -> impl Strategy<Value = Vec<Code>> {
    let leaf = prop_oneof![
        6 => any::<u8>().prop_map(Code::Step),
        1 => any::<usize>().prop_map(Code::Branch),
        4 => any::<usize>().prop_map(Code::BranchIf),
        1 => vec(any::<usize>(), 1..4).prop_map(Code::BranchTable),
        1 => Just(Code::Return),
        1 => Just(Code::Trap),
        1 => Just(Code::Call),
        1 => any::<u8>().prop_map(Code::Fill),
    ];
    let nested = leaf.prop_recursive(4, 40, 5, |inner| {
        let body = || vec(inner.clone(), 0..5);
        prop_oneof![
            body().prop_map(Code::Block),
            body().prop_map(Code::Loop),
            (body(), body()).prop_map(|(then, other)| Code::If(then, other)),
        ]
    });
    vec(nested, 1..8)
}

/// Writes `code` with `depth` labels around it.
fn write(code: &[Code], depth: usize, text: &mut String) {
    const CONDITION: &str = "(i32.wrap_i64 (i64.and (local.get 1) (i64.const 1)))";
    for code in code {
        *text += &match code {
            Code::Step(step) => format!(
                "(local.set 1 (i64.add (i64.rotl (local.get 1) (i64.const 3)) (i64.const {step})))"
            ),
            Code::Block(body) => format!("(block {})", nested(body, depth)),
            // The loop's first instruction costs something, so the least charge does not show.
            Code::Loop(body) => {
                format!("(loop (local.set 0 (local.get 0)) {})", nested(body, depth))
            }
            Code::If(then, other) if other.is_empty() => {
                format!("(if {CONDITION} (then {}))", nested(then, depth))
            }
            Code::If(then, other) => {
                let (then, other) = (nested(then, depth), nested(other, depth));
                format!("(if {CONDITION} (then {then}) (else {other}))")
            }
            Code::Branch(to) => format!("(br {})", to % depth),
            Code::BranchIf(to) => format!("(br_if {} {CONDITION})", to % depth),
            Code::BranchTable(targets) => {
                let targets = targets.iter().map(|to| format!("{} ", to % depth));
                let targets: String = targets.collect();
                format!("(br_table {targets} (i32.wrap_i64 (local.get 1)))")
            }
            Code::Return => "(return (local.get 1))".to_owned(),
            Code::Trap => "(unreachable)".to_owned(),
            Code::Call => "(local.set 1 (call $run (i32.wrap_i64 (local.get 1))))".to_owned(),
            Code::Fill(length) => format!(
                "(memory.fill (i32.const {length}) (i32.wrap_i64 (local.get 1)) (i32.const {length}))"
            ),
        };
        text.push('\n');
    }
}

fn nested(code: &[Code], depth: usize) -> String {
    let mut text = String::new();
    write(code, depth + 1, &mut text);
    text
}

fn program(code: &[Code]) -> String {
    format!(
        r#"(module (memory (export "memory") 1 1)
        (func $run (export "run") (param i32) (result i64) (local i64)
            (local.set 1 (i64.extend_i32_s (local.get 0)))
            (block {})
            (local.get 1)))"#,
        nested(code, 0)
    )
}

fn check(text: &str) -> TestCaseResult {
    const LIMIT: u64 = 5_000;
    let original = wat::parse_str(text).unwrap();
    let metered = meter(&original, &Costs::default()).unwrap();
    let (original, wasmtime) = (Wasmtime::compile(&original), Wasmtime::compile(&metered));
    let wasmer = Wasmer::compile(&metered);
    for argument in [0, 1, 6, -7] {
        let outcome = wasmtime.run(argument, Some(LIMIT), u64::MAX);
        prop_assert!(outcome == wasmer.run(argument, Some(LIMIT), 11), "{text}");
        // What ends within the limit ends without it too.
        if outcome.end != End::OutOfFuel {
            let before = original.run(argument, None, 1);
            prop_assert_eq!(before.end, outcome.end, "{}", text);
            prop_assert!(before.memory == outcome.memory, "{text}");
        }
    }
    Ok(())
}

/// Wasmtime counts as exactly as this crate, if not portably, and by other code.
fn check_count(text: &str) -> TestCaseResult {
    let costs = Costs {
        instruction: 1,
        call: 2,
        bytes_per_unit: NonZeroU32::MIN,
        element: 1,
        page: 1,
    };
    let original = wat::parse_str(text).unwrap();
    let metered = Wasmtime::compile(&meter(&original, &costs).unwrap());
    for argument in [0, 1, 6, -7] {
        let outcome = metered.run(argument, Some(5_000), u64::MAX);
        if let End::Returned(_) = outcome.end {
            let counted = counted_by_wasmtime(&original, argument);
            prop_assert_eq!(outcome.used + 1, counted, "{}", text);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_control_flow_computes_what_it_did_before(code in code()) {
        check(&program(&code))?;
    }

    #[test]
    fn random_control_flow_is_charged_instruction_by_instruction(code in code()) {
        check_count(&program(&code))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_metered_or_refused(bytes in vec(any::<u8>(), 0..256)) {
        prop_assert!(meter(&bytes, &Costs::default()).is_err());
        let _ = meter(&[b"\0asm\x01\0\0\0", bytes.as_slice()].concat(), &Costs::default());
    }

    #[test]
    fn a_damaged_module_is_metered_or_refused(
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let text = r#"(module (import "a" "b" (func $b)) (memory 1) (table 4 funcref)
            (global (mut i32) (i32.const 1)) (elem (i32.const 0) func $b $f)
            (func $f (param i32) (result i32)
                (block $out (loop $l (br_if $l (local.get 0)) (br_table $out $l (local.get 0))))
                (memory.fill (i32.const 0) (i32.const 0) (local.get 0))
                (if (result i32) (local.get 0)
                    (then (global.get 0))
                    (else (memory.grow (i32.const 1)))))
            (export "f" (func $f)))"#;
        let mut module = wat::parse_str(text).unwrap();
        for (index, byte) in damage {
            let index = index.index(module.len());
            module[index] = byte;
        }
        if let Ok(metered) = meter(&module, &Costs::default()) {
            let mut validator = wasmparser::Validator::new_with_features(FEATURES);
            prop_assert!(validator.validate_all(&metered).is_ok());
        }
    }
}
