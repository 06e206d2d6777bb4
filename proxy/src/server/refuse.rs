//! Requests of HTTP/1 that HTTP itself refuses, before any filter sees them.

use hyper::Version;
use hyper::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;

/// An answer: its status, its words, and the reason in a word.
pub(crate) type Refusal = (u16, &'static str, &'static str);

/// Why a request is refused, if it is.
pub(crate) fn refusal(parts: &Parts, has_body: bool) -> Option<Refusal> {
    if parts.version == Version::HTTP_2 {
        return None;
    }
    let headers = &parts.headers;
    let mut hosts = headers.get_all(HOST).iter();
    if hosts.next().is_none() && parts.version == Version::HTTP_11 {
        return Some((400, "there is no `host`", "missing_host_header"));
    }
    if hosts.next().is_some() {
        return Some((400, "there is more than one `host`", "several_hosts"));
    }
    let is =
        |value: &HeaderValue, word: &[u8]| value.as_bytes().trim_ascii().eq_ignore_ascii_case(word);
    if has_body {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        if codings.any(|coding| !is(coding, b"chunked")) {
            let words = "`transfer-encoding` can be `chunked` alone";
            return Some((501, words, "unsupported_transfer_encoding"));
        }
    }
    // HTTP/2 without TLS is offered by many clients, who do with HTTP/1.1 as well.
    let upgrade = headers.get(UPGRADE).filter(|to| !is(to, b"h2c"))?;
    let mut connection = headers.get_all(CONNECTION).iter();
    let is_asked = connection.any(|names| {
        let mut names = names.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    (is_asked && !upgrade.is_empty()).then_some((403, "upgrades are not served", "upgrade_failed"))
}
