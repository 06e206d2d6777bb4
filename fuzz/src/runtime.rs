//! A runtime that runs no code: a [`Behaviour`] stands in the place of a module's functions.
//!
//! It keeps the contract of [`Guest`], and watches its host: whatever a host function writes must lie where the guest's
//! arguments, its allocator or its exchange header told it to, and an instance that failed is never called again.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use engine_core::engine::ExtEngine;
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::factory::{EngineKind, EngineLimits, ExtEngineFactory};
use engine_core::limits::{Capabilities, Limit, Limits};
use engine_core::ticker::Ticker;
use engine_wasm_abi::engine::WasmEngine;
use engine_wasm_abi::inspect::{ValType, inspect};
use engine_wasm_abi::runtime::{
    Blueprint, Budget, ExportSpec, Guest, HostCall, HostFunction, NumberFunction, Runtime,
    RuntimeModule,
};

/// The bytes of memory that a guest begins with: few, so that pointers meet their ends.
pub const MEMORY: usize = 4096;

/// How much memory is compared at once.
const PIECE: usize = 64;

/// How many calls of one guest may stand inside one another.
const MAX_DEPTH: usize = 16;

/// The exports that hand out memory, with their size as the first parameter.
const ALLOCATORS: [&str; 4] = [
    "WasmMalloc",
    "malloc",
    "proxy_on_memory_allocate",
    "allocate",
];

/// What a module's functions do.
pub trait Behaviour: fmt::Debug + Send + Sync + 'static {
    /// Does what an export does: `places` are its arguments, and then its result.
    ///
    /// # Errors
    /// What host functions answered, and whatever ends a guest.
    fn call(&self, export: &str, places: &mut [u64], guest: &mut dyn Inside) -> Result<()>;
}

/// A function that a guest imports.
#[derive(Debug)]
pub struct Import {
    /// Its name.
    pub name: &'static str,
    /// The types of its parameters.
    pub params: Vec<ValType>,
}

/// A guest as it sees itself.
pub trait Inside {
    /// Its memory.
    fn memory(&self) -> &[u8];

    /// Writes to its memory as far as that reaches.
    fn write(&mut self, at: u32, bytes: &[u8]);

    /// Makes its memory longer.
    fn grow(&mut self, bytes: usize);

    /// The functions that it imports.
    fn imports(&self) -> Arc<[Import]>;

    /// Calls the function of this position among [`Inside::imports`].
    ///
    /// # Errors
    /// Those of the host, which the guest may not catch.
    fn host(&mut self, import: usize, args: &[u64]) -> Result<u64>;
}

/// The runtime.
#[derive(Debug)]
pub struct Scripted {
    behaviour: Arc<dyn Behaviour>,
    limits: EngineLimits,
    ticker: Ticker,
}

impl Scripted {
    /// An engine whose guests behave like this.
    ///
    /// # Panics
    /// Where there is no thread for its ticker.
    pub fn engine(behaviour: Arc<dyn Behaviour>) -> WasmEngine<Self> {
        WasmEngine::new(Self {
            behaviour,
            limits: (&Limits::default()).into(),
            ticker: Ticker::start_with(|| ()).expect("a thread"),
        })
    }
}

struct Factory;

impl ExtEngineFactory for Factory {
    fn kind(&self) -> EngineKind {
        EngineKind::Wasm
    }

    fn name(&self) -> &'static str {
        "scripted"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL_KEPT
    }

    fn create(&self, _: &EngineLimits) -> Result<Arc<dyn ExtEngine>> {
        Err(Error::new(
            ErrorKind::Internal,
            "made with a behaviour only",
        ))
    }
}

impl Runtime for Scripted {
    const ALWAYS_METERED: bool = false;

    type Module<S: 'static> = Module<S>;

    fn factory(&self) -> &'static dyn ExtEngineFactory {
        &Factory
    }

    fn limits(&self) -> &EngineLimits {
        &self.limits
    }

    fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    fn compile<S: 'static>(self: &Arc<Self>, blueprint: &Blueprint<'_, S>) -> Result<Module<S>> {
        let info = inspect(blueprint.code).info;
        let exports = blueprint.exports.iter();
        let named = blueprint.imports.iter().map(|function| Import {
            name: function.name,
            params: function.call.signature().params,
        });
        Ok(Module(Arc::new(Parts {
            behaviour: Arc::clone(&self.behaviour),
            named: named.collect(),
            imports: blueprint.imports.clone(),
            exports: exports
                .map(|spec| (*spec, info.export(spec.name).is_some()))
                .collect(),
            functions: blueprint.functions.to_vec(),
        })))
    }

    fn settings<S: 'static>(&self, _: &Blueprint<'_, S>) -> String {
        String::new()
    }

    #[allow(unsafe_code, reason = "the trait has it so; nothing is run here")]
    unsafe fn revive<S: 'static>(
        self: &Arc<Self>,
        _: &Blueprint<'_, S>,
        _: &[u8],
    ) -> Option<Module<S>> {
        None
    }
}

/// A module of it.
pub struct Module<S: 'static>(Arc<Parts<S>>);

struct Parts<S: 'static> {
    behaviour: Arc<dyn Behaviour>,
    imports: Vec<&'static HostFunction<S>>,
    /// The same, as the guest sees them.
    named: Arc<[Import]>,
    /// Each with whether it is there.
    exports: Vec<(ExportSpec, bool)>,
    functions: Vec<NumberFunction>,
}

impl<S> fmt::Debug for Module<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Module").field(&self.0.exports).finish()
    }
}

impl<S: 'static> RuntimeModule<S> for Module<S> {
    type Instance = Instance<S>;

    fn compiled(&self) -> Option<Vec<u8>> {
        None
    }

    fn instantiate(&self, state: S) -> Result<Instance<S>> {
        Ok(Instance {
            state,
            parts: Arc::clone(&self.0),
            memory: vec![0; MEMORY],
            seen: vec![0; MEMORY],
            open: vec![Vec::new()],
            header: None,
            lost: false,
        })
    }
}

/// A live guest.
pub struct Instance<S: 'static> {
    state: S,
    parts: Arc<Parts<S>>,
    memory: Vec<u8>,
    /// The memory as the guest has it: what differs, the host has written.
    seen: Vec<u8>,
    /// Where the host may write: for the call from outside, and for each host function that is open within it.
    open: Vec<Vec<Range<u64>>>,
    /// Where the exchange header is, once the guest has said so.
    header: Option<u32>,
    lost: bool,
}

impl<S> fmt::Debug for Instance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("memory", &self.memory.len())
            .finish_non_exhaustive()
    }
}

impl<S: 'static> Instance<S> {
    /// Checks what the host has written since the guest was last asked.
    fn watch(&mut self) {
        let may = self.open.last().map_or(&[][..], |last| last);
        if self.memory != self.seen {
            let input = self.header.and_then(|at| input_buffer(&self.seen, at));
            let pieces = self.memory.chunks(PIECE).zip(self.seen.chunks(PIECE));
            let changed = pieces.zip(0u64..).filter(|((new, old), _)| new != old);
            for ((new, old), piece) in changed {
                for ((new, old), at) in new.iter().zip(old).zip(piece * PIECE as u64..) {
                    let told = || may.iter().chain(&input).any(|place| place.contains(&at));
                    assert!(
                        new == old || told(),
                        "the host wrote to byte {at}, and may to {may:?}, {input:?}"
                    );
                }
            }
            self.seen.copy_from_slice(&self.memory);
        }
        if let [outside] = &mut self.open[..] {
            outside.clear();
        }
    }

    fn enter(&mut self, name: &str, places: &mut [u64]) -> Result<()> {
        assert!(!self.lost, "`{name}` of a guest that has failed");
        self.watch();
        if self.open.len() > MAX_DEPTH {
            self.lost = true;
            return Err(Error::limit(Limit::Stack, "of the script"));
        }
        let size = places.first().map_or(0, |size| u64::from(*size as u32));
        let behaviour = Arc::clone(&self.parts.behaviour);
        let called = behaviour.call(name, places, self);
        // The host may not go on with it, however it came to be.
        self.lost |= called.is_err() && self.open.len() == 1;
        called?;
        let result = places.first().map_or(0, |result| u64::from(*result as u32));
        if ALLOCATORS.contains(&name)
            && let Some(open) = self.open.last_mut()
        {
            open.push(result..result + size);
        }
        if name == "WasmExchange" {
            self.header = Some(result as u32);
        }
        Ok(())
    }
}

/// Where the header of ABI 1.1 says that arguments go.
fn input_buffer(memory: &[u8], header: u32) -> Option<Range<u64>> {
    let header = memory.get(header as usize..)?.first_chunk::<8>()?;
    let [at, room] = [0, 4]
        .map(|i| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]));
    Some(u64::from(at)..u64::from(at) + u64::from(room))
}

/// Where a host function may write: behind each of its pointers a few bytes, and in each buffer whose length is beside it.
fn outputs<S>(function: &HostFunction<S>, args: &[u64]) -> Vec<Range<u64>> {
    const EVENT: u64 = 32;
    let few = if function.module == "env" { 8 } else { EVENT };
    let args: Vec<_> = args.iter().map(|arg| u64::from(*arg as u32)).collect();
    let mut places: Vec<_> = args.iter().map(|at| *at..at + few).collect();
    places.extend(args.windows(2).map(|pair| pair[0]..pair[0] + pair[1]));
    if function.name == "poll_oneoff" {
        places.push(args[1]..args[1] + EVENT * args[2]);
    }
    places
}

impl<S: 'static> Inside for Instance<S> {
    fn memory(&self) -> &[u8] {
        &self.memory
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        let at = (at as usize).min(self.memory.len());
        let len = bytes.len().min(self.memory.len() - at);
        for memory in [&mut self.memory, &mut self.seen] {
            memory[at..at + len].copy_from_slice(&bytes[..len]);
        }
    }

    fn grow(&mut self, bytes: usize) {
        for memory in [&mut self.memory, &mut self.seen] {
            memory.resize((memory.len() + bytes).min(16 * MEMORY), 0);
        }
    }

    fn imports(&self) -> Arc<[Import]> {
        Arc::clone(&self.parts.named)
    }

    fn host(&mut self, import: usize, args: &[u64]) -> Result<u64> {
        let function = self.parts.imports[import];
        self.open.push(outputs(function, args));
        let i = |n: usize| (args[n] as u32).cast_signed();
        let called = match function.call {
            HostCall::N1(f) => f(self, i(0)).map(|()| 0),
            HostCall::R0(f) => f(self),
            HostCall::R1(f) => f(self, i(0)),
            HostCall::R2(f) => f(self, i(0), i(1)),
            HostCall::R3(f) => f(self, i(0), i(1), i(2)),
            HostCall::R4(f) => f(self, i(0), i(1), i(2), i(3)),
            HostCall::R5(f) => f(self, i(0), i(1), i(2), i(3), i(4)),
            HostCall::R2Long(f) => f(self, i(0), args[1].cast_signed()),
            HostCall::R3Long(f) => f(self, i(0), args[1].cast_signed(), i(2)),
            HostCall::R4Long(f) => f(self, i(0), args[1].cast_signed(), i(2), i(3)),
            HostCall::Many(_, f) => f(self, args),
            HostCall::L1(f) => {
                let called = f(self, i(0));
                self.watch();
                self.open.pop();
                return called.map(i64::cast_unsigned);
            }
        };
        self.watch();
        self.open.pop();
        called.map(|result| u64::from(result.cast_unsigned()))
    }
}

impl<S: 'static> Guest<S> for Instance<S> {
    fn state(&self) -> &S {
        &self.state
    }

    fn memory(&self) -> &[u8] {
        &self.memory
    }

    fn split(&mut self) -> (&mut [u8], &S) {
        (&mut self.memory, &self.state)
    }

    fn arm(&mut self, _: Budget) {}

    fn fuel_used(&mut self) -> Option<u64> {
        None
    }

    fn has(&self, export: usize) -> bool {
        self.parts.exports[export].1
    }

    fn call(&mut self, export: usize, args: &[i32]) -> Result<i32> {
        let (spec, there) = self.parts.exports[export];
        assert!(
            there && spec.params == args.len(),
            "`{}` with {args:?}",
            spec.name
        );
        let mut places = [0; ExportSpec::MAX_PARAMS];
        for (place, arg) in places.iter_mut().zip(args) {
            *place = u64::from(arg.cast_unsigned());
        }
        self.enter(spec.name, &mut places[..args.len().max(1)])?;
        Ok(if spec.result {
            (places[0] as u32).cast_signed()
        } else {
            0
        })
    }

    fn call_numbers(&mut self, function: usize, values: &mut [u64]) -> Result<()> {
        let function = self.parts.functions[function].clone();
        assert_eq!(values.len(), function.places(), "`{}`", function.name);
        self.enter(&function.name, values)
    }
}
