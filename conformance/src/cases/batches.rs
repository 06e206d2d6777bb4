//! Batches: invocations that follow one another, each settled by itself.

use engine_core::error::{Error, ErrorKind};
use engine_core::limits::Limit;
use engine_core::manifest::Policy;
use serde_json::{Value as Json, json};

use crate::cases::failures::WAYS;
use crate::host::TestHost;
use crate::subject::{Answer, Subject};

fn tick() -> (&'static str, Json) {
    ("Counter", json!({}))
}

fn failing(how: &str) -> (&'static str, Json) {
    ("Fail", json!({"how": how, "catch": false}))
}

fn kind(answer: &Answer) -> Option<ErrorKind> {
    answer.result.as_ref().err().map(Error::kind)
}

/// Each invocation of a batch ends as it would alone: what fails between two others takes nothing from them.
pub fn each_of_a_batch_is_settled_by_itself(subject: &Subject) {
    let write = |n: i64| {
        let args = json!({"verb": "put", "storage": "open", "group": "g", "n": n, "v": "x"});
        ("Write", args)
    };
    for policy in [Policy::Keep, Policy::Fresh] {
        let mut asked = Vec::new();
        for (n, (how, _)) in WAYS.iter().enumerate() {
            asked.extend([write(n as i64), failing(how)]);
        }
        let mut instance = subject.package().policy(policy).instance();
        let answers = instance.batch(&TestHost::new(), &asked);
        for (n, (pair, (how, due))) in answers.chunks(2).zip(WAYS).enumerate() {
            assert_eq!(kind(&pair[0]), None, "before {how}");
            assert_eq!(pair[0].intents.len(), 1, "before {how}");
            assert_eq!(pair[0].writes()[0][2]["n"], json!(n), "before {how}");
            assert_eq!(kind(&pair[1]), Some(due), "{how}");
            assert!(pair[1].intents.is_empty(), "{how}");
        }
    }
}

/// An extension that is not there fails alone, wherever it stands, and a batch of nothing does nothing.
pub fn an_unknown_extension_fails_alone_in_a_batch(subject: &Subject) {
    let mut instance = subject.instance();
    let unknown = || ("Nobody", json!({}));
    let asked = [unknown(), tick(), unknown(), unknown(), tick(), unknown()];
    let kinds: Vec<_> = instance
        .batch(&TestHost::new(), &asked)
        .iter()
        .map(kind)
        .collect();
    let absent = Some(ErrorKind::Unknown);
    assert_eq!(kinds, [absent, None, absent, absent, None, absent]);
    assert!(instance.batch(&TestHost::new(), &[]).is_empty());
    let kinds = instance.batch(&TestHost::new(), &[unknown()]);
    assert_eq!(kind(&kinds[0]), absent);
}

/// Each invocation of a batch has counts and quotas of its own.
pub fn each_of_a_batch_has_quotas_of_its_own(subject: &Subject) {
    let reads = |n: i64| ("Reads", json!({"n": n}));
    let mut instance = subject
        .package()
        .limits(|limits| limits.host_reads = 5)
        .instance();
    let asked = [reads(5), reads(4), reads(6), reads(5), reads(1)];
    let answers = instance.batch(&TestHost::new(), &asked);
    let ended: Vec<_> = answers
        .iter()
        .map(|a| (kind(a), a.ledger.host_reads))
        .collect();
    let hit = Some(ErrorKind::Limit(Limit::HostReads));
    assert_eq!(
        ended,
        [(None, 5), (None, 4), (hit, 6), (None, 5), (None, 1)]
    );
}

/// Large and small arguments follow one another.
pub fn a_batch_takes_arguments_of_every_size(subject: &Subject) {
    let write = |len: usize| {
        let v = "x".repeat(len);
        (
            "Write",
            json!({"verb": "put", "storage": "open", "group": "g", "n": 1, "v": v}),
        )
    };
    let sizes = [0, 1_000_000, 5, 70_000, 70_001, 0];
    let mut instance = subject.instance();
    let answers = instance.batch(&TestHost::new(), &sizes.map(write));
    for (answer, len) in answers.into_iter().zip(sizes) {
        assert_eq!(
            answer.ok().writes()[0][3]["v"].as_str().map(str::len),
            Some(len)
        );
    }
}
