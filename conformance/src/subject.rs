//! The engine under test, and how a case loads packages on it and calls their extensions.

use std::sync::{Arc, OnceLock};

use engine_core::catalog::StorageId;
use engine_core::engine::{
    Code, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome, PackageSource,
};
use engine_core::error::{ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory};
use engine_core::host::Tracer;
use engine_core::intent::Intents;
use engine_core::json;
use engine_core::limits::{Keeping, Ledger, Limit, Limits};
use engine_core::manifest::{ExtensionDecl, PackageManifest, Policy, Verb};
use engine_core::schema::Schema;
use engine_core::value::{self, Value};
use serde_json::{Value as Json, json};

use crate::host::TestHost;
use crate::suite;

const WASM: &[u8] = include_bytes!("../guests/suite.wasm");
const WASM_1_0: &[u8] = include_bytes!("../guests/suite_1_0.wasm");
const LUA: &[u8] = include_bytes!("../guests/suite.lua");
const NATIVE: &str = "suite";

/// An engine under test.
pub struct Subject {
    factory: &'static dyn ExtEngineFactory,
    /// The suite's guest for WASM engines.
    wasm: &'static [u8],
    /// The suite's package, which most cases need as it is.
    package: OnceLock<Arc<dyn ExtensionPackage>>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Subject").field(&self.name()).finish()
    }
}

impl Subject {
    /// Puts the engine of a factory under test.
    pub fn new(factory: &'static dyn ExtEngineFactory) -> Self {
        Self {
            factory,
            wasm: WASM,
            package: OnceLock::new(),
        }
    }

    /// Puts the WASM engine of a factory under test with a guest that speaks ABI 1.0.
    pub fn speaking_abi_1_0(factory: &'static dyn ExtEngineFactory) -> Self {
        Self {
            wasm: WASM_1_0,
            ..Self::new(factory)
        }
    }

    /// The engine's factory.
    pub fn factory(&self) -> &'static dyn ExtEngineFactory {
        self.factory
    }

    /// The engine's name.
    pub fn name(&self) -> &'static str {
        self.factory.name()
    }

    /// The suite's guest for this kind of engine.
    pub fn code(&self) -> Code {
        match self.factory.kind() {
            EngineKind::Wasm => Code::Bytes(self.wasm.into()),
            EngineKind::Lua => Code::Bytes(LUA.into()),
            EngineKind::Builtin => Code::Native(NATIVE.into()),
        }
    }

    /// The suite's package, to be changed and loaded.
    ///
    /// Its deadline is far away, because most cases are not about time, and whatever the engine cannot keep is waived.
    pub fn package(&self) -> Setup {
        let capabilities = self.factory.capabilities();
        let not_kept = |limit: &Limit| capabilities.of(*limit) == Keeping::NotKept;
        Setup {
            factory: self.factory,
            code: self.code(),
            manifest: PackageManifest {
                name: "suite".into(),
                catalog: suite::catalog().clone(),
                extensions: suite::extensions(),
                limits: Limits {
                    deadline_ms: 600_000,
                    ..Limits::default()
                },
                policy: Policy::Keep,
                waived: Limit::ALL.into_iter().filter(not_kept).collect(),
            },
        }
    }

    /// An instance of the suite's package under the policy `keep`; all of them share the compiled package.
    pub fn instance(&self) -> Instance {
        let load = || self.package().load().expect("the package loads");
        Instance::of(self.package.get_or_init(load))
    }
}

/// A package to be loaded.
#[derive(Clone)]
pub struct Setup {
    factory: &'static dyn ExtEngineFactory,
    /// The code.
    pub code: Code,
    /// The manifest.
    pub manifest: PackageManifest,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("engine", &self.factory.name())
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// Changes the limits.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.manifest.limits);
        self
    }

    /// Chooses how long an instance lives.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.manifest.policy = policy;
        self
    }

    /// Gives the package a name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.manifest.name = name.into();
        self
    }

    /// Takes code of its own with these extensions.
    #[must_use]
    pub fn code(mut self, code: &[u8], extensions: Vec<ExtensionDecl>) -> Self {
        self.code = Code::Bytes(code.into());
        self.manifest.extensions = extensions;
        self
    }

    /// Makes an engine for the package's limits.
    pub fn engine(&self) -> Arc<dyn ExtEngine> {
        let limits = EngineLimits::from(&self.manifest.limits);
        self.factory.create(&limits).expect("an engine")
    }

    /// Loads the package on an engine of its own.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn load(self) -> Result<Arc<dyn ExtensionPackage>> {
        let engine = self.engine();
        self.load_on(&*engine)
    }

    /// Loads the package on an engine.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn load_on(self, engine: &dyn ExtEngine) -> Result<Arc<dyn ExtensionPackage>> {
        engine.load(&self.source())
    }

    /// The package as an engine takes it.
    pub fn source(self) -> PackageSource {
        PackageSource {
            manifest: Arc::new(self.manifest),
            code: self.code,
        }
    }

    /// An instance of the package on an engine of its own.
    pub fn instance(self) -> Instance {
        Instance::of(&self.load().expect("the package loads"))
    }

    /// What keeps the package from loading.
    pub fn refusal(self) -> (ErrorKind, String) {
        let name = self.factory.name();
        match self.load() {
            Ok(_) => panic!("{name} loads what it should refuse"),
            Err(error) => (error.kind(), error.to_string()),
        }
    }
}

/// An instance with a buffer for its intents.
#[derive(Debug)]
pub struct Instance {
    package: Arc<dyn ExtensionPackage>,
    inner: Box<dyn ExtensionInstance>,
    intents: Intents,
}

impl Instance {
    /// An instance of a package.
    pub fn of(package: &Arc<dyn ExtensionPackage>) -> Self {
        Self {
            package: package.clone(),
            inner: package.instantiate().expect("an instance"),
            intents: Intents::new(),
        }
    }

    /// Lets the instance make ready what the next invocation would wait for.
    pub fn prepare(&mut self) {
        self.inner.prepare();
    }

    /// Invokes an extension with arguments from a JSON object.
    pub fn call(&mut self, host: &TestHost, extension: &str, args: Json) -> Answer {
        let position = self.position(extension);
        let schema = &self.package.manifest().extensions[position].args;
        let args = suite::row(&args, schema);
        self.call_with(host, extension, &args)
    }

    /// Invokes an extension with a row of arguments.
    pub fn call_with(&mut self, host: &TestHost, extension: &str, args: &[Value]) -> Answer {
        self.call_traced(host, extension, args, None)
    }

    /// Invokes an extension and lets `tracer` see each crossing.
    pub fn call_traced(
        &mut self,
        host: &TestHost,
        extension: &str,
        args: &[Value],
        tracer: Option<&dyn Tracer>,
    ) -> Answer {
        let args = value::encode(args);
        self.invoke(host, self.position(extension), &args, tracer)
    }

    /// Invokes the extension of a number with encoded arguments.
    pub fn invoke(
        &mut self,
        host: &TestHost,
        extension: usize,
        args: &[u8],
        tracer: Option<&dyn Tracer>,
    ) -> Answer {
        let invocation = Invocation {
            extension,
            args,
            tracer,
        };
        let outcome = self.inner.invoke(invocation, host, &mut self.intents);
        Answer::new(self.package.manifest(), extension, outcome, &self.intents)
    }

    /// Invokes extensions with arguments from JSON objects, in one batch; a name that is not known has a number that is
    /// not known either.
    pub fn batch(&mut self, host: &TestHost, asked: &[(&str, Json)]) -> Vec<Answer> {
        let manifest = self.package.manifest().clone();
        let asked = asked.iter().map(|(extension, args)| {
            let position = manifest.position(extension);
            let schema = position.map(|position| &manifest.extensions[position].args);
            let args = schema.map(|schema| value::encode(&suite::row(args, schema)));
            (position.unwrap_or(usize::MAX), args.unwrap_or_default())
        });
        let asked: Vec<_> = asked.collect();
        let invocations = asked.iter().map(|(extension, args)| Invocation {
            extension: *extension,
            args,
            tracer: None,
        });
        let invocations: Vec<_> = invocations.collect();
        let mut answers = Vec::new();
        let settle = &mut |place: usize, outcome, intents: &mut Intents| {
            assert_eq!(place, answers.len(), "each is settled once, in order");
            let (extension, _) = asked[place];
            answers.push(Answer::new(&manifest, extension, outcome, intents));
        };
        self.inner
            .invoke_batch(&invocations, host, &mut self.intents, settle);
        assert_eq!(answers.len(), asked.len(), "each is settled");
        answers
    }

    fn position(&self, extension: &str) -> usize {
        let position = self.package.manifest().position(extension);
        position.expect("an extension of the suite")
    }
}

/// An intent, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What to do.
    pub verb: Verb,
    /// The storage.
    pub storage: StorageId,
    /// The encoded key.
    pub key: Vec<u8>,
    /// The encoded value.
    pub value: Vec<u8>,
}

/// How an invocation ended.
#[derive(Debug)]
pub struct Answer {
    /// Nothing, or the error.
    pub result: Result<()>,
    /// What it used.
    pub ledger: Ledger,
    /// The intents.
    pub intents: Vec<Write>,
    /// The encoded results.
    pub results: Vec<Vec<u8>>,
    schema: Schema,
}

impl Answer {
    fn new(
        manifest: &PackageManifest,
        extension: usize,
        outcome: Outcome,
        intents: &Intents,
    ) -> Self {
        let writes = intents.iter().map(|intent| Write {
            verb: intent.verb,
            storage: intent.storage,
            key: intent.key.to_vec(),
            value: intent.value.to_vec(),
        });
        Self {
            result: outcome.result,
            ledger: outcome.ledger,
            intents: writes.collect(),
            results: intents.results().map(<[u8]>::to_vec).collect(),
            schema: (manifest.extensions.get(extension))
                .map(|decl| decl.result.clone())
                .unwrap_or_default(),
        }
    }

    /// Makes sure that the invocation ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        if let Err(error) = &self.result {
            panic!("the invocation failed with {}: {error}", error.kind());
        }
        self
    }

    /// Makes sure that it failed with this kind and left nothing behind.
    #[track_caller]
    pub fn fails(self, kind: ErrorKind) -> Self {
        match &self.result {
            Ok(()) => panic!("the invocation ended well, but {kind} was due"),
            Err(error) => assert_eq!(error.kind(), kind, "{error}"),
        }
        assert!(self.intents.is_empty(), "a failure left intents behind");
        assert!(self.results.is_empty(), "a failure left results behind");
        self
    }

    /// Makes sure that it hit this limit.
    #[track_caller]
    pub fn hits(self, limit: Limit) -> Self {
        self.fails(ErrorKind::Limit(limit))
    }

    /// The message of the error.
    #[track_caller]
    pub fn message(&self) -> String {
        self.result.as_ref().expect_err("an error").to_string()
    }

    /// The results as JSON objects.
    pub fn rows(&self) -> Vec<Json> {
        let rows = self.results.iter().map(|row| show(row, &self.schema));
        rows.collect()
    }

    /// The one result as a JSON object.
    #[track_caller]
    pub fn row(&self) -> Json {
        let mut rows = self.rows();
        assert_eq!(rows.len(), 1, "one result is due: {rows:?}");
        rows.remove(0)
    }

    /// The intents as JSON arrays: verb, storage, key, value.
    pub fn writes(&self) -> Vec<Json> {
        let shown = self.intents.iter().map(|write| {
            let declared = suite::catalog().storage(write.storage);
            let key = declared.key.decode_key(&write.key).expect("a checked key");
            let key = json::row_to_json(&key, &declared.key);
            let value = match write.verb {
                Verb::Delete => Json::Null,
                _ => show(&write.value, &declared.value),
            };
            json!([write.verb.name(), declared.name, key, value])
        });
        shown.collect()
    }
}

fn show(row: &[u8], schema: &Schema) -> Json {
    let values = schema.decode(row).expect("a checked row");
    Json::Object(json::row_to_json(&values, schema))
}
