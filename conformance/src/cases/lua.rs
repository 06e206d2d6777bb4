//! What is special to Lua: its numbers, its error handling, and a library that reaches nothing outside.

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, Policy};
use serde_json::json;

use crate::host::{TIME, TestHost};
use crate::subject::{Answer, Setup, Subject};
use crate::suite;

fn probe(result: &str) -> Vec<ExtensionDecl> {
    vec![suite::declare("Probe", ExtensionKind::Command, "", result)]
}

fn setup(subject: &Subject, body: &str) -> Setup {
    let chunk = format!("function Probe()\n{body}\nend");
    subject.package().code(chunk.as_bytes(), probe("n: int"))
}

fn run(subject: &Subject, body: &str) -> Answer {
    let mut instance = setup(subject, body).instance();
    instance.call(&TestHost::new(), "Probe", json!({}))
}

/// Compiled chunks are refused: only text is checked.
pub fn bytecode_is_refused(subject: &Subject) {
    for code in [&b"\x1bLua"[..], b"\x1bLJ\x02", b"\x06\x03\0", b"\x03\x01\0"] {
        let setup = subject.package().code(code, probe(""));
        assert_eq!(setup.refusal().0, ErrorKind::Package);
    }
}

/// A byte order mark before the text is skipped, and one within it is not.
pub fn a_byte_order_mark_is_skipped(subject: &Subject) {
    let chunk = "\u{feff}function Probe() return { n = 7 } end";
    let marked = subject.package().code(chunk.as_bytes(), probe("n: int"));
    let answer = marked.instance().call(&TestHost::new(), "Probe", json!({}));
    assert_eq!(answer.ok().row(), json!({"n": 7}));
    for chunk in [
        "\u{feff}\u{feff}function Probe() end",
        "\u{feff}function Probe(",
    ] {
        let setup = subject.package().code(chunk.as_bytes(), probe(""));
        let (kind, report) = setup.refusal();
        assert_eq!(kind, ErrorKind::Package);
        assert!(report.contains("suite.lua:1"), "{report}");
    }
}

/// A global of the extension's name that is no function is none.
pub fn a_global_that_is_no_function_is_no_extension(subject: &Subject) {
    for chunk in ["Probe = 5", "Probe = {}", "local function Probe() end"] {
        let setup = subject.package().code(chunk.as_bytes(), probe(""));
        let (kind, report) = setup.refusal();
        assert_eq!(kind, ErrorKind::Package);
        assert!(report.contains("Probe"), "{report}");
    }
}

/// A chunk that fails or never ends while it is loaded is refused.
pub fn a_chunk_that_does_not_load_is_refused(subject: &Subject) {
    for (chunk, word) in [
        ("error('too early')", "too early"),
        ("while true do end", "deadline"),
        ("host.get('open', { group = 'g', n = 0 })", "host"),
        ("function Probe(", "suite.lua:1"),
    ] {
        let setup = subject.package().code(chunk.as_bytes(), probe(""));
        let setup = setup.limits(|limits| limits.deadline_ms = 100);
        let (kind, report) = setup.refusal();
        assert_eq!(kind, ErrorKind::Package, "{chunk}");
        assert!(report.contains(word), "{word} is not in: {report}");
    }
}

/// A number that is not a whole one, or beyond what a number holds exactly, is refused by its field's name.
pub fn numbers_are_not_rounded(subject: &Subject) {
    for number in ["1.5", "2^53", "-2^53", "0/0", "1/0", "'5'"] {
        let answer = run(subject, &format!("host.result({{ n = {number} }})"));
        let answer = answer.fails(ErrorKind::BadIntent);
        assert!(answer.message().contains('n'), "{}", answer.message());
    }
    for (number, n) in [("2^53 - 1", (1_i64 << 53) - 1), ("-0.0", 0), ("1e3", 1_000)] {
        let answer = run(subject, &format!("host.result({{ n = {number} }})")).ok();
        assert_eq!(answer.row(), json!({"n": n}));
    }
}

/// A field that the schema does not have is refused, so that a slip of the pen is found.
pub fn an_unknown_field_is_a_bad_intent(subject: &Subject) {
    let answer = run(subject, "host.result({ n = 1, m = 2 })");
    let answer = answer.fails(ErrorKind::BadIntent);
    assert!(answer.message().contains("`m`"), "{}", answer.message());
}

/// An error that the guest raises and catches is its own affair.
pub fn a_caught_error_is_no_failure(subject: &Subject) {
    let answer = run(
        subject,
        "local ok = pcall(error, { code = 5 })
         local fine = select(2, xpcall(function() error('x') end, function() return 7 end))
         host.result({ n = if ok then 0 else fine })",
    );
    assert_eq!(answer.ok().row(), json!({"n": 7}));
}

/// Whatever the guest raises and does not catch is a crash, be it text, a table or nothing.
pub fn any_uncaught_error_is_a_trap(subject: &Subject) {
    for raised in [
        "'text'",
        "{ kind = 'rejected' }",
        "nil",
        "5",
        "setmetatable({}, { __tostring = error })",
    ] {
        run(subject, &format!("error({raised})")).fails(ErrorKind::Trap);
    }
}

/// No way to run code in protection swallows a deadline.
pub fn nothing_swallows_a_deadline(subject: &Subject) {
    let spin = "function() while true do end end";
    for body in [
        format!("while true do pcall({spin}) end"),
        format!("while true do xpcall({spin}, function() while true do end end) end"),
        format!("while true do local co = coroutine.create({spin}) coroutine.resume(co) end"),
        format!("while true do pcall(coroutine.wrap({spin})) end"),
        format!(
            "local t = setmetatable({{}}, {{ __index = {spin} }}) while true do pcall(function() return t.x end) end"
        ),
    ] {
        let setup = setup(subject, &body).limits(|limits| limits.deadline_ms = 100);
        let answer = setup.instance().call(&TestHost::new(), "Probe", json!({}));
        answer.hits(Limit::Deadline);
    }
}

/// A search for a pattern that takes time without end is ended by the deadline, and a needlessly large one refused.
pub fn a_pattern_cannot_hold_the_thread(subject: &Subject) {
    let body = "local text = string.rep('a', 40)
        while true do string.find(text, string.rep('a-', 30) .. 'b') end";
    let setup = setup(subject, body).limits(|limits| limits.deadline_ms = 100);
    let answer = setup.instance().call(&TestHost::new(), "Probe", json!({}));
    answer.hits(Limit::Deadline);
}

/// Nothing of the library reaches the machine, loads code or looks behind the sandbox.
pub fn the_library_reaches_nothing_outside(subject: &Subject) {
    let answer = run(
        subject,
        "local found = 0
         for _, value in { io or 0, loadstring or 0, require or 0, getfenv or 0, setfenv or 0, package or 0,
             dofile or 0, loadfile or 0, os.execute or 0, os.getenv or 0, os.remove or 0, debug.info or 0 } do
           if value ~= 0 then found += 1 end
         end
         host.result({ n = found })",
    );
    assert_eq!(answer.ok().row(), json!({"n": 0}));
}

/// What a guest does to the libraries it does to nobody: they cannot be changed.
pub fn the_library_cannot_be_changed(subject: &Subject) {
    run(subject, "string.rep = nil").fails(ErrorKind::Trap);
    run(subject, "host.get = nil").fails(ErrorKind::Trap);
}

/// Lua's own clock and random numbers are the invocation's.
pub fn time_and_random_numbers_are_the_invocations(subject: &Subject) {
    let answer = run(subject, "host.result({ n = os.time() })").ok();
    assert_eq!(answer.row(), json!({"n": TIME / 1_000_000}));
    let mut instance = setup(subject, "host.result({ n = math.random(1, 2^31 - 1) })").instance();
    let mut call = |host: TestHost| instance.call(&host, "Probe", json!({})).ok().row();
    let first = call(TestHost::new());
    assert_eq!(call(TestHost::new()), first);
    assert_ne!(call(TestHost::new().seed(9)), first);
}

/// What a guest prints goes to the host's log.
pub fn print_goes_to_the_log(subject: &Subject) {
    let host = TestHost::new();
    let mut instance = setup(subject, "print('one', 2)").instance();
    instance.call(&host, "Probe", json!({})).ok();
    assert_eq!(host.log_lines()[0].1, "one\t2");
}

/// A storage's name that is no UTF-8 is the name of no storage.
pub fn a_name_that_is_not_utf8_is_denied(subject: &Subject) {
    for body in [
        "host.get('\\xff', { group = 'g', n = 0 })",
        "host.read('\\xff', {}, print)",
        "host.put_value('\\xff', { group = 'g', n = 0 }, { v = 'v' })",
    ] {
        run(subject, body).fails(ErrorKind::Denied);
    }
}

fn fuelled(subject: &Subject, body: &str, fuel: u64) -> Setup {
    setup(subject, body).limits(|limits| limits.fuel = Some(fuel))
}

/// The same work burns the same fuel each time.
pub fn fuel_is_the_same_each_time(subject: &Subject) {
    let body = "for i = 1, 100 do host.get('open', { group = 'g', n = i }) end";
    let burn = |fuel| {
        let mut instance = fuelled(subject, body, fuel).instance();
        let mut call = || instance.call(&TestHost::new(), "Probe", json!({})).ok();
        let burnt = call().ledger.fuel;
        assert_eq!(call().ledger.fuel, burnt);
        burnt.expect("fuel is counted")
    };
    let burnt = burn(1_000_000);
    assert_eq!(burn(burnt), burnt);
    let mut instance = fuelled(subject, body, burnt - 1).instance();
    for _ in 0..2 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({}));
        answer.hits(Limit::Fuel);
    }
}

/// The chunk that starts a sandbox takes no fuel, whichever sandbox it starts, and an invocation has all of its own.
pub fn a_chunk_takes_no_fuel(subject: &Subject) {
    let body = "local n = 0 for i = 1, 100 do n = n + 1 end return { n = n }";
    let burn = |chunk: &str, fuel, policy| {
        let text = format!("{chunk} function Probe() {body} end");
        let setup = fuelled(subject, body, fuel).policy(policy);
        let mut instance = setup.code(text.as_bytes(), probe("n: int")).instance();
        let mut call = || {
            let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
            answer.ledger.fuel.expect("fuel is counted")
        };
        let burnt = call();
        assert_eq!(call(), burnt, "{policy:?}");
        burnt
    };
    let burnt = burn("", 1_000_000, Policy::Keep);
    for policy in [Policy::Keep, Policy::Fresh] {
        let chunk = "local n = 0 for i = 1, 100000 do n = n + 1 end";
        assert_eq!(burn(chunk, burnt, policy), burnt);
    }
}

/// Fuel ends a loop without end long before its deadline, caught or not.
pub fn fuel_ends_a_lua_loop(subject: &Subject) {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
    ] {
        let mut instance = fuelled(subject, body, 10_000).instance();
        let answer = instance.call(&TestHost::new(), "Probe", json!({}));
        answer.hits(Limit::Fuel);
    }
}
