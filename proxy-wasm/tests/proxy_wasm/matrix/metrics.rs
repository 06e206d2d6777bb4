//! Metrics, properties and foreign functions.

use proxy_wasm::Status::{BadArgument, InternalFailure, InvalidMemoryAccess, NotFound, Ok as Fine};

use super::cell::Arg::{Bad, BadText, Got, N, Out, T};
use super::cell::Where::{Configure, Headers, Start};
use super::cell::{Call, Cell, after, cell};

const COUNTER: Call = ("proxy_define_metric", &[N(0), T("counter"), Out]);

pub(super) fn cells() -> Vec<Cell> {
    vec![
        cell(
            InternalFailure,
            Headers,
            ("proxy_define_metric", &[N(0), N(0), N(1025), Out]),
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
    ]
}
