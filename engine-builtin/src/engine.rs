//! Engine `builtin`: finds the linked extensions and checks that they are what manifests declare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine_core::cache::CodeCache;
use engine_core::engine::{Code, CodeReport, ExtEngine, ExtensionPackage, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::ExtEngineFactory;
use engine_core::manifest::ExtensionDecl;
use engine_core::ticker::Ticker;
use extengine_guest::{Extension, extensions};

use crate::factory::BuiltinFactory;
use crate::package::BuiltinPackage;

/// Engine `builtin`, shared by the process.
#[derive(Debug)]
pub(crate) struct BuiltinEngine {
    ticker: Arc<Ticker>,
}

impl BuiltinEngine {
    pub(crate) fn new() -> Result<Self> {
        let ticker = Ticker::start_with(|| ()).map_err(|error| {
            Error::new(ErrorKind::Internal, "the ticker does not start").with_source(error)
        })?;
        Ok(Self {
            ticker: Arc::new(ticker),
        })
    }
}

impl ExtEngine for BuiltinEngine {
    fn name(&self) -> &'static str {
        BuiltinFactory.name()
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        _: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        let manifest = &source.manifest;
        BuiltinFactory.check_limits(manifest)?;
        let refuse = |problems: Vec<String>| {
            Error::new(ErrorKind::Package, problems.join("\n")).at(|| manifest.name.to_string())
        };
        let mut linked = Linked::find(&source.code).map_err(|problem| refuse(vec![problem]))?;
        let declared = manifest.extensions.iter().map(|decl| linked.get(decl));
        let declared: Vec<_> = declared.collect();
        let mut problems = std::mem::take(&mut linked.problems);
        let mut runs = Vec::with_capacity(declared.len());
        for found in declared {
            match found {
                Ok(extension) => runs.push(extension.run),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(refuse(problems));
        }
        Ok(Arc::new(BuiltinPackage::new(
            Arc::clone(manifest),
            Arc::clone(&self.ticker),
            runs.into(),
        )))
    }

    fn inspect(&self, code: &Code) -> Result<CodeReport> {
        let not_there = |problem| Error::new(ErrorKind::Package, problem);
        let linked = Linked::find(code).map_err(not_there)?;
        let kinds = linked.extensions.values();
        Ok(CodeReport {
            extensions: linked.extensions.keys().map(|&name| name.into()).collect(),
            facts: kinds
                .map(|extension| (extension.name.to_owned(), extension.kind.to_string()))
                .collect(),
            problems: linked.problems,
            ..CodeReport::default()
        })
    }
}

/// The linked extensions of one package.
struct Linked {
    extensions: BTreeMap<&'static str, &'static Extension>,
    problems: Vec<String>,
}

impl Linked {
    fn find(code: &Code) -> Result<Self, String> {
        let Code::Native(package) = code else {
            return Err(
                "engine `builtin` runs extensions that are linked into the program, no bytes"
                    .to_owned(),
            );
        };
        let mut linked = Self {
            extensions: BTreeMap::new(),
            problems: Vec::new(),
        };
        for extension in extensions().filter(|extension| extension.package() == &**package) {
            let name = extension.name;
            if linked.extensions.insert(name, extension).is_some() {
                linked
                    .problems
                    .push(format!("two extensions of the package are named `{name}`"));
            }
        }
        if linked.extensions.is_empty() {
            let packages: BTreeSet<_> = extensions().map(Extension::package).collect();
            return Err(format!(
                "no native package `{package}` is linked into this program, which has: {}; \
                 name its crate in the program, as in `use {} as _;`",
                list(packages),
                package.replace('-', "_")
            ));
        }
        Ok(linked)
    }

    fn get(&self, decl: &ExtensionDecl) -> Result<&'static Extension, String> {
        match self.extensions.get(&*decl.name) {
            Some(extension) if extension.kind as u8 == decl.kind as u8 => Ok(extension),
            Some(extension) => Err(format!(
                "extension `{}` is declared as a {}, but the code has a {}",
                decl.name, decl.kind, extension.kind
            )),
            None => Err(format!(
                "extension `{}` is declared, but the code has only: {}",
                decl.name,
                list(self.extensions.keys().copied())
            )),
        }
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
