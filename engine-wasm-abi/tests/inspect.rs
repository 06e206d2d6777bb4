//! What inspection reads from a module, and which problems it finds.
#![allow(clippy::unwrap_used, reason = "a panic fails the test, as it should")]

use std::sync::Arc;

use engine_wasm_abi::inspect::{
    FuncSig, Inspection, ItemType, Memory, ModuleInfo, Table, ValType, inspect,
};
use proptest::prelude::*;

fn inspect_text(text: &str) -> Inspection {
    inspect(&wat::parse_str(text).unwrap())
}

fn messages(inspection: &Inspection) -> Vec<&str> {
    let messages = inspection.problems.iter();
    messages.map(|problem| problem.message.as_str()).collect()
}

/// A module of one function with so many locals, a parameter among them, in so many blocks within one another.
fn nested(locals: usize, block: &str, blocks: usize) -> Vec<u8> {
    let (more, open) = (
        "i32 ".repeat(locals - 1),
        format!("({block} ").repeat(blocks),
    );
    let close = ")".repeat(blocks);
    let module = format!("(module (func $deep (param i32) (local {more}) {open} {close}))");
    wat::parse_str(module).unwrap()
}

#[test]
fn a_function_that_takes_too_long_to_compile_is_a_problem() {
    for (locals, block, blocks, fits) in [
        (252, "block", 256, true),
        (253, "block", 256, false),
        (124, "loop", 128, true),
        (124, "loop", 129, false),
        (1_002, "loop", 50, false),
        (40_000, "block", 1, true),
    ] {
        let inspection = inspect(&nested(locals, block, blocks));
        let problems = messages(&inspection);
        assert_eq!(
            problems.is_empty(),
            fits,
            "{locals} {block} {blocks}: {problems:?}"
        );
        if !fits {
            let named = format!("function 0 `deep`: {locals} locals with ");
            assert!(problems[0].starts_with(&named), "{problems:?}");
        }
    }
}

/// What is wrong with a module of one function: this one.
fn problems_of(types: &str, function: &str) -> Vec<String> {
    let text = format!("(module {types} (func $slow {function}))");
    let problems = inspect_text(&text).problems;
    problems
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

/// A function with `bound` of something is taken, and with one more it is refused in these words.
fn bounded(types: &str, function: impl Fn(usize) -> String, bound: usize, words: &str) {
    assert_eq!(problems_of(types, &function(bound)), [""; 0]);
    let problems = problems_of(types, &function(bound + 1));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("function 0 `slow`: "),
        "{problems:?}"
    );
    assert!(problems[0].contains(words), "{problems:?}");
}

#[test]
fn the_loops_of_a_function_are_bounded() {
    let loops = |n| "(loop)".repeat(n);
    bounded(
        "",
        loops,
        1_000,
        "1001 loops take too long to compile: 1000 are allowed",
    );
}

#[test]
fn blocks_without_locals_are_bounded() {
    let blocks = |n| "(block)".repeat(n);
    let words = "0 locals with 0 loops and 16385 other blocks";
    bounded("", blocks, 16_384, words);
}

#[test]
fn branches_times_locals_are_bounded() {
    let branches = |n: usize| {
        let branches = "(br_if 0 (i32.const 0))".repeat(n);
        format!("(local {}) {branches}", "i32 ".repeat(1_020))
    };
    bounded("", branches, 1_024, "1020 locals with 1025 branches");
    let tables = |n: usize| {
        let tables = "(br_table 0 1 0 1 0 1 0 (i32.const 0))".repeat(n);
        format!("(local {}) (block {tables})", "i32 ".repeat(1_020))
    };
    bounded("", tables, 512, "1020 locals with 1026 branches");
}

#[test]
fn the_values_that_blocks_carry_are_bounded() {
    let types = "(type $wide (func (param i32 i32) (result i32 i32 i32)))";
    for block in ["loop", "block"] {
        let blocks = |n: usize| {
            let block = format!(
                "i32.const 0 i32.const 0 {block} (type $wide) i32.const 0 end drop drop drop "
            );
            block.repeat(n / 4)
        };
        // Loops are bounded themselves, at fewer than these.
        let most = if block == "loop" { 1_000 * 4 } else { 4_096 };
        assert_eq!(problems_of(types, &blocks(most)), [""; 0]);
        let problems = problems_of(types, &blocks(4_100));
        let words = "4100 values that blocks, branches and calls carry take too long to compile";
        assert!(
            problems.iter().any(|problem| problem.contains(words)),
            "{problems:?}"
        );
    }
}

#[test]
fn the_values_that_calls_and_branches_carry_are_bounded() {
    let types = "(type $many (func (result i32 i32))) (table 1 funcref)";
    let calls = |n: usize| "i32.const 0 call_indirect (type $many) drop drop ".repeat(n);
    bounded(types, calls, 4_096, "4097 values");
    let itself = |n: usize| {
        let calls = "call $slow drop drop ".repeat(n);
        format!("(result i32 i32) {calls} i32.const 0 i32.const 0")
    };
    bounded("", itself, 4_096, "4097 values");
    let branches = |n: usize| {
        let branches = "i32.const 0 br_if 0 ".repeat(n);
        format!("(result i32 i32) i32.const 0 i32.const 0 {branches}")
    };
    bounded("", branches, 4_096, "4097 values");
}

const EVERYTHING: &str = r#"
    (module $guest
        (import "env" "read" (func $read (param i32 i64) (result i32)))
        (import "env" "memory" (memory 1 4))
        (global $count (mut i64) (i64.const 0))
        (table 3 9 funcref)
        (func $small)
        (func $large (param v128 f32) (result f64 i32)
            (f64.const 1)
            (i32.const 2))
        (export "large" (func $large))
        (export "read" (func $read))
        (export "memory" (memory 0))
        (export "count" (global $count))
        (export "table" (table 0))
        (@producers
            (language "Rust" "2024")
            (sdk "extengine" "0.1")))"#;

#[test]
fn a_module_says_what_it_offers_and_needs() {
    let inspection = inspect_text(EVERYTHING);
    assert_eq!(messages(&inspection), Vec::<&str>::new());
    let info = inspection.info;
    assert_eq!(info.name.as_deref(), Some("guest"));

    let imports: Vec<String> = info
        .imports
        .iter()
        .map(|import| format!("{}.{}: {}", import.module, import.name, import.ty))
        .collect();
    assert_eq!(
        imports,
        [
            "env.read: function (i32, i64) -> i32",
            "env.memory: memory of 1 to 4 pages"
        ]
    );
    let exports: Vec<String> = info
        .exports
        .iter()
        .map(|export| format!("{}: {}", export.name, export.ty))
        .collect();
    assert_eq!(
        exports,
        [
            "large: function (v128, f32) -> (f64, i32)",
            "read: function (i32, i64) -> i32",
            "memory: memory of 1 to 4 pages",
            "count: mutable global i64",
            "table: table of 3 to 9 funcref"
        ]
    );
    let large = FuncSig {
        params: vec![ValType::V128, ValType::F32],
        results: vec![ValType::F64, ValType::I32],
    };
    let found = info.export("large").map(|export| export.ty.clone());
    assert_eq!(found, Some(ItemType::Func(Arc::new(large))));

    assert_eq!(info.functions, 2);
    let largest = info.largest_function.unwrap();
    assert_eq!((largest.index, largest.name.as_deref()), (2, Some("large")));
    assert_eq!(largest.bytes, 13);
    let memory = Memory {
        min_pages: 1,
        max_pages: Some(4),
    };
    assert_eq!(info.memories, [memory]);
    let table = Table {
        element: ValType::FuncRef,
        min: 3,
        max: Some(9),
    };
    assert_eq!(info.tables, [table]);
    assert!(!info.start);
    let producers: Vec<String> = info
        .producers
        .iter()
        .map(|producer| format!("{} {} {}", producer.role, producer.name, producer.version))
        .collect();
    assert_eq!(producers, ["language Rust 2024", "sdk extengine 0.1"]);
}

#[test]
fn each_function_is_checked_for_itself() {
    let inspection = inspect_text(
        r#"(module
            (import "nowhere" "unknown" (func))
            (func $good)
            (func $tail (return_call $good))
            (func $typed (result i32) (i64.const 1)))"#,
    );
    assert_eq!(
        messages(&inspection),
        [
            "function 2 `tail`: needs the proposal `tail-call`, which not every engine runs: \
             tail calls support is not enabled",
            "function 3 `typed`: type mismatch: expected i32, found i64",
        ]
    );
    assert_eq!(inspection.info.imports[0].name, "unknown");
}

#[test]
fn a_section_of_a_missing_proposal_hides_no_other_problem() {
    let inspection = inspect_text(
        r#"(module
            (memory i64 1)
            (tag)
            (func $relaxed (param v128) (result v128)
                (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))
            (export "relaxed" (func $relaxed)))"#,
    );
    let all = messages(&inspection);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("`memory64`"), "{all:?}");
    assert!(all[1].contains("function 0 `relaxed`"), "{all:?}");
    assert!(all[1].contains("`relaxed-simd`"), "{all:?}");
    assert!(inspection.info.export("relaxed").is_some());
}

#[test]
fn a_proposal_that_is_missing_is_named() {
    for (text, proposal) in [
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (type (struct)))", "gc"),
        ("(module (func (param externref)))", "gc-types"),
        ("(module (tag))", "exceptions"),
        (
            "(module (func (result i64 i64)
                (i64.add128 (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1))))",
            "wide-arithmetic",
        ),
    ] {
        let inspection = inspect_text(text);
        let all = messages(&inspection);
        let named = all.iter().any(|m| m.contains(&format!("`{proposal}`")));
        assert!(named, "{text}: {all:?}");
    }
    assert_eq!(
        messages(&inspect_text("(module (memory 1) (memory 1))")),
        ["needs a proposal that not every engine runs: multiple memories"]
    );
}

#[test]
fn a_start_function_is_a_problem() {
    let inspection = inspect_text("(module (func $main) (start $main))");
    assert!(inspection.info.start);
    assert_eq!(
        messages(&inspection),
        [
            "function 0 `main`: the start function would run outside any budget: \
             move what it does into `WasmInit`"
        ]
    );
}

#[test]
fn what_is_no_core_module_is_a_problem() {
    let component = wat::parse_str("(component)").unwrap();
    for bytes in [b"".as_slice(), b"\0asm", b"(module)", &component] {
        let inspection = inspect(bytes);
        assert_eq!(inspection.problems.len(), 1, "{inspection:?}");
        assert_eq!(inspection.info, ModuleInfo::default());
    }
}

#[test]
fn a_module_that_is_cut_off_is_read_as_far_as_it_goes() {
    let whole = wat::parse_str(EVERYTHING).unwrap();
    let types_and_imports = 70;
    let inspection = inspect(&whole[..types_and_imports]);
    assert!(!inspection.problems.is_empty());
    assert_eq!(inspection.info.imports.len(), 2);
}

#[test]
fn many_problems_are_cut_short() {
    let text = format!("(module {})", "(func (result i32))".repeat(500));
    assert_eq!(inspect_text(&text).problems.len(), 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let inspection = inspect(&bytes);
        prop_assert!(!inspection.problems.is_empty());
        let module = [b"\0asm\x01\0\0\0", bytes.as_slice()].concat();
        let _ = inspect(&module);
    }

    #[test]
    fn a_damaged_module_is_read_without_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut module = wat::parse_str(EVERYTHING).unwrap();
        for (index, byte) in damage {
            let index = index.index(module.len());
            module[index] = byte;
        }
        let inspection = inspect(&module);
        // An inspection without problems is the promise that any engine will take it.
        if inspection.problems.is_empty() {
            let mut validator =
                wasmparser::Validator::new_with_features(engine_wasm_abi::inspect::FEATURES);
            prop_assert!(validator.validate_all(&module).is_ok());
        }
    }
}
