//! What a guest asks of its stream: headers, bodies, going on, closing and answering.

use bytes::Bytes;
use engine_wasm_abi::memory;
use filters::{Direction, Headers, LocalReply, StreamRef};

use super::{Answered, Inside, Stop, allocate, allocate_any, give, i, put_u32, read, text};
use crate::abi::{BufferKind, MapKind, Status, StreamKind, Version};
use crate::context::State;
use crate::pairs;

type Found<T> = std::result::Result<T, Stop>;

/// Bytes of the words that say why a guest answered a stream.
const MAX_DETAILS: usize = 4 << 10;

/// The direction that a buffer or a map belongs to.
fn direction(is_request: bool) -> Direction {
    if is_request {
        Direction::Request
    } else {
        Direction::Response
    }
}

fn stream(state: &State) -> Found<StreamRef> {
    state.stream().ok_or(Status::BadArgument.into())
}

/// Looks at a map; none where the stream, or what was answered, has no such map or not yet.
fn with_map<T>(state: &State, map: i32, look: impl FnOnce(&Headers) -> T) -> Found<Option<T>> {
    let kind = MapKind::of(map).ok_or(Status::BadArgument)?;
    let answer = state.answer.borrow();
    Ok(match kind {
        MapKind::RequestHeaders | MapKind::ResponseHeaders => stream(state)?
            .headers(direction(kind == MapKind::RequestHeaders))
            .map(|map| look(&map)),
        MapKind::RequestTrailers | MapKind::ResponseTrailers => stream(state)?
            .trailers(direction(kind == MapKind::RequestTrailers))
            .map(|map| look(&map)),
        MapKind::GrpcInitial => answer.grpc_initial.as_ref().map(look),
        MapKind::GrpcTrailing => answer.grpc_trailing.as_ref().map(look),
        MapKind::CallHeaders => answer.call_headers.as_ref().map(look),
        MapKind::CallTrailers => answer.call_trailers.as_ref().map(look),
    })
}

/// Changes a map of the stream; what a call answered is not to be changed. Changed headers of a request may lead elsewhere,
/// as Envoy has it for every version of the ABI so far.
fn change_map(state: &State, map: i32, change: impl FnOnce(&mut Headers) -> Answered) -> Answered {
    let kind = MapKind::of(map).ok_or(Status::BadArgument)?;
    let stream = stream(state)?;
    let place = match kind {
        MapKind::RequestHeaders | MapKind::ResponseHeaders => {
            stream.headers(direction(kind == MapKind::RequestHeaders))
        }
        MapKind::RequestTrailers | MapKind::ResponseTrailers => {
            stream.trailers(direction(kind == MapKind::RequestTrailers))
        }
        _ => None,
    };
    match place {
        Some(mut place) => {
            change(&mut place)?;
            if kind == MapKind::RequestHeaders {
                stream.clear_route_cache();
            }
            Ok(())
        }
        None => add_trailers(state, kind, &stream, change),
    }
}

/// Puts trailers behind the last data of a direction that has none, while the guest is told of that.
fn add_trailers(
    state: &State,
    kind: MapKind,
    stream: &StreamRef,
    fill: impl FnOnce(&mut Headers) -> Answered,
) -> Answered {
    let last = state
        .last_data
        .get()
        .filter(|last| last.context == state.effective.get())
        .ok_or(Status::BadArgument)?;
    let is_of = match last.direction {
        Direction::Request => kind == MapKind::RequestTrailers,
        Direction::Response => kind == MapKind::ResponseTrailers,
    };
    if !is_of {
        return Err(Status::BadArgument.into());
    }
    let mut trailers = Headers::default();
    fill(&mut trailers)?;
    if !last.passed && !trailers.is_empty() {
        stream.set_trailers(last.direction, trailers);
    }
    Ok(())
}

/// Puts a pair into a map, where that does not become too large by it.
fn put_pair(
    state: &State,
    map: i32,
    (key, value): (&[u8], &[u8]),
    put: impl FnOnce(&mut Headers, &[u8], &[u8]),
) -> Answered {
    change_map(state, map, |map| {
        if !map.fits(key, value) {
            return Err(Status::InternalFailure.into());
        }
        put(map, key, value);
        Ok(())
    })
}

pub(super) fn map_size(guest: Inside<'_>, map: i32, out: i32) -> Answered {
    let size = with_map(guest.state(), map, |map| 4 + 10 * map.len() + map.bytes())?;
    put_u32(guest, out, size.ok_or(Status::BadArgument)? as u32)
}

pub(super) fn get_map(guest: Inside<'_>, map: i32, at: i32, len: i32) -> Answered {
    // Guests read what is not there as well, when they log a stream that has ended early, and take any error for their end.
    let bytes = with_map(guest.state(), map, |map| pairs::encode(map.pairs()))?;
    let bytes = bytes.unwrap_or_else(|| pairs::encode(Headers::default().pairs()));
    give(guest, &bytes, at, len)
}

pub(super) fn set_map(guest: Inside<'_>, map: i32, at: i32, len: i32) -> Answered {
    let headers = pairs::decode(read(guest, at, len)?).ok_or(Status::ParseFailure)?;
    change_map(guest.state(), map, |map| {
        *map = headers;
        Ok(())
    })
}

pub(super) fn get_value(
    guest: Inside<'_>,
    map: i32,
    key: i32,
    key_len: i32,
    at: i32,
    len: i32,
) -> Answered {
    let key = read(guest, key, key_len)?;
    // Shared, so that it stands whatever the guest does while it allocates.
    let map = with_map(guest.state(), map, Headers::clone)?;
    match map.as_ref().and_then(|map| map.get(key)) {
        Some(value) => give(guest, value, at, len),
        None if guest.state().module.exports.version == Version::V0_1_0 => {
            give(guest, &[], at, len)
        }
        None => Err(Status::NotFound.into()),
    }
}

pub(super) fn add_value(
    guest: Inside<'_>,
    map: i32,
    key: i32,
    key_len: i32,
    at: i32,
    len: i32,
) -> Answered {
    let pair = (read(guest, key, key_len)?, read(guest, at, len)?);
    put_pair(guest.state(), map, pair, |map, key, value| {
        map.add(key, value)
    })
}

pub(super) fn replace_value(
    guest: Inside<'_>,
    map: i32,
    key: i32,
    key_len: i32,
    at: i32,
    len: i32,
) -> Answered {
    let pair = (read(guest, key, key_len)?, read(guest, at, len)?);
    put_pair(guest.state(), map, pair, |map, key, value| {
        map.replace(key, value)
    })
}

pub(super) fn remove_value(guest: Inside<'_>, map: i32, key: i32, key_len: i32) -> Answered {
    let key = read(guest, key, key_len)?;
    change_map(guest.state(), map, |map| {
        map.remove(key);
        Ok(())
    })
}

/// Shows a part of a buffer piece by piece, and answers how long the whole is.
fn show(
    state: &State,
    kind: i32,
    (start, max): (usize, usize),
    mut take: impl FnMut(&[u8]),
) -> Found<usize> {
    let kind = BufferKind::of(kind).ok_or(Status::BadArgument)?;
    if let Some(direction) = body_of(kind) {
        let stream = stream(state)?;
        let body = stream.body(direction).ok_or(Status::NotFound)?;
        body.copy(start, max, take);
        return Ok(body.len());
    }
    let mut slice = |bytes: &[u8]| {
        let from = start.min(bytes.len());
        let to = from.saturating_add(max).min(bytes.len());
        take(&bytes[from..to]);
        bytes.len()
    };
    let answer = state.answer.borrow();
    let found = match kind {
        BufferKind::CallBody => answer.call_body.as_deref().map(slice),
        BufferKind::GrpcMessage => answer.grpc_message.as_deref().map(slice),
        BufferKind::ForeignArguments => answer.foreign.as_deref().map(slice),
        BufferKind::VmConfiguration => Some(slice(&state.module.config.configuration)),
        BufferKind::PluginConfiguration => state
            .effective()
            .map(|context| slice(&context.root.config.configuration)),
        _ => None,
    };
    found.ok_or(Status::NotFound.into())
}

fn body_of(kind: BufferKind) -> Option<Direction> {
    match kind {
        BufferKind::RequestBody | BufferKind::DownstreamData => Some(Direction::Request),
        BufferKind::ResponseBody | BufferKind::UpstreamData => Some(Direction::Response),
        _ => None,
    }
}

pub(super) fn get_buffer(
    guest: Inside<'_>,
    kind: i32,
    start: i32,
    max: i32,
    at: i32,
    len: i32,
) -> Answered {
    let (start, max) = (start.cast_unsigned(), max.cast_unsigned());
    if start.checked_add(max).is_none() {
        return Err(Status::BadArgument.into());
    }
    let (start, max) = (start as usize, max as usize);
    let mut size = 0;
    show(guest.state(), kind, (start, max), |piece| {
        size += piece.len();
    })?;
    if size == 0 && len == 0 {
        // The SDK for AssemblyScript passes the length of the configuration where a place for it belongs, and then takes
        // what is at `at` for a block, with the length that it got elsewhere. An empty block has a length of its own.
        let block = allocate_any(guest, 0)?;
        return put_u32(guest, at, block.cast_unsigned());
    }
    let block = allocate(guest, size)?;
    // Copied into the guest's memory alone. What is shown may have changed while the guest allocated.
    let (memory, state) = guest.split();
    let place = memory::bytes_mut(memory, "", block.cast_unsigned(), size as u32);
    let mut left = place.map_err(|_| Status::InvalidMemoryAccess)?;
    show(state, kind, (start, size), |piece| {
        let (here, behind) = std::mem::take(&mut left).split_at_mut(piece.len());
        here.copy_from_slice(piece);
        left = behind;
    })?;
    let copied = size - left.len();
    put_u32(guest, at, block.cast_unsigned())?;
    put_u32(guest, len, copied as u32)
}

pub(super) fn buffer_status(guest: Inside<'_>, kind: i32, size: i32, flags: i32) -> Answered {
    let whole = show(guest.state(), kind, (0, 0), |_| ())?;
    put_u32(guest, size, whole as u32)?;
    put_u32(guest, flags, 0)
}

pub(super) fn set_buffer(
    guest: Inside<'_>,
    kind: i32,
    start: i32,
    size: i32,
    at: i32,
    len: i32,
) -> Answered {
    let kind = BufferKind::of(kind).ok_or(Status::BadArgument)?;
    let direction = body_of(kind).ok_or(Status::BadArgument)?;
    let bytes = read(guest, at, len)?;
    let stream = stream(guest.state())?;
    let mut body = stream.body(direction).ok_or(Status::BadArgument)?;
    let start = (start.cast_unsigned() as usize).min(body.len());
    let size = (size.cast_unsigned() as usize).min(body.len() - start);
    let most = stream.worker().limits().body_bytes;
    if bytes.len() > size && body.len() - size + bytes.len() > most {
        return Err(Status::InternalFailure.into());
    }
    body.replace(start..start + size, Bytes::copy_from_slice(bytes));
    Ok(())
}

pub(super) fn continue_stream(guest: Inside<'_>, kind: i32) -> Answered {
    let kind = StreamKind::of(kind).ok_or(Status::BadArgument)?;
    let stream = stream(guest.state())?;
    let is_request = matches!(kind, StreamKind::Request | StreamKind::Downstream);
    stream.resume(direction(is_request));
    Ok(())
}

pub(super) fn continue_request(guest: Inside<'_>) -> Answered {
    continue_stream(guest, StreamKind::Request as i32)
}

pub(super) fn continue_response(guest: Inside<'_>) -> Answered {
    continue_stream(guest, StreamKind::Response as i32)
}

pub(super) fn close_stream(guest: Inside<'_>, kind: i32) -> Answered {
    StreamKind::of(kind).ok_or(Status::BadArgument)?;
    stream(guest.state())?.close();
    Ok(())
}

pub(super) fn clear_route_cache(guest: Inside<'_>) -> Answered {
    stream(guest.state())?.clear_route_cache();
    Ok(())
}

/// `(status, details, its length, body, its length, headers, their length, status of gRPC)`
pub(super) fn send_local_response(guest: Inside<'_>, places: &[u64]) -> Answered {
    let details = text(guest, i(places, 1), i(places, 2))?;
    let body = read(guest, i(places, 3), i(places, 4))?;
    let limits = guest.state().worker.limits();
    let body = limits.body(body).filter(|_| details.len() <= MAX_DETAILS);
    let headers = read(guest, i(places, 5), i(places, 6))?;
    let headers = pairs::decode(headers).ok_or(Status::ParseFailure)?;
    let status = u16::try_from(i(places, 0)).ok();
    let status = status
        .filter(|status| (200..=599).contains(status))
        .ok_or(Status::BadArgument)?;
    stream(guest.state())?.local_reply(LocalReply {
        status,
        headers,
        body: body.ok_or(Status::InternalFailure)?,
        grpc_status: u32::try_from(i(places, 7)).ok(),
        details,
    });
    Ok(())
}
