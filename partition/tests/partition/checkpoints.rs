//! Recovery: from the log, from checkpoints, from damaged ones, and from a log that forgot its beginning.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use engine_core::error::ErrorKind;
use partition::application::Application;
use partition::platform::{Access, Platform};
use partition::verify::verify;

use crate::app::{App, DATA, hash, kind, ops, put, run, total};

/// Runs commands of all sorts.
fn work(application: &Application, numbers: std::ops::Range<i64>) {
    for n in numbers {
        run(application, &put(n % 17, n + 100)).unwrap();
        if n % 3 == 0 {
            run(application, &ops(&[("delete", n % 5, 0), ("put", 50, n)])).unwrap();
        }
    }
}

/// Closes an application and gives the hash of its settled state.
fn close(application: Application) -> String {
    application.settle().unwrap();
    let hash = hash(&application);
    application.close().unwrap();
    hash
}

#[test]
fn recovery_is_the_same_with_a_checkpoint_and_without_and_runs_no_extension() {
    let app = App::new();
    let mut hashes = BTreeSet::new();
    for checkpoint in [false, true] {
        let application = app.open();
        if checkpoint {
            application.checkpoint().unwrap();
        } else {
            work(&application, 0..40);
        }
        hashes.insert(close(application));
    }
    let calls = app.native.all_calls();
    for _ in 0..2 {
        hashes.insert(close(app.open()));
    }
    assert_eq!(app.native.all_calls(), calls);
    assert_eq!(hashes.len(), 1, "{hashes:?}");
}

#[test]
fn what_comes_behind_a_checkpoint_is_recovered_too() {
    let app = App::new();
    let application = app.open();
    work(&application, 0..20);
    application.checkpoint().unwrap();
    work(&application, 20..40);
    let before = close(application);
    let application = app.open();
    assert_eq!(hash(&application), before);
    work(&application, 40..50);
    let offsets = application.snapshots().unwrap()[0].0;
    assert_eq!(run(&application, &put(1, 1)).unwrap().offset, offsets);
}

/// An application with two checkpoints, closed, and its hash.
fn with_two_checkpoints(settings: &str) -> (App, String) {
    let app = App::new().with(settings);
    let application = app.open();
    work(&application, 0..10);
    application.checkpoint().unwrap();
    work(&application, 10..20);
    application.checkpoint().unwrap();
    work(&application, 20..25);
    let before = close(application);
    assert_eq!(app.files("checkpoints", ".checkpoint").len(), 2);
    (app, before)
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_with_a_notice() {
    let (app, before) = with_two_checkpoints("");
    let newest = app.files("checkpoints", ".checkpoint").pop().unwrap();
    app.flip(&newest, 100);
    let application = app.open();
    assert_eq!(hash(&application), before);
    let notices = app.notices();
    assert!(notices.contains(&*newest.to_string_lossy()), "{notices}");
}

#[test]
fn with_every_checkpoint_damaged_the_whole_log_does() {
    let (app, before) = with_two_checkpoints("");
    for path in app.files("checkpoints", ".checkpoint") {
        app.flip(&path, 60);
    }
    let application = app.open();
    assert_eq!(hash(&application), before);
    work(&application, 0..3);
}

#[test]
fn a_damaged_checkpoint_whose_log_was_forgotten_is_refused() {
    let app = App::new()
        .with("retention_bytes = 1")
        .replace("16 KiB", "1 KiB");
    let application = app.open();
    for n in 0..4 {
        work(&application, n * 20..n * 20 + 20);
        application.settle().unwrap();
        application.checkpoint().unwrap();
    }
    close(application);
    assert!(
        !app.files("log", "00000000000000000000.log")
            .iter()
            .any(|_| true)
    );
    for path in app.files("checkpoints", ".checkpoint") {
        app.flip(&path, 60);
    }
    assert_eq!(kind(app.try_open()), ErrorKind::Corrupt);
}

#[test]
fn checkpoints_come_by_themselves_and_two_are_kept() {
    let app = App::new().with("checkpoint_bytes = 500");
    let application = app.open();
    work(&application, 0..60);
    let before = close(application);
    let kept = app.files("checkpoints", ".checkpoint");
    assert!((1..=2).contains(&kept.len()), "{kept:?}");
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn a_checkpoint_comes_even_where_no_single_opening_writes_enough_for_it() {
    let app = App::new().with("checkpoint_bytes = \"4 KiB\"");
    for n in 0..30 {
        let application = app.open();
        work(&application, n..n + 2);
        close(application);
    }
    assert!(!app.files("checkpoints", ".checkpoint").is_empty());
}

#[test]
fn closing_in_the_middle_of_checkpoints_leaves_whole_ones() {
    let app = App::new().with("checkpoint_bytes = 1");
    for n in 0..15 {
        let application = app.open();
        work(&application, n * 3..n * 3 + 3);
        application.close().unwrap();
    }
    app.open().settle().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(found.checkpoints > 0);
}

#[test]
fn what_a_crash_left_of_a_checkpoint_is_removed_before_the_log_needs_its_space() {
    let app = App::new();
    let application = app.open();
    work(&application, 0..5);
    application.checkpoint().unwrap();
    let before = close(application);
    let files = app.platform.files();
    let draft = Path::new(DATA).join("partition-0/checkpoints/draft");
    let file = files.open(&draft, Access::Truncate).unwrap();
    file.write_all_at(&[7; 5000], 0).unwrap();
    file.sync_data().unwrap();
    // A folder that is only read keeps it.
    verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert!(files.exists(&draft).unwrap());
    let log = Path::new(DATA).join("partition-0/log");
    let held = files.lock(&log).unwrap();
    assert_eq!(kind(app.try_open()), ErrorKind::Busy);
    assert!(!files.exists(&draft).unwrap());
    drop(held);
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn a_checkpoint_has_everything_that_was_answered_before_it_was_asked_for() {
    let app = App::new().with("checkpoint_bytes = 1");
    let application = app.open();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for n in 0..10 {
                    run(&application, &put(n, n + 100)).unwrap();
                    application.checkpoint().unwrap();
                }
            });
        }
    });
    let before = close(application);
    app.native.set("Sum", |_| Ok(()));
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn the_whole_log_is_kept_where_the_manifest_sets_no_retention() {
    let app = App::new().replace("16 KiB", "1 KiB");
    let application = app.open();
    for n in 0..6 {
        work(&application, n * 20..n * 20 + 20);
        application.checkpoint().unwrap();
    }
    application.close().unwrap();
    assert_eq!(app.files("log", "00000000000000000000.log").len(), 1);
}

#[test]
fn retention_forgets_only_what_no_checkpoint_and_no_projector_needs() {
    let app = App::new()
        .with("retention_bytes = 2000")
        .replace("16 KiB", "1 KiB");
    let application = app.open();
    let mut before = String::new();
    for n in 0..8 {
        work(&application, n * 20..n * 20 + 20);
        application.settle().unwrap();
        application.checkpoint().unwrap();
        before = hash(&application);
    }
    application.close().unwrap();
    let segments = app.files("log", ".log");
    assert!(*segments[0].to_string_lossy() > *"/data/partition-0/log/00000000000000000001.log");
    assert_eq!(hash(&app.open()), before);
    // The older checkpoint and what follows it do as well.
    let newest = app.files("checkpoints", ".checkpoint").pop().unwrap();
    app.flip(&newest, 50);
    let application = app.open();
    assert_eq!(hash(&application), before);
    application.settle().unwrap();
}

#[test]
fn a_log_that_is_opened_often_and_shortly_does_not_grow() {
    for (settings, asked) in [("", true), ("checkpoint_bytes = 1\n", false)] {
        let app = App::new()
            .with(&format!("{settings}retention_bytes = 2000"))
            .replace("16 KiB", "1 KiB");
        let mut before = hash(&app.open());
        for n in 0..40 {
            let application = app.open();
            assert_eq!(hash(&application), before);
            work(&application, n * 4..n * 4 + 4);
            application.settle().unwrap();
            if asked {
                application.checkpoint().unwrap();
            }
            before = hash(&application);
            application.close().unwrap();
            let segments = app.files("log", ".log").len();
            assert!(segments < 20, "{segments} segments after {n} openings");
        }
    }
}

#[test]
fn retention_forgets_nothing_that_a_failed_projector_has_still_to_count() {
    let app = App::new()
        .with("retention_bytes = 1")
        .replace("16 KiB", "1 KiB");
    let sum = crate::app::sum;
    app.native.set("Sum", |_| crate::engine::reject("not now"));
    let application = app.open();
    for n in 0..6 {
        work(&application, n * 20..n * 20 + 20);
        application.checkpoint().unwrap();
    }
    let commands = application.snapshots().unwrap()[0].0 as i64;
    application.close().unwrap();
    app.native.set("Sum", sum);
    assert_eq!(total(&app.open()).1, commands);
}
