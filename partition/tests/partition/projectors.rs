//! Asynchronous projectors: each event counts once, whatever happens between.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use engine_core::error::ErrorKind;
use partition::application::Application;
use partition::platform::sim::Fault;
use serde_json::json;

use crate::app::{App, eventually, hold, kind, numbers, ops, put, rows_of, run, sum, total};
use crate::engine::{Guest, reject};

/// Submits commands of these numbers and waits for the answers.
fn submit(application: &Application, numbers: std::ops::Range<i64>) {
    let answers: Vec<_> = numbers
        .map(|n| application.submit("Do", &put(n, n), None).unwrap())
        .collect();
    for answer in answers {
        answer.wait().unwrap();
    }
}

#[test]
fn each_event_counts_once_across_restarts() {
    let app = App::new();
    let mut next = 0;
    for round in 0..8 {
        let application = app.open();
        submit(&application, next..next + 100);
        next += 100;
        match round % 4 {
            0 => application.settle().unwrap(),
            1 => application.checkpoint().unwrap(),
            2 => drop(run(&application, &ops(&[("fail", 0, 0)]))),
            _ => {}
        }
        application.close().unwrap();
    }
    assert_eq!(total(&app.open()), (next * (next - 1) / 2, next));
}

#[test]
fn a_projector_reads_what_it_wrote_for_the_events_before() {
    // `Sum` inserts once and updates from then on, so a stale row would stop it.
    let app = App::new().volatile().with("queue = 5000");
    // It reads every row.
    app.native.set("Lucky", |_| Ok(()));
    let application = app.open();
    submit(&application, 0..3000);
    assert_eq!(total(&application), ((0..3000).sum(), 3000));
}

#[test]
fn a_restart_in_the_middle_of_a_group_counts_each_event_of_it_once() {
    let app = App::new().with("queue = 5000\ngroup_commands = 5000");
    app.native.set("Lucky", |_| Ok(()));
    let commands = app.gate();
    // More than a batch behind the beginning of the group.
    let events = app.gate_at("Sum", sum, |guest| guest.offset() == 1100);
    let application = app.open();
    let send = |args| application.submit("Do", &args, None).unwrap();
    let held = send(hold());
    commands.wait();
    let answers: Vec<_> = (0..1500).map(|n| send(put(n, n))).collect();
    commands.open();
    held.wait().unwrap();
    for answer in answers {
        answer.wait().unwrap();
    }
    events.wait();
    // The fault may hit whoever makes the next segment ahead, which costs nobody an answer.
    let refused = (0..100).find_map(|_| {
        app.platform.fail_after(0, Fault::Io);
        run(&application, &put(0, 0)).err()
    });
    assert_eq!(refused.unwrap().kind(), ErrorKind::Stopped);
    events.open();
    assert_eq!(kind(application.close()), ErrorKind::Io);
    app.native.set("Sum", sum);
    let application = app.open();
    let commands = application.snapshots().unwrap()[0].0 as i64;
    assert!(commands >= 1501);
    assert_eq!(total(&application), ((0..1500).sum(), commands));
}

#[test]
fn a_projector_runs_in_the_context_of_its_command() {
    let app = App::new();
    let seen: Arc<Mutex<Vec<(i64, i64)>>> = Arc::default();
    for extension in ["Do", "Sum"] {
        let seen = seen.clone();
        app.native.set(extension, move |guest| {
            seen.lock().unwrap().push((guest.offset(), guest.time()));
            Ok(())
        });
    }
    let application = app.open();
    for time in [7, 9] {
        app.platform.set_now(time);
        run(&application, &put(1, 1)).unwrap();
        app.platform.set_now(time + 1);
        application.settle().unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [(0, 7), (0, 7), (1, 9), (1, 9)]);
}

#[test]
fn offsets_count_commands_and_not_projections() {
    let application = App::new().open();
    for offset in 0..5 {
        assert_eq!(run(&application, &put(1, 1)).unwrap().offset, offset);
        application.settle().unwrap();
    }
    assert_eq!(application.snapshots().unwrap()[0].0, 5);
}

/// `Sum`, but an event of 99 fails.
fn sum_but_99(guest: &Guest<'_, '_>) -> engine_core::error::Result<()> {
    match guest.event().2.unwrap()["n"] == 99 {
        true => reject("99 is too much"),
        false => sum(guest),
    }
}

#[test]
fn a_projector_that_fails_stops_visibly_and_resumes_when_the_partition_is_opened_again() {
    let app = App::new();
    app.native.set("Sum", sum_but_99);
    let application = app.open();
    for n in [1, 2, 99, 4] {
        run(&application, &put(n, n)).unwrap();
    }
    let stopped = application.settle().unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Rejected);
    assert!(stopped.message().contains("command 2"), "{stopped}");
    assert!(app.notices().contains("`Sum` stopped"), "{}", app.notices());
    let counted = rows_of(&application, "total");
    assert_eq!(counted, [json!({"of": "all", "n": 3, "events": 2})]);
    // Everything else goes on.
    run(&application, &put(5, 5)).unwrap();
    assert_eq!(numbers(&application).len(), 5);
    application.close().unwrap();

    let application = app.open();
    assert_eq!(kind(application.settle()), ErrorKind::Rejected);
    assert_eq!(rows_of(&application, "total"), counted);
    application.close().unwrap();

    app.native.set("Sum", sum);
    assert_eq!(total(&app.open()), (111, 5));
}

#[test]
fn what_a_projector_counted_before_it_failed_counts() {
    let app = App::new();
    let gate = app.gate_at("Sum", sum_but_99, |guest| guest.offset() == 0);
    let application = app.open();
    run(&application, &put(0, 1)).unwrap();
    gate.wait();
    // All of these are one batch, with the failure at its end.
    for n in [2, 3, 99] {
        run(&application, &put(n, n)).unwrap();
    }
    gate.open();
    assert_eq!(kind(application.settle()), ErrorKind::Rejected);
    let counted = rows_of(&application, "total");
    assert_eq!(counted, [json!({"of": "all", "n": 6, "events": 3})]);
}

#[test]
fn an_event_that_fails_for_a_moment_is_tried_again_and_counts_once() {
    let app = App::new();
    let tries = Arc::new(AtomicU64::new(0));
    let counter = tries.clone();
    app.native.set("Sum", move |guest| {
        match counter.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => sum(guest),
            1 => {
                // The second intent violates its condition, the first must not stay.
                sum(guest)?;
                guest.write(
                    engine_core::manifest::Verb::Insert,
                    "total",
                    json!({"of": "all"}),
                    json!({"n": 0, "events": 0}),
                );
                Ok(())
            }
            _ => reject("not now"),
        }
    });
    let application = app.open();
    submit(&application, 1..5);
    assert_eq!(total(&application), (10, 4));
    assert_eq!(tries.load(Ordering::Relaxed), 12);
}

#[test]
fn a_projector_that_panics_leaves_nobody_waiting() {
    let app = App::new();
    app.native.set("Sum", |_| panic!("as asked"));
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    assert_eq!(kind(application.settle()), ErrorKind::Internal);
    application.close().unwrap();
    app.native.set("Sum", sum);
    assert_eq!(total(&app.open()), (1, 1));
}

#[test]
fn a_projector_that_comes_later_counts_from_the_first_command() {
    let all = App::new();
    let manifest = all.manifest.clone();
    let (begin, rest) = manifest.split_once("[extensions.Sum]").unwrap();
    let (_, end) = rest.split_once("[extensions.Get]").unwrap();
    let mut app = all;
    app.manifest = format!("{begin}[extensions.Get]{end}");
    let application = app.open();
    submit(&application, 0..10);
    application.close().unwrap();
    app.manifest = manifest;
    assert_eq!(total(&app.open()), (45, 10));
}

#[test]
fn a_volatile_partition_projects_and_settles() {
    let application = App::new().volatile().with("checkpoint_bytes = 1").open();
    for n in 0..100 {
        run(&application, &put(n, n)).unwrap();
    }
    assert_eq!(total(&application), (4950, 100));
    application.checkpoint().unwrap();
}

#[test]
fn a_projectors_instance_is_made_ready_before_it_waits() {
    let app = App::new();
    let application = app.open();
    for n in 1..=3 {
        run(&application, &put(1, 1)).unwrap();
        application.settle().unwrap();
        eventually(|| app.native.prepared("Sum") == n);
    }
}
