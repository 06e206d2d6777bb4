//! Jobs: once for each due time, whatever happens between.

use std::path::Path;

use engine_core::error::{ErrorKind, Result};
use partition::application::Application;
use partition::log::SegmentLog;
use partition::platform::sim::Fault;
use partition::record::{Entry, Group, JobRun};
use partition::replay::Which;
use partition::verify::verify;
use serde_json::{Value as Json, json};

use crate::app::{App, DATA, hash, hold, numbers, ops, put, rows_of, run, total};
use crate::engine::reject;
use crate::replay::again_with;

const SECOND: i64 = 1_000_000;

/// An application with a job, which counts how often it ran for each due time.
fn app(schedule: &str) -> App {
    let job = format!(
        "[extensions.Tick]\nkind = \"job\"\n{schedule}\nargs = \"due: int\"\nresult = \"n: int\"\naccess = {{ row = [\"read\", \"put\"] }}"
    );
    let app = App::new().replace("[partition]", &format!("{job}\n[partition]"));
    app.native.set("Tick", |guest| {
        let due = guest.args()["due"].as_i64().unwrap();
        let key = json!({"id": due / SECOND});
        let before = guest.get("row", key.clone())?;
        let n = before.map_or(0, |row| row["n"].as_i64().unwrap());
        guest.put("row", key, json!({"n": n + 1}));
        guest.result(json!({"n": due}));
        Ok(())
    });
    app
}

/// Sets the clock, and waits until what is due is done and durable.
fn at(app: &App, application: &Application, second: i64) {
    app.platform.set_now(second * SECOND);
    settle(application).unwrap();
}

/// Waits until what is due is done and durable. What is due is done before the group of a command is ended, unless the
/// group had its round of jobs before it was due; the next group has another.
fn settle(application: &Application) -> Result<()> {
    run(application, &ops(&[]))?;
    run(application, &ops(&[])).map(drop)
}

/// The job's entries in the log of partition 0.
fn logged(app: &App) -> Vec<JobRun> {
    let folder = Path::new(DATA).join("partition-0/log");
    let (reader, _lock) = SegmentLog::open_to_read(app.arc_platform(), &folder, None).unwrap();
    let mut cursor = reader.read(reader.oldest()).unwrap();
    let mut runs = Vec::new();
    while let Some(group) = cursor.next_group().unwrap() {
        let group = Group::read(group.bytes, &app.spec().catalog).unwrap();
        runs.extend(group.entries.into_iter().filter_map(|entry| match entry {
            Entry::Job(run) => Some(run),
            _ => None,
        }));
    }
    runs
}

#[test]
fn a_job_runs_once_for_each_due_time() {
    let app = app("every = \"10s\"");
    let application = app.open();
    at(&app, &application, 9);
    assert_eq!(numbers(&application), []);
    for second in [10, 11, 19, 20, 20, 15, 29] {
        at(&app, &application, second);
    }
    assert_eq!(numbers(&application), [(10, 1), (20, 1)]);
}

#[test]
fn a_job_runs_while_nothing_else_happens() {
    let app = app("every = \"10s\"");
    let application = app.open();
    for second in [10, 20, 30] {
        app.platform.set_now(second * SECOND);
        while app.native.calls("Tick") < second as u64 / 10 {
            std::thread::yield_now();
        }
    }
    application.close().unwrap();
    assert_eq!(numbers(&app.open()), [(10, 1), (20, 1), (30, 1)]);
}

#[test]
fn a_job_that_is_due_again_when_it_ends_keeps_no_command_waiting() {
    let app = app("every = \"10s\"");
    let application = app.open();
    at(&app, &application, 0);
    let platform = app.platform.clone();
    app.native.set("Tick", move |guest| {
        // It takes as long as its period.
        platform.set_now(guest.args()["due"].as_i64().unwrap() + 10 * SECOND);
        guest.result(json!({"n": 0}));
        Ok(())
    });
    app.platform.set_now(10 * SECOND);
    for n in 1..=20 {
        run(&application, &ops(&[])).unwrap();
        assert!(app.native.calls("Tick") >= n, "the job has its turn, too");
    }
    application.close().unwrap();
}

#[test]
fn a_cron_line_is_kept_in_utc() {
    let app = app("cron = \"*/5 1 * * *\"");
    let application = app.open();
    for minute in 0..130 {
        at(&app, &application, minute * 60);
    }
    let due = (0..12).map(|n| (3600 + n * 300, 1));
    assert_eq!(numbers(&application), due.collect::<Vec<_>>());
}

#[test]
fn of_missed_due_times_the_latest_alone_is_run_for() {
    let app = app("every = \"10s\"");
    let application = app.open();
    at(&app, &application, 57);
    application.close().unwrap();
    app.platform.set_now(123 * SECOND);
    let application = app.open();
    at(&app, &application, 124);
    assert_eq!(numbers(&application), [(50, 1), (120, 1)]);
}

#[test]
fn due_times_count_from_the_first_opening_on() {
    let app = app("every = \"10s\"");
    app.platform.set_now(33 * SECOND);
    app.open().close().unwrap();
    app.platform.set_now(41 * SECOND);
    let application = app.open();
    at(&app, &application, 41);
    assert_eq!(numbers(&application), [(40, 1)]);
}

#[test]
fn a_due_time_is_not_run_for_again_after_a_restart() {
    for checkpoint in [false, true] {
        let app = app("every = \"10s\"")
            .with("retention_bytes = 1")
            .replace("16 KiB", "1 KiB");
        let application = app.open();
        for second in [10, 20] {
            at(&app, &application, second);
            (0..20).for_each(|_| at(&app, &application, second));
            if checkpoint {
                application.settle().unwrap();
                application.checkpoint().unwrap();
            }
        }
        drop(application);
        app.platform.kill();
        // Also where the clock was put back.
        for second in [25, 12, 0, 29] {
            app.platform.set_now(second * SECOND);
            let application = app.open();
            at(&app, &application, second);
            assert_eq!(numbers(&application), [(10, 1), (20, 1)]);
        }
        let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
        assert_eq!(found.problems, Vec::<String>::new());
    }
}

#[test]
fn a_job_that_a_clock_ahead_has_silenced_is_named_at_the_opening() {
    let app = app("every = \"10s\"");
    app.open().close().unwrap();
    assert_eq!(app.notices(), "");
    // The first of January 2050.
    app.platform.set_now(2_524_608_000 * SECOND);
    let application = app.open();
    settle(&application).unwrap();
    application.close().unwrap();
    assert_eq!(app.notices(), "");
    app.platform.set_now(1_700_000_000 * SECOND);
    app.open().close().unwrap();
    let notices = app.notices();
    assert!(
        notices.contains("job `Tick` counts as run up to 2050-01-01T00:00:00Z"),
        "{notices}"
    );
}

#[test]
fn a_power_cut_at_any_operation_leaves_each_due_time_once() {
    let mut operation = 0;
    loop {
        let context = format!("power cut at {operation}");
        let app = app("every = \"10s\"").with("checkpoint_bytes = 500");
        let opened = app.open();
        // From here on the job is known.
        at(&app, &opened, 0);
        let before = app.platform.operations();
        app.platform.fail_after(operation, Fault::PowerCut);
        let mut answered = 0;
        for second in [10, 20, 30] {
            app.platform.set_now(second * SECOND);
            if settle(&opened).is_err() {
                break;
            }
            answered = second;
        }
        let met = app.platform.operations() > before + operation;
        drop(opened);
        app.platform.power_loss();
        let application = app.open();
        at(&app, &application, 35);
        let found = numbers(&application);
        // What was seen to be done is there; what was not is run for once, the latest at least.
        for due in (10..=answered).step_by(10).chain([30]) {
            assert!(found.contains(&(due, 1)), "{context}: {found:?}");
        }
        assert!(found.iter().all(|(_, n)| *n == 1), "{context}: {found:?}");
        application.settle().unwrap();
        application.close().unwrap();
        assert_eq!(again_with(&app, Which::Logged).differences, [], "{context}");
        if !met {
            assert!(operation > 5, "{context}");
            return;
        }
        operation += 1;
    }
}

#[test]
fn a_failing_job_counts_as_having_run() {
    let app = app("every = \"10s\"");
    app.native
        .set("Tick", |guest| match guest.args()["due"] == 10 * SECOND {
            true => reject("not today"),
            false => {
                guest.result(json!({"n": 0}));
                Ok(())
            }
        });
    let application = app.open();
    for second in [10, 11, 20, 20] {
        at(&app, &application, second);
    }
    assert_eq!(app.native.calls("Tick"), 2);
    let notices = app.notices();
    assert!(
        notices.contains("job `Tick` failed") && notices.contains("not today"),
        "{notices}"
    );
    application.close().unwrap();
    let application = app.open();
    at(&app, &application, 21);
    assert_eq!(app.native.calls("Tick"), 2);
    application.close().unwrap();
    let run = |through: i64, error: Option<(&str, &str)>| JobRun {
        job: "Tick".to_owned(),
        through: through * SECOND,
        error: error.map(|(kind, message)| (kind.to_owned(), message.to_owned())),
    };
    let refused = (ErrorKind::Rejected.name(), "not today");
    let runs = [run(0, None), run(10, Some(refused)), run(20, None)];
    assert_eq!(logged(&app), runs);
}

#[test]
fn every_partition_runs_its_jobs_and_replays_them() {
    let app = app("every = \"10s\"").partitions(3);
    let application = app.open();
    for second in [10, 20] {
        app.platform.set_now(second * SECOND);
        for by in ["a", "b", "c", "d", "e", "f"] {
            run(&application, &json!({"ops": [], "by": by})).unwrap();
        }
    }
    let rows = rows_of(&application, "row");
    let ran = |second: i64| {
        let is = |row: &&Json| row["id"] == second && row["n"] == 1;
        rows.iter().filter(is).count()
    };
    assert_eq!((ran(10), ran(20), rows.len()), (3, 3, 6));
    // A projector of commands sees no jobs, and goes on behind them.
    assert_eq!(total(&application), (0, 12));
    let before = hash(&application);
    application.close().unwrap();
    let found = again_with(&app, Which::Logged);
    assert_eq!(found.differences, []);
    assert_eq!((found.commands, found.events), (18, 12));
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn an_application_can_be_opened_without_its_jobs() {
    let mut app = app("every = \"10s\"");
    app.jobs = false;
    let application = app.open();
    at(&app, &application, 25);
    application.close().unwrap();
    assert_eq!((app.native.calls("Tick"), logged(&app)), (0, Vec::new()));
}

#[test]
fn the_clock_is_read_for_a_group_and_not_for_each_of_its_commands() {
    for scheduled in [true, false] {
        let mut app = app("every = \"10s\"").replace("mode = \"async\"\n", "");
        app.jobs = scheduled;
        let gate = app.gate();
        let application = app.open();
        at(&app, &application, 0);
        let held = application.submit("Do", &hold(), None).unwrap();
        gate.wait();
        let before = app.platform.clock_readings();
        let submit = |n| application.submit("Do", &put(n, n), None).unwrap();
        let answers: Vec<_> = (0..50).map(submit).collect();
        gate.open();
        held.wait().unwrap();
        for answer in answers {
            answer.wait().unwrap();
        }
        application.close().unwrap();
        // Those are for the wait behind the group.
        let readings = app.platform.clock_readings() - before;
        assert!(readings <= 4, "{readings} readings of the clock");
    }
}
