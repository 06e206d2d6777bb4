//! What a module says of itself, and whether it would run here.

use std::fmt;

use engine_core::limits::Limits;
use engine_wasm_abi::inspect::{self, FuncSig, Producer};
use engine_wasm_abi::load;
use engine_wasm_abi::start::export_start;
use engine_wasm_abi::wasi;

use crate::abi::Version;
use crate::context::State;
use crate::exports::{Callback, MODULE_START, version};
use crate::imports;
use crate::module::check;
use crate::sdk;

/// The functions that a host offers in the module `env`, with their types.
pub fn host_functions() -> impl Iterator<Item = (&'static str, FuncSig)> {
    let functions = imports::FUNCTIONS.iter();
    functions.map(|function| (function.name, function.call.signature()))
}

/// A function that a module can import.
#[derive(Clone, Debug)]
pub struct Import {
    /// The module that it is imported from.
    pub module: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub signature: FuncSig,
    /// The numbers that it can answer where it may be used; none where it answers no status.
    pub answers: &'static [i32],
}

/// Every function that a module can import: those of the host, and those of WASI under both names of its module.
pub fn offered() -> impl Iterator<Item = Import> {
    let all = imports::FUNCTIONS.iter().chain(wasi::functions());
    all.map(|function| Import {
        module: function.module,
        name: function.name,
        signature: function.call.signature(),
        answers: imports::answers(function.name),
    })
}

/// The functions that a host calls where a module has them.
pub fn callbacks() -> impl Iterator<Item = &'static str> {
    Callback::ALL.iter().map(|callback| callback.spec().0)
}

/// Callbacks that other hosts have beside the specified ones, and nobody calls here.
const OTHERS: [&str; 3] = [
    "proxy_validate_configuration",
    "proxy_on_request_metadata",
    "proxy_on_response_metadata",
];

/// Every name that can stand among [capabilities](crate::VmConfig::capabilities): functions of the host and of WASI, and
/// callbacks.
pub fn capabilities() -> impl Iterator<Item = &'static str> {
    let wasi = wasi::functions::<State>().map(|function| function.name);
    let host = host_functions().map(|(name, _)| name);
    let callbacks = callbacks().filter(|name| *name != MODULE_START);
    callbacks.chain(host).chain(wasi).chain(OTHERS)
}

/// What [`inspect`] found out.
#[derive(Clone, Debug)]
pub struct Report {
    /// The newest version of the ABI that the module says it speaks.
    pub version: Option<Version>,
    /// With which SDK it was written, or in which language, as far as traces tell.
    pub sdk: Option<String>,
    /// What made it: compilers and SDKs, with their versions.
    pub producers: Vec<String>,
    /// The callbacks that it has, with the number of their parameters.
    pub callbacks: Vec<(String, usize)>,
    /// The functions that it imports, as `module.name`.
    pub imports: Vec<String>,
    /// Why it would not run; empty where it would.
    pub problems: Vec<String>,
}

/// Looks at a module without running it. Takes any bytes.
pub fn inspect(code: &[u8], limits: &Limits) -> Report {
    let code = export_start(code, MODULE_START);
    let inspection = inspect::inspect(&code);
    let info = &inspection.info;
    let mut problems: Vec<_> = inspection
        .problems
        .iter()
        .map(ToString::to_string)
        .collect();
    problems.extend(load::size_problems(info, limits));
    let (exports, _) = check(info, None, &mut problems);
    if let Err(error) = load::check_magic(&code) {
        problems = vec![error.message().to_owned()];
    }
    let callbacks = Callback::ALL.iter().filter_map(|&callback| {
        let found = exports.get(callback)?;
        let (name, ..) = callback.spec();
        // Not the module's own words.
        if name == MODULE_START {
            return None;
        }
        Some((name.to_owned(), found.params))
    });
    let imports = info.imports.iter();
    Report {
        version: version(info),
        sdk: sdk::guess(&code, info),
        producers: info.producers.iter().map(producer).collect(),
        callbacks: callbacks.collect(),
        imports: imports
            .map(|import| format!("{}.{}", import.module, import.name))
            .collect(),
        problems,
    }
}

fn producer(producer: &Producer) -> String {
    let Producer {
        role,
        name,
        version,
    } = producer;
    format!("{name} {version} ({role})")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.map_or("none", Version::name);
        writeln!(f, "ABI: {version}")?;
        if let Some(sdk) = &self.sdk {
            writeln!(f, "SDK: {sdk}")?;
        }
        for producer in &self.producers {
            writeln!(f, "made by: {producer}")?;
        }
        for (name, params) in &self.callbacks {
            writeln!(f, "exports: {name} ({params} parameters)")?;
        }
        for import in &self.imports {
            writeln!(f, "imports: {import}")?;
        }
        if self.problems.is_empty() {
            return write!(f, "it would run");
        }
        write!(f, "it would not run:")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}
