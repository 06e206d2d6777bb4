//! Replay: the same code makes no difference, and every difference is found.

use engine_core::error::Result;
use engine_core::manifest::Verb;
use partition::replay::{Replay, Which, replay};
use serde_json::json;

use crate::app::{App, DATA, hash, ops, put, run, run_ops, sum};
use crate::engine::{Guest, reject};

/// A closed application that ran commands of all sorts, some in one group.
fn closed(app: App) -> App {
    let gate = app.gate();
    app.native.set("Notes", |guest| {
        let key = json!({"step": guest.random(1)});
        guest.put("note", key, json!({"what": guest.time().to_string()}));
        Ok(())
    });
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let held = submit(crate::app::hold());
    gate.wait();
    let answers = [
        ops(&[("insert", 1, 1), ("put", 2, 2)]),
        ops(&[("insert", 1, 1)]),
        ops(&[("update", 1, -13)]),
        ops(&[("update", 1, 4), ("delete", 2, 0)]),
    ]
    .map(submit);
    gate.open();
    held.wait().unwrap();
    for answer in answers {
        // Some are refused.
        drop(answer.wait());
    }
    for n in 0..20 {
        app.platform.set_now(n);
        run(&application, &put(n % 5, n)).unwrap();
    }
    application.settle().unwrap();
    application.close().unwrap();
    app.native.set("Do", run_ops);
    app
}

fn again(app: &App) -> Replay {
    again_with(app, Which::Logged)
}

pub(crate) fn again_with(app: &App, which: Which) -> Replay {
    let (program, platform) = (app.program(), app.arc_platform());
    replay(&program, &platform, DATA.as_ref(), which, |_| ()).unwrap()
}

/// The differences that a replay finds: offset, extension, what.
fn differences(app: &App) -> Vec<(u64, String, String)> {
    let found = again(app).differences.into_iter();
    found.map(|d| (d.offset, d.extension, d.what)).collect()
}

#[test]
fn the_same_code_replays_without_a_difference_and_changes_nothing() {
    let app = closed(App::new());
    let before = hash(&app.open());
    let found = again(&app);
    assert_eq!(found.differences, []);
    assert_eq!((found.commands, found.events), (23, 23));
    assert_eq!(found.other_code, 0);
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn partitions_replay_each() {
    let app = App::new().partitions(3);
    let application = app.open();
    for (n, by) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        let args = json!({"ops": [{"verb": "put", "id": n, "n": n}], "by": by});
        run(&application, &args).unwrap();
    }
    application.settle().unwrap();
    application.close().unwrap();
    let found = again(&app);
    assert_eq!((found.commands, found.events), (6, 6));
    assert_eq!(found.differences, []);
}

/// Does what `Do` does, and something more for the number 7.
fn and_for_7(guest: &Guest<'_, '_>, more: impl Fn(&Guest<'_, '_>)) -> Result<()> {
    run_ops(guest)?;
    if guest.args()["ops"][0]["n"] == 7 {
        more(guest);
    }
    Ok(())
}

#[test]
fn another_intent_is_a_difference_at_its_command_alone() {
    let app = closed(App::new());
    app.native.set("Do", |guest| {
        and_for_7(guest, |guest| {
            guest.put("row", json!({"id": 9}), json!({"n": 9}))
        })
    });
    let found = differences(&app);
    assert_eq!(found.len(), 1, "{found:?}");
    let (offset, extension, what) = &found[0];
    assert_eq!((*offset, &**extension), (10, "Do"));
    assert_eq!(what, "then nothing, now put row {\"id\":9,\"n\":9}");
}

#[test]
fn another_value_another_result_and_a_refusal_are_differences() {
    let app = closed(App::new());
    app.native.set("Do", |guest| {
        guest.put("row", json!({"id": 2}), json!({"n": 8}));
        guest.result(json!({"n": 7}));
        match guest.args()["ops"][0]["n"] == 7 {
            true => Ok(()),
            false => run_ops(guest),
        }
    });
    // One more put before the others, so that every command differs.
    let found = differences(&app);
    assert!(found.len() >= 23, "{found:?}");
    let at_7 = found.iter().find(|found| found.0 == 10).unwrap();
    assert_eq!(
        at_7.2,
        "then put row {\"id\":2,\"n\":7}, now put row {\"id\":2,\"n\":8}"
    );

    app.native.set("Do", |guest| {
        for op in guest.args()["ops"].as_array().unwrap() {
            let verb = op["verb"].as_str().unwrap();
            if let Some(verb) = Verb::ALL.into_iter().find(|v| v.name() == verb) {
                guest.write(verb, "row", json!({"id": op["id"]}), json!({"n": op["n"]}));
            }
        }
        guest.result(json!({"n": -1}));
        Ok(())
    });
    let found = differences(&app);
    assert_eq!(found.len(), 23, "{found:?}");
    assert!(found.iter().all(|found| found.2 == "another result"));

    app.native.set("Do", run_ops);
    app.native
        .set("Lucky", |guest| match guest.event().1["ops"][0]["n"] == 7 {
            true => reject("7 is unlucky now"),
            false => Ok(()),
        });
    let found = differences(&app);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].2.contains("7 is unlucky now") && found[0].2.contains("rejected"));
}

#[test]
fn a_projector_that_asks_for_nothing_or_for_more_is_a_difference() {
    let app = closed(App::new());
    app.native.set("Mirror", |_| Ok(()));
    let found = differences(&app);
    assert_eq!(found.len(), 23, "{found:?}");
    assert!(
        found.iter().all(|(_, extension, what)| {
            extension == "Mirror" && what == "asks for nothing now"
        })
    );
}

#[test]
fn other_randomness_or_time_is_a_difference() {
    let app = closed(App::new());
    app.native.set("Notes", |guest| {
        let key = json!({"step": guest.random(1)});
        guest.put("note", key, json!({"what": (guest.time() + 1).to_string()}));
        Ok(())
    });
    assert_eq!(differences(&app).len(), 23);
    app.native.set("Notes", |guest| {
        let key = json!({"step": guest.random(2)});
        guest.put("note", key, json!({"what": guest.time().to_string()}));
        Ok(())
    });
    assert_eq!(differences(&app).len(), 23);
}

#[test]
fn an_asynchronous_projector_that_counts_otherwise_is_a_difference() {
    let app = closed(App::new());
    app.native.set("Sum", |guest| {
        sum(guest)?;
        match guest.event().2.unwrap()["n"] == 7 {
            true => {
                guest.put(
                    "total",
                    json!({"of": "seven"}),
                    json!({"n": 7, "events": 1}),
                );
                Ok(())
            }
            false => Ok(()),
        }
    });
    let found = differences(&app);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, &*found[0].1), (10, "Sum"));
    app.native
        .set("Sum", |guest| match guest.event().2.unwrap()["n"] == 7 {
            true => reject("no"),
            false => sum(guest),
        });
    let found = differences(&app);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].2.contains("fails now"));
    app.native.set("Sum", |_| Ok(()));
    assert_eq!(differences(&app).len(), 23);
}

#[test]
fn other_code_is_counted_and_is_no_difference_and_runs_only_where_it_is_asked_for() {
    let app = closed(App::new());
    let package = app.manifest.split("builtin = \"").nth(1).unwrap();
    let package = package.split('"').next().unwrap().to_owned();
    let other = format!("{package}-other");
    crate::engine::link(&other, &app.native);
    let app = app.replace(&format!("\"{package}\""), &format!("\"{other}\""));
    let found = again_with(&app, Which::Today);
    assert_eq!(found.differences, []);
    assert_eq!(found.other_code, 46);
    let found = again(&app);
    assert_eq!(found.differences, []);
    assert_eq!(found.other_code, 0);
}

#[test]
fn a_log_that_forgot_its_beginning_replays_from_the_oldest_checkpoint() {
    let app = App::new()
        .with("retention_bytes = 1")
        .replace("16 KiB", "1 KiB");
    let application = app.open();
    for round in 0..6 {
        let gate = app.gate_at("Sum", sum, move |guest| guest.event().1 == put(1, round));
        // The checkpoint comes between commands and what a projector makes of them.
        for n in 0..20 {
            run(&application, &put(n, n + 100)).unwrap();
        }
        run(&application, &put(1, round)).unwrap();
        gate.wait();
        run(&application, &put(2, 2)).unwrap();
        application.checkpoint().unwrap();
        gate.open();
        application.settle().unwrap();
    }
    application.close().unwrap();
    app.native.set("Sum", sum);
    let found = again(&app);
    assert_eq!(found.differences, []);
    assert!((1..6 * 22).contains(&found.commands), "{found:?}");
    assert!(found.events > 0);
}
