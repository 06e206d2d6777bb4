//! Extengine's side: the guest of `benches/orders` on the engine wasmtime, through the whole engine API.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::catalog::{Catalog, StorageId};
use engine_core::engine::{Code, ExtensionInstance, Invocation, PackageSource};
use engine_core::error::Result;
use engine_core::factory::{EngineLimits, ExtEngineFactory};
use engine_core::host::{Host, TakeRow};
use engine_core::intent::Intents;
use engine_core::limits::Limits;
use engine_core::manifest::{ExtensionDecl, ExtensionKind, PackageManifest, Policy, Verb};
use engine_core::schema::Schema;
use engine_core::value::Value;
use engine_core::{key, value};
use engine_wasm_wasmtime::WasmtimeFactory;

use crate::{NUMBERS, Orders, Outcome, PLENTY, Side, price};

const GUEST: &[u8] = include_bytes!("../../orders/orders.wasm");

/// The rows in hash maps, by storage.
struct Rows(HashMap<StorageId, HashMap<Vec<u8>, Vec<u8>>>);

impl Rows {
    fn insert(&mut self, storage: StorageId, number: i64, row: &[i64]) -> Result<()> {
        let row: Vec<Value> = row.iter().copied().map(Value::Int).collect();
        let rows = self.0.entry(storage).or_default();
        rows.insert(key::encode(&[Value::Int(number)])?, value::encode(&row));
        Ok(())
    }
}

impl Host for Rows {
    fn get(&self, storage: StorageId, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let row = self.0.get(&storage).and_then(|rows| rows.get(key));
        value.extend_from_slice(row.map_or(&[], Vec::as_slice));
        Ok(row.is_some())
    }

    /// The order command reads no ranges.
    fn scan(&self, _: StorageId, _: &[u8], _: Option<&[u8]>, _: &mut TakeRow<'_>) -> Result<()> {
        Ok(())
    }

    fn log(&self, _: &str, _: &str) {}
}

/// An instance of the guest.
pub struct Instance {
    instance: Box<dyn ExtensionInstance>,
    rows: Rows,
    intents: Intents,
}

impl Instance {
    /// One instance for all calls.
    ///
    /// # Errors
    /// Where the guest does not load.
    pub fn kept() -> Outcome<Self> {
        Self::new(Policy::Keep)
    }

    /// A fresh instance for each call.
    ///
    /// # Errors
    /// Where the guest does not load.
    pub fn fresh() -> Outcome<Self> {
        Self::new(Policy::Fresh)
    }

    fn new(policy: Policy) -> Outcome<Self> {
        let schema = |text| Schema::parse(text);
        let mut catalog = Catalog::default();
        let item = catalog.add(
            "item",
            schema("item: int")?,
            schema("stock: int, price: int")?,
        )?;
        let customer = catalog.add(
            "customer",
            schema("customer: int")?,
            schema("balance: int")?,
        )?;
        let row = schema("customer: int, item: int, quantity: int, total: int")?;
        let order = catalog.add("order", schema("order: int")?, row)?;
        let catalog = Arc::new(catalog);

        let mut rows = Rows(HashMap::new());
        for number in 0..NUMBERS {
            rows.insert(item, number, &[PLENTY, price(number)])?;
            rows.insert(customer, number, &[PLENTY])?;
        }
        let changed = [Verb::Read, Verb::Update].into_iter().collect();
        let access = [
            (item, changed),
            (customer, changed),
            (order, [Verb::Insert].into_iter().collect()),
        ];
        let args = schema("shop: int, order: int, customer: int, item: int, quantity: int")?;
        let (kind, result) = (ExtensionKind::Command, Schema::default());
        let limits = Limits::default();
        let source = PackageSource {
            manifest: Arc::new(PackageManifest {
                name: "orders".into(),
                extensions: vec![ExtensionDecl::new(
                    "Order", kind, args, result, &catalog, access,
                )],
                catalog,
                limits: limits.clone(),
                policy,
                waived: Vec::new(),
            }),
            code: Code::Bytes(GUEST.into()),
        };
        let package = WasmtimeFactory
            .create(&EngineLimits::from(&limits))?
            .load(&source)?;
        Ok(Self {
            instance: package.instantiate()?,
            rows,
            intents: Intents::new(),
        })
    }
}

impl Side for Instance {
    fn call(&mut self, orders: &mut Orders) -> Outcome {
        let [order, customer, item, quantity] = orders.next();
        let args = [0, order, customer, item, quantity].map(Value::Int);
        let args = value::encode(&args);
        let invocation = Invocation {
            extension: 0,
            args: &args,
            tracer: None,
        };
        let outcome = self
            .instance
            .invoke(invocation, &self.rows, &mut self.intents);
        outcome.result?;
        match self.intents.iter().count() {
            3 => Ok(()),
            written => Err(format!("`Order` asked for {written} writes").into()),
        }
    }
}
