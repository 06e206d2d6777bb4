//! What a partition runs: the packages of an application, loaded, and which extension follows which.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::engine::{Code, ExtensionPackage, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, factory};
use engine_core::manifest::ExtensionKind;
use engine_core::registry::{self, PackageHash, Registry};

use crate::lineup::Trial;
use crate::manifest::AppSpec;

/// The packages of an application on the engines that were chosen, shared by its partitions.
#[derive(Debug)]
pub struct Program {
    spec: AppSpec,
    packages: Vec<Arc<Loaded>>,
    /// The numbers of the extensions.
    numbers: HashMap<String, usize>,
    /// What runs after each extension that is a command: the validators in the order of the manifest, then the
    /// synchronous projectors.
    followers: Vec<Vec<usize>>,
}

/// A loaded package.
#[derive(Debug)]
pub struct Loaded {
    /// The engine that it is loaded on.
    pub engine: String,
    /// The identity of its code.
    pub hash: PackageHash,
    /// The package.
    pub package: Arc<dyn ExtensionPackage>,
    /// Present where it goes when it fails too often.
    pub(crate) trial: Option<Trial>,
}

impl Loaded {
    fn new(engine: &str, source: &PackageSource) -> Result<Self> {
        Ok(Self {
            engine: engine.to_owned(),
            hash: registry::hash(&source.code),
            package: Registry::global().package(engine, source)?,
            trial: None,
        })
    }
}

impl Program {
    /// Loads every package of an application, on `engine` where one is given, else on the engine that the manifest names.
    ///
    /// # Errors
    /// `manifest` where no engine is named, `unknown` where it is not in this build, and those of loading.
    pub fn load(spec: AppSpec, engine: Option<&str>) -> Result<Self> {
        Self::load_each(spec, engine, |_, _| ())
    }

    /// As [`Program::load`], and shows the code of each package that was loaded.
    pub(crate) fn load_each(
        spec: AppSpec,
        engine: Option<&str>,
        mut loaded: impl FnMut(Code, EngineKind),
    ) -> Result<Self> {
        let mut packages = Vec::new();
        for (number, package) in spec.packages.iter().enumerate() {
            let engine = engine.map_or_else(|| package.factory(), factory)?;
            let (name, kind) = (engine.name(), engine.kind());
            let source = spec.source(number, name, kind)?;
            packages.push(Arc::new(Loaded::new(name, &source)?));
            loaded(source.code, kind);
        }
        let names = spec.extensions.iter().map(|e| e.decl.name.to_string());
        Ok(Self {
            numbers: names.zip(0..).collect(),
            followers: followers(&spec),
            spec,
            packages,
        })
    }

    /// The application.
    pub fn spec(&self) -> &AppSpec {
        &self.spec
    }

    /// The packages, in the order of the manifest.
    pub fn packages(&self) -> &[Arc<Loaded>] {
        &self.packages
    }

    /// Loads other code in the place of a package, on the same engine and under the same declarations.
    ///
    /// # Errors
    /// Those of loading.
    pub(crate) fn version(&self, package: usize, code: Code) -> Result<Loaded> {
        let engine = &self.packages[package].engine;
        let source = PackageSource {
            manifest: Arc::new(self.spec.declared(package, engine)),
            code,
        };
        Loaded::new(engine, &source)
    }

    /// What runs after a command.
    pub(crate) fn followers(&self, command: usize) -> &[usize] {
        &self.followers[command]
    }

    /// Everything that runs for commands and jobs, some of it twice.
    pub(crate) fn of_writer(&self) -> impl Iterator<Item = usize> {
        let commands = self.spec.of_kind(ExtensionKind::Command);
        let commands = commands.chain(self.spec.of_kind(ExtensionKind::Job));
        let commands = commands.map(|(command, _)| command);
        commands.chain(self.followers.iter().flatten().copied())
    }

    /// The extension of a kind with this name.
    pub(crate) fn extension(&self, kind: ExtensionKind, name: &str) -> Result<usize> {
        let number = self.numbers.get(name).copied();
        number
            .filter(|&number| self.spec.extensions[number].decl.kind == kind)
            .ok_or_else(|| unknown(&self.spec, kind, name))
    }

    /// The command or job of this name, which are both logged as commands.
    pub(crate) fn command_or_job(&self, name: &str) -> Result<usize> {
        let command = self.extension(ExtensionKind::Command, name);
        command.or_else(|error| self.extension(ExtensionKind::Job, name).map_err(|_| error))
    }

    /// The number of the package that an extension is in.
    pub(crate) fn package_of(&self, extension: usize) -> usize {
        self.spec.extensions[extension].package
    }

    pub(crate) fn name_of(&self, extension: usize) -> &str {
        &self.spec.extensions[extension].decl.name
    }

    /// The asynchronous projectors.
    pub(crate) fn async_projectors(&self) -> impl Iterator<Item = usize> {
        let extensions = self.spec.extensions.iter().enumerate();
        extensions
            .filter(|(_, e)| e.asynchronous)
            .map(|(number, _)| number)
    }
}

fn unknown(spec: &AppSpec, kind: ExtensionKind, name: &str) -> Error {
    let names = spec.extensions.iter().filter(|e| e.decl.kind == kind);
    let names: Vec<_> = names.map(|e| &*e.decl.name).collect();
    Error::new(
        ErrorKind::Unknown,
        format!(
            "application `{}` has no {kind} `{name}`; it has: {}",
            spec.name,
            names.join(", ")
        ),
    )
}

fn followers(spec: &AppSpec) -> Vec<Vec<usize>> {
    let following = |kind, name: &str| {
        let extensions = spec.of_kind(kind);
        let following =
            extensions.filter(|(_, e)| !e.asynchronous && e.on.iter().any(|on| on == name));
        following.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let extensions = spec.extensions.iter();
    extensions
        .map(|extension| {
            let name = &*extension.decl.name;
            let mut followers = following(ExtensionKind::Validator, name);
            followers.extend(following(ExtensionKind::Projector, name));
            followers
        })
        .collect()
}
