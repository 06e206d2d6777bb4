//! What older systems of this kind failed at: each a case of its own.

use std::fs;

use engine_core::limits::Limit;
use functions::{ErrorKind, Value};

use crate::plugin::{Plugins, WASM};

/// Memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a number") << 10
}

#[test]
fn a_failing_call_does_not_end_the_process_nor_hurt_its_neighbours() {
    for engine in WASM {
        let plugins = Plugins::new();
        let other = r#"(module (func (export "fine") (result i32) i32.const 7))"#;
        plugins.add_wat(engine, "'fine'", other).unwrap();
        plugins
            .add_bindgen(
                engine,
                "'divide', 'spin', 'many', 'echo_text'",
                "[limits]\ndeadline_ms = 100",
            )
            .unwrap();
        let call = |name, args: &[Value]| plugins.manager.execute(name, args);
        let failures: [(&str, Vec<Value>); 4] = [
            ("divide", vec![Value::I32(1), Value::I32(0)]),
            ("divide", vec![Value::I32(i32::MIN), Value::I32(-1)]),
            ("spin", vec![Value::U64(0)]),
            ("many", vec![Value::U32(1 << 30)]),
        ];
        for (name, args) in &failures {
            let error = call(name, args).unwrap_err();
            assert!(!matches!(error.kind(), ErrorKind::Internal), "{error}");
            assert_eq!(call("fine", &[]).unwrap(), Value::I32(7));
            assert_eq!(call("echo_text", &["x".into()]).unwrap(), "x".into());
        }
    }
}

#[test]
fn a_module_is_instantiated_once_and_not_for_every_call() {
    let counter = r#"(module
        (global $calls (mut i32) (i32.const 0))
        (func (export "count") (result i32)
            global.get $calls i32.const 1 i32.add global.set $calls global.get $calls)
        (func (export "crash") unreachable))"#;
    for engine in WASM {
        let plugins = Plugins::new();
        plugins
            .add_wat(engine, "'count', 'crash'", counter)
            .unwrap();
        let count = || plugins.manager.execute("count", &[]).unwrap();
        assert_eq!(
            [count(), count(), count()],
            [1, 2, 3].map(Value::I32),
            "{engine}"
        );
        // A crash is the end of an instance, and the next call finds a new one.
        assert_eq!(
            plugins.manager.execute("crash", &[]).unwrap_err().kind(),
            ErrorKind::Trap
        );
        assert_eq!(count(), Value::I32(1), "{engine}");
    }
}

#[test]
fn a_fresh_policy_leaves_nothing_behind() {
    let plugins = Plugins::new();
    let counter = r#"(module
        (global $calls (mut i32) (i32.const 0))
        (func (export "count") (result i32)
            global.get $calls i32.const 1 i32.add global.set $calls global.get $calls))"#;
    plugins.file("module.wasm", wat::parse_str(counter).unwrap());
    plugins
        .add("name = 'a'\npath = 'module.wasm'\npolicy = 'fresh'\nfunctions = ['count']")
        .unwrap();
    let count = || plugins.manager.execute("count", &[]).unwrap();
    assert_eq!([count(), count()], [1, 1].map(Value::I32));
}

#[test]
fn failures_leak_no_sandboxes() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins.add_bindgen(engine, "'divide'", "").unwrap();
        let mut local = plugins.manager.local();
        let by_zero = [Value::I32(1), Value::I32(0)];
        let mut fail = |times: u32| {
            for _ in 0..times {
                local.execute("divide", &by_zero).unwrap_err();
            }
        };
        fail(300);
        let before = resident();
        fail(3000);
        let grown = resident().saturating_sub(before);
        // A sandbox that stayed would hold its memory of more than 1 MiB.
        assert!(
            grown < 64 << 20,
            "{engine}: {grown} bytes after 3,000 failures"
        );
    }
}

#[test]
fn texts_come_back() {
    for engine in WASM {
        let plugins = Plugins::new();
        plugins.add_bindgen(engine, "'echo_text'", "").unwrap();
        for text in ["", "a", "two words", "\0 and é and 😀"] {
            assert_eq!(
                plugins
                    .manager
                    .execute("echo_text", &[text.into()])
                    .unwrap(),
                text.into()
            );
        }
        let long = Value::from("x".repeat(1 << 20));
        assert_eq!(
            plugins
                .manager
                .execute("echo_text", std::slice::from_ref(&long))
                .unwrap(),
            long
        );
    }
}

#[test]
fn results_beyond_their_limit_are_refused() {
    let plugins = Plugins::new();
    plugins
        .add_bindgen("wasmtime", "'many'", "[limits]\nresult_bytes = 1000")
        .unwrap();
    let call = |count| plugins.manager.execute("many", &[Value::U32(count)]);
    assert_eq!(call(900).unwrap(), Value::Bytes(vec![7; 900]));
    let limit = ErrorKind::Limit(Limit::ResultBytes);
    assert_eq!(call(1001).unwrap_err().kind(), limit);
}

#[test]
fn a_module_that_logs_as_it_starts_outlives_a_call_that_logged_too_much() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\03\00\00\00hi\n")
        (func $line (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
        (func (export "_initialize") (call $line))
        (func (export "chatter") (loop $again (call $line) (br $again)))
        (func (export "one") (result i32) i32.const 1))"#;
    for engine in WASM {
        for (limit, most) in [(Limit::LogLines, 3), (Limit::LogBytes, 7)] {
            let plugins = Plugins::new();
            plugins.file("module.wasm", wat::parse_str(wat).unwrap());
            let limits = format!("[limits]\n{} = {most}", limit.name());
            plugins
                .add(&format!(
                    "name = 'a'\nengine = '{engine}'\npath = 'module.wasm'\nfunctions = ['chatter', 'one']\n{limits}"
                ))
                .unwrap();
            let call = |name| plugins.manager.execute(name, &[]);
            for _ in 0..2 {
                let error = call("chatter").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Limit(limit), "{engine}: {error}");
                assert_eq!(call("one").unwrap(), Value::I32(1), "{engine}");
            }
        }
    }
}
