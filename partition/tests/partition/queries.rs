//! Queries: on snapshots of the durable state, beside the writer.

use engine_core::error::{ErrorKind, Result};
use engine_core::value::Value;
use partition::QueryAnswer;
use partition::application::Application;
use serde_json::{Value as Json, json};

use crate::app::{App, get, hold, kind, put, run};

fn ask(
    application: &Application,
    query: &str,
    args: &Json,
    at_least: u64,
) -> Result<Vec<QueryAnswer>> {
    let answers = application.query(query, args, at_least)?;
    answers.into_iter().map(|answer| answer.wait()).collect()
}

/// The last number of each row that a query answered, over all partitions.
fn answered(
    application: &Application,
    query: &str,
    args: &Json,
    at_least: u64,
) -> Result<Vec<i64>> {
    let decl = application.spec().extension(query).unwrap();
    let schema = &application.spec().extensions[decl].decl.result;
    let answers = ask(application, query, args, at_least)?;
    let rows = answers.iter().flat_map(|answer| &answer.rows);
    Ok(rows
        .map(|row| match schema.decode(row).unwrap().last() {
            Some(Value::Int(n)) => *n,
            other => panic!("{other:?}"),
        })
        .collect())
}

#[test]
fn a_query_answers_from_the_durable_state_while_the_writer_works() {
    let app = App::new();
    let application = app.open();
    let get = || answered(&application, "Get", &json!({"id": 1}), 0).unwrap();
    run(&application, &put(1, 1)).unwrap();
    application.settle().unwrap();
    assert_eq!(get(), [1]);
    let gate = app.gate();
    let submit = |args| application.submit("Do", &args, None).unwrap();
    let held = [submit(hold()), submit(put(1, 2)), submit(hold())];
    gate.wait();
    gate.open();
    gate.wait();
    // The writer stands in the middle of a group that has the new row.
    assert_eq!(get(), [1]);
    gate.open();
    for answer in held {
        answer.wait().unwrap();
    }
    assert_eq!(get(), [2]);
}

#[test]
fn whoever_was_answered_reads_what_was_written() {
    let application = App::new().open();
    for n in 0..50 {
        let accepted = run(&application, &put(1, 100 + n)).unwrap();
        let at_least = accepted.offset + 1;
        let found = answered(&application, "Get", &json!({"id": 1}), at_least).unwrap();
        assert_eq!(found, [100 + n]);
    }
}

#[test]
fn a_state_that_is_not_there_yet_is_refused() {
    let application = App::new().open();
    run(&application, &put(1, 1)).unwrap();
    let ask = |at_least| ask(&application, "All", &json!({}), at_least);
    assert_eq!(ask(1).unwrap()[0].offset, 1);
    assert_eq!(kind(ask(2)), ErrorKind::Unknown);
}

#[test]
fn a_query_goes_to_the_partition_of_its_routing_field_or_to_all() {
    let application = App::new().partitions(3).open();
    let mut partitions = Vec::new();
    for (id, by) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        let args = json!({"ops": [{"verb": "put", "id": id, "n": id}], "by": by});
        let accepted = run(&application, &args).unwrap();
        let got = ask(&application, "Get", &json!({"id": id, "by": by}), 0).unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].partition, accepted.partition);
        assert_eq!(got[0].rows.len(), 1);
        partitions.push(accepted.partition);
    }
    partitions.sort_unstable();
    partitions.dedup();
    assert_eq!(
        partitions,
        [0, 1, 2],
        "the names do not reach every partition"
    );
    let all = ask(&application, "All", &json!({}), 0).unwrap();
    let from: Vec<u32> = all.iter().map(|answer| answer.partition).collect();
    assert_eq!(from, [0, 1, 2]);
    let mut found = answered(&application, "All", &json!({}), 0).unwrap();
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2, 3, 4, 5]);
    let offsets: u64 = all.iter().map(|answer| answer.offset).sum();
    assert_eq!(offsets, 6);
}

#[test]
fn what_is_wrong_with_a_query_is_said() {
    let application = App::new().open();
    let ask = |query, args| ask(&application, query, &args, 0);
    assert_eq!(kind(ask("Do", json!({}))), ErrorKind::Unknown);
    assert_eq!(kind(ask("Nothing", json!({}))), ErrorKind::Unknown);
    assert_eq!(kind(ask("Get", json!({}))), ErrorKind::BadArgs);
    assert_eq!(kind(ask("Get", json!({"id": 1}))), ErrorKind::Rejected);
}

#[test]
fn a_full_queue_of_queries_answers_busy() {
    let app = App::new().with("query_queue = 1");
    let gate = app.gate_at("Get", get, |guest| guest.args()["by"] == "held");
    let application = app.open();
    run(&application, &put(1, 5)).unwrap();
    let ask = |args| application.query("Get", &args, 0);
    let held = ask(json!({"id": 1, "by": "held"})).unwrap();
    gate.wait();
    let waiting = ask(json!({"id": 1})).unwrap();
    assert_eq!(kind(ask(json!({"id": 1})).map(drop)), ErrorKind::Busy);
    gate.open();
    for answer in held.into_iter().chain(waiting) {
        assert_eq!(answer.wait().unwrap().rows.len(), 1);
    }
}

#[test]
fn a_query_that_panics_hurts_no_other() {
    let app = App::new();
    let application = app.open();
    run(&application, &put(1, 5)).unwrap();
    app.native.set("All", |_| panic!("as asked"));
    assert_eq!(
        kind(ask(&application, "All", &json!({}), 0)),
        ErrorKind::Internal
    );
    assert_eq!(
        answered(&application, "Get", &json!({"id": 1}), 0).unwrap(),
        [5]
    );
    application.close().unwrap();
}

#[test]
fn a_snapshot_never_changes() {
    let application = App::new().open();
    run(&application, &put(1, 1)).unwrap();
    let before = application.snapshots().unwrap();
    for n in 0..300 {
        run(&application, &put(n, 2)).unwrap();
    }
    let row = application.spec().catalog.id("row").unwrap();
    let mut rows = 0;
    partition::store::for_each_row(&*before[0].1, row, |_, value| {
        assert_eq!(value, [0x91, 1]);
        rows += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((rows, before[0].0), (1, 1));
}
