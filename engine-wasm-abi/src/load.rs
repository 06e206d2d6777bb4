//! From a module to compiled code, for every ABI alike: its imports found, its sizes checked, metered, compiled or taken
//! from the cache.

use std::borrow::Cow;
use std::sync::Arc;

use engine_core::cache::{CodeCache, CodeKey};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::EngineLimits;
use engine_core::limits::{Limit, Limits};

use crate::fuel::{Costs, FUEL_GLOBAL, meter};
use crate::inspect::{Import, ItemType, ModuleInfo};
use crate::runtime::{
    Blueprint, ExportSpec, HostFunction, MAX_TABLES, NumberFunction, Runtime, RuntimeModule,
};
use crate::wasi::{self, WasiState};

const PAGE: u64 = 64 << 10;

/// The name of the exported memory.
pub const MEMORY: &str = "memory";

/// Refuses limits that a runtime was not made for.
///
/// # Errors
/// `not_kept`, naming both.
pub fn check_engine_limits(made: &EngineLimits, limits: &Limits) -> Result<()> {
    let wanted = EngineLimits::from(limits);
    // The stack is the engine's alone; memory and tables are also kept by package.
    if wanted.memory > made.memory
        || wanted.table_elements > made.table_elements
        || wanted.stack != made.stack
    {
        let message = format!("the engine was made for {made:?}, the package asks for {wanted:?}");
        return Err(Error::new(ErrorKind::NotKept, message));
    }
    Ok(())
}

/// Refuses code that is larger than allowed.
///
/// # Errors
/// The limit `code_bytes`.
pub fn check_code_bytes(code: &[u8], limits: &Limits) -> Result<()> {
    if code.len() as u64 <= limits.code_bytes {
        return Ok(());
    }
    Err(Error::limit(
        Limit::CodeBytes,
        format_args!("the code has {} bytes, {}", code.len(), limits.code_bytes),
    ))
}

/// Refuses what is no module at all, before all that a module lacks is counted up.
///
/// # Errors
/// `package`.
pub fn check_magic(code: &[u8]) -> Result<()> {
    const MAGIC: &[u8] = b"\0asm";
    if code.starts_with(MAGIC) {
        return Ok(());
    }
    let message = "this is no WebAssembly module: it does not begin with `\\0asm`";
    Err(Error::new(ErrorKind::Package, message))
}

/// The functions that an ABI offers: its own, and the stub of WASI.
#[derive(Debug)]
pub struct Offer<S: 'static> {
    /// What the ABI is called in problems, such as `ABI 1.1`.
    pub abi: &'static str,
    /// Its own functions.
    pub functions: &'static [HostFunction<S>],
}

impl<S: WasiState> Offer<S> {
    /// The function that an import means.
    ///
    /// # Errors
    /// The problem, where there is none of that name or type.
    pub fn find(&self, import: &Import) -> Result<&'static HostFunction<S>, String> {
        let Import { module, name, ty } = import;
        let abi = self.abi;
        let mut offered = self.functions.iter().chain(wasi::functions());
        let Some(function) = offered.find(|f| f.module == module && f.name == name) else {
            let names: Vec<_> = self.functions.iter().map(|f| f.name).collect();
            let own = match names.as_slice() {
                [] => String::new(),
                names => format!("{} in `env`, and ", names.join(", ")),
            };
            return Err(format!(
                "import `{module}.{name}`, a {ty}, is not offered by {abi}: it has {own}a small part of `wasi_snapshot_preview1`"
            ));
        };
        match ty {
            ItemType::Func(sig) if **sig == function.call.signature() => Ok(function),
            other => Err(format!(
                "import `{module}.{name}` is a {other}, but {abi} has it as a function {}",
                function.call.signature()
            )),
        }
    }

    /// The functions that a checked module imports, each once.
    pub fn imports(&self, info: &ModuleInfo) -> Vec<&'static HostFunction<S>> {
        let mut found: Vec<&HostFunction<S>> = Vec::new();
        for function in info.imports.iter().flat_map(|import| self.find(import)) {
            let same = |known: &&HostFunction<S>| {
                (known.module, known.name) == (function.module, function.name)
            };
            if !found.iter().any(same) {
                found.push(function);
            }
        }
        found
    }
}

/// What of a module's sizes is beyond its limits, and what it calls as only the host may.
pub fn size_problems(info: &ModuleInfo, limits: &Limits) -> Vec<String> {
    let mut problems = Vec::new();
    if info.export(FUEL_GLOBAL).is_some() {
        problems.push(format!(
            "export `{FUEL_GLOBAL}` is reserved for metering: give it another name"
        ));
    }
    let mut check = |limit: Limit, what: &str, found: u64, allowed: u64| {
        if found > allowed {
            problems.push(format!(
                "limit `{limit}`: {what} {found}, {allowed} allowed"
            ));
        }
    };
    let functions = u64::from(info.functions);
    check(
        Limit::Functions,
        "functions",
        functions,
        limits.functions.into(),
    );
    if let Some(largest) = &info.largest_function {
        let name = largest.name.as_deref().unwrap_or("without a name");
        let what = format!("bytes in the body of function {} ({name})", largest.index);
        let allowed = limits.function_bytes.into();
        check(Limit::FunctionBytes, &what, largest.bytes.into(), allowed);
    }
    let pages = info.memories.iter().map(|memory| memory.min_pages);
    let memory = pages.fold(0, u64::saturating_add).saturating_mul(PAGE);
    check(
        Limit::Memory,
        "bytes of memory at the start",
        memory,
        limits.memory,
    );
    let elements = info
        .tables
        .iter()
        .map(|table| table.min)
        .fold(0, u64::saturating_add);
    let allowed = limits.table_elements.into();
    check(
        Limit::TableElements,
        "elements of tables at the start",
        elements,
        allowed,
    );
    if info.tables.len() > MAX_TABLES {
        problems.push(format!(
            "{} tables, {MAX_TABLES} allowed",
            info.tables.len()
        ));
    }
    problems
}

/// A module that passed its ABI's checks.
#[derive(Debug)]
pub struct Checked<'a, S: 'static> {
    /// The module.
    pub code: &'a [u8],
    /// The functions that it imports, each once.
    pub imports: Vec<&'static HostFunction<S>>,
    /// The exports that the ABI calls.
    pub exports: &'static [ExportSpec],
    /// The functions of numbers that the ABI calls beside them.
    pub functions: &'a [NumberFunction],
    /// The package's limits.
    pub limits: &'a Limits,
}

/// Meters a module where it must be and compiles it, or takes it from the cache.
///
/// # Errors
/// `package` where it cannot be metered or compiled.
pub fn compile<R: Runtime, S: 'static>(
    runtime: &Arc<R>,
    checked: Checked<'_, S>,
    cache: Option<&CodeCache>,
) -> Result<R::Module<S>> {
    let metered = R::ALWAYS_METERED || checked.limits.fuel.is_some();
    let code = if metered {
        let metered = meter(checked.code, &Costs::default());
        Cow::Owned(metered.map_err(|e| Error::new(ErrorKind::Package, e.to_string()))?)
    } else {
        Cow::Borrowed(checked.code)
    };
    let blueprint = Blueprint {
        code: &code,
        metered,
        imports: checked.imports,
        exports: checked.exports,
        functions: checked.functions,
        limits: checked.limits,
    };
    let Some(cache) = cache else {
        return runtime.compile(&blueprint);
    };
    let factory = runtime.factory();
    // Our own version too: a newer one may configure the runtime in another way.
    let (version, own) = (factory.version(), env!("CARGO_PKG_VERSION"));
    let settings = format!("{version} {own} {}", runtime.settings(&blueprint));
    let key = CodeKey::new(factory.name(), &settings, &code);
    if let Some(kept) = cache.get(&key) {
        #[allow(unsafe_code, reason = "machine code cannot be checked")]
        // SAFETY: the entry's keyed hash was right, so it was put under this key, which names the engine, both versions and
        // all settings; and only what `compiled` gave may be put.
        let revived = unsafe { runtime.revive(&blueprint, &kept) };
        if let Some(module) = revived {
            return Ok(module);
        }
    }
    let module = runtime.compile(&blueprint)?;
    if let Some(compiled) = module.compiled() {
        #[allow(unsafe_code, reason = "the host will run what is put")]
        // SAFETY: the engine that the key names made it just now, from the code and under the settings in the key.
        unsafe {
            cache.put(&key, &compiled);
        }
    }
    Ok(module)
}
