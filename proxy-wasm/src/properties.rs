//! Properties of a stream by their paths, such as `request.path`, in the form that filters read them.
//!
//! A path is its parts with a NUL between them. Text is as it is, whole numbers are 8 bytes, truth is one byte, times are
//! nanoseconds since 1970 in 8 bytes, durations are nanoseconds; maps are [header maps](crate::pairs).
//! Of what the configuration says, numbers are floats in 8 bytes, and lists are maps whose names are the entries.
//! Source of the names: the attributes that Envoy documents.

use std::collections::BTreeMap;

use bytes::Bytes;
use filters::{
    Direction, Headers, Json, Metadata, MetadataOf, NodeId, ResponseFlag, StreamInfo, StreamRef,
    certificate,
};

use crate::abi::Status;
use crate::context::State;
use crate::pairs;

/// Properties that one stream may keep, and their bytes.
const MOST: usize = 1_000;
const MAX_BYTES: usize = 64 << 10;

/// What the host speaks of: where it has nothing to say, no filter does so in its place.
const HOSTS: [&[u8]; 19] = [
    b"node",
    b"xds",
    b"request",
    b"response",
    b"source",
    b"destination",
    b"upstream",
    b"connection",
    b"metadata",
    b"listener_name",
    b"listener_direction",
    b"listener_metadata",
    b"filter_chain_name",
    b"cluster_name",
    b"cluster_metadata",
    b"route_name",
    b"route_metadata",
    b"virtual_host_name",
    b"virtual_host_metadata",
];

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
    if let [b"node", rest @ ..] | [b"xds", b"node", rest @ ..] = parts.as_slice() {
        return of_node(state.worker.node()?, rest);
    }
    let stream = context.stream.as_ref()?;
    if parts.first().is_some_and(|group| HOSTS.contains(group)) {
        let given = stream.info().attributes.get(path).cloned();
        return given.or_else(|| of_stream(stream, &parts));
    }
    stream.properties().get(path).cloned()
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
        (b"xds", rest) => of_configuration(stream, &info, rest),
        (b"listener_name", []) => some(&info.listener),
        (b"connection", [what]) => of_certificate(info.tls.as_ref()?.peer.as_ref()?, what),
        (b"metadata", [b"filter_metadata", filter, rest @ ..]) => {
            let metadata = stream.metadata();
            of_dynamic(metadata.get(std::str::from_utf8(filter).ok()?)?, rest)
        }
        _ => of_configuration(stream, &info, parts),
    }
}

/// What the client's certificate says.
fn of_certificate(der: &[u8], what: &[u8]) -> Option<Bytes> {
    match what {
        b"subject_peer_certificate" => some(certificate::subject(der)?),
        b"uri_san_peer_certificate" => some(certificate::uri_names(der).first()?),
        b"dns_san_peer_certificate" => some(certificate::dns_names(der).first()?),
        b"sha256_peer_certificate_digest" => some(certificate::digest(der)),
        _ => None,
    }
}

/// What filters told one another under one name: values in JSON, which read as those of the configuration do.
fn of_dynamic(values: &BTreeMap<String, Bytes>, rest: &[&[u8]]) -> Option<Bytes> {
    let parse = |value: &Bytes| std::str::from_utf8(value).ok()?.parse::<Json>().ok();
    let Some((key, rest)) = rest.split_first() else {
        let fields = values.iter();
        let fields = fields.map(|(key, value)| Some((key.clone(), parse(value)?)));
        return of_json(&Json::Object(fields.collect::<Option<_>>()?), &[]);
    };
    let value = values.get(std::str::from_utf8(key).ok()?)?;
    of_json(&parse(value)?, rest)
}

/// What the configuration says of where a stream is, with `xds` before it or without.
fn of_configuration(stream: &StreamRef, info: &StreamInfo, parts: &[&[u8]]) -> Option<Bytes> {
    let surroundings = || stream.surroundings();
    let metadata = |of, rest: &[_]| of_metadata(surroundings()?.metadata(stream, of)?, rest);
    match parts {
        [b"cluster_name"] => some(&info.cluster),
        [b"route_name"] => some(&info.route),
        [b"virtual_host_name"] => some(&info.virtual_host),
        [b"filter_chain_name"] => some(surroundings()?.filter_chain()),
        [b"listener_direction"] => {
            let direction = surroundings().map(|all| all.direction());
            number(direction.unwrap_or_default() as u64)
        }
        [b"listener_metadata", rest @ ..] => metadata(MetadataOf::Listener, rest),
        [b"cluster_metadata", rest @ ..] => metadata(MetadataOf::Cluster, rest),
        [b"route_metadata", rest @ ..] => metadata(MetadataOf::Route, rest),
        [b"virtual_host_metadata", rest @ ..] => metadata(MetadataOf::VirtualHost, rest),
        _ => None,
    }
}

/// Who the proxy is. The whole of it would be a message of protocol buffers, which no guest asks for.
fn of_node(node: &NodeId, rest: &[&[u8]]) -> Option<Bytes> {
    match rest {
        [b"id"] => some(&node.id),
        [b"cluster"] => some(&node.cluster),
        [b"metadata", rest @ ..] => of_json(&node.metadata, rest),
        _ => None,
    }
}

fn of_metadata(metadata: &Metadata, rest: &[&[u8]]) -> Option<Bytes> {
    match rest {
        [b"filter_metadata", filter, rest @ ..] => {
            of_json(metadata.get(std::str::from_utf8(filter).ok()?)?, rest)
        }
        _ => None,
    }
}

/// What stands at a path within a value.
fn of_json(value: &Json, rest: &[&[u8]]) -> Option<Bytes> {
    let value = rest.iter().try_fold(value, |value, key| {
        value.as_object()?.get(std::str::from_utf8(key).ok()?)
    })?;
    json(value).map(Bytes::from)
}

fn json(value: &Json) -> Option<Vec<u8>> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = match value {
        // Other hosts have no form for nothing.
        Json::Null => return None,
        Json::Bool(truth) => return Some(vec![(*truth).into()]),
        Json::Number(number) => return Some(number.as_f64()?.to_le_bytes().to_vec()),
        Json::String(text) => return Some(text.as_bytes().to_vec()),
        Json::Array(values) => {
            let pairs = values.iter().map(|value| Some((json(value)?, Vec::new())));
            pairs.collect::<Option<_>>()?
        }
        Json::Object(fields) => {
            let pairs = fields.iter();
            let pairs = pairs.map(|(name, value)| Some((name.as_bytes().to_vec(), json(value)?)));
            pairs.collect::<Option<_>>()?
        }
    };
    let pairs = pairs.iter();
    Some(pairs::encode(
        pairs.map(|(name, value)| (name.as_slice(), value.as_slice())),
    ))
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
