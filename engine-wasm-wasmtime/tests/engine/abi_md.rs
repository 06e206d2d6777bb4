//! The guests in `ABI.md`, as they stand there.

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

/// The guests, of version 1.0 and 1.1.
fn examples() -> [Run; 2] {
    let mut guests = ABI.split("```wat\n").skip(1);
    std::array::from_fn(|_| {
        let (wat, _) = guests.next().unwrap().split_once("```").unwrap();
        example(wat)
    })
}

fn example(wat: &str) -> Run {
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
fn the_examples_of_the_specification_count_visitors() {
    for mut run in examples() {
        let mut host = Rows::default();
        let long = "x".repeat(31);
        for (name, count) in [("ada", 1), ("bob", 1), ("ada", 2), (&*long, 1), ("", 1)] {
            let outcome = run.call(0, &encode(&[Value::Text(name.into())]), &host, None);
            outcome.result.unwrap();
            assert_eq!(number(&run.intents), count, "{name}");
            assert_eq!(run.intents.len(), 1);
            apply(&mut host, &run.intents);
        }
        run.call(1, &encode(&[]), &host, None).result.unwrap();
        assert_eq!(number(&run.intents), 5);
    }
}

#[test]
fn the_examples_of_the_specification_refuse_what_they_cannot_count() {
    for mut run in examples() {
        let mut host = Rows::default();
        let mut refused = |name: &str, host: &Rows| {
            let outcome = run.call(0, &encode(&[Value::Text(name.into())]), host, None);
            let error = outcome.result.unwrap_err();
            (error.kind(), error.message().to_owned())
        };
        for len in [32, 2_000, 100_000] {
            let long = refused(&"x".repeat(len), &host);
            let words = "a name has at most 31 bytes".to_owned();
            assert_eq!(long, (ErrorKind::Rejected, words), "{len}");
        }
        assert_eq!(refused("a\0b", &host).0, ErrorKind::BadKey);
        let key = engine_core::key::encode(&[Value::Text("ada".into())]).unwrap();
        host.rows.insert(key, encode(&[Value::Int(127)]));
        let many = refused("ada", &host);
        let words = "no more than 127 visits".to_owned();
        assert_eq!(many, (ErrorKind::Rejected, words));
    }
}
