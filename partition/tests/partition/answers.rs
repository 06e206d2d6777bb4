//! Answers at the end: closing, dropping, and threads that fail.

use std::thread;

use engine_core::error::ErrorKind;
use engine_core::json::row_from_json;
use engine_core::value::encode;
use serde_json::json;

use crate::app::{App, get, hold, kind, numbers, put, run, sum, total};

#[test]
fn closing_answers_everything_in_the_queue() {
    let app = App::new();
    let gate = app.gate();
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let mut answers = vec![submit(hold())];
    gate.wait();
    answers.extend((0..20).map(|n| submit(put(n, n))));
    let opener = thread::spawn(move || gate.open());
    application.close().unwrap();
    opener.join().unwrap();
    for (answer, offset) in answers.into_iter().zip(0..) {
        assert_eq!(answer.wait().unwrap().offset, offset);
    }
    assert_eq!(numbers(&app.open()).len(), 20);
}

#[test]
fn a_row_is_taken_as_json_is() {
    for partitions in [1, 3] {
        let app = App::new().partitions(partitions);
        let application = app.open();
        let schema = &application.spec().extensions[0].decl.args;
        assert_eq!(&*application.spec().extensions[0].decl.name, "Do");
        let command = application.command("Do").unwrap();
        for n in 0..9 {
            let mut args = put(n, n);
            if n % 3 > 0 {
                args["by"] = json!(format!("customer {n}"));
            }
            let row = encode(&row_from_json(&args, schema).unwrap());
            let id = format!("{n}");
            let taken = match n % 2 {
                0 => application.submit_row("Do", row, Some(&id)),
                _ => application.submit_row_to(command, row, Some(&id)),
            };
            let taken = taken.unwrap().wait().unwrap();
            let found = application.submit_to(command, &args, Some(&id)).unwrap();
            assert!(found.wait().unwrap().repeated);
            let again = application.run("Do", &args, Some(&id)).unwrap();
            assert!(again.repeated, "the same command, on the same partition");
            assert_eq!(
                (again.partition, again.offset),
                (taken.partition, taken.offset)
            );
        }
        for wrong in [&b""[..], b"\x90", b"\xc1", b"\x91\x01"] {
            let refused = application.submit_row("Do", wrong.to_vec(), None);
            assert_eq!(kind(refused), ErrorKind::BadArgs);
            let refused = application.submit_row_to(command, wrong.to_vec(), None);
            assert_eq!(kind(refused), ErrorKind::BadArgs);
        }
        assert_eq!(
            kind(application.submit_row("Nobody", vec![0x90], None)),
            ErrorKind::Unknown
        );
        // A projector, and a query, are no commands.
        for name in ["Nobody", "Sum", "Get"] {
            assert_eq!(kind(application.command(name)), ErrorKind::Unknown);
        }
    }
}

#[test]
fn a_command_of_another_application_is_refused() {
    let (app, other) = (App::new(), App::new());
    let (application, other) = (app.open(), other.open());
    let command = other.command("Do").unwrap();
    let refused = application.submit_to(command, &put(1, 1), None);
    assert_eq!(kind(refused), ErrorKind::Unknown);
    let refused = application.submit_row_to(command, vec![0x90], None);
    assert_eq!(kind(refused), ErrorKind::Unknown);
    application.close().unwrap();
    let again = app.open();
    assert_ne!(again.command("Do").unwrap(), command);
}

#[test]
fn an_application_is_shared_by_threads() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&App::new().open());
}

#[test]
fn dropping_an_application_closes_it() {
    let app = App::new();
    let gate = app.gate();
    let application = app.open();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let answers = [submit(hold()), submit(put(1, 1))];
    gate.open();
    drop(application);
    for answer in answers {
        answer.wait().unwrap();
    }
    assert_eq!(numbers(&app.open()), [(1, 1)]);
}

#[test]
fn closing_answers_queries_that_wait() {
    let app = App::new();
    let gate = app.gate_at("Get", get, |guest| guest.args()["by"] == "held");
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    let ask = |args| application.query("Get", &args, 0).unwrap();
    let mut answers = ask(json!({"id": 1, "by": "held"}));
    gate.wait();
    // With this the snapshot is old, so that the queries behind need the writer.
    run(&application, &put(1, 2)).unwrap();
    answers.extend((0..5).flat_map(|_| ask(json!({"id": 1}))));
    let opener = thread::spawn(move || gate.open());
    application.close().unwrap();
    opener.join().unwrap();
    for answer in answers {
        assert_eq!(answer.wait().unwrap().rows.len(), 1);
    }
}

#[test]
fn closing_waits_for_an_asynchronous_projector_at_work() {
    let app = App::new();
    let gate = app.gate_at("Sum", sum, |guest| guest.offset() == 0);
    let application = app.open();
    run(&application, &put(1, 5)).unwrap();
    gate.wait();
    let opener = thread::spawn(move || gate.open());
    application.close().unwrap();
    opener.join().unwrap();
    // What came too late for the writer is counted again.
    app.native.set("Sum", sum);
    assert_eq!(total(&app.open()), (5, 1));
}

#[test]
fn a_dropped_answer_takes_nothing_back() {
    let application = App::new().open();
    drop(application.submit("Do", &put(1, 1), None).unwrap());
    run(&application, &put(2, 2)).unwrap();
    assert_eq!(numbers(&application), [(1, 1), (2, 2)]);
}

#[test]
fn an_answer_is_a_future_for_any_executor() {
    use std::future::{Future, IntoFuture};
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let application = App::new().open();
    let answer = application.submit("Do", &put(1, 1), None).unwrap();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(answer.into_future());
    let accepted = loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(accepted) => break accepted,
            Poll::Pending => thread::park(),
        }
    };
    assert_eq!(accepted.unwrap().offset, 0);
}

#[test]
fn a_writer_that_panics_stops_its_partition_and_leaves_nobody_waiting() {
    let app = App::new();
    let application = app.open();
    run(&application, &put(1, 1)).unwrap();
    application.settle().unwrap();
    app.native.set("Do", |_| panic!("as asked"));
    assert_eq!(kind(run(&application, &put(1, 2))), ErrorKind::Stopped);
    assert_eq!(kind(run(&application, &put(1, 3))), ErrorKind::Stopped);
    application.settle().unwrap();
    assert_eq!(kind(application.close()), ErrorKind::Internal);
    assert_eq!(numbers(&app.open()), [(1, 1)]);
}
