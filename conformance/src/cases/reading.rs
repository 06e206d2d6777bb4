//! Reads of one row: there, not there, a bad key, a failing store, a storage that is not for this extension.

use engine_core::error::ErrorKind;
use serde_json::{Value as Json, json};

use crate::cases::fail;
use crate::host::TestHost;
use crate::subject::Subject;

fn at(storage: &str, n: i64) -> Json {
    json!({"storage": storage, "group": "g", "n": n})
}

/// A row that is there is read.
pub fn a_row_that_is_there_is_read(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 3);
    let answer = subject.instance().call(&host, "Get", at("open", 2)).ok();
    assert_eq!(answer.row(), json!({"v": "2"}));
}

/// A row that is not there is known to be absent.
pub fn a_row_that_is_not_there_is_absent(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 3);
    let answer = subject.instance().call(&host, "Get", at("open", 3)).ok();
    assert_eq!(answer.row(), json!({"v": null}));
}

/// A row that must exist and does is read.
pub fn a_row_that_must_exist_and_does_is_read(subject: &Subject) {
    let host = TestHost::new().shelf("read_only", "g", 1);
    let answer = subject
        .instance()
        .call(&host, "Must", at("read_only", 0))
        .ok();
    assert_eq!(answer.row(), json!({"v": "0"}));
}

/// A row that must exist and does not ends the invocation as `not_found`.
pub fn a_row_that_must_exist_and_does_not_is_not_found(subject: &Subject) {
    let answer = subject
        .instance()
        .call(&TestHost::new(), "Must", at("open", 0));
    answer.fails(ErrorKind::NotFound);
}

/// A row that the guest does not find may be handled by the guest.
pub fn a_guest_may_handle_a_row_that_is_not_found(subject: &Subject) {
    handled(subject, "must_exist");
}

/// A key with a field too few ends the invocation as `bad_key`.
pub fn an_incomplete_key_is_a_bad_key(subject: &Subject) {
    fail(subject, "bad_key").fails(ErrorKind::BadKey);
}

/// A bad key may be handled by the guest.
pub fn a_guest_may_handle_a_bad_key(subject: &Subject) {
    handled(subject, "bad_key");
}

/// A store that cannot be read ends the invocation as `io`.
pub fn a_failing_store_is_io(subject: &Subject) {
    fail(subject, "io").fails(ErrorKind::Io);
}

/// A failing store may be handled by the guest.
pub fn a_guest_may_handle_a_failing_store(subject: &Subject) {
    handled(subject, "io");
}

/// A storage that the manifest does not give to the extension is refused.
pub fn a_storage_that_is_not_declared_is_denied(subject: &Subject) {
    fail(subject, "denied_get").fails(ErrorKind::Denied);
}

/// A storage that does not exist is refused as one that is not declared is, so that names tell nothing.
pub fn a_storage_that_does_not_exist_is_denied(subject: &Subject) {
    fail(subject, "unknown_storage").fails(ErrorKind::Denied);
}

/// A storage that the extension may only insert into is not read.
pub fn a_storage_without_the_verb_read_is_denied(subject: &Subject) {
    let host = TestHost::new().shelf("insert_only", "g", 1);
    let answer = subject.instance().call(&host, "Get", at("insert_only", 0));
    answer.fails(ErrorKind::Denied);
    assert_eq!(host.reads(), 0, "the host was asked");
}

/// A guest that catches a refused read still ends as `denied`.
pub fn a_denied_read_cannot_be_caught(subject: &Subject) {
    let args = json!({"how": "denied_get", "catch": true});
    let answer = subject.instance().call(&TestHost::new(), "Fail", args);
    answer.fails(ErrorKind::Denied);
}

/// An invocation reads the state as it was before: its own intents are not in it.
pub fn an_invocation_does_not_see_its_own_intents(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new();
    let args = json!({"b": false, "i": 0, "f": 0.0, "t": "", "y": "", "o": null});
    for _ in 0..2 {
        let answer = instance.call(&host, "Find", args.clone()).ok();
        assert_eq!(answer.row(), json!({"n": null}));
        assert_eq!(answer.intents.len(), 1);
    }
}

fn handled(subject: &Subject, how: &str) {
    let args = json!({"how": how, "catch": true});
    let answer = subject.instance().call(&TestHost::new(), "Fail", args).ok();
    assert_eq!(answer.intents.len(), 2);
}
