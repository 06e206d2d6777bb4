//! One extension cannot hurt another: side by side, one after the other, or under one name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;
use engine_core::manifest::Policy;
use serde_json::json;

use crate::cases::failures::works;
use crate::cases::limits::brief;
use crate::host::{Gate, TestHost};
use crate::subject::{Instance, Subject};

/// How many invocations run beside the one that fails.
const OTHERS: usize = 16;

/// One instance runs into its deadline while sixteen others of its engine are in the middle of theirs: all sixteen end well.
pub fn one_timeout_leaves_sixteen_others_undisturbed(subject: &Subject) {
    beside_sixteen_others(subject, |instance| {
        let host = TestHost::new().gate(Gate::AtRead(2_000));
        instance
            .call(&host, "Wait", json!({}))
            .hits(Limit::Deadline);
    });
}

/// One instance crashes while sixteen others of its engine are in the middle of theirs: all sixteen end well.
pub fn one_crash_leaves_sixteen_others_undisturbed(subject: &Subject) {
    beside_sixteen_others(subject, |instance| {
        for _ in 0..20 {
            let args = json!({"how": "crash", "catch": false});
            let answer = instance.call(&TestHost::new(), "Fail", args);
            answer.fails(ErrorKind::Trap);
        }
    });
}

/// Runs `disturb` on an instance with a brief deadline while sixteen others wait in the host, then lets them end.
///
/// They share the engine; a flag and a count, not time, decide when each goes on.
pub fn beside_sixteen_others(subject: &Subject, disturb: impl Fn(&mut Instance)) {
    let engine = subject.package().engine();
    let lasting = brief(subject).limits(|limits| limits.deadline_ms = 600_000);
    let others = lasting.load_on(&*engine).expect("the package loads");
    let one = brief(subject).named("brief").load_on(&*engine);
    let one = one.expect("the package loads");
    let open = Arc::new(AtomicBool::new(false));
    let waiting = Arc::new(AtomicUsize::new(0));
    let gate = Gate::When {
        open: open.clone(),
        waiting: waiting.clone(),
    };
    thread::scope(|scope| {
        // However the disturbance ends, the others are let go.
        let _release = Release(&open);
        let threads: Vec<_> = (0..OTHERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut instance = Instance::of(&others);
                    let host = TestHost::new().gate(gate.clone());
                    instance.call(&host, "Wait", json!({})).result
                })
            })
            .collect();
        while waiting.load(Ordering::SeqCst) < OTHERS {
            thread::sleep(Duration::from_millis(1));
        }
        let mut instance = Instance::of(&one);
        disturb(&mut instance);
        open.store(true, Ordering::SeqCst);
        for thread in threads {
            let result = thread.join().expect("the thread ends");
            assert!(result.is_ok(), "another invocation was hurt: {result:?}");
        }
        works(&mut instance);
    });
}

struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A crash of one instance leaves another on the same thread as it was.
pub fn a_crash_leaves_a_neighbour_as_it_was(subject: &Subject) {
    let package = subject.package().load().expect("the package loads");
    let mut one = Instance::of(&package);
    let mut other = Instance::of(&package);
    works(&mut other);
    let args = json!({"how": "crash", "catch": false});
    one.call(&TestHost::new(), "Fail", args)
        .fails(ErrorKind::Trap);
    works(&mut other);
    drop(one);
    works(&mut other);
}

/// Two packages of one engine whose code has the same name inside are two packages.
pub fn two_packages_with_the_same_inner_name_are_two(subject: &Subject) {
    let engine = subject.package().engine();
    let load = |name: &str| {
        let setup = subject.package().named(name);
        setup.load_on(&*engine).expect("the package loads")
    };
    let (one, other) = (load("one"), load("other"));
    assert_eq!(&*one.manifest().name, "one");
    assert_eq!(&*other.manifest().name, "other");
    let (mut one, mut other) = (Instance::of(&one), Instance::of(&other));
    works(&mut one);
    works(&mut other);
    let args = json!({"how": "crash", "catch": false});
    let answer = other.call(&TestHost::new(), "Fail", args);
    let error = answer.result.expect_err("a crash");
    assert_eq!(error.place(), Some("other/Fail"));
    works(&mut one);
}

/// Packages of one engine keep their own limits.
pub fn packages_of_one_engine_keep_their_own_limits(subject: &Subject) {
    let engine = subject.package().engine();
    let load = |intents| {
        let setup = subject.package().limits(|limits| limits.intents = intents);
        Instance::of(&setup.load_on(&*engine).expect("the package loads"))
    };
    let (mut small, mut large) = (load(2), load(4));
    let host = TestHost::new();
    let args = json!({"n": 3, "bytes": 1});
    small.call(&host, "Many", args.clone()).hits(Limit::Intents);
    large.call(&host, "Many", args).ok();
}

/// Both policies give the same answers.
pub fn both_policies_answer_alike(subject: &Subject) {
    let answers = [Policy::Keep, Policy::Fresh].map(|policy| {
        let mut instance = subject.package().policy(policy).instance();
        let host = TestHost::new().shelf("open", "g", 200);
        let mut seen = Vec::new();
        for _ in 0..3 {
            for (extension, args) in [
                ("Range", json!({"storage": "open", "group": "g"})),
                ("Many", json!({"n": 10, "bytes": 10})),
                ("Fail", json!({"how": "reject", "catch": false})),
            ] {
                let answer = instance.call(&host, extension, args);
                let kind = answer.result.as_ref().err().map(|error| error.kind());
                seen.push((kind, answer.intents, answer.results));
            }
        }
        seen
    });
    assert_eq!(answers[0], answers[1]);
}
