//! Requests on their way to services and back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::endings::{connect, http2, rest};
use crate::harness::{Client, Running, clusters, config, direct, echo};

#[test]
fn a_direct_response_is_answered_by_the_proxy_itself() {
    let running = Running::new(&config("", &direct("/", "example body\\n"), &[]), &[], 1);
    let mut client = Client::new(running.address("main"));
    for _ in 0..3 {
        let response = client.get("/", &[]);
        assert_eq!(
            (response.status, response.body.as_str()),
            (200, "example body\n")
        );
    }
    assert_eq!(running.metric("http.test.requests_total"), 3);
    assert_eq!(running.metric("http.test.connections_total"), 1);
}

#[test]
fn a_request_goes_to_its_routes_service_as_the_route_says() {
    let service = echo();
    let routes = r#"
        {match: {prefix: "/a/"}, route: {cluster: one, prefix_rewrite: "/b/", host_rewrite_literal: other.example}},
        {match: {path: "/exact"}, redirect: {host_redirect: "else.where", path_redirect: "/there"}},
        {match: {prefix: "/plain"}, route: {cluster: one}}"#;
    let running = Running::new(&config("", routes, &[("one", service.port())]), &[], 1);
    let mut client = Client::new(running.address("main"));
    let response = client.send("POST", "/a/x?q=1", &[("x-mine", "7")], Some("the body"));
    assert_eq!(response.status, 200);
    assert!(
        response.body.starts_with("POST /b/x?q=1 HTTP/1.1\n"),
        "{}",
        response.body
    );
    for part in [
        "host=other.example\n",
        "x-mine=7\n",
        "x-envoy-original-path=/a/x?q=1\n",
        "x-forwarded-proto=http\n",
        "x-request-id=",
    ] {
        assert!(
            response.body.contains(part),
            "no {part} in {}",
            response.body
        );
    }
    assert!(response.body.ends_with("the body"));
    assert_eq!(response.headers["x-service"], "here");
    let response = client.get("/exact", &[]);
    assert_eq!(
        (response.status, response.headers["location"].as_str()),
        (301, "http://else.where/there")
    );
    let response = client.get("/plain/path", &[]);
    assert!(response.body.contains("host=example.com\n"));
    assert_eq!(client.get("/none", &[]).status, 404);
}

#[test]
fn several_cookies_of_http2_go_to_the_service_as_one() {
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let running = Running::new(&config("", routes, &[("one", service.port())]), &[], 1);
    let mut socket = http2(running.address("main"), b"\x60\x03a=1\x60\x03b=2");
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains("cookie=a=1; b=2\n") {
        let mut more = [0; 1000];
        let count = socket.read(&mut more).expect("bytes");
        assert_ne!(count, 0, "{}", all.escape_ascii());
        all.extend(&more[..count]);
    }
}

#[test]
fn what_http_does_not_allow_is_refused() {
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let running = Running::new(&config("", routes, &[("one", service.port())]), &[], 1);
    for (head, status) in [
        ("GET / HTTP/1.1\r\n", 400),
        ("GET / HTTP/1.0\r\nhost: a\r\n", 200),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n",
            501,
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n",
            403,
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n",
            200,
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n", 200),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\nZZ\r\n",
            400,
        ),
    ] {
        let mut client = Client::new(running.address("main"));
        client.raw(head.as_bytes());
        client.raw(b"\r\n");
        assert_eq!(client.response().status, status, "{head}");
    }
}

#[test]
fn a_status_without_content_has_no_body_and_no_length() {
    let routes = direct("/", "body").replace("200", "204");
    let running = Running::new(&config("", &routes, &[]), &[], 1);
    let response = running.get("/");
    assert_eq!(response.status, 204);
    assert!(!response.headers.contains_key("content-length"));
}

#[test]
fn a_service_that_is_not_there_is_answered_with_503() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let routes = r#"{match: {prefix: "/"}, route: {cluster: gone}}"#;
    let running = Running::new(&config("", routes, &[("gone", gone.port())]), &[], 1);
    assert_eq!(running.get("/").status, 503);
}

#[test]
fn a_service_that_does_not_answer_in_time_is_answered_with_504() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: silent, timeout: 0.2s}}"#;
    let running = Running::new(&config("", routes, &[("silent", port)]), &[], 1);
    assert_eq!(running.get("/").status, 504);
}

/// A service that answers each request in two halves, the second one after 2 s.
fn slow() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let _ = socket.read(&mut [0; 1000]);
            let _ = socket
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nha");
            std::thread::sleep(std::time::Duration::from_secs(2));
            let _ = socket.write_all(b"lf");
        }
    });
    port
}

#[test]
fn an_answer_is_timed_to_its_end_where_it_is_timed() {
    let routes = r#"
        {match: {prefix: "/late"}, route: {cluster: slow, timeout: 0.7s}},
        {match: {prefix: "/never"}, route: {cluster: slow, timeout: 0s}},
        {match: {prefix: "/"}, route: {cluster: slow}}"#;
    let running = Running::new(&config("", routes, &[("slow", slow())]), &[], 1);
    for (path, body) in [("/late", "ha"), ("/never", "half"), ("/", "half")] {
        let mut socket = connect(running.address("main"));
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("written");
        let all = String::from_utf8(rest(&socket)).expect("text");
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
        assert!(all.ends_with(&format!("\r\n\r\n{body}")), "{path}: {all}");
    }
}

#[test]
fn a_body_that_its_method_seldom_has_reaches_the_service() {
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let running = Running::new(&config("", routes, &[("one", service.port())]), &[], 1);
    let mut client = Client::new(running.address("main"));
    client.raw(
        b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    );
    let response = client.response();
    assert!(response.body.ends_with("\nbody"), "{}", response.body);
}

#[test]
fn a_large_body_passes_both_ways() {
    let service = echo();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;
    let running = Running::new(&config("", routes, &[("one", service.port())]), &[], 1);
    let body = "0123456789".repeat(300_000);
    let response = Client::new(running.address("main")).send("PUT", "/", &[], Some(&body));
    assert!(
        response.body.ends_with(&body),
        "{} bytes came back",
        response.body.len()
    );
}

#[test]
fn a_client_that_goes_leaves_nothing_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let routes = r#"{match: {prefix: "/"}, route: {cluster: silent}}"#;
    let running = Running::new(&config("", routes, &[("silent", port)]), &[], 1);
    let mut client = Client::new(running.address("main"));
    client.raw(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let (mut asked, _) = silent.accept().expect("a connection");
    let mut first = [0; 3];
    asked.read_exact(&mut first).expect("a request");
    drop(client);
    // The service's connection ends with the client's.
    let mut rest = Vec::new();
    asked.read_to_end(&mut rest).expect("an end");
}

#[test]
fn a_connection_without_http_goes_to_its_cluster() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = service.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut socket, _) = service.accept().expect("a connection");
        let mut all = Vec::new();
        socket.read_to_end(&mut all).expect("an end");
        all.reverse();
        socket.write_all(&all).expect("written");
    });
    let config = format!(
        r#"
static_resources:
  listeners:
  - name: main
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: test
          cluster: one
{}"#,
        clusters(&[("one", port)])
    );
    let running = Running::new(&config, &[], 1);
    let mut socket = TcpStream::connect(running.address("main")).expect("a connection");
    socket.write_all(b"abc").expect("written");
    socket.shutdown(std::net::Shutdown::Write).expect("shut");
    let mut all = String::new();
    socket.read_to_string(&mut all).expect("an end");
    assert_eq!(all, "cba");
    assert_eq!(running.metric("tcp.test.connections_total"), 1);
}
