//! Properties of a stream by their paths, such as `request.path`, in the form that filters read them.
//!
//! A path is its parts with a NUL between them. Text is as it is, whole numbers are 8 bytes, truth is one byte, times are
//! nanoseconds since 1970 in 8 bytes, durations are nanoseconds; maps are [header maps](crate::pairs).
//! Source of the names: the attributes that Envoy documents.

use bytes::Bytes;
use filters::{Direction, Headers, ResponseFlag, StreamRef};

use crate::abi::Status;
use crate::context::State;
use crate::pairs;

/// Properties that one stream may keep, and their bytes.
const MOST: usize = 1_000;
const MAX_BYTES: usize = 64 << 10;

/// The value of a path, where there is one.
pub(crate) fn get(state: &State, path: &[u8]) -> Option<Bytes> {
    // Some filters end a path as they end texts.
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    let context = state.effective()?;
    let parts: Vec<_> = path.split(|&byte| byte == 0).collect();
    let config = &context.root.config;
    match *parts.as_slice() {
        [b"plugin_name"] => return some(&config.name),
        [b"plugin_root_id"] => return some(&config.root_id),
        [b"plugin_vm_id"] => return some(&config.vm.vm_id),
        _ => {}
    }
    let stream = context.stream.as_ref()?;
    if let Some(value) = stream.properties().get(path) {
        return Some(value.clone());
    }
    of_stream(stream, &parts)
}

/// Gives a stream a property.
pub(crate) fn set(state: &State, path: &[u8], value: &[u8]) -> Result<(), Status> {
    let path = path.strip_suffix(&[0]).unwrap_or(path);
    let stream = state.stream().ok_or(Status::BadArgument)?;
    let mut properties = stream.properties();
    let others = properties.iter().filter(|(other, _)| *other != path);
    let sizes = others.map(|(path, value)| path.len() + value.len());
    let (count, used) = sizes.fold((0, 0), |(count, used), size| (count + 1, used + size));
    if count >= MOST || used + path.len() + value.len() > MAX_BYTES {
        return Err(Status::InternalFailure);
    }
    properties.insert(path.to_vec(), Bytes::copy_from_slice(value));
    Ok(())
}

fn some(text: impl AsRef<[u8]>) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_ref()))
}

fn number(number: u64) -> Option<Bytes> {
    some(number.to_le_bytes())
}

fn map(headers: &Headers) -> Option<Bytes> {
    Some(pairs::encode(headers.pairs()).into())
}

/// A map, or one of its values.
fn of_map(headers: Option<&Headers>, rest: &[&[u8]]) -> Option<Bytes> {
    match rest {
        [] => map(headers?),
        [name] => some(headers?.get(name)?),
        _ => None,
    }
}

fn of_stream(stream: &StreamRef, parts: &[&[u8]]) -> Option<Bytes> {
    let info = stream.info();
    let (group, rest) = parts.split_first()?;
    match (*group, rest) {
        (b"request", rest) => of_request(stream, rest),
        (b"response", rest) => of_response(stream, rest),
        (b"source", [b"address"]) => some(info.source?.to_string()),
        (b"source", [b"port"]) => number(info.source?.port().into()),
        (b"destination", [b"address"]) => some(info.destination?.to_string()),
        (b"destination", [b"port"]) => number(info.destination?.port().into()),
        (b"upstream", [b"address"]) => some(info.upstream?.to_string()),
        (b"upstream", [b"port"]) => number(info.upstream?.port().into()),
        (b"connection", [b"id"]) => number(info.connection),
        (b"connection", [b"mtls"]) => {
            some([info.tls.as_ref().is_some_and(|tls| tls.mutual).into()])
        }
        (b"connection", [b"requested_server_name"]) => some(&info.tls.as_ref()?.server_name),
        (b"connection", [b"tls_version"]) => some(&info.tls.as_ref()?.version),
        (b"cluster_name" | b"xds", [] | [b"cluster_name"]) => some(&info.cluster),
        (b"route_name" | b"xds", [] | [b"route_name"]) => some(&info.route),
        (b"xds", [b"virtual_host_name"]) => some(&info.virtual_host),
        (b"listener_name", []) => some(&info.listener),
        // Whose traffic it is: of those who come in from outside.
        (b"listener_direction", []) => number(1),
        (b"metadata", [b"filter_metadata", filter, key]) => {
            let filter = std::str::from_utf8(filter).ok()?;
            let key = std::str::from_utf8(key).ok()?;
            stream.metadata().get(filter)?.get(key).cloned()
        }
        _ => None,
    }
}

fn of_request(stream: &StreamRef, rest: &[&[u8]]) -> Option<Bytes> {
    let info = stream.info();
    let headers = stream.headers(Direction::Request);
    let header = |name: &str| some(headers.as_ref()?.get(name)?);
    let path = || headers.as_ref()?.text(":path");
    match rest {
        [b"path"] => header(":path"),
        [b"url_path"] => some(path()?.split('?').next()?),
        [b"query"] => some(path()?.split_once('?').map_or("", |(_, query)| query)),
        [b"host"] => header(":authority"),
        [b"scheme"] => header(":scheme"),
        [b"method"] => header(":method"),
        [b"referer"] => header("referer"),
        [b"useragent"] => header("user-agent"),
        [b"id"] => header("x-request-id"),
        [b"protocol"] => some(info.protocol),
        [b"time"] => number(info.start),
        [b"duration"] => number(stream.worker().time().saturating_sub(info.start)),
        [b"size"] => number(info.received),
        [b"total_size"] => {
            let sizes = headers.as_ref().map(|headers| {
                headers
                    .pairs()
                    .map(|(name, value)| name.len() + value.len())
                    .sum::<usize>()
            });
            number(info.received + sizes.unwrap_or(0) as u64)
        }
        [b"headers", rest @ ..] => of_map(headers.as_deref(), rest),
        [b"trailers", rest @ ..] => of_map(stream.trailers(Direction::Request).as_deref(), rest),
        _ => None,
    }
}

fn of_response(stream: &StreamRef, rest: &[&[u8]]) -> Option<Bytes> {
    let info = stream.info();
    let headers = stream.headers(Direction::Response);
    match rest {
        [b"code"] if info.status > 0 => number(info.status.into()),
        [b"code_details"] => some(&info.details),
        [b"flags"] => number(info.flag.map_or(0, ResponseFlag::bit)),
        [b"size"] => number(info.sent),
        [b"grpc_status"] => {
            let status = headers.as_ref()?.text("grpc-status")?;
            number(status.parse().ok()?)
        }
        [b"headers", rest @ ..] => of_map(headers.as_deref(), rest),
        [b"trailers", rest @ ..] => of_map(stream.trailers(Direction::Response).as_deref(), rest),
        _ => None,
    }
}
