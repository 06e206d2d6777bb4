//! Verification: whole data is found whole, and any damage is found in its file.

use engine_core::error::ErrorKind;
use engine_core::value::Writer;
use partition::platform::{Access, Platform};
use partition::verify::{Verified, verify};

use crate::app::{App, DATA, hash, kind, put, run};

fn closed() -> (App, String) {
    let app = App::new();
    let application = app.open();
    for n in 0..10 {
        run(&application, &put(n, n + 100)).unwrap();
        if n % 4 == 0 {
            application.checkpoint().unwrap();
        }
    }
    application.settle().unwrap();
    let before = hash(&application);
    application.close().unwrap();
    (app, before)
}

fn check(app: &App) -> Verified {
    verify(&app.arc_platform(), DATA.as_ref()).unwrap()
}

#[test]
fn whole_data_is_whole_and_has_the_hash_of_the_state() {
    let (app, before) = closed();
    let found = check(&app);
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.hash, Some(before));
    assert_eq!(
        (found.partitions, found.commands, found.checkpoints),
        (1, 10, 2)
    );
    assert!(found.groups >= 11);
}

#[test]
fn verifying_changes_nothing() {
    let (app, _) = closed();
    let files = || {
        let all = ["log", "checkpoints"].map(|folder| app.files(folder, ""));
        let all = all.into_iter().flatten();
        all.map(|path| (app.platform.files().read(&path).unwrap(), path))
            .collect::<Vec<_>>()
    };
    let before = files();
    check(&app);
    assert!(files() == before);
}

#[test]
fn a_checkpoint_of_a_position_where_no_group_ends_is_found() {
    let (app, _) = closed();
    let files = app.platform.files();
    let last = app.files("checkpoints", ".checkpoint").pop().unwrap();
    let bytes = files.read(&last).unwrap();
    let name = last.file_stem().unwrap().to_str().unwrap();
    let position: i64 = name.parse().unwrap();
    // The first frame, behind a magic number, its length and its checksum; the position stands third in it.
    let (head, frame) = bytes.split_at(16);
    let encoded = |position| {
        let mut bytes = frame[..3].to_vec();
        Writer(&mut bytes).int(position);
        bytes
    };
    let (frame, rest) =
        frame.split_at(u32::from_le_bytes(head[8..12].try_into().unwrap()) as usize);
    let frame = frame.strip_prefix(&encoded(position)[..]).unwrap();
    let frame = [&encoded(position + 1)[..], frame].concat();
    let checksum = crc32c::crc32c(&frame).to_le_bytes();
    let other = last.with_file_name(format!("{:020}.checkpoint", position + 1));
    let file = files.open(&other, Access::CreateNew).unwrap();
    file.write_all_at(&[&head[..12], &checksum, &frame, rest].concat(), 0)
        .unwrap();
    let problems = check(&app).problems.join("\n");
    assert!(
        problems.contains("where no group of the log ends"),
        "{problems}"
    );
}

#[test]
fn a_flipped_bit_anywhere_in_a_checkpoint_is_found_and_its_file_named() {
    let (app, _) = closed();
    for path in app.files("checkpoints", ".checkpoint") {
        let size = app.platform.files().read(&path).unwrap().len() as u64;
        for byte in 0..size {
            app.flip(&path, byte);
            let found = check(&app);
            let problems = found.problems.join("\n");
            assert!(
                problems.contains(&*path.to_string_lossy()),
                "byte {byte}: {found:?}"
            );
            assert_eq!(found.hash, None);
            app.flip(&path, byte);
        }
    }
    assert!(check(&app).problems.is_empty());
}

#[test]
fn a_flipped_bit_in_the_log_is_found_and_its_file_named() {
    let (app, _) = closed();
    let path = app.files("log", ".log").remove(0);
    let bytes = app.platform.files().read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    // Damage to the last record cannot be told from a crash.
    for byte in (0..end / 2).step_by(3) {
        app.flip(&path, byte);
        let found = check(&app);
        let problems = found.problems.join("\n");
        assert!(
            problems.contains(&*path.to_string_lossy()),
            "byte {byte}: {found:?}"
        );
        assert_eq!(found.hash, None);
        app.flip(&path, byte);
    }
}

#[test]
fn a_checkpoint_that_does_not_agree_with_the_log_is_found() {
    // Each has groups of the same length at the same positions, and other content.
    let make = |n, id| {
        let app = App::new();
        app.native.set("Sum", |_| Ok(()));
        let application = app.open();
        application.run("Do", &put(1, n), id).unwrap();
        application.settle().unwrap();
        application.checkpoint().unwrap();
        application.close().unwrap();
        app
    };
    let only = |app: &App| app.files("checkpoints", ".checkpoint").pop().unwrap();
    for (app, other, what) in [
        (make(1, None), make(2, None), "rows"),
        (make(1, Some("a")), make(1, Some("b")), "ids"),
    ] {
        assert!(check(&app).problems.is_empty());
        let path = only(&app);
        assert_eq!(only(&other), path);
        let bytes = other.platform.files().read(&path).unwrap();
        let files = app.platform.files();
        let file = files.open(&path, Access::Truncate).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let found = check(&app);
        assert_eq!(found.problems.len(), 1, "{found:?}");
        assert!(found.problems[0].contains(what), "{found:?}");
        assert!(found.problems[0].contains(&*path.to_string_lossy()));
    }
}

#[test]
fn what_is_no_data_folder_is_said_to_be_none() {
    let app = App::new();
    let found = verify(&app.arc_platform(), DATA.as_ref());
    assert_eq!(kind(found), ErrorKind::Unknown);
}

#[test]
fn a_folder_that_is_open_is_busy_and_no_problem() {
    let (app, _) = closed();
    let application = app.open();
    let found = verify(&app.arc_platform(), DATA.as_ref());
    assert_eq!(kind(found), ErrorKind::Busy);
    application.close().unwrap();
}
