//! Contexts, streams, the log, the clock and the configuration.

use proxy_wasm::Status::{BadArgument, InvalidMemoryAccess, NotFound, Ok as Fine};

use super::cell::Arg::{Bad, BadText, N, Out, T};
use super::cell::Where::{Configure, Headers, Message, Start, Tick};
use super::cell::{Cell, after, cell};

pub(super) fn cells() -> Vec<Cell> {
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
    ]
}
