//! Engine against engine: the same random invocations give the same intents, results, errors and counts on all four.
//!
//! The invocations are random but the same in every run.

use std::cell::RefCell;

use conformance::Subject;
use conformance::cases::types::{FLOATS, INTS};
use conformance::host::TestHost;
use conformance::subject::{Instance, Write};
use conformance::suite;
use engine_builtin::BuiltinFactory;
use engine_core::error::{Error, ErrorKind};
use engine_core::factory::ExtEngineFactory;
use engine_core::manifest::Policy;
use engine_core::schema::{Field, Schema, Type};
use engine_core::value::Value;
use engine_lua::LuaFactory;
use engine_wasm_wasmer::WasmerFactory;
use engine_wasm_wasmtime::WasmtimeFactory;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
// Links the suite's native guest in.
use ::suite as _;

const ENGINES: [&dyn ExtEngineFactory; 4] = [
    &WasmtimeFactory,
    &WasmerFactory,
    &LuaFactory,
    &BuiltinFactory,
];

/// How many random states are made, each with a few invocations.
const STATES: u32 = 96;

fn any_value(ty: &Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int => prop_oneof![select(&INTS[..]), any::<i64>(), -3..3_i64]
            .prop_map(Value::Int)
            .boxed(),
        Type::Float => prop_oneof![
            select(&FLOATS[..]),
            any::<f64>(),
            Just(f64::NAN),
            (-9..9_i32).prop_map(f64::from)
        ]
        .prop_map(Value::Float)
        .boxed(),
        Type::Text => text().prop_map(Value::Text).boxed(),
        Type::Bytes => prop_oneof![
            Just(vec![]),
            proptest::collection::vec(any::<u8>(), 0..40),
            (0..300_usize).prop_map(|len| vec![0xff; len]),
        ]
        .prop_map(Value::Bytes)
        .boxed(),
        Type::List(ty) => proptest::collection::vec(any_value(ty), 0..20)
            .prop_map(Value::List)
            .boxed(),
        Type::Record(schema) => any_row(schema).prop_map(Value::List).boxed(),
        Type::CommandArgs | Type::CommandResult => Just(Value::List(Vec::new())).boxed(),
    }
}

fn any_field(field: &Field) -> BoxedStrategy<Value> {
    let value = any_value(&field.ty);
    if field.optional {
        prop_oneof![Just(Value::Null), value].boxed()
    } else {
        value
    }
}

fn any_row(schema: &Schema) -> BoxedStrategy<Vec<Value>> {
    let fields: Vec<_> = schema.fields().iter().map(any_field).collect();
    fields.boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        Just("\0".to_owned()),
        "[a-c\0é🦀]{0,6}",
        ".{0,40}",
        (0..70_000_usize).prop_map(|len| "x".repeat(len)),
    ]
    .boxed()
}

/// One of few, so that reads find rows.
fn group() -> BoxedStrategy<String> {
    select(&["", "a", "a\0", "b", "nest"][..])
        .prop_map(str::to_owned)
        .boxed()
}

fn storage() -> BoxedStrategy<String> {
    let names = [
        "open",
        "read_only",
        "insert_only",
        "sealed",
        "broken",
        "torn",
        "ghost",
        "sys.random",
        "sys.event",
    ];
    select(names.to_vec()).prop_map(str::to_owned).boxed()
}

/// The state, and the event that validators and projectors see.
#[derive(Clone, Debug)]
struct State {
    rows: Vec<(&'static str, Vec<Value>, Vec<Value>)>,
    event: (String, i64, Vec<i64>),
    seed: u8,
}

impl State {
    fn host(&self) -> TestHost {
        let (item, count, totals) = &self.event;
        let args = vec![Value::Text(item.clone()), Value::Int(*count)];
        let totals = totals.iter().map(|n| Value::List(vec![Value::Int(*n)]));
        let host = TestHost::new()
            .seed(self.seed)
            .event("Order", args, totals.collect());
        self.rows.iter().fold(host, |host, (storage, key, value)| {
            host.values(storage, key, value)
        })
    }
}

fn any_state() -> impl Strategy<Value = State> {
    let every = suite::schema(suite::EVERY);
    let shelf = (
        select(&["open", "read_only", "insert_only", "torn"][..]),
        group(),
        -2..4_i64,
        text(),
    )
        .prop_map(|(storage, group, n, v)| {
            (
                storage,
                vec![Value::Text(group), Value::Int(n)],
                vec![Value::Text(v)],
            )
        });
    let rows =
        (-2..3_i64, any_row(&every)).prop_map(|(id, row)| ("every", vec![Value::Int(id)], row));
    let event = (
        prop_oneof![Just("answer".to_owned()), text()],
        -1..3_i64,
        proptest::collection::vec(any::<i64>(), 0..4),
    );
    (
        proptest::collection::vec(shelf, 0..30),
        proptest::collection::vec(rows, 0..3),
        event,
        any::<u8>(),
    )
        .prop_map(|(mut rows, every, event, seed)| {
            rows.extend(every);
            State { rows, event, seed }
        })
}

/// An extension with its arguments.
type Step = (&'static str, Vec<Value>);

const WAYS: [&str; 18] = [
    "nothing",
    "reject",
    "faulty_then_reject",
    "crash",
    "must_exist",
    "bad_key",
    "bad_prefix",
    "io",
    "io_range",
    "denied_get",
    "denied_range",
    "unknown_storage",
    "reads",
    "denied_write",
    "denied_misfit",
    "bad_value",
    "bad_write_key",
    "bad_result",
];

fn any_step() -> impl Strategy<Value = Step> {
    let every = any_row(&suite::schema(suite::EVERY));
    let keyed = any_row(&suite::schema(suite::KEYED));
    let int = |range: std::ops::Range<i64>| range.prop_map(Value::Int);
    let name = |texts: BoxedStrategy<String>| texts.prop_map(Value::Text);
    let shelf = || (name(storage()), name(group()), int(-2..4));
    let range = || {
        let group = prop_oneof![Just(Value::Null), name(group())];
        (name(storage()), group).prop_map(|(storage, group)| vec![storage, group])
    };
    let verb = select(&["insert", "update", "put", "delete"][..]).prop_map(str::to_owned);
    let functions = select(&["reverse", "fail", "repeat", "panic", "sealed", "ghost"][..]);
    let foreign = (
        functions,
        any_value(&Type::Bytes),
        int(-1..4),
        any::<bool>(),
    );
    let foreign = foreign.prop_map(|(name, argument, times, catch)| {
        vec![
            Value::Text(name.into()),
            argument,
            times,
            Value::Bool(catch),
        ]
    });
    let mut spell = suite::schema(suite::SPELL.0).fields().to_vec();
    spell.remove(1);
    let spell = (any_row(&Schema::new(spell).expect("fields")), int(-2..9));
    let spell = spell.prop_map(|(mut row, times)| {
        row.insert(1, times);
        row
    });
    let plain = select(&["Context", "Check", "Project", "Tick", "Sneak"][..]);
    prop_oneof![
        every.clone().prop_map(|row| ("Echo", row)),
        every.prop_map(|row| ("Keep", row)),
        keyed.prop_map(|row| ("Find", row)),
        (int(-3..3), int(-3..3)).prop_map(|(from, to)| ("Copy", vec![from, to])),
        shelf().prop_map(|(storage, group, n)| ("Get", vec![storage, group, n])),
        shelf().prop_map(|(storage, group, n)| ("Must", vec![storage, group, n])),
        (name(verb.boxed()), shelf(), name(text())).prop_map(|(verb, (storage, group, n), v)| {
            ("Write", vec![verb, storage, group, n, v])
        }),
        range().prop_map(|args| ("Range", args)),
        range().prop_map(|args| ("Count", args)),
        int(0..6).prop_map(|depth| ("Nest", vec![depth])),
        (int(0..40), int(0..300)).prop_map(|(n, bytes)| ("Many", vec![n, bytes])),
        (int(0..40), int(0..300)).prop_map(|(n, bytes)| ("Rows", vec![n, bytes])),
        (int(0..5), int(0..300)).prop_map(|(n, bytes)| ("Log", vec![n, bytes])),
        (select(&WAYS[..]), any::<bool>())
            // Whether a guest survives its own crash is a matter of its language.
            .prop_filter("a crash is not caught", |(how, catch)| *how != "crash"
                || !catch)
            .prop_map(|(how, catch)| ("Fail", vec![Value::Text(how.into()), Value::Bool(catch)])),
        foreign.prop_map(|args| ("Ask", args)),
        spell.prop_map(|row| ("Spell", row)),
        plain.prop_map(|name| (name, Vec::new())),
    ]
}

/// Everything that has to be alike.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: Option<ErrorKind>,
    rejection: Option<String>,
    intents: Vec<Write>,
    results: Vec<Vec<u8>>,
    log: Vec<(String, String)>,
    /// Reads and calls of foreign functions; of what ends in order also rows and bytes read, and bytes called with; of what ends well also intents, their bytes, bytes of results, lines and bytes of log.
    counts: Vec<u64>,
}

fn see(instance: &mut Instance, state: &State, (extension, args): &Step) -> Seen {
    let host = state.host();
    let answer = instance.call_with(&host, extension, args);
    let ledger = answer.ledger;
    let mut counts = vec![ledger.host_reads, ledger.foreign_calls];
    let kind = answer.result.as_ref().err().map(Error::kind);
    // A WASM guest takes rows ahead, so one that is ended within a range read has read more of them.
    if kind.is_none_or(ErrorKind::leaves_instance_usable) {
        counts.extend([ledger.rows_read, ledger.bytes_read, ledger.foreign_bytes]);
    }
    if kind.is_none() {
        counts.extend([
            ledger.intents,
            ledger.intent_bytes,
            ledger.result_bytes,
            ledger.log_lines,
            ledger.log_bytes,
        ]);
    }
    // A guest that crashes has handed nothing over, its log lines neither; others may have logged at once.
    let log = match kind {
        None | Some(ErrorKind::Rejected) => host.log_lines(),
        _ => Vec::new(),
    };
    let rejected = answer.result.err();
    let rejected = rejected.filter(|error| error.kind() == ErrorKind::Rejected);
    Seen {
        kind,
        rejection: rejected.map(|error| error.message().to_owned()),
        intents: answer.intents,
        results: answer.results,
        log,
        counts,
    }
}

fn all_engines_agree(policy: Policy) {
    let instances: Vec<_> = ENGINES
        .into_iter()
        .map(|factory| {
            let package = Subject::new(factory).package().policy(policy);
            (factory.name(), RefCell::new(package.instance()))
        })
        .collect();
    let config = Config {
        cases: STATES,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let input = (any_state(), proptest::collection::vec(any_step(), 1..12));
    let run = TestRunner::new_with_rng(config, rng).run(&input, |(state, steps)| {
        for step in &steps {
            let mut first = None;
            for (engine, instance) in &instances {
                let seen = see(&mut instance.borrow_mut(), &state, step);
                match &first {
                    None => first = Some((engine, seen)),
                    Some((other, expected)) => {
                        prop_assert_eq!(&seen, expected, "{} and {} on {:?}", engine, other, step);
                    }
                }
            }
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

#[test]
fn all_engines_agree_under_keep() {
    all_engines_agree(Policy::Keep);
}

#[test]
fn all_engines_agree_under_fresh() {
    all_engines_agree(Policy::Fresh);
}
