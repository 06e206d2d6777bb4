//! Small guests, a host in memory, and packages made of both.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::catalog::{Catalog, StorageId};
use engine_core::engine::{
    Code, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome, PackageSource,
};
use engine_core::error::{ErrorKind, Result};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::host::{Host, TakeRow, Tracer};
use engine_core::intent::Intents;
use engine_core::limits::Limits;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb};
use engine_core::schema::Schema;
use engine_core::value::{Value, decode, encode};
use engine_wasm_wasmtime::WasmtimeFactory;

/// The text of a guest whose parts are given and else do nothing.
///
/// It has the imports `$get` and `$read`, the key block of `rows(1)` at 16, that of all `rows` at 40, and `$answer`, which
/// makes a result block of one small number.
pub(crate) struct Guest<'a> {
    pub(crate) imports: &'a str,
    pub(crate) memory: &'a str,
    pub(crate) init: &'a str,
    pub(crate) run: &'a str,
    pub(crate) malloc: &'a str,
    pub(crate) reset: &'a str,
    pub(crate) finit: &'a str,
    pub(crate) on_read: &'a str,
    pub(crate) more: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self {
            imports: "",
            memory: "1",
            init: "",
            run: "i32.const 0",
            malloc: "global.get $free (global.set $free (i32.add (global.get $free) (local.get $size)))",
            reset: "(global.set $free (i32.const 4096))",
            finit: "",
            on_read: "",
            more: "",
        }
    }
}

impl Guest<'_> {
    pub(crate) fn wat(&self) -> String {
        let Self {
            imports,
            memory,
            init,
            run,
            malloc,
            reset,
            finit,
            on_read,
            more,
        } = self;
        format!(
            r#"(module
            (import "env" "HostGetElem" (func $get (param i32 i32) (result i32)))
            (import "env" "HostReadElems" (func $read (param i32 i32) (result i32)))
            {imports}
            (memory (export "memory") {memory})
            (data (i32.const 16) "\04\00\00\00\02\00\00\00rows\15\01")
            (data (i32.const 40) "\04\00\00\00\00\00\00\00rows")
            (global $free (mut i32) (i32.const 4096))
            (global $n (mut i32) (i32.const 0))
            (func (export "WasmAbiVersion_1_0"))
            (func (export "WasmInit") {init})
            (func (export "WasmRun") (param $name i32) (param $kind i32) (param $args i32) (result i32) {run})
            (func (export "WasmMalloc") (param $size i32) (result i32) {malloc})
            (func (export "WasmReset") {reset})
            (func (export "WasmFinit") {finit})
            (func (export "WasmOnRead") (param $context i32) (param $key i32) (param $element i32) {on_read})
            (func $answer (param $n i32) (result i32)
                (memory.fill (i32.const 224) (i32.const 0) (i32.const 64))
                (i32.store (i32.const 236) (i32.const 18))
                (i32.store (i32.const 240) (i32.const 256))
                (i32.store (i32.const 268) (i32.const 2))
                (i32.store8 (i32.const 272) (i32.const 0x91))
                (i32.store8 (i32.const 273) (local.get $n))
                (i32.const 224))
            {more})"#
        )
    }
}

/// A guest that counts its invocations and answers the count.
pub(crate) const COUNT: &str =
    "(global.set $n (i32.add (global.get $n) (i32.const 1))) (call $answer (global.get $n))";

/// Limits with a deadline that no machine is too slow for.
pub(crate) fn limits() -> Limits {
    Limits {
        deadline_ms: 600_000,
        ..Limits::default()
    }
}

/// Limits with a deadline that passes soon.
pub(crate) fn short() -> Limits {
    Limits {
        deadline_ms: 20,
        ..Limits::default()
    }
}

/// A package with the command `run` and the query `rows`, which read and write the storage `rows`.
pub(crate) fn source(wat: &str, limits: Limits, policy: Policy) -> PackageSource {
    let schema = |text| Schema::parse(text).unwrap();
    let mut catalog = Catalog::default();
    let rows = catalog
        .add("rows", schema("k: int"), schema("v: int"))
        .unwrap();
    let declare = |name, kind| {
        let verbs = Verb::ALL.into_iter().collect();
        ExtensionDecl::new(
            name,
            kind,
            schema(""),
            schema("n: int"),
            &catalog,
            [(rows, verbs)],
        )
    };
    let extensions = vec![
        declare("run", ExtensionKind::Command),
        declare("rows", ExtensionKind::Query),
    ];
    PackageSource {
        manifest: Arc::new(PackageManifest {
            name: "test".into(),
            catalog: Arc::new(catalog),
            extensions,
            limits,
            policy,
            waived: Vec::new(),
        }),
        code: Code::Bytes(wat::parse_str(wat).unwrap().into()),
    }
}

pub(crate) fn engine(limits: &Limits) -> Arc<dyn ExtEngine> {
    WasmtimeFactory.create(&EngineLimits::from(limits)).unwrap()
}

pub(crate) fn load(wat: &str, limits: Limits, policy: Policy) -> Result<Arc<dyn ExtensionPackage>> {
    engine(&limits).load(&source(wat, limits, policy))
}

/// A host with the given rows of one storage.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) log: RefCell<Vec<String>>,
}

impl Rows {
    /// Rows of `rows` with these keys and values.
    pub(crate) fn new(rows: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let rows = rows.into_iter().map(|(k, v)| {
            let key = engine_core::key::encode(&[Value::Int(k)]).unwrap();
            (key, encode(&[Value::Int(v)]))
        });
        Self {
            rows: rows.collect(),
            ..Self::default()
        }
    }
}

impl Host for Rows {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let row = match storage {
            StorageId::CONTEXT => Some(encode(&[Value::Int(1_700_000_000_000_000)])),
            StorageId::RANDOM => Some(encode(&[Value::Bytes(vec![key[key.len() - 1] + 1; 32])])),
            _ => self.rows.get(key).cloned(),
        };
        value.extend_from_slice(row.as_deref().unwrap_or_default());
        Ok(row.is_some())
    }

    fn scan(
        &self,
        _: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        for (key, value) in &self.rows {
            let wanted =
                key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after);
            if wanted && !take(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        self.log.borrow_mut().push(format!("{level}: {message}"));
    }
}

/// One instance with its intents.
pub(crate) struct Run {
    pub(crate) instance: Box<dyn ExtensionInstance>,
    pub(crate) intents: Intents,
}

impl Run {
    pub(crate) fn new(package: &Arc<dyn ExtensionPackage>) -> Self {
        Self {
            instance: package.instantiate().unwrap(),
            intents: Intents::new(),
        }
    }

    pub(crate) fn invoke(&mut self, host: &dyn Host, tracer: Option<&dyn Tracer>) -> Outcome {
        self.call(0, &encode(&[]), host, tracer)
    }

    pub(crate) fn call(
        &mut self,
        extension: usize,
        args: &[u8],
        host: &dyn Host,
        tracer: Option<&dyn Tracer>,
    ) -> Outcome {
        let invocation = Invocation {
            extension,
            args,
            tracer,
        };
        self.instance.invoke(invocation, host, &mut self.intents)
    }

    /// Invokes the command and gives back the number that it answers.
    pub(crate) fn number(&mut self) -> Result<i64> {
        self.invoke(&Rows::default(), None).result?;
        Ok(number(&self.intents))
    }

    /// Invokes the command and gives back the kind of its error.
    pub(crate) fn error(&mut self) -> ErrorKind {
        let outcome = self.invoke(&Rows::new([(1, 7)]), None);
        assert!(self.intents.is_empty(), "an error leaves no intent");
        outcome.result.expect_err("an error was expected").kind()
    }
}

/// The number in the only result.
pub(crate) fn number(intents: &Intents) -> i64 {
    let row = intents.results().next().expect("a result");
    match decode(row).unwrap().as_slice() {
        [Value::Int(n)] => *n,
        other => panic!("not a number: {other:?}"),
    }
}

/// A run of a guest under the policy `keep`.
pub(crate) fn run(guest: &Guest<'_>, limits: Limits) -> Run {
    Run::new(&load(&guest.wat(), limits, Policy::Keep).unwrap())
}
