//! Packages that are replaced while everything runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use engine_core::engine::Code;
use engine_core::error::{Error, ErrorKind, Result};
use partition::application::Application;
use partition::hex;
use partition::platform::Platform;
use partition::platform::sim::Fault;
use partition::replay::{Which, replay};
use partition::verify::verify;
use serde_json::json;

use crate::app::{App, DATA, get, hash, hold, kind, put, result, run, sum, total};
use crate::engine::{Guest, Native, reject};
use crate::replay::again_with;

/// A version whose `Do` puts 1000 more than it is asked for.
fn more(app: &App) -> (Arc<Native>, Code) {
    let (native, code) = app.version("more");
    native.set("Do", put_more);
    (native, code)
}

fn put_more(guest: &Guest<'_, '_>) -> Result<()> {
    let op = guest.args()["ops"][0].clone();
    let n = op["n"].as_i64().unwrap() + 1000;
    guest.put("row", json!({"id": op["id"]}), json!({"n": n}));
    guest.result(json!({"n": n}));
    Ok(())
}

/// The result of a command that puts one row.
fn done(application: &Application, n: i64) -> i64 {
    let accepted = run(application, &put(1, n)).unwrap();
    result(application, &accepted).unwrap()
}

/// What runs: the version, and the one that was taken back.
fn runs(application: &Application) -> (String, Option<String>) {
    let status = application.packages().remove(0);
    let taken_back = status.rolled_back.map(|version| hex(&version.hash));
    (hex(&status.hash), taken_back)
}

#[test]
fn a_version_is_replaced_under_load_and_no_command_fails() {
    for partitions in [1, 3] {
        let app = App::new().partitions(partitions);
        let application = app.open();
        let (_native, code) = more(&app);
        let stop = AtomicBool::new(false);
        let results = thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut results = Vec::new();
                let mut new = 0;
                // Goes on for a while behind the first answer of the new version.
                while new < 500 {
                    let args = (0..100).map(|n| {
                        let by = format!("{}", n % 7);
                        json!({"ops": [{"verb": "put", "id": n, "n": n}], "by": by})
                    });
                    let answers: Vec<_> = args
                        .map(|args| application.submit("Do", &args, None).unwrap())
                        .collect();
                    for (n, answer) in answers.into_iter().enumerate() {
                        let accepted = answer.wait().unwrap();
                        let got = result(&application, &accepted).unwrap();
                        let is_new = got == n as i64 + 1000;
                        assert!(is_new || got == n as i64);
                        new += i64::from(is_new);
                        results.push((accepted.partition, accepted.offset, is_new));
                    }
                    stop.store(true, Ordering::Relaxed);
                }
                results
            });
            while !stop.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            application.replace("main", code).unwrap();
            load.join().unwrap()
        });
        // On every partition, the old version made the first commands and the new one the rest.
        for partition in 0..partitions {
            let mut own: Vec<_> = results.iter().filter(|r| r.0 == partition).collect();
            own.sort();
            assert!(own.is_sorted_by_key(|(_, _, is_new)| *is_new));
            assert!(!own[0].2 && own[own.len() - 1].2);
        }
        application.settle().unwrap();
        application.close().unwrap();
        let found = again_with(&app, Which::Logged);
        assert_eq!(found.differences, []);
        assert_eq!(
            (found.other_code, found.commands),
            (0, results.len() as u64)
        );
    }
}

#[test]
fn what_is_in_flight_ends_on_the_version_that_it_began_on() {
    let app = App::new();
    let application = app.open();
    let (native, code) = more(&app);
    native.set("Get", |guest| {
        guest.result(json!({"n": -1}));
        Ok(())
    });
    run(&application, &put(1, 5)).unwrap();
    let ask = || {
        application
            .query("Get", &json!({"id": 1, "by": null}), 0)
            .unwrap()
            .remove(0)
    };
    let number = |answer: partition::QueryAnswer| {
        let values = engine_core::value::decode(&answer.rows[0]).unwrap();
        match values[..] {
            [engine_core::value::Value::Int(n)] => n,
            ref other => panic!("{other:?}"),
        }
    };
    let query = app.gate_at("Get", get, |_| true);
    let asked = ask();
    query.wait();
    let command = app.gate();
    let held = application.submit("Do", &hold(), None).unwrap();
    command.wait();
    thread::scope(|scope| {
        let replacing = scope.spawn(|| application.replace("main", code.clone()));
        command.open();
        replacing.join().unwrap().unwrap();
    });
    // The old version's `Do` gives the sum of nothing, the new one's has no row to put.
    assert_eq!(result(&application, &held.wait().unwrap()), Some(0));
    assert_eq!(done(&application, 5), 1005);
    query.open();
    assert_eq!(number(asked.wait().unwrap()), 5);
    assert_eq!(number(ask().wait().unwrap()), -1);
}

#[test]
fn a_version_that_cannot_be_loaded_changes_nothing() {
    let app = App::new();
    let application = app.open();
    let before = runs(&application);
    let refused = application.replace("main", Code::Native("nowhere".into()));
    assert_eq!(kind(refused), ErrorKind::Package);
    let refused = application.replace("main", Code::Bytes((*b"no code").into()));
    assert_eq!(kind(refused), ErrorKind::Package);
    let (native, code) = more(&app);
    let refused = application.replace("man", code.clone());
    assert_eq!(kind(refused), ErrorKind::Unknown);
    native.refuse_instances(true);
    let refused = application.replace("main", code.clone());
    assert_eq!(kind(refused), ErrorKind::Trap);
    assert_eq!(runs(&application), before);
    assert_eq!(done(&application, 5), 5);
    native.refuse_instances(false);
    application.replace("main", code).unwrap();
    assert_eq!(done(&application, 5), 1005);
}

#[test]
fn a_version_that_cannot_be_kept_does_not_run() {
    let app = App::new();
    let application = app.open();
    let (_native, code) = more(&app);
    app.platform.fail_after(1, Fault::Full);
    assert_eq!(
        kind(application.replace("main", code.clone())),
        ErrorKind::Io
    );
    assert_eq!(done(&application, 5), 5);
    application.replace("main", code).unwrap();
    assert_eq!(done(&application, 5), 1005);
}

/// The application with its command in a package of its own, which a rule watches.
fn watched(rule: &str) -> App {
    let app = App::new().replace("kind = ", "package = \"rest\"\nkind = ");
    let package = app.manifest.split("builtin = \"").nth(1).unwrap();
    let package = package.split('"').next().unwrap().to_owned();
    app.replace("[packages.main]", "[packages.rest]")
        .replace(
            "[extensions.Do]\npackage = \"rest\"",
            "[extensions.Do]\npackage = \"main\"",
        )
        .replace(
            "[packages.rest]",
            &format!("[packages.main]\nbuiltin = \"{package}\"\n[packages.main.rollback]\n{rule}\n[packages.rest]"),
        )
}

/// `Do` that crashes where the number is 13.
fn crash_at_13(guest: &Guest<'_, '_>) -> Result<()> {
    match guest.args()["ops"][0]["n"] == 13 {
        true => Err(Error::new(ErrorKind::Trap, "crashed")),
        false => put_more(guest),
    }
}

#[test]
fn a_version_that_fails_too_often_is_taken_back_by_itself() {
    let app = watched("failures = 3\nof = 5").partitions(2);
    let application = app.open();
    let (native, code) = app.version("bad");
    native.set("Do", |guest| match guest.args()["ops"][0]["n"] == 7 {
        true => reject("in its own words"),
        false => crash_at_13(guest),
    });
    let old = runs(&application).0;
    let new = hex(&application.replace("main", code.clone()).unwrap());
    let crash = |by: &str| {
        let args = json!({"ops": [{"verb": "put", "id": 1, "n": 13}], "by": by});
        run(&application, &args)
    };
    // Refusals are no failures, and failures grow old.
    for _ in 0..9 {
        assert_eq!(kind(run(&application, &put(1, 7))), ErrorKind::Rejected);
    }
    for _ in 0..3 {
        assert_eq!(kind(crash("a")), ErrorKind::Trap);
        assert_eq!(kind(crash("b")), ErrorKind::Trap);
        (0..3).for_each(|n| assert_eq!(done(&application, n), n + 1000));
    }
    assert_eq!(runs(&application), (new.clone(), None));
    assert_eq!(app.notices(), "");
    for by in ["a", "b", "c"] {
        assert_eq!(kind(crash(by)), ErrorKind::Trap);
    }
    assert_eq!(runs(&application), (old.clone(), Some(new.clone())));
    let notices = app.notices();
    assert!(
        notices.contains(&old) && notices.contains(&new),
        "{notices}"
    );
    assert!(notices.contains("crashed"), "{notices}");
    // On both partitions the old version runs, whatever comes.
    for by in ["a", "b", "c", "d"] {
        crash(by).unwrap();
    }
    assert_eq!(done(&application, 5), 5);
    // The same version may be tried again.
    application.replace("main", code).unwrap();
    assert_eq!(done(&application, 5), 1005);
    assert_eq!(runs(&application), (new, None));
    application.settle().unwrap();
    application.close().unwrap();
    native.set("Do", crash_at_13);
    let found = again_with(&app, Which::Logged);
    assert_eq!(found.differences, []);
    assert_eq!(found.other_code, 0);
}

#[test]
fn a_saturated_writer_goes_back_at_once() {
    let app = watched("failures = 3\nof = 100");
    let application = app.open();
    let (native, code) = app.version("bad");
    native.set("Do", |_| Err(Error::new(ErrorKind::Trap, "crashed")));
    application.replace("main", code).unwrap();
    let submit = |n| application.submit("Do", &put(1, n), None).unwrap();
    let answers: Vec<_> = (0..200).map(submit).collect();
    let answers = answers.into_iter().map(partition::Answer::wait);
    let failed = answers.filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 3);
}

#[test]
fn an_asynchronous_projector_goes_on_with_the_version_before() {
    let app = App::new().replace(
        "limits = ",
        "rollback = { failures = 3, of = 1_000 }\nlimits = ",
    );
    let application = app.open();
    let (native, code) = app.version("bad");
    native.set("Sum", |guest| match guest.event().1 == put(2, 2) {
        true => Err(Error::new(ErrorKind::Trap, "crashed")),
        false => sum(guest),
    });
    run(&application, &put(1, 1)).unwrap();
    application.replace("main", code).unwrap();
    run(&application, &put(3, 3)).unwrap();
    run(&application, &put(2, 2)).unwrap();
    assert_eq!(total(&application), (6, 3));
    assert!(runs(&application).1.is_some());
    run(&application, &put(4, 4)).unwrap();
    assert_eq!(total(&application), (10, 4));
    application.close().unwrap();
    let found = again_with(&app, Which::Logged);
    assert_eq!(found.differences, []);
    assert_eq!((found.other_code, found.events), (0, 4));
}

#[test]
fn a_replay_runs_the_version_that_the_log_names() {
    let app = App::new();
    let application = app.open();
    // The log names the version of a validator too, which asks for nothing: today's would refuse the row -13.
    let (native, code) = more(&app);
    native.set("Lucky", |_| Ok(()));
    let work = |application: &Application| {
        for n in 0..10 {
            run(application, &put(n, n)).unwrap();
        }
    };
    work(&application);
    application.replace("main", code).unwrap();
    run(&application, &put(1, -1013)).unwrap();
    work(&application);
    application.settle().unwrap();
    let before = hash(&application);
    application.close().unwrap();
    let found = again_with(&app, Which::Logged);
    assert_eq!(found.differences, []);
    assert_eq!(
        (found.other_code, found.commands, found.events),
        (0, 21, 21)
    );
    let found = again_with(&app, Which::Today);
    assert!(found.other_code > 0);
    assert!((10..21).all(|offset| found.differences.iter().any(|d| d.offset == offset)));
    assert!(found.differences.iter().all(|d| d.offset >= 10));
    // The next opening has the same state, and runs what the manifest names.
    let application = app.open();
    assert_eq!(hash(&application), before);
    assert_eq!(done(&application, 5), 5);
}

#[test]
fn kept_code_that_does_not_load_any_more_is_replaced_by_todays_with_a_word() {
    let app = App::new();
    let application = app.open();
    let (native, code) = more(&app);
    application.replace("main", code).unwrap();
    done(&application, 1);
    application.settle().unwrap();
    application.close().unwrap();
    drop(native);
    let found = again_with(&app, Which::Logged);
    assert_eq!(found.notices.len(), 1, "{:?}", found.notices);
    assert!(
        found.notices[0].contains("not linked"),
        "{:?}",
        found.notices
    );
    assert!(found.other_code > 0 && !found.differences.is_empty());
}

#[test]
fn damaged_code_is_found_and_the_next_opening_mends_its_own() {
    let app = App::new();
    let application = app.open();
    let (_native, code) = more(&app);
    application.replace("main", code.clone()).unwrap();
    done(&application, 1);
    application.settle().unwrap();
    application.close().unwrap();
    let folder = std::path::Path::new(DATA).join("packages");
    for name in app.platform.files().list(&folder).unwrap() {
        app.flip(&folder.join(name), 3);
    }
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
    let (program, platform) = (app.program(), app.arc_platform());
    let refused = replay(&program, &platform, DATA.as_ref(), Which::Logged, |_| ());
    assert_eq!(kind(refused), ErrorKind::Corrupt);
    let application = app.open();
    application.replace("main", code).unwrap();
    application.close().unwrap();
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(again_with(&app, Which::Logged).differences, []);
}

#[test]
fn a_power_cut_at_any_operation_of_a_replacement_leaves_the_code_that_the_log_names() {
    let mut operation = 0;
    loop {
        let context = format!("power cut at {operation}");
        let app = App::new();
        let application = app.open();
        let (_native, code) = more(&app);
        done(&application, 1);
        let before = app.platform.operations();
        app.platform.fail_after(operation, Fault::PowerCut);
        // Whether it goes well or not, and whether the projector's thread meets the fault.
        drop(application.replace("main", code));
        let accepted = (1..5)
            .take_while(|n| run(&application, &put(*n, *n)).is_ok())
            .count();
        let met = app.platform.operations() > before + operation;
        drop(application);
        app.platform.power_loss();
        let application = app.open();
        application.settle().unwrap();
        let commands = application.snapshots().unwrap()[0].0;
        assert!(commands > accepted as u64, "{context}");
        application.close().unwrap();
        let found = again_with(&app, Which::Logged);
        assert_eq!(found.differences, [], "{context}");
        assert_eq!(found.other_code, 0, "{context}");
        if !met {
            assert!(operation > 10, "{context}");
            return;
        }
        operation += 1;
    }
}
