//! The application that the tests run: one command that does what its arguments say, and followers that count.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use engine_core::engine::Code;
use engine_core::error::{ErrorKind, Result};
use engine_core::foreign::ForeignFunctions;
use engine_core::manifest::Verb;
use partition::application::{Application, Options};
use partition::manifest::AppSpec;
use partition::platform::Platform;
use partition::platform::sim::SimPlatform;
use partition::program::Program;
use partition::{Accepted, LogLine, rows};
use serde_json::{Value as Json, json};

use crate::engine::{Guest, Native, link, reject};

/// Where the simulated machine keeps the data.
pub(crate) const DATA: &str = "/data";

const MANIFEST: &str = r#"
[app]
name = "ledger"
engine = "probe"

[storages.row]
key = "id: int"
value = "n: int"

[storages.mirror]
key = "id: int"
value = "n: int"

[storages.total]
key = "of: text"
value = "n: int, events: int"

[storages.note]
key = "step: text"
value = "what: text"

[packages.main]
builtin = "PACKAGE"
limits = { deadline_ms = 600_000 }

[extensions.Do]
kind = "command"
args = "ops: [{verb: text, id: int, n: int}], by: text?"
result = "n: int"
route = "by"
access = { row = ["read", "insert", "update", "put", "delete"], note = ["put"] }

[extensions.Lucky]
kind = "validator"
on = ["Do"]
access = { row = ["read"], mirror = ["read"], note = ["read"] }

[extensions.Mirror]
kind = "projector"
on = ["Do"]
access = { row = ["read"], mirror = ["read", "put", "delete"], note = ["read", "put"] }

[extensions.Notes]
kind = "projector"
on = ["Do"]
access = { row = ["read"], mirror = ["read"], note = ["read", "put"] }

[extensions.Sum]
kind = "projector"
mode = "async"
on = ["Do"]
access = { total = ["read", "insert", "update", "put"] }

[extensions.Get]
kind = "query"
args = "id: int, by: text?"
result = "n: int"
route = "by"
access = { row = ["read"] }

[extensions.All]
kind = "query"
result = "id: int, n: int"
access = { row = ["read"] }

[partition]
segment_bytes = "16 KiB"
"#;

/// A logged line: extension, partition, level, message.
pub(crate) type Line = (String, u32, String, String);

/// An application on a simulated machine, open or not.
pub(crate) struct App {
    pub(crate) native: Arc<Native>,
    pub(crate) platform: SimPlatform,
    /// The machine that this runs on, for what cannot be simulated.
    pub(crate) real: Option<Arc<dyn Platform>>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) partitions: Option<u32>,
    pub(crate) jobs: bool,
    /// The manifest, for tests that change it.
    pub(crate) manifest: String,
    pub(crate) functions: ForeignFunctions,
    /// What the operator was told.
    pub(crate) notices: Arc<Mutex<Vec<String>>>,
    /// What extensions logged.
    pub(crate) lines: Arc<Mutex<Vec<Line>>>,
}

impl App {
    /// The application as above, with its usual extensions.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let package = format!("package{number}");
        let native = Arc::new(Native::default());
        link(&package, &native);
        native.set_usual();
        Self {
            native,
            platform: SimPlatform::new(number),
            real: None,
            data: Some(DATA.into()),
            partitions: None,
            jobs: true,
            manifest: MANIFEST.replace("PACKAGE", &package),
            functions: ForeignFunctions::new(),
            notices: Arc::default(),
            lines: Arc::default(),
        }
    }

    /// The same application with a setting of its partitions.
    pub(crate) fn with(mut self, settings: &str) -> Self {
        self.manifest.push_str(settings);
        self.manifest.push('\n');
        self
    }

    /// The same application, with a text of its manifest replaced.
    pub(crate) fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.manifest.contains(from), "{from}");
        self.manifest = self.manifest.replace(from, to);
        self
    }

    /// The same application that keeps nothing.
    pub(crate) fn volatile(mut self) -> Self {
        self.data = None;
        self
    }

    pub(crate) fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    pub(crate) fn spec(&self) -> AppSpec {
        let mut spec = self.parse().unwrap();
        if let Some(partitions) = self.partitions {
            spec.set_partitions(partitions).unwrap();
        }
        spec
    }

    fn parse(&self) -> Result<AppSpec> {
        AppSpec::parse_with(&self.manifest, Path::new("."), self.functions.clone())
    }

    pub(crate) fn program(&self) -> Arc<Program> {
        Arc::new(Program::load(self.spec(), None).unwrap())
    }

    pub(crate) fn arc_platform(&self) -> Arc<dyn Platform> {
        match &self.real {
            Some(real) => real.clone(),
            None => Arc::new(self.platform.clone()),
        }
    }

    pub(crate) fn try_open(&self) -> Result<Application> {
        let (notices, lines) = (self.notices.clone(), self.lines.clone());
        let options = Options {
            engine: None,
            partitions: self.partitions,
            data: self.data.clone(),
            jobs: self.jobs,
            platform: Some(self.arc_platform()),
            logger: Arc::new(move |line: &LogLine<'_>| {
                lines.lock().unwrap().push((
                    line.extension.to_owned(),
                    line.partition,
                    line.level.to_owned(),
                    line.message.to_owned(),
                ));
            }),
            notices: Arc::new(move |notice| notices.lock().unwrap().push(notice.to_owned())),
        };
        self.parse()
            .and_then(|spec| Application::open(spec, options))
    }

    pub(crate) fn open(&self) -> Application {
        self.try_open().unwrap()
    }

    /// Makes `Do` hold where its arguments are those of [`hold`].
    pub(crate) fn gate(&self) -> Gate {
        self.gate_at("Do", run_ops, |guest| guest.args() == hold())
    }

    /// Makes an extension hold at some invocations, before it does what it does.
    pub(crate) fn gate_at(
        &self,
        extension: &str,
        run: fn(&Guest<'_, '_>) -> Result<()>,
        held: impl Fn(&Guest<'_, '_>) -> bool + Send + Sync + 'static,
    ) -> Gate {
        let (enter, entered) = unbounded();
        let (go, gone) = unbounded();
        self.native.set(extension, move |guest| {
            if held(guest) {
                enter.send(()).unwrap();
                gone.recv().unwrap();
            }
            run(guest)
        });
        Gate { entered, go }
    }

    pub(crate) fn notices(&self) -> String {
        self.notices.lock().unwrap().join("\n")
    }

    /// Links another version of the package: the usual extensions, for the test to change.
    pub(crate) fn version(&self, name: &str) -> (Arc<Native>, Code) {
        let package = self.manifest.split("builtin = \"").nth(1).unwrap();
        let name = format!("{}-{name}", package.split('"').next().unwrap());
        let native = Arc::new(Native::default());
        native.set_usual();
        link(&name, &native);
        (native, Code::Native(name.into()))
    }

    /// The files in a folder of partition 0, with their paths.
    pub(crate) fn files(&self, folder: &str, end: &str) -> Vec<PathBuf> {
        let folder = Path::new(DATA).join("partition-0").join(folder);
        let names = self.platform.files().list(&folder).unwrap();
        let names = names.iter().filter(|name| name.ends_with(end));
        names.map(|name| folder.join(name)).collect()
    }

    /// Flips one bit of a file.
    pub(crate) fn flip(&self, path: &Path, byte: u64) {
        let files = self.platform.files();
        let file = files
            .open(path, partition::platform::Access::Write)
            .unwrap();
        let mut bytes = [0];
        file.read_exact_at(&mut bytes, byte).unwrap();
        bytes[0] ^= 0x10;
        file.write_all_at(&bytes, byte).unwrap();
        file.sync_data().unwrap();
    }
}

impl Native {
    /// Sets the usual extensions.
    fn set_usual(&self) {
        self.set("Do", run_ops);
        self.set("Lucky", lucky);
        self.set("Mirror", mirror);
        self.set("Sum", sum);
        self.set("Get", get);
        self.set("All", all);
    }
}

/// Holds an extension until it is let go, once for each.
pub(crate) struct Gate {
    entered: Receiver<()>,
    go: Sender<()>,
}

impl Gate {
    /// Waits until an invocation is held.
    pub(crate) fn wait(&self) {
        self.entered.recv().unwrap();
    }

    /// Lets one invocation go on, now or when it comes.
    pub(crate) fn open(&self) {
        self.go.send(()).unwrap();
    }
}

/// Waits until something is so, which it is within moments.
pub(crate) fn eventually(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < end, "it never came");
        std::thread::yield_now();
    }
}

/// The arguments of a `Do` that is held where there is a gate.
pub(crate) fn hold() -> Json {
    ops(&[("hold", 0, 0)])
}

/// The arguments of a `Do`: verb, id and n of each operation.
pub(crate) fn ops(ops: &[(&str, i64, i64)]) -> Json {
    let ops = ops.iter();
    let ops = ops.map(|(verb, id, n)| json!({"verb": verb, "id": id, "n": n}));
    json!({"ops": ops.collect::<Vec<_>>(), "by": null})
}

/// The arguments of a `Do` that puts one row.
pub(crate) fn put(id: i64, n: i64) -> Json {
    ops(&[("put", id, n)])
}

/// Runs a `Do`.
pub(crate) fn run(application: &Application, args: &Json) -> Result<Accepted> {
    application.run("Do", args, None)
}

/// The result of an accepted `Do`.
pub(crate) fn result(application: &Application, accepted: &Accepted) -> Option<i64> {
    let row = accepted.result.as_ref()?;
    let schema = &application.spec().catalog.command("Do").unwrap().result;
    match schema.decode(row).unwrap()[..] {
        [engine_core::value::Value::Int(n)] => Some(n),
        ref other => panic!("{other:?}"),
    }
}

/// The hash of the whole state.
pub(crate) fn hash(application: &Application) -> String {
    let snapshots: Vec<_> = application.snapshots().unwrap();
    let snapshots: Vec<_> = snapshots.into_iter().map(|(_, rows)| rows).collect();
    rows::hash(&application.spec().catalog, &snapshots).unwrap()
}

/// The rows of a storage, as flat objects.
pub(crate) fn rows_of(application: &Application, storage: &str) -> Vec<Json> {
    let snapshots = application.snapshots().unwrap();
    let snapshots: Vec<_> = snapshots.into_iter().map(|(_, rows)| rows).collect();
    let catalog = &application.spec().catalog;
    let id = catalog.id(storage).unwrap();
    let mut found = Vec::new();
    rows::for_each_row(&snapshots, id, |_, key, value| {
        found.push(rows::to_json(catalog, id, key, value)?.into());
        Ok(())
    })
    .unwrap();
    found
}

/// The rows of storage `row`: id and n.
pub(crate) fn numbers(application: &Application) -> Vec<(i64, i64)> {
    let rows = rows_of(application, "row");
    let number = |row: &Json, field: &str| row[field].as_i64().unwrap();
    rows.iter()
        .map(|row| (number(row, "id"), number(row, "n")))
        .collect()
}

/// What the asynchronous projector has counted: the sum, and the number of events.
pub(crate) fn total(application: &Application) -> (i64, i64) {
    application.settle().unwrap();
    let rows = rows_of(application, "total");
    let number = |field: &str| rows.iter().map(|row| row[field].as_i64().unwrap()).sum();
    (number("n"), number("events"))
}

/// Whether something was refused for this kind of reason.
pub(crate) fn kind<T: std::fmt::Debug>(refused: Result<T>) -> ErrorKind {
    refused.unwrap_err().kind()
}

/// `Do`: each operation is an intent, but `fail`, which rejects, and `hold`, which is nothing; the result is the sum of all `n`.
pub(crate) fn run_ops(guest: &Guest<'_, '_>) -> Result<()> {
    let args = guest.args();
    let mut sum = 0;
    for op in args["ops"].as_array().unwrap() {
        let verb = op["verb"].as_str().unwrap();
        match verb {
            "fail" => return reject("as asked"),
            "hold" => continue,
            _ => {}
        }
        let verb = Verb::ALL.into_iter().find(|v| v.name() == verb).unwrap();
        guest.write(verb, "row", json!({"id": op["id"]}), json!({"n": op["n"]}));
        sum += op["n"].as_i64().unwrap();
    }
    guest.result(json!({"n": sum}));
    Ok(())
}

/// `Lucky`: no row may have the number -13.
fn lucky(guest: &Guest<'_, '_>) -> Result<()> {
    match guest.rows("row")?.iter().any(|row| row["n"] == -13) {
        true => reject("-13 is unlucky"),
        false => Ok(()),
    }
}

/// `Mirror`: keeps a row's double.
fn mirror(guest: &Guest<'_, '_>) -> Result<()> {
    for op in guest.event().1["ops"].as_array().unwrap() {
        let key = json!({"id": op["id"]});
        match guest.get("row", key.clone())? {
            Some(row) => {
                let double = row["n"].as_i64().unwrap() * 2;
                guest.put("mirror", key, json!({"n": double}));
            }
            None => guest.write(Verb::Delete, "mirror", key, Json::Null),
        }
    }
    Ok(())
}

/// `Sum`: adds up the results, and counts the events.
pub(crate) fn sum(guest: &Guest<'_, '_>) -> Result<()> {
    let (_, _, result) = guest.event();
    let key = json!({"of": "all"});
    let before = guest.get("total", key.clone())?;
    let verb = if before.is_some() {
        Verb::Update
    } else {
        Verb::Insert
    };
    let number = |field: &str| {
        before
            .as_ref()
            .map_or(0, |row| row[field].as_i64().unwrap())
    };
    let n = result.unwrap()["n"].as_i64().unwrap();
    let row = json!({"n": number("n") + n, "events": number("events") + 1});
    guest.write(verb, "total", key, row);
    Ok(())
}

/// `Get`: the number of a row.
pub(crate) fn get(guest: &Guest<'_, '_>) -> Result<()> {
    match guest.get("row", json!({"id": guest.args()["id"]}))? {
        Some(row) => guest.result(row),
        None => return reject("no such row"),
    }
    Ok(())
}

/// `All`: every row.
fn all(guest: &Guest<'_, '_>) -> Result<()> {
    guest
        .rows("row")?
        .into_iter()
        .for_each(|row| guest.result(row));
    Ok(())
}
