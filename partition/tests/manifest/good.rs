//! What a good manifest becomes.

use std::path::Path;

use engine_core::catalog::StorageId;
use engine_core::engine::Code;
use engine_core::error::ErrorKind;
use engine_core::factory::EngineKind;
use engine_core::limits::{Limit, Limits};
use engine_core::manifest::{ExtensionKind, Policy, Verb, Verbs};
use partition::manifest::{AppSpec, PartitionSpec, Rollback};

use crate::folder;

const SHOP: &str = r#"
[app]
name = "corner-shop"
partitions = 4
engine = "rapid"
commands = "commands.jsonl"

[storages.stock]
key = "item: text"
value = "count: int"

[storages.sales]
key = "day: int"
value = ""

[packages.orders]
wasm = "orders.wasm"
lua = "orders.lua"
limits = { memory = "3 MiB", stack = 65_536, deadline_ms = 0x10, fuel = 7 }
waive = { compact = ["fuel", "stack"], other = ["memory"] }
rollback = { failures = 5 }

[packages.reports]
engine = "compact"
lua = "reports.lua"
builtin = "reports"
policy = "fresh"

[extensions.Sell]
package = "orders"
kind = "command"
args = "item: text, count: int"
result = "left: int"
route = "item"
access.stock = ["read", "update"]

[extensions.Left]
package = "reports"
kind = "query"
args = "item: text"
result = "left: int"
access = { stock = ["read"] }

[extensions.Known]
package = "orders"
kind = "validator"
on = ["Sell"]

[extensions.Daily]
package = "reports"
kind = "projector"
mode = "async"
on = ["Sell"]
access = { sales = ["read", "put", "delete"] }

[partition]
queue = 5
retention_bytes = "1 GiB"
"#;

fn files() -> tempfile::TempDir {
    folder(&["commands.jsonl", "orders.wasm", "orders.lua", "reports.lua"])
}

#[test]
fn everything_that_a_manifest_says_arrives() {
    let folder = files();
    let app = AppSpec::parse(SHOP, folder.path()).unwrap();
    assert_eq!((app.name.as_str(), app.partitions), ("corner-shop", 4));
    assert_eq!(app.commands, Some(folder.path().join("commands.jsonl")));
    let stock = app.catalog.id("stock").unwrap();
    let sales = app.catalog.id("sales").unwrap();
    assert!(app.catalog.storage(sales).value.is_empty());

    let [orders, reports] = &app.packages[..] else {
        panic!("two packages");
    };
    assert_eq!(orders.engine.as_deref(), Some("rapid"));
    assert_eq!(reports.engine.as_deref(), Some("compact"));
    assert_eq!(orders.wasm, Some(folder.path().join("orders.wasm")));
    assert_eq!(
        (&reports.wasm, reports.builtin.as_deref()),
        (&None, Some("reports"))
    );
    assert_eq!(
        (orders.policy, reports.policy),
        (Policy::Keep, Policy::Fresh)
    );
    let limits = Limits {
        memory: 3 << 20,
        stack: 65_536,
        deadline_ms: 16,
        fuel: Some(7),
        ..Limits::default()
    };
    assert_eq!(
        (&orders.limits, &reports.limits),
        (&limits, &Limits::default())
    );
    assert_eq!(orders.waive["compact"], [Limit::Fuel, Limit::Stack]);
    assert_eq!(orders.waive["other"], [Limit::Memory]);
    let rollback = Rollback {
        failures: 5,
        of: 100,
    };
    assert_eq!((orders.rollback, reports.rollback), (Some(rollback), None));
    assert_eq!(
        (&orders.extensions[..], &reports.extensions[..]),
        (&[0, 2][..], &[1, 3][..])
    );

    let names: Vec<_> = app.extensions.iter().map(|e| &*e.decl.name).collect();
    assert_eq!(names, ["Sell", "Left", "Known", "Daily"]);
    let numbers: Vec<_> = app
        .extensions
        .iter()
        .map(|e| (e.package, e.number))
        .collect();
    assert_eq!(numbers, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    assert_eq!(app.extension("Daily"), Some(3));
    assert_eq!(app.extension("daily"), None);
    let [sell, left, known, daily] = &app.extensions[..] else {
        panic!("four extensions");
    };
    assert_eq!((sell.route, left.route), (Some(0), None));
    assert_eq!(
        sell.decl.verbs(stock),
        Verbs::from_iter([Verb::Read, Verb::Update])
    );
    assert_eq!(sell.decl.verbs(sales), Verbs::NONE);
    assert_eq!(known.on, ["Sell"]);
    assert!(known.decl.verbs(StorageId::EVENT).has(Verb::Read));
    assert!(daily.asynchronous && !known.asynchronous);

    let command = app.catalog.command("Sell").unwrap();
    assert_eq!(command.args, sell.decl.args);
    assert_eq!(command.result.to_string(), "left: int");
    assert!(app.catalog.command("Left").is_none());
    let kinds = app.of_kind(ExtensionKind::Projector).map(|(i, _)| i);
    assert_eq!(kinds.collect::<Vec<_>>(), [3]);
    let partition = PartitionSpec {
        queue: 5,
        retention_bytes: Some(1 << 30),
        ..PartitionSpec::default()
    };
    assert_eq!(app.partition, partition);
}

#[test]
fn source_has_the_code_of_the_kind_and_the_waivers_of_the_engine() {
    let folder = files();
    std::fs::write(folder.path().join("orders.lua"), "return 1").unwrap();
    let app = AppSpec::parse(SHOP, folder.path()).unwrap();
    let source = app.source(0, "compact", EngineKind::Lua).unwrap();
    assert_eq!(source.code, Code::Bytes(b"return 1"[..].into()));
    assert_eq!(source.manifest.waived, [Limit::Fuel, Limit::Stack]);
    assert_eq!(source.manifest.position("Known"), Some(1));
    assert_eq!(source.manifest.position("Left"), None);
    assert!(
        app.source(0, "rapid", EngineKind::Wasm)
            .unwrap()
            .manifest
            .waived
            .is_empty()
    );
    let native = app.source(1, "any", EngineKind::Builtin).unwrap();
    assert_eq!(native.code, Code::Native("reports".into()));

    let error = app.source(1, "rapid", EngineKind::Wasm).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    std::fs::remove_file(folder.path().join("orders.lua")).unwrap();
    let error = app.source(0, "compact", EngineKind::Lua).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn load_takes_the_folder_or_the_manifest_itself() {
    let folder = files();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("app.toml", SHOP);
    assert_eq!(AppSpec::load(folder.path()).unwrap().folder, folder.path());
    write("other.toml", "");
    let error = AppSpec::load(&folder.path().join("other.toml")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert!(error.message().starts_with("other.toml:1:1: "));
    let app = AppSpec::load(&folder.path().join("app.toml")).unwrap();
    assert_eq!(
        (app.folder.as_path(), app.packages.len()),
        (folder.path(), 2)
    );
    let error = AppSpec::load(&folder.path().join("nowhere")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn more_partitions_need_a_route_of_every_command() {
    let folder = files();
    let mut app = AppSpec::parse(SHOP, folder.path()).unwrap();
    app.set_partitions(9).unwrap();
    assert_eq!(app.partitions, 9);
    assert!(app.set_partitions(0).is_err() && app.set_partitions(1025).is_err());
    let single = SHOP
        .replace("route = \"item\"", "")
        .replace("partitions = 4", "");
    let mut app = AppSpec::parse(&single, folder.path()).unwrap();
    assert_eq!(app.partitions, 1);
    assert_eq!(
        app.set_partitions(2).unwrap_err().kind(),
        ErrorKind::Manifest
    );
    app.set_partitions(1).unwrap();
}

#[test]
fn an_engine_that_this_build_lacks_is_left_to_the_caller() {
    let text = "[app]\nname = 'a'\nengine = 'wasmedge'\n[packages.p]\nbuiltin = 'p'\n";
    let app = AppSpec::parse(text, Path::new(".")).unwrap();
    assert_eq!(app.packages[0].engine.as_deref(), Some("wasmedge"));
    let app = AppSpec::parse(&text.replace("engine", "#"), Path::new(".")).unwrap();
    assert_eq!(app.packages[0].engine, None);
}
