//! What a WASM guest hands over: result block, message and intents, well formed or not; and where its blocks lie.

use engine_core::error::ErrorKind;
use engine_core::key;
use engine_core::limits::Limit;
use engine_core::value::{self, Value};
use serde_json::json;

use super::wasm_exports::{call, setup};
use crate::host::TestHost;
use crate::subject::Subject;
use crate::wat::{Guest, INTENTS, RESULT, le, record};

fn shelf_key(n: i64) -> Vec<u8> {
    key::encode(&[Value::Text("g".into()), Value::Int(n)]).expect("a key")
}

fn shelf_row() -> Vec<u8> {
    value::encode(&[Value::Text("v".into())])
}

/// Each status is the kind that it stands for, with the guest's message.
pub fn each_status_is_its_kind(subject: &Subject) {
    call(subject, &Guest::default().answering(0, b"unread", b"")).ok();
    for (status, kind) in [
        (1, ErrorKind::Rejected),
        (2, ErrorKind::NotFound),
        (3, ErrorKind::BadKey),
        (4, ErrorKind::Io),
    ] {
        let guest = Guest::default().answering(status, b"because", b"");
        let answer = call(subject, &guest).fails(kind);
        assert!(answer.message().contains("because"), "{}", answer.message());
    }
    for status in [5, 6, 255, u32::MAX] {
        let guest = Guest::default().answering(status, b"", b"");
        call(subject, &guest).fails(ErrorKind::Abi);
    }
}

/// A message that is not UTF-8, or longer than the host takes, still is a rejection.
pub fn any_message_of_a_rejection_is_taken(subject: &Subject) {
    // Room for the messages, and none of them where `WasmMalloc` places its blocks.
    let roomy = Guest::default()
        .with("memory", r#"(memory (export "memory") 4)"#)
        .with(
            "more",
            "(global $top (mut i32) (i32.const 200000)) (global $n (mut i32) (i32.const 0))",
        );
    let long = "x".repeat(70_000);
    let wide = "é".repeat(40_000);
    for message in [&b"\xff\xfe"[..], long.as_bytes(), wide.as_bytes()] {
        let guest = roomy.clone().answering(1, message, b"");
        let answer = call(subject, &guest).fails(ErrorKind::Rejected);
        assert!(answer.message().len() < 70_000);
    }
}

/// A refused guest may log; of all that it hands over nothing else is taken.
pub fn a_refused_guest_only_logs(subject: &Subject) {
    let line = value::encode(&[Value::Text("info".into()), Value::Text("why".into())]);
    let intents = [
        record(3, "open", &shelf_key(1), &shelf_row()),
        record(1, "sys.log", b"", &line),
        record(0, "", b"", &value::encode(&[Value::Int(1)])),
    ]
    .concat();
    let guest = Guest::default().answering(1, b"no", &intents);
    let host = TestHost::new();
    let answer = setup(subject, &guest)
        .instance()
        .call(&host, "Probe", json!({}));
    answer.fails(ErrorKind::Rejected);
    assert_eq!(host.log_lines(), [("info".to_owned(), "why".to_owned())]);
}

/// Each op of the intents region makes its intent, in order.
pub fn each_op_makes_its_intent(subject: &Subject) {
    let intents = [
        record(1, "open", &shelf_key(1), &shelf_row()),
        record(2, "open", &shelf_key(2), &shelf_row()),
        record(3, "open", &shelf_key(3), &shelf_row()),
        record(4, "open", &shelf_key(4), b""),
        record(0, "", b"", &value::encode(&[Value::Int(-1)])),
    ]
    .concat();
    let answer = call(subject, &Guest::default().answering(0, b"", &intents)).ok();
    assert_eq!(answer.row(), json!({"n": -1}));
    let verbs: Vec<_> = answer
        .intents
        .iter()
        .map(|write| write.verb.name())
        .collect();
    assert_eq!(verbs, ["insert", "update", "put", "delete"]);
}

/// A result block, message or intents region out of the memory breaks the rules.
pub fn a_result_out_of_range_breaks_the_rules(subject: &Subject) {
    for at in ["131072", "131053", "-1", "0x7fffffff"] {
        let guest = Guest::default().run(&format!("(i32.const {at})"));
        call(subject, &guest).fails(ErrorKind::Abi);
    }
    for block in [
        [0, 1, 131_072, 0, 0],
        [0, u32::MAX, 1, 0, 0],
        [1, 2, u32::MAX, 0, 0],
        [0, 0, 0, 1, 131_072],
        [0, 0, 0, u32::MAX, 1],
        [0, 0, 0, 0x8000_0000, 0x8000_0000],
    ] {
        let guest = Guest::default()
            .data(RESULT, &le(&block))
            .run(&format!("(i32.const {RESULT})"));
        call(subject, &guest).fails(ErrorKind::Abi);
    }
}

/// A malformed intents region breaks the rules, and the sound intents before the fault are not taken.
pub fn a_malformed_intents_region_breaks_the_rules(subject: &Subject) {
    let sound = record(3, "open", &shelf_key(1), &shelf_row());
    for faulty in [
        record(5, "open", &shelf_key(1), &shelf_row()),
        record(u32::MAX, "open", b"", b""),
        record(0, "open", b"", b""),
        record(0, "", b"key", b""),
        le(&[3, u32::MAX, 0, 0]),
        le(&[3, 1, u32::MAX, u32::MAX]),
        le(&[3, 0, 0, 1]),
        vec![0; 3],
    ] {
        let region = [sound.clone(), faulty].concat();
        let guest = Guest::default().answering(0, b"", &region);
        call(subject, &guest).fails(ErrorKind::Abi);
    }
}

/// Rows and keys that are not canonical are refused before they become intents.
pub fn what_is_not_canonical_is_a_bad_intent(subject: &Subject) {
    let key = shelf_key(1);
    let row = shelf_row();
    for (key, row) in [
        // Text in a longer form than it needs, a row too short, too long, with bytes behind it, none at all.
        (&key[..], &b"\x91\xd9\x01v"[..]),
        (&key, b"\x90"),
        (&key, b"\x92\xa1v\xa1v"),
        (&key, b"\x91\xa1v\x00"),
        (&key, b""),
        (&key, b"\x91\xc0"),
        (&key, b"\x91\xa2\xc3\x28"),
        (&key, b"\xdc\x00\x01\xa1v"),
        // An integer in a longer form than it needs, a field too many, no key at all.
        (b"\x02g\0\x16\0\x01", &row),
        (&[&key[..], b"\x14"].concat(), &row),
        (b"", &row),
    ] {
        let intents = record(3, "open", key, row);
        let guest = Guest::default().answering(0, b"", &intents);
        call(subject, &guest).fails(ErrorKind::BadIntent);
    }
    let valued = record(4, "open", &key, &row);
    call(subject, &Guest::default().answering(0, b"", &valued)).fails(ErrorKind::BadIntent);
    for result in [
        &b"\x91\xcc\x01"[..],
        b"\x91\xd0\xff",
        b"\x91\xcf\xff\0\0\0\0\0\0\0",
        b"\x80",
    ] {
        let guest = Guest::default().answering(0, b"", &record(0, "", b"", result));
        call(subject, &guest).fails(ErrorKind::BadIntent);
    }
}

/// A NaN other than the one NaN, or a float32, is refused.
pub fn another_nan_is_a_bad_intent(subject: &Subject) {
    for row in [
        &b"\x91\xcb\x7f\xf8\0\0\0\0\0\x01"[..],
        b"\x91\xcb\xff\xf8\0\0\0\0\0\0",
        b"\x91\xcb\x7f\xf4\0\0\0\0\0\0",
        b"\x91\xca\0\0\0\0",
    ] {
        let guest = Guest::default().answering(0, b"", &record(0, "", b"", row));
        let setup = subject
            .package()
            .code(&guest.assemble(), crate::wat::probe("f: float"));
        let answer = setup.instance().call(&TestHost::new(), "Probe", json!({}));
        answer.fails(ErrorKind::BadIntent);
    }
}

/// A NaN that the guest computes is the one NaN, so that no machine shows in it.
pub fn a_computed_nan_is_the_one_nan(subject: &Subject) {
    let guest = Guest::default()
        .and("(global $zero (mut f64) (f64.const 0))")
        .asking(
            "(i32.and
           (i64.eq (i64.const 0x7ff8000000000000)
             (i64.reinterpret_f64 (f64.div (global.get $zero) (global.get $zero))))
           (i64.eq (i64.const 0x7ff8000000000000)
             (i64.reinterpret_f64 (f64.sqrt (f64.sub (global.get $zero) (f64.const 1))))))",
        );
    assert_eq!(call(subject, &guest).ok().row(), json!({"n": 1}));
}

/// Blocks that `WasmMalloc` gives the host lie in the memory.
pub fn a_block_for_the_host_out_of_range_breaks_the_rules(subject: &Subject) {
    for at in ["131072", "131070", "-4", "0x7fffffff"] {
        let guest = Guest::default().with(
            "malloc",
            format!(r#"(func (export "WasmMalloc") (param i32) (result i32) (i32.const {at}))"#),
        );
        call(subject, &guest).fails(ErrorKind::Abi);
    }
}

/// Blocks that `WasmMalloc` gives the host do not overlap.
pub fn blocks_for_the_host_that_overlap_break_the_rules(subject: &Subject) {
    let same = r#"(func (export "WasmMalloc") (param i32) (result i32) (i32.const 4096))"#;
    call(subject, &Guest::default().with("malloc", same)).fails(ErrorKind::Abi);
    let nearly = r#"(func (export "WasmMalloc") (param i32) (result i32)
        (global.set $top (i32.add (global.get $top) (i32.const 1)))
        (global.get $top))"#;
    call(subject, &Guest::default().with("malloc", nearly)).fails(ErrorKind::Abi);
    // The name and the arguments stand apart, but the element lies on the arguments.
    let third = r#"(func (export "WasmMalloc") (param i32) (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (result i32) (i32.lt_u (global.get $n) (i32.const 3))
          (then (i32.mul (global.get $n) (i32.const 8192)))
          (else (i32.const 16384))))"#;
    let host = TestHost::new().shelf("open", "g", 2);
    let guest = Guest::default()
        .with("malloc", third)
        .key("open", &shelf_key(0))
        .asking("(call $get (i32.const 512) (i32.const 768))");
    let answer = setup(subject, &guest)
        .instance()
        .call(&host, "Probe", json!({}));
    answer.fails(ErrorKind::Abi);
}

/// The arguments and the name lie in the blocks that `WasmMalloc` gave for them.
pub fn name_and_arguments_lie_in_their_blocks(subject: &Subject) {
    for (expression, expected) in [
        ("(i32.load8_u (local.get $name))", i64::from(b'P')),
        ("(i32.load8_u offset=4 (local.get $name))", i64::from(b'e')),
        ("(i32.load8_u offset=5 (local.get $name))", 0),
        ("(local.get $kind)", 1),
        ("(i32.load (local.get $args))", 1),
        (
            "(i32.sub (i32.load8_u offset=4 (local.get $args)) (i32.const 0x90))",
            0,
        ),
    ] {
        let answer = call(subject, &Guest::default().asking(expression)).ok();
        assert_eq!(answer.row(), json!({"n": expected}), "{expression}");
    }
}

/// An intent to a storage that does not exist is denied; a name that is not UTF-8 breaks the rules.
pub fn intents_to_storages_that_do_not_exist_are_denied(subject: &Subject) {
    for storage in ["ghost", "", "open\0"] {
        let intents = record(3, storage, &shelf_key(1), &shelf_row());
        let guest = Guest::default().answering(0, b"", &intents);
        call(subject, &guest).fails(ErrorKind::Denied);
    }
    let mut intents = record(3, "op", &shelf_key(1), &shelf_row());
    intents[16] = 0xff;
    call(subject, &Guest::default().answering(0, b"", &intents)).fails(ErrorKind::Abi);
}

/// After each broken rule the next invocation finds a clean instance.
pub fn an_instance_is_clean_after_each_broken_rule(subject: &Subject) {
    // The first run of an instance answers well, each later one breaks a rule: it only ever is the first or the second.
    let guest = Guest::default()
        .answering(0, b"", &record(0, "", &[], &[0x91, 1]))
        .run(&format!(
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
             (if (result i32) (i32.eq (global.get $n) (i32.const 1))
               (then (i32.const {RESULT})) (else (i32.const -1)))"
        ));
    let mut instance = setup(subject, &guest).instance();
    for _ in 0..3 {
        let answer = instance.call(&TestHost::new(), "Probe", json!({})).ok();
        assert_eq!(answer.row(), json!({"n": 1}));
        let answer = instance.call(&TestHost::new(), "Probe", json!({}));
        answer.fails(ErrorKind::Abi);
    }
}

/// An intents region may end at the last byte of the memory.
pub fn an_intents_region_may_end_with_the_memory(subject: &Subject) {
    let intents = record(3, "open", &shelf_key(1), &shelf_row());
    let at = 131_072 - intents.len() as u32;
    assert!(at > INTENTS);
    let guest = Guest::default()
        .data(RESULT, &le(&[0, 0, 0, intents.len() as u32, at]))
        .data(at, &intents)
        .run(&format!("(i32.const {RESULT})"));
    assert_eq!(call(subject, &guest).ok().intents.len(), 1);
    let limits = setup(subject, &guest).limits(|limits| limits.intent_bytes = 1);
    let answer = limits.instance().call(&TestHost::new(), "Probe", json!({}));
    answer.hits(Limit::IntentBytes);
}
