//! A manifest that changes above data: what goes on as it was, and what is refused before anything is written.

use std::path::Path;

use engine_core::error::{Error, ErrorKind};
use engine_core::manifest::Verb;
use partition::application::Application;
use partition::platform::{Access, Platform};
use partition::replay::Which;
use partition::verify::verify;
use serde_json::{Value as Json, json};

use crate::app::{App, DATA, hash, put, rows_of, run, sum, total};
use crate::engine::reject;
use crate::replay::again_with;

const ASYNC: &str = "mode = \"async\"\n";

/// The same application without its asynchronous projector.
fn without_sum(mut app: App) -> App {
    let (begin, rest) = app.manifest.split_once("[extensions.Sum]").unwrap();
    let (_, end) = rest.split_once("[extensions.Get]").unwrap();
    app.manifest = format!("{begin}[extensions.Get]{end}");
    app
}

fn work(application: &Application, commands: i64) {
    for n in 0..commands {
        run(application, &put(n % 7, 1)).unwrap();
    }
}

/// Opens the application, runs commands and closes it, with what its projectors have to count.
fn ran(app: App, commands: i64) -> App {
    let application = app.open();
    work(&application, commands);
    application.settle().unwrap();
    application.close().unwrap();
    app
}

/// Runs as many commands that the log forgets the first ones.
fn cut(app: App) -> App {
    let application = app.open();
    for _ in 0..4 {
        work(&application, 20);
        application.settle().unwrap();
        application.checkpoint().unwrap();
    }
    application.close().unwrap();
    let first = "00000000000000000000.log";
    assert!(app.files("log", first).is_empty());
    app
}

fn forgetful() -> App {
    App::new()
        .with("retention_bytes = 1")
        .replace("16 KiB", "1 KiB")
}

fn refused(app: &App) -> Error {
    let refused = app.try_open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Manifest, "{refused}");
    refused
}

fn says(refused: &Error, words: &[&str]) {
    let message = refused.message();
    words
        .iter()
        .for_each(|word| assert!(message.contains(word), "{message}"));
}

#[test]
fn a_projector_that_comes_after_a_cut_is_refused_or_begins_at_the_oldest_command_if_told_so() {
    let whole = forgetful();
    let manifest = whole.manifest.clone();
    let mut app = cut(without_sum(whole));
    let without = std::mem::replace(&mut app.manifest, manifest);
    let message = refused(&app);
    says(
        &message,
        &["`Sum`", "from = \"oldest\"", "commands from 0 on"],
    );
    // Without it, everything goes on.
    let with = std::mem::replace(&mut app.manifest, without);
    app.open().close().unwrap();
    app.manifest = with;
    let app = app.replace(ASYNC, &format!("{ASYNC}from = \"oldest\"\n"));
    let application = app.open();
    let (_, counted) = total(&application);
    assert!((1..80).contains(&counted), "{counted}");
    let oldest = format!("command {} only", 80 - counted);
    assert!(app.notices().contains(&oldest), "{}", app.notices());
    application.close().unwrap();
    let notices = app.notices();
    let logs = app.files("log", ".log");
    let app = cut(app);
    let application = app.open();
    assert_eq!(total(&application).1, counted + 80);
    application.close().unwrap();
    assert_eq!(app.notices(), notices);
    // The log goes on forgetting.
    let kept = app.files("log", ".log");
    assert!(!kept.contains(logs.iter().max().unwrap()), "{kept:?}");
    assert_eq!(again_with(&app, Which::Logged).differences, []);
    let found = verify(&app.arc_platform(), DATA.as_ref()).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
}

#[test]
fn a_projector_that_comes_back_after_a_cut_is_refused() {
    let app = ran(forgetful(), 5);
    let manifest = app.manifest.clone();
    let mut app = cut(without_sum(app));
    app.manifest = manifest;
    says(&refused(&app), &["`Sum`", "commands from 5 on"]);
}

#[test]
fn a_projector_that_comes_back_counts_what_came_meanwhile() {
    let app = ran(App::new(), 5);
    let manifest = app.manifest.clone();
    let mut app = ran(without_sum(app), 5);
    app.manifest = manifest;
    assert_eq!(total(&app.open()), (10, 10));
}

#[test]
fn rows_of_an_asynchronous_projector_get_no_other_writer() {
    for (from, to) in [("[extensions.Sum]", "[extensions.Count]"), (ASYNC, "")] {
        let app = ran(App::new(), 5).replace(from, to);
        app.native.set("Count", sum);
        says(&refused(&app), &["`total`", "`Sum`"]);
        assert_eq!(total(&app_back(app, from, to).open()), (5, 5));
    }
    // Nor after a time without any.
    let app = ran(App::new(), 5);
    let renamed = app
        .manifest
        .replace("[extensions.Sum]", "[extensions.Count]");
    let mut app = ran(without_sum(app), 5);
    app.manifest = renamed;
    says(&refused(&app), &["`total`", "`Sum`", "`Count`"]);
    // Nor the rows of a synchronous one.
    let app = ran(App::new().replace(ASYNC, ""), 5);
    let manifest = app.manifest.replace(
        "[extensions.Sum]\nkind = \"projector\"\n",
        &format!("[extensions.Sum]\nkind = \"projector\"\n{ASYNC}"),
    );
    let app = App { manifest, ..app };
    says(&refused(&app), &["`total`", "what runs with commands"]);
}

/// The manifest as it was before a change, which begins a line of its own or names an extension.
fn app_back(app: App, from: &str, to: &str) -> App {
    match to {
        "" => app.replace(
            "[extensions.Sum]\nkind = \"projector\"\n",
            &format!("[extensions.Sum]\nkind = \"projector\"\n{from}"),
        ),
        _ => app.replace(to, from),
    }
}

#[test]
fn a_projector_is_renamed_where_it_has_written_nothing() {
    let app = App::new();
    app.open().close().unwrap();
    let app = app.replace("[extensions.Sum]", "[extensions.Count]");
    app.native.set("Count", sum);
    assert_eq!(total(&ran(app, 5).open()), (5, 5));
}

#[test]
fn a_new_storage_is_filled_under_a_new_name_and_not_under_the_old_one() {
    let app = ran(App::new(), 5)
        .replace(
            "[storages.note]",
            "[storages.other]\nkey = \"of: text\"\nvalue = \"n: int\"\n\n[storages.note]",
        )
        .replace("access = { total =", "access = { other =");
    for name in ["Sum", "Count"] {
        app.native.set(name, |guest| {
            let key = json!({"of": "all"});
            let before = guest.get("other", key.clone())?;
            let n = before.map_or(0, |row| row["n"].as_i64().unwrap());
            guest.put("other", key, json!({"n": n + 1}));
            Ok(())
        });
    }
    says(&refused(&app), &["`Sum`", "new name"]);
    let app = app.replace("[extensions.Sum]", "[extensions.Count]");
    let application = app.open();
    application.settle().unwrap();
    assert_eq!(rows_of(&application, "other")[0]["n"], 5);
    assert_eq!(rows_of(&application, "total")[0]["events"], 5);
}

const ARGS: &str = "args = \"ops: [{verb: text, id: int, n: int}], by: text?\"\nresult = \"n: int\"\nroute = \"by\"";

/// An application whose projector counts one of two commands, and its manifest with both.
fn counting_one() -> (App, String) {
    let other = "[extensions.Other]\nkind = \"command\"\nargs = \"\"\n\n[extensions.Sum]";
    let app = App::new().replace("[extensions.Sum]", other);
    app.native.set("Other", |_| Ok(()));
    let (begin, end) = app.manifest.split_once("[extensions.Sum]").unwrap();
    let end = end.replacen("on = [\"Do\"]", "on = [\"Do\", \"Other\"]", 1);
    let both = format!("{begin}[extensions.Sum]{end}");
    (app, both)
}

#[test]
fn a_projector_that_has_counted_gets_no_command_that_it_passed_over() {
    let (mut app, both) = counting_one();
    let one = app.manifest.clone();
    // One that has counted nothing gets it.
    app.open().close().unwrap();
    app.manifest = both.clone();
    app.open().close().unwrap();
    app.manifest = one.clone();
    let mut app = ran(app, 5);
    app.manifest = both.clone();
    says(&refused(&app), &["`Sum`", "`Other`", "a new name"]);
    app.manifest = one;
    let mut app = ran(app, 1);
    // An earlier build did not say what it counts.
    let path = Path::new(DATA).join("application.json");
    let files = app.platform.files();
    let mut facts: Json = serde_json::from_slice(&files.read(&path).unwrap()).unwrap();
    assert_eq!(facts["projectors"], json!({"Sum": ["Do"]}));
    facts.as_object_mut().unwrap().remove("projectors");
    let file = files.open(&path, Access::Truncate).unwrap();
    file.write_all_at(facts.to_string().as_bytes(), 0).unwrap();
    app.manifest = both;
    app.open().close().unwrap();
}

#[test]
fn a_projector_gets_a_command_that_is_new() {
    let app = ran(App::new(), 5);
    let (other, both) = counting_one();
    drop(other);
    let package = |manifest: &str| {
        let rest = manifest.split("builtin = \"").nth(1).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let manifest = both.replace(&package(&both), &package(&app.manifest));
    let app = App { manifest, ..app };
    app.native.set("Other", |_| Ok(()));
    assert_eq!(total(&ran(app, 2).open()), (7, 7));
}

#[test]
fn the_field_that_chooses_among_partitions_stays() {
    let args = ARGS.replace("text?", "text?, to: text = \\\"x\\\"");
    let other = args.replace("route = \"by\"", "route = \"to\"");
    let app = App::new().partitions(2).replace(ARGS, &args);
    let app = ran(app, 5).replace(&args, &other);
    says(&refused(&app), &["`Do`", "by `by`", "by `to`"]);
    // One partition has everything, whatever chooses it.
    let app = ran(App::new().replace(ARGS, &args), 5).replace(&args, &other);
    assert_eq!(total(&app.open()), (5, 5));
}

#[test]
fn arguments_and_results_that_do_not_continue_the_logged_ones_are_refused() {
    for other in [
        ARGS.replace(
            "ops: [{verb: text, id: int, n: int}], by: text?",
            "by: text?, ops: [{verb: text, id: int, n: int}]",
        ),
        ARGS.replace("by: text?", "by: int?"),
        ARGS.replace("verb: text, id", "id: int, verb: text, other")
            .replace(", n: int}", "}"),
        ARGS.replace("result = \"n: int\"", "result = \"n: float\""),
        ARGS.replace("result = \"n: int\"", ""),
    ] {
        let app = ran(App::new(), 5).replace(ARGS, &other);
        says(&refused(&app), &["command `Do`", "new name"]);
    }
}

#[test]
fn appended_arguments_and_results_of_the_log_read_as_their_defaults() {
    let app = App::new();
    app.native.set("Sum", |_| reject("not now"));
    let application = app.open();
    work(&application, 5);
    application.settle().unwrap_err();
    application.close().unwrap();
    let wider = ARGS
        .replace("by: text?", "by: text?, to: text = \\\"x\\\"")
        .replace("result = \"n: int\"", "result = \"n: int, m: int = 5\"");
    let app = app.replace(ARGS, &wider);
    app.native.set("Sum", |guest| {
        let (_, args, result) = guest.event();
        assert_eq!(
            (&args["to"], &result.unwrap()["m"]),
            (&json!("x"), &json!(5))
        );
        sum(guest)
    });
    assert_eq!(total(&app.open()), (5, 5));
    let found = again_with(&app, Which::Logged);
    assert_eq!((found.differences, found.events), (Vec::new(), 5));
}

#[test]
fn fields_that_rows_have_got_since_are_no_difference_in_a_replay() {
    let value = "key = \"id: int\"\nvalue = \"n: int\"";
    let total = "value = \"n: int, events: int\"";
    let app = ran(App::new(), 5)
        .replace(
            value,
            &value.replace("n: int", "n: int, flag: bool = false"),
        )
        .replace(
            total,
            &total.replace("events: int", "events: int, by: text?"),
        );
    // The rows' new fields are given with null and with nothing.
    app.native.set("Sum", |guest| {
        let key = json!({"of": "all"});
        let before = guest.get("total", key.clone())?;
        let verb = before.as_ref().map_or(Verb::Insert, |_| Verb::Update);
        let mut row = before.unwrap_or_else(|| json!({"n": 0, "events": 0, "by": null}));
        for field in ["n", "events"] {
            row[field] = Json::from(row[field].as_i64().unwrap() + 1);
        }
        guest.write(verb, "total", key, row);
        Ok(())
    });
    assert_eq!(again_with(&app, Which::Logged).differences, []);
    // What today's code sets there is one.
    app.native.set("Do", |guest| {
        let op = &guest.args()["ops"][0];
        guest.put(
            "row",
            json!({"id": op["id"]}),
            json!({"n": op["n"], "flag": true}),
        );
        guest.result(json!({"n": op["n"]}));
        Ok(())
    });
    assert_eq!(again_with(&app, Which::Logged).differences.len(), 5);
}

#[test]
fn a_changed_manifest_is_taken_up_with_the_first_write_and_not_by_looking() {
    let value = "value = \"n: int\"\n\n[storages.mirror]";
    let wider = "value = \"n: int, flag: bool = false\"\n\n[storages.new]\nkey = \"\"\nvalue = \"\"\n\n[storages.mirror]";
    let app = ran(App::new(), 5);
    let path = Path::new(DATA).join("application.json");
    let facts = || app.platform.files().read(&path).unwrap();
    let before = facts();
    let manifest = app.manifest.replace(value, wider);
    let changed = App {
        manifest,
        native: app.native.clone(),
        platform: app.platform.clone(),
        ..App::new()
    };
    let application = changed.open();
    let looked = hash(&application);
    application.checkpoint().unwrap();
    application.close().unwrap();
    assert!(facts() == before);
    // So the manifest of before still opens, with the checkpoint that names the new storage.
    app.open().close().unwrap();
    let application = changed.open();
    assert_eq!(hash(&application), looked);
    work(&application, 1);
    application.close().unwrap();
    assert!(facts() != before);
    says(&refused(&app), &["the manifest no longer declares"]);
}
