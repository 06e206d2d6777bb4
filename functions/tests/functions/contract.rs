//! Functions of our own contract, the same ones on every engine.

use std::sync::{Arc, Mutex};

use contract_guest as _;
use engine_core::foreign::{ForeignFunctions, Purity};
use functions::{ErrorKind, Manager, Value};

use crate::plugin::Plugins;

const FUNCTIONS: &str = "functions = [
    'add(a: i32, b: i32) -> i32',
    'describe(name: text, counts: map[i32], at: {x: f64, y: f64}?, tags: [text]) -> {name: text, total: i64, far: bool?, tags: map[u8]}',
    'maybe(give: bool) -> text?', 'roll() -> [bytes]', 'now() -> i64', 'say(message: text)', 'refuse(message: text) -> i64',
    'crash() -> i64', 'call(name: text, data: bytes) -> bytes',
]";

/// The engines, with the code of each.
const ENGINES: [(&str, &str); 4] = [
    ("wasmtime", "contract.wasm"),
    ("wasmer", "contract.wasm"),
    ("lua", "contract.lua"),
    ("builtin", "contract"),
];

fn plugins(engine: &str, code: &str, manager: Manager) -> Plugins {
    plugins_with(engine, code, manager, "")
}

/// The plugin with more in its configuration.
fn plugins_with(engine: &str, code: &str, manager: Manager, more: &str) -> Plugins {
    let plugins = Plugins::with(manager);
    plugins.file("contract.wasm", include_bytes!("../guests/contract.wasm"));
    plugins.file("contract.lua", include_bytes!("../guests/contract.lua"));
    let waive = match engine {
        "builtin" => "waive = ['memory', 'stack', 'deadline']",
        _ => "",
    };
    plugins
        .add(&format!(
            "name = 'contract'\nengine = '{engine}'\npath = '{code}'\n{FUNCTIONS}\n{waive}\n{more}"
        ))
        .expect("the plugin loads");
    plugins
}

fn map(entries: &[(&str, Value)]) -> Value {
    Value::Map(
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect(),
    )
}

#[test]
fn every_engine_gives_the_same_values() {
    for (engine, code) in ENGINES {
        let plugins = plugins(engine, code, Manager::new());
        let call = |name, args: &[Value]| plugins.manager.execute(name, args);
        let sum = call("add", &[Value::U8(2), Value::I64(-3)]);
        assert_eq!(sum.unwrap(), Value::I32(-1), "{engine}");
        let counts = map(&[("a", Value::I32(1)), ("b", Value::I8(2))]);
        let at = map(&[("y", Value::I32(8)), ("x", Value::F64(9.0))]);
        let tags = Value::List(vec!["one".into(), "four".into()]);
        let described = |far| {
            map(&[
                ("name", "n".into()),
                ("total", Value::I64(3)),
                ("far", far),
                (
                    "tags",
                    map(&[("one", Value::U8(3)), ("four", Value::U8(4))]),
                ),
            ])
        };
        let args = ["n".into(), counts.clone(), at, tags.clone()];
        assert_eq!(
            call("describe", &args).unwrap(),
            described(Value::Bool(true)),
            "{engine}"
        );
        let args = ["n".into(), counts, Value::Null, tags];
        assert_eq!(
            call("describe", &args).unwrap(),
            described(Value::Null),
            "{engine}"
        );
        assert_eq!(call("maybe", &[Value::Bool(true)]).unwrap(), "here".into());
        assert_eq!(call("maybe", &[Value::Bool(false)]).unwrap(), Value::Null);
    }
}

#[test]
fn randomness_is_new_in_every_call_and_time_goes_on() {
    for (engine, code) in ENGINES {
        let plugins = plugins(engine, code, Manager::new());
        let rows = vec![Vec::new(); 4];
        let mut seen = Vec::new();
        for rolled in plugins.manager.execute_batch("roll", rows).unwrap() {
            let Value::List(blocks) = rolled.unwrap() else {
                panic!("no list")
            };
            seen.extend(blocks);
        }
        let Value::List(blocks) = plugins.manager.execute("roll", &[]).unwrap() else {
            panic!("no list")
        };
        seen.extend(blocks);
        for (place, block) in seen.iter().enumerate() {
            assert!(matches!(block, Value::Bytes(bytes) if bytes.len() == 32));
            assert!(!seen[..place].contains(block), "{engine}");
        }
        let Value::I64(now) = plugins.manager.execute("now", &[]).unwrap() else {
            panic!("no time")
        };
        // 2026 in microseconds.
        assert!(now > 1_760_000_000_000_000, "{engine}: {now}");
    }
}

#[test]
fn lines_go_to_the_logger_with_their_place() {
    for (engine, code) in ENGINES {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&lines);
        let manager = Manager::with_logger(move |line| {
            let line = [line.plugin, line.function, line.level, line.message].map(str::to_owned);
            taken.lock().expect("no panic").push(line);
        });
        let plugins = plugins(engine, code, manager);
        let said = plugins.manager.execute("say", &["hello".into()]).unwrap();
        assert_eq!(said, Value::Null);
        assert_eq!(
            *lines.lock().unwrap(),
            [["contract", "say", "warn", "hello"].map(str::to_owned)],
            "{engine}"
        );
    }
}

#[test]
fn a_row_that_fails_leaves_its_neighbours() {
    for (engine, code) in ENGINES {
        let plugins = plugins(engine, code, Manager::new());
        let row = |a: i64| vec![Value::I64(a), Value::I32(1)];
        let rows = vec![
            row(1),
            row(1 << 40),
            row(3),
            vec![Value::Null],
            row(5),
            row(i64::from(i32::MAX)),
        ];
        let results = plugins.manager.execute_batch("add", rows).unwrap();
        let kinds: Vec<_> = results
            .into_iter()
            .map(|result| result.map_err(|error| error.kind()))
            .collect();
        let expected = [
            Ok(Value::I32(2)),
            Err(ErrorKind::BadArgs),
            Ok(Value::I32(4)),
            Err(ErrorKind::BadArgs),
            Ok(Value::I32(6)),
            // The sum is beyond what the function declares.
            Err(ErrorKind::BadIntent),
        ];
        assert_eq!(kinds, expected, "{engine}");
    }
}

#[test]
fn refusals_and_crashes_keep_their_kind() {
    for (engine, code) in ENGINES {
        let plugins = plugins(engine, code, Manager::new());
        let call = |name, args: &[Value]| plugins.manager.execute(name, args).unwrap_err();
        let refused = call("refuse", &["not today".into()]);
        assert_eq!(
            (refused.kind(), refused.message()),
            (ErrorKind::Rejected, "not today"),
            "{engine}"
        );
        let crashed = call("crash", &[]);
        assert_eq!(crashed.kind(), ErrorKind::Trap, "{engine}: {crashed}");
        assert_eq!(crashed.place(), Some("contract/crash"), "{engine}");
        let sum = plugins
            .manager
            .execute("add", &[Value::I32(1), Value::I32(1)]);
        assert_eq!(sum.unwrap(), Value::I32(2), "{engine}");
    }
}

/// The built-in functions, and one that gives its argument twice.
fn functions() -> ForeignFunctions {
    let mut functions = foreign::builtin();
    functions.register("twice", Purity::Impure, |bytes| Ok(bytes.repeat(2)));
    functions
}

#[test]
fn functions_call_what_their_configuration_names() {
    for (engine, code) in ENGINES {
        let manager = Manager::with(|_| (), functions());
        let more = "foreign = ['sha256', 'twice']";
        let plugins = plugins_with(engine, code, manager, more);
        let call = |name: &str, data: &[u8]| {
            let args = [name.into(), Value::Bytes(data.to_vec())];
            plugins.manager.execute("call", &args)
        };
        assert_eq!(
            call("twice", b"ab").unwrap(),
            Value::Bytes(b"abab".to_vec())
        );
        let hash = call("sha256", b"abc").unwrap();
        assert!(matches!(hash, Value::Bytes(hash) if hash[..2] == [0xba, 0x78]));
        let denied = call("uncompress", b"").unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::Denied, "{engine}");
        assert_eq!(call("twice", b"").unwrap(), Value::Bytes(Vec::new()));
    }
}

#[test]
fn foreign_functions_that_are_not_there_are_refused_when_a_plugin_is_added() {
    let plugins = Plugins::with(Manager::with(|_| (), functions()));
    plugins.file("contract.lua", include_bytes!("../guests/contract.lua"));
    let config = format!(
        "name = 'contract'\nengine = 'lua'\npath = 'contract.lua'\n{FUNCTIONS}\nforeign = ['sha265']"
    );
    let error = plugins.add(&config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    let words = "`foreign` names `sha265`, which this program does not have; it has: compress, sha256, twice, uncompress";
    assert_eq!(error.message(), words);
    let plugins = Plugins::new();
    let error = plugins
        .add_bindgen(
            "wasmtime",
            "'add(a: i32, b: i32) -> i32'",
            "foreign = ['sha256']",
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert!(
        error.message().contains("the bindgen wire format"),
        "{error}"
    );
}

#[test]
fn a_function_without_a_signature_is_refused_with_what_to_do() {
    let plugins = Plugins::new();
    plugins.file("contract.lua", include_bytes!("../guests/contract.lua"));
    let error = plugins
        .add("name = 'contract'\nengine = 'lua'\npath = 'contract.lua'\nfunctions = ['add', 'list(all: [i32?])']")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert!(
        error
            .message()
            .contains("function `add`: it needs a signature"),
        "{error}"
    );
    assert!(
        error
            .message()
            .contains("function `list`: elements of a list cannot be null"),
        "{error}"
    );
}
