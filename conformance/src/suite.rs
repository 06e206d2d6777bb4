//! What the suite's guests are: their storages and foreign functions, and the extensions that each of them offers under the same names.

use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use engine_core::catalog::{Catalog, CommandSchema, StorageId};
use engine_core::foreign::{ForeignFunctions, Purity};
use engine_core::json;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, Verb, Verbs};
use engine_core::schema::Schema;
use engine_core::value::Value;
use serde_json::Value as Json;

/// Every type, required and optional, in lists and in records.
pub const EVERY: &str = "b: bool, i: int, f: float, t: text, y: bytes, \
    ob: bool?, oi: int?, of: float?, ot: text?, oy: bytes?, \
    ints: [int], texts: [text], floats: [float]?, \
    record: {x: float, tags: [bytes], inner: {n: int?}?}?, records: [{a: int, b: text?}]";

/// Every type that a key can have.
pub const KEYED: &str = "b: bool, i: int, f: float, t: text, y: bytes, o: int?";

/// The key of a storage of the common shape, a shelf; its value is `v: text`.
pub const SHELF: &str = "group: text, n: int";

/// The shelves, with what the guests may do with each of them.
///
/// `broken` cannot be read at all, `torn` not to the end, `gate` holds one row that appears when the case says so, and
/// `endless` has no last row.
pub const SHELVES: [(&str, &[Verb]); 8] = [
    ("open", &Verb::ALL),
    ("read_only", &[Verb::Read]),
    ("insert_only", &[Verb::Insert]),
    ("sealed", &[]),
    ("broken", &[Verb::Read]),
    ("torn", &[Verb::Read]),
    ("gate", &[Verb::Read]),
    ("endless", &[Verb::Read]),
];

/// The extensions: name, kind, arguments, result.
///
/// What each of them does is written at its function in the Rust guest.
const EXTENSIONS: [(&str, ExtensionKind, &str, &str); 25] = {
    use ExtensionKind::{Command, Function, Job, Projector, Query, Validator};
    const SHELF_ARGS: &str = "storage: text, group: text, n: int";
    [
        ("Echo", Function, EVERY, EVERY),
        ("Keep", Command, EVERY, ""),
        ("Copy", Command, "from: int, to: int", ""),
        ("Find", Command, KEYED, "n: int?"),
        ("Get", Query, SHELF_ARGS, "v: text?"),
        ("Must", Query, SHELF_ARGS, "v: text"),
        (
            "Write",
            Command,
            "verb: text, storage: text, group: text, n: int, v: text",
            "",
        ),
        (
            "Range",
            Query,
            "storage: text, group: text?",
            "group: text, n: int, v: text",
        ),
        ("Count", Query, "storage: text, group: text?", "rows: int"),
        ("Nest", Query, "depth: int", "visits: int"),
        ("Many", Command, "n: int, bytes: int", ""),
        ("Rows", Query, "n: int, bytes: int", "v: text"),
        ("Reads", Query, "n: int", ""),
        ("Fail", Command, "how: text, catch: bool", "n: int"),
        ("Counter", Function, "", "n: int"),
        ("Log", Command, "lines: int, bytes: int", ""),
        (
            "Context",
            Function,
            "",
            "time: int, command_id: text?, partition: int, offset: int, first: bytes, second: bytes",
        ),
        ("Check", Validator, "", ""),
        ("Project", Projector, "", ""),
        ("Tick", Job, "", ""),
        ("Sneak", Query, "", ""),
        ("Wait", Query, "", "reads: int"),
        ("Retry", Command, "", ""),
        (
            "Ask",
            Query,
            "name: text, argument: bytes, times: int, catch: bool",
            "answer: bytes?, words: text?",
        ),
        ("Spell", Query, SPELL.0, SPELL.1),
    ]
};

/// What the foreign function `spell` takes and gives: the letters of a word so many times, and the note as it is.
pub const SPELL: (&str, &str) = (
    "word: text, times: int, note: {at: float, tags: [bytes]}?",
    "letters: [text], note: {at: float, tags: [bytes]}?",
);

/// The foreign functions of the suite; every extension may call all of them but `sealed`.
pub fn functions() -> ForeignFunctions {
    let mut functions = ForeignFunctions::new();
    let reverse = |bytes: &[u8]| Ok(bytes.iter().rev().copied().collect());
    functions
        .register("reverse", Purity::Pure, reverse)
        .register("sealed", Purity::Pure, reverse)
        .register("repeat", Purity::Pure, |count| {
            let count = std::str::from_utf8(count).ok();
            let count: Option<usize> = count.and_then(|count| count.parse().ok());
            count
                .map(|count| vec![b'x'; count])
                .ok_or_else(|| "no count".to_owned())
        })
        .register("wait", Purity::Impure, |_| {
            thread::sleep(Duration::from_millis(1));
            Ok(Vec::new())
        })
        .register("fail", Purity::Impure, |bytes| {
            Err(format!("{} bytes, a NUL \0 and é", bytes.len()))
        })
        .register("panic", Purity::Impure, |bytes| {
            panic!("{} bytes", bytes.len())
        });
    let (args, result) = (schema(SPELL.0), schema(SPELL.1));
    functions.register_typed("spell", Purity::Pure, args, result, |args| {
        let [Value::Text(word), Value::Int(times), note] = args else {
            return Err("no word".to_owned());
        };
        let times = usize::try_from(*times).map_err(|_| "times is below zero".to_owned())?;
        let letters = word.repeat(times);
        let letters = letters.chars().map(|letter| Value::Text(letter.into()));
        Ok(vec![Value::List(letters.collect()), note.clone()])
    });
    functions
}

/// The storages and foreign functions of the suite, and its one command with typed arguments, `Order`.
pub fn catalog() -> &'static Arc<Catalog> {
    static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
        let mut catalog = Catalog::default();
        for (name, _) in SHELVES {
            add(&mut catalog, name, SHELF, "v: text");
        }
        add(&mut catalog, "every", "id: int", EVERY);
        add(&mut catalog, "keyed", KEYED, "n: int");
        let order = CommandSchema {
            args: schema("item: text, count: int"),
            result: schema("total: int"),
        };
        catalog.add_command("Order", order);
        catalog.set_foreign(functions());
        Arc::new(catalog)
    });
    &CATALOG
}

fn add(catalog: &mut Catalog, name: &str, key: &str, value: &str) {
    let added = catalog.add(name, schema(key), schema(value));
    added.expect("a storage of the suite");
}

/// The storage of this name.
pub fn storage(name: &str) -> StorageId {
    catalog().id(name).expect("a storage of the suite")
}

/// Every extension of the suite.
pub fn extensions() -> Vec<ExtensionDecl> {
    let declare = |(name, kind, args, result)| declare(name, kind, args, result);
    EXTENSIONS.into_iter().map(declare).collect()
}

/// Declares an extension with the access that all extensions of the suite have, but for queries, functions and
/// validators, which only read.
pub fn declare(name: &str, kind: ExtensionKind, args: &str, result: &str) -> ExtensionDecl {
    let reads_only = |verbs: Verbs| {
        let read = Verbs::NONE.with(Verb::Read);
        if verbs.has(Verb::Read) {
            read
        } else {
            Verbs::NONE
        }
    };
    let mut access: Vec<(StorageId, Verbs)> = SHELVES
        .iter()
        .map(|(name, verbs)| (storage(name), verbs.iter().copied().collect()))
        .collect();
    let all: Verbs = Verb::ALL.into_iter().collect();
    access.extend([(storage("every"), all), (storage("keyed"), all)]);
    if !kind.may_write() {
        for (_, verbs) in &mut access {
            *verbs = reads_only(*verbs);
        }
    }
    let functions = catalog().foreign();
    let open = functions.names().filter(|name| *name != "sealed");
    ExtensionDecl::new(name, kind, schema(args), schema(result), catalog(), access)
        .calling(open.filter_map(|name| functions.id(name)))
}

/// Reads a schema of the suite.
pub fn schema(text: &str) -> Schema {
    Schema::parse(text).expect("a schema of the suite")
}

/// Reads a row of a schema from a JSON object.
pub fn row(object: &Json, schema: &Schema) -> Vec<Value> {
    json::row_from_json(object, schema).expect("a row of the suite")
}
