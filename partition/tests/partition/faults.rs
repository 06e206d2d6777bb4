//! A bad machine: one fault at every single file operation of a script, then a crash, then what must hold.
//!
//! The script's threads are real, so the operation that a number names differs from run to run; over all numbers,
//! every kind of operation meets every kind of fault.

use std::sync::LazyLock;

use engine_core::error::{ErrorKind, Result};
use partition::Accepted;
use partition::application::Application;
use partition::platform::sim::Fault;
use partition::replay::{Which, replay};
use partition::verify::verify;
use serde_json::Value as Json;

use crate::app::{App, DATA, hash, ops, put, total};

/// The commands of the script, which is one partition's whole life.
fn commands() -> Vec<Json> {
    let mut commands = vec![
        ops(&[("insert", 1, 1), ("insert", 2, 2)]),
        ops(&[("update", 1, 5), ("delete", 2, 0)]),
        ops(&[("insert", 2, 9), ("insert", 3, 3)]),
    ];
    commands.extend((0..6).map(|n| put(n, n + 20)));
    commands
}

fn app() -> App {
    App::new()
        .with("checkpoint_bytes = 500")
        .with("retention_bytes = 700")
        .replace("16 KiB", "1 KiB")
}

fn submit(application: &Application, number: usize, args: &Json) -> Result<Accepted> {
    application.run("Do", args, Some(&format!("id{number}")))
}

/// What the state is after each number of commands, of a machine without faults.
static FAULTLESS: LazyLock<Vec<(String, (i64, i64))>> = LazyLock::new(|| {
    let application = app().open();
    let state = || {
        let total = total(&application);
        (hash(&application), total)
    };
    let mut states = vec![state()];
    for (number, args) in commands().iter().enumerate() {
        submit(&application, number, args).unwrap();
        states.push(state());
    }
    states
});

/// How many commands a partition has, after checking that its state is what that many commands make.
fn check(application: &Application, context: &str) -> usize {
    application
        .settle()
        .unwrap_or_else(|e| panic!("{context}: {e}"));
    let commands = application.snapshots().unwrap()[0].0 as usize;
    let (hash_then, total_then) = &FAULTLESS[commands];
    assert_eq!(total(application), *total_then, "{context}");
    assert_eq!(hash(application), *hash_then, "{context}");
    commands
}

/// Runs the script until something fails: what was answered, and whether all of it went well.
fn run_until_failure(app: &App, context: &str) -> (Vec<Accepted>, bool) {
    let mut answered = Vec::new();
    let Ok(application) = app.try_open() else {
        return (answered, false);
    };
    for (number, args) in commands().iter().enumerate() {
        match submit(&application, number, args) {
            Ok(accepted) => answered.push(accepted),
            Err(error) => {
                // A failed append is said so by the first command, and by all others.
                assert_eq!(error.kind(), ErrorKind::Stopped, "{context}: {error}");
                let next = submit(&application, number, args).unwrap_err();
                assert_eq!(next.kind(), ErrorKind::Stopped, "{context}: {next}");
                assert!(application.close().is_err(), "{context}");
                return (answered, false);
            }
        }
        if number == 4 {
            // Whether it is written or not makes no difference to anything.
            drop(application.checkpoint());
        }
    }
    let settled = application.settle();
    (answered, settled.and(application.close()).is_ok())
}

/// Submits the whole script at once, in groups of two commands, so that each group is built while the one before it is
/// appended: what was answered, and whether all of it went well.
fn run_at_once_until_failure(app: &App, context: &str) -> (Vec<Accepted>, bool) {
    let mut answered = Vec::new();
    let Ok(application) = app.try_open() else {
        return (answered, false);
    };
    let submit = |(number, args): (usize, &Json)| {
        application.submit("Do", args, Some(&format!("id{number}")))
    };
    let answers: Vec<_> = commands().iter().enumerate().map(submit).collect();
    let mut failed = false;
    for answer in answers {
        match answer.and_then(partition::Answer::wait) {
            Ok(accepted) => {
                assert!(!failed, "{context}: answered behind a failed group");
                answered.push(accepted);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Stopped, "{context}: {error}");
                failed = true;
            }
        }
    }
    let settled = application.settle();
    let well = settled.and(application.close()).is_ok();
    (answered, well && !failed)
}

/// Crashes, opens the data, and checks it against what was answered; `more` commands may be durable at most that were
/// not answered.
fn recover(app: &App, answered: &[Accepted], more: usize, fault: Fault, odd: bool, context: &str) {
    match fault == Fault::PowerCut || odd {
        true => app.platform.power_loss(),
        false => app.platform.kill(),
    }
    // A crash leaves no damage, and what it leaves is read as the next opening reads it.
    let verified = match verify(&app.arc_platform(), DATA.as_ref()) {
        Ok(found) => {
            assert_eq!(found.problems, Vec::<String>::new(), "{context}");
            found.commands as usize
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unknown, "{context}: {error}");
            0
        }
    };
    let application = app.try_open().unwrap_or_else(|e| panic!("{context}: {e}"));
    let durable = check(&application, context);
    assert_eq!(durable, verified, "{context}");
    assert!(
        (answered.len()..=answered.len() + more).contains(&durable),
        "{context}: {} answered, {durable} durable",
        answered.len()
    );
    for (number, args) in commands().iter().enumerate() {
        let accepted = submit(&application, number, args).unwrap();
        assert_eq!(accepted.offset, number as u64, "{context}");
        assert_eq!(accepted.repeated, number < durable, "{context}");
        if let Some(then) = answered.get(number) {
            assert_eq!(accepted.result, then.result, "{context}");
        }
    }
    assert_eq!(check(&application, context), commands().len());
    application.close().unwrap();
    let replayed = replay(
        &app.program(),
        &app.arc_platform(),
        DATA.as_ref(),
        Which::Logged,
        |_| (),
    );
    assert_eq!(replayed.unwrap().differences, [], "{context}");
}

/// Runs the script with one fault at each operation.
fn fail_everywhere(fault: Fault) {
    let mut operation = 0;
    loop {
        let context = format!("{fault:?} at {operation}");
        let app = app();
        app.platform.fail_after(operation, fault);
        let (answered, well) = run_until_failure(&app, &context);
        let met = app.platform.operations() > operation;
        recover(&app, &answered, 1, fault, operation % 2 == 1, &context);
        let many = self::app().with("group_commands = 2");
        many.platform.fail_after(operation, fault);
        let (answered, _) = run_at_once_until_failure(&many, &context);
        recover(&many, &answered, 2, fault, operation % 2 == 1, &context);
        if !met {
            assert!(well, "{context}: no fault, and something failed");
            assert!(
                operation > 100,
                "the script met only {operation} operations"
            );
            return;
        }
        operation += 1;
    }
}

#[test]
fn an_error_at_any_operation_loses_nothing_and_doubles_nothing() {
    fail_everywhere(Fault::Io);
}

#[test]
fn a_full_disk_at_any_operation_loses_nothing_and_doubles_nothing() {
    fail_everywhere(Fault::Full);
}

#[test]
fn a_short_write_at_any_operation_loses_nothing_and_doubles_nothing() {
    fail_everywhere(Fault::ShortWrite);
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_and_doubles_nothing() {
    fail_everywhere(Fault::PowerCut);
}

#[test]
fn a_crash_in_the_recovery_from_a_crash_loses_nothing_either() {
    for operation in 0..60 {
        let app = app();
        app.platform.fail_after(operation * 4, Fault::PowerCut);
        let context = format!("power cut at {}", operation * 4);
        let (answered, _) = run_until_failure(&app, &context);
        for again in 0..3 {
            app.platform.power_loss();
            app.platform
                .fail_after(operation / 2 + again * 9, Fault::PowerCut);
            if let Ok(application) = app.try_open() {
                drop(application.settle());
            }
        }
        recover(&app, &answered, 1, Fault::PowerCut, true, &context);
    }
}
