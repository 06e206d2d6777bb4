//! ABI 1.1 from a guest's side: every export and import with every answer, and what breaks its rules.

use engine_core::error::ErrorKind;
use engine_core::key;
use engine_core::limits::Limit;
use engine_core::value::{self, Value};
use serde_json::json;

use super::wasm_exports::{setup, start_error};
use crate::host::TestHost;
use crate::subject::{Answer, Instance, Subject};
use crate::suite;
use crate::wat::{BUFFER, EXPORTS_1_1, Guest, HEADER, INPUT, OUTPUT, record_1_1};

/// Where the guests keep a storage's name, and a key.
const NAME: u32 = 16;
const KEY: u32 = 512;

fn answer(subject: &Subject, guest: &Guest, host: &TestHost) -> Answer {
    setup(subject, guest)
        .instance()
        .call(host, "Probe", json!({}))
}

fn answer_alone(subject: &Subject, guest: &Guest) -> Answer {
    answer(subject, guest, &TestHost::new())
}

/// The number that an expression gives in a guest.
fn number(subject: &Subject, guest: Guest, expression: &str, host: &TestHost) -> i64 {
    let row = answer(subject, &guest.answering_1_1(expression), host)
        .ok()
        .row();
    row["n"].as_i64().expect("a number")
}

fn shelf_key(group: &str, n: i64) -> Vec<u8> {
    key::encode(&[Value::Text(group.into()), Value::Int(n)]).expect("a key")
}

fn id(storage: &str) -> u32 {
    suite::storage(storage).0.into()
}

/// A guest with a key, and the call that reads its row from a storage into a buffer of this length; answers are made
/// positive by adding 10.
fn getting(storage: u32, key: &[u8], room: u32) -> (Guest, String) {
    let len = key.len();
    let call = format!(
        "(i32.add (i32.const 10) (call $get (i32.const {storage}) (i32.const {KEY}) (i32.const {len})
           (i32.const {BUFFER}) (i32.const {room})))"
    );
    (Guest::of_1_1().data(KEY, key), call)
}

/// Begins a range read over a whole storage.
fn scanning(storage: u32) -> String {
    format!("(call $scan (i32.const {storage}) (i32.const 0) (i32.const 0))")
}

fn rows(cursor: &str, room: u32) -> String {
    format!("(call $rows {cursor} (i32.const {BUFFER}) (i32.const {room}))")
}

/// Exports that are missing or of another type are named at load, and what a version does not have is not offered to it.
pub fn a_guest_of_1_1_is_checked_at_load(subject: &Subject) {
    let refusal = |guest: &Guest| {
        let (kind, report) = setup(subject, guest).refusal();
        assert_eq!(kind, ErrorKind::Package);
        report
    };
    for (part, name) in EXPORTS_1_1 {
        let memory = if part == "memory" { "(memory 2)" } else { "" };
        let batch = Guest::of_1_1().with("batch", r#"(func (export "WasmBatch") (param i32 i32))"#);
        let without = batch.with(part, memory);
        assert!(refusal(&without).contains(name), "{name}");
        let other = format!(r#"(global (export "{name}") i32 (i32.const 0))"#);
        if part != "version" {
            assert!(refusal(&without.and(other)).contains(name), "{name}");
        }
    }
    let old = r#"(import "env" "HostGetElem" (func (param i32 i32) (result i32)))"#;
    let mixed = Guest::of_1_1().with("batch", r#"(func (export "WasmBatch") (param i32 i32))"#);
    assert!(refusal(&mixed.with("imports", old)).contains("HostGetElem"));
    let new = r#"(import "env" "HostScan" (func (param i32 i32 i32) (result i32)))"#;
    assert!(refusal(&Guest::default().with("imports", new)).contains("HostScan"));
}

/// A guest that speaks both versions is spoken to in the newer one.
pub fn a_guest_of_both_versions_speaks_1_1(subject: &Subject) {
    let both = Guest::of_1_1().and(r#"(func (export "WasmAbiVersion_1_0"))"#);
    assert_eq!(number(subject, both, "(i32.const 5)", &TestHost::new()), 5);
}

/// The guest is started, asked for its header, for the extension's number, and run, in this order.
pub fn the_calls_of_1_1_come_in_order(subject: &Subject) {
    let step = |before: u32| {
        format!(
            "(if (i32.ne (global.get $n) (i32.const {before})) (then unreachable))
             (global.set $n (i32.const {}))",
            before + 1
        )
    };
    let guest = Guest::of_1_1()
        .with("version", format!(r#"(func (export "WasmAbiVersion_1_1") {})"#, step(0)))
        .with("init", format!(r#"(func (export "WasmInit") {})"#, step(1)))
        .with(
            "exchange",
            format!(r#"(func (export "WasmExchange") (result i32) {} (i32.const {HEADER}))"#, step(2)),
        )
        .with(
            "resolve",
            format!(
                r#"(func (export "WasmResolve") (param $kind i32) (param $len i32) (result i32) {}
                     (if (i32.ne (local.get $kind) (i32.const 1)) (then unreachable))
                     (if (i32.ne (local.get $len) (i32.const 5)) (then unreachable))
                     (if (i32.ne (i32.load (i32.const {INPUT})) (i32.const 0x626f7250)) (then unreachable))
                     (i32.const 77))"#,
                step(3)
            ),
        )
        .invoke(&format!(
            "{} (if (i32.ne (local.get $extension) (i32.const 77)) (then unreachable))
             (if (i32.ne (local.get $len) (i32.const 1)) (then unreachable))
             (if (i32.ne (i32.load8_u (i32.const {INPUT})) (i32.const 0x90)) (then unreachable))
             (global.set $n (i32.const 4)) (i32.const 0)",
            step(4)
        ));
    let mut instance = setup(subject, &guest).instance();
    for _ in 0..3 {
        // The number is asked for once: a second question would find the wrong step.
        instance.call(&TestHost::new(), "Probe", json!({})).ok();
    }
}

/// An extension that the guest does not know breaks the rules, each time.
pub fn an_extension_without_a_number_breaks_the_rules(subject: &Subject) {
    for number in [-1, i32::MIN, -77] {
        let guest = Guest::of_1_1().with(
            "resolve",
            format!(
                r#"(func (export "WasmResolve") (param i32 i32) (result i32) (i32.const {number}))"#
            ),
        );
        let mut instance = setup(subject, &guest).instance();
        for _ in 0..2 {
            let answer = instance.call(&TestHost::new(), "Probe", json!({}));
            answer.fails(ErrorKind::Abi);
        }
    }
}

/// Where the input buffer is too small the guest enlarges it, or the invocation ends for lack of memory.
pub fn a_small_input_buffer_is_enlarged(subject: &Subject) {
    let small = Guest::of_1_1_with([INPUT, 2, OUTPUT, 0]);
    let reserve = |room: u32| {
        format!(
            r#"(func (export "WasmReserve") (param $size i32)
                 (if (i32.ne (local.get $size) (i32.const 5)) (then unreachable))
                 (i32.store (i32.const {}) (i32.const {room})))"#,
            HEADER + 4
        )
    };
    let enlarged = small.clone().with("reserve", reserve(5));
    assert_eq!(
        number(subject, enlarged, "(i32.const 1)", &TestHost::new()),
        1
    );
    for guest in [small.clone(), small.with("reserve", reserve(4))] {
        answer_alone(subject, &guest).hits(Limit::Memory);
    }
}

/// A header or a buffer that does not lie in the memory breaks the rules.
pub fn an_exchange_out_of_range_breaks_the_rules(subject: &Subject) {
    const END: u32 = 2 << 16;
    for header in [END - 15, END, u32::MAX, u32::MAX - 15] {
        let guest = Guest::of_1_1().with(
            "exchange",
            format!(r#"(func (export "WasmExchange") (result i32) (i32.const {header}))"#),
        );
        answer_alone(subject, &guest).fails(ErrorKind::Abi);
    }
    for header in [
        [END, 1024, OUTPUT, 0],
        [u32::MAX, u32::MAX, OUTPUT, 0],
        [INPUT, 1024, END, 1],
        [INPUT, 1024, 1, END],
        [INPUT, 1024, u32::MAX, u32::MAX],
    ] {
        answer_alone(subject, &Guest::of_1_1_with(header)).fails(ErrorKind::Abi);
    }
    // What is not used need not be there.
    answer_alone(subject, &Guest::of_1_1_with([INPUT, u32::MAX, END, 0])).ok();
}

/// Each status is its kind, with the guest's words, and any other breaks the rules.
pub fn each_status_of_1_1_is_its_kind(subject: &Subject) {
    let mut words = record_1_1(5, 0, &[], b"first");
    words.extend(record_1_1(5, 0, &[], "né".as_bytes()));
    for (status, kind) in [
        (1, ErrorKind::Rejected),
        (2, ErrorKind::NotFound),
        (3, ErrorKind::BadKey),
        (4, ErrorKind::Io),
    ] {
        let guest = Guest::of_1_1().handing_over(status, &words);
        let answer = answer_alone(subject, &guest).fails(kind);
        assert!(answer.message().ends_with("né"), "{}", answer.message());
    }
    for status in [5, 6, 1 << 31, u32::MAX] {
        answer_alone(subject, &Guest::of_1_1().handing_over(status, &[])).fails(ErrorKind::Abi);
    }
    // Words that nobody asked for are no result.
    let guest = Guest::of_1_1().handing_over(0, &words);
    assert!(answer_alone(subject, &guest).ok().results.is_empty());
}

/// A read that failed lends its words to a guest that hands the failure on without any.
pub fn a_failed_read_of_1_1_lends_its_words(subject: &Subject) {
    let (guest, call) = getting(id("broken"), &shelf_key("g", 0), 64);
    let guest = guest.invoke(&format!("(drop {call}) (i32.const 4)"));
    let message = answer_alone(subject, &guest).fails(ErrorKind::Io).message();
    assert!(message.ends_with("the disk is on fire"), "{message}");
}

/// Each op makes its intent, in order, and log lines go to the log also when the guest refuses.
pub fn each_op_of_1_1_makes_its_intent(subject: &Subject) {
    let open = id("open");
    let row = value::encode(&[Value::Text("v".into())]);
    let mut records = Vec::new();
    for op in 1..=3 {
        records.extend(record_1_1(op, open, &shelf_key("g", op.into()), &row));
    }
    records.extend(record_1_1(4, open, &shelf_key("g", 4), &[]));
    records.extend(record_1_1(0, 0, &[], &[0x91, 9]));
    let answered = answer_alone(subject, &Guest::of_1_1().handing_over(0, &records)).ok();
    let verbs: Vec<_> = answered
        .intents
        .iter()
        .map(|intent| intent.verb.name())
        .collect();
    assert_eq!(verbs, ["insert", "update", "put", "delete"]);
    assert_eq!(answered.row(), json!({"n": 9}));
    let line = value::encode(&[Value::Text("info".into()), Value::Text("said".into())]);
    records.extend(record_1_1(1, 3, &[], &line));
    let host = TestHost::new();
    let refusing = Guest::of_1_1().handing_over(1, &records);
    answer(subject, &refusing, &host).fails(ErrorKind::Rejected);
    assert_eq!(host.log_lines(), [("info".to_owned(), "said".to_owned())]);
}

/// A record that is cut off, has an unknown op, or a storage where it has none, breaks the rules; a storage that does not
/// exist is denied.
pub fn a_malformed_output_of_1_1_breaks_the_rules(subject: &Subject) {
    let whole = record_1_1(3, id("open"), &shelf_key("g", 1), &[0x91, 0xa1, b'v']);
    for len in 1..whole.len() {
        let guest = Guest::of_1_1().handing_over(0, &whole[..len]);
        answer_alone(subject, &guest).fails(ErrorKind::Abi);
    }
    for record in [
        record_1_1(6, 0, &[], &[]),
        record_1_1(u32::MAX, 0, &[], &[]),
        record_1_1(0, 1, &[], &[0x91, 9]),
        record_1_1(0, 0, b"k", &[0x91, 9]),
        record_1_1(5, 0, b"k", b"words"),
    ] {
        for status in [0, 1] {
            let guest = Guest::of_1_1().handing_over(status, &record);
            answer_alone(subject, &guest).fails(ErrorKind::Abi);
        }
    }
    for storage in [u32::MAX, 1 << 16, 60_000] {
        let record = record_1_1(3, storage, &shelf_key("g", 1), &[0x91, 0xa1, b'v']);
        answer_alone(subject, &Guest::of_1_1().handing_over(0, &record)).fails(ErrorKind::Denied);
    }
}

/// `HostStorage` answers the same number at any time, and -1 for a name that no storage has.
pub fn a_storage_has_one_number(subject: &Subject) {
    let ask = |len: u32| format!("(call $storage (i32.const {NAME}) (i32.const {len}))");
    let guest = Guest::of_1_1().data(NAME, b"open\xff").with(
        "init",
        format!(r#"(func (export "WasmInit") (global.set $n {}))"#, ask(4)),
    );
    let host = TestHost::new();
    assert_eq!(
        number(subject, guest.clone(), "(global.get $n)", &host),
        i64::from(id("open"))
    );
    assert_eq!(
        number(subject, guest.clone(), &ask(4), &host),
        i64::from(id("open"))
    );
    for len in [0, 3, 5] {
        let shifted = format!("(i32.add (i32.const 1) {})", ask(len));
        assert_eq!(number(subject, guest.clone(), &shifted, &host), 0, "{len}");
    }
    let outside = guest.invoke("(call $storage (i32.const -1) (i32.const 2))");
    answer_alone(subject, &outside).fails(ErrorKind::Abi);
}

/// `HostGet` writes the value and answers its length, or why there is none.
pub fn get_of_1_1_answers_each_outcome(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 1);
    let row = value::encode(&[Value::Text("0".into())]);
    let len = row.len() as i64;
    let (guest, call) = getting(id("open"), &shelf_key("g", 0), 3);
    assert_eq!(number(subject, guest.clone(), &call, &host), 10 + len);
    let last = format!("(drop {call}) (i32.load8_u offset=2 (i32.const {BUFFER}))");
    let last = format!("(block (result i32) {last})");
    assert_eq!(number(subject, guest, &last, &host), i64::from(b'0'));
    for (storage, key, due) in [
        ("open", shelf_key("g", 7), 9),
        ("open", b"\x02g\0".to_vec(), 8),
        ("open", b"\xff".to_vec(), 8),
        ("broken", shelf_key("g", 0), 7),
    ] {
        let (guest, call) = getting(id(storage), &key, 64);
        assert_eq!(
            number(subject, guest, &call, &host),
            due,
            "{storage} {key:x?}"
        );
    }
    for storage in [id("sealed"), u32::MAX, 1 << 16, 60_000] {
        let (guest, call) = getting(storage, &shelf_key("g", 0), 64);
        let guest = guest.invoke(&call);
        answer(subject, &guest, &host).fails(ErrorKind::Denied);
    }
}

/// A value that does not fit is kept: nothing is written, `HostTake` hands it over once, and it counts as one read.
pub fn a_value_that_does_not_fit_is_taken_later(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 1);
    let (guest, call) = getting(id("open"), &shelf_key("g", 0), 2);
    let untouched = format!("(block (result i32) (drop {call}) (i32.load (i32.const {BUFFER})))");
    assert_eq!(number(subject, guest.clone(), &untouched, &host), 0);
    let take = |room: u32| format!("(call $take (i32.const {BUFFER}) (i32.const {room}))");
    // Still too small, then taken, then gone.
    let steps = format!(
        "(block (result i32) (drop {call})
           (if (i32.ne {} (i32.const 3)) (then unreachable))
           (if (i32.ne {} (i32.const 3)) (then unreachable))
           (if (i32.ne {} (i32.const -1)) (then unreachable))
           (i32.load8_u offset=2 (i32.const {BUFFER})))",
        take(0),
        take(3),
        take(3)
    );
    let answered = answer(subject, &guest.clone().answering_1_1(&steps), &host).ok();
    assert_eq!(answered.row()["n"], i64::from(b'0'));
    assert_eq!(
        (answered.ledger.host_reads, answered.ledger.rows_read),
        (1, 1)
    );
    let nothing = format!("(i32.add (i32.const 1) {})", take(64));
    assert_eq!(number(subject, guest, &nothing, &host), 0);
}

/// `HostScan` and `HostRows` hand over every row in order, however small the buffer is.
pub fn rows_are_pulled_as_they_fit(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 100);
    let guest = Guest::of_1_1();
    // A row has 8 bytes of lengths, 4 or 5 of a key and 3 or 4 of a value.
    for room in [17, 18, 40, 1000, 4096] {
        let count = format!(
            "(local $cursor i32) (local $filled i32) (local $at i32)
             (local.set $cursor {})
             (loop $more
               (local.set $filled {})
               (if (i32.lt_s (local.get $filled) (i32.const 0)) (then unreachable))
               (local.set $at (i32.const 0))
               (loop $row
                 (if (i32.lt_u (local.get $at) (local.get $filled)) (then
                   (global.set $n (i32.add (global.get $n) (i32.const 1)))
                   (local.set $at (i32.add (i32.add (local.get $at) (i32.const 8)) (i32.add
                     (i32.load (i32.add (i32.const {BUFFER}) (local.get $at)))
                     (i32.load offset=4 (i32.add (i32.const {BUFFER}) (local.get $at))))))
                   (br $row))))
               (br_if $more (local.get $filled)))
             (i32.store8 (i32.const {}) (global.get $n))
             (i32.store (i32.const {}) (i32.const 18)) (i32.const 0)",
            scanning(id("open")),
            rows("(local.get $cursor)", room),
            OUTPUT + 17,
            HEADER + 12,
        );
        let row = record_1_1(0, 0, &[], &[0x91, 0]);
        let counting = guest.clone().data(OUTPUT, &row).invoke(&count);
        let answered = answer(subject, &counting, &host).ok();
        assert_eq!(answered.row()["n"], 100, "{room}");
        assert_eq!(
            (answered.ledger.host_reads, answered.ledger.rows_read),
            (1, 100)
        );
    }
}

/// A row that does not fit is asked for again with more room, and an empty range is at its end at once.
pub fn a_row_that_does_not_fit_tells_its_size(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 1);
    let pull = |room| rows(&scanning(id("open")), room);
    for room in [0, 7, 14] {
        let needed = format!("(i32.sub (i32.const 0) {})", pull(room));
        assert_eq!(
            number(subject, Guest::of_1_1(), &needed, &host),
            15,
            "{room}"
        );
    }
    let twice = format!(
        "(block (result i32) (drop {}) {})",
        pull(3),
        rows("(i32.const 0)", 15)
    );
    assert_eq!(number(subject, Guest::of_1_1(), &twice, &host), 15);
    assert_eq!(
        number(subject, Guest::of_1_1(), &pull(64), &TestHost::new()),
        0
    );
}

/// A bad prefix, a store that fails at once or later, and a storage without access each have their answer.
pub fn rows_of_1_1_answer_each_failure(subject: &Subject) {
    let host = TestHost::new().shelf("torn", "g", 200);
    let bad = format!(
        "(i32.add (i32.const 10) (call $scan (i32.const {}) (i32.const {KEY}) (i32.const 1)))",
        id("open")
    );
    let guest = Guest::of_1_1().data(KEY, b"\xff");
    assert_eq!(number(subject, guest, &bad, &host), 8);
    for storage in ["broken", "torn"] {
        let body = format!(
            "(local $cursor i32) (local $filled i32) (local.set $cursor {})
             (loop $more
               (local.set $filled {})
               (br_if $more (i32.gt_s (local.get $filled) (i32.const 0))))
             (if (i32.ne (local.get $filled) (i32.const -3)) (then unreachable))
             (i32.const 0)",
            scanning(id(storage)),
            rows("(local.get $cursor)", 4096)
        );
        answer(subject, &Guest::of_1_1().invoke(&body), &host).ok();
    }
    for storage in [id("sealed"), u32::MAX] {
        let guest = Guest::of_1_1().invoke(&scanning(storage));
        answer(subject, &guest, &host).fails(ErrorKind::Denied);
    }
}

/// Four ranges are open at most, a closed one makes room, and none is open in the next invocation.
pub fn cursors_are_few_and_do_not_last(subject: &Subject) {
    let open = scanning(id("open"));
    let opened = |n: usize| format!("(drop {open})").repeat(n);
    let host = TestHost::new();
    let five = Guest::of_1_1().invoke(&format!("{} (i32.const 0)", opened(5)));
    answer(subject, &five, &host).hits(Limit::ReadDepth);
    let closed = format!("{} (call $close (i32.const 2)) {open}", opened(4));
    let closed = format!("(block (result i32) {closed})");
    assert_eq!(number(subject, Guest::of_1_1(), &closed, &host), 2);
    let four = Guest::of_1_1().invoke(&format!("{} (i32.const 0)", opened(4)));
    let mut instance = setup(subject, &four).instance();
    for _ in 0..3 {
        instance.call(&host, "Probe", json!({})).ok();
    }
}

/// A cursor that is not open breaks the rules, and closing one that is not open does nothing.
pub fn a_cursor_that_is_not_open_breaks_the_rules(subject: &Subject) {
    for cursor in [
        "(i32.const 0)",
        "(i32.const 3)",
        "(i32.const 4)",
        "(i32.const -1)",
    ] {
        let guest = Guest::of_1_1().invoke(&rows(cursor, 64));
        answer_alone(subject, &guest).fails(ErrorKind::Abi);
        let guest = Guest::of_1_1().invoke(&format!("(call $close {cursor}) (i32.const 0)"));
        answer_alone(subject, &guest).ok();
    }
    let ended = format!(
        "(drop {}) {}",
        rows(&scanning(id("open")), 64),
        rows("(i32.const 0)", 64)
    );
    answer_alone(subject, &Guest::of_1_1().invoke(&ended)).fails(ErrorKind::Abi);
}

/// A key, a prefix or a buffer that is not in the memory breaks the rules.
pub fn a_pointer_of_1_1_out_of_range_breaks_the_rules(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 1);
    let open = id("open");
    let len = shelf_key("g", 0).len();
    for call in [
        format!(
            "(call $get (i32.const {open}) (i32.const -1) (i32.const 2) (i32.const 0) (i32.const 0))"
        ),
        format!(
            "(call $get (i32.const {open}) (i32.const {KEY}) (i32.const -1) (i32.const 0) (i32.const 0))"
        ),
        format!(
            "(call $get (i32.const {open}) (i32.const {KEY}) (i32.const {len}) (i32.const -1) (i32.const 64))"
        ),
        format!(
            "(call $get (i32.const {open}) (i32.const {KEY}) (i32.const {len}) (i32.const 131070) (i32.const 64))"
        ),
        format!("(call $scan (i32.const {open}) (i32.const -1) (i32.const 2))"),
        format!(
            "(call $rows {} (i32.const 131070) (i32.const 64))",
            scanning(open)
        ),
        format!(
            "(call $rows {} (i32.const -1) (i32.const -1))",
            scanning(open)
        ),
    ] {
        let guest = Guest::of_1_1().data(KEY, &shelf_key("g", 0)).invoke(&call);
        answer(subject, &guest, &host).fails(ErrorKind::Abi);
    }
}

/// A guest that asks the host outside of an invocation, or for the next one outside of a batch, breaks the rules.
pub fn asking_at_the_wrong_time_breaks_the_rules(subject: &Subject) {
    for call in [scanning(id("open")), rows("(i32.const 0)", 64)] {
        let init = format!(r#"(func (export "WasmInit") (drop {call}))"#);
        let error = start_error(setup(subject, &Guest::of_1_1().with("init", init)));
        assert_eq!(error.kind(), ErrorKind::Abi);
    }
    let next = Guest::of_1_1().invoke("(drop (call $next (i32.const 0))) (i32.const 0)");
    answer_alone(subject, &next).fails(ErrorKind::Abi);
    let call = rows(&scanning(id("open")), 64);
    let resolve = format!(
        r#"(func (export "WasmResolve") (param i32 i32) (result i32) (drop {call}) (i32.const 7))"#
    );
    let reserve = format!(r#"(func (export "WasmReserve") (param i32) (drop {call}))"#);
    let small = Guest::of_1_1_with([INPUT, 2, OUTPUT, 0]);
    for guest in [
        Guest::of_1_1().with("resolve", resolve),
        small.with("reserve", reserve),
    ] {
        let answer = answer_alone(subject, &guest).fails(ErrorKind::Abi);
        assert_eq!(answer.ledger.host_reads, 0);
    }
}

/// A guest that leaves a batch early, asks too often or traps at its end costs at most the invocation that runs then.
pub fn a_guest_that_breaks_a_batch_costs_one_invocation(subject: &Subject) {
    let asked = [
        ("Probe", json!({})),
        ("Probe", json!({})),
        ("Probe", json!({})),
    ];
    let host = TestHost::new();
    let batch = |body: &str| {
        let head = r#"(func (export "WasmBatch") (param $extension i32) (param $len i32)"#;
        let guest = Guest::of_1_1().with("batch", format!("{head} {body})"));
        let mut instance = setup(subject, &guest).instance();
        let answers = instance.batch(&host, &asked);
        let errors = answers.into_iter().map(|answer| answer.result.err());
        errors
            .map(|error| error.map(|error| error.kind()))
            .collect::<Vec<_>>()
    };
    let abi = Some(ErrorKind::Abi);
    assert_eq!(batch(""), [abi, abi, abi]);
    assert_eq!(
        batch("(drop (call $next (i32.const 0)))"),
        [None, abi, None]
    );
    let next = "(drop (call $next (i32.const 0)))";
    assert_eq!(batch(&next.repeat(3)), [None; 3]);
    assert_eq!(batch(&format!("{} unreachable", next.repeat(3))), [None; 3]);
    assert_eq!(batch(&next.repeat(4)), [None; 3]);
    // Behind the last one there is none to read for.
    let reading = format!(
        "{}(drop {})",
        next.repeat(3),
        rows(&scanning(id("open")), 64)
    );
    assert_eq!(batch(&reading), [None; 3]);
    assert_eq!(host.reads(), 0);
    let trap = Some(ErrorKind::Trap);
    assert_eq!(batch(&format!("{next} unreachable")), [None, trap, None]);
    let rejecting = "(drop (call $next (i32.const 1)))".repeat(3);
    assert_eq!(batch(&rejecting), [Some(ErrorKind::Rejected); 3]);
}

/// A guest that starts slowly has all of its time behind the start, in a batch too.
pub fn a_slow_start_is_not_the_time_of_one_of_a_batch(subject: &Subject) {
    let slow = r#"(func (export "WasmInit") (local $n i32)
        (loop $again
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $n) (i32.const 100000000)))))"#;
    let guest = Guest::of_1_1().with("init", slow).with(
        "batch",
        r#"(func (export "WasmBatch") (param $extension i32) (param $len i32)
             (drop (call $next (i32.const 0))) unreachable)"#,
    );
    let setup = setup(subject, &guest).limits(|limits| limits.deadline_ms = 10);
    let package = setup.load().expect("the package loads");
    let asked = || ("Probe", json!({}));
    let kinds = || {
        let batch = Instance::of(&package).batch(&TestHost::new(), &[asked(), asked(), asked()]);
        let kind = |answer: Answer| answer.result.err().map(|error| error.kind());
        batch.into_iter().map(kind).collect::<Vec<_>>()
    };
    // The start takes longer than an invocation may. A machine that stands still for as long costs one more attempt.
    let expected = [None, Some(ErrorKind::Trap), None];
    assert!((0..20).any(|_| kinds() == expected));
}

/// Asking for the numbers of names costs a guest its time, and a name that is too long to be one is none.
pub fn a_deadline_ends_a_loop_of_names(subject: &Subject) {
    for function in ["storage", "foreign"] {
        let ask = |len| format!("(call ${function} (i32.const 0) (i32.const {len}))");
        let long = format!("(i32.add (i32.const 10) {})", ask(131_072));
        let host = TestHost::new();
        assert_eq!(number(subject, Guest::of_1_1(), &long, &host), 9);
        let body = format!("(loop (drop {}) (br 0)) unreachable", ask(131_072));
        let guest = Guest::of_1_1().invoke(&body);
        let setup = setup(subject, &guest).limits(|limits| limits.deadline_ms = 100);
        let answer = setup.instance().call(&host, "Probe", json!({}));
        answer.hits(Limit::Deadline);
    }
}
