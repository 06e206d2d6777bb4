//! One guest cannot hurt another one on another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;
use engine_core::manifest::Policy;

use crate::support::{COUNT, Guest, Run, engine, limits, short, source};

#[test]
fn an_instance_that_times_out_leaves_sixteen_others_undisturbed() {
    let engine = engine(&limits());
    let load = |guest: &Guest<'_>, limits, policy| {
        engine.load(&source(&guest.wat(), limits, policy)).unwrap()
    };
    let counting = Guest {
        run: COUNT,
        ..Guest::default()
    };
    let kept = load(&counting, limits(), Policy::Keep);
    let fresh = load(&counting, limits(), Policy::Fresh);
    let looping = Guest {
        run: "(loop (br 0)) unreachable",
        ..Guest::default()
    };
    let looping = load(&looping, short(), Policy::Keep);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..16 {
            let (kept, fresh, done) = (&kept, &fresh, &done);
            scope.spawn(move || {
                let mut run = Run::new(if number % 2 == 0 { kept } else { fresh });
                let mut n = 0;
                while !done.load(Ordering::Relaxed) {
                    n = if number % 2 == 0 { n % 127 + 1 } else { 1 };
                    assert_eq!(run.number().unwrap(), n);
                    if n == 127 {
                        run = Run::new(kept);
                        n = 0;
                    }
                }
            });
        }
        let mut run = Run::new(&looping);
        for _ in 0..5 {
            assert_eq!(run.error(), ErrorKind::Limit(Limit::Deadline));
        }
        done.store(true, Ordering::Relaxed);
    });
}
