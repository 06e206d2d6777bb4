//! Every function that a guest can import with every number that it can answer, the same on both runtimes.
//!
//! [`offered`] says which those are, [`cells`] has a case for each; a function or a number without one fails. That the host
//! answers nothing else is checked where it answers, in builds with debug assertions.

use std::collections::{BTreeMap, BTreeSet};

use engine_wasm_abi::inspect::ValType;
use filters::callout::{CallRefused, GrpcEvent, HttpAnswer};
use filters::{Direction, Headers};
use proxy_wasm::Status::{
    self, BadArgument, CasMismatch, Empty, InternalFailure, InvalidMemoryAccess, NotFound,
    Ok as Fine, ParseFailure,
};
use proxy_wasm::{Import, offered};

use crate::harness::{Bench, ENGINES, config, filter, request, respond};

/// Where a guest calls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    /// While it starts, before there is any context.
    Start,
    /// In the plugin's context.
    Configure,
    /// In a stream's.
    Headers,
    Body,
    ResponseHeaders,
    /// When a call was answered.
    Answer,
    /// When a gRPC stream has a message, and when it ended.
    Message,
    /// When the stream is over and the guest was left its context.
    Tick,
    /// In a stream's, where every call is refused, as of no known cluster, or as one that cannot be sent.
    Refused,
    Unknown,
    Unsendable,
    /// In a stream's, on a host without randomness.
    Chanceless,
}

/// An argument of a call.
#[derive(Clone, Copy)]
enum Arg {
    N(i64),
    /// A text's address and length.
    T(&'static str),
    /// A place for an answer.
    Out,
    /// What the last answer was put into `Out`.
    Got,
    /// An address that leads nowhere.
    Bad,
    /// The address of nowhere, and a length.
    BadText,
}
use Arg::{Bad, BadText, Got, N, Out, T};

type Call = (&'static str, &'static [Arg]);

struct Cell {
    answer: i32,
    at: Where,
    before: &'static [Call],
    call: Call,
}

const fn cell(status: Status, at: Where, call: Call) -> Cell {
    Cell {
        answer: status as i32,
        at,
        before: &[],
        call,
    }
}

const fn after(before: &'static [Call], status: Status, at: Where, call: Call) -> Cell {
    Cell {
        answer: status as i32,
        at,
        before,
        call,
    }
}

/// A case of a function of WASI's, which answers a number of its own.
const fn wasi(answer: i32, call: Call) -> Cell {
    Cell {
        answer,
        at: Where::Headers,
        before: &[],
        call,
    }
}

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const EIO: i32 = 29;
const ESPIPE: i32 = 70;
/// A place of some size.
const PLACE: Arg = N(4096);

const EMPTY_MAP: &str = "";
const HTTP: Call = (
    "proxy_http_call",
    &[T("cluster"), T(EMPTY_MAP), T(""), T(EMPTY_MAP), N(9), Out],
);
const GRPC: Call = (
    "proxy_grpc_stream",
    &[T("cluster"), T("s"), T("m"), T(EMPTY_MAP), Out],
);
const GRPC_CALL: Call = (
    "proxy_grpc_call",
    &[T("c"), T("s"), T("m"), T(EMPTY_MAP), T("x"), N(0), Out],
);
const QUEUE: Call = ("proxy_register_shared_queue", &[T("queue"), Out]);
/// An eighth of what headers may have.
const LARGE: Call = (
    "proxy_add_header_map_value",
    &[N(0), T("k"), N(0), N(1 << 17)],
);
const COUNTER: Call = ("proxy_define_metric", &[N(0), T("counter"), Out]);

fn cells() -> Vec<Cell> {
    use Where::{
        Answer, Body, Chanceless, Configure, Headers, Message, Refused, ResponseHeaders, Start,
        Tick, Unknown, Unsendable,
    };
    vec![
        cell(BadArgument, Start, ("proxy_done", &[])),
        cell(NotFound, Headers, ("proxy_done", &[])),
        after(
            &[("proxy_set_effective_context", &[N(2)])],
            Fine,
            Tick,
            ("proxy_done", &[]),
        ),
        cell(Fine, Headers, ("proxy_set_effective_context", &[N(1)])),
        cell(
            BadArgument,
            Headers,
            ("proxy_set_effective_context", &[N(99)]),
        ),
        cell(Fine, Headers, ("proxy_continue_stream", &[N(1)])),
        cell(BadArgument, Headers, ("proxy_continue_stream", &[N(4)])),
        cell(BadArgument, Configure, ("proxy_continue_stream", &[N(0)])),
        cell(Fine, Headers, ("proxy_close_stream", &[N(2)])),
        cell(BadArgument, Headers, ("proxy_close_stream", &[N(-1)])),
        cell(Fine, Headers, ("proxy_continue_request", &[])),
        cell(BadArgument, Configure, ("proxy_continue_request", &[])),
        cell(Fine, Headers, ("proxy_continue_response", &[])),
        cell(BadArgument, Configure, ("proxy_continue_response", &[])),
        cell(Fine, Headers, ("proxy_clear_route_cache", &[])),
        cell(BadArgument, Configure, ("proxy_clear_route_cache", &[])),
        cell(
            Fine,
            Headers,
            ("proxy_set_tick_period_milliseconds", &[N(0)]),
        ),
        cell(
            BadArgument,
            Start,
            ("proxy_set_tick_period_milliseconds", &[N(5)]),
        ),
        cell(Fine, Start, ("proxy_log", &[N(5), T("words")])),
        cell(BadArgument, Headers, ("proxy_log", &[N(6), T("words")])),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_log", &[N(0), BadText]),
        ),
        cell(Fine, Headers, ("proxy_get_log_level", &[Out])),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_log_level", &[Bad]),
        ),
        cell(Fine, Start, ("proxy_get_current_time_nanoseconds", &[Out])),
        cell(
            InvalidMemoryAccess,
            Start,
            ("proxy_get_current_time_nanoseconds", &[Bad]),
        ),
        cell(Fine, Message, ("proxy_get_status", &[Out, Out, Out])),
        cell(
            InvalidMemoryAccess,
            Message,
            ("proxy_get_status", &[Bad, Out, Out]),
        ),
        cell(Fine, Headers, ("proxy_get_configuration", &[Out, Out])),
        cell(BadArgument, Start, ("proxy_get_configuration", &[Out, Out])),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_configuration", &[Out, Bad]),
        ),
        cell(
            Fine,
            Body,
            ("proxy_set_buffer_bytes", &[N(0), N(0), N(0), T("x")]),
        ),
        cell(
            BadArgument,
            Body,
            ("proxy_set_buffer_bytes", &[N(6), N(0), N(0), T("x")]),
        ),
        cell(
            BadArgument,
            Body,
            ("proxy_set_buffer_bytes", &[N(9), N(0), N(0), T("x")]),
        ),
        cell(
            InvalidMemoryAccess,
            Body,
            ("proxy_set_buffer_bytes", &[N(0), N(0), N(0), BadText]),
        ),
        cell(
            Fine,
            Body,
            ("proxy_get_buffer_bytes", &[N(0), N(1), N(9), Out, Out]),
        ),
        cell(
            Fine,
            Configure,
            ("proxy_get_buffer_bytes", &[N(6), N(0), N(9), Out, Out]),
        ),
        cell(
            Fine,
            Configure,
            ("proxy_get_buffer_bytes", &[N(7), N(0), N(9), Out, Out]),
        ),
        cell(
            Fine,
            Answer,
            ("proxy_get_buffer_bytes", &[N(4), N(0), N(9), Out, Out]),
        ),
        cell(
            Fine,
            Message,
            ("proxy_get_buffer_bytes", &[N(5), N(0), N(9), Out, Out]),
        ),
        cell(
            BadArgument,
            Body,
            ("proxy_get_buffer_bytes", &[N(0), N(9), N(-1), Out, Out]),
        ),
        cell(
            NotFound,
            Body,
            ("proxy_get_buffer_bytes", &[N(4), N(0), N(9), Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Body,
            ("proxy_get_buffer_bytes", &[N(0), N(0), N(9), Bad, Out]),
        ),
        cell(Fine, Body, ("proxy_get_buffer_status", &[N(0), Out, Out])),
        cell(
            BadArgument,
            Body,
            ("proxy_get_buffer_status", &[N(-1), Out, Out]),
        ),
        cell(
            NotFound,
            Body,
            ("proxy_get_buffer_status", &[N(8), Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Body,
            ("proxy_get_buffer_status", &[N(0), Bad, Out]),
        ),
        cell(Fine, Headers, ("proxy_get_header_map_size", &[N(0), Out])),
        cell(
            BadArgument,
            Headers,
            ("proxy_get_header_map_size", &[N(2), Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_header_map_size", &[N(0), Bad]),
        ),
        cell(
            Fine,
            ResponseHeaders,
            ("proxy_get_header_map_pairs", &[N(2), Out, Out]),
        ),
        cell(
            Fine,
            Answer,
            ("proxy_get_header_map_pairs", &[N(6), Out, Out]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_get_header_map_pairs", &[N(2), Out, Out]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_get_header_map_pairs", &[N(1), Out, Out]),
        ),
        cell(
            BadArgument,
            Configure,
            ("proxy_get_header_map_pairs", &[N(0), Out, Out]),
        ),
        cell(
            BadArgument,
            Headers,
            ("proxy_get_header_map_pairs", &[N(8), Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_header_map_pairs", &[N(0), Bad, Out]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_set_header_map_pairs", &[N(0), T(EMPTY_MAP)]),
        ),
        cell(
            BadArgument,
            Answer,
            ("proxy_set_header_map_pairs", &[N(6), T(EMPTY_MAP)]),
        ),
        cell(
            ParseFailure,
            Headers,
            ("proxy_set_header_map_pairs", &[N(0), T("no map")]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_set_header_map_pairs", &[N(0), BadText]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_get_header_map_value", &[N(0), T("x-a"), Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_get_header_map_value", &[N(0), T("x-b"), Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_get_header_map_value", &[N(3), T("x-a"), Out, Out]),
        ),
        cell(
            BadArgument,
            Configure,
            ("proxy_get_header_map_value", &[N(0), T("x-a"), Out, Out]),
        ),
        cell(
            BadArgument,
            Headers,
            ("proxy_get_header_map_value", &[N(8), T("x-a"), Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_header_map_value", &[N(0), BadText, Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_header_map_value", &[N(0), T("x-a"), Out, Bad]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_add_header_map_value", &[N(0), T("k"), T("v")]),
        ),
        cell(
            BadArgument,
            Headers,
            ("proxy_add_header_map_value", &[N(2), T("k"), T("v")]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_add_header_map_value", &[N(0), T("k"), BadText]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_replace_header_map_value", &[N(0), T("x-a"), T("v")]),
        ),
        cell(
            BadArgument,
            Headers,
            ("proxy_replace_header_map_value", &[N(9), T("k"), T("v")]),
        ),
        after(&[LARGE; 7], InternalFailure, Headers, LARGE),
        after(
            &[LARGE; 7],
            InternalFailure,
            Headers,
            (
                "proxy_replace_header_map_value",
                &[N(0), T("r"), N(0), N(1 << 17)],
            ),
        ),
        cell(
            InternalFailure,
            Body,
            (
                "proxy_set_buffer_bytes",
                &[N(0), N(4), N(0), N(0), N((64 << 10) - 3)],
            ),
        ),
        cell(
            InternalFailure,
            Headers,
            (
                "proxy_send_local_response",
                &[N(200), T(""), N(0), N((64 << 10) + 1), T(EMPTY_MAP), N(-1)],
            ),
        ),
        after(
            &[GRPC],
            InternalFailure,
            Headers,
            ("proxy_grpc_send", &[Got, N(0), N((32 << 10) + 1), N(0)]),
        ),
        after(&[HTTP; 3], InternalFailure, Headers, HTTP),
        after(&[GRPC; 3], InternalFailure, Headers, GRPC),
        cell(
            InternalFailure,
            Headers,
            (
                "proxy_http_call",
                &[
                    T("cluster"),
                    T(EMPTY_MAP),
                    N(0),
                    N((64 << 10) + 1),
                    T(EMPTY_MAP),
                    N(9),
                    Out,
                ],
            ),
        ),
        cell(
            InternalFailure,
            Headers,
            ("proxy_define_metric", &[N(0), N(0), N(1025), Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_replace_header_map_value", &[N(0), BadText, T("v")]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_remove_header_map_value", &[N(0), T("none")]),
        ),
        cell(
            BadArgument,
            Headers,
            ("proxy_remove_header_map_value", &[N(1), T("k")]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_remove_header_map_value", &[N(0), BadText]),
        ),
        cell(
            Fine,
            Headers,
            (
                "proxy_send_local_response",
                &[N(418), T("why"), T("body"), T(EMPTY_MAP), N(-1)],
            ),
        ),
        cell(
            BadArgument,
            Headers,
            (
                "proxy_send_local_response",
                &[N(99), T(""), T(""), T(EMPTY_MAP), N(-1)],
            ),
        ),
        cell(
            BadArgument,
            Configure,
            (
                "proxy_send_local_response",
                &[N(200), T(""), T(""), T(EMPTY_MAP), N(-1)],
            ),
        ),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_send_local_response",
                &[N(200), T(""), T(""), T("no map"), N(-1)],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_send_local_response",
                &[N(200), T(""), BadText, T(EMPTY_MAP), N(-1)],
            ),
        ),
        cell(Fine, Headers, HTTP),
        cell(BadArgument, Start, HTTP),
        cell(InternalFailure, Refused, HTTP),
        cell(BadArgument, Unknown, HTTP),
        cell(BadArgument, Unsendable, HTTP),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_http_call",
                &[T("c"), T("no map"), T(""), T(EMPTY_MAP), N(9), Out],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_http_call",
                &[BadText, T(EMPTY_MAP), T(""), T(EMPTY_MAP), N(9), Out],
            ),
        ),
        cell(
            Fine,
            Headers,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T(EMPTY_MAP), T("x"), N(0), Out],
            ),
        ),
        cell(
            BadArgument,
            Start,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T(EMPTY_MAP), T("x"), N(0), Out],
            ),
        ),
        cell(InternalFailure, Refused, GRPC_CALL),
        cell(ParseFailure, Unknown, GRPC_CALL),
        cell(InternalFailure, Unsendable, GRPC_CALL),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T("no map"), T("x"), N(0), Out],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_grpc_call",
                &[T("c"), T("s"), T("m"), T(EMPTY_MAP), BadText, N(0), Out],
            ),
        ),
        cell(Fine, Headers, GRPC),
        cell(BadArgument, Start, GRPC),
        cell(InternalFailure, Refused, GRPC),
        cell(ParseFailure, Unknown, GRPC),
        cell(InternalFailure, Unsendable, GRPC),
        cell(
            ParseFailure,
            Headers,
            (
                "proxy_grpc_stream",
                &[T("c"), T("s"), T("m"), T("no map"), Out],
            ),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_grpc_stream",
                &[T("c"), BadText, T("m"), T(EMPTY_MAP), Out],
            ),
        ),
        after(
            &[GRPC],
            Fine,
            Headers,
            ("proxy_grpc_send", &[Got, T("x"), N(1)]),
        ),
        after(
            &[HTTP],
            BadArgument,
            Headers,
            ("proxy_grpc_send", &[Got, T("x"), N(1)]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_grpc_send", &[N(99), T("x"), N(1)]),
        ),
        after(
            &[GRPC],
            InvalidMemoryAccess,
            Headers,
            ("proxy_grpc_send", &[Got, BadText, N(1)]),
        ),
        after(&[GRPC], Fine, Headers, ("proxy_grpc_cancel", &[Got])),
        after(&[HTTP], BadArgument, Headers, ("proxy_grpc_cancel", &[Got])),
        cell(NotFound, Headers, ("proxy_grpc_cancel", &[N(99)])),
        after(&[GRPC], Fine, Headers, ("proxy_grpc_close", &[Got])),
        after(&[HTTP], BadArgument, Headers, ("proxy_grpc_close", &[Got])),
        after(
            &[GRPC, ("proxy_grpc_cancel", &[Got])],
            NotFound,
            Headers,
            ("proxy_grpc_close", &[Got]),
        ),
        cell(
            Fine,
            Start,
            ("proxy_set_shared_data", &[T("k"), T("v"), N(0)]),
        ),
        cell(
            CasMismatch,
            Headers,
            ("proxy_set_shared_data", &[T("k"), T("v"), N(7)]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_set_shared_data", &[T("k"), BadText, N(0)]),
        ),
        cell(
            InternalFailure,
            Headers,
            ("proxy_set_shared_data", &[T("k"), N(0), N(4097), N(0)]),
        ),
        after(
            &[("proxy_set_shared_data", &[T("k"), T("v"), N(0)])],
            Fine,
            Headers,
            ("proxy_get_shared_data", &[T("k"), Out, Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_get_shared_data", &[T("none"), Out, Out, Out]),
        ),
        after(
            &[("proxy_set_shared_data", &[T("k"), T("v"), N(0)])],
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_shared_data", &[T("k"), Out, Out, Bad]),
        ),
        cell(Fine, Configure, QUEUE),
        cell(BadArgument, Start, QUEUE),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_register_shared_queue", &[T("q"), Bad]),
        ),
        after(
            &[QUEUE],
            InternalFailure,
            Headers,
            ("proxy_register_shared_queue", &[T("another"), Out]),
        ),
        after(
            &[QUEUE],
            Fine,
            Headers,
            ("proxy_resolve_shared_queue", &[T("vm"), T("queue"), Out]),
        ),
        after(
            &[QUEUE],
            Fine,
            Headers,
            ("proxy_resolve_shared_queue", &[T(""), T("queue"), Out]),
        ),
        after(
            &[QUEUE],
            NotFound,
            Headers,
            ("proxy_resolve_shared_queue", &[T("other"), T("queue"), Out]),
        ),
        after(
            &[QUEUE],
            InvalidMemoryAccess,
            Headers,
            ("proxy_resolve_shared_queue", &[T("vm"), T("queue"), Bad]),
        ),
        after(
            &[QUEUE],
            Fine,
            Headers,
            ("proxy_enqueue_shared_queue", &[Got, T("m")]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_enqueue_shared_queue", &[N(9), T("m")]),
        ),
        after(
            &[QUEUE],
            InvalidMemoryAccess,
            Headers,
            ("proxy_enqueue_shared_queue", &[Got, BadText]),
        ),
        after(
            &[QUEUE],
            InternalFailure,
            Headers,
            ("proxy_enqueue_shared_queue", &[Got, N(0), N(4097)]),
        ),
        after(
            &[QUEUE, ("proxy_enqueue_shared_queue", &[Got, T("m")])],
            Fine,
            Headers,
            ("proxy_dequeue_shared_queue", &[Got, Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_dequeue_shared_queue", &[N(9), Out, Out]),
        ),
        after(
            &[QUEUE],
            Empty,
            Headers,
            ("proxy_dequeue_shared_queue", &[Got, Out, Out]),
        ),
        after(
            &[QUEUE, ("proxy_enqueue_shared_queue", &[Got, T("m")])],
            InvalidMemoryAccess,
            Headers,
            ("proxy_dequeue_shared_queue", &[Got, Bad, Out]),
        ),
        cell(Fine, Start, COUNTER),
        cell(
            BadArgument,
            Headers,
            ("proxy_define_metric", &[N(3), T("m"), Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_define_metric", &[N(0), T("m"), Bad]),
        ),
        after(
            &[COUNTER],
            InternalFailure,
            Headers,
            ("proxy_define_metric", &[N(1), T("counter"), Out]),
        ),
        after(
            &[COUNTER],
            Fine,
            Headers,
            ("proxy_record_metric", &[Got, N(5)]),
        ),
        cell(NotFound, Headers, ("proxy_record_metric", &[N(99), N(5)])),
        after(
            &[COUNTER],
            Fine,
            Headers,
            ("proxy_increment_metric", &[Got, N(5)]),
        ),
        after(
            &[COUNTER],
            BadArgument,
            Headers,
            ("proxy_increment_metric", &[Got, N(-5)]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_increment_metric", &[N(99), N(5)]),
        ),
        after(&[COUNTER], Fine, Headers, ("proxy_get_metric", &[Got, Out])),
        cell(NotFound, Headers, ("proxy_get_metric", &[N(99), Out])),
        after(
            &[COUNTER],
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_metric", &[Got, Bad]),
        ),
        cell(
            Fine,
            Headers,
            ("proxy_get_property", &[T("request\0path"), Out, Out]),
        ),
        cell(
            Fine,
            Configure,
            ("proxy_get_property", &[T("plugin_root_id"), Out, Out]),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_get_property", &[T("no\0such"), Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_get_property", &[BadText, Out, Out]),
        ),
        cell(Fine, Headers, ("proxy_set_property", &[T("mine"), T("v")])),
        cell(
            BadArgument,
            Configure,
            ("proxy_set_property", &[T("mine"), T("v")]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            ("proxy_set_property", &[T("mine"), BadText]),
        ),
        cell(
            InternalFailure,
            Headers,
            ("proxy_set_property", &[T("mine"), N(0), N((64 << 10) + 1)]),
        ),
        cell(
            Fine,
            Start,
            (
                "proxy_call_foreign_function",
                &[T("reverse"), T("abc"), Out, Out],
            ),
        ),
        cell(
            NotFound,
            Headers,
            ("proxy_call_foreign_function", &[T("none"), T(""), Out, Out]),
        ),
        cell(
            InvalidMemoryAccess,
            Headers,
            (
                "proxy_call_foreign_function",
                &[T("reverse"), BadText, Out, Out],
            ),
        ),
        cell(
            InternalFailure,
            Headers,
            ("proxy_call_foreign_function", &[T("fail"), T(""), Out, Out]),
        ),
        // There is no way to a stream without its body but a stream of another kind.
        cell(
            NotFound,
            Start,
            ("proxy_get_buffer_bytes", &[N(7), N(0), N(9), Out, Out]),
        ),
        wasi(SUCCESS, ("args_get", &[PLACE, PLACE])),
        wasi(SUCCESS, ("args_sizes_get", &[Out, Out])),
        wasi(SUCCESS, ("clock_res_get", &[N(0), Out])),
        wasi(SUCCESS, ("clock_time_get", &[N(0), N(0), Out])),
        wasi(SUCCESS, ("environ_get", &[Out, PLACE])),
        wasi(SUCCESS, ("environ_sizes_get", &[Out, Out])),
        wasi(SUCCESS, ("fd_close", &[N(1)])),
        wasi(EBADF, ("fd_close", &[N(3)])),
        wasi(SUCCESS, ("fd_fdstat_get", &[N(2), PLACE])),
        wasi(EBADF, ("fd_fdstat_get", &[N(-1), PLACE])),
        wasi(SUCCESS, ("fd_fdstat_set_flags", &[N(0), N(0)])),
        wasi(EBADF, ("fd_fdstat_set_flags", &[N(3), N(0)])),
        wasi(EBADF, ("fd_prestat_dir_name", &[N(3), PLACE, N(9)])),
        wasi(EBADF, ("fd_prestat_get", &[N(3), PLACE])),
        wasi(SUCCESS, ("fd_read", &[N(0), PLACE, N(0), Out])),
        wasi(EBADF, ("fd_read", &[N(1), PLACE, N(0), Out])),
        wasi(ESPIPE, ("fd_seek", &[N(1), N(0), N(0), Out])),
        wasi(EBADF, ("fd_seek", &[N(3), N(0), N(0), Out])),
        wasi(SUCCESS, ("fd_write", &[N(1), PLACE, N(1), Out])),
        wasi(EBADF, ("fd_write", &[N(0), PLACE, N(1), Out])),
        wasi(EINVAL, ("fd_write", &[N(2), PLACE, N(-1), Out])),
        wasi(EBADF, ("path_filestat_get", &[N(3), N(0), T("a"), PLACE])),
        wasi(
            EBADF,
            (
                "path_open",
                &[N(3), N(0), T("a"), N(0), N(0), N(0), N(0), Out],
            ),
        ),
        wasi(SUCCESS, ("poll_oneoff", &[PLACE, N(8192), N(1), Out])),
        wasi(EINVAL, ("poll_oneoff", &[PLACE, N(8192), N(0), Out])),
        wasi(SUCCESS, ("random_get", &[PLACE, N(40)])),
        wasi(EINVAL, ("random_get", &[PLACE, N(-1)])),
        Cell {
            at: Chanceless,
            ..wasi(EIO, ("random_get", &[PLACE, N(1)]))
        },
        wasi(SUCCESS, ("sched_yield", &[])),
    ]
}

/// What no filter can be answered: its worker's clock does not fail.
const NEVER: (&str, i32) = ("clock_time_get", EIO);

/// A function's declaration as an import, by its name alone.
fn declared(import: &Import) -> String {
    let Import {
        module,
        name,
        signature,
        ..
    } = import;
    let types: Vec<_> = signature.params.iter().map(|ty| ty.to_string()).collect();
    let types = types.join(" ");
    format!("(import \"{module}\" \"{name}\" (func ${name} (param {types}) (result i32)))")
}

/// Where answers are put, and where texts begin.
const OUT: i64 = 512;
const TEXTS: usize = 1024;

/// A guest that makes some calls at a place and logs the last one's answer as a letter: `0` is 0.
fn guest(cell: &Cell, module: &str) -> String {
    let mut texts = String::new();
    let all = offered().filter(|import| import.module == "env" || import.module == module);
    let offered: BTreeMap<_, _> = all.map(|import| (import.name, import)).collect();
    let mut used: BTreeSet<_> = cell
        .before
        .iter()
        .chain([&cell.call])
        .map(|call| call.0)
        .collect();
    used.extend([
        "proxy_log",
        "proxy_http_call",
        "proxy_grpc_stream",
        "proxy_set_tick_period_milliseconds",
    ]);
    let imports: String = used.iter().map(|name| declared(&offered[name])).collect();
    let mut call = |(name, args): &Call| {
        let types = &offered[name].signature.params;
        let mut words: Vec<String> = Vec::new();
        for arg in *args {
            match arg {
                N(number) => {
                    let ty = if types[words.len()] == ValType::I64 {
                        "i64"
                    } else {
                        "i32"
                    };
                    words.push(format!("({ty}.const {number})"));
                }
                T(text) => {
                    words.push(format!("(i32.const {})", TEXTS + texts.len()));
                    words.push(format!("(i32.const {})", text.len()));
                    texts.push_str(text);
                }
                Out => words.push(format!("(i32.const {OUT})")),
                Got => words.push(format!("(i32.load (i32.const {OUT}))")),
                Bad => words.push("(i32.const 0x7fffff00)".into()),
                BadText => words.extend(["(i32.const 0x7fffff00)".into(), "(i32.const 4)".into()]),
            }
        }
        format!("(call ${name} {})", words.join(" "))
    };
    let mut body = String::new();
    for before in cell.before {
        body.push_str(&format!("(drop {})", call(before)));
    }
    let last = call(&cell.call);
    body.push_str(&format!(
        "(i32.store8 (i32.const 8) (i32.add (i32.const 48) {last})) (drop (call $proxy_log (i32.const 1) (i32.const 8) (i32.const 1)))"
    ));
    let http = call(&HTTP);
    let grpc = call(&GRPC);
    let texts = texts.replace('\0', "\\00");
    let at = |place: Where| if cell.at == place { body.as_str() } else { "" };
    let begin = match cell.at {
        Where::Answer => format!("(drop {http})"),
        Where::Message => format!("(drop {grpc})"),
        Where::Refused | Where::Unknown | Where::Unsendable | Where::Chanceless => body.clone(),
        _ => String::new(),
    };
    let tick = if cell.at == Where::Tick {
        "(drop (call $proxy_set_tick_period_milliseconds (i32.const 1)))"
    } else {
        ""
    };
    let done = i32::from(cell.at != Where::Tick);
    let rest = format!(
        r#"
          (data (i32.const {TEXTS}) "{texts}")
          (func (export "_initialize") {})
          (func (export "proxy_on_configure") (param i32 i32) (result i32) {tick} {} (i32.const 1))
          (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {begin} {} (i32.const 0))
          (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) {} (i32.const 0))
          (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) {} (i32.const 0))
          (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) {})
          (func (export "proxy_on_grpc_receive") (param i32 i32 i32) {})
          (func (export "proxy_on_done") (param i32) (result i32) (i32.const {done}))
          (func (export "proxy_on_tick") (param i32) {})
        "#,
        at(Where::Start),
        at(Where::Configure),
        at(Where::Headers),
        at(Where::Body),
        at(Where::ResponseHeaders),
        at(Where::Answer),
        at(Where::Message),
        at(Where::Tick),
    );
    filter(&imports, &rest)
}

/// Brings a guest to the place, and answers what it logged.
fn run(engine: &str, code: &str, at: Where, allowed: Option<BTreeSet<String>>) -> Vec<String> {
    let mut config = config(engine, code);
    config.vm.capabilities = allowed;
    let bench = Bench::small(config);
    bench.world.refuse.set(match at {
        Where::Refused => Some(|| CallRefused::Unavailable),
        Where::Unknown => Some(|| CallRefused::UnknownCluster),
        Where::Unsendable => Some(|| CallRefused::BadRequest("no path".into())),
        _ => None,
    });
    bench.world.chanceless.set(at == Where::Chanceless);
    let mut chain = bench.chain();
    request(&mut chain, false);
    chain.data(Direction::Request, "body".into(), true);
    respond(&mut chain, true);
    let call = bench.world.calls.borrow_mut().pop();
    if let Some((_, Some(done))) = call.filter(|_| at == Where::Answer) {
        done(Ok(HttpAnswer {
            headers: Headers::from_iter([(":status", "200")]),
            ..HttpAnswer::default()
        }));
    }
    let stream = bench.world.streams.borrow_mut().pop();
    if let Some((_, mut events)) = stream.filter(|_| at == Where::Message) {
        events(GrpcEvent::Message("message".into()));
    }
    chain.finish(filters::EndReason::Done);
    bench.world.now.set(bench.world.now.get() + 1_000_000_000);
    bench.thread.tick();
    let lines = bench.lines();
    lines
        .into_iter()
        .filter(|line| line.starts_with("debug probe: ") || line.starts_with("debug vm: "))
        .collect()
}

/// What is logged for an answer.
fn letter(answer: i32) -> char {
    char::from(b'0' + answer as u8)
}

#[test]
fn every_host_function_answers_every_status_it_can() {
    let mut seen: BTreeSet<(&str, &str, i32)> = BTreeSet::new();
    for cell in cells() {
        let (name, _) = cell.call;
        for import in offered().filter(|import| import.name == name) {
            let code = guest(&cell, import.module);
            for engine in ENGINES {
                let lines = run(engine, &code, cell.at, None);
                let found = lines.first().and_then(|line| line.chars().last());
                assert_eq!(
                    found,
                    Some(letter(cell.answer)),
                    "{name} at {:?} on {engine} should answer {}: {lines:?}",
                    cell.at,
                    cell.answer
                );
            }
            seen.insert((import.module, name, cell.answer));
        }
    }
    for import in offered() {
        for answer in import.answers {
            let (module, name) = (import.module, import.name);
            assert!(
                seen.remove(&(module, name, *answer)) || (name, *answer) == NEVER,
                "no case for {module}.{name} answering {answer}"
            );
        }
    }
    assert!(seen.is_empty(), "not declared: {seen:?}");
}

#[test]
fn what_answers_nothing_is_known() {
    let silent = offered().filter(|import| import.answers.is_empty());
    let silent: BTreeSet<_> = silent.map(|import| import.name).collect();
    let expected = [
        "emscripten_notify_memory_growth",
        "proc_exit",
        "pthread_equal",
    ];
    assert_eq!(silent, expected.into());
}

#[test]
fn a_function_that_may_not_be_used_refuses_and_the_others_work() {
    for engine in ENGINES {
        for import in offered() {
            if import.answers.is_empty() || import.name == "proxy_log" {
                continue;
            }
            let args = import.signature.params.iter();
            let args: Vec<_> = args.map(|ty| format!("({ty}.const 0)")).collect();
            let Import { module, name, .. } = import;
            let code = filter(
                &format!(
                    r#"{} (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#,
                    declared(&import)
                ),
                &format!(
                    r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                        (i32.store8 (i32.const 8) (i32.add (i32.const 48) (call ${name} {})))
                        (drop (call $log (i32.const 1) (i32.const 8) (i32.const 1)))
                        (i32.const 0))"#,
                    args.join(" ")
                ),
            );
            let allowed = [
                "proxy_log",
                "proxy_on_request_headers",
                "proxy_on_context_create",
            ];
            let allowed = allowed.into_iter().map(str::to_owned).collect();
            let lines = run(engine, &code, Where::Headers, Some(allowed));
            let refused = letter(InternalFailure as i32);
            assert_eq!(
                lines,
                [format!("debug probe: {refused}")],
                "{module}.{name} on {engine}"
            );
        }
    }
}
