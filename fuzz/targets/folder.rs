//! A data folder whose log and checkpoints hold what the fuzzer likes under right checksums, and that is damaged then: what
//! verifies without a problem opens, and has just the rows that the verification hashed.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use engine_core::cache::CodeCache;
use engine_core::engine::{
    Code, CodeReport, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome,
    PackageSource,
};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::key;
use engine_core::limits::Capabilities;
use engine_core::manifest::PackageManifest;
use engine_core::value::{self, Value, Writer};
use fuzz::disk::{damage, files, put};
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;
use partition::application::{Application, Options};
use partition::log::{Append, CommandLog, GroupBuffer, Owner, SegmentLog, SegmentOptions};
use partition::manifest::AppSpec;
use partition::platform::Platform;
use partition::platform::sim::SimPlatform;
use partition::{rows, verify};

const DATA: &str = "/data";
const LOG: &str = "/data/partition-0/log";
const CHECKPOINTS: &str = "/data/partition-0/checkpoints";

const MANIFEST: &str = r#"
[app]
name = "folder"
engine = "still"

[storages.row]
key = "id: int"
value = "n: int, t: text?"

[storages.raw]
key = "k: bytes"
value = "v: bytes"

[packages.main]
builtin = "main"

[extensions.Do]
kind = "command"
args = "n: int"
result = "n: int"
access = { row = ["insert", "update", "put", "delete"], raw = ["put"] }

[partition]
segment_bytes = "4 KiB"
ids = 3
"#;

const FACTS: &str = r#"{"format":1,"application":"folder","partitions":1,"storages":{
"row":{"key":"id: int","value":"n: int, t: text?"},"raw":{"key":"k: bytes","value":"v: bytes"}}}"#;

static SPEC: LazyLock<AppSpec> =
    LazyLock::new(|| AppSpec::parse(MANIFEST, Path::new(".")).expect("a manifest"));

/// An engine whose extensions are never called: opening applies what is logged.
#[derive(Debug)]
struct Still;

inventory::submit!(Registration(&Still));

impl ExtEngineFactory for Still {
    fn kind(&self) -> EngineKind {
        EngineKind::Builtin
    }

    fn name(&self) -> &'static str {
        "still"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, _: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Ok(Arc::new(Self))
    }
}

impl ExtEngine for Still {
    fn name(&self) -> &'static str {
        "still"
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        _: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        Ok(Arc::new(Package(Arc::clone(&source.manifest))))
    }

    fn inspect(&self, _: &Code) -> Result<CodeReport> {
        Ok(CodeReport::default())
    }
}

#[derive(Debug)]
struct Package(Arc<PackageManifest>);

impl ExtensionPackage for Package {
    fn manifest(&self) -> &Arc<PackageManifest> {
        &self.0
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        Ok(Box::new(Still))
    }
}

impl ExtensionInstance for Still {
    fn invoke(&mut self, _: Invocation<'_>, _: &dyn Host, _: &mut Intents) -> Outcome {
        panic!("recovery runs no extension");
    }
}

/// A number, mostly the one that is due.
fn about(input: &mut Input<'_>, due: i64) -> i64 {
    match input.byte() {
        0 => input.wide().cast_signed(),
        1 => due + 1,
        _ => due,
    }
}

/// A list of intents: most fit their storages.
fn intents(out: &mut Vec<u8>, input: &mut Input<'_>) {
    let count = input.below(4);
    Writer(out).list(count);
    for _ in 0..count {
        let id = i64::from(input.byte() & 7);
        let (storage, key, row) = match input.below(8) {
            0 => (1, input.bytes().to_vec(), input.bytes().to_vec()),
            1 => (
                about(input, 1),
                key::encode(&[Value::Bytes(vec![0; 3])]).unwrap_or_default(),
                vec![0x91, 0xc4, 0],
            ),
            _ => (
                0,
                key::encode(&[Value::Int(id)]).unwrap_or_default(),
                value::encode(&[Value::Int(id), Value::Null]),
            ),
        };
        let verb = 1 + input.below(4) as i64;
        let mut out = Writer(out);
        out.list(4);
        out.int(verb);
        out.int(storage);
        out.bytes(&key);
        out.bytes(if verb == 4 { &[] } else { &row });
    }
}

/// A group of the log, as `record/` has it, with the offset of its first command.
fn group(input: &mut Input<'_>, offset: &mut i64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut head = Writer(&mut out);
    head.list(6);
    head.int(4);
    head.int(about(input, 1_000));
    head.bytes(&[7; 16]);
    head.list(2);
    head.text("row");
    head.text("raw");
    head.list(1);
    head.list(2);
    head.text("main");
    head.bytes(&[1; 16]);
    let entries = input.below(4);
    head.list(entries);
    for _ in 0..entries {
        match input.below(6) {
            0 => {
                let mut job = Writer(&mut out);
                job.list(4);
                job.int(2);
                job.text("Job");
                job.int(about(input, 1 << 40));
                job.null();
            }
            1 => {
                let mut projection = Writer(&mut out);
                projection.list(6);
                projection.int(1);
                projection.text("Sum");
                projection.bytes(&[1; 16]);
                projection.int(about(input, *offset));
                projection.int(about(input, 24));
                projection.list(1);
                projection.list(3);
                projection.int(about(input, *offset));
                intents(&mut out, input);
                Writer(&mut out).list(0);
            }
            _ => {
                let mut command = Writer(&mut out);
                command.list(8);
                command.int(0);
                command.int(about(input, *offset));
                command.int(about(input, 0));
                command.text("Do");
                match input.below(4) {
                    0 => command.null(),
                    id => command.text(["", "a", "b", "c"][id]),
                }
                command.bytes(&[0x91, 1]);
                command.list(1);
                command.bytes(&[0x91, 2]);
                command.list(1);
                command.list(4);
                command.text("Do");
                command.int(0);
                intents(&mut out, input);
                Writer(&mut out).list(0);
                *offset += 1;
            }
        }
    }
    if input.byte() == 0 {
        let at = input.below(out.len().min(256));
        out[at] = input.byte();
    }
    out
}

/// A checkpoint whose frames have right checksums.
fn checkpoint(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = b"EXTCKPT1".to_vec();
    let mut frame = |payload: &[u8]| {
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(crc32c::crc32c(payload).to_le_bytes());
        bytes.extend(payload);
    };
    let mut out = Vec::new();
    let mut head = Writer(&mut out);
    head.list(8);
    head.int(0);
    head.int(2);
    head.int(about(input, 24));
    head.int(about(input, 0));
    head.int(0);
    head.list(2);
    head.text("row");
    head.text("raw");
    head.list(0);
    head.list(0);
    frame(&out);
    for _ in 0..input.below(4) {
        frame(input.bytes());
    }
    out.clear();
    let mut end = Writer(&mut out);
    end.list(3);
    end.int(3);
    end.int(about(input, 0));
    end.int(about(input, 0));
    frame(&out);
    bytes
}

/// Verifies a folder and opens it, and closes it with a checkpoint.
fn check(platform: &SimPlatform) {
    let shared: Arc<dyn Platform> = Arc::new(platform.clone());
    let verified = verify::verify(&shared, Path::new(DATA));
    let known = |error: &Error| {
        matches!(
            error.kind(),
            ErrorKind::Unknown | ErrorKind::Corrupt | ErrorKind::Manifest | ErrorKind::Io
        )
    };
    if let Err(error) = &verified {
        assert!(known(error), "{error}");
    }
    let options = Options {
        data: Some(DATA.into()),
        platform: Some(Arc::clone(&shared)),
        notices: Arc::new(|_| ()),
        ..Options::default()
    };
    let app = match Application::open(SPEC.clone(), options) {
        Ok(app) => app,
        Err(error) => {
            assert!(known(&error), "{error}");
            let clean = verified
                .as_ref()
                .is_ok_and(|verified| verified.problems.is_empty());
            assert!(
                !clean || error.kind() == ErrorKind::Manifest,
                "{error} was not found"
            );
            return;
        }
    };
    let snapshots = app.snapshots().expect("snapshots");
    let (offsets, views): (Vec<_>, Vec<_>) = snapshots.into_iter().unzip();
    if let Ok(verified) = verified
        && verified.problems.is_empty()
    {
        let hash = rows::hash(&app.spec().catalog, &views).expect("rows that were hashed");
        assert_eq!(verified.hash, Some(hash));
        assert_eq!(verified.commands, offsets[0]);
    }
    app.checkpoint().expect("a checkpoint");
    app.close().expect("closed");
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let platform = SimPlatform::new(1);
    let form = input.byte();
    let facts = match form & 3 {
        0 => input.bytes(),
        _ => FACTS.as_bytes(),
    };
    put(&platform, &Path::new(DATA).join("application.json"), facts);
    let options = SegmentOptions {
        segment_size: 1 << 12,
        fill: 1 << 10,
        max_group: 1 << 12,
        owner: Owner::new("folder", 0),
    };
    let (mut log, _) =
        SegmentLog::open(Arc::new(platform.clone()), Path::new(LOG), options).expect("a log");
    let mut offset = 0;
    for _ in 0..input.below(4) {
        let group = match input.byte() {
            0 => input.bytes().to_vec(),
            _ => group(&mut input, &mut offset),
        };
        let tail = log.tail().expect("a tail");
        let appended = log.append(tail, &mut GroupBuffer::from(&group[..]));
        assert!(matches!(appended, Ok(Append::Appended(_))), "{appended:?}");
    }
    drop(log);
    if form & 4 == 4 {
        let position = about(&mut input, 24).unsigned_abs();
        let name = format!("{position:020}.checkpoint");
        put(
            &platform,
            &Path::new(CHECKPOINTS).join(name),
            &checkpoint(&mut input),
        );
    }
    check(&platform);
    for _ in 0..input.below(3) {
        let folders = [DATA, LOG, CHECKPOINTS].map(Path::new);
        damage(&platform, &files(&platform, &folders), &mut input);
    }
    check(&platform);
});
