//! What is special to native extensions: how they are found, how they end, and what is kept of their limits.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panics too")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use engine_builtin::BuiltinFactory;
use engine_core::catalog::{Catalog, StorageId};
use engine_core::engine::{Code, ExtensionInstance, Invocation, Outcome, PackageSource};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::host::{Host, TakeRow};
use engine_core::intent::Intents;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb, Verbs};
use engine_core::schema::Schema;
use engine_core::value::{self, Value};
use engine_core::{key, schema};
use extengine_guest::{Error as GuestError, Row, State, extension, key, row};

extengine_guest::package!("native");

type Ended = std::result::Result<(), GuestError>;

/// Adds the values of all rows, with a read in the read, and writes the sum.
#[extension(command)]
fn sum(state: &mut State, _args: &Row) -> Ended {
    let mut total = 0;
    state.read(&key("n"), |state, id, element| {
        let again = state.must_exist(&key("n").int(id.int(0)?))?;
        total += again.int(0)?.max(element.int(0)?);
        Ok(())
    })?;
    state.put_value(&key("n").int(100), &row().int(total));
    state.log("info", "summed");
    state.result(&row().int(total));
    Ok(())
}

/// Ends as its argument says, having asked for a write.
#[extension(command)]
fn end(state: &mut State, args: &Row) -> Ended {
    state.new_value(&key("n").int(1), &row().int(1));
    match args.text(0)? {
        "reject" => Err(GuestError::rejected("no")),
        "missing" => state.must_exist(&key("n").int(404)).map(drop),
        "nan" => state.get(&key("x").float(f64::NAN)).map(drop),
        "io" => state.get(&key("n").int(500)).map(drop),
        "misfit" => args.int(0).map(drop),
        "panic" => panic!("on purpose"),
        "panic in a read" => state.read(&key("n"), |_, _, _| panic!("in a read")),
        "panic with a value" => std::panic::panic_any(17),
        "swallow io" => {
            let _ = state.get(&key("n").int(500));
            Ok(())
        }
        "swallow denied" => {
            let _ = state.get(&key("secret"));
            panic!("an extension goes on after a denied read");
        }
        "write denied" => {
            state.put_value(&key("secret"), &row());
            state.put_value(&key("nowhere"), &row());
            Ok(())
        }
        "nan in an intent" => {
            state.put_value(&key("x").float(f64::NAN), &row());
            Ok(())
        }
        "read for ever" => loop {
            let _ = state.get(&key("n").int(1));
        },
        "write for ever" => loop {
            state.delete(&key("n").int(1));
        },
        _ => Ok(()),
    }
}

#[extension(query)]
fn twice(_state: &mut State, _args: &Row) -> Ended {
    Ok(())
}

mod other {
    use super::{Ended, Row, State, extension};

    #[extension(validator, name = "Wrong")]
    fn wrong(_state: &State, _args: &Row) -> Ended {
        Ok(())
    }
}

/// Rows of the storage `n`; key 500 cannot be read.
#[derive(Default)]
struct Rows {
    n: BTreeMap<Vec<u8>, Vec<u8>>,
    log: RefCell<Vec<String>>,
}

impl Host for Rows {
    fn get(&self, _storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        if key == key::encode(&[Value::Int(500)])? {
            return Err(Error::new(ErrorKind::Io, "the disk is gone"));
        }
        let found = self.n.get(key);
        value.extend_from_slice(found.map_or(&[], Vec::as_slice));
        Ok(found.is_some())
    }

    fn scan(
        &self,
        _storage: StorageId,
        prefix: &[u8],
        after: Option<&[u8]>,
        take: &mut TakeRow<'_>,
    ) -> Result<()> {
        for (key, value) in &self.n {
            let wanted = key.starts_with(prefix) && after.is_none_or(|after| &**key > after);
            if wanted && !take(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn log(&self, level: &str, message: &str) {
        self.log.borrow_mut().push(format!("{level}: {message}"));
    }
}

fn schema(text: &str) -> Schema {
    schema::Schema::parse(text).unwrap()
}

fn manifest() -> PackageManifest {
    let mut catalog = Catalog::default();
    let n = catalog
        .add("n", schema("id: int"), schema("n: int"))
        .unwrap();
    let x = catalog.add("x", schema("x: float"), schema("")).unwrap();
    catalog.add("secret", schema(""), schema("")).unwrap();
    let all = Verbs::from_iter(Verb::ALL);
    let extension = |name, args, result| {
        let access = [(n, all), (x, all)];
        let kind = ExtensionKind::Command;
        ExtensionDecl::new(name, kind, schema(args), schema(result), &catalog, access)
    };
    let extensions = vec![
        extension("Sum", "", "total: int"),
        extension("End", "how: text", ""),
    ];
    PackageManifest {
        name: "native".into(),
        extensions,
        catalog: Arc::new(catalog),
        limits: Limits {
            deadline_ms: 600_000,
            ..Limits::default()
        },
        policy: Policy::Keep,
        waived: vec![Limit::Memory, Limit::Stack, Limit::Deadline],
    }
}

fn load(manifest: PackageManifest, package: &str) -> Result<Box<dyn ExtensionInstance>> {
    let limits = EngineLimits::from(&manifest.limits);
    let engine = BuiltinFactory.create(&limits)?;
    let source = PackageSource {
        manifest: Arc::new(manifest),
        code: Code::Native(package.into()),
    };
    engine.load(&source)?.instantiate()
}

fn invoke(
    instance: &mut dyn ExtensionInstance,
    extension: usize,
    args: &[Value],
    intents: &mut Intents,
) -> (Outcome, Vec<String>) {
    let mut rows = Rows::default();
    for id in 1..=200 {
        let key = key::encode(&[Value::Int(id)]).unwrap();
        rows.n.insert(key, value::encode(&[Value::Int(id)]));
    }
    let invocation = Invocation {
        extension,
        args: &value::encode(args),
        tracer: None,
    };
    let outcome = instance.invoke(invocation, &rows, intents);
    (outcome, rows.log.into_inner())
}

fn end_as(how: &str) -> Result<(), Error> {
    let mut instance = load(manifest(), "native").unwrap();
    let mut intents = Intents::new();
    let args = [Value::Text(how.to_owned())];
    let (outcome, _) = invoke(&mut *instance, 1, &args, &mut intents);
    assert_eq!(intents.len(), usize::from(outcome.result.is_ok()));
    // Whatever has happened, the instance can be used again.
    let (outcome_after, _) = invoke(&mut *instance, 0, &[], &mut intents);
    assert!(outcome_after.result.is_ok());
    outcome.result
}

#[test]
fn an_extension_reads_writes_logs_and_answers() {
    let mut instance = load(manifest(), "native").unwrap();
    let mut intents = Intents::new();
    let (outcome, log) = invoke(&mut *instance, 0, &[], &mut intents);
    outcome.result.unwrap();
    let total = value::encode(&[Value::Int(20_100)]);
    assert_eq!(intents.results().collect::<Vec<_>>(), [&total]);
    let intent = intents.iter().next().unwrap();
    assert_eq!((intent.verb, intent.value), (Verb::Put, &*total));
    assert_eq!(log, ["info: summed"]);
    assert_eq!(outcome.ledger.host_reads, 201);
    assert_eq!(outcome.ledger.rows_read, 400);
    assert_eq!(outcome.ledger.memory, 0);
}

#[test]
fn every_end_of_an_extension_has_its_kind() {
    for (how, kind, message) in [
        ("reject", ErrorKind::Rejected, "no"),
        ("missing", ErrorKind::NotFound, "no such row"),
        ("nan", ErrorKind::BadKey, "NaN"),
        ("io", ErrorKind::Io, "the disk is gone"),
        (
            "misfit",
            ErrorKind::Trap,
            "field 0: expected int, found text",
        ),
        ("panic", ErrorKind::Trap, "native.rs"),
        ("panic", ErrorKind::Trap, ": on purpose"),
        ("panic in a read", ErrorKind::Trap, "in a read"),
        ("panic with a value", ErrorKind::Trap, "no text"),
        ("swallow denied", ErrorKind::Denied, "`secret`"),
        ("write denied", ErrorKind::Denied, "`secret`"),
        ("nan in an intent", ErrorKind::BadIntent, "NaN"),
    ] {
        let error = end_as(how).unwrap_err();
        assert_eq!(error.kind(), kind, "{how}: {error}");
        assert!(error.message().contains(message), "{how}: {error}");
        assert_eq!(error.place(), Some("native/End"));
    }
    end_as("swallow io").unwrap();
    end_as("well").unwrap();
}

#[test]
fn quotas_end_a_call_even_where_an_extension_goes_on() {
    let mut manifest = manifest();
    manifest.limits.host_reads = 100;
    let mut instance = load(manifest, "native").unwrap();
    let args = [Value::Text("read for ever".to_owned())];
    let (outcome, _) = invoke(&mut *instance, 1, &args, &mut Intents::new());
    let error = outcome.result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::HostReads));
    assert_eq!(outcome.ledger.host_reads, 101);
}

#[test]
fn a_deadline_is_seen_at_host_calls_and_writes() {
    for how in ["read for ever", "write for ever"] {
        let mut manifest = manifest();
        manifest.limits.deadline_ms = 0;
        manifest.limits.host_reads = u32::MAX;
        manifest.limits.rows_read = u32::MAX;
        manifest.limits.bytes_read = u64::MAX;
        let mut instance = load(manifest, "native").unwrap();
        let args = [Value::Text(how.to_owned())];
        let (outcome, _) = invoke(&mut *instance, 1, &args, &mut Intents::new());
        let error = outcome.result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit(Limit::Deadline), "{how}");
    }
}

#[test]
fn limits_that_native_code_does_not_keep_must_be_waived() {
    let mut manifest = manifest();
    manifest.waived.clear();
    manifest.limits.fuel = Some(1_000);
    let error = load(manifest, "native").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotKept);
    assert!(error.message().contains("memory, stack, deadline, fuel"));
}

#[test]
fn a_report_names_every_problem() {
    let error = load(manifest(), "nobody").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    assert!(error.message().contains("which has: native"));

    let mut manifest = manifest();
    let command = &manifest.extensions[0].clone();
    for name in ["Absent", "Wrong"] {
        let mut decl = command.clone();
        decl.name = name.into();
        manifest.extensions.push(decl);
    }
    let error = load(manifest, "native").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    let problems: Vec<_> = error.message().lines().collect();
    assert_eq!(
        problems,
        [
            "extension `Absent` is declared, but the code has only: End, Sum, Twice, Wrong",
            "extension `Wrong` is declared as a command, but the code has a validator",
        ]
    );
}

#[test]
fn inspection_lists_what_is_linked() {
    let engine = BuiltinFactory
        .create(&EngineLimits::from(&Limits::default()))
        .unwrap();
    let report = engine.inspect(&Code::Native("native".into())).unwrap();
    assert_eq!(report.extensions, ["End", "Sum", "Twice", "Wrong"]);
    assert_eq!(report.facts[2], ("Twice".to_owned(), "query".to_owned()));
    assert!(report.problems.is_empty());
    let error = engine.inspect(&Code::Bytes(Arc::new([]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
}
