//! What each construct costs, to the unit.

use std::num::NonZeroU32;

use engine_wasm_abi::fuel::{Costs, meter};

use crate::engines::{End, Runner, Wasmtime};

/// Each kind of cost has a number of its own, so that none can be taken for another.
const COSTS: Costs = Costs {
    instruction: 1,
    call: 100,
    bytes_per_unit: NonZeroU32::new(64).unwrap(),
    element: 1_000,
    page: 10_000,
};

fn used(text: &str, argument: i32) -> u64 {
    let original = wat::parse_str(format!("(module {text})")).unwrap();
    let metered = meter(&original, &COSTS).unwrap();
    let outcome = Wasmtime::compile(&metered).run(argument, None, 10);
    outcome.used
}

/// The same for the body of `run: (i32) -> i64`.
fn used_by(body: &str, argument: i32) -> u64 {
    used(
        &format!(r#"(func (export "run") (param i32) (result i64) {body})"#),
        argument,
    )
}

#[test]
fn instructions_are_counted_and_shape_is_free() {
    assert_eq!(used_by("i64.const 1", 0), 1);
    assert_eq!(used_by("nop i64.const 1 i64.const 2 drop", 0), 2);
    assert_eq!(used_by("block nop end i64.const 1 return", 0), 1);
}

#[test]
fn an_entry_costs_something_even_where_all_is_free() {
    assert_eq!(used_by("unreachable", 0), 1);
    let empty = r#"(func $f) (func (export "run") (param i32) (result i64) call $f i64.const 1)"#;
    assert_eq!(used(empty, 0), 100 + 1 + 1);
}

#[test]
fn only_the_taken_arm_is_charged() {
    let body = "local.get 0
        if (result i64) i64.const 1 else i64.const 2 i64.const 3 i64.add end
        i64.const 1 i64.add";
    assert_eq!(used_by(body, 1), 2 + 1 + 2);
    assert_eq!(used_by(body, 0), 2 + 3 + 2);
    let without_else = "local.get 0 if i64.const 1 drop end i64.const 1";
    assert_eq!(used_by(without_else, 1), 2 + 1 + 1);
    assert_eq!(used_by(without_else, 0), 2 + 1);
    let arms_that_leave = "local.get 0
        if i64.const 1 return else i64.const 2 i64.const 3 drop return end unreachable";
    assert_eq!(used_by(arms_that_leave, 1), 2 + 1);
    assert_eq!(used_by(arms_that_leave, 0), 2 + 2);
}

#[test]
fn a_taken_branch_skips_the_charge_of_what_it_skips() {
    let body = "block local.get 0 br_if 0 i64.const 1 i64.const 1 drop drop end i64.const 1";
    assert_eq!(used_by(body, 1), 2 + 1);
    assert_eq!(used_by(body, 0), 2 + 2 + 1);
    let branch_out_of_if = "block local.get 0 if br 1 end i64.const 1 drop end i64.const 1";
    assert_eq!(used_by(branch_out_of_if, 1), 2 + 1 + 1);
    assert_eq!(used_by(branch_out_of_if, 0), 2 + 1 + 1);
}

#[test]
fn every_round_of_a_loop_is_charged() {
    let body = "loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end i64.const 0";
    assert_eq!(used_by(body, 1), 1 + 5 + 1);
    assert_eq!(used_by(body, 10), 1 + 10 * 5 + 1);
    let nested =
        "loop loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 1 end end i64.const 0";
    assert_eq!(used_by(nested, 10), 1 + 10 * (1 + 5) + 1);
}

#[test]
fn each_target_of_a_br_table_is_charged_for_itself() {
    let body = "block block block
            local.get 0 br_table 0 1 2
        end i64.const 10 return
        end i64.const 20 i64.const 1 i64.add return
        end i64.const 30";
    assert_eq!(used_by(body, 0), 2 + 1);
    assert_eq!(used_by(body, 1), 2 + 3);
    assert_eq!(used_by(body, 2), 2 + 1);
}

#[test]
fn dead_code_is_free() {
    let body = "i64.const 1 return
        i64.const 2 drop loop br 0 end
        i32.const 0 if i64.const 1 drop else i64.const 1 drop end
        block br 0 end i64.const 3 i64.const 4 drop";
    assert_eq!(used_by(body, 0), 1);
}

#[test]
fn bulk_operations_are_charged_by_length() {
    let memory = |op: &str| {
        let text = r#"(memory 1) (data $d "0123456789")
            (func (export "run") (param i32) (result i64)"#;
        format!("{text} i32.const 0 i32.const 0 local.get 0 {op} i64.const 0)")
    };
    for (length, units) in [(0, 0), (63, 0), (64, 1), (6400, 100), (6463, 100)] {
        assert_eq!(used(&memory("memory.fill"), length), 5 + units);
        assert_eq!(used(&memory("memory.copy"), length), 5 + units);
    }
    // What traps has been paid for: the length is charged before the operation.
    assert_eq!(used(&memory("memory.init $d"), 128), 5 + 2);
    assert_eq!(
        used(&memory("memory.fill"), -1),
        5 + (u64::from(u32::MAX) >> 6)
    );
    let grow = r#"(memory 1 3) (func (export "run") (param i32) (result i64)
        local.get 0 memory.grow drop i64.const 0)"#;
    assert_eq!(used(grow, 0), 3);
    assert_eq!(used(grow, 2), 3 + 20_000);
    assert_eq!(used(grow, 5), 3 + 50_000);

    let table = |op: &str| {
        let text = r#"(table $t 9 99 funcref) (elem $e func 0 0 0)
            (func (export "run") (param i32) (result i64)"#;
        format!("{text} i32.const 0 {op} i64.const 0)")
    };
    assert_eq!(
        used(&table("ref.null func local.get 0 table.fill $t"), 3),
        5 + 3_000
    );
    assert_eq!(
        used(&table("i32.const 0 local.get 0 table.copy $t $t"), 3),
        5 + 3_000
    );
    assert_eq!(
        used(&table("i32.const 0 local.get 0 table.init $t $e"), 3),
        5 + 3_000
    );
    assert_eq!(
        used(
            &table("drop ref.null func local.get 0 table.grow $t drop"),
            3
        ),
        5 + 3_000
    );
}

#[test]
fn nothing_runs_forever_where_all_is_free() {
    let free = Costs {
        instruction: 0,
        call: 0,
        element: 0,
        page: 0,
        ..COSTS
    };
    for body in ["loop br 0 end unreachable", "local.get 0 call 0"] {
        let text = format!(r#"(module (func (export "run") (param i32) (result i64) {body}))"#);
        let metered = meter(&wat::parse_str(text).unwrap(), &free).unwrap();
        let outcome = Wasmtime::compile(&metered).run(0, Some(100), 10);
        assert_eq!(outcome.end, End::OutOfFuel, "{body}");
    }
}
