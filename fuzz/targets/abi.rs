//! What guests of ABI 1.0 and 1.1 ask of their host, and what they hand over: a run that ends well asked for nothing but
//! what its manifest allows, in its one encoding and within its limits; one that fails leaves nothing.
#![no_main]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, LazyLock};

use engine_core::catalog::{Catalog, StorageId};
use engine_core::engine::{Code, ExtEngine, Invocation, Outcome, PackageSource};
use engine_core::error::{ErrorKind, Result};
use engine_core::foreign::{ForeignFunction, ForeignFunctions, ForeignId, Purity};
use engine_core::host::{Host, TakeRow};
use engine_core::intent::Intents;
use engine_core::key::{self, Extent};
use engine_core::limits::Limits;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb, Verbs};
use engine_core::schema::Schema;
use engine_core::value::{self, Value};
use engine_wasm_abi::engine::WasmEngine;
use fuzz::input::Input;
use fuzz::module::{Named, module, signature};
use fuzz::runtime::Scripted;
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;

const IMPORTS_1_0: [Named; 2] = [("HostGetElem", "ii:i"), ("HostReadElems", "ii:i")];

const EXPORTS_1_0: [Named; 8] = [
    ("_initialize", ":"),
    ("WasmAbiVersion_1_0", ":"),
    ("WasmInit", ":"),
    ("WasmFinit", ":"),
    ("WasmRun", "iii:i"),
    ("WasmMalloc", "i:i"),
    ("WasmReset", ":"),
    ("WasmOnRead", "iii:"),
];

const IMPORTS_1_1: [Named; 9] = [
    ("HostStorage", "ii:i"),
    ("HostGet", "iiiii:i"),
    ("HostTake", "ii:i"),
    ("HostScan", "iii:i"),
    ("HostRows", "iii:i"),
    ("HostClose", "i:"),
    ("HostNext", "i:I"),
    ("HostForeign", "ii:i"),
    ("HostCall", "iiiii:i"),
];

const EXPORTS_1_1: [Named; 9] = [
    ("_initialize", ":"),
    ("WasmAbiVersion_1_1", ":"),
    ("WasmInit", ":"),
    ("WasmFinit", ":"),
    ("WasmExchange", ":i"),
    ("WasmReserve", "i:"),
    ("WasmResolve", "ii:i"),
    ("WasmInvoke", "ii:i"),
    ("WasmBatch", "ii:"),
];

/// How many invocations one input may have.
const INVOCATIONS: usize = 6;

static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let schema = |text| Schema::parse(text).expect("a schema");
    let mut catalog = Catalog::default();
    for (name, key, value) in [
        ("row", "id: int", "n: int"),
        ("note", "of: text, at: int", "text: text?, tags: [text]"),
        ("raw", "k: bytes", "v: bytes"),
    ] {
        let added = catalog.add(name, schema(key), schema(value));
        added.expect("a storage");
    }
    let mut foreign = ForeignFunctions::new();
    foreign
        .register("reverse", Purity::Pure, |bytes| {
            Ok(bytes.iter().rev().copied().collect())
        })
        .register("fail", Purity::Impure, |_| Err("on purpose".to_owned()))
        .register_typed(
            "half",
            Purity::Pure,
            schema("n: int"),
            schema("n: int"),
            |args| match args {
                [Value::Int(n)] => Ok(vec![Value::Int(n / 2)]),
                _ => Err("no int".to_owned()),
            },
        );
    catalog.set_foreign(foreign);
    Arc::new(catalog)
});

/// Tight, so that each of them is met.
fn limits() -> Limits {
    Limits {
        deadline_ms: 1_000_000_000,
        host_reads: 24,
        rows_read: 40,
        bytes_read: 2048,
        intents: 6,
        intent_bytes: 96,
        result_bytes: 48,
        log_lines: 6,
        log_bytes: 96,
        foreign_calls: 6,
        foreign_bytes: 256,
        ..Limits::default()
    }
}

fn manifest(policy: Policy) -> Arc<PackageManifest> {
    let catalog = &*CATALOG;
    let schema = |text| Schema::parse(text).expect("a schema");
    let all: Verbs = Verb::ALL.into_iter().collect();
    let decl = |kind: ExtensionKind| {
        let reads = Verbs::NONE.with(Verb::Read);
        let access = match kind.may_write() {
            true => vec![
                ("row", all),
                ("note", reads.with(Verb::Put)),
                ("raw", reads.with(Verb::Delete)),
            ],
            false => vec![("row", reads), ("note", reads)],
        };
        let access = access
            .into_iter()
            .map(|(name, verbs)| (catalog.id(name).expect("a storage"), verbs));
        let (args, result) = (schema("n: int"), schema("n: int, of: text?"));
        let decl = ExtensionDecl::new(kind.name(), kind, args, result, catalog, access);
        decl.calling([0, 1].map(ForeignId))
    };
    Arc::new(PackageManifest {
        name: "package".into(),
        catalog: Arc::clone(catalog),
        extensions: ExtensionKind::ALL.map(decl).into(),
        limits: limits(),
        policy,
        waived: Vec::new(),
    })
}

/// What the state has.
static ROWS: LazyLock<BTreeMap<(StorageId, Vec<u8>), Vec<u8>>> = LazyLock::new(|| {
    let text = |text: &str| Value::Text(text.into());
    let mut rows = BTreeMap::new();
    let mut add = |storage: &str, key: &[Value], row: &[Value]| {
        let storage = CATALOG.id(storage).expect("a storage");
        rows.insert(
            (storage, key::encode(key).expect("a key")),
            value::encode(row),
        );
    };
    let event = [
        text("command"),
        Value::List(vec![Value::Int(7)]),
        Value::List(Vec::new()),
    ];
    add("sys.event", &[], &event);
    add(
        "sys.context",
        &[],
        &[
            Value::Int(1 << 50),
            text("id"),
            Value::Int(0),
            Value::Int(9),
        ],
    );
    add("sys.random", &[Value::Int(0)], &[Value::Bytes(vec![7; 32])]);
    for id in 0..5 {
        add("row", &[Value::Int(id)], &[Value::Int(id << (12 * id))]);
        add(
            "note",
            &[text("a"), Value::Int(id)],
            &[Value::Null, Value::List(vec![text("tag")])],
        );
    }
    add(
        "raw",
        &[Value::Bytes(vec![0, 255])],
        &[Value::Bytes(vec![3; 400])],
    );
    rows
});

/// The state, and what an invocation may ask of it.
struct World {
    /// Whether an invocation is running.
    running: Cell<bool>,
    /// The bytes of each line.
    logged: RefCell<Vec<usize>>,
}

impl World {
    fn asked(&self) {
        assert!(self.running.get(), "asked for an invocation that has ended");
    }
}

impl Host for World {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        self.asked();
        let declared = &CATALOG.storage(storage).key;
        assert!(declared.check_key(key, Extent::Full).is_ok(), "{key:?}");
        let row = ROWS.get(&(storage, key.to_vec()));
        // There are random bytes for each index, and more than the stub takes at a time.
        let random =
            (storage == StorageId::RANDOM).then(|| value::encode(&[Value::Bytes(vec![5; 33])]));
        let found = row.or(random.as_ref());
        value.extend(found.into_iter().flatten());
        Ok(found.is_some())
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        self.asked();
        let declared = &CATALOG.storage(storage).key;
        assert!(
            declared.check_key(prefix, Extent::Prefix).is_ok(),
            "{prefix:?}"
        );
        let start = match after {
            Some(after) => Bound::Excluded((storage, after.to_vec())),
            None => Bound::Included((storage, prefix.to_vec())),
        };
        let rows = ROWS.range((start, Bound::Unbounded));
        for ((_, key), value) in
            rows.take_while(|((of, key), _)| *of == storage && key.starts_with(prefix))
        {
            if !take(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        self.asked();
        self.logged.borrow_mut().push(level.len() + message.len());
    }

    fn call(&self, function: &ForeignFunction, argument: &[u8]) -> Result<Vec<u8>> {
        self.asked();
        function.call(argument)
    }
}

/// Blocks and names that mean something to the host, so that the fuzzer need not find them byte by byte.
fn words() -> Vec<Vec<u8>> {
    let block = |numbers: &[usize], parts: &[&[u8]]| -> Vec<u8> {
        let numbers = numbers
            .iter()
            .flat_map(|number| (*number as u32).to_le_bytes());
        numbers.chain(parts.concat()).collect()
    };
    let mut words: Vec<Vec<u8>> = Vec::new();
    let names = [
        "row",
        "note",
        "raw",
        "sys.log",
        "sys.context",
        "reverse",
        "fail",
        "half",
        "?",
    ];
    words.extend(names.map(|name| name.as_bytes().to_vec()));
    let int = |n: i64| key::encode(&[Value::Int(n)]).expect("a key");
    let log = value::encode(&[
        Value::Text("info".into()),
        Value::Text("twelve bytes".into()),
    ]);
    let row = value::encode(&[Value::Int(300)]);
    let result = value::encode(&[Value::Int(1), Value::Null]);
    words.extend([int(3), row.clone(), result.clone(), vec![2, b'a', 0]]);
    // Key blocks of 1.0: one row, a range, and one that is no key.
    for (name, key) in [
        ("row", &int(2)[..]),
        ("row", b""),
        ("note", b"\x02a\0"),
        ("raw", b"\x01\0\xff\xff\0"),
        ("row", b"\x15"),
    ] {
        words.push(block(&[name.len(), key.len()], &[name.as_bytes(), key]));
    }
    // Records of 1.0, and of 1.1 with the numbers of storages.
    for (op, name, key, value) in [
        (0, "", &b""[..], &result[..]),
        (1, "row", &int(9), &row),
        (1, "sys.log", b"", &log),
        (3, "note", b"\x02b\0\x15\x01", b"\x92\xc0\x90"),
        (4, "raw", b"\x01k\0", b""),
    ] {
        words.push(block(
            &[op, name.len(), key.len(), value.len()],
            &[name.as_bytes(), key, value],
        ));
        let number = CATALOG.id(name).map_or(0, |id| usize::from(id.0));
        words.push(block(&[op, number, key.len(), value.len()], &[key, value]));
    }
    words.push(block(&[5, 0, 0, 2], &[b"no"]));
    // A result block, and an exchange header, at places of their own.
    words.push(block(&[0, 0, 0, 64, 1024], &[]));
    words.push(block(&[1024, 1024, 2048, 64], &[]));
    words
}

static SCRIPT: LazyLock<Arc<Script>> = LazyLock::new(|| Arc::new(Script::new(words())));
static ENGINE: LazyLock<WasmEngine<Scripted>> = LazyLock::new(|| Scripted::engine(SCRIPT.clone()));
static MODULES: LazyLock<[Arc<[u8]>; 2]> = LazyLock::new(|| {
    let named = |functions: &[Named]| {
        functions
            .to_vec()
            .into_iter()
            .map(|(name, sig)| (name, signature(sig)))
    };
    [
        module(named(&IMPORTS_1_0), named(&EXPORTS_1_0)).into(),
        module(named(&IMPORTS_1_1), named(&EXPORTS_1_1)).into(),
    ]
});

/// Checks how an invocation ended.
fn check(decl: &ExtensionDecl, outcome: &Outcome, intents: &Intents, world: &World) {
    let (limits, ledger) = (limits(), &outcome.ledger);
    let logged = world.logged.take();
    assert!(
        logged.len() as u64 <= u64::from(limits.log_lines),
        "{logged:?}"
    );
    assert!(
        logged.iter().sum::<usize>() as u64 <= limits.log_bytes,
        "{logged:?}"
    );
    if let Err(error) = &outcome.result {
        assert!(intents.is_empty(), "{error} left intents");
        assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
        return;
    }
    let mut bytes = 0;
    for intent in intents.iter() {
        let storage = CATALOG.storage(intent.storage);
        assert!(
            intent.verb != Verb::Read && decl.verbs(intent.storage).has(intent.verb),
            "{intent:?}"
        );
        assert!(!intent.storage.is_system(), "{intent:?}");
        storage
            .key
            .check_key(intent.key, Extent::Full)
            .expect("a whole key");
        match intent.verb {
            Verb::Delete => assert!(intent.value.is_empty()),
            _ => storage.value.check(intent.value).expect("a whole value"),
        }
        bytes += intent.key.len() + intent.value.len();
    }
    let results = intents
        .results()
        .inspect(|row| decl.result.check(row).expect("a whole result"));
    let result_bytes: usize = results.map(<[u8]>::len).sum();
    assert!(intents.results().len() <= decl.kind.max_results());
    assert_eq!(
        (ledger.intents, ledger.intent_bytes),
        (intents.len() as u64, bytes as u64)
    );
    assert_eq!(ledger.result_bytes, result_bytes as u64);
    assert!(decl.kind.may_write() || intents.iter().next().is_none());
    let kept = [
        (ledger.intents, limits.intents.into()),
        (ledger.host_reads, limits.host_reads.into()),
        (ledger.rows_read, limits.rows_read.into()),
        (ledger.log_lines, limits.log_lines.into()),
        (ledger.foreign_calls, limits.foreign_calls.into()),
        (ledger.intent_bytes, limits.intent_bytes),
        (ledger.result_bytes, limits.result_bytes),
        (ledger.bytes_read, limits.bytes_read),
        (ledger.log_bytes, limits.log_bytes),
        (ledger.foreign_bytes, limits.foreign_bytes),
    ];
    assert!(
        kept.iter().all(|(used, allowed)| used <= allowed),
        "{ledger:?}"
    );
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let form = input.byte();
    let first = input.byte();
    SCRIPT.play(input.rest());
    let manifest = manifest(if form & 4 == 0 {
        Policy::Keep
    } else {
        Policy::Fresh
    });
    let source = PackageSource {
        manifest: Arc::clone(&manifest),
        code: Code::Bytes(Arc::clone(&MODULES[usize::from(form & 1)])),
    };
    let package = ENGINE.load(&source).expect("a package");
    // A guest that fails to start asks nothing.
    let Ok(mut instance) = package.instantiate() else {
        return;
    };
    let world = World {
        running: Cell::new(true),
        logged: RefCell::default(),
    };
    let args = value::encode(&[Value::Int(7)]);
    // The last one is none that the package has.
    let invocations: [_; INVOCATIONS] = std::array::from_fn(|i| Invocation {
        extension: (usize::from(first) + i) % (manifest.extensions.len() + 1),
        args: &args,
        tracer: None,
    });
    let mut intents = Intents::new();
    if form & 2 == 0 {
        for invocation in invocations {
            let outcome = instance.invoke(invocation, &world, &mut intents);
            match manifest.extensions.get(invocation.extension) {
                Some(decl) => check(decl, &outcome, &intents, &world),
                None => assert!(outcome.result.is_err()),
            }
            if SCRIPT.is_over() {
                return;
            }
        }
    } else {
        let mut settled = 0;
        let mut settle = |place: usize, outcome: Outcome, intents: &mut Intents| {
            assert_eq!(place, settled, "settled in order, and once");
            settled += 1;
            world.running.set(settled < INVOCATIONS);
            match manifest.extensions.get(invocations[place].extension) {
                Some(decl) => check(decl, &outcome, intents, &world),
                None => assert!(outcome.result.is_err()),
            }
        };
        instance.invoke_batch(&invocations, &world, &mut intents, &mut settle);
        assert_eq!(settled, INVOCATIONS);
    }
});
