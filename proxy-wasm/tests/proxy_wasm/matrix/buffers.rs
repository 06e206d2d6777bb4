//! Buffers: bodies, messages and the configurations.

use proxy_wasm::Status::{BadArgument, InternalFailure, InvalidMemoryAccess, NotFound, Ok as Fine};

use super::cell::Arg::{Bad, BadText, N, Out, T};
use super::cell::Where::{Answer, Body, Configure, Message, Start};
use super::cell::{Cell, cell};

pub(super) fn cells() -> Vec<Cell> {
    vec![
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
            InternalFailure,
            Body,
            (
                "proxy_set_buffer_bytes",
                &[N(0), N(4), N(0), N(0), N((64 << 10) - 3)],
            ),
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
        // There is no way to a stream without its body but a stream of another kind.
        cell(
            NotFound,
            Start,
            ("proxy_get_buffer_bytes", &[N(7), N(0), N(9), Out, Out]),
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
    ]
}
