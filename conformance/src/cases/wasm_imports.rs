//! What a WASM guest imports: each result of each host function, and what the host makes of bad pointers.

use engine_core::error::ErrorKind;
use engine_core::key;
use engine_core::limits::Limit;
use engine_core::value::{self, Value};
use serde_json::json;

use super::wasm_exports::{call, setup};
use crate::host::{TIME, TestHost};
use crate::subject::{Answer, Subject};
use crate::wat::{ELEMENT, Guest, KEY, le};

fn shelf_key(group: &str, n: i64) -> Vec<u8> {
    key::encode(&[Value::Text(group.into()), Value::Int(n)]).expect("a key")
}

/// The first block of the host's randomness that the WASI stub takes.
const FIRST_RANDOM: i64 = 1 << 32;

const GET: &str = "(call $get (i32.const 512) (i32.const 768))";
const READ: &str = "(call $read (i32.const 9) (i32.const 512))";

fn answer_of(subject: &Subject, guest: &Guest, host: &TestHost) -> Answer {
    setup(subject, guest)
        .instance()
        .call(host, "Probe", json!({}))
}

/// The number that a guest answers.
fn number(subject: &Subject, guest: &Guest, host: &TestHost) -> i64 {
    let row = answer_of(subject, guest, host).ok().row();
    row["n"].as_i64().expect("a number")
}

/// `HostGetElem` answers 0 and the element's block lies where it says.
pub fn get_elem_0_hands_over_the_element(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 1);
    let guest = Guest::default().key("open", &shelf_key("g", 0));
    assert_eq!(number(subject, &guest.clone().asking(GET), &host), 0);
    let length = format!("(drop {GET}) (i32.load (i32.load (i32.const {ELEMENT})))");
    let length = format!("(block (result i32) {length})");
    let row = value::encode(&[Value::Text("0".into())]);
    assert_eq!(
        number(subject, &guest.clone().asking(&length), &host),
        row.len() as i64
    );
    let last = format!(
        "(block (result i32) (drop {GET})
           (i32.load8_u offset=6 (i32.load (i32.const {ELEMENT}))))"
    );
    assert_eq!(
        number(subject, &guest.asking(&last), &host),
        i64::from(b'0')
    );
}

/// `HostGetElem` answers 1 where there is no such row, and leaves the pointer alone.
pub fn get_elem_1_is_not_there(subject: &Subject) {
    let guest = Guest::default()
        .key("open", &shelf_key("g", 0))
        .data(ELEMENT, &le(&[77]));
    let host = TestHost::new();
    assert_eq!(number(subject, &guest.clone().asking(GET), &host), 1);
    let pointer = format!("(block (result i32) (drop {GET}) (i32.load (i32.const {ELEMENT})))");
    assert_eq!(number(subject, &guest.asking(&pointer), &host), 77);
}

/// `HostGetElem` answers 2 for bytes that are no key of the storage.
pub fn get_elem_2_is_a_bad_key(subject: &Subject) {
    for key in [
        &b""[..],
        b"\x02g\0",
        b"\xff",
        b"\x02g",
        b"\x02g\0\x15\0",
        b"\x02\xc3\0\x14",
    ] {
        let guest = Guest::default().key("open", key).asking(GET);
        assert_eq!(number(subject, &guest, &TestHost::new()), 2, "{key:x?}");
    }
}

/// `HostGetElem` answers 3 where the store cannot be read.
pub fn get_elem_3_is_io(subject: &Subject) {
    let guest = Guest::default()
        .key("broken", &shelf_key("g", 0))
        .asking(GET);
    assert_eq!(number(subject, &guest, &TestHost::new()), 3);
}

/// `HostGetElem` answers 4 where the guest has no memory for the element.
pub fn get_elem_4_is_no_memory(subject: &Subject) {
    let guest = Guest::default()
        .key("open", &shelf_key("g", 0))
        .with("malloc", stingy_malloc())
        .asking(&format!(
            "(block (result i32) (global.set $n (i32.const 1)) {GET})"
        ));
    let host = TestHost::new().shelf("open", "g", 1);
    assert_eq!(number(subject, &guest, &host), 4);
}

/// A `WasmMalloc` that gives memory only until the global `$n` is set.
fn stingy_malloc() -> &'static str {
    r#"(func (export "WasmMalloc") (param $size i32) (result i32)
         (if (global.get $n) (then (return (i32.const 0))))
         (global.get $top)
         (global.set $top (i32.add (global.get $top) (local.get $size))))"#
}

/// `HostReadElems` answers 0, and calls `WasmOnRead` with the context and both blocks for each row.
pub fn read_elems_0_hands_over_each_row(subject: &Subject) {
    let prefix = key::encode(&[Value::Text("g".into())]).expect("a prefix");
    let counting = Guest::default().key("open", &prefix).with(
        "on_read",
        r#"(func (export "WasmOnRead") (param $ctx i32) (param $key i32) (param $element i32)
             (if (i32.ne (i32.load (local.get $key)) (i32.const 4)) (then unreachable))
             (if (i32.ne (i32.load offset=8 (local.get $key)) (i32.const 0x6e65706f)) (then unreachable))
             (if (i32.ne (i32.load (local.get $element)) (i32.const 3)) (then unreachable))
             (global.set $n (i32.add (global.get $n) (local.get $ctx))))"#,
    );
    let host = TestHost::new().shelf("open", "g", 5).shelf("open", "h", 5);
    assert_eq!(number(subject, &counting.clone().asking(READ), &host), 0);
    let sum = format!("(block (result i32) (drop {READ}) (global.get $n))");
    assert_eq!(number(subject, &counting.asking(&sum), &host), 5 * 9);
}

/// `HostReadElems` answers 2 for bytes that are no prefix of a key.
pub fn read_elems_2_is_a_bad_key(subject: &Subject) {
    for key in [&b"\xff"[..], b"\x02g", b"\x14", b"\x02g\0\x14\x14"] {
        let guest = Guest::default().key("open", key).asking(READ);
        assert_eq!(number(subject, &guest, &TestHost::new()), 2, "{key:x?}");
    }
}

/// `HostReadElems` answers 3 where the store cannot be read, at once or behind some rows.
pub fn read_elems_3_is_io(subject: &Subject) {
    let host = TestHost::new().shelf("torn", "g", 200);
    for storage in ["broken", "torn"] {
        let guest = Guest::default().key(storage, b"").asking(READ);
        assert_eq!(number(subject, &guest, &host), 3, "{storage}");
    }
}

/// Without memory for a row a range read ends the invocation.
pub fn read_elems_without_memory_is_the_limit_memory(subject: &Subject) {
    let guest = Guest::default()
        .key("open", b"")
        .with("malloc", stingy_malloc())
        .asking(&format!(
            "(block (result i32) (global.set $n (i32.const 1)) {READ})"
        ));
    let host = TestHost::new().shelf("open", "g", 1);
    answer_of(subject, &guest, &host).hits(Limit::Memory);
}

/// A trap in `WasmOnRead` ends the invocation as a trap.
pub fn a_trap_in_on_read_is_a_trap(subject: &Subject) {
    let guest = Guest::default().key("open", b"").asking(READ).with(
        "on_read",
        r#"(func (export "WasmOnRead") (param i32 i32 i32) unreachable)"#,
    );
    let host = TestHost::new().shelf("open", "g", 1);
    answer_of(subject, &guest, &host).fails(ErrorKind::Trap);
}

/// `WasmOnRead` may ask the host in turn, for rows and for ranges.
pub fn on_read_may_ask_the_host_in_turn(subject: &Subject) {
    let on_read = |inner: &str| {
        format!(
            r#"(func (export "WasmOnRead") (param $ctx i32) (param $key i32) (param $element i32)
                 (global.set $n (i32.add (global.get $n) (i32.const 1)))
                 (if (i32.eq (local.get $ctx) (i32.const 9)) (then (drop {inner}))))"#
        )
    };
    let sum = format!("(block (result i32) (drop {READ}) (global.get $n))");
    let host = TestHost::new().shelf("open", "g", 3);
    let prefix = key::encode(&[Value::Text("g".into())]).expect("a prefix");
    let guest = Guest::default().key("open", &prefix).asking(&sum);
    let gets = guest.clone().with("on_read", on_read(GET));
    assert_eq!(number(subject, &gets, &host), 3);
    let nested = on_read("(call $read (i32.const 8) (i32.const 512))");
    assert_eq!(
        number(subject, &guest.with("on_read", nested), &host),
        3 + 9
    );
}

/// `WasmOnRead` that reads a range in each of its rows without end is stopped at the depth that is allowed.
pub fn on_read_cannot_recurse_without_end(subject: &Subject) {
    let guest = Guest::default().key("open", b"").asking(READ).with(
        "on_read",
        format!(r#"(func (export "WasmOnRead") (param i32 i32 i32) (drop {READ}))"#),
    );
    let host = TestHost::new().shelf("open", "g", 1);
    answer_of(subject, &guest, &host).hits(Limit::ReadDepth);
}

/// A key block, an element's address or a block from `WasmMalloc` that is not in the memory breaks the rules.
pub fn a_pointer_out_of_range_breaks_the_rules(subject: &Subject) {
    let host = TestHost::new().shelf("open", "g", 1);
    let guest = Guest::default().key("open", &shelf_key("g", 0));
    // The memory has 131,072 bytes.
    for expression in [
        "(call $get (i32.const 131072) (i32.const 768))",
        "(call $get (i32.const 131065) (i32.const 768))",
        "(call $get (i32.const -1) (i32.const 768))",
        "(call $get (i32.const 0x7fffffff) (i32.const 768))",
        "(call $get (i32.const 512) (i32.const 131069))",
        "(call $get (i32.const 512) (i32.const -4))",
        "(call $read (i32.const 0) (i32.const 131072))",
        "(call $read (i32.const 0) (i32.const -1))",
    ] {
        let answer = answer_of(subject, &guest.clone().asking(expression), &host);
        answer.fails(ErrorKind::Abi);
    }
}

/// Lengths that leave the memory, or add up to more than 32 bits hold, break the rules.
pub fn a_length_that_overflows_breaks_the_rules(subject: &Subject) {
    for lengths in [
        [u32::MAX, 1],
        [1, u32::MAX],
        [u32::MAX, u32::MAX],
        [131_072, 0],
        [4, 131_072],
        [0x8000_0000, 0x8000_0000],
    ] {
        for ask in [GET, READ] {
            let guest = Guest::default().data(KEY, &le(&lengths)).asking(ask);
            call(subject, &guest).fails(ErrorKind::Abi);
        }
    }
}

/// The name of a storage is UTF-8.
pub fn a_storage_name_that_is_not_utf8_breaks_the_rules(subject: &Subject) {
    let block = [&le(&[2, 0])[..], b"\xff\xfe"].concat();
    for ask in [GET, READ] {
        let guest = Guest::default().data(KEY, &block).asking(ask);
        call(subject, &guest).fails(ErrorKind::Abi);
    }
}

/// An import that the host does not offer is named at load, all of them at once.
pub fn unknown_imports_are_named_at_load(subject: &Subject) {
    let names = [
        ("env", "HostFly"),
        ("env", "HostGetElem2"),
        ("somewhere", "HostGetElem"),
        ("wasi_snapshot_preview1", "fly"),
    ];
    let imports: String = names
        .map(|(module, name)| format!(r#"(import "{module}" "{name}" (func))"#))
        .concat();
    let guest = Guest::default().with("imports", imports);
    let (kind, report) = setup(subject, &guest).refusal();
    assert_eq!(kind, ErrorKind::Package);
    for (module, name) in names {
        assert!(report.contains(name), "{name} is not in: {report}");
        assert!(report.contains(module), "{module} is not in: {report}");
    }
}

/// An import of another type than the host offers is named at load.
pub fn imports_of_another_type_are_named_at_load(subject: &Subject) {
    for (part, import) in [
        (
            "get",
            r#"(import "env" "HostGetElem" (func $get (param i64)))"#,
        ),
        ("read", r#"(import "env" "HostReadElems" (global i32))"#),
        ("imports", r#"(import "env" "memory" (memory 1))"#),
        (
            "imports",
            r#"(import "wasi_snapshot_preview1" "fd_write" (func (param f64)))"#,
        ),
    ] {
        let guest = Guest::default().with(part, import);
        assert_eq!(setup(subject, &guest).refusal().0, ErrorKind::Package);
    }
}

fn wasi(name: &str, params: &str, result: &str) -> Guest {
    Guest::default().with(
        "imports",
        format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func $wasi (param {params}) {result}))"#
        ),
    )
}

/// What a guest prints goes to the host's log, line by line.
pub fn wasi_output_goes_to_the_log(subject: &Subject) {
    let text = b"one line\nanother";
    let guest = wasi("fd_write", "i32 i32 i32 i32", "(result i32)")
        .data(2048, &le(&[2064, text.len() as u32]))
        .data(2064, text)
        .asking("(call $wasi (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 2056))");
    let host = TestHost::new();
    assert_eq!(number(subject, &guest, &host), 0);
    let messages: Vec<_> = host.log_lines().into_iter().map(|line| line.1).collect();
    assert_eq!(messages, ["one line", "another"]);
}

/// The clock is the invocation's time, in nanoseconds.
pub fn the_wasi_clock_is_the_invocations_time(subject: &Subject) {
    let guest = wasi("clock_time_get", "i32 i64 i32", "(result i32)").asking(&format!(
        "(block (result i32)
           (drop (call $wasi (i32.const 0) (i64.const 0) (i32.const 2048)))
           (i64.eq (i64.load (i32.const 2048)) (i64.const {})))",
        TIME * 1_000
    ));
    assert_eq!(number(subject, &guest, &TestHost::new()), 1);
}

/// Random bytes are the invocation's.
pub fn wasi_randomness_is_the_invocations(subject: &Subject) {
    let guest = wasi("random_get", "i32 i32", "(result i32)").asking(
        "(block (result i32)
           (drop (call $wasi (i32.const 2048) (i32.const 8)))
           (i32.and (i32.load8_u (i32.const 2048)) (i32.const 127)))",
    );
    let host = TestHost::new();
    let expected = i64::from(host.random(FIRST_RANDOM)[0] & 127);
    assert_eq!(number(subject, &guest, &host), expected);
}

/// A guest that ends its program crashes.
pub fn a_wasi_exit_is_a_trap(subject: &Subject) {
    let guest = wasi("proc_exit", "i32", "").run("(call $wasi (i32.const 0)) (i32.const 0)");
    call(subject, &guest).fails(ErrorKind::Trap);
}

/// Pointers that the WASI stub gets are checked as all others.
pub fn a_wasi_pointer_out_of_range_does_no_harm(subject: &Subject) {
    for (name, params, arguments) in [
        (
            "fd_write",
            "i32 i32 i32 i32",
            "(i32.const 1) (i32.const -8) (i32.const 0x7fffffff) (i32.const 768)",
        ),
        ("random_get", "i32 i32", "(i32.const 131071) (i32.const -1)"),
        (
            "clock_time_get",
            "i32 i64 i32",
            "(i32.const 0) (i64.const 0) (i32.const -1)",
        ),
    ] {
        let guest = wasi(name, params, "(result i32)")
            .run(&format!("(drop (call $wasi {arguments})) (i32.const 0)"));
        let mut instance = setup(subject, &guest).instance();
        for _ in 0..2 {
            let answer = instance.call(&TestHost::new(), "Probe", json!({}));
            match answer.result {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Abi, "{error}"),
            }
        }
    }
}

/// A call of WASI that would go through more than any guest asks for answers 28 and does nothing.
pub fn wasi_takes_no_more_than_a_call_can_do(subject: &Subject) {
    let asking = |expression: &str| {
        Guest::default()
            .with(
                "imports",
                r#"(import "wasi_snapshot_preview1" "poll_oneoff"
                     (func $poll (param i32 i32 i32 i32) (result i32)))
                   (import "wasi_snapshot_preview1" "random_get"
                     (func $random (param i32 i32) (result i32)))"#,
            )
            .asking(expression)
    };
    let host = TestHost::new();
    for (count, errno) in [(1, 0), (1_024, 0), (1_025, 28), (-1, 28), (0, 28)] {
        let poll = format!(
            "(call $poll (i32.const 40000) (i32.const 90000) (i32.const {count}) (i32.const 768))"
        );
        assert_eq!(number(subject, &asking(&poll), &host), errno, "{count}");
    }
    for (len, errno) in [(32, 0), ((1 << 20) + 1, 28), (-1, 28)] {
        let random = format!("(call $random (i32.const 40000) (i32.const {len}))");
        assert_eq!(number(subject, &asking(&random), &host), errno, "{len}");
    }
}
