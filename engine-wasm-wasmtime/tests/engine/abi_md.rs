//! The guest in `ABI.md`, as it stands there.

use engine_core::catalog::Catalog;
use engine_core::engine::{Code, PackageSource};
use engine_core::error::ErrorKind;
use engine_core::intent::Intents;
use engine_core::limits::Limits;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb};
use engine_core::schema::Schema;
use engine_core::value::{Value, encode};

use crate::support::{Rows, Run, engine, limits, number};

const ABI: &str = include_str!("../../../engine-wasm-abi/ABI.md");

fn example() -> Run {
    let (_, behind) = ABI.split_once("```wat\n").unwrap();
    let (wat, _) = behind.split_once("```").unwrap();
    let schema = |text| Schema::parse(text).unwrap();
    let mut catalog = Catalog::default();
    let visits = catalog
        .add("visits", schema("name: text"), schema("count: int"))
        .unwrap();
    let declare = |name, kind, args| {
        let access = [(visits, [Verb::Read, Verb::Put].into_iter().collect())];
        ExtensionDecl::new(
            name,
            kind,
            schema(args),
            schema("count: int"),
            &catalog,
            access,
        )
    };
    let extensions = vec![
        declare("visit", ExtensionKind::Command, "name: text"),
        declare("total", ExtensionKind::Query, ""),
    ];
    let source = PackageSource {
        manifest: std::sync::Arc::new(PackageManifest {
            name: "visits".into(),
            catalog: catalog.into(),
            extensions,
            limits: limits(),
            policy: Policy::Keep,
            waived: Vec::new(),
        }),
        code: Code::Bytes(wat::parse_str(wat).unwrap().into()),
    };
    Run::new(&engine(&Limits::default()).load(&source).unwrap())
}

fn apply(host: &mut Rows, intents: &Intents) {
    for intent in intents.iter() {
        assert_eq!(intent.verb, Verb::Put);
        host.rows.insert(intent.key.to_vec(), intent.value.to_vec());
    }
}

#[test]
fn the_example_of_the_specification_counts_visitors() {
    let mut run = example();
    let mut host = Rows::default();
    for (name, count) in [
        ("ada", 1),
        ("bob", 1),
        ("ada", 2),
        (&"x".repeat(31), 1),
        ("", 1),
    ] {
        let outcome = run.call(0, &encode(&[Value::Text(name.into())]), &host, None);
        outcome.result.unwrap();
        assert_eq!(number(&run.intents), count, "{name}");
        assert_eq!(run.intents.len(), 1);
        apply(&mut host, &run.intents);
    }
    run.call(1, &encode(&[]), &host, None).result.unwrap();
    assert_eq!(number(&run.intents), 5);
}

#[test]
fn the_example_of_the_specification_refuses_what_it_cannot_count() {
    let mut run = example();
    let mut host = Rows::default();
    let mut refused = |name: &str, host: &Rows| {
        let outcome = run.call(0, &encode(&[Value::Text(name.into())]), host, None);
        let error = outcome.result.unwrap_err();
        (error.kind(), error.message().to_owned())
    };
    let long = refused(&"x".repeat(32), &host);
    assert_eq!(
        long,
        (ErrorKind::Rejected, "a name has at most 31 bytes".into())
    );
    assert_eq!(refused("a\0b", &host).0, ErrorKind::BadKey);
    let key = engine_core::key::encode(&[Value::Text("ada".into())]).unwrap();
    host.rows.insert(key, encode(&[Value::Int(127)]));
    let many = refused("ada", &host);
    assert_eq!(
        many,
        (ErrorKind::Rejected, "no more than 127 visits".into())
    );
}
