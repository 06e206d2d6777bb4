//! The data folder: whose it is, and which schemas its rows may be read under.

use std::path::Path;
use std::sync::Arc;

use engine_core::error::ErrorKind;
use serde_json::json;

use crate::app::{App, DATA, hash, kind, put, rows_of, run};
use partition::platform::{Access, Platform};
use partition::verify::verify;

/// A closed application with some rows.
fn closed() -> App {
    let app = App::new();
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    run(&application, &put(2, 2)).unwrap();
    application.settle().unwrap();
    application.checkpoint().unwrap();
    application.close().unwrap();
    app
}

#[test]
fn the_folder_of_another_application_is_refused() {
    let app = closed().replace("name = \"ledger\"", "name = \"other\"");
    assert_eq!(kind(app.try_open()), ErrorKind::Manifest);
}

#[test]
fn another_number_of_partitions_is_refused() {
    let app = closed().partitions(2);
    let refused = app.try_open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Manifest);
    assert!(refused.message().contains("1 partitions"), "{refused}");
}

#[test]
fn routing_stays_the_same_over_openings() {
    let app = App::new().partitions(4);
    let mut all = Vec::new();
    for _ in 0..3 {
        let application = app.open();
        let partitions = ["a", "b", "c", "", "longer", "é"].map(|by| {
            let args = json!({"ops": [], "by": by});
            run(&application, &args).unwrap().partition
        });
        application.close().unwrap();
        all.push(partitions);
    }
    assert_eq!(all, [ROUTES; 3]);
}

/// What data folders out there were made with.
const ROUTES: [u32; 6] = [3, 3, 2, 1, 3, 0];

#[test]
fn schemas_that_do_not_continue_the_old_ones_are_refused() {
    let row = "[storages.row]\nkey = \"id: int\"\nvalue = \"n: int\"";
    for other in [
        "[storages.row]\nkey = \"id: int?\"\nvalue = \"n: int\"",
        "[storages.row]\nkey = \"key: int\"\nvalue = \"n: int\"",
        "[storages.row]\nkey = \"id: int, more: int\"\nvalue = \"n: int\"",
        "[storages.row]\nkey = \"id: int\"\nvalue = \"m: int\"",
        "[storages.row]\nkey = \"id: int\"\nvalue = \"n: float\"",
        "[storages.row]\nkey = \"id: int\"\nvalue = \"m: int, n: int\"",
        "[storages.row]\nkey = \"id: int\"\nvalue = \"n: int = 4\"",
        "[storages.row]\nkey = \"id: int\"\nvalue = \"n: int?\"",
        "[storages.row]\nkey = \"id: int\"\nvalue = \"\"",
    ] {
        let app = closed().replace(row, other);
        let refused = app.try_open().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Manifest, "{other}");
        assert!(refused.message().contains("`row`"), "{refused}");
    }
}

#[test]
fn a_storage_that_is_no_longer_declared_is_refused() {
    let app = closed();
    let unused = "[storages.unused]\nkey = \"id: int\"\nvalue = \"\"\n\n[storages.row]";
    let app = app.replace("[storages.row]", unused);
    let application = app.open();
    run(&application, &put(3, 3)).unwrap();
    application.close().unwrap();
    let app = app.replace(unused, "[storages.row]");
    assert_eq!(kind(app.try_open()), ErrorKind::Manifest);
}

#[test]
fn appended_fields_read_as_their_defaults_and_the_hash_is_of_whole_rows() {
    let wider = "value = \"n: int, flag: bool, by: text? = \\\"me\\\"\"\n\n[storages.mirror]";
    let narrow = "value = \"n: int\"\n\n[storages.mirror]";
    let app = closed().replace(narrow, wider);
    let application = app.open();
    assert_eq!(
        rows_of(&application, "row")[0],
        json!({"id": 1, "n": 1, "flag": false, "by": "me"})
    );
    let short = hash(&application);
    // The same row, written under the new schema.
    app.native.set("Do", |guest| {
        let row = guest.get("row", json!({"id": 1}))?.unwrap();
        assert_eq!(row["by"], "me");
        guest.put("row", json!({"id": 1}), row);
        guest.result(json!({"n": 0}));
        Ok(())
    });
    for extension in ["Mirror", "Sum"] {
        app.native.set(extension, |_| Ok(()));
    }
    run(&application, &put(1, 1)).unwrap();
    assert_eq!(hash(&application), short);
    application.close().unwrap();
    // Nothing reads the new rows under the old schema.
    let app = app.replace(wider, narrow);
    assert_eq!(kind(app.try_open()), ErrorKind::Manifest);
    // And a default stays what rows were read with.
    let app = app.replace(narrow, &wider.replace("me", "you"));
    assert_eq!(kind(app.try_open()), ErrorKind::Manifest);
    let app = app.replace(&wider.replace("me", "you"), wider);
    assert_eq!(hash(&app.open()), short);
}

#[test]
fn a_default_that_is_no_number_continues_itself() {
    let narrow = "value = \"n: int\"\n\n[storages.mirror]";
    let wider = "value = 'n: int, x: float = \"NaN\", y: float = -0.0'\n\n[storages.mirror]";
    let app = closed().replace(narrow, wider);
    for extension in ["Do", "Mirror", "Sum"] {
        app.native.set(extension, |_| Ok(()));
    }
    let application = app.open();
    let first = hash(&application);
    run(&application, &put(1, 1)).unwrap();
    application.close().unwrap();
    assert_eq!(hash(&app.open()), first);
    let app = app.replace("-0.0", "0.0");
    assert_eq!(kind(app.try_open()), ErrorKind::Manifest);
}

#[test]
fn storages_may_be_declared_in_another_order() {
    let app = closed();
    let before = hash(&app.open());
    let row = "[storages.row]\nkey = \"id: int\"\nvalue = \"n: int\"\n";
    let app = app
        .replace(row, "")
        .replace("[packages.main]", &format!("{row}\n[packages.main]"));
    assert_eq!(hash(&app.open()), before);
    // From the log alone, too.
    for path in app.files("checkpoints", ".checkpoint") {
        app.platform.files().remove(&path).unwrap();
    }
    assert_eq!(hash(&app.open()), before);
}

#[test]
fn a_folder_that_is_open_is_refused_as_busy() {
    let app = App::new();
    let first = app.open();
    run(&first, &put(1, 1)).unwrap();
    assert_eq!(kind(app.try_open()), ErrorKind::Busy);
    run(&first, &put(2, 2)).unwrap();
    first.close().unwrap();
    app.open().close().unwrap();
}

#[test]
fn a_number_of_partitions_that_no_folder_has_is_damage() {
    let app = closed();
    let path = Path::new(DATA).join("application.json");
    let text = String::from_utf8(app.platform.files().read(&path).unwrap()).unwrap();
    for partitions in [0, 1025, u32::MAX] {
        let other = text.replace(
            "\"partitions\": 1",
            &format!("\"partitions\": {partitions}"),
        );
        assert_ne!(other, text);
        let file = app.platform.files().open(&path, Access::Truncate).unwrap();
        file.write_all_at(other.as_bytes(), 0).unwrap();
        let platform: Arc<dyn Platform> = Arc::new(app.platform.clone());
        let refused = verify(&platform, Path::new(DATA)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        assert_eq!(kind(app.try_open()), ErrorKind::Corrupt);
    }
}

#[test]
fn a_log_without_the_file_that_says_whose_it_is_is_damage_and_not_a_new_folder() {
    let app = closed();
    let machine = app.platform.clone();
    let files = machine.files();
    files
        .remove(&Path::new(DATA).join("application.json"))
        .unwrap();
    let refused = app.try_open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert!(refused.message().contains("is gone"), "{refused}");
    let found = verify(&app.arc_platform(), Path::new(DATA)).unwrap_err();
    assert_eq!(found.message(), refused.message());
    // Nor is it new with other partitions, or where only one of them is left.
    let app = app.partitions(2);
    assert_eq!(kind(app.try_open()), ErrorKind::Corrupt);
    let [first, second] = [0, 1].map(|n| Path::new(DATA).join(format!("partition-{n}/log")));
    files.create_dir_all(&second).unwrap();
    for name in files.list(&first).unwrap() {
        let bytes = files.read(&first.join(&name)).unwrap();
        files.remove(&first.join(&name)).unwrap();
        let moved = files.open(&second.join(&name), Access::CreateNew).unwrap();
        moved.write_all_at(&bytes, 0).unwrap();
    }
    assert_eq!(kind(app.try_open()), ErrorKind::Corrupt);
}

#[test]
fn a_log_that_is_gone_is_damage_and_not_a_new_partition() {
    for emptied in [false, true] {
        let app = closed();
        let files = app.platform.files();
        for path in app.files("log", ".log") {
            if emptied {
                drop(files.open(&path, Access::Truncate).unwrap());
            } else {
                files.remove(&path).unwrap();
            }
        }
        let left = app.files("log", ".log");
        let platform: Arc<dyn Platform> = Arc::new(app.platform.clone());
        let found = verify(&platform, Path::new(DATA)).unwrap();
        assert!(
            found.problems[0].contains("the log of partition 0"),
            "{found:?}"
        );
        let refused = app.try_open().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        assert_eq!(
            app.files("log", ".log"),
            left,
            "nothing stands in its place"
        );
    }
}

#[test]
fn partitions_that_were_swapped_are_found() {
    let app = App::new().partitions(2);
    let application = app.open();
    for by in ["a", ""] {
        for n in 0..3 {
            let args = json!({"ops": [{"verb": "put", "id": n, "n": n}], "by": by});
            run(&application, &args).unwrap();
        }
    }
    application.close().unwrap();
    let name = "log/00000000000000000000.log";
    let paths = [0, 1].map(|n| Path::new(DATA).join(format!("partition-{n}")).join(name));
    let files = app.platform.files();
    let [first, second] = paths.each_ref().map(|path| files.read(path).unwrap());
    for (path, bytes) in paths.iter().zip([&second, &first]) {
        let file = files.open(path, Access::Truncate).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }
    let refused = app.try_open().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.message().contains("partition 1"), "{refused}");
    let found = verify(&app.arc_platform(), Path::new(DATA)).unwrap();
    let [one, two] = &found.problems[..] else {
        panic!("{found:?}");
    };
    assert!(one.contains("belongs to partition 1"), "{one}");
    assert!(two.contains("belongs to partition 0"), "{two}");
}

#[test]
fn an_application_that_does_not_load_leaves_no_mark_on_its_folder() {
    let app = App::new().replace("engine = \"probe\"", "engine = \"not-in-this-build\"");
    assert_eq!(kind(app.try_open()), ErrorKind::Unknown);
    assert!(!app.platform.files().exists(DATA.as_ref()).unwrap());
}
