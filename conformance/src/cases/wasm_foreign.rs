//! Foreign functions from a guest of ABI 1.1: every answer of their imports, and what breaks their rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use engine_core::catalog::Catalog;
use engine_core::error::ErrorKind;
use engine_core::foreign::{ForeignFunctions, Purity};
use serde_json::json;

use super::wasm_exports::{setup, start_error};
use crate::host::TestHost;
use crate::subject::{Answer, Setup, Subject};
use crate::wat::{BUFFER, Guest};

/// Where the guests keep a function's name, and an argument.
const NAME: u32 = 16;
const ARGUMENT: u32 = 512;

fn guest() -> Guest {
    Guest::of_1_1().data(ARGUMENT, b"abc")
}

/// A package with functions of its own: `twice` gives the argument twice and counts its calls, `fail` fails.
fn counting(subject: &Subject, guest: &Guest) -> (Setup, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let mut functions = ForeignFunctions::new();
    functions
        .register("twice", Purity::Impure, move |bytes| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.repeat(2))
        })
        .register("fail", Purity::Impure, |_| Err("no".to_owned()));
    let mut setup = setup(subject, guest);
    let mut catalog = Catalog::clone(&setup.manifest.catalog);
    let ids: Vec<_> = functions
        .names()
        .filter_map(|name| functions.id(name))
        .collect();
    catalog.set_foreign(functions);
    setup.manifest.catalog = Arc::new(catalog);
    let extensions = setup.manifest.extensions.iter().cloned();
    setup.manifest.extensions = extensions.map(|e| e.calling(ids.clone())).collect();
    (setup, calls)
}

fn answer(setup: Setup) -> Answer {
    setup.instance().call(&TestHost::new(), "Probe", json!({}))
}

/// The number that an expression gives in a guest, which makes it positive.
fn number(subject: &Subject, expression: &str) -> i64 {
    let (setup, _) = counting(subject, &guest().answering_1_1(expression));
    answer(setup).ok().row()["n"].as_i64().expect("a number")
}

/// The functions in the order of their names.
const FAIL: u32 = 0;
const TWICE: u32 = 1;

/// Calls a function with the argument and a buffer of this length.
fn calling(function: u32, room: u32) -> String {
    format!(
        "(call $call (i32.const {function}) (i32.const {ARGUMENT}) (i32.const 3) (i32.const {BUFFER}) (i32.const {room}))"
    )
}

fn take(room: u32) -> String {
    format!("(call $take (i32.const {BUFFER}) (i32.const {room}))")
}

/// `HostForeign` answers one number for each function, also before the first invocation, and −1 for other names.
pub fn a_foreign_function_has_one_number(subject: &Subject) {
    for (name, found) in [
        (&b"twice"[..], 1),
        (b"fail", 0),
        (b"", -1),
        (b"ghost", -1),
        (b"\xff", -1),
    ] {
        let ask = format!(
            "(call $foreign (i32.const {NAME}) (i32.const {}))",
            name.len()
        );
        let init = format!(r#"(func (export "WasmInit") (global.set $n {ask}))"#);
        let guest = guest().data(NAME, name).with("init", init);
        let same = format!(
            "(if (i32.ne (global.get $n) {ask}) (then unreachable)) (i32.add (i32.const 10) (global.get $n))"
        );
        let (setup, _) = counting(subject, &guest.answering_1_1(&same));
        assert_eq!(answer(setup).ok().row()["n"], 10 + found, "{name:?}");
    }
}

/// `HostCall` answers the length of the answer, or one below its opposite for the words of a failure.
pub fn call_answers_each_outcome(subject: &Subject) {
    assert_eq!(number(subject, &calling(TWICE, 64)), 6);
    assert_eq!(number(subject, &calling(TWICE, 6)), 6);
    let failed = format!("(i32.add (i32.const 10) {})", calling(FAIL, 64));
    assert_eq!(number(subject, &failed), 10 - 1 - 2);
    let read = |call: String, at: u32| {
        format!("(drop {call}) (i32.load8_u offset={at} (i32.const {BUFFER}))")
    };
    assert_eq!(
        number(subject, &read(calling(TWICE, 6), 5)),
        i64::from(b'c')
    );
    assert_eq!(number(subject, &read(calling(FAIL, 6), 1)), i64::from(b'o'));
}

/// An answer, or words, that are too long for the buffer are kept: the function is called once.
pub fn an_answer_that_does_not_fit_is_taken_later(subject: &Subject) {
    let steps = format!(
        "(if (i32.ne {} (i32.const 6)) (then unreachable))
         (if (i32.load (i32.const {BUFFER})) (then unreachable))
         (if (i32.ne {} (i32.const 6)) (then unreachable))
         (if (i32.ne {} (i32.const 6)) (then unreachable))
         (if (i32.ne {} (i32.const -1)) (then unreachable))
         (i32.load8_u offset=5 (i32.const {BUFFER}))",
        calling(TWICE, 5),
        take(0),
        take(6),
        take(6),
    );
    let (setup, calls) = counting(subject, &guest().answering_1_1(&steps));
    let answered = answer(setup).ok();
    assert_eq!(answered.row()["n"], i64::from(b'c'));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(
        (answered.ledger.foreign_calls, answered.ledger.foreign_bytes),
        (1, 9)
    );
    let words = format!(
        "(if (i32.ne {} (i32.const -3)) (then unreachable)) {}",
        calling(FAIL, 1),
        take(2)
    );
    assert_eq!(number(subject, &words), 2);
}

/// A number that no function has is denied with the name that was not found.
pub fn a_made_up_function_is_denied(subject: &Subject) {
    for function in ["(i32.const 2)", "(i32.const 65536)", "(i32.const -7)"] {
        let call = calling(0, 0).replace("(i32.const 0)", function);
        let (setup, _) = counting(subject, &guest().invoke(&call));
        answer(setup).fails(ErrorKind::Denied);
    }
    let ask = format!("(call $foreign (i32.const {NAME}) (i32.const 5))");
    let call = calling(0, 64).replacen("(i32.const 0)", &ask, 1);
    let guest = guest().data(NAME, b"ghost").invoke(&call);
    let denied = answer(counting(subject, &guest).0).fails(ErrorKind::Denied);
    assert!(denied.message().contains("`ghost`"), "{}", denied.message());
}

/// Pointers that leave the memory break the rules before the function is called.
pub fn a_call_out_of_range_breaks_the_rules(subject: &Subject) {
    for places in [
        "(i32.const -1) (i32.const 2) (i32.const 0) (i32.const 0)",
        "(i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0)",
        "(i32.const 0) (i32.const 2) (i32.const -1) (i32.const 64)",
        "(i32.const 0) (i32.const 2) (i32.const 131070) (i32.const 64)",
    ] {
        let call = format!("(call $call (i32.const {TWICE}) {places})");
        let (setup, calls) = counting(subject, &guest().invoke(&call));
        answer(setup).fails(ErrorKind::Abi);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }
    let ask = "(call $foreign (i32.const -1) (i32.const 2))";
    answer(counting(subject, &guest().invoke(ask)).0).fails(ErrorKind::Abi);
}

/// `HostCall` outside of an invocation breaks the rules.
pub fn a_call_at_the_wrong_time_breaks_the_rules(subject: &Subject) {
    let init = format!(
        r#"(func (export "WasmInit") (drop {}))"#,
        calling(TWICE, 64)
    );
    let (setup, _) = counting(subject, &guest().with("init", init));
    assert_eq!(start_error(setup).kind(), ErrorKind::Abi);
}
