//! Lines of access logs, written to standard output.

use std::fmt::Write as _;

use filters::{Direction, Headers, StreamRef};

use super::lines::Lines;
use crate::config::{LogFormat, LogHeaders, LogPiece, LogValue};

/// Writes a stream's line.
pub(crate) fn log(format: &LogFormat, stream: &StreamRef, lines: &Lines) {
    lines.put(line(format, stream));
}

/// A stream's line.
pub(crate) fn line(format: &LogFormat, stream: &StreamRef) -> String {
    let mut line = String::new();
    for piece in &format.0 {
        match piece {
            LogPiece::Text(text) => line.push_str(text),
            LogPiece::Value(value) => put(&mut line, self::value(*value, stream), None),
            LogPiece::Header { of, name, or, most } => {
                let find = |headers: &Headers, name: &str| {
                    let value = headers.get(name)?;
                    Some(String::from_utf8_lossy(value).into_owned())
                };
                let headers = match of {
                    LogHeaders::Request => stream.headers(Direction::Request),
                    LogHeaders::Response => stream.headers(Direction::Response),
                    LogHeaders::Trailers => stream.trailers(Direction::Response),
                };
                let value = headers.and_then(|headers| {
                    find(&headers, name).or_else(|| find(&headers, or.as_deref()?))
                });
                put(&mut line, value, *most);
            }
            LogPiece::DynamicMetadata { path, most } => {
                put(&mut line, metadata(path, stream), *most);
            }
        }
    }
    line
}

/// Adds a value, cut to its limit, with whatever would end a line or a terminal's order written out.
fn put(line: &mut String, value: Option<String>, most: Option<usize>) {
    let value = value.filter(|value| !value.is_empty());
    let value = value.as_deref().unwrap_or("-");
    for letter in value.chars().take(most.unwrap_or(usize::MAX)) {
        if letter.is_control() {
            // Writing to a string does not fail.
            let _ = write!(line, "\\x{:02x}", u32::from(letter));
        } else {
            line.push(letter);
        }
    }
}

fn value(value: LogValue, stream: &StreamRef) -> Option<String> {
    let info = stream.info();
    Some(match value {
        LogValue::StartTime => utc(info.start),
        LogValue::Protocol => info.protocol.to_owned(),
        LogValue::ResponseCode => info.status.to_string(),
        LogValue::ResponseCodeDetails => info.details.clone(),
        LogValue::ResponseFlags => info.flag?.name().to_owned(),
        LogValue::BytesReceived => info.received.to_string(),
        LogValue::BytesSent => info.sent.to_string(),
        LogValue::Duration => {
            let nanos = stream.worker().time().saturating_sub(info.start);
            (nanos / 1_000_000).to_string()
        }
        LogValue::UpstreamHost => info.upstream?.to_string(),
        LogValue::UpstreamCluster => info.cluster.clone(),
        LogValue::DownstreamRemoteAddress => info.source?.to_string(),
        LogValue::DownstreamRemoteAddressWithoutPort => info.source?.ip().to_string(),
        LogValue::DownstreamLocalAddress => info.destination?.to_string(),
        LogValue::RequestedServerName => info.tls.as_ref()?.server_name.clone(),
        LogValue::RouteName => info.route.clone(),
    })
}

/// A value that filters gave the stream, as JSON; text without its quotes.
fn metadata(path: &[String], stream: &StreamRef) -> Option<String> {
    let (filter, rest) = path.split_first()?;
    let metadata = stream.metadata();
    let filter = metadata.get(filter)?;
    let (key, rest) = rest.split_first()?;
    let mut value: serde_json::Value = serde_json::from_slice(filter.get(key)?).ok()?;
    for name in rest {
        value = value.get_mut(name)?.take();
    }
    Some(match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

/// A time as `2026-01-31T23:59:59.000Z`.
fn utc(nanos: u64) -> String {
    let millis = nanos / 1_000_000;
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The date so many days after 1970 began, by eras of 400 years that begin with a March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use filters::stream::TlsInfo;
    use filters::{Chain, ResponseFlag, Settings, StreamInfo, Worker, testing};

    use super::*;
    use crate::config::Config;

    /// A line as a configuration has it.
    fn format(text: &str) -> LogFormat {
        let text = format!(
            r#"
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: some
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {{text_format_source: {{inline_string: "{text}"}}}}
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"]}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#
        );
        let config = Config::parse(&text, "some.yaml").expect("no mistakes");
        let chain = &config.bootstrap.listeners[0].filter_chains[0];
        match &chain.end {
            crate::config::ChainEnd::Http(manager) => manager.access_logs[0].clone(),
            crate::config::ChainEnd::Tcp(_) => panic!("it is HTTP"),
        }
    }

    #[test]
    fn every_operator_says_what_it_stands_for() {
        let worker = testing::worker();
        let start = worker.time() - 1_234_000_000;
        let address = |text: &str| text.parse().ok();
        let info = StreamInfo {
            protocol: "HTTP/2",
            source: address("10.0.0.1:1000"),
            destination: address("10.0.0.2:2000"),
            upstream: address("10.0.0.3:3000"),
            tls: Some(TlsInfo {
                server_name: "a.example".into(),
                ..TlsInfo::default()
            }),
            route: "the route".into(),
            cluster: "the cluster".into(),
            start,
            status: 503,
            details: "upstream_failed".into(),
            flag: Some(ResponseFlag::UpstreamConnectionFailure),
            received: 11,
            sent: 22,
            ..StreamInfo::default()
        };
        let chain = Chain::new(Vec::new(), info, Settings::default(), worker);
        let stream = chain.stream();
        let mut seen = Chain::new(
            Vec::new(),
            StreamInfo::default(),
            Settings::default(),
            testing::worker(),
        );
        let empty = seen.stream();
        seen.headers(
            Direction::Request,
            Headers::from_iter([(":method", "PUT"), ("x-long", "abcdef")]),
            false,
        );
        seen.headers(
            Direction::Response,
            Headers::from_iter([(":status", "200"), ("x-r", "r")]),
            false,
        );
        seen.trailers(Direction::Response, Headers::from_iter([("x-t", "t")]));
        let metadata = [("k".to_owned(), Bytes::from(r#"{"a":{"b":7},"t":"x"}"#))];
        empty.metadata().insert("f".into(), metadata.into());
        for (operator, full, nothing) in [
            (
                "%START_TIME%",
                "2023-11-14T22:13:18.766Z",
                "1970-01-01T00:00:00.000Z",
            ),
            ("%PROTOCOL%", "HTTP/2", "-"),
            ("%RESPONSE_CODE%", "503", "200"),
            ("%RESPONSE_CODE_DETAILS%", "upstream_failed", "-"),
            ("%RESPONSE_FLAGS%", "UF", "-"),
            ("%BYTES_RECEIVED%", "11", "0"),
            ("%BYTES_SENT%", "22", "0"),
            ("%DURATION%", "1234", "1700000000000"),
            ("%UPSTREAM_HOST%", "10.0.0.3:3000", "-"),
            ("%UPSTREAM_CLUSTER%", "the cluster", "-"),
            ("%DOWNSTREAM_REMOTE_ADDRESS%", "10.0.0.1:1000", "-"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1", "-"),
            ("%DOWNSTREAM_LOCAL_ADDRESS%", "10.0.0.2:2000", "-"),
            ("%REQUESTED_SERVER_NAME%", "a.example", "-"),
            ("%ROUTE_NAME%", "the route", "-"),
            ("%REQ(:METHOD)%", "-", "PUT"),
            ("%REQ(X-NONE?X-LONG):3%", "-", "abc"),
            ("%RESP(X-R)%", "-", "r"),
            ("%TRAILER(X-T)%", "-", "t"),
            ("%DYNAMIC_METADATA(f:k:a:b)%", "-", "7"),
            ("%DYNAMIC_METADATA(f:k:t)%", "-", "x"),
            ("%DYNAMIC_METADATA(f:k:a)%", "-", "{\"b\":7}"),
            ("100%%", "100%", "100%"),
        ] {
            let format = format(operator);
            assert_eq!(line(&format, &stream), full, "{operator}");
            assert_eq!(line(&format, &empty), nothing, "{operator}");
        }
    }

    #[test]
    fn a_time_is_written_as_a_date() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_123_000_000), "2000-02-29T00:00:00.123Z");
        assert_eq!(utc(1_735_689_599_999_999_999), "2024-12-31T23:59:59.999Z");
        assert_eq!(utc(4_107_542_400_000_000_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn what_would_end_a_line_is_written_out() {
        let mut line = String::new();
        put(&mut line, Some("a\nb\u{1b}".into()), None);
        put(&mut line, Some("long".into()), Some(2));
        put(&mut line, None, None);
        assert_eq!(line, "a\\x0ab\\x1blo-");
    }
}
