//! A plugin's configuration, in JSON or TOML, checked whole.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine_core::catalog::Catalog;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, ExtEngineFactory, factories, factory};
use engine_core::limits::{Limit, Limits, is_size, size};
use engine_core::manifest::{ExtensionDecl, PackageManifest, Policy};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use crate::signature::Function;

/// The most instances of one plugin.
const MAX_INSTANCES: usize = 256;

/// The most calls that may wait for one plugin, which has room for all of them from the start.
const MAX_QUEUE: usize = 65_536;

/// The engine that the first design of such plugins named, and that no build has.
const WASMEDGE: &str = "wasmedge";

/// How a module's functions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Abi {
    /// By our own contract: extensions of kind `function`.
    Extengine,
    /// By the bindgen wire format.
    Bindgen,
    /// As they are: functions of numbers.
    Plain,
}

impl Abi {
    /// What problems call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Extengine => "our own contract",
            Self::Bindgen => "the bindgen wire format",
            Self::Plain => "a plain export",
        }
    }
}

/// The form of a number of bytes.
const SIZE: &str = "a size, such as `1048576` or `\"1 MiB\"` (KiB, MiB, GiB),";

/// What a plugin is.
///
/// ```
/// use functions::PluginConfig;
/// let config = PluginConfig::from_json(r#"{
///     "name": "car",
///     "instance_num": 4,
///     "vm_config": {"engine": "wasmtime", "path": "car.wasm"},
///     "functions": ["link", "rank(speed: f64) -> i32"]
/// }"#, "/plugins".as_ref()).unwrap();
/// assert_eq!(config.path, std::path::Path::new("/plugins/car.wasm"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    /// The name.
    pub name: String,
    /// The version, for whoever reads it.
    pub version: Option<String>,
    /// How many instances are kept warm, each on a thread of its own; 1 to 256.
    pub instance_num: usize,
    /// The engine's name.
    pub engine: String,
    /// The file with the code; for engine `builtin` the name of a linked package.
    pub path: PathBuf,
    /// How a module's functions are called; found out where it is not said.
    pub abi: Option<Abi>,
    /// The functions that it offers.
    pub functions: Vec<Function>,
    /// The limits.
    pub limits: Limits,
    /// The limits that its engine need not keep.
    pub waive: Vec<Limit>,
    /// Whether instances are kept between calls.
    pub policy: Policy,
    /// The foreign functions that its functions may call; for our own contract.
    pub foreign: Vec<String>,
    /// How long a call waits for an instance.
    pub timeout: Duration,
    /// How many calls may wait; 1 to 65,536.
    pub queue: usize,
    /// What was read otherwise than it was written.
    pub notices: Vec<String>,
}

/// The forms of configurations, all at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    version: Option<String>,
    instance_num: Option<usize>,
    vm_config: Option<OneOrMore>,
    engine: Option<String>,
    path: Option<PathBuf>,
    #[serde(rename = "wasmEngine")]
    wasm_engine: Option<String>,
    #[serde(rename = "wasmFile")]
    wasm_file: Option<PathBuf>,
    abi: Option<Abi>,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default, deserialize_with = "each_once")]
    limits: Map<String, Json>,
    #[serde(default)]
    waive: Vec<Limit>,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    foreign: Vec<String>,
    timeout_ms: Option<u64>,
    queue: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VmConfig {
    engine: Option<String>,
    path: Option<PathBuf>,
}

/// An object, or a list of one object.
struct OneOrMore(VmConfig);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(VmConfig),
            List([VmConfig; 1]),
        }
        let either = Either::deserialize(deserializer).map_err(|_| {
            serde::de::Error::custom(
                "`vm_config` is an object with `engine` and `path`, or a list of one such object",
            )
        })?;
        Ok(Self(match either {
            Either::One(config) | Either::List([config]) => config,
        }))
    }
}

impl PluginConfig {
    /// Reads a configuration in JSON; `folder` is where its relative paths begin.
    ///
    /// Takes the fields `name`, `instance_num`, `vm_config` and `functions`, those of later eKuiper versions (`version`,
    /// `functions`, `wasmFile`, `wasmEngine`), and all of [`PluginConfig::from_toml`].
    ///
    /// # Errors
    /// `manifest`: what is not of the form, an unknown field or a wrong type, by itself; else everything that is wrong.
    pub fn from_json(text: &str, folder: &Path) -> Result<Self> {
        let written = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        Self::read(written, None, folder)
    }

    /// Reads a configuration in TOML: the same fields, where `engine` and `path` may also stand without `vm_config`, and
    /// `abi`, `limits`, `waive`, `policy`, `foreign`, `timeout_ms` and `queue`.
    ///
    /// # Errors
    /// As [`PluginConfig::from_json`].
    pub fn from_toml(text: &str, folder: &Path) -> Result<Self> {
        let written = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        Self::read(written, None, folder)
    }

    /// Reads a file, by its extension `json` or `toml`; a plugin without a name has the file's.
    ///
    /// # Errors
    /// `io` where it cannot be read, else those of [`PluginConfig::from_json`].
    pub fn from_file(file: &Path) -> Result<Self> {
        let at = || file.display().to_string();
        let text = fs::read_to_string(file).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot be read: {error}")).at(at)
        })?;
        let written = match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => serde_json::from_str(&text).map_err(|e| wrong(e.to_string())),
            Some("toml") => toml::from_str(&text).map_err(|e| wrong(e.to_string())),
            _ => Err(wrong("a configuration's name ends in `.json` or `.toml`")),
        };
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        let folder = file.parent().unwrap_or(Path::new("."));
        written
            .and_then(|written| Self::read(written, stem, folder))
            .map_err(|error| error.at(at))
    }

    /// Reads every configuration of a folder, in the order of their names.
    ///
    /// # Errors
    /// `io` where the folder cannot be read; what is wrong with a configuration stands in its place.
    pub fn from_folder(folder: &Path) -> Result<Vec<Result<Self>>> {
        let at = || folder.display().to_string();
        let listed = fs::read_dir(folder).and_then(|entries| {
            let paths = entries.map(|entry| Ok(entry?.path()));
            paths.collect::<std::io::Result<Vec<_>>>()
        });
        let mut files = listed.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot be read: {error}")).at(at)
        })?;
        files.retain(|file| file.extension().is_some_and(|e| e == "json" || e == "toml"));
        files.sort();
        Ok(files.iter().map(|file| Self::from_file(file)).collect())
    }

    fn read(written: Written, stem: Option<&str>, folder: &Path) -> Result<Self> {
        let mut problems = Vec::new();
        let mut notices = Vec::new();
        let vm = written.vm_config.map(|vm| vm.0);
        let (vm_engine, vm_path) = vm.map_or((None, None), |vm| (vm.engine, vm.path));
        let mut only = |what: &str, ways: [(&str, bool); 3]| {
            let given: Vec<_> = ways
                .iter()
                .filter(|(_, given)| *given)
                .map(|(way, _)| *way)
                .collect();
            if given.len() > 1 {
                problems.push(format!(
                    "the {what} is given more than once: {}",
                    given.join(", ")
                ));
            }
        };
        only(
            "engine",
            [
                ("vm_config.engine", vm_engine.is_some()),
                ("engine", written.engine.is_some()),
                ("wasmEngine", written.wasm_engine.is_some()),
            ],
        );
        only(
            "code's file",
            [
                ("vm_config.path", vm_path.is_some()),
                ("path", written.path.is_some()),
                ("wasmFile", written.wasm_file.is_some()),
            ],
        );
        let name = written
            .name
            .as_deref()
            .or(stem)
            .unwrap_or_default()
            .to_owned();
        let engine = vm_engine.or(written.engine).or(written.wasm_engine);
        let engine = engine_named(engine.as_deref(), &mut problems, &mut notices);
        let path = vm_path.or(written.path).or(written.wasm_file);
        let path = match path {
            // A linked package has a name and no file.
            Some(path) if engine == "builtin" => path,
            Some(path) => folder.join(path),
            None => {
                problems.push("no file with the code: give `path`".to_owned());
                PathBuf::new()
            }
        };
        let functions = functions(&written.functions, &mut problems);
        let limits = limits(&written.limits, &mut problems);
        let config = Self {
            name,
            version: written.version,
            instance_num: written.instance_num.unwrap_or(1),
            engine,
            path,
            abi: written.abi,
            functions,
            limits,
            waive: written.waive,
            policy: written.policy,
            foreign: written.foreign,
            timeout: Duration::from_millis(written.timeout_ms.unwrap_or(1000)),
            queue: written.queue.unwrap_or(1024),
            notices,
        };
        problems.extend(config.problems(written.functions.len()));
        if !problems.is_empty() {
            return Err(wrong(problems.join("\n")));
        }
        Ok(config)
    }

    /// Checks what a configuration's form leaves open, as code can make any: its name, how many instances it has and how
    /// many calls may wait, and that there are functions and none stands twice.
    ///
    /// # Errors
    /// `manifest`, with everything that is wrong.
    pub fn validate(&self) -> Result<()> {
        let problems = self.problems(self.functions.len());
        if problems.is_empty() {
            return Ok(());
        }
        Err(wrong(problems.join("\n")).at(|| self.name.clone()))
    }

    /// What is wrong beside the form, where so many functions were written, the illegible ones included.
    fn problems(&self, written: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let named = |c: char| c.is_alphanumeric() || "_-".contains(c);
        if self.name.is_empty() || !self.name.chars().all(named) {
            problems.push(format!(
                "`name` is {:?}: letters, digits, `_` and `-` are wanted",
                self.name
            ));
        }
        for (field, number, most) in [
            ("instance_num", self.instance_num, MAX_INSTANCES),
            ("queue", self.queue, MAX_QUEUE),
        ] {
            if !(1..=most).contains(&number) {
                problems.push(format!("`{field}` is {number}: 1 to {most} are wanted"));
            }
        }
        if written == 0 {
            problems.push("`functions` is empty: name what the plugin offers".to_owned());
        }
        for (place, function) in self.functions.iter().enumerate() {
            let same = |other: &Function| other.name == function.name;
            if self.functions[..place].iter().any(same) {
                problems.push(format!("function `{}` stands twice", function.name));
            }
        }
        problems
    }

    /// The kind of code that its engine runs.
    ///
    /// # Errors
    /// `unknown` where this build has no such engine.
    pub(crate) fn kind(&self) -> Result<EngineKind> {
        Ok(factory(&self.engine)?.kind())
    }

    /// The plugin as a package of the contract.
    pub(crate) fn manifest(
        &self,
        catalog: Arc<Catalog>,
        extensions: Vec<ExtensionDecl>,
    ) -> PackageManifest {
        PackageManifest {
            name: self.name.as_str().into(),
            catalog,
            extensions,
            limits: self.limits.clone(),
            policy: self.policy,
            waived: self.waive.clone(),
        }
    }
}

/// The engine of this name in this build.
fn engine_named(
    wanted: Option<&str>,
    problems: &mut Vec<String>,
    notices: &mut Vec<String>,
) -> String {
    let wasm = || {
        let wasm = |factory: &&'static dyn ExtEngineFactory| factory.kind() == EngineKind::Wasm;
        // By name, wasmtime is the later of the two, and the one to prefer.
        factories().into_iter().rfind(wasm)
    };
    match (wanted, wasm()) {
        (None, Some(default)) => default.name().to_owned(),
        (Some(WASMEDGE), Some(default)) => {
            let name = default.name();
            notices.push(format!(
                "engine `{WASMEDGE}` is not of this build; `{name}` runs the same modules"
            ));
            name.to_owned()
        }
        (None | Some(WASMEDGE), None) => {
            problems.push(
                "this build has no WASM engine: build it with feature `wasmtime` or `wasmer`"
                    .to_owned(),
            );
            String::new()
        }
        (Some(name), _) => {
            if let Err(error) = factory(name) {
                problems.push(error.message().to_owned());
            }
            name.to_owned()
        }
    }
}

/// Reads fields, each of which stands once: of two that say different things neither is the one that was meant.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Json>, D::Error> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Map<String, Json>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Map::new();
            while let Some((name, value)) = map.next_entry::<String, Json>()? {
                if fields.contains_key(&name) {
                    return Err(A::Error::custom(format!("`{name}` stands twice")));
                }
                fields.insert(name, value);
            }
            Ok(fields)
        }
    }
    deserializer.deserialize_map(Fields)
}

/// The limits as an application's manifest has them: whole numbers from 1 on, bytes also as sizes with a unit.
fn limits(written: &Map<String, Json>, problems: &mut Vec<String>) -> Limits {
    let mut limits = match serde_json::to_value(Limits::default()) {
        Ok(Json::Object(limits)) => limits,
        _ => Map::new(),
    };
    for (name, value) in written {
        let Some(default) = limits.get(name).cloned() else {
            problems.push(format!("`limits` has no `{name}`"));
            continue;
        };
        let (number, form) = match value {
            Json::String(text) if is_size(name) => (size(text), SIZE),
            value if is_size(name) => (value.as_u64(), SIZE),
            value => (value.as_u64(), "a whole number"),
        };
        let Some(number) = number.filter(|number| *number > 0) else {
            problems.push(format!("`limits.{name}` must be {form} of at least 1"));
            continue;
        };
        limits.insert(name.clone(), number.into());
        if serde_json::from_value::<Limits>(limits.clone().into()).is_err() {
            let most = u32::MAX;
            problems.push(format!("`limits.{name}` is too large: at most {most}"));
            limits.insert(name.clone(), default);
        }
    }
    serde_json::from_value(limits.into()).unwrap_or_default()
}

fn functions(written: &[String], problems: &mut Vec<String>) -> Vec<Function> {
    let mut functions = Vec::new();
    for text in written {
        match Function::parse(text) {
            Ok(function) => functions.push(function),
            Err(error) => problems.push(error.message().to_owned()),
        }
    }
    functions
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Manifest, message)
}
