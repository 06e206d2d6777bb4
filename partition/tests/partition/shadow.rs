//! A version that runs beside the current one: its differences are reported, and nothing of it is applied.

use std::sync::Arc;

use engine_core::engine::Code;
use engine_core::error::{Error, ErrorKind, Result};
use partition::ShadowReport;
use partition::platform::Platform;
use serde_json::json;

use crate::app::{App, hash, kind, numbers, ops, put, result, run, run_ops};
use crate::engine::{Guest, Native, reject};

/// A version that does something else where the number is 7.
fn other_at_7(app: &App, other: fn(&Guest<'_, '_>) -> Result<()>) -> (Arc<Native>, Code) {
    let (native, code) = app.version("other");
    native.set("Do", move |guest| match guest.args()["ops"][0]["n"] == 7 {
        true => other(guest),
        false => run_ops(guest),
    });
    (native, code)
}

/// The differences of a report: offset, extension, what.
fn found(report: &ShadowReport) -> Vec<(u64, &str, &str)> {
    let found = report.differences.iter();
    found.map(|d| (d.offset, &*d.extension, &*d.what)).collect()
}

/// The bytes of every file of the data folder's only partition log.
fn log(app: &App) -> Vec<Vec<u8>> {
    let files = app.files("log", "");
    files
        .iter()
        .map(|path| app.platform.files().read(path).unwrap())
        .collect()
}

#[test]
fn a_shadow_reports_a_difference_and_the_old_version_is_applied() {
    let app = App::new();
    let application = app.open();
    (0..5).for_each(|n| drop(run(&application, &put(n, n)).unwrap()));
    let (native, code) = other_at_7(&app, |guest| {
        guest.put("row", json!({"id": 1}), json!({"n": 70}));
        guest.result(json!({"n": 7}));
        Ok(())
    });
    let shadow = application.shadow("main", code).unwrap();
    for n in 5..10 {
        let accepted = run(&application, &put(1, n)).unwrap();
        assert_eq!(result(&application, &accepted), Some(n));
    }
    let report = shadow.finish();
    assert_eq!(numbers(&application)[1], (1, 9));
    let mirrored = "then put mirror {\"id\":1,\"n\":14}, now put mirror {\"id\":1,\"n\":140}";
    let what = "then put row {\"id\":1,\"n\":7}, now put row {\"id\":1,\"n\":70}";
    assert_eq!(found(&report), [(7, "Do", what), (7, "Mirror", mirrored)]);
    assert_eq!((report.commands, report.differing), (5, 1));
    assert!(report.failed.is_none());
    assert_eq!((report.current.intents, report.shadow.intents), (10, 10));
    assert_eq!(report.shadow.invocations, 20);
    assert_eq!(native.calls("Do"), 5);
}

#[test]
fn a_shadow_changes_nothing_in_the_log() {
    let of = |shadowed: bool| {
        let app = App::new();
        // The same machine in both cases.
        let app = App {
            platform: partition::platform::sim::SimPlatform::new(1),
            ..app
        };
        // An asynchronous projector makes groups as time allows.
        let app = app.replace("mode = \"async\"\n", "");
        let manifest = app.manifest.split("builtin = \"").nth(1).unwrap();
        let package = manifest.split('"').next().unwrap().to_owned();
        crate::engine::link("the-same", &app.native);
        let app = app.replace(&format!("\"{package}\""), "\"the-same\"");
        let application = app.open();
        let (_native, code) = other_at_7(&app, |_| reject("no"));
        let shadow = shadowed.then(|| application.shadow("main", code).unwrap());
        (0..30).for_each(|n| drop(run(&application, &put(n, n)).unwrap()));
        let report = shadow.map(|shadow| shadow.finish().differing);
        application.settle().unwrap();
        let hash = hash(&application);
        application.close().unwrap();
        (report, hash, log(&app))
    };
    let (quiet, shadowed) = (of(false), of(true));
    assert_eq!((quiet.0, shadowed.0), (None, Some(1)));
    assert_eq!(quiet.1, shadowed.1);
    assert!(quiet.2 == shadowed.2, "the log differs");
}

#[test]
fn a_shadow_that_fails_or_hangs_harms_no_command() {
    let app = App::new();
    let application = app.open();
    let (native, code) = other_at_7(&app, |_| Err(Error::new(ErrorKind::Trap, "crashed")));
    let (hung, go) = std::sync::mpsc::channel::<()>();
    let go = std::sync::Mutex::new(go);
    native.set("Lucky", move |_| {
        // Until the test lets it go.
        go.lock().unwrap().recv().ok();
        Ok(())
    });
    let shadow = application.shadow("main", code).unwrap();
    for n in 0..20 {
        run(&application, &put(1, n)).unwrap();
    }
    assert_eq!(shadow.report().commands, 0);
    drop(hung);
    let report = shadow.finish();
    assert_eq!((report.commands, report.differing), (20, 1));
    let what = &report.differences[0].what;
    assert!(
        what.contains("refused now") && what.contains("crashed"),
        "{what}"
    );
    assert!(application.packages()[0].rolled_back.is_none());
}

#[test]
fn a_slow_shadow_holds_the_log_until_it_has_read_it() {
    let app = App::new()
        .with("retention_bytes = 1")
        .replace("16 KiB", "1 KiB");
    let application = app.open();
    let (native, code) = other_at_7(&app, |_| reject("no"));
    let (hung, go) = std::sync::mpsc::channel::<()>();
    let go = std::sync::Mutex::new(go);
    native.set("Lucky", move |_| {
        // Until the test lets it go.
        go.lock().unwrap().recv().ok();
        Ok(())
    });
    let shadow = application.shadow("main", code).unwrap();
    let work = || {
        for _ in 0..4 {
            (0..20).for_each(|n| drop(run(&application, &put(1, n)).unwrap()));
            application.settle().unwrap();
            application.checkpoint().unwrap();
        }
    };
    work();
    let first = "00000000000000000000.log";
    assert_eq!(app.files("log", first).len(), 1);
    drop(hung);
    let report = shadow.finish();
    assert!(report.failed.is_none(), "{report:?}");
    assert_eq!((report.commands, report.differing), (80, 4));
    work();
    assert_eq!(app.files("log", first).len(), 0);
}

#[test]
fn what_runs_again_beside_a_shadow_does_not_count_against_a_version_on_trial() {
    let app = App::new().replace(
        "limits = ",
        "rollback = { failures = 2, of = 1_000 }\nlimits = ",
    );
    let application = app.open();
    let crash = |_: &Guest<'_, '_>| Err(Error::new(ErrorKind::Trap, "crashed"));
    let (_native, code) = other_at_7(&app, crash);
    let other = app.version("shadow");
    application.replace("main", code).unwrap();
    for taken_back in [false, true] {
        let shadow = application.shadow("main", other.1.clone()).unwrap();
        assert_eq!(kind(run(&application, &put(1, 7))), ErrorKind::Trap);
        assert_eq!(shadow.finish().differing, 1);
        let status = application.packages().remove(0);
        assert_eq!(status.rolled_back.is_some(), taken_back);
    }
}

#[test]
fn a_command_that_was_refused_is_compared_on_the_state_that_it_met() {
    let app = App::new();
    let application = app.open();
    let (native, code) = app.version("other");
    native.set("Lucky", |_| Ok(()));
    let shadow = application.shadow("main", code).unwrap();
    let refused = [
        (ops(&[("insert", 1, 1)]), None),
        (ops(&[("insert", 1, 2)]), Some(ErrorKind::Exists)),
        (ops(&[("fail", 0, 0)]), Some(ErrorKind::Rejected)),
        (put(2, -13), Some(ErrorKind::Rejected)),
        (ops(&[("delete", 1, 0)]), None),
        (ops(&[("update", 1, 2)]), Some(ErrorKind::Absent)),
    ];
    for (args, expected) in &refused {
        let answer = run(&application, args);
        assert_eq!(answer.err().map(|error| error.kind()), *expected);
    }
    let report = shadow.finish();
    assert_eq!(
        found(&report),
        [(1, "Do", "refused then as rejected, accepted now")]
    );
    assert_eq!(report.commands, 6);
}

#[test]
fn a_shadow_follows_every_partition_over_many_snapshots() {
    let app = App::new().partitions(2).with("query_queue = 8");
    let application = app.open();
    let (_native, code) = other_at_7(&app, |_| reject("no"));
    let shadow = application.shadow("main", code.clone()).unwrap();
    // More than a snapshot is renewed after, on each partition.
    let submit = |n: i64| {
        let verb = if n < 50 { "insert" } else { "update" };
        let by = if n % 2 == 0 { "a" } else { "d" };
        let args = json!({"ops": [{"verb": verb, "id": n % 50, "n": n}], "by": by});
        application.submit("Do", &args, None)
    };
    let mut answers = std::collections::VecDeque::new();
    for n in 0..24_000 {
        if answers.len() == 500 {
            let answer: partition::Answer<_> = answers.pop_front().unwrap();
            answer.wait().unwrap();
        }
        answers.push_back(submit(n).unwrap());
    }
    answers
        .into_iter()
        .for_each(|answer| drop(answer.wait().unwrap()));
    let report = shadow.finish();
    assert!(report.failed.is_none(), "{:?}", report.failed);
    assert_eq!((report.commands, report.differing), (24_000, 1));
    // The row and its double.
    assert_eq!(report.current.intents, report.shadow.intents + 2);
    assert_eq!(kind(application.shadow("man", code)), ErrorKind::Unknown);
}
