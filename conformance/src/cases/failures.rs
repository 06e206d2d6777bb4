//! Failures: each has its kind, leaves no intent behind, and the next invocation finds a usable instance.

use engine_core::error::{ErrorKind, MESSAGE_BYTES};
use engine_core::manifest::Policy;
use engine_core::value::Value;
use serde_json::json;

use crate::cases::fail;
use crate::host::{Gate, TestHost};
use crate::subject::{Instance, Subject};

/// Every way in which the guest `Fail` fails on every engine, with the kind that is due.
pub const WAYS: [(&str, ErrorKind); 16] = [
    ("reject", ErrorKind::Rejected),
    ("faulty_then_reject", ErrorKind::Rejected),
    ("crash", ErrorKind::Trap),
    ("must_exist", ErrorKind::NotFound),
    ("bad_key", ErrorKind::BadKey),
    ("bad_prefix", ErrorKind::BadKey),
    ("io", ErrorKind::Io),
    ("io_range", ErrorKind::Io),
    ("denied_get", ErrorKind::Denied),
    ("denied_range", ErrorKind::Denied),
    ("unknown_storage", ErrorKind::Denied),
    ("denied_write", ErrorKind::Denied),
    ("bad_value", ErrorKind::BadIntent),
    ("bad_write_key", ErrorKind::BadIntent),
    ("bad_result", ErrorKind::BadIntent),
    ("two_results", ErrorKind::BadIntent),
];

/// Each way to fail has the same kind on every engine, and leaves neither intents nor results.
pub fn each_failure_has_its_kind_and_no_intents(subject: &Subject) {
    let mut instance = subject.instance();
    for (how, kind) in WAYS {
        let args = json!({"how": how, "catch": false});
        instance.call(&TestHost::new(), "Fail", args).fails(kind);
    }
}

/// A trap yields no intents, whatever the guest asked for before it.
pub fn trap_yields_no_intents(subject: &Subject) {
    let answer = fail(subject, "crash");
    assert!(answer.result.is_err(), "the guest crashed");
    assert!(answer.intents.is_empty(), "{:?}", answer.writes());
}

/// A rejection is the extension's own decision, a trap is a crash: they are never taken for one another.
pub fn a_rejection_is_no_trap(subject: &Subject) {
    fail(subject, "reject").fails(ErrorKind::Rejected);
    fail(subject, "crash").fails(ErrorKind::Trap);
}

/// The message of a rejection is what the extension said, and its place is the extension.
pub fn a_rejection_has_the_extensions_own_words(subject: &Subject) {
    let answer = fail(subject, "reject").fails(ErrorKind::Rejected);
    let error = answer.result.expect_err("a rejection");
    assert_eq!(error.message(), "no, because of NUL \0 and é");
    assert_eq!(error.place(), Some("suite/Fail"));
}

/// Of more words than 64 KiB the rest is cut off at the end of a character.
pub fn a_rejection_of_many_words_is_cut(subject: &Subject) {
    let answer = fail(subject, "reject_at_length").fails(ErrorKind::Rejected);
    let error = answer.result.expect_err("a rejection");
    assert_eq!(error.message(), "é".repeat(MESSAGE_BYTES / 2));
}

/// A crash says what the runtime says of it.
pub fn a_crash_has_a_message(subject: &Subject) {
    let answer = fail(subject, "crash").fails(ErrorKind::Trap);
    let error = answer.result.expect_err("a crash");
    assert!(!error.message().is_empty());
    assert_eq!(error.place(), Some("suite/Fail"));
}

/// An extension that refuses may log why.
pub fn a_rejected_invocation_may_log(subject: &Subject) {
    let host = TestHost::new();
    let args = json!({"how": "reject", "catch": false});
    let answer = subject.instance().call(&host, "Fail", args);
    answer.fails(ErrorKind::Rejected);
    let expected = ("info".to_owned(), "about to fail".to_owned());
    assert_eq!(host.log_lines(), [expected]);
}

/// A validator refuses by rejecting.
pub fn a_validator_rejects(subject: &Subject) {
    let args = vec![Value::Text("tea".into()), Value::Int(0)];
    let host = TestHost::new().event("Order", args, Vec::new());
    let answer = subject.instance().call(&host, "Check", json!({}));
    answer.fails(ErrorKind::Rejected);
}

/// A failed invocation has a ledger of what it used.
pub fn a_failure_has_a_ledger(subject: &Subject) {
    for (how, reads) in [
        ("must_exist", 1),
        ("bad_key", 1),
        ("bad_prefix", 1),
        ("io", 1),
        ("denied_get", 0),
        ("crash", 0),
    ] {
        let answer = fail(subject, how);
        assert!(answer.result.is_err());
        assert_eq!(answer.ledger.host_reads, reads, "{how}");
    }
}

/// After each failure the same instance goes on, under `keep`.
pub fn a_kept_instance_works_after_each_failure(subject: &Subject) {
    works_after_each_failure(subject, Policy::Keep);
}

/// After each failure the same instance goes on, under `fresh`.
pub fn a_fresh_instance_works_after_each_failure(subject: &Subject) {
    works_after_each_failure(subject, Policy::Fresh);
}

fn works_after_each_failure(subject: &Subject, policy: Policy) {
    let mut instance = subject.package().policy(policy).instance();
    for (how, kind) in WAYS {
        let args = json!({"how": how, "catch": false});
        instance.call(&TestHost::new(), "Fail", args).fails(kind);
        works(&mut instance);
    }
}

/// Makes sure that an instance reads, writes and answers.
pub fn works(instance: &mut Instance) {
    let host = TestHost::new().shelf("open", "nest", 2);
    let answer = instance.call(&host, "Nest", json!({"depth": 2})).ok();
    assert_eq!(answer.row(), json!({"visits": 4}));
    let answer = instance
        .call(&host, "Many", json!({"n": 3, "bytes": 9}))
        .ok();
    assert_eq!(answer.intents.len(), 3);
}

/// What a failed attempt asked for is not there when the extension runs again and succeeds: each intent comes once.
pub fn a_failed_attempt_adds_nothing_to_the_next(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new().gate(Gate::AtRead(2));
    instance
        .call(&host, "Retry", json!({}))
        .fails(ErrorKind::Trap);
    assert_eq!(host.gate_reads(), 1, "the engine ran the extension again");
    let answer = instance.call(&host, "Retry", json!({})).ok();
    let once = json!(["insert", "open", {"group": "once", "n": 0}, {"v": ""}]);
    assert_eq!(answer.writes(), [once]);
}
