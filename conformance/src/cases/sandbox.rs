//! What only a sandbox can do: end a guest that does not return, bound its memory and stack, and forget its globals.

use engine_core::engine::Code;
use engine_core::error::{Error, ErrorKind};
use engine_core::factory::EngineKind;
use engine_core::limits::Limit;
use engine_core::manifest::Policy;
use engine_core::value::Value;
use serde_json::{Value as Json, json};

use crate::cases::failures::{WAYS, works};
use crate::cases::isolation::beside_sixteen_others;
use crate::cases::limits::brief;
use crate::host::TestHost;
use crate::subject::{Answer, Instance, Subject};
use crate::suite;

/// A guest memory that the suite's guests run in, and a greedy one soon fills.
const MEMORY: u64 = 8 << 20;

fn fail(instance: &mut Instance, how: &str, catch: bool) -> Answer {
    let args = json!({"how": how, "catch": catch});
    instance.call(&TestHost::new(), "Fail", args)
}

fn count(instance: &mut Instance) -> i64 {
    let answer = instance.call(&TestHost::new(), "Counter", json!({})).ok();
    answer.row()["n"].as_i64().expect("a number")
}

/// A loop without end is ended by the deadline, and the instance works on.
pub fn a_deadline_ends_a_loop(subject: &Subject) {
    let mut instance = brief(subject).instance();
    for _ in 0..2 {
        fail(&mut instance, "loop", false).hits(Limit::Deadline);
        assert_eq!(count(&mut instance), 1, "the instance was not replaced");
    }
}

/// A deadline cannot be caught.
pub fn a_deadline_cannot_be_caught(subject: &Subject) {
    let mut instance = brief(subject).instance();
    fail(&mut instance, "loop", true).hits(Limit::Deadline);
}

/// A loop without end in one instance leaves sixteen others undisturbed.
pub fn one_endless_loop_leaves_sixteen_others_undisturbed(subject: &Subject) {
    beside_sixteen_others(subject, |instance| {
        fail(instance, "loop", false).hits(Limit::Deadline);
    });
}

/// A guest that takes more memory than it may is ended, and the instance works on.
pub fn memory_is_limited(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.memory = MEMORY);
    let mut instance = setup.instance();
    for _ in 0..2 {
        let answer = fail(&mut instance, "memory", false).hits(Limit::Memory);
        assert!(answer.ledger.memory > 0, "the ledger counts no memory");
        assert_eq!(count(&mut instance), 1, "the instance was not replaced");
        works(&mut instance);
    }
}

/// Running out of memory cannot be caught.
pub fn running_out_of_memory_cannot_be_caught(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.memory = MEMORY);
    fail(&mut setup.instance(), "memory", true).hits(Limit::Memory);
}

/// What the host hands to the guest counts as the guest's memory.
pub fn what_the_host_hands_over_counts_as_memory(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.memory = MEMORY);
    let key = [Value::Text("g".into()), Value::Int(0)];
    let large = Value::Text("x".repeat(2 * MEMORY as usize));
    let host = TestHost::new().values("open", &key, &[large]);
    let args = json!({"storage": "open", "group": "g", "n": 0});
    let mut instance = setup.instance();
    instance.call(&host, "Get", args).hits(Limit::Memory);
    works(&mut instance);
}

/// The ledger tells the guest's memory, which is not above its limit.
pub fn the_ledger_tells_the_memory(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.memory = MEMORY);
    let host = TestHost::new();
    let answer = setup.instance().call(&host, "Counter", json!({})).ok();
    assert!((1..=MEMORY).contains(&answer.ledger.memory));
}

/// A recursion without end is ended by the limit of the stack, and the instance works on.
pub fn the_stack_is_limited(subject: &Subject) {
    let mut instance = subject.instance();
    for _ in 0..2 {
        fail(&mut instance, "stack", false).hits(Limit::Stack);
        assert_eq!(count(&mut instance), 1, "the instance was not replaced");
        works(&mut instance);
    }
}

/// Under `fresh` no invocation finds what another left in the guest's memory.
pub fn a_fresh_instance_remembers_nothing(subject: &Subject) {
    let mut instance = subject.package().policy(Policy::Fresh).instance();
    for _ in 0..5 {
        assert_eq!(count(&mut instance), 1);
    }
    fail(&mut instance, "reject", false).fails(ErrorKind::Rejected);
    assert_eq!(count(&mut instance), 1);
}

/// After a failure that is not orderly nothing of the guest's memory is left, under `keep` either.
pub fn a_kept_instance_is_clean_after_a_failure(subject: &Subject) {
    let mut instance = subject.instance();
    for (how, kind) in WAYS {
        if kind.leaves_instance_usable() {
            continue;
        }
        count(&mut instance);
        fail(&mut instance, how, false).fails(kind);
        assert_eq!(count(&mut instance), 1, "{how} left its instance in use");
    }
}

/// What one package leaves in its memory no other package finds, be its code the same.
pub fn packages_share_no_memory(subject: &Subject) {
    let engine = subject.package().engine();
    let load = |name: &str| {
        let setup = subject.package().named(name);
        Instance::of(&setup.load_on(&*engine).expect("the package loads"))
    };
    let (mut one, mut other) = (load("one"), load("other"));
    for _ in 0..3 {
        count(&mut one);
    }
    assert_eq!(count(&mut other), 1);
}

/// What one instance leaves in its memory no other instance of the package finds.
pub fn instances_share_no_memory(subject: &Subject) {
    let package = subject.package().load().expect("the package loads");
    let (mut one, mut other) = (Instance::of(&package), Instance::of(&package));
    for _ in 0..3 {
        count(&mut one);
    }
    assert_eq!(count(&mut other), 1);
    fail(&mut other, "crash", false).fails(ErrorKind::Trap);
    works(&mut one);
}

/// Code above its limit is refused before it is looked at.
pub fn the_size_of_code_is_limited(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.code_bytes = 100);
    assert_eq!(setup.refusal().0, ErrorKind::Limit(Limit::CodeBytes));
}

/// Code that is cut off is refused.
pub fn truncated_code_is_refused(subject: &Subject) {
    let mut setup = subject.package();
    if let Code::Bytes(bytes) = &setup.code {
        setup.code = Code::Bytes(bytes[..bytes.len() / 2].into());
    }
    assert_eq!(setup.refusal().0, ErrorKind::Package);
}

/// Code that is nothing of its kind is refused, not run.
pub fn garbage_is_refused(subject: &Subject) {
    for code in [&b""[..], b"\0", b"\0asm\x01\0\0\0\xff\xff\xff\xff", b")("] {
        let setup = subject.package().code(code, suite::extensions());
        let (kind, report) = setup.refusal();
        assert_eq!(kind, ErrorKind::Package);
        if subject.factory().kind() == EngineKind::Wasm && !code.starts_with(b"\0asm") {
            assert_eq!(report.lines().count(), 1, "{report}");
        }
    }
}

/// Under `keep` a batch goes on in one guest, and after a crash in a new one; under `fresh` each has a guest of its own.
pub fn a_batch_keeps_what_its_policy_keeps(subject: &Subject) {
    let asked = [
        counting(),
        counting(),
        failing_by("crash"),
        counting(),
        failing_by("reject"),
        counting(),
    ];
    let counts = |policy| {
        let mut instance = subject.package().policy(policy).instance();
        let answers = instance.batch(&TestHost::new(), &asked);
        let counted = answers.iter().filter(|answer| answer.result.is_ok());
        let counts: Vec<_> = counted.map(|answer| answer.row()["n"].clone()).collect();
        counts
    };
    assert_eq!(counts(Policy::Fresh), [1, 1, 1, 1]);
    // A failing call counts too where it lives on.
    assert_eq!(counts(Policy::Keep)[..2], [1, 2]);
    assert_eq!(counts(Policy::Keep)[2], 1);
}

/// A deadline belongs to one invocation of a batch.
pub fn a_deadline_ends_one_of_a_batch(subject: &Subject) {
    let mut instance = subject
        .package()
        .limits(|limits| limits.deadline_ms = 300)
        .instance();
    let asked = [
        counting(),
        failing_by("loop"),
        counting(),
        failing_by("loop"),
        counting(),
    ];
    let kinds: Vec<_> = instance
        .batch(&TestHost::new(), &asked)
        .iter()
        .map(kind_of)
        .collect();
    let late = Some(ErrorKind::Limit(Limit::Deadline));
    assert_eq!(kinds, [None, late, None, late, None]);
}

/// What is made ready while nothing else is to be done is as good as new, and making it ready takes nothing away.
pub fn what_is_made_ready_is_as_good_as_new(subject: &Subject) {
    for policy in [Policy::Keep, Policy::Fresh] {
        let mut instance = subject.package().policy(policy).instance();
        let count = |instance: &mut Instance| {
            instance.prepare();
            instance.prepare();
            let answer = instance.call(&TestHost::new(), "Counter", json!({})).ok();
            answer.row()["n"].as_i64().expect("a number")
        };
        assert_eq!(count(&mut instance), 1);
        let kept = count(&mut instance);
        assert_eq!(kept, if policy == Policy::Keep { 2 } else { 1 });
        fail(&mut instance, "crash", false).fails(ErrorKind::Trap);
        assert_eq!(count(&mut instance), 1);
    }
}

fn counting() -> (&'static str, Json) {
    ("Counter", json!({}))
}

fn failing_by(how: &str) -> (&'static str, Json) {
    ("Fail", json!({"how": how, "catch": false}))
}

fn kind_of(answer: &Answer) -> Option<ErrorKind> {
    answer.result.as_ref().err().map(Error::kind)
}
