//! Range reads: what they hand over, in what order, and what ends them.

use engine_core::error::ErrorKind;
use engine_core::limits::Limit;
use engine_core::value::Value;
use serde_json::json;

use crate::cases::fail;
use crate::host::TestHost;
use crate::subject::Subject;

/// All rows of a storage are read in key order.
pub fn a_range_read_goes_in_key_order(subject: &Subject) {
    let host = [
        ("b", 5),
        ("a", -1),
        ("", 7),
        ("a", 300),
        ("a\0", 0),
        ("a", 2),
    ]
    .into_iter()
    .fold(TestHost::new(), |host, (group, n)| {
        host.row("open", json!({"group": group, "n": n}), json!({"v": group}))
    });
    let args = json!({"storage": "open", "group": null});
    let answer = subject.instance().call(&host, "Range", args).ok();
    assert_eq!(
        answer.rows(),
        [
            json!({"group": "", "n": 7, "v": ""}),
            json!({"group": "a", "n": -1, "v": "a"}),
            json!({"group": "a", "n": 2, "v": "a"}),
            json!({"group": "a", "n": 300, "v": "a"}),
            json!({"group": "a\0", "n": 0, "v": "a\0"}),
            json!({"group": "b", "n": 5, "v": "b"}),
        ]
    );
}

/// The first fields of a key bound the range: no row of another group is in it, not even of one that begins alike.
pub fn a_range_read_stays_below_its_prefix(subject: &Subject) {
    let host = TestHost::new()
        .shelf("open", "a", 2)
        .shelf("open", "a\0", 2)
        .shelf("open", "ab", 2)
        .shelf("open", "", 2);
    for group in ["", "a", "a\0", "ab"] {
        let args = json!({"storage": "open", "group": group});
        let answer = subject.instance().call(&host, "Range", args).ok();
        let expected = [0, 1].map(|n| json!({"group": group, "n": n, "v": n.to_string()}));
        assert_eq!(answer.rows(), expected);
    }
}

/// A range without rows is read without a call.
pub fn an_empty_range_has_no_rows(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 3);
    let args = json!({"storage": "open", "group": "h"});
    let answer = subject.instance().call(&host, "Range", args).ok();
    assert!(answer.rows().is_empty());
}

/// Ten thousand rows come once each, in order, over many chunks.
pub fn ten_thousand_rows_are_read(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 10_000);
    let args = json!({"storage": "open", "group": "g"});
    let answer = subject.instance().call(&host, "Range", args).ok();
    assert_eq!(answer.results.len(), 10_000);
    for (n, row) in answer.rows().iter().enumerate() {
        assert_eq!(row["n"], json!(n));
    }
    assert_eq!(answer.ledger.rows_read, 10_000);
}

/// A prefix that is no key of the storage ends the invocation as `bad_key`.
pub fn a_prefix_of_the_wrong_type_is_a_bad_key(subject: &Subject) {
    fail(subject, "bad_prefix").fails(ErrorKind::BadKey);
}

/// A bad prefix may be handled by the guest.
pub fn a_guest_may_handle_a_bad_prefix(subject: &Subject) {
    let args = json!({"how": "bad_prefix", "catch": true});
    let answer = subject.instance().call(&TestHost::new(), "Fail", args).ok();
    assert_eq!(answer.intents.len(), 2);
}

/// A store that fails at once ends a range read as `io`.
pub fn a_range_of_a_failing_store_is_io(subject: &Subject) {
    fail(subject, "io_range").fails(ErrorKind::Io);
}

/// A store that fails behind some rows ends a range read as `io`, and nothing of those rows is left.
pub fn a_store_that_fails_within_a_range_is_io(subject: &Subject) {
    let host = TestHost::new().shelf("torn", "g", 200);
    let args = json!({"storage": "torn", "group": "g"});
    let answer = subject.instance().call(&host, "Range", args);
    let answer = answer.fails(ErrorKind::Io);
    assert_eq!(answer.ledger.rows_read, 200);
}

/// A storage that is not declared is refused to a range read.
pub fn a_range_of_a_storage_that_is_not_declared_is_denied(subject: &Subject) {
    fail(subject, "denied_range").fails(ErrorKind::Denied);
}

/// A guest that catches a refused range read still ends as `denied`.
pub fn a_denied_range_cannot_be_caught(subject: &Subject) {
    let args = json!({"how": "denied_range", "catch": true});
    let answer = subject.instance().call(&TestHost::new(), "Fail", args);
    answer.fails(ErrorKind::Denied);
}

/// Range reads stand four deep inside one another, each row of each seen.
pub fn range_reads_nest_four_deep(subject: &Subject) {
    let host = TestHost::new().shelf("open", "nest", 3);
    for (depth, visits) in [(0, 1), (1, 3), (2, 9), (4, 81)] {
        let args = json!({"depth": depth});
        let answer = subject.instance().call(&host, "Nest", args).ok();
        assert_eq!(answer.row(), json!({"visits": visits}));
    }
}

/// A fifth range read inside four others is refused, and the next invocation may go four deep again.
pub fn range_reads_do_not_nest_five_deep(subject: &Subject) {
    let mut instance = subject.instance();
    let host = TestHost::new().shelf("open", "nest", 2);
    let answer = instance.call(&host, "Nest", json!({"depth": 5}));
    answer.hits(Limit::ReadDepth);
    let answer = instance.call(&host, "Nest", json!({"depth": 4})).ok();
    assert_eq!(answer.row(), json!({"visits": 16}));
}

/// Nested reads of many chunks each do not disturb one another.
pub fn nested_ranges_keep_their_places(subject: &Subject) {
    let host = TestHost::new().shelf("open", "nest", 150);
    let answer = subject.instance().call(&host, "Nest", json!({"depth": 2}));
    assert_eq!(answer.ok().row(), json!({"visits": 22_500}));
}

/// A row of a megabyte is handed over in a range as well.
pub fn a_range_read_hands_over_large_rows(subject: &Subject) {
    let large = "x".repeat(1 << 20);
    let host = (0..3).fold(TestHost::new(), |host, n| {
        let key = [Value::Text("g".into()), Value::Int(n)];
        host.values("open", &key, &[Value::Text(large.clone())])
    });
    let args = json!({"storage": "open", "group": "g"});
    let answer = subject.instance().call(&host, "Range", args).ok();
    assert_eq!(answer.results.len(), 3);
    assert!(answer.results.iter().all(|row| row.len() > 1 << 20));
}
