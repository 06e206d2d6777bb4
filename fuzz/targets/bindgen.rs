//! Values on their way to functions and back, in the bindgen wire format and as plain numbers: whatever a module answers is
//! a value or a refusal; what an honest one echoes is what it was given, and all of it was freed once.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine_core::error::Result;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::Policy;
use engine_wasm_abi::engine::WasmEngine;
use functions::{Abi, ErrorKind, Function, PluginConfig, Type, Value, call_on};
use fuzz::input::Input;
use fuzz::module::{Named, module, signature};
use fuzz::runtime::{Behaviour, Inside, Scripted};
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;

/// What functions of the wire format are declared as.
const FUNCTIONS: [&str; 5] = [
    "any",
    "text(a: text, b: i32?) -> text",
    "list(a: [i16]) -> [i16]",
    "bytes() -> bytes",
    "nothing(a: f64)",
];

/// Plain functions that answer what they are given.
const PLAIN: [(&str, &str); 12] = [
    ("p_bool(x: bool) -> bool", "i:i"),
    ("p_char(x: char) -> char", "i:i"),
    ("p_i8(x: i8) -> i8", "i:i"),
    ("p_i16(x: i16) -> i16", "i:i"),
    ("p_i32(x: i32) -> i32", "i:i"),
    ("p_i64(x: i64) -> i64", "I:I"),
    ("p_u8(x: u8) -> u8", "i:i"),
    ("p_u16(x: u16) -> u16", "i:i"),
    ("p_u32(x: u32) -> u32", "i:i"),
    ("p_u64(x: u64) -> u64", "I:I"),
    ("p_f32(x: f32) -> f32", "f:f"),
    ("p_f64(x: f64) -> f64", "F:F"),
];

/// The functions' names alone.
fn name(declared: &str) -> &str {
    declared.split('(').next().unwrap_or_default()
}

static BINDGEN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let own: [Named; 3] = [("allocate", "i:i"), ("deallocate", "ii:"), ("echo", "ii:i")];
    let functions = FUNCTIONS.iter().map(|declared| (name(declared), "ii:i"));
    module(
        [],
        own.into_iter()
            .chain(functions)
            .map(|(name, sig)| (name, signature(sig))),
    )
});
static NUMBERS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    module(
        [],
        PLAIN
            .iter()
            .map(|(declared, sig)| (name(declared), signature(sig))),
    )
});

fn config(functions: &[&str]) -> PluginConfig {
    let functions = functions
        .iter()
        .map(|text| Function::parse(text).expect("a function"));
    PluginConfig {
        name: "plugin".into(),
        version: None,
        instance_num: 1,
        engine: "scripted".into(),
        path: PathBuf::new(),
        abi: None,
        functions: functions.collect(),
        limits: Limits {
            deadline_ms: 1_000_000_000,
            result_bytes: 1 << 14,
            ..Limits::default()
        },
        waive: Vec::new(),
        policy: Policy::Keep,
        foreign: Vec::new(),
        timeout: Duration::ZERO,
        queue: 1,
        notices: Vec::new(),
    }
}

/// A value; of the kinds that a list of the wire format may have where it is `narrow`.
fn value(input: &mut Input<'_>, narrow: bool) -> Value {
    let wide = |input: &mut Input<'_>| match input.flag() {
        true => input.wide(),
        false => u64::from(input.byte()),
    };
    match input.below(if narrow { 7 } else { 16 }) {
        0 => Value::I8(input.byte() as i8),
        1 => Value::I16(wide(input) as i16),
        2 => Value::I32(wide(input) as i32),
        3 => Value::I64(wide(input) as i64),
        4 => Value::U16(wide(input) as u16),
        5 => Value::U32(wide(input) as u32),
        6 => Value::U64(wide(input)),
        7 => Value::U8(input.byte()),
        8 => Value::F32(f32::from_bits(wide(input) as u32)),
        9 => Value::F64(f64::from_bits(wide(input))),
        10 => Value::Bool(input.flag()),
        11 => Value::Char(char::from_u32(wide(input) as u32).unwrap_or('é')),
        12 => Value::Text(String::from_utf8_lossy(input.bytes()).into_owned()),
        13 => Value::Bytes(input.bytes().to_vec()),
        14 => {
            let first = value(input, true);
            Value::List(vec![first; 1 + input.below(4)])
        }
        _ => Value::Null,
    }
}

/// A value's code on the wire and the bytes of one element; none where the wire has nothing for it.
fn code(value: &Value) -> Option<(u32, u32)> {
    Some(match value {
        Value::U8(_) => (1, 1),
        Value::I8(_) => (2, 1),
        Value::U16(_) => (3, 2),
        Value::I16(_) => (4, 2),
        Value::U32(_) => (5, 4),
        Value::I32(_) => (6, 4),
        Value::U64(_) => (7, 8),
        Value::I64(_) => (8, 8),
        Value::F32(_) => (9, 4),
        Value::F64(_) => (10, 8),
        Value::Bool(_) => (11, 1),
        Value::Char(_) => (12, 4),
        Value::Text(_) => (31, 1),
        Value::Bytes(_) => (21, 1),
        Value::List(list) => {
            let (code, size) = code(list.first()?)?;
            (20 + code, size)
        }
        Value::Null | Value::Map(_) => return None,
    })
}

/// A value, with floats by their bits.
fn exact(value: &Value) -> String {
    match value {
        Value::F32(number) => format!("F32 {:x}", number.to_bits()),
        Value::F64(number) => format!("F64 {:x}", number.to_bits()),
        Value::List(list) => list.iter().map(exact).collect(),
        other => format!("{other:?}"),
    }
}

/// An honest module: it answers its arguments, and knows what of its memory is in use.
#[derive(Debug, Default)]
struct Echo(Mutex<Heap>);

#[derive(Debug, Default)]
struct Heap {
    /// The types of the arguments.
    codes: Vec<(u32, u32)>,
    blocks: BTreeMap<u32, u32>,
    end: u32,
}

impl Heap {
    fn allocate(&mut self, guest: &mut dyn Inside, len: u32) -> u32 {
        guest.grow(len as usize);
        let at = self.end;
        self.end += len;
        if len > 0 {
            self.blocks.insert(at, len);
        }
        at
    }
}

impl Echo {
    fn heap(&self) -> MutexGuard<'_, Heap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(memory: &[u8], at: u32) -> u32 {
    let bytes = memory[at as usize..].first_chunk();
    u32::from_le_bytes(*bytes.expect("four bytes"))
}

impl Behaviour for Echo {
    fn call(&self, export: &str, places: &mut [u64], guest: &mut dyn Inside) -> Result<()> {
        let heap = &mut *self.heap();
        match export {
            "allocate" => places[0] = heap.allocate(guest, places[0] as u32).into(),
            "deallocate" => {
                let freed = heap.blocks.remove(&(places[0] as u32));
                assert_eq!(freed, Some(places[1] as u32), "at {}", places[0]);
            }
            "echo" => {
                let (list, count) = (places[0] as u32, places[1] as u32);
                assert_eq!(count as usize, heap.codes.len());
                let mut entries = Vec::new();
                for (place, (code, size)) in (0..).zip(heap.codes.clone()) {
                    let at = number(guest.memory(), list + 8 * place);
                    let elements = number(guest.memory(), list + 8 * place + 4);
                    entries.extend([at, code, elements * size].map(u32::to_le_bytes).concat());
                }
                let at = heap.allocate(guest, entries.len() as u32);
                guest.write(at, &entries);
                let head = heap.allocate(guest, 9);
                guest.write(head + 1, &[at, count].map(u32::to_le_bytes).concat());
                places[0] = head.into();
            }
            _ => {}
        }
        Ok(())
    }
}

fn words() -> Vec<Vec<u8>> {
    let numbers = |numbers: &[u32]| {
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let head = |flag: u8, at: u32, count: u32| [vec![flag], numbers(&[at, count])].concat();
    let mut words = vec![
        head(0, 64, 1),
        head(0, 64, 2),
        head(1, 128, 4),
        head(0, 0, 0),
        b"word".to_vec(),
    ];
    for code in [1, 4, 6, 9, 10, 11, 12, 21, 24, 28, 31, 99] {
        words.push(numbers(&[128, code, 4, 128, code, 8]));
    }
    words
}

static SCRIPT: LazyLock<Arc<Script>> = LazyLock::new(|| Arc::new(Script::new(words())));
static SCRIPTED: LazyLock<WasmEngine<Scripted>> =
    LazyLock::new(|| Scripted::engine(SCRIPT.clone()));
static ECHO: LazyLock<Arc<Echo>> = LazyLock::new(Arc::default);
static ECHOING: LazyLock<WasmEngine<Scripted>> = LazyLock::new(|| Scripted::engine(ECHO.clone()));

/// A module that answers what the fuzzer likes.
fn hostile(input: &mut Input<'_>) {
    let calls: [_; 4] = std::array::from_fn(|_| {
        let function = input.below(FUNCTIONS.len());
        let fitting = match function {
            1 => vec![Value::from("a text"), Value::Null],
            2 => vec![Value::List(vec![Value::I16(-2); 3])],
            4 => vec![Value::F64(1.5)],
            _ => Vec::new(),
        };
        match input.flag() {
            true => (function, fitting),
            false => (
                function,
                (0..input.below(3)).map(|_| value(input, false)).collect(),
            ),
        }
    });
    SCRIPT.play(input.rest());
    let called = call_on(
        &SCRIPTED,
        &config(&FUNCTIONS),
        Abi::Bindgen,
        &BINDGEN,
        &calls,
    );
    // One that fails to start answers nothing.
    for (result, (function, _)) in called.iter().flatten().zip(&calls) {
        match result {
            Ok(result) => {
                let declared = Function::parse(FUNCTIONS[*function]).expect("a function");
                match declared.signature.map(|signature| signature.result) {
                    Some(Some(ty)) => {
                        assert_eq!(exact(&ty.take(result).expect("a fit")), exact(result))
                    }
                    Some(None) => assert_eq!(*result, Value::Null),
                    None => {}
                }
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::Abi
                        | ErrorKind::Rejected
                        | ErrorKind::BadArgs
                        | ErrorKind::BadIntent
                        | ErrorKind::Trap
                        | ErrorKind::Limit(
                            Limit::ResultBytes | Limit::Stack | Limit::LogLines | Limit::LogBytes
                        )
                ),
                "{error}"
            ),
        }
    }
}

/// A module that answers its arguments.
fn honest(input: &mut Input<'_>) {
    let args: Vec<_> = (0..1 + input.below(3))
        .map(|_| value(input, false))
        .collect();
    let codes: Option<Vec<_>> = args.iter().map(code).collect();
    *ECHO.heap() = Heap {
        codes: codes.clone().unwrap_or_default(),
        end: 8,
        ..Heap::default()
    };
    let call = [(0, args.clone())];
    let called = call_on(&ECHOING, &config(&["echo"]), Abi::Bindgen, &BINDGEN, &call);
    let result = &called.expect("it starts")[0];
    match (codes, result) {
        (None, result) => assert_eq!(
            result.as_ref().map_err(|e| e.kind()),
            Err(ErrorKind::BadArgs)
        ),
        (Some(_), Ok(result)) => {
            let wanted = match &args[..] {
                [one] => exact(one),
                many => many.iter().map(exact).collect(),
            };
            assert_eq!(exact(result), wanted);
            assert!(
                ECHO.heap().blocks.is_empty(),
                "{:?} was not freed",
                ECHO.heap().blocks
            );
        }
        (Some(_), Err(error)) => panic!("{error}"),
    }
}

/// A function of numbers that answers its argument.
fn plain(input: &mut Input<'_>) {
    let function = input.below(PLAIN.len());
    let given = value(input, false);
    let declared = PLAIN.map(|(declared, _)| declared);
    let call = [(function, vec![given.clone()])];
    let called = call_on(&ECHOING, &config(&declared), Abi::Plain, &NUMBERS, &call);
    let result = &called.expect("it starts")[0];
    let ty: Type = Function::parse(declared[function])
        .ok()
        .and_then(|function| function.signature?.result)
        .expect("a result");
    match ty.take(&given) {
        Ok(taken) => assert_eq!(exact(result.as_ref().expect("a fit")), exact(&taken)),
        Err(_) => assert_eq!(
            result.as_ref().map_err(|e| e.kind()),
            Err(ErrorKind::BadArgs)
        ),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => honest(&mut input),
        1 => plain(&mut input),
        _ => hostile(&mut input),
    }
});
