//! An engine for tests, named `probe`: extensions are closures, and each call of one is counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use engine_core::cache::CodeCache;
use engine_core::call::{Buffers, Call};
use engine_core::catalog::StorageId;
use engine_core::engine::{
    Code, CodeReport, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome,
    PackageSource,
};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::json::{row_from_json, row_to_json};
use engine_core::limits::Capabilities;
use engine_core::manifest::{PackageManifest, Verb};
use engine_core::schema::Schema;
use engine_core::ticker::Ticker;
use engine_core::value::Value;
use engine_core::{key, value};
use serde_json::Value as Json;

/// What an extension does.
pub(crate) type Run = dyn Fn(&Guest<'_, '_>) -> Result<()> + Send + Sync;

/// The closures of one native package, which can be replaced while it is loaded.
#[derive(Default)]
pub(crate) struct Native {
    runs: Mutex<HashMap<String, Arc<Run>>>,
    calls: Mutex<BTreeMap<String, u64>>,
    prepared: Mutex<BTreeMap<String, u64>>,
    refuses: AtomicBool,
}

impl Native {
    /// Sets what an extension does from its next invocation on.
    pub(crate) fn set(
        &self,
        extension: &str,
        run: impl Fn(&Guest<'_, '_>) -> Result<()> + Send + Sync + 'static,
    ) {
        let mut runs = self.runs.lock().unwrap();
        runs.insert(extension.to_owned(), Arc::new(run));
    }

    /// Makes every new instance crash, or no longer.
    pub(crate) fn refuse_instances(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// How often an extension was invoked.
    pub(crate) fn calls(&self, extension: &str) -> u64 {
        let calls = self.calls.lock().unwrap();
        calls.get(extension).copied().unwrap_or_default()
    }

    /// How often an instance was made ready again after it had run an extension.
    pub(crate) fn prepared(&self, extension: &str) -> u64 {
        let prepared = self.prepared.lock().unwrap();
        prepared.get(extension).copied().unwrap_or_default()
    }

    /// How often anything was invoked.
    pub(crate) fn all_calls(&self) -> u64 {
        self.calls.lock().unwrap().values().sum()
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

static NATIVES: LazyLock<Mutex<HashMap<String, Weak<Native>>>> = LazyLock::new(Mutex::default);

/// Links a native package under a name.
pub(crate) fn link(package: &str, native: &Arc<Native>) {
    let mut natives = NATIVES.lock().unwrap();
    natives.insert(package.to_owned(), Arc::downgrade(native));
}

struct ProbeFactory;

inventory::submit!(Registration(&ProbeFactory));

impl ExtEngineFactory for ProbeFactory {
    fn kind(&self) -> EngineKind {
        EngineKind::Builtin
    }

    fn name(&self) -> &'static str {
        "probe"
    }

    fn version(&self) -> &'static str {
        "0"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, _: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        let ticker = Ticker::start_with(|| ()).unwrap();
        Ok(Arc::new(ProbeEngine(Arc::new(ticker))))
    }
}

#[derive(Debug)]
struct ProbeEngine(Arc<Ticker>);

impl ExtEngine for ProbeEngine {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        _: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        let Code::Native(name) = &source.code else {
            return Err(Error::new(ErrorKind::Package, "no native code"));
        };
        let native = NATIVES.lock().unwrap().get(&**name).and_then(Weak::upgrade);
        let native = native.ok_or_else(|| Error::new(ErrorKind::Package, "not linked"))?;
        Ok(Arc::new(Probe {
            manifest: source.manifest.clone(),
            ticker: self.0.clone(),
            native,
            spent: None,
        }))
    }

    fn inspect(&self, _: &Code) -> Result<CodeReport> {
        Ok(CodeReport::default())
    }
}

/// A package, and each of its instances, which have no state but for what they ran last since they were made ready.
#[derive(Clone, Debug)]
struct Probe {
    manifest: Arc<PackageManifest>,
    ticker: Arc<Ticker>,
    native: Arc<Native>,
    spent: Option<String>,
}

impl ExtensionPackage for Probe {
    fn manifest(&self) -> &Arc<PackageManifest> {
        &self.manifest
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        if self.native.refuses.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Trap, "crashed at the start"));
        }
        Ok(Box::new(self.clone()))
    }
}

impl ExtensionInstance for Probe {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let buffers = Buffers::default();
        let extension = self.manifest.extensions.get(invocation.extension);
        self.spent = extension.map(|extension| extension.name.to_string());
        let (manifest, ticker) = (&self.manifest, &self.ticker);
        Call::run(
            &invocation,
            manifest,
            ticker,
            host,
            &buffers,
            intents,
            |call| {
                let name = call.extension().name.to_string();
                let run = self.native.runs.lock().unwrap().get(&name).cloned();
                *self.native.calls.lock().unwrap().entry(name).or_default() += 1;
                call.end(run.map_or(Ok(()), |run| run(&Guest(call))))
            },
        )
    }

    fn prepare(&mut self) {
        if let Some(extension) = self.spent.take() {
            let mut prepared = self.native.prepared.lock().unwrap();
            *prepared.entry(extension).or_default() += 1;
        }
    }
}

/// The running call as a closure sees it, with rows as JSON.
pub(crate) struct Guest<'c, 'a>(&'c Call<'a>);

impl Guest<'_, '_> {
    /// The arguments.
    pub(crate) fn args(&self) -> Json {
        object(self.0.args(), &self.0.extension().args)
    }

    /// The command's name, arguments and result, for validators and projectors.
    pub(crate) fn event(&self) -> (String, Json, Option<Json>) {
        let mut row = Vec::new();
        assert!(self.0.get(StorageId::EVENT, &[], &mut row).unwrap());
        let mut fields = value::decode(&row).unwrap().into_iter();
        let Some(Value::Text(command)) = fields.next() else {
            panic!("no command in {row:?}");
        };
        let schema = self.0.package().catalog.command(&command).unwrap();
        let mut record = |schema| match fields.next() {
            Some(Value::List(values)) => (values, schema),
            other => panic!("no record: {other:?}"),
        };
        let (args, schema_of_args) = record(&schema.args);
        let (results, schema_of_result) = record(&schema.result);
        let result = results.into_iter().next().map(|row| match row {
            Value::List(row) => row_to_json(&row, schema_of_result).into(),
            other => panic!("no record: {other:?}"),
        });
        (command, row_to_json(&args, schema_of_args).into(), result)
    }

    /// A row's value.
    pub(crate) fn get(&self, storage: &str, key: Json) -> Result<Option<Json>> {
        let id = self.storage(storage);
        let mut row = Vec::new();
        let found = self.0.get(id, &self.key(id, key), &mut row)?;
        let schema = &self.0.package().catalog.storage(id).value;
        Ok(found.then(|| object(&row, schema)))
    }

    /// Every row of a storage, as flat objects.
    pub(crate) fn rows(&self, storage: &str) -> Result<Vec<Json>> {
        let id = self.storage(storage);
        let catalog = &self.0.package().catalog;
        let mut rows = Vec::new();
        self.0.read(id, &[], |key, value| {
            rows.push(partition::rows::to_json(catalog, id, key, value)?.into());
            Ok(())
        })?;
        Ok(rows)
    }

    /// Asks for a write.
    pub(crate) fn write(&self, verb: Verb, storage: &str, key: Json, value: Json) {
        let id = self.storage(storage);
        let schema = &self.0.package().catalog.storage(id).value;
        let row = match verb {
            Verb::Delete => Vec::new(),
            _ => value::encode(&row_from_json(&value, schema).unwrap()),
        };
        // Whether it is refused shows when the invocation ends.
        drop(self.0.write(verb, id, &self.key(id, key), &row));
    }

    /// Sets a row.
    pub(crate) fn put(&self, storage: &str, key: Json, value: Json) {
        self.write(Verb::Put, storage, key, value);
    }

    /// Gives a result row.
    pub(crate) fn result(&self, row: Json) {
        let row = row_from_json(&row, &self.0.extension().result).unwrap();
        drop(self.0.result(&value::encode(&row)));
    }

    /// Writes a line to the host's log.
    pub(crate) fn log(&self, level: &str, message: &str) {
        self.0.log(level, message).unwrap();
    }

    /// What a foreign function answers, as text.
    pub(crate) fn call(&self, function: &str, argument: &str) -> Result<String> {
        let function = self.0.foreign(function)?;
        let answer = self.0.call_foreign(function, argument.as_bytes())?;
        Ok(String::from_utf8(answer).unwrap())
    }

    /// The time of the invocation.
    pub(crate) fn time(&self) -> i64 {
        self.0.time().unwrap()
    }

    /// Random bytes, as text.
    pub(crate) fn random(&self, index: i64) -> String {
        format!("{:02x?}", self.0.random(index).unwrap())
    }

    /// The offset that `sys.context` has.
    pub(crate) fn offset(&self) -> i64 {
        let mut row = Vec::new();
        self.0.get(StorageId::CONTEXT, &[], &mut row).unwrap();
        match value::decode(&row).unwrap()[3] {
            Value::Int(offset) => offset,
            ref other => panic!("no offset: {other:?}"),
        }
    }

    fn storage(&self, name: &str) -> StorageId {
        self.0.package().catalog.id(name).unwrap()
    }

    fn key(&self, storage: StorageId, key: Json) -> Vec<u8> {
        let schema = &self.0.package().catalog.storage(storage).key;
        key::encode(&row_from_json(&key, schema).unwrap()).unwrap()
    }
}

fn object(row: &[u8], schema: &Schema) -> Json {
    row_to_json(&schema.decode(row).unwrap(), schema).into()
}

/// The extension's own refusal.
pub(crate) fn reject(message: &str) -> Result<()> {
    Err(Error::new(ErrorKind::Rejected, message))
}
