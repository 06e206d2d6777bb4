//! The orders application, open and stocked, and the clients of its shops.

use std::error::Error;
use std::path::{Path, PathBuf};

use extengine::contract::error::ErrorKind;
use extengine::contract::value::Writer;
use extengine::{Accepted, Answer, AppSpec, Application, CommandId, Options};
use serde_json::json;
use tempfile::TempDir;
// Links the native extensions in.
use orders_extensions as _;

/// What a bench does when something goes wrong: it ends.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Items of a shop, and its customers.
const NUMBERS: i64 = 10_000;

/// An empty folder on the disk that is measured, gone with its handle.
pub(crate) fn folder(below: Option<&Path>) -> Outcome<TempDir> {
    let below = below.unwrap_or(env!("CARGO_TARGET_TMPDIR").as_ref());
    std::fs::create_dir_all(below)?;
    Ok(tempfile::Builder::new()
        .prefix("orders-")
        .tempdir_in(below)?)
}

/// The application's manifest.
pub(crate) fn spec() -> extengine::Result<AppSpec> {
    AppSpec::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("orders"))
}

/// Opens the application on one engine.
pub(crate) fn open(engine: &str, partitions: u32, data: PathBuf) -> extengine::Result<Application> {
    let options = Options {
        engine: Some(engine.to_owned()),
        partitions: Some(partitions),
        data: Some(data),
        ..Options::default()
    };
    Application::open(spec()?, options)
}

/// A client of one shop: it orders random items for random customers.
pub(crate) struct Client {
    command: CommandId,
    random: u64,
    shop: i64,
    orders: i64,
    with_ids: bool,
}

impl Client {
    /// Stocks one shop for each partition, and gives each a client.
    pub(crate) fn of_each_partition(application: &Application) -> Outcome<Vec<Self>> {
        let partitions = application.spec().partitions;
        let mut clients: Vec<Option<Self>> = (0..partitions).map(|_| None).collect();
        for shop in 0.. {
            let nothing = json!({"shop": shop, "first": 0, "count": 0});
            let partition = application.run("Stock", &nothing, None)?.partition;
            let client = &mut clients[partition as usize];
            if client.is_none() {
                *client = Some(Self::new(application, shop)?);
            }
            if clients.iter().all(Option::is_some) {
                break;
            }
        }
        Ok(clients.into_iter().flatten().collect())
    }

    fn new(application: &Application, shop: i64) -> Outcome<Self> {
        for first in (0..NUMBERS).step_by(1_000) {
            let part = json!({"shop": shop, "first": first, "count": 1_000});
            application.run("Stock", &part, None)?;
        }
        Ok(Self {
            command: application.command("Order")?,
            random: 0x9e37_79b9_7f4a_7c15 + shop as u64,
            shop,
            orders: 0,
            with_ids: false,
        })
    }

    /// Orders under an id each, which a repetition would be known by.
    #[allow(dead_code, reason = "what ids cost is asked by one bench")]
    pub(crate) fn with_ids(self, with_ids: bool) -> Self {
        Self { with_ids, ..self }
    }

    /// Sends the next order; none where the queue is full.
    pub(crate) fn order(&mut self, application: &Application) -> Outcome<Option<Answer<Accepted>>> {
        let (customer, item) = (self.number(), self.number());
        let mut args = Vec::with_capacity(32);
        let mut row = Writer(&mut args);
        row.list(5);
        for field in [self.shop, self.orders, customer, item, 1] {
            row.int(field);
        }
        let id = self.with_ids.then(|| format!("order-{}", self.orders));
        match application.submit_row_to(self.command, args, id.as_deref()) {
            Ok(answer) => {
                self.orders += 1;
                Ok(Some(answer))
            }
            Err(error) if error.kind() == ErrorKind::Busy => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A number of an item or a customer (xorshift).
    fn number(&mut self) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % NUMBERS as u64) as i64
    }
}
