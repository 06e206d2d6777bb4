//! What the shop is: its storages, and the extensions that the guests offer under the same names.

use std::sync::{Arc, LazyLock};

use engine_core::catalog::{Catalog, StorageId};
use engine_core::engine::{Code, PackageSource};
use engine_core::factory::{EngineKind, ExtEngineFactory};
use engine_core::limits::{Keeping, Limit, Limits};
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb, Verbs};
use engine_core::schema::Schema;

/// The guest with the SDK, for WebAssembly.
pub const WASM: &[u8] = include_bytes!("guests/bench.wasm");

/// The guest over bare host functions, for WebAssembly.
pub const BARE: &[u8] = include_bytes!("guests/bare.wasm");

/// The guest in Lua.
pub const LUA: &[u8] = include_bytes!("guests/bench.lua");

/// How many items and how many customers there are.
pub const ITEMS: i64 = 10_000;

/// The storages: name, key, value. A raw host knows them by their place here.
pub const STORAGES: [(&str, &str, &str); 4] = [
    ("item", "id: int", "stock: int, price: int"),
    ("customer", "id: int", "balance: int"),
    (
        "order",
        "id: int",
        "customer: int, item: int, quantity: int, total: int",
    ),
    ("blob", "group: int, n: int", "data: bytes"),
];

/// The extensions: name, kind, arguments, result. A raw guest knows them by their place here.
pub const EXTENSIONS: [(&str, ExtensionKind, &str, &str); 8] = {
    use ExtensionKind::{Command, Function, Query};
    [
        ("Empty", Command, "", ""),
        ("ReadOne", Command, "item: int", ""),
        ("ReadWrite", Command, "item: int", ""),
        ("Ten", Command, "item: int", ""),
        (
            "Order",
            Command,
            "id: int, customer: int, item: int, quantity: int",
            "",
        ),
        ("Payload", Command, "data: bytes", ""),
        ("Scan", Query, "group: int", "bytes: int"),
        ("Loop", Function, "steps: int", "x: int"),
    ]
};

/// The place of an extension.
///
/// # Panics
/// Where there is no such extension.
pub fn extension(name: &str) -> usize {
    let place = EXTENSIONS.iter().position(|known| known.0 == name);
    place.expect("an extension of the benches")
}

/// The storages with their schemas.
///
/// # Panics
/// Never: the schemas are right.
pub fn catalog() -> &'static Arc<Catalog> {
    static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
        let mut catalog = Catalog::default();
        for (name, key, value) in STORAGES {
            let added = catalog.add(name, schema(key), schema(value));
            added.expect("a storage of the benches");
        }
        Arc::new(catalog)
    });
    &CATALOG
}

/// The storage of a place in [`STORAGES`].
pub fn storage(place: usize) -> StorageId {
    let id = catalog().id(STORAGES[place].0);
    id.expect("a storage of the benches")
}

fn schema(text: &str) -> Schema {
    Schema::parse(text).expect("a schema of the benches")
}

fn declare((name, kind, args, result): (&str, ExtensionKind, &str, &str)) -> ExtensionDecl {
    let verbs: Verbs = if kind.may_write() {
        Verb::ALL.into_iter().collect()
    } else {
        Verbs::NONE.with(Verb::Read)
    };
    let access = (0..STORAGES.len()).map(|place| (storage(place), verbs));
    ExtensionDecl::new(name, kind, schema(args), schema(result), catalog(), access)
}

/// The limits that every bench keeps, the raw runtimes included as far as they can: the defaults, with a deadline that
/// no busy machine reaches.
pub fn limits() -> Limits {
    Limits {
        deadline_ms: 60_000,
        ..Limits::default()
    }
}

/// The guest as a package for an engine, which waives what the engine cannot keep.
pub fn source(factory: &dyn ExtEngineFactory, policy: Policy, limits: Limits) -> PackageSource {
    let capabilities = factory.capabilities();
    let not_kept = |limit: &Limit| capabilities.of(*limit) == Keeping::NotKept;
    PackageSource {
        manifest: Arc::new(PackageManifest {
            name: "bench".into(),
            catalog: Arc::clone(catalog()),
            extensions: EXTENSIONS.into_iter().map(declare).collect(),
            limits,
            policy,
            waived: Limit::ALL.into_iter().filter(not_kept).collect(),
        }),
        code: match factory.kind() {
            EngineKind::Wasm => Code::Bytes(WASM.into()),
            EngineKind::Lua => Code::Bytes(LUA.into()),
            EngineKind::Builtin => Code::Native("bench-guest".into()),
        },
    }
}
