//! What comes from the host and nowhere else: time, randomness, the event, and where the log goes.

use engine_core::error::ErrorKind;
use engine_core::value::{self, Value};
use serde_json::json;

use crate::host::{TIME, TestHost};
use crate::subject::{Instance, Subject};

fn context(instance: &mut Instance, host: &TestHost) -> Vec<u8> {
    let mut answer = instance.call(host, "Context", json!({})).ok();
    assert_eq!(answer.results.len(), 1);
    answer.results.remove(0)
}

/// Time, command id, partition, offset and random bytes are the host's.
pub fn time_and_randomness_are_the_hosts(subject: &Subject) {
    let host = TestHost::new();
    let expected = value::encode(&[
        Value::Int(TIME),
        Value::Text("command-7".into()),
        Value::Int(3),
        Value::Int(41),
        Value::Bytes(host.random(0)),
        Value::Bytes(host.random(1)),
    ]);
    assert_eq!(context(&mut subject.instance(), &host), expected);
}

/// The same host input gives the same answer, however often and on whichever instance.
pub fn an_invocation_repeated_gives_the_same_answer(subject: &Subject) {
    let package = subject.package().load().expect("the package loads");
    let (mut one, mut other) = (Instance::of(&package), Instance::of(&package));
    let host = TestHost::new();
    let first = context(&mut one, &host);
    assert_eq!(context(&mut one, &host), first);
    assert_eq!(context(&mut other, &host), first);
}

/// Another host's randomness gives other bytes: engines bring none of their own, and none that is always the same.
pub fn other_randomness_gives_other_bytes(subject: &Subject) {
    let mut instance = subject.instance();
    let one = context(&mut instance, &TestHost::new().seed(1));
    let other = context(&mut instance, &TestHost::new().seed(2));
    assert_ne!(one, other);
}

/// A validator and a projector see the command that they run for.
pub fn a_projector_sees_the_event(subject: &Subject) {
    let args = vec![Value::Text("tea".into()), Value::Int(i64::MAX)];
    let results = vec![Value::List(vec![Value::Int(i64::MIN)])];
    let host = TestHost::new().event("Order", args, results);
    let answer = subject.instance().call(&host, "Project", json!({})).ok();
    assert_eq!(
        answer.writes(),
        [
            json!(["put", "open", {"group": "tea", "n": i64::MAX}, {"v": "Order"}]),
            json!(["put", "open", {"group": "total", "n": i64::MIN}, {"v": ""}]),
        ]
    );
}

/// Other kinds do not see an event.
pub fn a_query_sees_no_event(subject: &Subject) {
    let args = json!({"storage": "sys.event", "group": "g", "n": 0});
    let answer = subject.instance().call(&TestHost::new(), "Get", args);
    answer.fails(ErrorKind::Denied);
}

/// Lines of the log reach the host, with their level, and are no intents.
pub fn log_lines_reach_the_host(subject: &Subject) {
    let host = TestHost::new();
    let args = json!({"lines": 3, "bytes": 4});
    let answer = subject.instance().call(&host, "Log", args).ok();
    assert!(answer.intents.is_empty());
    let line = ("warn".to_owned(), "xxxx".to_owned());
    assert_eq!(host.log_lines(), vec![line; 3]);
    assert_eq!(answer.ledger.log_lines, 3);
    // Level and message.
    assert_eq!(answer.ledger.log_bytes, 3 * (4 + 4));
}
