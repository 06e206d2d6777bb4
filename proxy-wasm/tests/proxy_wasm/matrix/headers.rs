//! Maps of headers, and responses of the filter's own.

use proxy_wasm::Status::{
    BadArgument, InternalFailure, InvalidMemoryAccess, NotFound, Ok as Fine, ParseFailure,
};

use super::cell::Arg::{Bad, BadText, N, Out, T};
use super::cell::Where::{Answer, Configure, Headers, ResponseHeaders};
use super::cell::{Call, Cell, EMPTY_MAP, after, cell};

/// An eighth of what headers may have.
const LARGE: Call = (
    "proxy_add_header_map_value",
    &[N(0), T("k"), N(0), N(1 << 17)],
);

pub(super) fn cells() -> Vec<Cell> {
    vec![
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
        after(&[LARGE; 7], InternalFailure, Headers, LARGE),
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
            InternalFailure,
            Headers,
            (
                "proxy_send_local_response",
                &[N(200), T(""), N(0), N((64 << 10) + 1), T(EMPTY_MAP), N(-1)],
            ),
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
    ]
}
