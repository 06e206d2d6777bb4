//! What a partition runs: the packages of an application, loaded, and which extension follows which.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::engine::{ExtensionInstance, ExtensionPackage, Invocation, Outcome};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::factory;
use engine_core::host::{Host, Party, Tracer};
use engine_core::intent::Intents;
use engine_core::manifest::ExtensionKind;
use engine_core::registry::{self, PackageHash, Registry};

use crate::manifest::AppSpec;

/// The packages of an application on the engines that were chosen, shared by its partitions.
#[derive(Debug)]
pub struct Program {
    spec: AppSpec,
    packages: Vec<Loaded>,
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
}

impl Program {
    /// Loads every package of an application, on `engine` where one is given, else on the engine that the manifest names.
    ///
    /// # Errors
    /// `manifest` where no engine is named, `unknown` where it is not in this build, and those of loading.
    pub fn load(spec: AppSpec, engine: Option<&str>) -> Result<Self> {
        let mut packages = Vec::new();
        for (number, package) in spec.packages.iter().enumerate() {
            let name = engine.or(package.engine.as_deref()).ok_or_else(|| {
                Error::new(
                    ErrorKind::Manifest,
                    format!(
                        "package `{}` names no engine: give it `engine = \"…\"`, or choose one on the command line",
                        package.name
                    ),
                )
            })?;
            let source = spec.source(number, name, factory(name)?.kind())?;
            packages.push(Loaded {
                engine: name.to_owned(),
                hash: registry::hash(&source.code),
                package: Registry::global().package(name, &source)?,
            });
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
    pub fn packages(&self) -> &[Loaded] {
        &self.packages
    }

    /// What runs after a command.
    pub(crate) fn followers(&self, command: usize) -> &[usize] {
        &self.followers[command]
    }

    /// Everything that runs for commands, some of it twice.
    pub(crate) fn of_writer(&self) -> impl Iterator<Item = usize> {
        let commands = self.spec.of_kind(ExtensionKind::Command);
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

    /// The identity of the code that an extension is in.
    pub(crate) fn hash_of(&self, extension: usize) -> PackageHash {
        self.packages[self.spec.extensions[extension].package].hash
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

/// The instances of one thread, made when they are first needed.
#[derive(Debug)]
pub(crate) struct Instances {
    program: Arc<Program>,
    live: Vec<Option<Box<dyn ExtensionInstance>>>,
}

impl Instances {
    pub(crate) fn new(program: Arc<Program>) -> Self {
        let live = program.packages.iter().map(|_| None).collect();
        Self { program, live }
    }

    /// The instance of the package that an extension is in.
    ///
    /// # Errors
    /// Those of its initialisation.
    pub(crate) fn of(&mut self, extension: usize) -> Result<&mut dyn ExtensionInstance> {
        let package = self.program.spec.extensions[extension].package;
        let slot = &mut self.live[package];
        let instance = match slot.take() {
            Some(instance) => instance,
            None => self.program.packages[package].package.instantiate()?,
        };
        Ok(&mut **slot.insert(instance))
    }

    /// Makes ready what the next invocations would wait for; for a thread that waits itself.
    pub(crate) fn prepare(&mut self) {
        let live = self.live.iter_mut().flatten();
        live.for_each(|instance| instance.prepare());
    }

    /// Runs an extension once.
    pub(crate) fn invoke(
        &mut self,
        extension: usize,
        args: &[u8],
        tracer: Option<&dyn Tracer>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let number = self.program.spec.extensions[extension].number;
        let invocation = Invocation {
            extension: number,
            args,
            tracer,
        };
        if let Some(tracer) = tracer {
            let name = self.program.name_of(extension);
            let what = format!("Invoke({name})");
            tracer.crossing(Party::Partition, Party::Instance, &what);
        }
        let outcome = match self.of(extension) {
            Ok(instance) => instance.invoke(invocation, host, intents),
            Err(error) => Outcome::from(error),
        };
        if let Some(tracer) = tracer {
            tracer.crossing(Party::Instance, Party::Partition, "done Invoke");
        }
        outcome
    }
}
