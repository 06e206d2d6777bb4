//! `extengine proxy` as its operator runs it.

#![cfg(all(feature = "filters", unix))]
#![allow(clippy::unwrap_used, reason = "a test may panic where it is set up")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: test
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: {text_format_source: {inline_string: "%REQ(X-LONG)%\n"}}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: "/"}, direct_response: {status: 200}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#;

/// Asks, and reads the answer, which has no body where it has no length.
fn get(socket: &mut BufReader<TcpStream>, path: &str, headers: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
    socket.get_mut().write_all(head.as_bytes()).unwrap();
    let mut len = 0;
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
            len = text.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        assert!(!line.is_empty(), "the connection ended");
    }
    let mut body = vec![0; len];
    socket.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn who_does_not_read_the_access_log_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_extengine"));
    command.args(["proxy", "--concurrency", "1"]).arg(&file);
    // Its pipes are open, and only what it says is read.
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut proxy = piped.spawn().unwrap();
    let mut said = BufReader::new(proxy.stderr.take().unwrap());
    let mut listening = |name: &str| {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains(name), "{line}");
        let socket = TcpStream::connect(line.split(' ').nth(2).unwrap()).unwrap();
        let most = Some(Duration::from_secs(20));
        socket.set_read_timeout(most).unwrap();
        BufReader::new(socket)
    };
    let (mut client, mut admin) = (listening("main"), listening("admin"));
    let long = format!("x-long: {}\r\n", "x".repeat(50_000));
    for _ in 0..100 {
        get(&mut client, "/", &long);
    }
    let stats = get(&mut admin, "/stats/prometheus", "");
    assert!(stats.contains("access_log_lines_dropped_total "), "{stats}");
    drop((client, admin));
    let id = proxy.id().to_string();
    let asked = Instant::now();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    let status = proxy.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed().as_secs() < 20, "{:?}", asked.elapsed());
}
