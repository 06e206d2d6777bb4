//! Foreign functions: what impure ones answered is in the log, and comes from there when commands run again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_core::error::{ErrorKind, Result};
use engine_core::foreign::Purity;
use engine_core::limits::Limit;
use serde_json::json;

use crate::app::{App, hash, kind, ops, put, run, run_ops, sum};
use crate::engine::{Guest, reject};
use crate::replay::again_with;
use partition::replay::{Replay, Which};

/// How often each function was called.
#[derive(Default)]
struct Calls {
    impure: AtomicU64,
    pure: AtomicU64,
}

impl Calls {
    fn impure(&self) -> u64 {
        self.impure.load(Ordering::Relaxed)
    }
}

/// The usual application with functions that everyone may call: `tick` counts its calls and fails for `fail`; `tock` is
/// the same one under another name; `pure` gives its argument.
fn app() -> (App, Arc<Calls>) {
    let calls = Arc::new(Calls::default());
    let mut app = App::new();
    app.manifest = app.manifest.replace(
        "access = {",
        "foreign = [\"tick\", \"tock\", \"pure\"]\naccess = {",
    );
    for name in ["tick", "tock"] {
        let calls = calls.clone();
        app.functions
            .register(name, Purity::Impure, move |argument| {
                let count = calls.impure.fetch_add(1, Ordering::Relaxed);
                match argument {
                    b"fail" => Err(format!("failed at {count}")),
                    _ => Ok(count.to_string().into()),
                }
            });
    }
    let counted = calls.clone();
    app.functions
        .register("pure", Purity::Pure, move |argument| {
            counted.pure.fetch_add(1, Ordering::Relaxed);
            Ok(argument.to_vec())
        });
    app.native.set("Do", ticking);
    app.native
        .set("Lucky", |guest| guest.call("tick", "lucky").map(drop));
    app.native.set("Notes", |guest| note(guest, "notes"));
    (app, calls)
}

/// Does what `Do` does, and notes what the functions answer.
fn ticking(guest: &Guest<'_, '_>) -> Result<()> {
    note(guest, "do")?;
    run_ops(guest)
}

fn note(guest: &Guest<'_, '_>, step: &str) -> Result<()> {
    let first = guest.call("tick", step)?;
    let pure = guest.call("pure", step)?;
    let failed = guest.call("tock", "fail").unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Rejected);
    let what = format!("{first} {pure} {}", failed.message());
    guest.put("note", json!({"step": step}), json!({"what": what}));
    Ok(())
}

/// Counts with the help of a function.
fn summing(guest: &Guest<'_, '_>) -> Result<()> {
    guest.call("tick", "sum")?;
    sum(guest)
}

/// Closes an application that ran these numbers.
fn ran(app: &App, numbers: std::ops::Range<i64>) {
    let application = app.open();
    for n in numbers {
        run(&application, &put(n, n)).unwrap();
    }
    application.settle().unwrap();
    application.close().unwrap();
}

fn again(app: &App) -> Replay {
    again_with(app, Which::Logged)
}

/// What a replay finds: offset, extension, and what in words.
fn differences(app: &App) -> Vec<(u64, String, String)> {
    let found = again(app).differences.into_iter();
    found.map(|d| (d.offset, d.extension, d.what)).collect()
}

#[test]
fn a_replay_takes_impure_answers_from_the_log_and_calls_pure_functions() {
    let (app, calls) = app();
    app.native.set("Sum", summing);
    ran(&app, 0..5);
    // Three of the validator and of each that notes, and the projector's one.
    assert_eq!(calls.impure(), 5 * (2 + 1 + 2 + 1));
    let (impure, pure) = (calls.impure(), calls.pure.load(Ordering::Relaxed));
    let found = again(&app);
    assert_eq!(found.differences, []);
    assert_eq!((found.commands, found.events), (5, 5));
    assert_eq!(calls.impure(), impure);
    assert_eq!(calls.pure.load(Ordering::Relaxed), 2 * pure);
}

#[test]
fn recovery_calls_nothing() {
    let (app, calls) = app();
    app.native.set("Sum", summing);
    ran(&app, 0..5);
    let impure = calls.impure();
    let before = hash(&app.open());
    assert_eq!(hash(&app.open()), before);
    assert_eq!(calls.impure(), impure);
}

#[test]
fn only_what_counts_is_logged() {
    let (app, _) = app();
    app.native.set("Do", |guest| {
        ticking(guest)?;
        match guest.args()["ops"][0]["n"] == 3 {
            true => reject("not 3"),
            false => Ok(()),
        }
    });
    // Its first two attempts at each event fail behind a call.
    let attempts = AtomicU64::new(0);
    app.native.set("Sum", move |guest| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed) % 3;
        guest.call("tick", &attempt.to_string())?;
        match attempt {
            2 => sum(guest),
            _ => reject("once more"),
        }
    });
    let application = app.open();
    for n in 0..6 {
        let ran = run(&application, &put(n, n));
        assert_eq!(ran.is_ok(), n != 3);
    }
    application.settle().unwrap();
    application.close().unwrap();
    app.native.set("Sum", |guest| {
        guest.call("tick", "2")?;
        sum(guest)
    });
    let found = again(&app);
    assert_eq!(found.differences, []);
    assert_eq!((found.commands, found.events), (5, 5));
}

#[test]
fn an_event_of_which_only_answers_are_logged_is_counted_again() {
    let (app, calls) = app();
    app.native
        .set("Sum", |guest| guest.call("tick", "sum").map(drop));
    ran(&app, 0..3);
    let impure = calls.impure();
    assert_eq!(again(&app).differences, []);
    assert_eq!(calls.impure(), impure);
    app.native.set("Sum", |_| Ok(()));
    let not_called = "foreign function `tick` is not called, which the log has";
    for (_, extension, what) in differences(&app) {
        assert_eq!(extension, "Sum");
        assert_eq!(what, format!("counted then, fails now: {not_called}"));
    }
    assert_eq!(differences(&app).len(), 3);
}

#[test]
fn another_sequence_of_calls_is_a_difference() {
    let (app, calls) = app();
    ran(&app, 0..1);
    let impure = calls.impure();
    let what = |extension: &str, run: fn(&Guest<'_, '_>) -> Result<()>, back| {
        app.native.set(extension, run);
        let found = differences(&app);
        app.native.set(extension, back);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].2.clone()
    };
    let lucky: fn(&Guest<'_, '_>) -> Result<()> = |guest| guest.call("tick", "lucky").map(drop);
    let none = what("Lucky", |_| Ok(()), lucky);
    assert!(none.ends_with("foreign function `tick` is not called, which the log has (unknown)"));
    let argument = what(
        "Lucky",
        |guest| guest.call("tick", "other").map(drop),
        lucky,
    );
    assert!(argument.contains("`tick` is called with another argument than the log has"));
    let other = what(
        "Lucky",
        |guest| guest.call("tock", "lucky").map(drop),
        lucky,
    );
    assert!(
        other.contains("`tock` is called where the log has `tick`"),
        "{other}"
    );
    // The guest cannot catch it.
    let more = |guest: &Guest<'_, '_>| {
        ticking(guest)?;
        drop(guest.call("tick", "more"));
        Ok(())
    };
    let more = what("Do", more, ticking);
    assert!(
        more.contains("main/Do: foreign function `tick` is called where the log has no more calls")
    );
    assert_eq!(differences(&app), []);
    assert_eq!(calls.impure(), impure);
}

#[test]
fn a_shadow_calls_no_impure_function_also_for_refused_commands() {
    let (app, calls) = app();
    let until = |count: u64| {
        move |guest: &Guest<'_, '_>| {
            ticking(guest)?;
            let count_now: u64 = guest.call("tick", "last")?.parse().unwrap();
            match count_now > count {
                true => reject("too late"),
                false => Ok(()),
            }
        }
    };
    app.native.set("Do", until(14));
    let (native, code) = app.version("same");
    native.set("Do", until(14));
    native.set("Lucky", |guest| guest.call("tick", "lucky").map(drop));
    native.set("Notes", |guest| note(guest, "notes"));
    let application = app.open();
    let shadow = application.shadow("main", code).unwrap();
    let ran: Vec<_> = (0..5)
        .map(|n| run(&application, &put(n, n)).is_ok())
        .collect();
    assert_eq!(ran, [true, true, true, false, false]);
    let report = shadow.finish();
    assert_eq!(report.differences, []);
    assert_eq!(report.commands, 5);
    assert_eq!(calls.impure(), 3 * (3 + 1 + 2) + 2 * 3);
    assert_eq!(native.calls("Do"), 5);
}

#[test]
fn a_query_calls_every_function() {
    let (app, calls) = app();
    app.native.set("All", |guest| {
        let tick = guest.call("tick", "")?.parse::<i64>().unwrap();
        guest.result(json!({"id": tick, "n": 0}));
        Ok(())
    });
    let application = app.open();
    for answer in application.query("All", &json!({}), 0).unwrap() {
        answer.wait().unwrap();
    }
    assert_eq!(calls.impure(), 1);
}

#[test]
fn answers_that_do_not_fit_the_log_refuse_the_command() {
    let (mut app, _) = app();
    app.functions
        .register("tock", Purity::Impure, |_| Ok(vec![b'x'; 33 << 20]));
    app.native
        .set("Do", |guest| match guest.args()["ops"][0]["n"] == 1 {
            true => guest.call("tock", "").map(drop),
            false => run_ops(guest),
        });
    for follower in ["Notes", "Lucky"] {
        app.native.set(follower, |_| Ok(()));
    }
    // The log in memory has smaller groups.
    let application = app.volatile().open();
    let refused = kind(run(&application, &ops(&[("put", 1, 1)])));
    assert_eq!(refused, ErrorKind::Limit(Limit::IntentBytes));
    run(&application, &put(2, 2)).unwrap();
}
