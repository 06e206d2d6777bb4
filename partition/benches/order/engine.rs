//! An engine with one native package, whose commands are written out by hand.

use std::sync::Arc;

use engine_core::cache::CodeCache;
use engine_core::call::Call;
use engine_core::catalog::StorageId;
use engine_core::engine::{
    Code, CodeReport, ExtEngine, ExtensionInstance, ExtensionPackage, Invocation, Outcome,
    PackageSource,
};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory, Registration};
use engine_core::host::Host;
use engine_core::intent::Intents;
use engine_core::key::KeyWriter;
use engine_core::limits::Capabilities;
use engine_core::manifest::{PackageManifest, Verb};
use engine_core::ticker::Ticker;
use engine_core::value::{Reader, Token, Writer};

struct OrderFactory;

inventory::submit!(Registration(&OrderFactory));

impl ExtEngineFactory for OrderFactory {
    fn kind(&self) -> EngineKind {
        EngineKind::Builtin
    }

    fn name(&self) -> &'static str {
        "order"
    }

    fn version(&self) -> &'static str {
        "0"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, _: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        let ticker = Ticker::start_with(|| ()).unwrap();
        Ok(Arc::new(OrderEngine(Arc::new(ticker))))
    }
}

#[derive(Debug)]
struct OrderEngine(Arc<Ticker>);

impl ExtEngine for OrderEngine {
    fn name(&self) -> &'static str {
        "order"
    }

    fn load_cached(
        &self,
        source: &PackageSource,
        _: Option<&CodeCache>,
    ) -> Result<Arc<dyn ExtensionPackage>> {
        let id = |name| source.manifest.catalog.id(name).unwrap();
        Ok(Arc::new(Shop {
            manifest: source.manifest.clone(),
            ticker: self.0.clone(),
            storages: ["item", "customer", "order"].map(id),
            buffers: Buffers::default(),
        }))
    }

    fn inspect(&self, _: &Code) -> Result<CodeReport> {
        Ok(CodeReport::default())
    }
}

/// The package, and each of its instances.
#[derive(Clone, Debug)]
struct Shop {
    manifest: Arc<PackageManifest>,
    ticker: Arc<Ticker>,
    /// Items, customers and orders.
    storages: [StorageId; 3],
    buffers: Buffers,
}

#[derive(Clone, Debug, Default)]
struct Buffers {
    key: Vec<u8>,
    row: Vec<u8>,
}

impl ExtensionPackage for Shop {
    fn manifest(&self) -> &Arc<PackageManifest> {
        &self.manifest
    }

    fn instantiate(&self) -> Result<Box<dyn ExtensionInstance>> {
        Ok(Box::new(self.clone()))
    }
}

impl ExtensionInstance for Shop {
    fn invoke(
        &mut self,
        invocation: Invocation<'_>,
        host: &dyn Host,
        intents: &mut Intents,
    ) -> Outcome {
        let cursors = engine_core::call::Buffers::default();
        let (manifest, ticker) = (&self.manifest, &self.ticker);
        let buffers = &mut self.buffers;
        Call::run(
            &invocation,
            manifest,
            ticker,
            host,
            &cursors,
            intents,
            |call| {
                call.end(match &*call.extension().name {
                    "Order" => order(call, self.storages, buffers),
                    _ => fill(call, self.storages, buffers),
                })
            },
        )
    }
}

/// The integers of a row.
fn ints<const N: usize>(row: &[u8]) -> Result<[i64; N]> {
    let mut reader = Reader::new(row);
    let mut ints = [0; N];
    if reader.token()? != Token::List(N as u32) {
        return Err(Error::new(ErrorKind::Internal, "a row of another length"));
    }
    for int in &mut ints {
        match reader.token()? {
            Token::Int(value) => *int = value,
            other => return Err(Error::new(ErrorKind::Internal, format!("{other:?}"))),
        }
    }
    Ok(ints)
}

impl Buffers {
    fn key(&mut self, id: i64) {
        self.key.clear();
        KeyWriter(&mut self.key).int(id);
    }

    fn read<const N: usize>(
        &mut self,
        call: &Call<'_>,
        storage: StorageId,
        id: i64,
    ) -> Result<[i64; N]> {
        self.key(id);
        self.row.clear();
        match call.get(storage, &self.key, &mut self.row)? {
            true => ints(&self.row),
            false => Err(Error::new(ErrorKind::Rejected, "no such row")),
        }
    }

    fn write(
        &mut self,
        call: &Call<'_>,
        verb: Verb,
        storage: StorageId,
        id: i64,
        row: &[i64],
    ) -> Result<()> {
        self.key(id);
        self.row.clear();
        let mut out = Writer(&mut self.row);
        out.list(row.len());
        row.iter().for_each(|int| out.int(*int));
        call.write(verb, storage, &self.key, &self.row)
    }
}

fn order(
    call: &Call<'_>,
    [items, customers, orders]: [StorageId; 3],
    buffers: &mut Buffers,
) -> Result<()> {
    let [id, item, customer, quantity] = ints(call.args())?;
    let [stock, price] = buffers.read(call, items, item)?;
    let [balance] = buffers.read(call, customers, customer)?;
    let total = price * quantity;
    if stock < quantity || balance < total {
        return Err(Error::new(ErrorKind::Rejected, "not enough"));
    }
    buffers.write(call, Verb::Update, items, item, &[stock - quantity, price])?;
    buffers.write(call, Verb::Update, customers, customer, &[balance - total])?;
    let row = [customer, item, quantity, total];
    buffers.write(call, Verb::Insert, orders, id, &row)
}

fn fill(
    call: &Call<'_>,
    [items, customers, _]: [StorageId; 3],
    buffers: &mut Buffers,
) -> Result<()> {
    let [from, to] = ints(call.args())?;
    for id in from..to {
        buffers.write(call, Verb::Put, items, id, &[1 << 40, 3])?;
        buffers.write(call, Verb::Put, customers, id, &[1 << 40])?;
    }
    Ok(())
}
