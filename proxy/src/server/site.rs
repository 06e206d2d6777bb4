//! A generation on one thread: its machines, its connections to services, and what its filters ask of the world.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine_core::error::Result;
use filters::callout::{
    CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending,
};
use filters::metrics::Metrics;
use filters::{Filter, Level, Worker};
use proxy_wasm::{Message, PluginInstance, Thread};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::end::Drain;
use super::generation::{Generation, refused};
use super::parts::over;
use super::route::Found;
use crate::config::{
    FilterOverride, HttpConnectionManager, HttpFilter, HttpFilterKind, NodeId, Place, WasmPlugin,
};
use crate::upstream::{Upstreams, callouts};

/// A generation on one thread.
pub(crate) struct Site {
    pub(crate) generation: Arc<Generation>,
    pub(crate) upstreams: Rc<Upstreams>,
    pub(crate) world: Rc<World>,
    wasm: Thread,
    plugins: RefCell<BTreeMap<Place, Rc<PluginInstance>>>,
    #[cfg(feature = "lua")]
    luas: BTreeMap<Place, Rc<filter_lua::Machines>>,
    /// Whether connections should end; kept by whoever drives the site.
    draining: watch::Sender<Drain>,
    pub(crate) connections: Cell<usize>,
    /// Handshakes that failed.
    pub(crate) no_tls: Complaints,
    /// Clients that do not speak HTTP.
    pub(crate) no_http: Complaints,
}

/// How long complaints are only for who debugs once there was one for operators.
const QUIET: Duration = Duration::from_secs(1);

/// What strangers can make fail as often as they like: when that was last said at a level that operators see, and how often
/// it has happened since.
#[derive(Default)]
pub(crate) struct Complaints(Cell<(Option<Instant>, u64)>);

impl Complaints {
    /// Says one.
    pub(crate) fn say(&self, world: &World, line: &str) {
        let (last, others) = self.0.get();
        if last.is_some_and(|last| last.elapsed() < QUIET) {
            self.0.set((last, others + 1));
            return world.log(Level::Debug, "proxy", line);
        }
        self.0.set((Some(Instant::now()), 0));
        if others == 0 {
            return world.log(Level::Warn, "proxy", line);
        }
        let line = format!("{line}; {others} others before it failed as well");
        world.log(Level::Warn, "proxy", &line);
    }
}

/// What a site offers to its filters.
pub(crate) struct World {
    generation: Arc<Generation>,
    upstreams: Rc<Upstreams>,
}

impl Worker for World {
    fn log_level(&self) -> Level {
        self.generation.options.level
    }

    fn log(&self, level: Level, filter: &str, line: &str) {
        if level >= self.generation.options.level {
            (self.generation.options.log)(level, filter, line);
        }
    }

    fn time(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX))
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.generation.options.metrics
    }

    fn node(&self) -> Option<&NodeId> {
        Some(&self.generation.bootstrap.node)
    }

    fn http(
        &self,
        call: HttpCall,
        done: HttpDone,
    ) -> std::result::Result<Box<dyn Pending>, CallRefused> {
        callouts::http(&self.upstreams, call, done)
    }

    fn grpc(
        &self,
        call: GrpcCall,
        events: GrpcEvents,
    ) -> std::result::Result<Box<dyn GrpcStream>, CallRefused> {
        let most = self.limits().queued_bytes;
        callouts::grpc(&self.upstreams, call, events, most)
    }
}

impl Site {
    /// Starts every plugin of a generation on this thread; services that are one for all only on the main one.
    ///
    /// # Errors
    /// `manifest` with the place and the reason of every plugin that does not start.
    pub(crate) fn start(generation: &Arc<Generation>, is_main: bool) -> Result<Rc<Self>> {
        let upstreams = Upstreams::new(&generation.upstreams);
        let world = Rc::new(World {
            generation: Arc::clone(generation),
            upstreams: Rc::clone(&upstreams),
        });
        let (send, mailbox) = unbounded_channel();
        let worker = Rc::clone(&world) as Rc<dyn Worker>;
        let wasm = Thread::new(
            &generation.options.wasm,
            worker,
            // A site that is gone has nothing to do any more.
            Arc::new(move |message| drop(send.send(message))),
        );
        let (draining, _) = watch::channel(Drain::No);
        let site = Rc::new(Self {
            generation: Arc::clone(generation),
            upstreams,
            world,
            wasm,
            plugins: RefCell::default(),
            #[cfg(feature = "lua")]
            luas: {
                let luas = generation.parts.luas.iter();
                luas.map(|(place, lua)| (*place, lua.on_thread())).collect()
            },
            draining,
            connections: Cell::new(0),
            no_tls: Complaints::default(),
            no_http: Complaints::default(),
        });
        let bootstrap = &generation.bootstrap;
        let singletons = bootstrap
            .services
            .iter()
            .filter(|service| service.is_singleton);
        let singletons: Vec<_> = singletons.map(|service| service.plugin.place).collect();
        let mut problems = Vec::new();
        for (place, plugin) in &generation.parts.plugins {
            if singletons.contains(place) && !is_main {
                continue;
            }
            match site.wasm.start(plugin) {
                Ok(instance) => {
                    site.plugins.borrow_mut().insert(*place, instance);
                }
                Err(error) => problems.push(format!("{place}: {error}")),
            }
        }
        if !problems.is_empty() {
            return Err(refused(&generation.file, &problems));
        }
        spawn_local(tick(Rc::downgrade(&site), mailbox));
        Ok(site)
    }

    /// A filter of a network plugin.
    pub(crate) fn plugin(&self, plugin: &WasmPlugin) -> Option<Box<dyn Filter>> {
        let plugins = self.plugins.borrow();
        Some(plugins.get(&plugin.place)?.filter())
    }

    /// The filters of a stream, those that run on the route that it came by, as its route has them now.
    pub(crate) fn filters<'a>(
        &'a self,
        manager: &'a HttpConnectionManager,
        came: Found<'a>,
        now: Found<'a>,
    ) -> impl Iterator<Item = Box<dyn Filter>> + 'a {
        let runs = move |filter: &&HttpFilter| match came
            .and_then(|(host, route)| over(host, route, filter))
        {
            Some(FilterOverride::Disabled) => false,
            Some(_) => true,
            None => !filter.is_disabled,
        };
        let filters = manager.filters.iter().filter(runs);
        filters.filter_map(move |filter| self.filter(filter, now))
    }

    /// A filter as a route has it.
    fn filter(&self, filter: &HttpFilter, route: Found<'_>) -> Option<Box<dyn Filter>> {
        let parts = &self.generation.parts;
        let routed = route.map(|(_, route)| (filter.place, route.place));
        match &filter.kind {
            HttpFilterKind::Wasm(plugin) => self.plugin(plugin),
            HttpFilterKind::Native(_) => {
                let routed = routed.and_then(|place| parts.native_routes.get(&place));
                let config = routed.or(parts.natives.get(&filter.place))?;
                Some(config.filter(&self.generation.tasks))
            }
            #[cfg(feature = "lua")]
            HttpFilterKind::Lua(_) => {
                let routed = routed.and_then(|place| parts.lua_routes.get(&place));
                Some(self.luas.get(&filter.place)?.filter(routed))
            }
            // Such a configuration was refused.
            #[cfg(not(feature = "lua"))]
            HttpFilterKind::Lua(_) => None,
        }
    }

    /// Lets every connection end as soon as it can.
    pub(crate) fn drain(&self, why: Drain) {
        self.draining.send_replace(why);
    }

    /// Whether connections should end now.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow() != Drain::No
    }

    /// Whether connections should end.
    pub(crate) fn draining(&self) -> watch::Receiver<Drain> {
        self.draining.subscribe()
    }
}

/// Runs a site's ticks and messages as long as the site is there.
async fn tick(site: Weak<Site>, mut mailbox: UnboundedReceiver<Message>) {
    loop {
        let wait = {
            let Some(site) = site.upgrade() else { return };
            site.wasm.tick();
            let due = site.wasm.next_tick();
            due.map(|due| Duration::from_nanos(due.saturating_sub(site.world.time())))
        };
        let message = match wait {
            Some(wait) => tokio::time::timeout(wait, mailbox.recv()).await.ok(),
            None => Some(mailbox.recv().await),
        };
        let Some(site) = site.upgrade() else { return };
        match message {
            Some(Some(message)) => site.wasm.deliver(message),
            Some(None) => return,
            None => {}
        }
    }
}
