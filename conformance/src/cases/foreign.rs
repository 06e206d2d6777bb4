//! Foreign functions: called, refused, failing, typed, large, and within their quotas.

use engine_core::error::ErrorKind;
use engine_core::json::to_json;
use engine_core::limits::Limit;
use engine_core::schema::Type;
use engine_core::value::Value;
use serde_json::{Value as Json, json};

use crate::cases::limits::{Quota, brief, kept_exactly};
use crate::host::TestHost;
use crate::subject::{Answer, Subject};

fn bytes(bytes: &str) -> Json {
    to_json(&Value::Bytes(bytes.into()), &Type::Bytes)
}

fn asking(name: &str, argument: &str, times: i64, catch: bool) -> Json {
    json!({"name": name, "argument": bytes(argument), "times": times, "catch": catch})
}

fn ask(subject: &Subject, name: &str, argument: &str, catch: bool) -> Answer {
    let args = asking(name, argument, 1, catch);
    subject.instance().call(&TestHost::new(), "Ask", args)
}

/// A declared function gives its answer.
pub fn a_foreign_function_answers(subject: &Subject) {
    for (argument, answer) in [("abc", "cba"), ("", ""), ("\0", "\0")] {
        let answered = ask(subject, "reverse", argument, false).ok();
        assert_eq!(
            answered.row(),
            json!({"answer": bytes(answer), "words": null})
        );
        let ledger = answered.ledger;
        let used = (argument.len() + answer.len()) as u64;
        assert_eq!((ledger.foreign_calls, ledger.foreign_bytes), (1, used));
    }
}

/// A function that the manifest does not give to the extension ends the invocation, whatever the guest does about it; so
/// does one that does not exist.
pub fn a_foreign_function_that_is_not_declared_is_denied(subject: &Subject) {
    for name in ["sealed", "ghost", ""] {
        for catch in [false, true] {
            let answer = ask(subject, name, "a", catch).fails(ErrorKind::Denied);
            assert!(
                answer.message().contains(&format!("`{name}`")),
                "{}",
                answer.message()
            );
            assert_eq!(answer.ledger.foreign_calls, 0);
        }
    }
}

/// A function's failure is an answer: the guest may handle it, or end with its words.
pub fn a_failing_foreign_function_answers_in_words(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new();
    for (name, words) in [
        ("fail", "3 bytes, a NUL \0 and é"),
        ("panic", "`panic` panicked: 3 bytes"),
        ("repeat", "no count"),
    ] {
        let handled = instance
            .call(&host, "Ask", asking(name, "abc", 2, true))
            .ok();
        assert_eq!(handled.row(), json!({"answer": null, "words": words}));
        assert_eq!(handled.ledger.foreign_bytes, 3 + words.len() as u64);
        let ended = instance.call(&host, "Ask", asking(name, "abc", 1, false));
        let ended = ended.fails(ErrorKind::Rejected);
        assert!(ended.message().ends_with(words), "{}", ended.message());
    }
}

/// A typed function takes a row and gives one, with everything that a row can hold.
pub fn a_typed_foreign_function_takes_and_gives_rows(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new();
    let note = json!({"at": 0.5, "tags": [bytes("\0"), bytes("")]});
    for note in [Json::Null, note] {
        let args = json!({"word": "né", "times": 2, "note": note});
        let answer = instance.call(&host, "Spell", args).ok();
        assert_eq!(
            answer.row(),
            json!({"letters": ["n", "é", "n", "é"], "note": note})
        );
    }
    let args = json!({"word": "no", "times": -1, "note": null});
    let refused = instance.call(&host, "Spell", args);
    let refused = refused.fails(ErrorKind::Rejected);
    assert!(refused.message().ends_with("times is below zero"));
}

/// An argument that does not fit a typed function is answered in words, and counts as a call.
pub fn an_argument_that_does_not_fit_is_answered_in_words(subject: &Subject) {
    let answer = ask(subject, "spell", "no row", true).ok();
    let words = answer.row()["words"].as_str().map(str::to_owned);
    assert!(words.is_some_and(|words| words.starts_with("bad arguments: ")));
    assert_eq!(answer.ledger.foreign_calls, 1);
}

/// An answer of any size comes whole.
pub fn a_large_answer_comes_whole(subject: &Subject) {
    for len in [511, 512, 513, 1 << 20] {
        let answer = ask(subject, "repeat", &len.to_string(), false).ok();
        assert_eq!(answer.row()["answer"], bytes(&"x".repeat(len)));
    }
}

/// As many calls as allowed.
pub fn calls_of_foreign_functions_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::ForeignCalls,
            extension: "Ask",
            args: asking("reverse", "abc", 5, true),
            set: |limits, n| limits.foreign_calls = n as u32,
            used: |ledger| ledger.foreign_calls,
        },
    );
}

/// As many bytes of arguments and answers as allowed.
pub fn bytes_of_foreign_functions_are_limited(subject: &Subject) {
    for (name, argument) in [("reverse", "abc"), ("repeat", "1000"), ("fail", "abc")] {
        kept_exactly(
            subject,
            &Quota {
                limit: Limit::ForeignBytes,
                extension: "Ask",
                args: asking(name, argument, 3, true),
                set: |limits, n| limits.foreign_bytes = n,
                used: |ledger| ledger.foreign_bytes,
            },
        );
    }
}

/// An argument beyond the quota is not handed to the function.
pub fn an_argument_that_is_too_long_is_not_handed_over(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.foreign_bytes = 2);
    let args = asking("panic", "abc", 1, true);
    let answer = setup.instance().call(&TestHost::new(), "Ask", args);
    let answer = answer.hits(Limit::ForeignBytes);
    assert_eq!(answer.ledger.foreign_bytes, 3);
}

/// The deadline of the invocation ends a run of calls.
pub fn a_deadline_ends_a_run_of_foreign_calls(subject: &Subject) {
    let setup = brief(subject).limits(|limits| limits.foreign_calls = u32::MAX);
    let mut instance = setup.instance();
    let args = asking("wait", "", 2_000, true);
    let answer = instance.call(&TestHost::new(), "Ask", args);
    answer.hits(Limit::Deadline);
    instance.call(&TestHost::new(), "Counter", json!({})).ok();
}
