//! What a WASM guest exports: each export there and right, missing, of another type, trapping, or without end.

use engine_core::engine::Code;
use engine_core::error::{Error, ErrorKind};
use engine_core::limits::Limit;
use serde_json::json;

use crate::host::TestHost;
use crate::subject::{Answer, Instance, Setup, Subject};
use crate::wat::{EXPORTS, Guest, probe};

pub(super) fn setup(subject: &Subject, guest: &Guest) -> Setup {
    subject.package().code(&guest.assemble(), probe("n: int"))
}

/// Calls the probe of a guest once.
pub(super) fn call(subject: &Subject, guest: &Guest) -> Answer {
    let mut instance = setup(subject, guest).instance();
    instance.call(&TestHost::new(), "Probe", json!({}))
}

/// What keeps a guest from becoming an instance.
pub(super) fn start_error(setup: Setup) -> Error {
    let package = setup.load().expect("the package loads");
    let instance = package.instantiate();
    instance.expect_err("the guest cannot be initialised")
}

fn refusal(subject: &Subject, guest: &Guest) -> String {
    let (kind, report) = setup(subject, guest).refusal();
    assert_eq!(kind, ErrorKind::Package);
    report
}

/// A guest with every export loads and runs.
pub fn a_guest_with_every_export_runs(subject: &Subject) {
    let answer = call(subject, &Guest::default()).ok();
    assert!(answer.intents.is_empty() && answer.results.is_empty());
}

/// Whatever export is missing is named at load, all of them at once.
pub fn missing_exports_are_named_at_load(subject: &Subject) {
    let mut bare = Guest::default();
    for (part, name) in EXPORTS {
        let without = if part == "memory" { "(memory 2)" } else { "" };
        let report = refusal(subject, &Guest::default().with(part, without));
        assert!(report.contains(name), "{name} is not in: {report}");
        bare = bare.with(part, without);
    }
    let report = refusal(subject, &bare);
    for (_, name) in EXPORTS {
        assert!(report.contains(name), "{name} is not in: {report}");
    }
}

/// An export that is no function of the type that is due is named at load.
pub fn exports_of_another_type_are_named_at_load(subject: &Subject) {
    for (part, name) in EXPORTS {
        for other in [
            format!(r#"(func (export "{name}") (param i64))"#),
            format!(r#"(global (export "{name}") i32 (i32.const 0))"#),
        ] {
            let memory = if part == "memory" { "(memory 2)" } else { "" };
            let guest = Guest::default().with(part, memory).and(other);
            let report = refusal(subject, &guest);
            assert!(report.contains(name), "{name} is not in: {report}");
        }
    }
}

/// A guest of another version of the ABI is refused with the version that it has.
pub fn another_abi_version_is_refused(subject: &Subject) {
    let guest = Guest::default().with("version", r#"(func (export "WasmAbiVersion_9_7"))"#);
    let report = refusal(subject, &guest);
    assert!(report.contains("9_7") || report.contains("9.7"), "{report}");
}

/// A start function is refused: it would run before anything bounds it.
pub fn a_start_function_is_refused(subject: &Subject) {
    let guest = Guest::default().and("(func $start) (start $start)");
    assert!(refusal(subject, &guest).contains("start"));
}

/// Each export writes a letter; the run answers all letters so far.
fn diary() -> Guest {
    let note = |letter: char| format!("(call $note (i32.const {}))", u32::from(letter));
    let export = |name: &str, letter| format!(r#"(func (export "{name}") {})"#, note(letter));
    let guest = Guest::default()
        .with("version", export("WasmAbiVersion_1_0", 'v'))
        .with("init", export("WasmInit", 'I'))
        .with("finit", export("WasmFinit", 'f'))
        .with(
            "reset",
            format!(
                r#"(func (export "WasmReset") {} (global.set $top (i32.const 32768)))"#,
                note('r')
            ),
        )
        .with(
            "malloc",
            format!(
                r#"(func (export "WasmMalloc") (param $size i32) (result i32) {}
                     (global.get $top)
                     (global.set $top (i32.add (global.get $top) (local.get $size))))"#,
                note('m')
            ),
        )
        .and(export("_initialize", 'i'))
        .and(
            r#"(func $note (param $letter i32)
                 (i32.store8 (i32.add (i32.const 1042) (global.get $n)) (local.get $letter))
                 (global.set $n (i32.add (global.get $n) (i32.const 1))))"#,
        );
    // The result block: no message; one record, a row of one text, whose length is known when it runs.
    let head = crate::wat::le(&[0, 0, 0, 18, 1024]);
    guest
        .data(256, &head)
        .data(1024, &crate::wat::record(0, "", &[], &[0x91, 0xa0]))
        .run(&format!(
            "{}
             (i32.store8 (i32.const 1041) (i32.or (i32.const 0xa0) (global.get $n)))
             (i32.store (i32.const 1036) (i32.add (i32.const 2) (global.get $n)))
             (i32.store (i32.const 268) (i32.add (i32.const 18) (global.get $n)))
             (i32.const 256)",
            note('R')
        ))
}

/// The life cycle: `_initialize`, version, `WasmInit` once; for each invocation the name, the arguments, the run and a reset.
pub fn exports_are_called_in_order(subject: &Subject) {
    let code = diary().assemble();
    let setup = subject.package().code(&code, probe("letters: text"));
    let mut instance = setup.instance();
    let mut lived = "ivI".to_owned();
    for _ in 0..4 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
        lived.push_str("mmR");
        assert_eq!(answer.row(), json!({"letters": lived}));
        lived.push('r');
    }
}

/// A guest that traps while it is initialised gives no instance.
pub fn a_trap_in_initialisation_gives_no_instance(subject: &Subject) {
    for (part, name) in [("version", "WasmAbiVersion_1_0"), ("init", "WasmInit")] {
        let trap = format!(r#"(func (export "{name}") unreachable)"#);
        let guest = Guest::default().with(part, trap);
        let error = start_error(setup(subject, &guest));
        assert_eq!(error.kind(), ErrorKind::Trap, "{name}: {error}");
    }
    let guest = Guest::default().and(r#"(func (export "_initialize") unreachable)"#);
    assert_eq!(start_error(setup(subject, &guest)).kind(), ErrorKind::Trap);
}

/// Initialisation has a deadline too.
pub fn initialisation_has_a_deadline(subject: &Subject) {
    let guest = Guest::default().with(
        "init",
        r#"(func (export "WasmInit") (loop $again (br $again)))"#,
    );
    let setup = setup(subject, &guest).limits(|limits| limits.deadline_ms = 100);
    let error = start_error(setup);
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::Deadline));
}

/// A guest that asks its host before it is invoked breaks the rules.
pub fn initialisation_has_no_host(subject: &Subject) {
    let guest = Guest::default().key("open", b"").with(
        "init",
        r#"(func (export "WasmInit") (drop (call $get (i32.const 512) (i32.const 768))))"#,
    );
    let error = start_error(setup(subject, &guest));
    assert_eq!(error.kind(), ErrorKind::Abi);
}

/// Whatever a module may initialise its globals, tables and memory with is there when the guest runs.
pub fn every_initialiser_is_run(subject: &Subject) {
    let memory = r#"(memory (export "memory") 400)"#;
    for (items, value, answer) in [
        (
            "(global $sum i32 (i32.add (i32.const 3) (i32.const 4)))",
            "(global.get $sum)",
            7,
        ),
        ("(func $z) (elem func $z)", "(i32.const 7)", 7),
        (
            "(func $z) (global $f funcref (ref.func $z)) (elem declare func $z)",
            "(ref.is_null (global.get $f))",
            0,
        ),
        (
            "(func $z) (table $t 10 funcref) (elem (i32.const 4) funcref (ref.func $z) (ref.null func))",
            "(i32.sub (ref.is_null (table.get $t (i32.const 5))) (ref.is_null (table.get $t (i32.const 4))))",
            1,
        ),
        (
            r#"(data (i32.const 0x1400000) "\07")"#,
            "(i32.load8_u (i32.const 0x1400000))",
            7,
        ),
    ] {
        let guest = Guest::default().with("memory", memory).and(items);
        let mut instance = setup(subject, &guest.asking(value)).instance();
        let row = instance.call(&TestHost::new(), "Probe", json!({})).ok();
        assert_eq!(row.row(), json!({"n": answer}), "{items}");
    }
}

/// A segment beyond its memory or table gives no instance, and the error says what it is.
pub fn a_segment_out_of_bounds_is_said_to_be_one(subject: &Subject) {
    for (items, words) in [
        (
            r#"(data (i32.const 0x20000) "\07")"#,
            "a segment of data does not fit into its memory",
        ),
        (
            "(func $z) (table 1 funcref) (elem (i32.const 1) func $z)",
            "a segment of elements does not fit into its table",
        ),
    ] {
        let error = start_error(setup(subject, &Guest::default().and(items)));
        assert_eq!(error.kind(), ErrorKind::Trap, "{items}: {error}");
        assert!(error.message().contains(words), "{items}: {error}");
    }
}

/// A trap in the run is a trap, whichever instruction it comes from.
pub fn each_trap_is_a_trap(subject: &Subject) {
    for body in [
        "unreachable",
        "(i32.div_s (i32.const 1) (global.get $n))",
        "(i32.div_s (i32.const 0x80000000) (i32.const -1))",
        "(i32.load (i32.const 0x7fffffff))",
        "(i32.trunc_f64_s (f64.const nan))",
        "(call_indirect (result i32) (i32.const 7))",
    ] {
        let guest = Guest::default().and("(table 1 funcref)").run(body);
        let mut instance = setup(subject, &guest).instance();
        for _ in 0..2 {
            let answer = instance.call(&TestHost::new(), "Probe", json!({}));
            answer.fails(ErrorKind::Trap);
        }
    }
}

/// A trap in `WasmMalloc` while the host places the arguments is a trap.
pub fn a_trap_in_malloc_is_a_trap(subject: &Subject) {
    let guest = Guest::default().with(
        "malloc",
        r#"(func (export "WasmMalloc") (param i32) (result i32) unreachable)"#,
    );
    call(subject, &guest).fails(ErrorKind::Trap);
}

/// A `WasmMalloc` for the arguments is outside of `WasmRun`: it may ask its host for nothing.
pub fn a_malloc_that_asks_its_host_breaks_the_rules(subject: &Subject) {
    let guest = Guest::default().with(
        "malloc",
        r#"(func (export "WasmMalloc") (param i32) (result i32)
             (drop (call $get (i32.const 0) (i32.const 0))) (i32.const 32768))"#,
    );
    let answer = call(subject, &guest).fails(ErrorKind::Abi);
    assert_eq!(answer.ledger.host_reads, 0);
}

/// A `WasmMalloc` that has no memory for the arguments ends the invocation as `memory`.
pub fn a_malloc_without_memory_is_the_limit_memory(subject: &Subject) {
    let guest = Guest::default().with(
        "malloc",
        r#"(func (export "WasmMalloc") (param i32) (result i32) (i32.const 0))"#,
    );
    call(subject, &guest).hits(Limit::Memory);
}

/// A `WasmReset` that traps costs the instance, not the invocation that had ended before.
pub fn a_trap_in_reset_costs_only_the_instance(subject: &Subject) {
    let guest = Guest::default()
        .with("reset", r#"(func (export "WasmReset") unreachable)"#)
        .asking(
            "(block (result i32)
               (global.set $n (i32.add (global.get $n) (i32.const 1)))
               (global.get $n))",
        );
    let mut instance = setup(subject, &guest).instance();
    for _ in 0..3 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
        assert_eq!(answer.row(), json!({"n": 1}));
    }
}

/// A guest that fails or hangs in `WasmFinit` does no harm to whoever drops its instance.
pub fn a_guest_cannot_refuse_to_end(subject: &Subject) {
    for body in ["unreachable", "(loop $again (br $again))"] {
        let finit = format!(r#"(func (export "WasmFinit") {body})"#);
        let guest = Guest::default().with("finit", finit);
        let setup = setup(subject, &guest).limits(|limits| limits.deadline_ms = 100);
        let package = setup.load().expect("the package loads");
        drop(Instance::of(&package));
        let mut next = Instance::of(&package);
        next.call(&TestHost::new(), "Probe", json!({})).ok();
    }
}

/// A module that is cut off anywhere is refused.
pub fn a_truncated_module_is_refused(subject: &Subject) {
    let whole = Guest::default().assemble();
    // Names stand last, and a module is whole without them.
    let names = whole.windows(5).position(|bytes| bytes == b"\x04name");
    let end = names.expect("a section with names") - 3;
    for len in 0..end {
        let mut setup = setup(subject, &Guest::default());
        setup.code = Code::Bytes(whole[..len].into());
        let (kind, _) = setup.refusal();
        assert_eq!(kind, ErrorKind::Package, "cut off at byte {len}");
    }
}

/// A module that needs a proposal which not every engine runs is refused with the proposal's name.
pub fn a_proposal_that_not_every_engine_runs_is_refused(subject: &Subject) {
    for (items, name) in [
        (
            "(func (result i32) (i32.atomic.load (i32.const 0)))",
            "threads",
        ),
        (
            "(func (param v128) (result v128)
               (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
            "relaxed-simd",
        ),
        ("(tag)", "exceptions"),
        ("(func (return_call 0))", "tail-call"),
        ("(memory 1)", "multi"),
        ("(func (param externref))", "gc"),
    ] {
        let report = refusal(subject, &Guest::default().and(items));
        assert!(report.contains(name), "{name} is not in: {report}");
    }
    let guest = Guest::default().with("memory", r#"(memory (export "memory") i64 1)"#);
    assert!(refusal(subject, &guest).contains("memory64"));
}

/// Everything that is wrong with a module is in one report.
pub fn every_problem_of_a_module_is_in_one_report(subject: &Subject) {
    let guest = Guest::default()
        .with("reset", "")
        .with("imports", r#"(import "env" "HostFly" (func))"#)
        .with("finit", r#"(func (export "WasmFinit") (param i64))"#)
        .and("(func $start) (start $start)");
    let report = refusal(subject, &guest);
    for name in ["WasmReset", "HostFly", "WasmFinit", "start"] {
        assert!(report.contains(name), "{name} is not in: {report}");
    }
}

/// A module that tells its extensions is held to them at load, name and kind.
pub fn a_module_is_held_to_the_extensions_that_it_tells(subject: &Subject) {
    let telling = |lines: &str| {
        let section = format!(r#"(@custom "extengine.extensions" "{lines}")"#);
        Guest::default().and(section)
    };
    call(subject, &telling("query Other\\ncommand Probe\\n")).ok();
    for lines in ["query Other\\n", "query Probe\\n", ""] {
        let report = refusal(subject, &telling(lines));
        assert!(report.contains("Probe"), "{report}");
    }
}
