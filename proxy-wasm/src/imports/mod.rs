//! The functions that a host offers, by name and type, and how they answer.

mod calls;
mod streams;
mod world;

use std::sync::LazyLock;

use engine_core::error::{Error, Result};
use engine_wasm_abi::inspect::ValType::I32;
use engine_wasm_abi::runtime::HostCall::{Many, N1, R0, R1, R2, R2Long, R3, R4, R5};
use engine_wasm_abi::runtime::{FunctionMany, Guest, HostCall, HostFunction};
use engine_wasm_abi::{memory, wasi};

use crate::abi::Status;
use crate::context::State;
use crate::exports::Callback;

/// The guest, from within a function of the host's.
type Inside<'g> = &'g mut dyn Guest<State>;

/// How a function of the host's ends.
type Answered = std::result::Result<(), Stop>;

/// Why a function of the host's does not answer `OK`.
enum Stop {
    /// It answers this.
    Status(Status),
    /// The guest is lost: it failed while it allocated.
    Lost(Error),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// The number that a function answers, whose status is one that the table below has of it.
fn answer(name: &str, declared: &[Status], answered: Answered) -> Result<i32> {
    match answered {
        Ok(()) => Ok(Status::Ok as i32),
        Err(Stop::Status(status)) => {
            debug_assert!(declared.contains(&status), "`{name}` answers {status:?}");
            Ok(status as i32)
        }
        Err(Stop::Lost(error)) => Err(error),
    }
}

/// The guest's bytes at a place of its choice.
fn read(guest: &dyn Guest<State>, at: i32, len: i32) -> std::result::Result<&[u8], Stop> {
    memory::bytes(guest.memory(), "", at.cast_unsigned(), len.cast_unsigned())
        .map_err(|_| Status::InvalidMemoryAccess.into())
}

/// The same as text, as well as it can be.
fn text(guest: &dyn Guest<State>, at: i32, len: i32) -> std::result::Result<String, Stop> {
    Ok(String::from_utf8_lossy(read(guest, at, len)?).into_owned())
}

fn put(guest: Inside<'_>, at: i32, bytes: &[u8]) -> Answered {
    memory::write(guest.split().0, "", at.cast_unsigned(), bytes)
        .map_err(|_| Status::InvalidMemoryAccess.into())
}

fn put_u32(guest: Inside<'_>, at: i32, number: u32) -> Answered {
    put(guest, at, &number.to_le_bytes())
}

fn put_u64(guest: Inside<'_>, at: i32, number: u64) -> Answered {
    put(guest, at, &number.to_le_bytes())
}

/// Lets the guest allocate a block of so many bytes; none at all has no place.
fn allocate(guest: Inside<'_>, size: usize) -> std::result::Result<i32, Stop> {
    if size == 0 {
        return Ok(0);
    }
    allocate_any(guest, size)
}

/// The same, and a block of no bytes has a place too.
fn allocate_any(guest: Inside<'_>, size: usize) -> std::result::Result<i32, Stop> {
    let exports = &guest.state().module.exports;
    let allocator = exports
        .get(Callback::MemoryAllocate)
        .or(exports.get(Callback::Malloc));
    let (Some(allocator), Ok(size)) = (allocator, u32::try_from(size)) else {
        return Err(Status::InvalidMemoryAccess.into());
    };
    let mut places = [u64::from(size)];
    guest
        .call_numbers(allocator.function, &mut places)
        .map_err(Stop::Lost)?;
    match places[0] as u32 {
        0 => Err(Status::InvalidMemoryAccess.into()),
        block => Ok(block.cast_signed()),
    }
}

/// Gives the guest bytes in a block that it allocates, and says where they are and how many.
fn give(guest: Inside<'_>, bytes: &[u8], at: i32, len: i32) -> Answered {
    let block = allocate(guest, bytes.len())?;
    put(guest, block, bytes)?;
    put_u32(guest, at, block.cast_unsigned())?;
    put_u32(guest, len, bytes.len() as u32)
}

/// A number of 32 bits among many.
fn i(places: &[u64], index: usize) -> i32 {
    (places[index] as u32).cast_signed()
}

macro_rules! functions {
    ($($name:literal [$($status:ident)*] $shape:ident($($arg:ident)*) $call:path;)* and $($more:expr),*) => {
        /// Every function that a host offers, but for WASI's.
        pub(crate) static FUNCTIONS: &[HostFunction<State>] = &[
            $(HostFunction {
                module: "env",
                name: $name,
                call: $shape(|guest $(, $arg)*| {
                    answer($name, &[$(Status::$status),*], $call(guest $(, $arg)*))
                }),
            },)*
            $($more),*
        ];

        /// The statuses that they answer, by name.
        const ANSWERS: &[(&str, &[i32])] = &[
            $(($name, &[Status::Ok as i32 $(, Status::$status as i32)*])),*
        ];
    };
}

/// A function of so many numbers.
const fn six(call: FunctionMany<State>) -> HostCall<State> {
    Many(&[I32; 6], call)
}

const fn eight(call: FunctionMany<State>) -> HostCall<State> {
    Many(&[I32; 8], call)
}

const fn nine(call: FunctionMany<State>) -> HostCall<State> {
    Many(&[I32; 9], call)
}

const fn ten(call: FunctionMany<State>) -> HostCall<State> {
    Many(&[I32; 10], call)
}

const fn twelve(call: FunctionMany<State>) -> HostCall<State> {
    Many(&[I32; 12], call)
}

functions! {
    "proxy_done" [BadArgument NotFound] R0() world::done;
    "proxy_set_effective_context" [BadArgument] R1(context) world::set_effective_context;
    "proxy_log" [BadArgument InvalidMemoryAccess] R3(level at len) world::log;
    "proxy_get_log_level" [InvalidMemoryAccess] R1(out) world::log_level;
    "proxy_get_current_time_nanoseconds" [InvalidMemoryAccess] R1(out) world::time;
    "proxy_set_tick_period_milliseconds" [BadArgument] R1(millis) world::set_tick;
    "proxy_get_configuration" [BadArgument InvalidMemoryAccess] R2(at len) world::configuration;
    "proxy_set_buffer_bytes" [BadArgument InvalidMemoryAccess InternalFailure] R5(kind start size at len) streams::set_buffer;
    "proxy_get_buffer_bytes" [BadArgument NotFound InvalidMemoryAccess] R5(kind start max at len) streams::get_buffer;
    "proxy_get_buffer_status" [BadArgument NotFound InvalidMemoryAccess] R3(kind size flags) streams::buffer_status;
    "proxy_get_header_map_size" [BadArgument InvalidMemoryAccess] R2(map out) streams::map_size;
    "proxy_get_header_map_pairs" [BadArgument InvalidMemoryAccess] R3(map at len) streams::get_map;
    "proxy_set_header_map_pairs" [BadArgument ParseFailure InvalidMemoryAccess] R3(map at len) streams::set_map;
    "proxy_get_header_map_value" [BadArgument NotFound InvalidMemoryAccess] R5(map key key_len at len) streams::get_value;
    "proxy_add_header_map_value" [BadArgument InvalidMemoryAccess InternalFailure] R5(map key key_len at len) streams::add_value;
    "proxy_replace_header_map_value" [BadArgument InvalidMemoryAccess InternalFailure] R5(map key key_len at len) streams::replace_value;
    "proxy_remove_header_map_value" [BadArgument InvalidMemoryAccess] R3(map key key_len) streams::remove_value;
    "proxy_continue_stream" [BadArgument] R1(kind) streams::continue_stream;
    "proxy_close_stream" [BadArgument] R1(kind) streams::close_stream;
    "proxy_continue_request" [BadArgument] R0() streams::continue_request;
    "proxy_continue_response" [BadArgument] R0() streams::continue_response;
    "proxy_clear_route_cache" [BadArgument] R0() streams::clear_route_cache;
    "proxy_send_local_response" [BadArgument ParseFailure InvalidMemoryAccess InternalFailure] eight(places) streams::send_local_response;
    "proxy_http_call" [BadArgument ParseFailure InvalidMemoryAccess InternalFailure] ten(places) calls::http_call;
    "proxy_grpc_call" [BadArgument ParseFailure InvalidMemoryAccess InternalFailure] twelve(places) calls::grpc_call;
    "proxy_grpc_stream" [BadArgument ParseFailure InvalidMemoryAccess InternalFailure] nine(places) calls::grpc_stream;
    "proxy_grpc_send" [BadArgument NotFound InvalidMemoryAccess InternalFailure] R4(call at len end) calls::grpc_send;
    "proxy_grpc_cancel" [BadArgument NotFound] R1(call) calls::grpc_cancel;
    "proxy_grpc_close" [BadArgument NotFound] R1(call) calls::grpc_close;
    "proxy_get_status" [InvalidMemoryAccess] R3(code at len) calls::status;
    "proxy_set_shared_data" [CasMismatch InvalidMemoryAccess InternalFailure] R5(key key_len at len cas) world::set_shared;
    "proxy_get_shared_data" [NotFound InvalidMemoryAccess] R5(key key_len at len cas) world::get_shared;
    "proxy_register_shared_queue" [BadArgument InvalidMemoryAccess InternalFailure] R3(at len out) world::register_queue;
    "proxy_resolve_shared_queue" [NotFound InvalidMemoryAccess] R5(vm vm_len at len out) world::resolve_queue;
    "proxy_enqueue_shared_queue" [NotFound InvalidMemoryAccess InternalFailure] R3(queue at len) world::enqueue;
    "proxy_dequeue_shared_queue" [NotFound Empty InvalidMemoryAccess] R3(queue at len) world::dequeue;
    "proxy_define_metric" [BadArgument InvalidMemoryAccess InternalFailure] R4(kind at len out) world::define_metric;
    "proxy_record_metric" [NotFound] R2Long(metric value) world::record_metric;
    "proxy_increment_metric" [NotFound BadArgument] R2Long(metric by) world::increment_metric;
    "proxy_get_metric" [NotFound InvalidMemoryAccess] R2(metric out) world::get_metric;
    "proxy_get_property" [NotFound InvalidMemoryAccess] R4(path path_len at len) world::get_property;
    "proxy_set_property" [BadArgument InvalidMemoryAccess InternalFailure] R4(path path_len at len) world::set_property;
    "proxy_call_foreign_function" [NotFound InvalidMemoryAccess InternalFailure] six(places) world::call_foreign;
    and
    // Older C++ filters import these, and some compare threads to see whether they are on their own.
    HostFunction {
        module: "env",
        name: "pthread_equal",
        call: R2(|_, one, other| Ok(i32::from(one == other))),
    },
    HostFunction {
        module: "env",
        name: "emscripten_notify_memory_growth",
        call: N1(|_, _| Ok(())),
    }
}

/// The numbers that a function answers, beside [`Status::InternalFailure`] where it may not be used; none for one that
/// answers no status.
pub(crate) fn answers(function: &str) -> &'static [i32] {
    let found = ANSWERS.iter().find(|(name, _)| *name == function);
    found.map_or_else(|| wasi::answers(function), |(_, answers)| answers)
}

/// What stands in the place of a function that a guest may not use.
pub(crate) fn denied(function: &'static HostFunction<State>) -> &'static HostFunction<State> {
    /// Every function of this host again, refusing.
    static DENIED: LazyLock<Vec<HostFunction<State>>> = LazyLock::new(|| {
        let all = FUNCTIONS.iter().chain(wasi::functions());
        let refused = all.map(|function| HostFunction {
            module: function.module,
            name: function.name,
            call: refusing(&function.call),
        });
        refused.collect()
    });
    let same = |other: &&HostFunction<State>| {
        (other.module, other.name) == (function.module, function.name)
    };
    DENIED.iter().find(same).unwrap_or(function)
}

/// A function of the same type that refuses. What WASI refuses is a number of its own, which is none of success either.
fn refusing(call: &HostCall<State>) -> HostCall<State> {
    const REFUSED: i32 = Status::InternalFailure as i32;
    match call {
        HostCall::N1(_) => N1(|_, _| Ok(())),
        HostCall::R0(_) => R0(|_| Ok(REFUSED)),
        HostCall::R1(_) => R1(|_, _| Ok(REFUSED)),
        HostCall::R2(_) => R2(|_, _, _| Ok(REFUSED)),
        HostCall::R3(_) => R3(|_, _, _, _| Ok(REFUSED)),
        HostCall::R4(_) => R4(|_, _, _, _, _| Ok(REFUSED)),
        HostCall::R5(_) => R5(|_, _, _, _, _, _| Ok(REFUSED)),
        HostCall::L1(_) => HostCall::L1(|_, _| Ok(REFUSED.into())),
        HostCall::R2Long(_) => R2Long(|_, _, _| Ok(REFUSED)),
        HostCall::R3Long(_) => HostCall::R3Long(|_, _, _, _| Ok(REFUSED)),
        HostCall::R4Long(_) => HostCall::R4Long(|_, _, _, _, _| Ok(REFUSED)),
        HostCall::Many(params, _) => Many(params, |_, _| Ok(REFUSED)),
    }
}
