//! The lines of access logs: text with operators such as `%RESPONSE_CODE%`.

use super::reader::instead;

/// The line where a configuration gives none; it is Envoy's.
const USUAL: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// What one line of an access log consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat(pub Vec<LogPiece>);

/// A piece of an access log's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// Text as it is.
    Text(String),
    /// What the stream has, `-` where it has nothing.
    Value(LogValue),
    /// A header or trailer.
    Header {
        /// Where it stands.
        of: LogHeaders,
        /// Its name, in lower case.
        name: String,
        /// The one that is taken where the first is absent.
        or: Option<String>,
        /// The most characters of it.
        most: Option<usize>,
    },
    /// What a filter set as dynamic metadata: the filter's name, and the way to the value.
    DynamicMetadata {
        /// The filter's name, then the names within.
        path: Vec<String>,
        /// The most characters of it.
        most: Option<usize>,
    },
}

/// The headers that a log reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogHeaders {
    /// `REQ`.
    Request,
    /// `RESP`.
    Response,
    /// `TRAILER`.
    Trailers,
}

/// Defines the operators without parentheses.
macro_rules! values {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a log reads of a stream.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum LogValue { $($(#[$doc])* $name,)* }

        const VALUES: &[(&str, LogValue)] = &[$(($word, LogValue::$name),)*];
    };
}

values! {
    /// When it began, as `2026-01-31T23:59:59.000Z`.
    StartTime = "START_TIME",
    /// The version of HTTP, as `HTTP/1.1`.
    Protocol = "PROTOCOL",
    /// The status of the answer; 0 where there was none.
    ResponseCode = "RESPONSE_CODE",
    /// Why the answer has that status, where the proxy made it.
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS",
    /// What went wrong, in short.
    ResponseFlags = "RESPONSE_FLAGS",
    /// Bytes of the request's body, or of the connection's incoming data.
    BytesReceived = "BYTES_RECEIVED",
    /// Bytes of the answer's body, or of the connection's outgoing data.
    BytesSent = "BYTES_SENT",
    /// Milliseconds from its beginning to its end.
    Duration = "DURATION",
    /// The endpoint's address.
    UpstreamHost = "UPSTREAM_HOST",
    /// The cluster's name.
    UpstreamCluster = "UPSTREAM_CLUSTER",
    /// The client's address.
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS",
    /// The client's address without its port.
    DownstreamRemoteAddressWithoutPort = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    /// The address that the client connected to.
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS",
    /// The name that the client asked for with TLS.
    RequestedServerName = "REQUESTED_SERVER_NAME",
    /// The route's name.
    RouteName = "ROUTE_NAME",
}

/// The operators with parentheses.
const CALLS: [&str; 4] = ["REQ", "RESP", "TRAILER", "DYNAMIC_METADATA"];

impl Default for LogFormat {
    fn default() -> Self {
        Self::parse(USUAL).unwrap_or_else(|_| Self(Vec::new()))
    }
}

impl LogFormat {
    /// Reads a format; the error says what is wrong and what to do.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            let Some((operator, behind)) = behind.split_once('%') else {
                return Err(
                    "a `%` begins an operator that does not end: write `%%` for the sign"
                        .to_owned(),
                );
            };
            let literal = if operator.is_empty() {
                format!("{before}%")
            } else {
                before.to_owned()
            };
            push_text(&mut pieces, &literal);
            if !operator.is_empty() {
                pieces.push(piece(operator)?);
            }
            rest = behind;
        }
        push_text(&mut pieces, rest);
        Ok(Self(pieces))
    }
}

fn push_text(pieces: &mut Vec<LogPiece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(LogPiece::Text(before)) => before.push_str(text),
        _ => pieces.push(LogPiece::Text(text.to_owned())),
    }
}

fn piece(operator: &str) -> Result<LogPiece, String> {
    if let Some((_, value)) = VALUES.iter().find(|(word, _)| *word == operator) {
        return Ok(LogPiece::Value(*value));
    }
    let (word, arguments) = operator.split_once('(').unwrap_or((operator, ""));
    let of = match word {
        "REQ" => Some(LogHeaders::Request),
        "RESP" => Some(LogHeaders::Response),
        "TRAILER" => Some(LogHeaders::Trailers),
        "DYNAMIC_METADATA" => None,
        _ if VALUES.iter().any(|(known, _)| *known == word) => {
            return Err(format!(
                "`%{operator}%`: `{word}` takes nothing in parentheses: remove them"
            ));
        }
        _ => {
            let known = VALUES.iter().map(|(word, _)| *word).chain(CALLS);
            return Err(format!(
                "the proxy knows no `%{operator}%`: {}",
                instead(word, known)
            ));
        }
    };
    let wrong = || {
        format!("`%{operator}%` is not whole: write `%{word}(NAME)%` or `%{word}(NAME):LENGTH%`")
    };
    let (name, length) = arguments.rsplit_once(')').ok_or_else(wrong)?;
    let most = match length.strip_prefix(':') {
        Some(length) => Some(length.parse().map_err(|_| wrong())?),
        None if length.is_empty() => None,
        None => return Err(wrong()),
    };
    if name.is_empty() {
        return Err(wrong());
    }
    let Some(of) = of else {
        let path = name.split(':').map(str::to_owned).collect();
        return Ok(LogPiece::DynamicMetadata { path, most });
    };
    let (name, or) = match name.split_once('?') {
        Some((name, or)) => (name, Some(or.to_ascii_lowercase())),
        None => (name, None),
    };
    let name = name.to_ascii_lowercase();
    Ok(LogPiece::Header { of, name, or, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_line_is_a_format() {
        let pieces = LogFormat::parse(USUAL).unwrap().0;
        assert_eq!(pieces, LogFormat::default().0);
        assert_eq!(pieces.len(), 31);
        assert_eq!(pieces[1], LogPiece::Value(LogValue::StartTime));
        assert_eq!(
            pieces[5],
            LogPiece::Header {
                of: LogHeaders::Request,
                name: "x-envoy-original-path".into(),
                or: Some(":path".into()),
                most: None,
            }
        );
    }

    #[test]
    fn signs_lengths_and_metadata_are_read() {
        let pieces = LogFormat::parse("100%% %RESP(X):5%%DYNAMIC_METADATA(a:b)%")
            .unwrap()
            .0;
        let [text, header, metadata] = &pieces[..] else {
            panic!("{pieces:?}");
        };
        assert_eq!(text, &LogPiece::Text("100% ".into()));
        assert!(matches!(
            header,
            LogPiece::Header {
                of: LogHeaders::Response,
                most: Some(5),
                ..
            }
        ));
        assert!(
            matches!(metadata, LogPiece::DynamicMetadata { path, most: None } if *path == ["a", "b"])
        );
    }

    #[test]
    fn mistakes_are_refused_with_what_to_do() {
        for (text, part) in [
            ("100%", "write `%%` for the sign"),
            ("%RESPONSE_CODES%", "did you mean `RESPONSE_CODE`?"),
            (
                "%FILTER_STATE(a)%",
                "the proxy knows no `%FILTER_STATE(a)%`: use one of",
            ),
            (
                "%START_TIME(%s)%",
                "`START_TIME` takes nothing in parentheses",
            ),
            ("%REQ%", "write `%REQ(NAME)%`"),
            ("%REQ()%", "write `%REQ(NAME)%`"),
            ("%REQ(a):x%", "write `%REQ(NAME)%`"),
            ("%REQ(a)b%", "write `%REQ(NAME)%`"),
        ] {
            let error = LogFormat::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
