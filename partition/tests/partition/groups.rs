//! Groups: many commands in one append, each of them by itself.

use engine_core::error::ErrorKind;
use partition::platform::sim::Fault;
use partition::verify::verify;

use crate::app::{App, DATA, hold, kind, numbers, ops, put, run};

#[test]
fn commands_that_wait_become_one_group_in_their_order() {
    let app = App::new();
    let gate = app.gate();
    let application = app.open();
    app.native.set("Sum", |_| Ok(()));
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let held = submit(hold());
    gate.wait();
    let rest: Vec<_> = (1..=9).map(|n| submit(put(1, n))).collect();
    gate.open();
    assert_eq!(held.wait().unwrap().offset, 0);
    for (answer, offset) in rest.into_iter().zip(1..) {
        assert_eq!(answer.wait().unwrap().offset, offset);
    }
    assert_eq!(numbers(&application), [(1, 9)]);
    application.settle().unwrap();
    application.close().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    // One for the commands, one for the projector.
    assert_eq!((found.commands, found.groups), (10, 2));
}

#[test]
fn a_command_sees_those_before_it_in_its_group_and_none_that_was_refused() {
    let app = App::new();
    let gate = app.gate();
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let held = submit(hold());
    gate.wait();
    let answers = [
        ops(&[("insert", 1, 1), ("insert", 2, 2)]),
        ops(&[("insert", 3, 3), ("insert", 1, 9)]),
        ops(&[("update", 3, 9)]),
        ops(&[("delete", 1, 0), ("put", 2, -13)]),
        ops(&[("update", 1, 4)]),
        ops(&[("delete", 2, 0)]),
        ops(&[("insert", 2, 5)]),
    ]
    .map(submit);
    gate.open();
    held.wait().unwrap();
    let kinds = answers.map(|answer| answer.wait().map_err(|error| error.kind()));
    let refused = |i: usize| kinds[i].clone().unwrap_err();
    assert!([0, 4, 5, 6].iter().all(|i| kinds[*i].is_ok()), "{kinds:?}");
    assert_eq!(refused(1), ErrorKind::Exists);
    assert_eq!(refused(2), ErrorKind::Absent);
    assert_eq!(refused(3), ErrorKind::Rejected);
    assert_eq!(numbers(&application), [(1, 4), (2, 5)]);
}

#[test]
fn a_full_queue_answers_busy_and_takes_more_when_there_is_room() {
    let app = App::new().with("queue = 2");
    let gate = app.gate();
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None);
    let held = submit(hold()).unwrap();
    gate.wait();
    let waiting = [submit(put(1, 1)).unwrap(), submit(put(1, 2)).unwrap()];
    for _ in 0..5 {
        assert_eq!(kind(submit(put(1, 3)).map(drop)), ErrorKind::Busy);
    }
    gate.open();
    held.wait().unwrap();
    for answer in waiting {
        answer.wait().unwrap();
    }
    run(&application, &put(1, 4)).unwrap();
    assert_eq!(numbers(&application), [(1, 4)]);
}

#[test]
fn a_group_takes_no_more_commands_than_it_is_set_to() {
    let app = App::new().with("group_commands = 3");
    let gate = app.gate();
    app.native.set("Sum", |_| Ok(()));
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let held = submit(hold());
    gate.wait();
    let answers: Vec<_> = (1..9).map(|n| submit(put(1, n))).collect();
    gate.open();
    held.wait().unwrap();
    for answer in answers {
        answer.wait().unwrap();
    }
    application.close().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!(found.commands, 9);
    assert!(found.groups >= 3, "{found:?}");
}

#[test]
fn a_failed_append_stops_the_partition_and_answers_nothing_of_its_group() {
    for fault in [Fault::Io, Fault::Full] {
        // No projector reads the log meanwhile: the next operation is the write of the next group.
        let app = App::new().replace("mode = \"async\"\n", "");
        let gate = app.gate();
        let application = app.open();
        run(&application, &put(1, 1)).unwrap();
        let submit = |args| application.submit("Do", &args, Some("id"));
        let held = submit(hold()).unwrap();
        gate.wait();
        let rest = [
            submit(hold()).unwrap(),
            submit(ops(&[("fail", 1, 1)])).unwrap(),
            application.submit("Do", &put(1, 2), None).unwrap(),
        ];
        app.platform.fail_after(0, fault);
        gate.open();
        let error = held.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stopped);
        for answer in rest {
            assert_eq!(kind(answer.wait()), ErrorKind::Stopped);
        }
        // Whoever comes later is told the same.
        for _ in 0..3000 {
            let late = application.run("Do", &put(1, 3), None).unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Stopped);
        }
        let refused = application.submit("Do", &put(1, 3), None).unwrap_err();
        assert!(refused.message().contains("/data/partition-0/log"));
        assert_eq!(kind(application.checkpoint()), ErrorKind::Stopped);
        assert_eq!(kind(application.close()), ErrorKind::Io);
        app.platform.power_loss();
        let application = app.open();
        let found = numbers(&application);
        // The group may be durable all the same, whole or not at all.
        assert!(found == [(1, 1)] || found == [(1, 2)], "{found:?}");
    }
}

#[test]
fn groups_of_large_commands_fit_the_log() {
    let app = App::new().volatile().with("group_bytes = \"1 GiB\"");
    let app = app.replace(
        "deadline_ms = 600_000",
        "deadline_ms = 600_000, intent_bytes = \"1 GiB\"",
    );
    let app = app.replace("value = \"what: text\"", "value = \"what: bytes\"");
    let gate = app.gate_at(
        "Do",
        |guest| {
            // Base64 of 18 million zeros: about 18 MB of intents.
            let what = "A".repeat(24_000_000);
            guest.put(
                "note",
                serde_json::json!({"step": ""}),
                serde_json::json!({"what": what}),
            );
            Ok(())
        },
        |guest| guest.args() == hold(),
    );
    for extension in ["Lucky", "Mirror", "Sum"] {
        app.native.set(extension, |_| Ok(()));
    }
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let held = submit(hold());
    gate.wait();
    let rest: Vec<_> = (0..3).map(|n| submit(put(n, n))).collect();
    gate.open();
    held.wait().unwrap();
    for answer in rest {
        answer.wait().unwrap();
    }
}

#[test]
fn what_is_larger_than_an_entry_of_the_log_is_refused_and_leaves_nothing() {
    let app = App::new().volatile();
    let app = app.replace(
        "deadline_ms = 600_000",
        "deadline_ms = 600_000, intent_bytes = \"1 GiB\"",
    );
    let app = app.replace("value = \"what: text\"", "value = \"what: bytes\"");
    for extension in ["Lucky", "Mirror", "Sum"] {
        app.native.set(extension, |_| Ok(()));
    }
    app.native.set("Do", |guest| {
        if guest.args() == hold() {
            let what = "A".repeat(48_000_000);
            guest.put(
                "note",
                serde_json::json!({"step": ""}),
                serde_json::json!({"what": what}),
            );
        }
        Ok(())
    });
    let application = app.open();
    let limit = ErrorKind::Limit(engine_core::limits::Limit::IntentBytes);
    assert_eq!(kind(run(&application, &hold())), limit);
    run(&application, &put(1, 1)).unwrap();
    assert!(crate::app::rows_of(&application, "note").is_empty());
}
