//! One command: what each of its steps sees, and what refuses it.

use std::sync::{Arc, Mutex};

use engine_core::error::ErrorKind;
use engine_core::manifest::Verb;
use serde_json::{Value as Json, json};

use crate::app::{App, kind, numbers, ops, put, result, rows_of, run};
use crate::engine::reject;

#[test]
fn each_step_sees_the_intents_of_the_steps_before_it() {
    let app = App::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for extension in ["Lucky", "Mirror", "Notes"] {
        let seen = seen.clone();
        app.native.set(extension, move |guest| {
            seen.lock().unwrap().push((
                extension,
                guest.get("row", json!({"id": 1}))?,
                guest.get("mirror", json!({"id": 1}))?,
                guest.rows("note")?.len(),
            ));
            match extension {
                "Mirror" => {
                    guest.put("mirror", json!({"id": 1}), json!({"n": 10}));
                    guest.put(
                        "note",
                        json!({"step": "Mirror"}),
                        json!({"what": "was here"}),
                    );
                }
                "Notes" => guest.put("note", json!({"step": "Notes"}), json!({"what": "too"})),
                _ => {}
            }
            Ok(())
        });
    }
    let application = app.open();
    run(&application, &put(1, 5)).unwrap();
    let (row, mirror) = (Some(json!({"n": 5})), Some(json!({"n": 10})));
    assert_eq!(
        *seen.lock().unwrap(),
        [
            ("Lucky", row.clone(), None, 0),
            ("Mirror", row.clone(), None, 0),
            ("Notes", row, mirror, 1),
        ]
    );
    assert_eq!(rows_of(&application, "note").len(), 2);
}

#[test]
fn validators_and_projectors_see_the_command_with_its_arguments_and_its_result() {
    let app = App::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for extension in ["Lucky", "Mirror", "Notes", "Sum"] {
        let seen = seen.clone();
        app.native.set(extension, move |guest| {
            seen.lock().unwrap().push((extension, guest.event()));
            Ok(())
        });
    }
    let application = app.open();
    let args = ops(&[("insert", 1, 4), ("put", 2, 3)]);
    run(&application, &args).unwrap();
    application.settle().unwrap();
    let event = ("Do".to_owned(), args, Some(json!({"n": 7})));
    let expected = ["Lucky", "Mirror", "Notes", "Sum"].map(|step| (step, event.clone()));
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_command_without_a_result_has_an_event_without_one() {
    let app = App::new();
    app.native.set("Do", |_| Ok(()));
    let seen = Arc::new(Mutex::new(None));
    let slot = seen.clone();
    app.native.set("Lucky", move |guest| {
        *slot.lock().unwrap() = Some(guest.event().2);
        Ok(())
    });
    app.native.set("Sum", |_| Ok(()));
    let application = app.open();
    let accepted = run(&application, &put(1, 1)).unwrap();
    assert_eq!(accepted.result, None);
    assert_eq!(*seen.lock().unwrap(), Some(None));
}

#[test]
fn an_invocation_does_not_see_its_own_intents() {
    let app = App::new();
    app.native.set("Do", |guest| {
        guest.put("row", json!({"id": 1}), json!({"n": 1}));
        assert_eq!(guest.get("row", json!({"id": 1}))?, None);
        assert_eq!(guest.rows("row")?, Vec::<Json>::new());
        guest.result(json!({"n": 0}));
        Ok(())
    });
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    assert_eq!(numbers(&application), [(1, 1)]);
}

#[test]
fn conditions_hold_against_the_intents_before_them_in_the_same_invocation() {
    let application = App::new().open();
    let both = |first, second| run(&application, &ops(&[(first, 1, 1), (second, 1, 2)]));
    assert_eq!(kind(both("insert", "insert")), ErrorKind::Exists);
    assert_eq!(kind(both("put", "insert")), ErrorKind::Exists);
    assert_eq!(kind(both("delete", "update")), ErrorKind::Absent);
    assert_eq!(numbers(&application), []);
    both("insert", "update").unwrap();
    assert_eq!(numbers(&application), [(1, 2)]);
    both("delete", "insert").unwrap();
    assert_eq!(kind(both("delete", "update")), ErrorKind::Absent);
    assert_eq!(numbers(&application), [(1, 2)]);
}

#[test]
fn conditions_hold_against_the_durable_state() {
    let application = App::new().open();
    let one = |verb| run(&application, &ops(&[(verb, 1, 1)]));
    assert_eq!(kind(one("update")), ErrorKind::Absent);
    one("delete").unwrap();
    one("insert").unwrap();
    assert_eq!(kind(one("insert")), ErrorKind::Exists);
    one("update").unwrap();
    one("put").unwrap();
    one("delete").unwrap();
    assert_eq!(kind(one("update")), ErrorKind::Absent);
}

#[test]
fn a_projector_s_violated_condition_refuses_the_command() {
    let app = App::new().replace(
        r#"mirror = ["read", "put", "delete"]"#,
        r#"mirror = ["insert"]"#,
    );
    app.native.set("Mirror", |guest| {
        guest.write(Verb::Insert, "mirror", json!({"id": 0}), json!({"n": 0}));
        Ok(())
    });
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    assert_eq!(kind(run(&application, &put(2, 2))), ErrorKind::Exists);
    assert_eq!(numbers(&application), [(1, 1)]);
}

#[test]
fn whatever_step_refuses_nothing_of_the_command_stays() {
    for refuser in ["Do", "Lucky", "Mirror", "Notes"] {
        let app = App::new();
        let application = app.open();
        run(&application, &put(1, 1)).unwrap();
        app.native.set(refuser, |guest| {
            if guest.args()["ops"].is_array() {
                guest.put("row", json!({"id": 9}), json!({"n": 9}));
            }
            reject("no")
        });
        let refused = run(&application, &ops(&[("put", 1, 2), ("insert", 2, 2)])).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Rejected);
        assert_eq!(refused.message(), "no");
        assert_eq!(refused.place(), Some(&*format!("main/{refuser}")));
        assert_eq!(numbers(&application), [(1, 1)], "{refuser}");
        assert_eq!(rows_of(&application, "mirror").len(), 1, "{refuser}");
        assert_eq!(application.snapshots().unwrap()[0].0, 1, "{refuser}");
    }
}

#[test]
fn a_refused_command_takes_no_offset() {
    let application = App::new().open();
    let offset = |id| run(&application, &put(id, 1)).map(|accepted| accepted.offset);
    assert_eq!(offset(1).unwrap(), 0);
    kind(run(&application, &ops(&[("fail", 1, 1)])));
    assert_eq!(offset(2).unwrap(), 1);
}

#[test]
fn the_answer_has_the_result() {
    let application = App::new().open();
    let accepted = run(&application, &ops(&[("put", 1, 3), ("put", 2, 4)])).unwrap();
    assert_eq!(result(&application, &accepted), Some(7));
    assert!(!accepted.repeated);
}

#[test]
fn an_extension_is_refused_what_its_manifest_does_not_give_it() {
    let app = App::new();
    let application = app.open();
    app.native.set("Do", |guest| {
        guest.put("mirror", json!({"id": 1}), json!({"n": 1}));
        Ok(())
    });
    assert_eq!(kind(run(&application, &put(1, 1))), ErrorKind::Denied);
    app.native.set("Do", |guest| {
        drop(guest.rows("total"));
        guest.put("row", json!({"id": 1}), json!({"n": 1}));
        Ok(())
    });
    assert_eq!(kind(run(&application, &put(1, 1))), ErrorKind::Denied);
    assert_eq!(numbers(&application), []);
}

#[test]
fn what_is_wrong_with_a_submission_is_said_at_once() {
    let app = App::new();
    let application = app.open();
    let submit = |command, args| application.submit(command, &args, None).map(drop);
    assert_eq!(kind(submit("Dont", json!({}))), ErrorKind::Unknown);
    assert_eq!(kind(submit("Get", json!({"id": 1}))), ErrorKind::Unknown);
    assert_eq!(kind(submit("Do", json!({}))), ErrorKind::BadArgs);
    assert_eq!(kind(submit("Do", json!({"ops": 1}))), ErrorKind::BadArgs);
    let more = json!({"ops": [], "more": 1});
    assert_eq!(kind(submit("Do", more)), ErrorKind::BadArgs);
    let float = json!({"ops": [{"verb": "put", "id": 0.5, "n": 1}]});
    assert_eq!(kind(submit("Do", float)), ErrorKind::BadArgs);
    assert_eq!(app.native.all_calls(), 0);
}

#[test]
fn what_extensions_log_reaches_the_logger() {
    let app = App::new();
    for extension in ["Do", "Sum", "All"] {
        app.native.set(extension, move |guest| {
            guest.log("info", &format!("{extension} runs"));
            Ok(())
        });
    }
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    application.settle().unwrap();
    for answer in application.query("All", &json!({}), 0).unwrap() {
        answer.wait().unwrap();
    }
    let line = |extension: &str| {
        let message = format!("{extension} runs");
        (extension.to_owned(), 0, "info".to_owned(), message)
    };
    let expected = ["Do", "Sum", "All"].map(line);
    assert_eq!(*app.lines.lock().unwrap(), expected);
}
