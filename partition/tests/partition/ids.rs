//! Command ids: a repeat is harmless.

use engine_core::error::ErrorKind;
use partition::application::Application;
use partition::platform::sim::Fault;

use crate::app::{App, hold, kind, numbers, ops, put, result};

fn offset(application: &Application, id: &str, n: i64) -> (u64, bool) {
    let accepted = application.run("Do", &put(1, n), Some(id)).unwrap();
    (accepted.offset, accepted.repeated)
}

#[test]
fn a_repeat_answers_what_was_answered_and_runs_nothing() {
    let app = App::new();
    let application = app.open();
    let run = || application.run("Do", &put(1, 7), Some("a")).unwrap();
    let first = run();
    application.run("Do", &put(1, 8), None).unwrap();
    application.settle().unwrap();
    let calls = app.native.all_calls();
    let repeat = run();
    assert_eq!((repeat.offset, repeat.repeated), (first.offset, true));
    assert_eq!(result(&application, &repeat), Some(7));
    assert_eq!(repeat.result, first.result);
    assert_eq!(app.native.all_calls(), calls);
    assert_eq!(numbers(&application), [(1, 8)]);
}

#[test]
fn the_same_id_with_other_arguments_is_a_conflict() {
    let application = App::new().open();
    let run = |args| application.run("Do", &args, Some("a"));
    run(put(1, 1)).unwrap();
    assert_eq!(kind(run(put(1, 2))), ErrorKind::IdConflict);
    assert_eq!(numbers(&application), [(1, 1)]);
}

#[test]
fn a_repeat_is_known_when_its_command_has_more_fields_than_it_had() {
    let app = App::new();
    let application = app.open();
    application.run("Do", &put(1, 7), Some("a")).unwrap();
    application.close().unwrap();
    let app = app.replace(
        "by: text?\"\nresult",
        "by: text?, more: int?, much: int = 0\"\nresult",
    );
    let application = app.open();
    let run = |args| application.run("Do", &args, Some("a"));
    assert!(run(put(1, 7)).unwrap().repeated);
    let mut more = put(1, 7);
    for (field, repeats) in [("more", false), ("much", false)] {
        more[field] = 1.into();
        assert_eq!(run(more.clone()).is_ok(), repeats, "{field}");
        more.as_object_mut().unwrap().remove(field);
    }
    assert!(run(put(1, 7)).unwrap().repeated);
}

#[test]
fn a_refused_id_is_not_remembered() {
    let application = App::new().open();
    let run = |args| application.run("Do", &args, Some("a"));
    assert_eq!(kind(run(ops(&[("fail", 1, 1)]))), ErrorKind::Rejected);
    assert_eq!(kind(run(ops(&[("fail", 1, 1)]))), ErrorKind::Rejected);
    assert!(!run(put(1, 1)).unwrap().repeated);
}

#[test]
fn a_repeat_in_a_group_that_is_not_durable_yet_waits_for_it() {
    let app = App::new();
    let gate = app.gate();
    let application = app.open();
    let submit = |args| application.submit("Do", &args, Some("a")).unwrap();
    let first = submit(hold());
    gate.wait();
    let (repeat, conflict) = (submit(hold()), submit(put(1, 1)));
    gate.open();
    assert!(!first.wait().unwrap().repeated);
    let repeat = repeat.wait().unwrap();
    assert_eq!((repeat.offset, repeat.repeated), (0, true));
    assert_eq!(kind(conflict.wait()), ErrorKind::IdConflict);
    assert_eq!(app.native.calls("Do"), 1);
}

#[test]
fn a_repeat_is_not_answered_by_a_group_that_fails() {
    let app = App::new();
    let gate = app.gate();
    let application = app.open();
    let submit = || application.submit("Do", &hold(), Some("a")).unwrap();
    let first = submit();
    gate.wait();
    let repeat = submit();
    app.platform.fail_after(0, Fault::Io);
    gate.open();
    assert_eq!(kind(first.wait()), ErrorKind::Stopped);
    assert_eq!(kind(repeat.wait()), ErrorKind::Stopped);
}

#[test]
fn the_window_forgets_the_oldest_id() {
    let application = App::new().with("ids = 2").open();
    assert_eq!(offset(&application, "a", 1), (0, false));
    assert_eq!(offset(&application, "b", 1), (1, false));
    assert_eq!(offset(&application, "a", 1), (0, true));
    assert_eq!(offset(&application, "c", 1), (2, false));
    assert_eq!(offset(&application, "a", 1), (3, false));
    assert_eq!(offset(&application, "b", 1), (4, false));
    assert_eq!(offset(&application, "a", 1), (3, true));
}

#[test]
fn an_id_that_is_too_long_is_refused() {
    let application = App::new().open();
    let run = |len| application.run("Do", &put(1, 1), Some(&"x".repeat(len)));
    run(1024).unwrap();
    let refused = run(1025).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BadArgs);
    assert!(refused.message().contains("1025 bytes"), "{refused}");
}

#[test]
fn ids_beyond_a_number_of_bytes_are_forgotten_the_same_live_and_after_recovery() {
    for (reopen, checkpoint) in [(false, false), (true, false), (true, true)] {
        let app = App::new().with("ids_bytes = 26");
        let mut application = app.open();
        let ids = ["aaaaaaaa", "b", "cccccccc", "dddddddd"];
        for (at, id) in (0..).zip(ids) {
            assert_eq!(offset(&application, id, 1), (at, false));
            if checkpoint && at == 1 {
                application.checkpoint().unwrap();
            }
        }
        if reopen {
            application.close().unwrap();
            application = app.open();
        }
        for (at, id) in (1..).zip(&ids[1..]) {
            assert_eq!(offset(&application, id, 1), (at, true));
        }
        assert_eq!(offset(&application, ids[0], 1), (4, false));
    }
}

#[test]
fn ids_survive_recovery_from_the_log_and_from_a_checkpoint() {
    for checkpoint in [false, true] {
        let app = App::new().with("ids = 2");
        let application = app.open();
        for id in ["a", "b", "c"] {
            offset(&application, id, 1);
        }
        if checkpoint {
            application.checkpoint().unwrap();
        }
        application.close().unwrap();
        let application = app.open();
        assert_eq!(offset(&application, "c", 1), (2, true));
        let repeat = application.run("Do", &put(1, 1), Some("b")).unwrap();
        assert_eq!(result(&application, &repeat), Some(1));
        let other = application.run("Do", &put(1, 2), Some("b"));
        assert_eq!(kind(other), ErrorKind::IdConflict);
        assert_eq!(offset(&application, "a", 1), (3, false));
    }
}

#[test]
fn an_id_accepted_twice_is_remembered_by_its_last_offset_under_a_wider_window() {
    let app = App::new().with("ids = 1");
    let application = app.open();
    for (id, at) in [("a", 0), ("b", 1), ("a", 2)] {
        assert_eq!(offset(&application, id, 1), (at, false));
    }
    application.close().unwrap();
    let application = app.replace("ids = 1", "ids = 3").open();
    assert_eq!(offset(&application, "a", 1), (2, true));
    assert_eq!(offset(&application, "c", 1), (3, false));
    assert_eq!(offset(&application, "a", 1), (2, true));
}
