//! Limits on what a module is and on what it grows to, and fuel, which is the same on every WASM engine.

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;
use engine_core::manifest::Policy;
use serde_json::json;

use super::wasm_exports::{call, setup};
use crate::host::TestHost;
use crate::subject::{Setup, Subject};
use crate::wat::Guest;

/// What the guest of [`fuel_is_the_same_on_every_engine`] burns, of all engines the same.
const FUEL: u64 = 1_748;

/// Makes sure that the report on a package names a limit.
fn refused_for(setup: Setup, limit: Limit) {
    let (kind, report) = setup.refusal();
    assert_eq!(kind, ErrorKind::Package);
    let name = format!("limit `{limit}`");
    assert!(report.contains(&name), "{name} is not in: {report}");
}

/// The number of functions is limited.
pub fn the_number_of_functions_is_limited(subject: &Subject) {
    let guest = Guest::default();
    setup(subject, &guest)
        .limits(|limits| limits.functions = 7)
        .load()
        .expect("as many as allowed");
    let few = setup(subject, &guest).limits(|limits| limits.functions = 6);
    refused_for(few, Limit::Functions);
}

/// The size of the largest function is limited.
pub fn the_size_of_a_function_is_limited(subject: &Subject) {
    let guest = Guest::default().run(&format!("{} (i32.const 0)", "nop ".repeat(5_000)));
    setup(subject, &guest)
        .limits(|limits| limits.function_bytes = 6_000)
        .load()
        .expect("as large as allowed");
    let small = setup(subject, &guest).limits(|limits| limits.function_bytes = 5_000);
    refused_for(small, Limit::FunctionBytes);
}

/// A table that begins above its limit is refused at load.
pub fn a_table_above_its_limit_is_refused(subject: &Subject) {
    let guest = Guest::default().and("(table 101 funcref)");
    setup(subject, &guest)
        .limits(|limits| limits.table_elements = 101)
        .load()
        .expect("as large as allowed");
    let small = setup(subject, &guest).limits(|limits| limits.table_elements = 100);
    refused_for(small, Limit::TableElements);
}

/// A memory that begins above its limit is refused at load.
pub fn a_memory_above_its_limit_is_refused(subject: &Subject) {
    let guest = Guest::default().with("memory", r#"(memory (export "memory") 33)"#);
    setup(subject, &guest)
        .limits(|limits| limits.memory = 33 << 16)
        .load()
        .expect("as large as allowed");
    let small = setup(subject, &guest).limits(|limits| limits.memory = 32 << 16);
    refused_for(small, Limit::Memory);
}

/// A memory grows up to its limit, and one page more ends the call though the guest goes on.
pub fn a_denied_growth_of_memory_ends_the_call(subject: &Subject) {
    for (pages, fits) in [(30, true), (31, false), (0xffff, false), (-1, false)] {
        let guest = Guest::default().run(&format!(
            "(drop (memory.grow (i32.const {pages}))) (i32.const 0)"
        ));
        let setup = setup(subject, &guest).limits(|limits| limits.memory = 32 << 16);
        let answer = setup.instance().call(&TestHost::new(), "Probe", json!({}));
        if fits {
            assert_eq!(answer.ok().ledger.memory, 32 << 16);
        } else {
            answer.hits(Limit::Memory);
        }
    }
}

/// A table grows up to its limit, and one element more ends the call though the guest goes on.
pub fn a_denied_growth_of_a_table_ends_the_call(subject: &Subject) {
    for (elements, fits) in [(90, true), (91, false)] {
        let guest = Guest::default().and("(table $t 10 funcref)").run(&format!(
            "(drop (table.grow $t (ref.null func) (i32.const {elements}))) (i32.const 0)"
        ));
        let setup = setup(subject, &guest).limits(|limits| limits.table_elements = 100);
        let answer = setup.instance().call(&TestHost::new(), "Probe", json!({}));
        if fits {
            answer.ok();
        } else {
            answer.hits(Limit::TableElements);
        }
    }
}

/// A memory that a guest grew is small again in the next invocation under `fresh`.
pub fn a_fresh_instance_has_its_first_memory(subject: &Subject) {
    let guest = Guest::default()
        .asking("(block (result i32) (drop (memory.grow (i32.const 10))) (memory.size))");
    let mut instance = setup(subject, &guest).policy(Policy::Fresh).instance();
    for _ in 0..3 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
        assert_eq!(answer.row(), json!({"n": 12}));
    }
}

/// A guest that loops a hundred times, copies and fills.
fn worker() -> Guest {
    Guest::default().run(
        "(local $i i32)
         (loop $again
           (memory.fill (i32.const 2048) (i32.const 7) (i32.const 100))
           (memory.copy (i32.const 3072) (i32.const 2048) (local.get $i))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))
         (i32.const 0)",
    )
}

fn fuelled(subject: &Subject, fuel: u64) -> Setup {
    setup(subject, &worker()).limits(|limits| limits.fuel = Some(fuel))
}

/// The same work burns the same fuel, on every engine and each time.
pub fn fuel_is_the_same_on_every_engine(subject: &Subject) {
    let mut instance = fuelled(subject, 1_000_000).instance();
    for _ in 0..3 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
        assert_eq!(answer.ledger.fuel, Some(FUEL));
    }
}

/// Fuel that just suffices does, one unit less does not, and the next invocation has its own.
pub fn fuel_is_kept_exactly(subject: &Subject) {
    let mut instance = fuelled(subject, FUEL).instance();
    instance.call(&TestHost::new(), "Probe", json!({})).ok();
    instance.call(&TestHost::new(), "Probe", json!({})).ok();
    let mut instance = fuelled(subject, FUEL - 1).instance();
    for _ in 0..2 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({}));
        answer.hits(Limit::Fuel);
    }
}

/// What starts a guest takes no fuel, and an invocation has all of its own.
pub fn a_start_takes_no_fuel(subject: &Subject) {
    let start = r#"(func (export "WasmInit") (local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 100000)))))"#;
    for policy in [Policy::Keep, Policy::Fresh] {
        let setup = setup(subject, &worker().with("init", start)).policy(policy);
        let mut instance = setup.limits(|limits| limits.fuel = Some(FUEL)).instance();
        for _ in 0..2 {
            let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
            assert_eq!(answer.ledger.fuel, Some(FUEL));
        }
    }
}

/// Without a limit on fuel the ledger has none.
pub fn without_a_limit_there_is_no_fuel(subject: &Subject) {
    assert_eq!(call(subject, &worker()).ok().ledger.fuel, None);
}

/// Fuel ends a loop without end long before its deadline.
pub fn fuel_ends_a_loop(subject: &Subject) {
    let guest = Guest::default().run("(loop $again (br $again)) (i32.const 0)");
    let setup = setup(subject, &guest).limits(|limits| limits.fuel = Some(100_000));
    let answer = setup.instance().call(&TestHost::new(), "Probe", json!({}));
    let answer = answer.hits(Limit::Fuel);
    assert!(answer.ledger.fuel.is_some_and(|fuel| fuel >= 100_000));
}

/// A function of many locals within many loops is refused by its name, before anything compiles it.
pub fn a_function_that_takes_too_long_to_compile_is_refused(subject: &Subject) {
    let (locals, open, close) = ("i32 ".repeat(2_000), "(loop ".repeat(200), ")".repeat(200));
    let guest = Guest::default().and(format!("(func $deep (local {locals}) {open} {close})"));
    let (kind, report) = setup(subject, &guest).refusal();
    assert_eq!(kind, ErrorKind::Package);
    assert!(
        report.contains("`deep`: 2000 locals with 200 loops"),
        "{report}"
    );
    assert!(report.contains("too long to compile"), "{report}");
}
