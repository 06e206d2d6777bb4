//! The workload that every bench shares: the conformance suite's guests on each engine.

use conformance::Subject;
use conformance::host::TestHost;
use conformance::suite;
use engine_builtin::BuiltinFactory;
use engine_core::engine::{ExtensionInstance, Invocation};
use engine_core::factory::ExtEngineFactory;
use engine_core::intent::Intents;
use engine_core::manifest::Policy;
use engine_core::value::encode;
use engine_lua::LuaFactory;
use engine_wasm_wasmer::WasmerFactory;
use engine_wasm_wasmtime::WasmtimeFactory;
use serde_json::{Value as Json, json};
// Links the suite's native guest in.
use ::suite as _;

/// The engines, as a parameter of every bench.
pub const ENGINES: [&dyn ExtEngineFactory; 4] = [
    &BuiltinFactory,
    &WasmtimeFactory,
    &WasmerFactory,
    &LuaFactory,
];

/// What is asked of an extension, ready to be asked again and again.
#[derive(Debug)]
pub struct Question {
    name: &'static str,
    extension: usize,
    args: Vec<u8>,
}

impl Question {
    fn new(name: &'static str, extension: &str, args: &Json) -> Self {
        let declared = suite::extensions();
        let extension = declared
            .iter()
            .position(|decl| &*decl.name == extension)
            .expect("an extension of the suite");
        let args = encode(&suite::row(args, &declared[extension].args));
        Self {
            name,
            extension,
            args,
        }
    }

    /// The question's name in reports.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The questions: nothing at all, one read, one intent, a hundred rows.
pub fn questions() -> Vec<Question> {
    let shelf = json!({"storage": "open", "group": "g", "n": 1});
    let write = json!({"verb": "put", "storage": "open", "group": "g", "n": 1, "v": "value"});
    let range = json!({"storage": "open", "group": "g"});
    vec![
        Question::new("empty", "Tick", &json!({})),
        Question::new("read", "Get", &shelf),
        Question::new("intent", "Write", &write),
        Question::new("rows_100", "Count", &range),
    ]
}

/// An instance of the suite's package on an engine, with the host that it asks.
#[derive(Debug)]
pub struct Bench {
    instance: Box<dyn ExtensionInstance>,
    host: TestHost,
    intents: Intents,
}

impl Bench {
    /// Loads the suite on an engine.
    pub fn new(factory: &'static dyn ExtEngineFactory, policy: Policy) -> Self {
        let package = Subject::new(factory).package().policy(policy).load();
        let package = package.expect("the suite loads");
        let host = (0..100).fold(TestHost::new(), |host, n| host.shelf("open", "g", n));
        Self {
            instance: package.instantiate().expect("the suite starts"),
            host,
            intents: Intents::new(),
        }
    }

    /// Asks once.
    ///
    /// # Panics
    /// Where the extension fails, as a bench of failures is no bench.
    pub fn ask(&mut self, question: &Question) {
        let invocation = Invocation {
            extension: question.extension,
            args: &question.args,
            tracer: None,
        };
        let outcome = self
            .instance
            .invoke(invocation, &self.host, &mut self.intents);
        outcome.result.expect(question.name);
    }
}
