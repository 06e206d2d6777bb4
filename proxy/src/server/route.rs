//! Where a request goes: its route, and what the route makes of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use filters::{Headers, ResponseFlag, StreamInfo};

use super::site::Site;
use crate::config::{
    Action, ClusterAction, HostRewrite, HttpConnectionManager, PathMatch, Redirect, Route,
    RoutePlace, VirtualHost,
};
use crate::upstream::Upstream;

/// A route with its virtual host.
pub(crate) type Found<'a> = Option<(&'a VirtualHost, &'a Route)>;

/// What becomes of a request.
pub(crate) enum Routed {
    /// It is answered so.
    Reply((Headers, Bytes)),
    /// It is refused: the status, the words, and why in a word and in a flag.
    Refused(u16, String, &'static str, ResponseFlag),
    /// It goes to a service.
    Service {
        upstream: Rc<Upstream>,
        headers: Headers,
        timeout: Duration,
        /// Whether the endpoint is asked by its own name.
        by_endpoint: bool,
    },
}

/// Adds what a proxy says of a request: its number, and the protocol that the client speaks.
pub(crate) fn complete(headers: &mut Headers, scheme: &str) {
    if headers.get("x-request-id").is_none() {
        headers.add("x-request-id", uuid());
    }
    if headers.get("x-forwarded-proto").is_none() {
        headers.add("x-forwarded-proto", scheme);
    }
}

/// A number that is drawn by chance, in the form of a UUID of version 4.
fn uuid() -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = chance();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (place, byte) in bytes.into_iter().enumerate() {
        at += usize::from(matches!(place, 4 | 6 | 8 | 10));
        for digit in [byte >> 4, byte & 0x0f] {
            text[at] = DIGITS[usize::from(digit)];
            at += 1;
        }
    }
    text
}

/// Random bytes of the system's, of which this thread asks for many at a time.
fn chance() -> [u8; 16] {
    const BLOCKS: usize = 64;
    thread_local! {
        static LEFT: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    LEFT.with_borrow_mut(|left| {
        if left.is_empty() {
            left.resize(BLOCKS, [0; 16]);
            // Without the system's randomness requests have one number, and are served all the same.
            let _ = getrandom::fill(left.as_flattened_mut());
        }
        left.pop().unwrap_or_default()
    })
}

/// Where the route of a request stands.
pub(crate) fn find(manager: &HttpConnectionManager, headers: &Headers) -> Option<RoutePlace> {
    let host = headers.text(":authority").unwrap_or("");
    let path = headers.text(":path").unwrap_or("/");
    let path = path.split('?').next().unwrap_or(path);
    manager.routes.place(host, path)
}

/// Says in a stream's information which route was chosen.
pub(crate) fn note(info: &mut StreamInfo, route: Found<'_>) {
    let (host, route) = match route {
        Some((host, route)) => (host.name.as_str(), Some(route)),
        None => ("", None),
    };
    host.clone_into(&mut info.virtual_host);
    route
        .map_or("", |route| &route.name)
        .clone_into(&mut info.route);
    let cluster = route.map_or("", |route| match &route.action {
        Action::Cluster(action) => &action.cluster,
        _ => "",
    });
    cluster.clone_into(&mut info.cluster);
}

/// Does what a route says with a request that has passed the filters.
pub(crate) fn follow(site: &Site, route: Found<'_>, headers: Headers) -> Routed {
    let Some((_, route)) = route else {
        let flag = ResponseFlag::NoRouteFound;
        return Routed::Refused(404, String::new(), "route_not_found", flag);
    };
    match &route.action {
        Action::Direct(direct) => {
            let bodies = &site.generation.parts.bodies;
            let body = bodies.get(&route.place).cloned().unwrap_or_default();
            let mut headers = Headers::default();
            headers.add(":status", direct.status.to_string());
            if matches!(direct.status, 204 | 304) {
                // HTTP gives these no content.
                return Routed::Reply((headers, Bytes::new()));
            }
            headers.add("content-length", body.len().to_string());
            if !body.is_empty() {
                headers.add("content-type", "text/plain");
            }
            Routed::Reply((headers, body))
        }
        Action::Redirect(redirect) => {
            let mut answer = Headers::default();
            answer.add(":status", redirect.status.to_string());
            answer.add("location", location(redirect, &headers));
            answer.add("content-length", "0");
            Routed::Reply((answer, Bytes::new()))
        }
        Action::Cluster(action) => match site.upstreams.get(&action.cluster) {
            Some(upstream) => Routed::Service {
                headers: rewrite(action, &route.path, headers),
                timeout: action.timeout,
                by_endpoint: action.host == HostRewrite::Endpoint,
                upstream,
            },
            None => {
                let flag = ResponseFlag::NoClusterFound;
                Routed::Refused(503, "no such cluster".into(), "cluster_not_found", flag)
            }
        },
    }
}

fn location(redirect: &Redirect, headers: &Headers) -> String {
    let before = headers.text(":scheme").unwrap_or("http");
    let scheme = redirect.scheme.as_deref().unwrap_or(before);
    let asked = headers.text(":authority").unwrap_or("");
    // A port that was the scheme's own is no port of another scheme.
    let own = match before {
        "http" if scheme == "https" => ":80",
        "https" if scheme == "http" => ":443",
        _ => "",
    };
    let host = redirect.host.as_deref();
    let host = host.unwrap_or(asked.strip_suffix(own).unwrap_or(asked));
    let asked = headers.text(":path").unwrap_or("/");
    let (path, query) = asked.find('?').map_or((asked, ""), |at| asked.split_at(at));
    let to = redirect.path.as_deref().unwrap_or(path);
    let query = match redirect.strip_query || to.contains('?') {
        true => "",
        false => query,
    };
    format!("{scheme}://{host}{to}{query}")
}

fn rewrite(action: &ClusterAction, matched: &PathMatch, mut headers: Headers) -> Headers {
    if let Some(with) = &action.prefix_rewrite {
        let path = headers.text(":path").unwrap_or("/").to_owned();
        let (PathMatch::Prefix(prefix) | PathMatch::Path(prefix)) = matched;
        if let Some(rest) = path.strip_prefix(prefix.as_str()) {
            headers.replace(":path", format!("{with}{rest}"));
            headers.replace("x-envoy-original-path", path);
        }
    }
    if let HostRewrite::Literal(host) = &action.host {
        headers.replace(":authority", host);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_keeps_what_it_does_not_change() {
        let to = |https: bool, host: Option<&str>, path: Option<&str>, strip_query| Redirect {
            status: 301,
            scheme: https.then(|| "https".to_owned()),
            host: host.map(str::to_owned),
            path: path.map(str::to_owned),
            strip_query,
        };
        let from = |authority: &str, path: &str| {
            Headers::from_iter([
                (":scheme", "http"),
                (":authority", authority),
                (":path", path),
            ])
        };
        for (redirect, authority, path, location) in [
            (
                to(false, None, Some("/new"), false),
                "a:80",
                "/old?b=1",
                "http://a:80/new?b=1",
            ),
            (
                to(false, None, Some("/new"), true),
                "a",
                "/old?b=1",
                "http://a/new",
            ),
            (
                to(false, None, Some("/new?c"), false),
                "a",
                "/old?b=1",
                "http://a/new?c",
            ),
            (to(false, None, None, true), "a", "/old?b=1", "http://a/old"),
            (to(true, None, None, false), "a:80", "/?b", "https://a/?b"),
            (
                to(true, None, None, false),
                "a:8080",
                "/",
                "https://a:8080/",
            ),
            (
                to(true, Some("c:80"), None, false),
                "a:80",
                "/",
                "https://c:80/",
            ),
        ] {
            assert_eq!(self::location(&redirect, &from(authority, path)), location);
        }
    }

    #[test]
    fn a_requests_number_is_a_uuid_of_version_4() {
        let one = uuid();
        let text = one.escape_ascii();
        let dashes = [8, 13, 18, 23];
        for (place, byte) in one.iter().enumerate() {
            assert_eq!(*byte == b'-', dashes.contains(&place), "{text}");
            assert!(byte.is_ascii_hexdigit() || *byte == b'-', "{text}");
        }
        assert_eq!(one[14], b'4', "{text}");
        assert!(b"89ab".contains(&one[19]), "{text}");
        assert_ne!(one, uuid());
    }
}
