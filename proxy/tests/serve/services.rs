//! Services that answer in ways of their own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::endings::{connect, rest};
use crate::filters::flags;
use crate::harness::{Client, Running, config, echo, wasm};
use crate::mixed::lua;

const ROUTES: &str = r#"{match: {prefix: "/"}, route: {cluster: one}}"#;

/// A service that does this with each connection.
fn service(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // The proxy may leave at any time.
            let _ = serve(socket);
        }
    });
    port
}

#[test]
fn no_service_is_asked_whether_it_wants_a_body() {
    let script = "function envoy_on_request(h) \
        h:headers():add('x-saw', tostring(h:headers():get('expect'))) \
        h:headers():add('expect', '100-Continue') end";
    let text = config(&lua(script), ROUTES, &[("one", echo().port())]);
    let running = Running::new(&text, &[], 1);
    let mut client = Client::new(running.address("main"));
    for expect in ["100-continue", "100-Continue"] {
        client.raw(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n");
        client.raw(format!("expect: {expect}\r\n\r\n").as_bytes());
        assert_eq!(client.response().status, 100);
        client.raw(b"body");
        let body = client.response().body;
        assert!(body.contains("x-saw=nil\n"), "{body}");
        assert!(!body.contains("expect="), "{body}");
        assert!(body.ends_with("\nbody"), "{body}");
    }
}

#[test]
fn an_answer_in_chunks_has_their_length() {
    let port = service(|mut socket| {
        let len = socket.read(&mut [0; 1000])?;
        assert!(len > 0);
        socket.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: Chunked\r\n\r\n",
        )?;
        socket.write_all(b"5\r\nhello\r\n0\r\n\r\n")
    });
    let running = Running::new(&config("", ROUTES, &[("one", port)]), &[], 1);
    let response = running.get("/");
    assert_eq!((response.status, response.body.as_str()), (200, "hello"));
    assert!(!response.headers.contains_key("content-length"));
}

#[test]
fn an_answer_in_a_coding_that_nobody_undoes_is_none() {
    let port = service(|mut socket| {
        let len = socket.read(&mut [0; 1000])?;
        assert!(len > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
    });
    let running = Running::new(&config("", ROUTES, &[("one", port)]), &[], 1);
    let response = running.get("/");
    assert_eq!(response.status, 502);
    assert!(response.body.contains("chunked"), "{}", response.body);
}

/// A service of HTTP/2 that answers one request of a connection with `hello` and its length, and a while later with a frame
/// that ends the answer, of this type, with these flags and this payload.
fn late(kind: u8, flags: u8, payload: &'static [u8]) -> u16 {
    service(move |mut socket| {
        let frame = |kind: u8, flags: u8, stream: &[u8], payload: &[u8]| {
            let len = u8::try_from(payload.len()).expect("short");
            [&[0, 0, len, kind, flags], stream, payload].concat()
        };
        socket.read_exact(&mut [0; 24])?;
        socket.write_all(&frame(4, 0, &[0; 4], b""))?;
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head)?;
            let [a, b, c, came, _, stream @ ..] = head;
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            socket.read_exact(&mut vec![0; len])?;
            match came {
                1 => {
                    // `:status: 200` and `content-length: 5`.
                    socket.write_all(&frame(1, 4, &stream, b"\x88\x0f\x0d\x015"))?;
                    socket.write_all(&frame(0, 0, &stream, b"hello"))?;
                    std::thread::sleep(Duration::from_millis(300));
                    socket.write_all(&frame(kind, flags, &stream, payload))?;
                }
                4 if head[4] == 0 => socket.write_all(&frame(4, 1, &[0; 4], b""))?,
                _ => {}
            }
        }
    })
}

#[test]
fn a_client_that_has_all_of_an_answer_did_not_leave() {
    let script = "function envoy_on_response(h) \
        for chunk in h:bodyChunks() do end \
        local trailers = h:trailers() \
        h:logInfo('ended ' .. tostring(trailers and trailers:get('x-t'))) end";
    for (kind, flags_of_end, payload, told) in [
        (0, 1, &b""[..], "ended nil"),
        (1, 5, b"\0\x03x-t\x0211", "ended 11"),
    ] {
        let port = late(kind, flags_of_end, payload);
        let filters = wasm("flags", "flags.wasm", "") + &lua(script);
        let text = config(&filters, ROUTES, &[("one", port)]).replace(
            "- name: one\n",
            "- name: one\n    http2_protocol_options: {}\n",
        );
        let running = Running::new(&text, &[("flags.wasm", &flags())], 1);
        let mut client = Client::new(running.address("main"));
        assert_eq!(client.get("/", &[]).body, "hello");
        running.wait_for("info flags: ", 1);
        running.wait_for("info flags: \0\0\0\0\0\0\0\0", 1);
        running.wait_for(told, 1);
    }
}

#[test]
fn a_client_that_leaves_before_the_end_of_an_answer_left() {
    let port = service(|mut socket| {
        let len = socket.read(&mut [0; 1000])?;
        assert!(len > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello")?;
        socket.read(&mut [0; 1]).map(drop)
    });
    let text = config(&wasm("flags", "flags.wasm", ""), ROUTES, &[("one", port)]);
    let running = Running::new(&text, &[("flags.wasm", &flags())], 1);
    let mut socket = connect(running.address("main"));
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("written");
    socket.read_exact(&mut [0; 20]).expect("an answer");
    drop(socket);
    running.wait_for("info flags: \0\u{40}\0\0\0\0\0\0", 1);
}

#[test]
fn a_request_that_cannot_be_read_is_counted_and_said() {
    let running = Running::new(&config("", ROUTES, &[("one", 1)]), &[], 1);
    for (number, headers) in [
        "content-length: 1\r\ncontent-length: 2",
        "a: b\r\n c",
        "no header",
    ]
    .into_iter()
    .enumerate()
    {
        let mut socket = connect(running.address("main"));
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("written");
        let all = String::from_utf8(rest(&socket)).expect("text");
        assert!(all.starts_with("HTTP/1.1 400 "), "{all}");
        running.wait_until("it is counted", || {
            running.metric("http.test.protocol_errors_total") == number as u64 + 1
        });
    }
    running.wait_for("proxy: no HTTP with 127.0.0.1:", 3);
    running.wait_for("warn proxy: no HTTP with", 1);
    // Who leaves without a word is none of them.
    drop(connect(running.address("main")));
    running.wait_until("the connection is over", || {
        running.metric("http.test.connections_total") == 4
    });
    assert_eq!(running.metric("http.test.protocol_errors_total"), 3);
}
