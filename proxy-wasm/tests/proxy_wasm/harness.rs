//! Filters written in WAT, a thread that runs them, and a worker that notes what they ask for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine_core::foreign::{ForeignFunctions, Purity};
use engine_core::limits::Limits;
use filters::callout::{
    CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending,
};
use filters::metrics::Metrics;
use filters::{Chain, Direction, FilterLimits, Headers, Level, Part, Settings, StreamInfo, Worker};
use proxy_wasm::{
    Backoff, FailurePolicy, Message, Options, PluginConfig, PluginInstance, ProxyWasm,
    SharedLimits, Thread, VmConfig,
};

pub(crate) const ENGINES: [&str; 2] = ["wasmtime", "wasmer"];

/// What every filter needs, before what is special to one: imports must come first.
const COMMON: &str = r#"
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 32768))
  (func (export "malloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "proxy_abi_version_0_2_1"))
"#;

/// A filter: its imports, and everything else. `(log "text")` is not WAT; texts are in data segments.
pub(crate) fn filter(imports: &str, rest: &str) -> String {
    format!("(module {imports} {COMMON} {rest})")
}

/// A worker that notes everything.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) lines: RefCell<Vec<String>>,
    pub(crate) now: Cell<u64>,
    pub(crate) calls: RefCell<Vec<(HttpCall, Option<HttpDone>)>>,
    pub(crate) streams: RefCell<Vec<(GrpcCall, GrpcEvents)>>,
    /// What was sent on gRPC streams, and what was dropped.
    pub(crate) notes: Rc<RefCell<Vec<String>>>,
    pub(crate) refuse: Cell<Option<fn() -> CallRefused>>,
    /// The bytes of which randomness is made.
    pub(crate) chance: Cell<u8>,
    /// There is no randomness at all.
    pub(crate) chanceless: Cell<bool>,
    metrics: Arc<Metrics>,
}

/// So little that one call of a guest may ask for more.
pub(crate) const LIMITS: FilterLimits = FilterLimits {
    stream_calls: 3,
    calls: 5,
    body_bytes: 64 << 10,
    queued_bytes: 32 << 10,
};

impl World {
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metrics.get(name).map_or(0, |metric| metric.get())
    }
}

struct Dropped(Rc<RefCell<Vec<String>>>, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.borrow_mut().push(format!("{} dropped", self.1));
    }
}

impl Pending for Dropped {}

impl GrpcStream for Dropped {
    fn send(&mut self, message: bytes::Bytes, end: bool) -> Result<(), CallRefused> {
        if message.len() > LIMITS.queued_bytes {
            return Err(CallRefused::Full);
        }
        let note = format!("sent {} end {end}", String::from_utf8_lossy(&message));
        self.0.borrow_mut().push(note);
        Ok(())
    }

    fn close(&mut self) {
        self.0.borrow_mut().push("closed".into());
    }
}

impl Worker for World {
    fn log_level(&self) -> Level {
        Level::Trace
    }

    fn log(&self, level: Level, filter: &str, line: &str) {
        let line = format!("{} {filter}: {line}", level.name());
        self.lines.borrow_mut().push(line);
    }

    fn time(&self) -> u64 {
        self.now.get()
    }

    fn random(&self, place: &mut [u8]) -> std::io::Result<()> {
        if self.chanceless.get() {
            return Err(std::io::ErrorKind::Unsupported.into());
        }
        place.fill(self.chance.get());
        Ok(())
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    fn limits(&self) -> FilterLimits {
        LIMITS
    }

    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        if let Some(refuse) = self.refuse.get() {
            return Err(refuse());
        }
        self.calls.borrow_mut().push((call, Some(done)));
        Ok(Box::new(Dropped(Rc::clone(&self.notes), "call")))
    }

    fn grpc(&self, call: GrpcCall, events: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused> {
        if let Some(refuse) = self.refuse.get() {
            return Err(refuse());
        }
        self.streams.borrow_mut().push((call, events));
        Ok(Box::new(Dropped(Rc::clone(&self.notes), "stream")))
    }
}

/// One thread with one plugin.
pub(crate) struct Bench {
    pub(crate) world: Rc<World>,
    pub(crate) thread: Thread,
    pub(crate) plugin: Rc<PluginInstance>,
    pub(crate) process: ProxyWasm,
    pub(crate) messages: Arc<Mutex<Vec<Message>>>,
}

pub(crate) fn config(engine: &str, code: &str) -> PluginConfig {
    let code = wat::parse_str(code).expect("a module");
    PluginConfig {
        name: "probe".into(),
        root_id: "root".into(),
        vm: VmConfig {
            vm_id: "vm".into(),
            code: code.into(),
            configuration: b"of the vm".to_vec(),
            environment: BTreeMap::from([("KEY".into(), "value".into())]),
            engine: engine.into(),
            limits: Limits {
                deadline_ms: 200,
                ..Limits::default()
            },
            capabilities: None,
        },
        configuration: b"of the plugin".to_vec(),
        policy: FailurePolicy::Closed,
        backoff: Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_secs(4),
        },
        body_before_headers: false,
    }
}

impl Bench {
    pub(crate) fn new(config: PluginConfig) -> Self {
        Self::try_new(config).expect("the plugin starts")
    }

    pub(crate) fn try_new(config: PluginConfig) -> engine_core::error::Result<Self> {
        Self::sharing(config, SharedLimits::default())
    }

    /// A process in which machines may share very little.
    pub(crate) fn small(config: PluginConfig) -> Self {
        let limits = SharedLimits {
            bytes: 4096,
            entries: 10,
            queues: 1,
        };
        Self::sharing(config, limits).expect("the plugin starts")
    }

    fn sharing(config: PluginConfig, shared: SharedLimits) -> engine_core::error::Result<Self> {
        let mut foreign = ForeignFunctions::new();
        let reverse = |args: &[u8]| Ok(args.iter().rev().copied().collect());
        foreign.register("reverse", Purity::Pure, reverse);
        foreign.register("fail", Purity::Pure, |_: &[u8]| Err("on purpose".into()));
        let process = ProxyWasm::new(Options { foreign, shared });
        let loaded = process.load(config)?;
        let world = Rc::new(World::default());
        world.now.set(1_000_000_000_000);
        let messages: Arc<Mutex<Vec<Message>>> = Arc::default();
        let mailbox = Arc::clone(&messages);
        let worker = Rc::clone(&world) as Rc<dyn Worker>;
        let thread = Thread::new(
            &process,
            worker,
            Arc::new(move |message| mailbox.lock().expect("no panic").push(message)),
        );
        let plugin = thread.start(&loaded)?;
        Ok(Self {
            world,
            thread,
            plugin,
            process,
            messages,
        })
    }

    /// A chain of this plugin alone.
    pub(crate) fn chain(&self) -> Chain {
        self.chain_of(&self.plugin)
    }

    /// A chain of another plugin on the thread.
    pub(crate) fn chain_of(&self, plugin: &Rc<PluginInstance>) -> Chain {
        let worker = Rc::clone(&self.world) as Rc<dyn Worker>;
        Chain::new(
            vec![plugin.filter()],
            StreamInfo::default(),
            Settings { limit: 1 << 16 },
            worker,
        )
    }

    pub(crate) fn tcp(&self) -> Chain {
        let worker = Rc::clone(&self.world) as Rc<dyn Worker>;
        Chain::tcp(
            vec![self.plugin.filter()],
            StreamInfo::default(),
            Settings { limit: 1 << 16 },
            worker,
        )
    }

    /// Does what was put into the mailbox.
    pub(crate) fn deliver(&self) {
        loop {
            let messages = std::mem::take(&mut *self.messages.lock().expect("no panic"));
            if messages.is_empty() {
                return;
            }
            for message in messages {
                self.thread.deliver(message);
            }
        }
    }

    /// What was logged since the last time.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.world.lines.take()
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.world.metric(name)
    }
}

pub(crate) fn request(chain: &mut Chain, end: bool) {
    let headers = [
        (":method", "GET"),
        (":path", "/a?b=c"),
        (":authority", "host"),
        ("x-a", "1"),
    ];
    chain.headers(Direction::Request, Headers::from_iter(headers), end);
}

pub(crate) fn respond(chain: &mut Chain, end: bool) {
    let headers = Headers::from_iter([(":status", "200")]);
    chain.headers(Direction::Response, headers, end);
}

/// The status of what came out as a response, and its body.
pub(crate) fn reply(chain: &mut Chain) -> Option<(String, String)> {
    let mut body = String::new();
    let mut came = false;
    while let Some(part) = chain.take(Direction::Response) {
        match part {
            Part::Data { data, .. } => body.push_str(&String::from_utf8_lossy(&data)),
            Part::Headers { .. } => came = true,
            Part::Trailers => {}
        }
    }
    let stream = chain.stream();
    let status = stream
        .headers(Direction::Response)?
        .text(":status")?
        .to_owned();
    came.then_some((status, body))
}

/// Whether the request went on to the server.
pub(crate) fn passed(chain: &mut Chain) -> bool {
    let mut passed = false;
    while let Some(part) = chain.take(Direction::Request) {
        passed |= matches!(part, Part::Headers { .. });
    }
    passed
}
