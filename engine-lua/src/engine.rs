//! Engine `lua`: compiles chunks and checks that they offer what their manifests declare.

use std::sync::Arc;

use engine_core::cache::CodeCache;
use engine_core::engine::{Code, CodeReport, ExtEngine, ExtensionPackage, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::PackageManifest;
use engine_core::ticker::Ticker;

use crate::countdown;
use crate::error::{internal, syntax};
use crate::factory::LuaFactory;
use crate::glue;
use crate::package::{Chunk, LuaPackage};
use crate::sandbox::Sandbox;

/// Engine `lua`, shared by the process.
#[derive(Debug)]
pub(crate) struct LuaEngine {
    limits: EngineLimits,
    ticker: Arc<Ticker>,
}

impl LuaEngine {
    pub(crate) fn new(limits: EngineLimits) -> Result<Self> {
        let ticker = countdown::ticker().map_err(|e| internal("the ticker", e))?;
        Ok(Self {
            limits,
            ticker: Arc::new(ticker),
        })
    }

    /// Compiles a chunk and runs it once in a sandbox of its own, which is thrown away; or says what is wrong.
    fn try_out(
        &self,
        code: &Code,
        manifest: &Arc<PackageManifest>,
    ) -> Result<(Arc<Chunk>, Sandbox), String> {
        let Code::Bytes(source) = code else {
            return Err("engine `lua` runs Lua text, and this package is native".to_owned());
        };
        let name = format!("{}.lua", manifest.name);
        // The compiler takes a NUL for the end, and bytecode has some.
        if source.contains(&0) {
            return Err(format!("{name}: a NUL byte; a package is Lua text"));
        }
        let bytecode = compiler()
            .compile(without_mark(source))
            .map_err(|error| syntax(&name, &error))?;
        let glue = compiler().set_debug_level(0);
        let glue = glue.compile(glue::source(manifest));
        let glue = glue.map_err(|error| internal("the glue", error).to_string())?;
        let limits = Limits {
            memory: manifest.limits.memory.min(self.limits.memory),
            stack: manifest.limits.stack.min(self.limits.stack),
            ..manifest.limits.clone()
        };
        let chunk = Arc::new(Chunk {
            manifest: Arc::clone(manifest),
            limits,
            name,
            bytecode,
            glue,
            ticker: Arc::clone(&self.ticker),
        });
        let sandbox = Sandbox::new(&chunk, chunk.start_setup())
            .map_err(|error| error.message().to_owned())?;
        Ok((chunk, sandbox))
    }
}

/// A text without the byte order mark that some editors begin a file of UTF-8 with.
pub fn without_mark(source: &[u8]) -> &[u8] {
    source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source)
}

/// The settings under which every chunk is compiled, so that a package behaves the same everywhere.
pub fn compiler() -> mlua::chunk::Compiler {
    mlua::chunk::Compiler::new()
        .set_optimization_level(2)
        .set_debug_level(1)
}

impl ExtEngine for LuaEngine {
    fn name(&self) -> &'static str {
        LuaFactory.name()
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        _: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        let manifest = &source.manifest;
        LuaFactory.check_limits(manifest)?;
        let at = |error: Error| error.at(|| manifest.name.to_string());
        if let Code::Bytes(code) = &source.code
            && code.len() as u64 > manifest.limits.code_bytes
        {
            return Err(at(Error::limit(
                Limit::CodeBytes,
                manifest.limits.code_bytes,
            )));
        }
        let refuse = |report: String| at(Error::new(ErrorKind::Package, report));
        let (chunk, sandbox) = self.try_out(&source.code, manifest).map_err(refuse)?;
        let problems = sandbox.missing();
        if !problems.is_empty() {
            return Err(refuse(problems.join("\n")));
        }
        Ok(Arc::new(LuaPackage::new(chunk)))
    }

    fn inspect(&self, code: &Code) -> Result<CodeReport> {
        let Code::Bytes(source) = code else {
            return Err(Error::new(
                ErrorKind::Package,
                "engine `lua` runs Lua text, and this package is native",
            ));
        };
        let mut report = CodeReport {
            facts: vec![
                ("bytes".to_owned(), source.len().to_string()),
                ("runtime".to_owned(), LuaFactory.version().to_owned()),
            ],
            ..CodeReport::default()
        };
        let manifest = Arc::new(PackageManifest {
            name: "chunk".into(),
            catalog: Arc::default(),
            extensions: Vec::new(),
            limits: Limits::default(),
            policy: Default::default(),
            waived: Vec::new(),
        });
        match self.try_out(code, &manifest) {
            Ok((_, sandbox)) => {
                report.extensions = sandbox.functions();
                report.exports.clone_from(&report.extensions);
            }
            Err(problem) => report.problems.push(problem),
        }
        Ok(report)
    }
}
