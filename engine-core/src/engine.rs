//! The three traits, for three lifetimes: engine, package, instance.

use std::any::Any;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::cache::CodeCache;
use crate::call::Settle;
use crate::error::{Error, Result};
use crate::host::{Host, Tracer};
use crate::intent::Intents;
use crate::limits::Ledger;
use crate::manifest::PackageManifest;

/// A backend for one kind of code, shared by the whole process.
///
/// It turns package sources into [`ExtensionPackage`]s. It can be used from many threads at once.
///
/// Whoever needs more of an engine than this may look for its own type (`Any`).
pub trait ExtEngine: Any + Send + Sync + fmt::Debug {
    /// The engine's name, such as `wasmtime`.
    fn name(&self) -> &'static str;

    /// Compiles a package, or says everything that keeps it from loading.
    ///
    /// # Errors
    /// `package` with the whole report, `not_kept` where the engine cannot keep a limit that is not waived,
    /// or the limit on code that is exceeded.
    fn load(&self, source: &PackageSource) -> Result<Arc<dyn ExtensionPackage>> {
        self.load_cached(source, None)
    }

    /// As [`ExtEngine::load`]; an engine that compiles to machine code takes from the cache what it has put there before.
    ///
    /// # Errors
    /// As [`ExtEngine::load`].
    fn load_cached(
        &self,
        source: &PackageSource,
        cache: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>>;

    /// Says what code exports, imports and needs, whether it would load or not.
    ///
    /// # Errors
    /// `package` where the code cannot be read at all.
    fn inspect(&self, code: &Code) -> Result<CodeReport>;
}

/// A package's code and what its manifest declares.
#[derive(Clone, Debug)]
pub struct PackageSource {
    /// The declarations.
    pub manifest: Arc<PackageManifest>,
    /// The code.
    pub code: Code,
}

/// The code of a package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A WASM module or a Lua chunk.
    Bytes(Arc<[u8]>),
    /// The name of a package of native extensions that is linked into this program.
    Native(Arc<str>),
}

/// Reads a file of code, and of one with more than `most` bytes a single one more, by which whoever loads it sees that.
///
/// # Errors
/// Those of the file, also where it is no regular one: a pipe or a device may have no end.
pub fn read_code(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Before it is opened, which waits where it is a pipe.
    if !fs::metadata(path)?.is_file() {
        let message = "it is no regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut code = Vec::new();
    let mut file = File::open(path)?.take(most.saturating_add(1));
    file.read_to_end(&mut code)?;
    Ok(code)
}

/// What code offers and wants, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CodeReport {
    /// The extensions found, where the code tells.
    pub extensions: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// Facts such as size, memory, tables and tools that made it.
    pub facts: Vec<(String, String)>,
    /// What keeps it from loading on this engine.
    pub problems: Vec<String>,
}

/// Compiled code with its manifest; immutable and shared by all partitions and threads.
pub trait ExtensionPackage: Send + Sync + fmt::Debug {
    /// What the package declares.
    fn manifest(&self) -> &Arc<PackageManifest>;

    /// Makes an instance for the thread that calls this.
    ///
    /// # Errors
    /// Those of the guest's initialisation, or `limit`s that it hits.
    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>>;
}

/// One sandbox, on the thread that made it.
///
/// After any error the next invocation starts from a clean sandbox, without the caller's help. Dropping an instance
/// ends it in order (`WasmFinit` for WASM).
pub trait ExtensionInstance: fmt::Debug {
    /// Runs an extension once: `intents` holds what it asks for, or nothing if it fails.
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome;

    /// Runs invocations one after another and hands each one's outcome and intents to `settle`, by its place in `batch`.
    ///
    /// Each has a budget of its own, and one that fails leaves the results of its neighbours standing. Where the engine
    /// and the guest can, the guest pulls them all in one crossing.
    fn invoke_batch(
        &mut self,
        batch: &[Invocation<'_>],
        host: &dyn Host,
        intents: &mut Intents,
        settle: &mut Settle<'_>,
    ) {
        one_by_one(self, batch, host, intents, settle);
    }

    /// Makes ready what the next invocation would wait for, such as a sandbox in place of a broken one.
    ///
    /// For a thread that has nothing else to do; whoever never calls it gets the same answers.
    fn prepare(&mut self) {}
}

/// Runs the invocations of a batch each by itself.
pub fn one_by_one<I: ExtensionInstance + ?Sized>(
    instance: &mut I,
    batch: &[Invocation<'_>],
    host: &dyn Host,
    intents: &mut Intents,
    settle: &mut Settle<'_>,
) {
    for (place, invocation) in batch.iter().enumerate() {
        let outcome = instance.invoke(*invocation, host, intents);
        settle(place, outcome, intents);
    }
}

/// What is asked of an instance.
#[derive(Clone, Copy)]
pub struct Invocation<'a> {
    /// The extension's position in the manifest.
    pub extension: usize,
    /// The arguments, encoded by the extension's schema; the caller has checked them.
    pub args: &'a [u8],
    /// Who wants to know of each crossing.
    pub tracer: Option<&'a dyn Tracer>,
}

impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("extension", &self.extension)
            .field("args", &self.args.len())
            .finish_non_exhaustive()
    }
}

/// How an invocation ended, and what it used.
#[derive(Debug)]
pub struct Outcome {
    /// Nothing, or the error that ended it.
    pub result: Result<()>,
    /// What it used, in both cases.
    pub ledger: Ledger,
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self {
            result: Err(error),
            ledger: Ledger::default(),
        }
    }
}
