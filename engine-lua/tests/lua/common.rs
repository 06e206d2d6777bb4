//! A small host and a package made of one chunk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::catalog::{Catalog, CommandSchema, StorageId};
use engine_core::engine::{
    Code, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome, PackageSource,
};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineLimits, factory};
use engine_core::host::{Host, TakeRow};
use engine_core::intent::Intents;
use engine_core::key;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb, Verbs};
use engine_core::schema::Schema;
use engine_core::value::{Value, encode};
use engine_lua as _;

/// The time of every invocation: 2026-11-21 14:30:00.25 UTC.
pub(crate) const TIME: i64 = 1_795_271_400_250_000;

/// A state in memory that can be told to fail or to panic.
#[derive(Default)]
pub(crate) struct State {
    rows: BTreeMap<(StorageId, Vec<u8>), Vec<u8>>,
    pub(crate) fails: Cell<bool>,
    pub(crate) panics: Cell<bool>,
    pub(crate) log: RefCell<Vec<(String, String)>>,
}

impl State {
    pub(crate) fn put(&mut self, storage: StorageId, key: &[Value], value: &[Value]) {
        let key = key::encode(key).unwrap();
        self.rows.insert((storage, key), encode(value));
    }
}

impl Host for State {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        assert!(!self.panics.get(), "the host is told to panic");
        if self.fails.get() {
            return Err(Error::new(ErrorKind::Io, "the disk is gone"));
        }
        let row = match storage {
            StorageId::CONTEXT => {
                let id = Value::Text("c1".into());
                Some(encode(&[
                    Value::Int(TIME),
                    id,
                    Value::Int(3),
                    Value::Int(17),
                ]))
            }
            StorageId::RANDOM => {
                let sum = key.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                let bytes = (0..32).map(|i| (sum * 31 + i * 7) as u8).collect();
                Some(encode(&[Value::Bytes(bytes)]))
            }
            _ => self.rows.get(&(storage, key.to_vec())).cloned(),
        };
        value.extend(row.iter().flatten());
        Ok(row.is_some())
    }

    fn scan(
        &self,
        storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        if self.fails.get() {
            return Err(Error::new(ErrorKind::Io, "the disk is gone"));
        }
        for ((id, key), value) in &self.rows {
            let wanted = *id == storage && key.starts_with(prefix);
            if wanted && after.is_none_or(|after| key.as_slice() > after) && !take(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        let line = (level.to_owned(), message.to_owned());
        self.log.borrow_mut().push(line);
    }
}

/// The value's fields of storage `all`: one of each type.
pub(crate) const ALL: &str = "b: bool, i: int, f: float, t: text, y: bytes, o: int?, l: [int], \
    n: [[text]], r: {x: int, s: {deep: text?}}?, late: int = 7";

/// The name of a storage that Lua text has to escape.
pub(crate) const ODD: &str = "o'd\"d\\ \n\u{7f}é";

pub(crate) struct Storages {
    pub(crate) all: StorageId,
    pub(crate) pair: StorageId,
}

pub(crate) fn catalog() -> (Catalog, Storages) {
    let schema = |text| Schema::parse(text).unwrap();
    let mut catalog = Catalog::default();
    let all = catalog.add("all", schema("id: int"), schema(ALL)).unwrap();
    let key = schema("a: text, b: int?, c: float");
    let pair = catalog.add("pair", key, schema("v: int")).unwrap();
    catalog
        .add("hidden", schema("id: int"), schema("v: int"))
        .unwrap();
    catalog
        .add("shown", schema("id: int"), schema("v: int"))
        .unwrap();
    catalog
        .add(ODD, schema("id: int"), schema("v: int?"))
        .unwrap();
    let value = schema("end: int, _x: int");
    catalog.add("words", schema("not: int"), value).unwrap();
    let fields: Vec<_> = (0..40).map(|i| format!("f{i}: int")).collect();
    let value = Schema::parse(&fields.join(", ")).unwrap();
    catalog.add("wide", schema("id: int"), value).unwrap();
    let command = CommandSchema {
        args: schema("seat: int, note: text?"),
        result: schema("ticket: text"),
    };
    catalog.add_command("Book", command);
    (catalog, Storages { all, pair })
}

/// One package: extension 0 is the command `Run(n: int) -> (v: int, t: text?)`, 1 is the projector `Watch`.
pub(crate) struct Subject {
    pub(crate) state: State,
    pub(crate) manifest: PackageManifest,
    source: String,
    pub(crate) storages: Storages,
}

impl Subject {
    /// The chunk is the given one; where it defines no `Run`, it is the body of it.
    pub(crate) fn new(source: &str) -> Self {
        let (catalog, storages) = catalog();
        let schema = |text| Schema::parse(text).unwrap();
        let every: Verbs = Verb::ALL.into_iter().collect();
        let ids = |names: &[&str], verbs| {
            let ids = names.iter().map(|name| catalog.id(name).unwrap());
            ids.map(|id| (id, verbs)).collect::<Vec<_>>()
        };
        let access = || {
            let mut access = ids(&["all", "pair", ODD, "words", "wide"], every);
            access.extend(ids(&["shown"], Verbs::NONE.with(Verb::Read)));
            access
        };
        let run = ExtensionDecl::new(
            "Run",
            ExtensionKind::Command,
            schema("n: int = 0"),
            schema("v: int, t: text?"),
            &catalog,
            access(),
        );
        let watch = ExtensionDecl::new(
            "Watch",
            ExtensionKind::Projector,
            schema(""),
            schema(""),
            &catalog,
            access(),
        );
        let mut source = source.to_owned();
        if !source.contains("function Run") {
            source = format!("function Run(args) {source}\nend");
        }
        let mut extensions = vec![run];
        if source.contains("function Watch") {
            extensions.push(watch);
        }
        let manifest = PackageManifest {
            name: "app".into(),
            catalog: Arc::new(catalog),
            extensions,
            limits: Limits {
                deadline_ms: 60_000,
                ..Limits::default()
            },
            policy: Policy::Keep,
            waived: Vec::new(),
        };
        Self {
            state: State::default(),
            manifest,
            source,
            storages,
        }
    }

    pub(crate) fn limited(source: &str, set: impl FnOnce(&mut Limits)) -> Self {
        let mut subject = Self::new(source);
        set(&mut subject.manifest.limits);
        subject
    }

    pub(crate) fn load(&self) -> Result<Arc<dyn ExtensionPackage>> {
        engine(&self.manifest.limits).load(&PackageSource {
            manifest: Arc::new(self.manifest.clone()),
            code: Code::Bytes(self.source.as_bytes().into()),
        })
    }

    pub(crate) fn instance(&self) -> Box<dyn ExtensionInstance> {
        self.load().unwrap().instantiate().unwrap()
    }

    /// Runs `Run` once on a new instance.
    pub(crate) fn run(&self) -> Ran {
        self.run_on(&mut *self.instance(), 0)
    }

    pub(crate) fn run_on(&self, instance: &mut dyn ExtensionInstance, n: i64) -> Ran {
        self.invoke(instance, 0, &[Value::Int(n)])
    }

    pub(crate) fn invoke(
        &self,
        instance: &mut dyn ExtensionInstance,
        extension: usize,
        args: &[Value],
    ) -> Ran {
        let args = encode(args);
        let invocation = Invocation {
            extension,
            args: &args,
            tracer: None,
        };
        let mut intents = Intents::new();
        let outcome = instance.invoke(invocation, &self.state, &mut intents);
        Ran { outcome, intents }
    }

    /// The first field of the one result.
    pub(crate) fn value(&self) -> i64 {
        self.run().value()
    }

    /// The text of the one result.
    pub(crate) fn text(&self) -> String {
        self.run().text()
    }

    /// The kind of the error that `Run` ends with.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.run().kind()
    }
}

pub(crate) fn engine(limits: &Limits) -> Arc<dyn ExtEngine> {
    factory("lua")
        .unwrap()
        .create(&EngineLimits::from(limits))
        .unwrap()
}

/// How an invocation ended.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) intents: Intents,
}

impl Ran {
    fn result(&self) -> Vec<Value> {
        if let Err(error) = &self.outcome.result {
            panic!("{error}");
        }
        let schema = Schema::parse("v: int, t: text?").unwrap();
        schema
            .decode(self.intents.results().next().unwrap())
            .unwrap()
    }

    pub(crate) fn value(&self) -> i64 {
        match self.result()[0] {
            Value::Int(value) => value,
            ref other => panic!("{other:?}"),
        }
    }

    pub(crate) fn text(&self) -> String {
        match &self.result()[1] {
            Value::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn error(&self) -> &Error {
        match &self.outcome.result {
            Ok(()) => panic!("ended well with {:?}", self.intents),
            Err(error) => error,
        }
    }

    /// The kind of the error, which must have left no intents.
    pub(crate) fn kind(&self) -> ErrorKind {
        assert!(self.intents.is_empty());
        self.error().kind()
    }
}

pub(crate) const DEADLINE: ErrorKind = ErrorKind::Limit(Limit::Deadline);
pub(crate) const MEMORY: ErrorKind = ErrorKind::Limit(Limit::Memory);
pub(crate) const STACK: ErrorKind = ErrorKind::Limit(Limit::Stack);
