//! The store on disk: the same state as in memory, whatever is killed, lost or damaged.
//!
//! A database's files are no part of the simulated machine, so these tests run on this one: processes are killed, and
//! files are damaged, removed and put back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine_core::error::{ErrorKind, Result};
use partition::application::{Application, os_platform};
use partition::replay::{Which, replay};
use partition::rows;
use partition::store::MAX_KEY;
use partition::verify::{Verified, verify};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::app::{App, hash, kind, numbers, ops, put, result, run, total};

/// So little memory that the tests' rows do not fit.
const DISK: &str = "store = \"disk\"\nstore_bytes = 1";

/// The application with its data in a folder of this machine.
fn in_folder(data: &Path, settings: &str) -> App {
    let mut app = App::new().with(settings);
    app.real = Some(os_platform().unwrap());
    app.data = Some(data.to_owned());
    app
}

fn on_disk(settings: &str) -> (App, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{DISK}\n{settings}");
    (in_folder(folder.path(), &settings), folder)
}

/// The folders of the partition.
fn place(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join("partition-0").join(name)
}

/// Commands that put rows of many ids, delete some and are refused now and then.
fn command(n: i64) -> Json {
    match n % 5 {
        0 => ops(&[("delete", n / 2 % 300, 0), ("put", n, n)]),
        1 => ops(&[("insert", n % 400, n), ("fail", 0, 0)]),
        _ => ops(&[("put", n * 7 % 1000, n), ("put", n % 50, -n - 20)]),
    }
}

/// Runs commands, many at a time.
fn work(application: &Application, numbers: std::ops::Range<i64>) {
    let numbers: Vec<_> = numbers.collect();
    for some in numbers.chunks(200) {
        let answers = some.iter().map(|n| {
            let id = format!("id{n}");
            application.submit("Do", &command(*n), Some(&id)).unwrap()
        });
        let answers: Vec<_> = answers.collect();
        for (n, answer) in some.iter().zip(answers) {
            assert_eq!(answer.wait().is_err(), n % 5 == 1, "{n}");
        }
    }
}

/// The hash of the same commands' state in memory.
fn expected(commands: i64) -> String {
    let application = App::new().open();
    work(&application, 0..commands);
    application.settle().unwrap();
    hash(&application)
}

fn close(application: Application) -> String {
    application.settle().unwrap();
    let hash = hash(&application);
    application.close().unwrap();
    hash
}

fn check(folder: &TempDir) -> Verified {
    verify(&os_platform().unwrap(), folder.path()).unwrap()
}

/// The files of a folder with their content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(path).unwrap())),
        }
    }
    found
}

/// Makes a folder have these files and no others.
fn put_back(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    fs::remove_dir_all(folder).unwrap();
    for (path, bytes) in files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn the_same_commands_leave_the_same_state_as_in_memory_also_after_reopening(
        lives in prop::collection::vec(prop::collection::vec((0u8..5, 0i64..60, -20i64..20), 0..80), 1..4),
        checkpoints in any::<bool>(),
    ) {
        let memory = App::new();
        let (disk, _folder) = on_disk("");
        for life in lives {
            let in_memory = memory.open();
            let on_disk = disk.open();
            prop_assert_eq!(hash(&on_disk), hash(&in_memory));
            for (verb, id, n) in life {
                let verb = ["insert", "update", "put", "delete", "fail"][usize::from(verb)];
                let args = ops(&[(verb, id, n), ("put", id + 1, n)]);
                let kind = |application| {
                    let accepted = run(application, &args).map_err(|error| error.kind())?;
                    Ok::<_, ErrorKind>((result(application, &accepted), accepted.offset))
                };
                prop_assert_eq!(kind(&on_disk), kind(&in_memory));
            }
            if checkpoints {
                on_disk.checkpoint().unwrap();
            }
            prop_assert_eq!(total(&on_disk), total(&in_memory));
            prop_assert_eq!(close(on_disk), close(in_memory));
        }
    }
}

#[test]
fn what_is_behind_the_checkpoint_is_recovered_with_its_ids_and_no_extension_runs() {
    let (app, folder) = on_disk("");
    let application = app.open();
    work(&application, 0..300);
    application.checkpoint().unwrap();
    work(&application, 300..600);
    let before = close(application);
    let calls = app.native.all_calls();
    let application = app.open();
    assert_eq!(hash(&application), before);
    assert_eq!(app.native.all_calls(), calls);
    for n in [0, 299, 300, 599] {
        let id = format!("id{n}");
        let again = application.run("Do", &command(n), Some(&id)).unwrap();
        assert!(again.repeated, "{n}");
    }
    application.close().unwrap();
    let found = check(&folder);
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.hash, Some(before));
    // The rows are in the store alone.
    let checkpoint = files(&place(&folder, "checkpoints"))
        .into_values()
        .next()
        .unwrap();
    assert!(checkpoint.len() < 40_000, "{}", checkpoint.len());
}

#[test]
fn a_folder_keeps_the_store_that_it_was_made_with() {
    for (made, asked) in [("disk", "memory"), ("memory", "disk")] {
        let folder = tempfile::tempdir().unwrap();
        let app = in_folder(folder.path(), &format!("store = \"{made}\""));
        run(&app.open(), &put(1, 1)).unwrap();
        let other = in_folder(folder.path(), &format!("store = \"{asked}\""));
        let other = other.try_open().unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Manifest);
        let advice = format!("store = \"{made}\"");
        assert!(other.message().contains(&advice), "{other}");
        assert_eq!(numbers(&app.open()), [(1, 1)]);
    }
}

#[test]
fn without_a_data_folder_the_rows_are_in_memory() {
    let app = App::new().volatile().with("store = \"disk\"");
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    assert_eq!(numbers(&application), [(1, 1)]);
}

#[test]
fn a_view_of_the_state_stays_as_it_is_while_commands_go_on() {
    let (app, _folder) = on_disk("checkpoint_bytes = \"16 KiB\"");
    let application = app.open();
    work(&application, 0..200);
    application.settle().unwrap();
    let views = || -> Vec<_> {
        let views = application.snapshots().unwrap();
        views.into_iter().map(|(_, view)| view).collect()
    };
    let then = views();
    let before = hash(&application);
    work(&application, 200..2_000);
    let catalog = &application.spec().catalog;
    assert_eq!(rows::hash(catalog, &then).unwrap(), before);
    drop(then);
    assert_ne!(hash(&application), before);
}

/// Where the process that is killed has its data.
const KILLED: &str = "PARTITION_TEST_DATA";

/// Settings with which a run flushes, compacts, makes checkpoints and forgets many times.
const BUSY: &str = "checkpoint_bytes = \"32 KiB\"\nretention_bytes = \"64 KiB\"";

#[test]
#[ignore = "the process that `a_killed_process_…` starts and kills"]
fn the_process_that_is_killed() {
    let Some(data) = std::env::var_os(KILLED) else {
        return;
    };
    let app = in_folder(data.as_ref(), &format!("{DISK}\n{BUSY}"));
    let application = app.open();
    let begin = application.snapshots().unwrap()[0].0 as i64 / 4 * 5;
    for n in (begin..).step_by(50) {
        work(&application, n..n + 50);
        println!("answered {}", n + 50);
    }
}

#[test]
fn a_killed_process_leaves_all_that_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let app = in_folder(folder.path(), &format!("{DISK}\n{BUSY}"));
    let mut answered = 0;
    for life in 1..=6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["disk::the_process_that_is_killed", "--exact"])
            .args(["--ignored", "--nocapture"])
            .env(KILLED, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = lines.map(|line| line.unwrap());
        let answers = lines.filter_map(|line| line.strip_prefix("answered ")?.parse().ok());
        answered = answers.take(7 * life).last().unwrap();
        // SIGKILL: the process cannot do anything about it.
        child.kill().unwrap();
        child.wait().unwrap();
        let found = check(&folder);
        assert_eq!(found.problems, Vec::<String>::new());
    }
    let application = app.open();
    let commands = application.snapshots().unwrap()[0].0 as i64;
    assert!(commands >= answered / 5 * 4, "{commands} {answered}");
    // Four of five are accepted, the second of each five is not.
    let ran = commands / 4 * 5 + [0, 1, 3, 4][commands as usize % 4];
    for n in (0..answered).filter(|n| n % 5 != 1) {
        let id = format!("id{n}");
        let again = application.run("Do", &command(n), Some(&id)).unwrap();
        assert!(again.repeated, "{n}");
    }
    assert_eq!(close(application), expected(ran));
}

/// A closed application with a store of several files, and its hash.
fn closed(settings: &str) -> (App, TempDir, String) {
    let (app, folder) = on_disk(settings);
    let application = app.open();
    for n in 0..4 {
        work(&application, n * 400..n * 400 + 400);
        application.settle().unwrap();
        application.checkpoint().unwrap();
    }
    let before = close(application);
    (app, folder, before)
}

/// Opens and reads everything.
fn read_all(app: &App) -> Result<String> {
    let application = app.try_open()?;
    let views = application.snapshots()?;
    let views: Vec<_> = views.into_iter().map(|(_, view)| view).collect();
    rows::hash(&application.spec().catalog, &views)
}

#[test]
fn any_damage_to_the_store_is_an_error_or_put_right_and_never_a_wrong_row() {
    let (app, folder, before) = closed("");
    let store = place(&folder, "store");
    let whole = files(&store);
    let mut refused = 0;
    for (path, bytes) in whole.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let mut damages = vec![
            None,
            Some(Vec::new()),
            Some(bytes[..bytes.len() / 2].to_vec()),
        ];
        for at in (0..bytes.len()).step_by(bytes.len() / 12 + 1) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            damages.push(Some(flipped));
        }
        for damage in damages {
            match &damage {
                Some(damaged) => fs::write(path, damaged).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            match read_all(&app) {
                Ok(hash) => assert_eq!(hash, before, "{}", path.display()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    assert!(
                        error.message().contains(&*store.to_string_lossy()),
                        "{error}"
                    );
                    refused += 1;
                    // What the message says to do.
                    fs::remove_dir_all(&store).unwrap();
                    assert_eq!(read_all(&app).unwrap(), before);
                }
            }
            put_back(&store, &whole);
        }
    }
    assert!(refused > 0);
}

#[test]
fn verifying_finds_a_flipped_bit_in_the_rows_and_changes_nothing() {
    let (_app, folder, before) = closed("");
    let partition = folder.path().join("partition-0");
    let whole = files(&partition);
    let found = check(&folder);
    assert_eq!((found.problems, found.hash), (Vec::new(), Some(before)));
    assert!(files(&partition) == whole);
    let tables = whole
        .iter()
        .filter(|(path, _)| path.parent().unwrap().ends_with("tables"));
    for (path, bytes) in tables {
        let mut flipped = bytes.clone();
        flipped[100] ^= 1;
        fs::write(path, flipped).unwrap();
        let problems = check(&folder).problems.join("\n");
        let store = place(&folder, "store");
        assert!(problems.contains(&*store.to_string_lossy()), "{problems}");
        fs::write(path, bytes).unwrap();
    }
    assert!(files(&partition) == whole);
}

#[test]
fn a_store_of_other_rows_at_the_same_position_does_not_agree() {
    let make = |n| {
        let (app, folder) = on_disk("");
        app.native.set("Sum", |_| Ok(()));
        let application = app.open();
        run(&application, &put(1, n)).unwrap();
        application.settle().unwrap();
        application.checkpoint().unwrap();
        application.close().unwrap();
        folder
    };
    let (one, other) = (make(1), make(2));
    fs::remove_dir_all(place(&one, "store")).unwrap();
    fs::rename(place(&other, "store"), place(&one, "store")).unwrap();
    let problems = check(&one).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("rows differ"), "{problems:?}");
}

#[test]
fn a_store_that_a_first_opening_left_behind_is_no_damage() {
    let (app, folder) = on_disk("");
    let application = app.open();
    work(&application, 0..50);
    let before = close(application);
    for path in files(&place(&folder, "store")).keys() {
        fs::write(path, b"").unwrap();
    }
    assert_eq!(check(&folder).problems.len(), 1);
    let facts = folder.path().join("application.json");
    let text = fs::read_to_string(&facts).unwrap();
    assert!(text.contains("\"opened\": true"));
    fs::write(
        &facts,
        text.replace("\"opened\": true", "\"opened\": false"),
    )
    .unwrap();
    let found = check(&folder);
    assert_eq!(
        (found.problems, found.hash),
        (Vec::new(), Some(before.clone()))
    );
    assert!(
        found.notices[0].contains("the first opening"),
        "{:?}",
        found.notices
    );
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn a_store_that_is_gone_is_made_anew_while_the_log_has_its_beginning() {
    let (app, folder, before) = closed("");
    fs::remove_dir_all(place(&folder, "store")).unwrap();
    assert_eq!(read_all(&app).unwrap(), before);
    let notices = app.notices();
    assert!(notices.contains("passed over a checkpoint"), "{notices}");
    assert_eq!(check(&folder).problems, Vec::<String>::new());
}

#[test]
fn a_store_of_an_earlier_moment_is_brought_up_from_the_log() {
    let (app, folder) = on_disk("");
    let store = place(&folder, "store");
    let mut earlier = Vec::new();
    for n in 0..4 {
        let application = app.open();
        work(&application, n * 200..n * 200 + 200);
        application.checkpoint().unwrap();
        close(application);
        earlier.push(files(&store));
    }
    let expected = expected(800);
    for files in earlier {
        put_back(&store, &files);
        assert_eq!(check(&folder).problems, Vec::<String>::new());
        assert_eq!(read_all(&app).unwrap(), expected);
    }
}

/// Settings with which the log soon forgets its beginning.
const FORGETFUL: &str = "retention_bytes = 1";

#[test]
fn a_store_that_is_gone_with_the_beginning_of_the_log_is_corrupt_and_says_what_to_do() {
    let (app, folder, before) = closed(FORGETFUL);
    assert_eq!(read_all(&app).unwrap(), before);
    let found = check(&folder);
    assert_eq!((found.problems, found.hash), (Vec::new(), Some(before)));
    let refused = replay(
        &app.program(),
        &app.arc_platform(),
        folder.path(),
        Which::Logged,
        |_| {},
    );
    assert_eq!(kind(refused), ErrorKind::Corrupt);
    let store = place(&folder, "store");
    fs::write(store.join("tree").join("current"), "damage").unwrap();
    let damaged = app.try_open().unwrap_err();
    fs::remove_dir_all(&store).unwrap();
    let gone = app.try_open().unwrap_err();
    for error in [damaged, gone] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("from a copy"), "{error}");
    }
}

#[test]
fn verifying_finds_the_table_of_another_store_where_the_log_has_lost_its_beginning() {
    let make = |n| {
        let (app, folder) = on_disk(FORGETFUL);
        let app = app.replace("16 KiB", "1 KiB");
        app.native.set("Sum", |_| Ok(()));
        let application = app.open();
        // Too few to be merged: the last one has the same number in each store.
        for _ in 0..2 {
            (0..50).for_each(|id| drop(run(&application, &put(id, n)).unwrap()));
            application.settle().unwrap();
            application.checkpoint().unwrap();
        }
        application.close().unwrap();
        folder
    };
    let (one, other) = (make(1), make(2));
    assert!(!place(&one, "log").join("00000000000000000000.log").exists());
    assert_eq!(check(&one).problems, Vec::<String>::new());
    let [from, to] = [&other, &one].map(|folder| {
        let tables = files(&place(folder, "store").join("tree/tables"));
        tables.into_keys().next_back().unwrap()
    });
    assert_eq!(from.file_name(), to.file_name());
    fs::copy(from, to).unwrap();
    let problems = check(&one).problems;
    assert!(problems[0].contains("its list of tables"), "{problems:?}");
}

#[test]
fn a_store_that_is_ahead_of_its_log_is_corrupt() {
    let (app, folder) = on_disk("");
    let application = app.open();
    work(&application, 0..100);
    close(application);
    let log = place(&folder, "log");
    let earlier = files(&log);
    let application = app.open();
    work(&application, 100..200);
    application.checkpoint().unwrap();
    close(application);
    put_back(&log, &earlier);
    assert_eq!(kind(app.try_open()), ErrorKind::Corrupt);
}

#[test]
fn a_replay_finds_no_difference_and_leaves_nothing_behind() {
    let (app, folder, _) = closed("");
    let partition = folder.path().join("partition-0");
    let whole = files(&partition);
    let found = replay(
        &app.program(),
        &app.arc_platform(),
        folder.path(),
        Which::Logged,
        |_| {},
    )
    .unwrap();
    assert_eq!(found.differences, Vec::new());
    assert!(found.commands > 1_000 && found.events > 1_000, "{found:?}");
    assert!(files(&partition) == whole);
}

#[test]
fn a_key_beyond_what_every_store_takes_is_refused() {
    let (disk, _folder) = on_disk("");
    for app in [App::new(), disk] {
        app.native.set("Do", |guest| {
            let step = "x".repeat(guest.args()["ops"][0]["n"].as_u64().unwrap() as usize);
            guest.put("note", json!({"step": step}), json!({"what": "long"}));
            guest.result(json!({"n": 0}));
            Ok(())
        });
        app.native.set("Mirror", |_| Ok(()));
        let application = app.open();
        run(&application, &put(0, MAX_KEY as i64 - 2)).unwrap();
        let refused = run(&application, &put(0, MAX_KEY as i64));
        assert_eq!(kind(refused), ErrorKind::BadIntent);
        application.close().unwrap();
        app.open();
    }
}
