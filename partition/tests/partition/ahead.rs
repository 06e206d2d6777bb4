//! Commands that run while the group before them syncs.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use engine_core::error::ErrorKind;
use partition::application::Application;
use partition::platform::sim::Fault;
use partition::verify::verify;
use partition::{Accepted, Answer};
use serde_json::{Value as Json, json};

use crate::app::{App, DATA, eventually, hold, kind, numbers, ops, put, run};

/// An application whose groups have two commands, and a word from each command that ran to its end.
fn app() -> (App, Receiver<()>) {
    let app = App::new().with("group_commands = 2");
    let (ran, runs) = channel();
    app.native.set("Notes", move |_| {
        ran.send(()).unwrap();
        Ok(())
    });
    (app, runs)
}

/// Submits two commands, whose group is then held in its sync, and one behind them, and waits until that one ran.
fn run_ahead(
    app: &App,
    runs: &Receiver<()>,
    application: &Application,
    third: &Json,
) -> [Answer<Accepted>; 3] {
    let gate = app.gate();
    let submit = |args: &Json, id| application.submit("Do", args, Some(id)).unwrap();
    let first = submit(&hold(), "a");
    gate.wait();
    let answers = [first, submit(&put(1, 1), "b"), submit(third, "c")];
    app.platform.hold_syncs();
    gate.open();
    app.platform.wait_for_held_sync();
    (0..3).for_each(|_| runs.recv().unwrap());
    answers
}

/// Waits until the three commands are answered.
fn accepted(answers: [Answer<Accepted>; 3]) {
    let offsets = answers.map(|answer| answer.wait().unwrap().offset);
    assert_eq!(offsets, [0, 1, 2]);
}

fn rows(application: &Application) -> usize {
    let answers = application.query("All", &json!({}), 0).unwrap();
    let rows = answers.into_iter().map(|a| a.wait().unwrap().rows.len());
    rows.sum()
}

#[test]
fn a_command_runs_above_the_group_that_syncs_and_queries_do_not_see_either() {
    let (app, runs) = app();
    let application = app.open();
    let answers = run_ahead(&app, &runs, &application, &ops(&[("update", 1, 7)]));
    assert_eq!(rows(&application), 0);
    assert_eq!(application.snapshots().unwrap()[0].0, 0);
    app.platform.release_syncs();
    accepted(answers);
    assert_eq!(numbers(&application), [(1, 7)]);
    assert_eq!(rows(&application), 1);
}

#[test]
fn a_repeat_of_a_command_whose_group_syncs_waits_and_runs_nothing() {
    let (app, runs) = app();
    let application = app.open();
    let answers = run_ahead(&app, &runs, &application, &put(2, 2));
    let submit = |args| application.submit("Do", &args, Some("b")).unwrap();
    let (repeat, conflict) = (submit(put(1, 1)), submit(put(1, 2)));
    app.platform.release_syncs();
    let repeat = repeat.wait().unwrap();
    assert_eq!((repeat.offset, repeat.repeated), (1, true));
    assert_eq!(kind(conflict.wait()), ErrorKind::IdConflict);
    accepted(answers);
    assert_eq!(app.native.calls("Do"), 3);
}

#[test]
fn a_group_that_fails_takes_with_it_all_that_ran_above_it() {
    for fault in [Fault::Io, Fault::Full, Fault::PowerCut] {
        let (app, runs) = app();
        let application = app.open();
        let answers = run_ahead(&app, &runs, &application, &ops(&[("put", 2, 2)]));
        // Refused because of what the failing group would have left.
        let refused = application.submit("Do", &ops(&[("insert", 1, 9)]), None);
        let repeat = application.submit("Do", &put(1, 1), Some("b"));
        app.platform.fail_after(0, fault);
        app.platform.release_syncs();
        for answer in answers {
            assert_eq!(kind(answer.wait()), ErrorKind::Stopped);
        }
        assert_eq!(kind(refused.unwrap().wait()), ErrorKind::Stopped);
        assert_eq!(kind(repeat.unwrap().wait()), ErrorKind::Stopped);
        assert_eq!(kind(application.checkpoint()), ErrorKind::Stopped);
        assert_eq!(kind(application.close()), ErrorKind::Io);
        app.platform.power_loss();
        // The group may be durable all the same; what ran above it was never written.
        let found = numbers(&app.open());
        assert!(found.is_empty() || found == [(1, 1)], "{found:?}");
    }
}

#[test]
fn what_ran_above_a_group_that_syncs_waits_for_its_own_group_too() {
    let (app, runs) = app();
    // No projector reads the log meanwhile: the next operation but one is the write of the next group.
    let app = app.replace("mode = \"async\"\n", "");
    let application = app.open();
    let [first, second, third] = run_ahead(&app, &runs, &application, &put(2, 2));
    app.platform.fail_after(1, Fault::Io);
    app.platform.release_syncs();
    assert_eq!(first.wait().unwrap().offset, 0);
    assert_eq!(second.wait().unwrap().offset, 1);
    assert_eq!(kind(third.wait()), ErrorKind::Stopped);
    assert_eq!(kind(application.close()), ErrorKind::Io);
    app.platform.power_loss();
    assert_eq!(numbers(&app.open()), [(1, 1)]);
}

#[test]
fn closing_answers_what_syncs_and_what_runs_above_it() {
    let (app, runs) = app();
    let application = app.open();
    let answers = run_ahead(&app, &runs, &application, &put(2, 2));
    let platform = app.platform.clone();
    let release = std::thread::spawn(move || platform.release_syncs());
    application.close().unwrap();
    release.join().unwrap();
    accepted(answers);
    assert_eq!(numbers(&app.open()), [(1, 1), (2, 2)]);
}

#[test]
fn a_checkpoint_asked_for_while_groups_are_under_way_agrees_with_the_log() {
    let (app, runs) = app();
    let application = app.open();
    let answers = run_ahead(&app, &runs, &application, &put(2, 2));
    let platform = app.platform.clone();
    let release = std::thread::spawn(move || platform.release_syncs());
    application.checkpoint().unwrap();
    release.join().unwrap();
    accepted(answers);
    application.close().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!((found.problems, found.checkpoints), (vec![], 1));
}

#[test]
fn an_instance_that_failed_is_made_ready_while_the_log_is_away() {
    let app = App::new().with("group_commands = 2");
    let gate = app.gate();
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let first = submit(hold());
    gate.wait();
    let second = submit(put(1, 1));
    let failing = submit(ops(&[("fail", 1, 1)]));
    app.platform.hold_syncs();
    gate.open();
    app.platform.wait_for_held_sync();
    // Commands that were accepted end with a projector.
    eventually(|| app.native.prepared("Do") == 1);
    app.platform.release_syncs();
    for answer in [first, second] {
        answer.wait().unwrap();
    }
    assert_eq!(kind(failing.wait()), ErrorKind::Rejected);
}

#[test]
fn commands_run_on_while_a_checkpoint_is_due_and_the_log_syncs() {
    let (app, runs) = app();
    let app = app
        .with("checkpoint_bytes = 4")
        .replace("mode = \"async\"\n", "");
    let gate = app.gate();
    let application = app.open();
    let submit = |(n, args): (usize, Json)| {
        let id = format!("id{n}");
        application.submit("Do", &args, Some(&id)).unwrap()
    };
    let commands = |n| if n == 0 || n == 2 { hold() } else { put(n, n) };
    let commands = || (0..40).map(commands).enumerate();
    let mut answers = vec![submit(commands().next().unwrap())];
    gate.wait();
    answers.extend(commands().skip(1).map(submit));
    app.platform.hold_syncs();
    gate.open();
    app.platform.wait_for_held_sync();
    gate.wait();
    let before = app.platform.operations();
    app.platform.release_syncs();
    eventually(|| app.platform.operations() > before);
    // The first group is durable, and its bytes make a checkpoint due.
    app.platform.hold_syncs();
    gate.open();
    let soon = Duration::from_secs(30);
    (0..5).for_each(|_| runs.recv_timeout(soon).unwrap());
    app.platform.release_syncs();
    for (answer, offset) in answers.into_iter().zip(0..) {
        assert_eq!(answer.wait().unwrap().offset, offset);
    }
    application.close().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(found.checkpoints > 0);
    let application = app.open();
    for (n, (_, args)) in commands().enumerate() {
        let again = application.run("Do", &args, Some(&format!("id{n}")));
        assert!(again.unwrap().repeated);
    }
}

#[test]
fn a_checkpoint_that_is_done_ends_no_group() {
    let app = App::new().replace("mode = \"async\"\n", "");
    let gate = app.gate();
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    app.platform.hold_syncs();
    std::thread::scope(|scope| {
        scope.spawn(|| application.checkpoint().unwrap());
        app.platform.wait_for_held_sync();
        let mut answers = vec![submit(hold())];
        gate.wait();
        app.platform.release_syncs();
        eventually(|| app.files("checkpoints", ".checkpoint").len() == 1);
        // Time enough for the writer to be told of it before the next commands.
        std::thread::sleep(Duration::from_millis(100));
        answers.extend((0..3).map(|n| submit(put(n, n))));
        gate.open();
        for answer in answers {
            answer.wait().unwrap();
        }
    });
    application.close().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!((found.commands, found.groups), (5, 2));
}

#[test]
fn checkpoints_that_begin_while_groups_follow_one_another_agree_with_the_log() {
    for retention in ["", "retention_bytes = 1"] {
        let app = App::new()
            .with("group_commands = 2")
            .with("checkpoint_bytes = 4")
            .with(retention)
            .replace("16 KiB", "1 KiB");
        let application = app.open();
        let submit = |n: i64| {
            let id = format!("id{n}");
            let answer = application.submit("Do", &put(n % 7, n), Some(&id));
            answer.unwrap()
        };
        for round in 0..10 {
            let answers: Vec<_> = (0..60).map(|n| submit(round * 60 + n)).collect();
            for answer in answers {
                answer.wait().unwrap();
            }
        }
        application.settle().unwrap();
        drop(application);
        let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
        assert!(found.checkpoints > 0);
    }
}
