//! Quotas of one invocation: reached exactly, exceeded by one, and what the ledger says of both.

use engine_core::limits::{Ledger, Limit, Limits};
use engine_core::manifest::Policy;
use serde_json::{Value as Json, json};

use crate::cases::failures::works;
use crate::host::{Gate, TestHost};
use crate::subject::{Setup, Subject};

/// One quota: an extension that uses it, where its limit stands, and where the ledger counts it.
pub(super) struct Quota {
    pub(super) limit: Limit,
    pub(super) extension: &'static str,
    pub(super) args: Json,
    pub(super) set: fn(&mut Limits, u64),
    pub(super) used: fn(&Ledger) -> u64,
}

/// Runs the extension with the limit at what it uses, where it ends well, and one below, where it hits the limit.
pub(super) fn kept_exactly(subject: &Subject, quota: &Quota) {
    let host = TestHost::new().shelf("open", "g", 10);
    let run = |limit: Option<u64>| {
        let setup = subject.package().limits(|limits| {
            if let Some(limit) = limit {
                (quota.set)(limits, limit);
            }
        });
        let mut instance = setup.instance();
        let answer = instance.call(&host, quota.extension, quota.args.clone());
        (instance, answer)
    };
    let used = (quota.used)(&run(None).1.ok().ledger);
    assert!(used > 1, "the ledger counts nothing");

    let (mut instance, answer) = run(Some(used));
    assert_eq!((quota.used)(&answer.ok().ledger), used);
    let again = instance.call(&host, quota.extension, quota.args.clone());
    assert_eq!(
        (quota.used)(&again.ok().ledger),
        used,
        "a ledger is of one invocation"
    );

    let (mut instance, answer) = run(Some(used - 1));
    let answer = answer.hits(quota.limit);
    assert_eq!(
        (quota.used)(&answer.ledger),
        used,
        "the ledger shows what hit the limit"
    );
    let again = instance.call(&host, quota.extension, quota.args.clone());
    again.hits(quota.limit);
    instance.call(&host, "Counter", json!({})).ok();
}

/// As many reads as allowed.
pub fn host_reads_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::HostReads,
            extension: "Reads",
            args: json!({"n": 7}),
            set: |limits, n| limits.host_reads = n as u32,
            used: |ledger| ledger.host_reads,
        },
    );
}

/// As many rows as allowed.
pub fn rows_read_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::RowsRead,
            extension: "Count",
            args: json!({"storage": "open", "group": "g"}),
            set: |limits, n| limits.rows_read = n as u32,
            used: |ledger| ledger.rows_read,
        },
    );
}

/// As many bytes of rows as allowed.
pub fn bytes_read_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::BytesRead,
            extension: "Count",
            args: json!({"storage": "open", "group": "g"}),
            set: |limits, n| limits.bytes_read = n,
            used: |ledger| ledger.bytes_read,
        },
    );
}

/// As many intents as allowed.
pub fn intents_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::Intents,
            extension: "Many",
            args: json!({"n": 5, "bytes": 0}),
            set: |limits, n| limits.intents = n as u32,
            used: |ledger| ledger.intents,
        },
    );
}

/// As many bytes of intents as allowed.
pub fn bytes_of_intents_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::IntentBytes,
            extension: "Many",
            args: json!({"n": 5, "bytes": 100}),
            set: |limits, n| limits.intent_bytes = n,
            used: |ledger| ledger.intent_bytes,
        },
    );
}

/// As many bytes of results as allowed.
pub fn bytes_of_results_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::ResultBytes,
            extension: "Rows",
            args: json!({"n": 5, "bytes": 100}),
            set: |limits, n| limits.result_bytes = n,
            used: |ledger| ledger.result_bytes,
        },
    );
}

/// As many lines of log as allowed.
pub fn log_lines_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::LogLines,
            extension: "Log",
            args: json!({"lines": 4, "bytes": 1}),
            set: |limits, n| limits.log_lines = n as u32,
            used: |ledger| ledger.log_lines,
        },
    );
}

/// As many bytes of log as allowed.
pub fn bytes_of_log_are_limited(subject: &Subject) {
    kept_exactly(
        subject,
        &Quota {
            limit: Limit::LogBytes,
            extension: "Log",
            args: json!({"lines": 4, "bytes": 25}),
            set: |limits, n| limits.log_bytes = n,
            used: |ledger| ledger.log_bytes,
        },
    );
}

/// A guest that catches the error of a limit still ends as it, and asks nothing of the host any more.
pub fn a_limit_cannot_be_caught(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.host_reads = 3);
    let host = TestHost::new();
    let args = json!({"how": "reads", "catch": true});
    let answer = setup.instance().call(&host, "Fail", args);
    answer.hits(Limit::HostReads);
    assert_eq!(host.reads(), 3);
}

/// Reads that take their time end at the deadline, on engines without a sandbox as well.
pub fn a_deadline_ends_a_run_of_host_reads(subject: &Subject) {
    let host = TestHost::new().gate(Gate::AtRead(2_000));
    let answer = brief(subject).instance().call(&host, "Wait", json!({}));
    answer.hits(Limit::Deadline);
}

/// A range without end is ended by the deadline.
pub fn a_deadline_ends_a_range_without_end(subject: &Subject) {
    let args = json!({"storage": "endless", "group": null});
    let answer = brief(subject)
        .instance()
        .call(&TestHost::new(), "Count", args);
    answer.hits(Limit::Deadline);
}

/// A timeout closes nothing: the same instance serves the next invocation, with a deadline of its own.
pub fn an_instance_works_after_a_timeout(subject: &Subject) {
    let mut instance = brief(subject).instance();
    for _ in 0..3 {
        let host = TestHost::new().gate(Gate::AtRead(2_000));
        let answer = instance.call(&host, "Wait", json!({}));
        answer.hits(Limit::Deadline);
        instance.call(&host, "Counter", json!({})).ok();
    }
}

/// The ledger of a timeout tells the time that the call had.
pub fn the_ledger_of_a_timeout_tells_its_time(subject: &Subject) {
    let host = TestHost::new().gate(Gate::AtRead(2_000));
    let answer = brief(subject).instance().call(&host, "Wait", json!({}));
    let answer = answer.hits(Limit::Deadline);
    assert!(answer.ledger.elapsed_ms >= u64::from(BRIEF_MS));
    assert!(answer.ledger.host_reads > 0);
}

/// The ledger of a call that nothing interrupts tells how long it was, however far beyond its deadline.
pub fn the_ledger_tells_all_of_a_long_time(subject: &Subject) {
    let host = TestHost::new().gate(Gate::Slow(600));
    let setup = subject.package().limits(|limits| limits.deadline_ms = 100);
    let args = json!({"storage": "gate", "group": "g", "n": 0});
    let answer = setup.instance().call(&host, "Get", args);
    assert!(answer.ledger.elapsed_ms >= 590, "{:?}", answer.ledger);
}

/// After each quota that was hit the instance is whole.
pub fn an_instance_works_after_a_quota(subject: &Subject) {
    let setup = subject.package().limits(|limits| {
        limits.intents = 3;
        limits.host_reads = 7;
    });
    let mut instance = setup.instance();
    for (extension, args, limit) in [
        ("Many", json!({"n": 4, "bytes": 1}), Limit::Intents),
        ("Reads", json!({"n": 8}), Limit::HostReads),
    ] {
        let answer = instance.call(&TestHost::new(), extension, args);
        answer.hits(limit);
        works(&mut instance);
    }
}

/// Under `fresh` limits are counted anew for each invocation, and hit as under `keep`.
pub fn limits_are_hit_alike_under_fresh(subject: &Subject) {
    let setup = subject.package().limits(|limits| limits.host_reads = 7);
    let mut instance = setup.policy(Policy::Fresh).instance();
    let host = TestHost::new();
    for _ in 0..3 {
        instance.call(&host, "Reads", json!({"n": 7})).ok();
        let answer = instance.call(&host, "Reads", json!({"n": 8}));
        answer.hits(Limit::HostReads);
    }
}

/// Soon over, and long enough for whatever else a case does, on a busy machine too.
const BRIEF_MS: u32 = 300;

/// The suite's package with a brief deadline and quotas that are not reached before it.
pub fn brief(subject: &Subject) -> Setup {
    subject.package().limits(|limits| {
        limits.deadline_ms = BRIEF_MS;
        limits.host_reads = u32::MAX;
        limits.rows_read = u32::MAX;
        limits.bytes_read = u64::MAX;
    })
}
