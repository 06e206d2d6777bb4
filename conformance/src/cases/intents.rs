//! Writes: each verb makes its intent, in order, and what is faulty decides the outcome.

use engine_core::error::ErrorKind;
use engine_core::value::Value;
use serde_json::{Value as Json, json};

use crate::cases::fail;
use crate::host::TestHost;
use crate::subject::{Answer, Subject};

fn write(subject: &Subject, verb: &str, storage: &str) -> Answer {
    let args = json!({"verb": verb, "storage": storage, "group": "g", "n": -1, "v": "v"});
    subject.instance().call(&TestHost::new(), "Write", args)
}

/// Insert, update, put and delete each make the intent of their name.
pub fn each_verb_makes_its_intent(subject: &Subject) {
    for verb in ["insert", "update", "put", "delete"] {
        let value = match verb {
            "delete" => Json::Null,
            _ => json!({"v": "v"}),
        };
        let expected = json!([verb, "open", {"group": "g", "n": -1}, value]);
        assert_eq!(write(subject, verb, "open").ok().writes(), [expected]);
    }
}

/// A verb that the manifest does not give for a storage is refused, and is not dropped in silence.
pub fn a_verb_that_is_not_declared_is_denied(subject: &Subject) {
    for (verb, storage) in [
        ("insert", "read_only"),
        ("update", "read_only"),
        ("put", "read_only"),
        ("delete", "read_only"),
        ("update", "insert_only"),
        ("put", "insert_only"),
        ("delete", "insert_only"),
        ("insert", "sealed"),
        ("insert", "ghost"),
    ] {
        write(subject, verb, storage).fails(ErrorKind::Denied);
    }
    write(subject, "insert", "insert_only").ok();
}

/// The host's own storages take no intents, but for lines of the log.
pub fn the_hosts_own_storages_take_no_intents(subject: &Subject) {
    for storage in ["sys.event", "sys.context", "sys.random"] {
        write(subject, "put", storage).fails(ErrorKind::Denied);
    }
}

/// A query that writes is refused.
pub fn a_query_does_not_write(subject: &Subject) {
    let answer = subject
        .instance()
        .call(&TestHost::new(), "Sneak", json!({}));
    answer.fails(ErrorKind::Denied);
}

/// A guest that catches a refused write still ends as it.
pub fn a_faulty_intent_cannot_be_caught(subject: &Subject) {
    for (how, kind) in [
        ("denied_write", ErrorKind::Denied),
        ("denied_misfit", ErrorKind::Denied),
        ("bad_value", ErrorKind::BadIntent),
        ("bad_write_key", ErrorKind::BadIntent),
        ("bad_result", ErrorKind::BadIntent),
        ("two_results", ErrorKind::BadIntent),
    ] {
        let args = json!({"how": how, "catch": true});
        let answer = subject.instance().call(&TestHost::new(), "Fail", args);
        answer.fails(kind);
    }
}

/// An extension that made a faulty intent and then refuses in its own words ends as `rejected`.
pub fn a_rejection_stands_before_a_faulty_intent(subject: &Subject) {
    fail(subject, "faulty_then_reject").fails(ErrorKind::Rejected);
}

/// A value that is not of the storage's schema is refused.
pub fn a_value_of_the_wrong_type_is_a_bad_intent(subject: &Subject) {
    fail(subject, "bad_value").fails(ErrorKind::BadIntent);
}

/// A key with a field too few is refused.
pub fn an_intent_with_half_a_key_is_a_bad_intent(subject: &Subject) {
    fail(subject, "bad_write_key").fails(ErrorKind::BadIntent);
}

/// What an extension may not write at all is denied, fitting or not.
pub fn a_denied_write_is_denied_whatever_its_value(subject: &Subject) {
    fail(subject, "denied_misfit").fails(ErrorKind::Denied);
}

/// A result that is not of the extension's schema is refused.
pub fn a_result_of_the_wrong_type_is_a_bad_intent(subject: &Subject) {
    fail(subject, "bad_result").fails(ErrorKind::BadIntent);
}

/// A command answers once.
pub fn a_second_result_of_a_command_is_a_bad_intent(subject: &Subject) {
    fail(subject, "two_results").fails(ErrorKind::BadIntent);
}

/// A validator answers nothing.
pub fn a_result_of_a_validator_is_a_bad_intent(subject: &Subject) {
    let args = vec![Value::Text("answer".into()), Value::Int(1)];
    let host = TestHost::new().event("Order", args, Vec::new());
    let answer = subject.instance().call(&host, "Check", json!({}));
    answer.fails(ErrorKind::BadIntent);
}

/// Ten thousand intents come in the order in which they were made.
pub fn many_intents_keep_their_order(subject: &Subject) {
    let args = json!({"n": 10_000, "bytes": 3});
    let answer = subject.instance().call(&TestHost::new(), "Many", args).ok();
    assert_eq!(answer.intents.len(), 10_000);
    for (n, write) in answer.writes().iter().enumerate() {
        let expected = json!(["put", "open", {"group": "many", "n": n}, {"v": "xxx"}]);
        assert_eq!(*write, expected);
    }
    assert_eq!(answer.ledger.intents, 10_000);
}

/// Many results come in their order.
pub fn many_results_keep_their_order(subject: &Subject) {
    let args = json!({"n": 5_000, "bytes": 2});
    let answer = subject.instance().call(&TestHost::new(), "Rows", args).ok();
    assert_eq!(answer.results.len(), 5_000);
    assert!(answer.rows().iter().all(|row| *row == json!({"v": "xx"})));
}

/// Intents of a megabyte each are taken.
pub fn large_intents_are_taken(subject: &Subject) {
    let args = json!({"n": 4, "bytes": 1 << 20});
    let answer = subject.instance().call(&TestHost::new(), "Many", args).ok();
    assert_eq!(answer.intents.len(), 4);
    assert!(
        answer
            .intents
            .iter()
            .all(|write| write.value.len() > 1 << 20)
    );
}
