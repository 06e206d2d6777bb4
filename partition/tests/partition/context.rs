//! Time, randomness and offsets as extensions see them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::app::{App, put, run};
use crate::engine::reject;

type Seen<T> = Arc<Mutex<Vec<T>>>;

/// Makes every extension of a command note something.
fn note<T: Send + 'static>(
    app: &App,
    what: impl Fn(&crate::engine::Guest<'_, '_>) -> T + Copy + Send + Sync + 'static,
) -> Seen<T> {
    let seen: Seen<T> = Arc::default();
    for extension in ["Do", "Lucky", "Mirror", "Notes"] {
        let seen = seen.clone();
        app.native.set(extension, move |guest| {
            seen.lock().unwrap().push(what(guest));
            Ok(())
        });
    }
    app.native.set("Sum", |_| Ok(()));
    seen
}

#[test]
fn time_never_goes_back_even_when_the_clock_does() {
    let app = App::new();
    let seen = note(&app, |guest| guest.time());
    app.platform.set_now(1_000);
    let application = app.open();
    for now in [1_000, 5_000, 2_000, -7, 5_001] {
        app.platform.set_now(now);
        run(&application, &put(1, 1)).unwrap();
    }
    application.close().unwrap();
    app.platform.set_now(3);
    for checkpoint in [false, true] {
        let application = app.open();
        run(&application, &put(1, 1)).unwrap();
        if checkpoint {
            application.checkpoint().unwrap();
        }
        application.close().unwrap();
    }
    run(&app.open(), &put(1, 1)).unwrap();
    let seen = seen.lock().unwrap();
    let each: Vec<i64> = seen.chunks(4).map(|steps| steps[0]).collect();
    let expected = [1_000, 5_000, 5_000, 5_000, 5_001, 5_001, 5_001, 5_001];
    assert_eq!(each, expected);
    assert!(seen.chunks(4).all(|s| s.iter().all(|time| *time == s[0])));
}

#[test]
fn randomness_differs_by_command_extension_and_index() {
    let app = App::new();
    let seen = note(&app, |guest| [guest.random(0), guest.random(1)]);
    let application = app.open();
    for _ in 0..3 {
        run(&application, &put(1, 1)).unwrap();
    }
    let seen = seen.lock().unwrap();
    let all: BTreeSet<&String> = seen.iter().flatten().collect();
    assert_eq!(all.len(), 3 * 4 * 2);
}

#[test]
fn refused_commands_of_one_group_share_no_randomness() {
    let app = App::new();
    let seen = note(&app, |guest| guest.random(0));
    let gate = app.gate_at("Lucky", |_| reject("always"), |_| true);
    let application = app.open();
    let submit = |id| application.submit("Do", &put(id, 1), None).unwrap();
    let first = submit(1);
    gate.wait();
    let answers = [first, submit(2), submit(3)];
    (0..3).for_each(|_| gate.open());
    for answer in answers {
        answer.wait().unwrap_err();
    }
    let seen = seen.lock().unwrap();
    let all: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), all.len()), (3, 3));
}

#[test]
fn partitions_draw_different_randomness() {
    let app = App::new().partitions(3);
    let seen = note(&app, |guest| guest.random(0));
    let application = app.open();
    for by in ["a", "b", "c", "d", "e", "f"] {
        let args = serde_json::json!({"ops": [], "by": by});
        run(&application, &args).unwrap();
    }
    let seen = seen.lock().unwrap();
    let all: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(all.len(), 6 * 4);
}

#[test]
fn the_same_random_numbers_come_however_often_they_are_asked_for() {
    let app = App::new();
    let seen = note(&app, |guest| guest.random(7) == guest.random(7));
    run(&app.open(), &put(1, 1)).unwrap();
    assert_eq!(*seen.lock().unwrap(), [true; 4]);
}

#[test]
fn all_steps_of_a_command_see_its_offset() {
    let app = App::new();
    let seen = note(&app, |guest| guest.offset());
    let application = app.open();
    for _ in 0..2 {
        run(&application, &put(1, 1)).unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [0, 0, 0, 0, 1, 1, 1, 1]);
}
