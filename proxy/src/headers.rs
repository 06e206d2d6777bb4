//! Headers between filters, which see pseudo-headers in one ordered list, and the HTTP stack, which has parts and maps.

use filters::Headers;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http::{request, response};

/// Names that speak of one connection alone, beside those that `connection` lists.
static HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Makes a request of headers with `:method`, `:path` and `:authority`.
///
/// Its address is whole, with scheme (`http` where there is no `:scheme`) and authority, and it has no `host`.
/// What is sent does not wait for a `100 Continue`, so it says nothing of one either.
///
/// # Errors
/// In words, where a pseudo-header is missing or HTTP does not take a name or value.
pub(crate) fn request<B>(headers: &Headers, body: B) -> Result<Request<B>, String> {
    let method = parse(headers, ":method", Method::from_bytes)?;
    if method == Method::CONNECT {
        return Err("the method `CONNECT` is not carried".to_owned());
    }
    let mut address = http::uri::Parts::default();
    address.path_and_query = Some(parse(headers, ":path", |path| match path {
        [b'/', ..] | b"*" => PathAndQuery::try_from(path).map_err(drop),
        _ => Err(()),
    })?);
    address.authority = Some(parse(headers, ":authority", Authority::try_from)?);
    address.scheme = Some(match headers.get(":scheme") {
        None => Scheme::HTTP,
        Some(_) => parse(headers, ":scheme", Scheme::try_from)?,
    });
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_parts(address).map_err(|error| error.to_string())?;
    *request.headers_mut() = map(headers, &[":method", ":path", ":authority", ":scheme"])?;
    request.headers_mut().remove(HOST);
    if waits(headers.all(EXPECT)) {
        request.headers_mut().remove(EXPECT);
    }
    Ok(request)
}

/// Makes a response of headers with `:status`.
///
/// # Errors
/// In words, where the status is missing or below 200, or HTTP does not take a name or value.
pub(crate) fn response<B>(headers: &Headers, body: B) -> Result<Response<B>, String> {
    let status = parse(headers, ":status", StatusCode::from_bytes)?;
    if status.is_informational() {
        return Err(format!("the status {} ends no request", status.as_u16()));
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = map(headers, &[":status"])?;
    Ok(response)
}

/// The headers of a request that came by `http` or `https`, pseudo-headers first.
///
/// `:authority` is that of the address, or `host`; it is missing where a request has neither.
/// There is one `cookie`, of which a client of HTTP/2 may make several.
/// An `expect: 100-continue` is gone: it was answered here, and a service that answered it finally, without reading the body,
/// would take the body for another request.
pub(crate) fn from_request(parts: &request::Parts, scheme: &'static str) -> Headers {
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let authority = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => parts.headers.get(HOST).map(HeaderValue::as_bytes),
    };
    let mut headers = room(&parts.headers);
    if let Some(authority) = authority {
        headers.add(":authority", authority);
    }
    headers.add(":path", path);
    headers.add(":method", parts.method.as_str());
    headers.add(":scheme", scheme);
    append(&mut headers, &parts.headers, Some(&HOST));
    if waits(
        parts
            .headers
            .get_all(EXPECT)
            .into_iter()
            .map(HeaderValue::as_bytes),
    ) {
        headers.remove(EXPECT);
    }
    if headers.all(COOKIE).nth(1).is_some() {
        let cookies: Vec<_> = headers.all(COOKIE).collect();
        let cookie = cookies.join(&b"; "[..]);
        headers.replace(COOKIE, cookie);
    }
    headers
}

/// The headers of a response, `:status` first. One that came in chunks has their length, whatever it says.
pub(crate) fn from_response(parts: &response::Parts) -> Headers {
    let mut headers = room(&parts.headers);
    headers.add(":status", parts.status.as_str());
    let in_chunks = parts.headers.contains_key(TRANSFER_ENCODING);
    append(
        &mut headers,
        &parts.headers,
        in_chunks.then_some(&CONTENT_LENGTH),
    );
    headers
}

/// Whether a response's body is coded for its way in another manner than in chunks, which nobody undoes.
pub(crate) fn is_coded(parts: &response::Parts) -> bool {
    let codings = parts.headers.get_all(TRANSFER_ENCODING);
    let mut codings = codings.into_iter().map(HeaderValue::as_bytes);
    codings.any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// The headers of a map without pseudo-headers.
pub(crate) fn trailers(map: &HeaderMap) -> Headers {
    let mut headers = room(map);
    append(&mut headers, map, None);
    headers
}

/// A map of headers without pseudo-headers, such as trailers.
///
/// # Errors
/// In words, where HTTP does not take a name or value.
pub(crate) fn to_map(headers: &Headers) -> Result<HeaderMap, String> {
    map(headers, &[])
}

/// A map of headers, but for pseudo-headers that are known and those of the hop.
fn map(headers: &Headers, pseudo: &[&str]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(headers.len());
    let hop = Hop::new(headers.all(CONNECTION), headers.get(TE));
    for (name, value) in headers.to_shared() {
        if name.starts_with(b":") {
            if pseudo.iter().any(|known| known.as_bytes() == name) {
                continue;
            }
            return Err(format!("there is no `{}` here", shown(name)));
        }
        let known = HeaderName::from_bytes(name)
            .map_err(|_| format!("HTTP takes no header's name such as `{}`", shown(name)))?;
        let value =
            HeaderValue::from_maybe_shared(value.clone()).map_err(|_| refused(&known, &value))?;
        if known == CONTENT_LENGTH && !is_length(&value, map.get(CONTENT_LENGTH)) {
            return Err(refused(&known, value.as_bytes()));
        }
        if !hop.has(&known) {
            map.append(known, value);
        }
    }
    Ok(map)
}

/// Empty headers that a map will fit into, with what a proxy adds.
fn room(map: &HeaderMap) -> Headers {
    let sizes = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    Headers::with_capacity(map.len() + 6, sizes.sum::<usize>() + 256)
}

/// Adds what a map has, but for a name that is not wanted and those of the hop.
fn append(headers: &mut Headers, map: &HeaderMap, without: Option<&HeaderName>) {
    let connection = map.get_all(CONNECTION).into_iter();
    let te = map.get(TE).map(HeaderValue::as_bytes);
    let hop = Hop::new(connection.map(HeaderValue::as_bytes), te);
    let wanted = map
        .iter()
        .filter(|(name, _)| !hop.has(name) && without != Some(name));
    headers.extend(wanted);
}

/// Whether one of these values of `expect` says that the sender waits before he sends a body.
fn waits<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    values.any(|value| {
        let mut expected = value.split(|byte| *byte == b',');
        expected.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
    })
}

/// Which names speak of one connection alone.
struct Hop {
    /// Those that `connection` lists.
    listed: Vec<HeaderName>,
    te: bool,
}

impl Hop {
    /// Of headers with these values of `connection` and this first one of `te`, which may stay where it says `trailers`, as
    /// services of gRPC want it.
    fn new<'a>(connection: impl Iterator<Item = &'a [u8]>, te: Option<&[u8]>) -> Self {
        let listed = connection.filter_map(|value| std::str::from_utf8(value).ok());
        let listed = listed.filter(|value| value.is_ascii());
        let listed = listed.flat_map(|names| names.split(','));
        let listed = listed.filter_map(|name| name.trim().parse().ok());
        Self {
            listed: listed
                .filter(|name| *name != TE && *name != CONTENT_LENGTH)
                .collect(),
            te: te.is_some_and(|te| te != b"trailers"),
        }
    }

    fn has(&self, name: &HeaderName) -> bool {
        let te = self.te && *name == TE;
        te || HOP_BY_HOP.contains(name) || self.listed.contains(name)
    }
}

/// Whether a `content-length` is a number, and the same as one before it, which HTTP then takes for one.
fn is_length(value: &HeaderValue, before: Option<&HeaderValue>) -> bool {
    let text = value.to_str().unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits && text.parse::<u64>().is_ok() && before.is_none_or(|before| before == value)
}

fn parse<'a, T, E>(
    headers: &'a Headers,
    name: &str,
    parse: impl FnOnce(&'a [u8]) -> Result<T, E>,
) -> Result<T, String> {
    let value = headers
        .get(name)
        .ok_or_else(|| format!("there is no `{name}`"))?;
    parse(value).map_err(|_| refused(name, value))
}

fn refused(name: impl std::fmt::Display, value: &[u8]) -> String {
    format!("HTTP takes no `{name}` such as `{}`", shown(value))
}

/// Bytes as a message shows them, cut where they are long.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(100)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request's headers with one pair in the place of another, or at the end.
    fn with(name: &str, value: &str) -> Headers {
        let mut headers = Headers::from_iter([
            (":authority", "example.com:8080"),
            (":path", "/a?b=c"),
            (":method", "POST"),
            (":scheme", "https"),
        ]);
        headers.replace(name, value);
        headers
    }

    #[test]
    fn a_request_is_the_same_there_and_back() {
        let mut headers = with("x-one", "1");
        headers.add("accept", "*/*");
        headers.add("x-one", "2");
        headers.add("te", "trailers");
        let (parts, ()) = request(&headers, ()).unwrap().into_parts();
        assert_eq!(parts.uri, "https://example.com:8080/a?b=c");
        let mut expected = with("x-one", "1");
        expected.extend([("x-one", "2"), ("accept", "*/*"), ("te", "trailers")]);
        assert_eq!(from_request(&parts, "https"), expected);
    }

    #[test]
    fn a_response_is_the_same_there_and_back() {
        let headers =
            Headers::from_iter([(":status", "404"), ("set-cookie", "a"), ("b", "\u{e9}")]);
        let (parts, ()) = response(&headers, ()).unwrap().into_parts();
        assert_eq!(from_response(&parts), headers);
    }

    #[test]
    fn what_http_does_not_take_is_refused_with_words() {
        for (name, value, words) in [
            (":method", "G T", "HTTP takes no `:method` such as `G T`"),
            (":method", "CONNECT", "the method `CONNECT` is not carried"),
            (":path", "a", "HTTP takes no `:path` such as `a`"),
            (":path", "/a b", "HTTP takes no `:path` such as `/a b`"),
            (
                ":authority",
                "a/b",
                "HTTP takes no `:authority` such as `a/b`",
            ),
            (":scheme", "1:", "HTTP takes no `:scheme` such as `1:`"),
            (":status", "200", "there is no `:status` here"),
            ("a b", "", "HTTP takes no header's name such as `a b`"),
            ("a", "1\r\nb: 2", "HTTP takes no `a` such as `1\\r\\nb: 2`"),
            (
                "content-length",
                "+1",
                "HTTP takes no `content-length` such as `+1`",
            ),
        ] {
            assert_eq!(request(&with(name, value), ()).unwrap_err(), words);
        }
        let mut two = with("content-length", "1");
        two.add("content-length", "2");
        request(&two, ()).unwrap_err();
        for status in ["", "20", "2000", "abc", "101"] {
            response(&Headers::from_iter([(":status", status)]), ()).unwrap_err();
        }
        to_map(&with("a", "b")).unwrap_err();
    }

    #[test]
    fn a_request_without_a_pseudo_header_is_refused() {
        for name in [":method", ":path", ":authority"] {
            let mut headers = with("a", "b");
            headers.remove(name);
            let words = request(&headers, ()).unwrap_err();
            assert_eq!(words, format!("there is no `{name}`"));
        }
    }

    #[test]
    fn headers_of_the_hop_stay_on_it() {
        let mut headers = with("connection", "close, X-Hop");
        headers.extend([("x-hop", "1"), ("keep-alive", "5"), ("te", "gzip")]);
        headers.extend([
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-end", "2"),
        ]);
        headers.extend([("host", "other")]);
        let (mut parts, ()) = request(&headers, ()).unwrap().into_parts();
        assert_eq!(parts.headers.len(), 1);
        assert_eq!(parts.headers["x-end"], "2");
        parts.headers.insert("connection", "x-end".parse().unwrap());
        let back = from_request(&parts, "https");
        assert_eq!(back.len(), 4);
    }

    #[test]
    fn nobody_hears_that_a_client_waits() {
        for (value, stays) in [
            ("100-continue", false),
            ("a, 100-Continue", false),
            ("other", true),
        ] {
            let sent = request(&with("expect", value), ()).unwrap();
            assert_eq!(sent.headers().contains_key(EXPECT), stays, "{value}");
            let came = Request::get("http://a/").header(EXPECT, value).body(());
            let headers = from_request(&came.unwrap().into_parts().0, "http");
            assert_eq!(headers.get("expect").is_some(), stays, "{value}");
        }
    }

    #[test]
    fn several_cookies_become_one_in_the_place_of_the_first() {
        let request = Request::get("http://a/")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("cookie", "c=3")
            .header("x-end", "z");
        let headers = from_request(&request.body(()).unwrap().into_parts().0, "http");
        assert_eq!(headers.get("cookie"), Some(&b"a=1; b=2; c=3"[..]));
        assert_eq!(headers.len(), 6);
    }

    #[test]
    fn a_request_without_an_authority_has_its_host() {
        let request = Request::get("/").header("host", "a").body(()).unwrap();
        let headers = from_request(&request.into_parts().0, "http");
        assert_eq!(headers.get(":authority"), Some(&b"a"[..]));
        assert_eq!(headers.get("host"), None);
    }
}
