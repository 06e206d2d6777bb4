//! How connections end: idle, for another configuration, with the process, and behind an early answer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use crate::harness::{Client, Running, config, direct};

/// A configuration with more fields in its connection manager.
pub(crate) fn with(fields: &str, text: &str) -> String {
    let fields = format!("codec_type: AUTO\n          {fields}");
    text.replacen("codec_type: AUTO", &fields, 1)
}

/// The same at the address that was chosen for it.
pub(crate) fn again(running: &Running, text: &str) -> String {
    let port = running.address("main").port();
    text.replacen(
        "address: 127.0.0.1, port_value: 0}}\n    per_connection",
        &format!("address: 127.0.0.1, port_value: {port}}}}}\n    per_connection"),
        1,
    )
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("a connection");
    let most = Some(std::time::Duration::from_secs(20));
    socket.set_read_timeout(most).expect("set");
    socket
}

/// Everything until the end, which is none by a reset.
pub(crate) fn rest(mut socket: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    socket.read_to_end(&mut all).expect("an end");
    all
}

/// A client of HTTP/2 that has asked for `/`, and what headers of HPACK follow its pseudo-headers.
pub(crate) fn http2(address: SocketAddr, headers: &[u8]) -> TcpStream {
    http2_by(address, b"\x82", headers)
}

/// The same with another method.
fn http2_by(address: SocketAddr, method: &[u8], headers: &[u8]) -> TcpStream {
    let mut socket = connect(address);
    let block = [method, b"\x86\x84\x41\x01a", headers].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0".to_vec();
    bytes.push(u8::try_from(block.len()).expect("short"));
    bytes.extend(b"\x01\x05\0\0\0\x01");
    bytes.extend(block);
    socket.write_all(&bytes).expect("written");
    socket
}

/// Frames of HTTP/2: their types and what they carry.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let (payload, rest) = rest.split_at(u32::from_be_bytes([0, *a, *b, *c]) as usize);
        frames.push((*kind, payload));
        bytes = rest;
    }
    frames
}

#[test]
fn an_idle_connection_ends_whatever_it_speaks() {
    let text = with(
        "common_http_protocol_options: {idle_timeout: 0.2s}",
        &config("", &direct("/", "x"), &[]),
    );
    let running = Running::new(&text, &[], 1);
    let silent = connect(running.address("main"));
    assert_eq!(rest(&silent), b"");
    let mut half = connect(running.address("main"));
    half.write_all(b"GET / HT").expect("written");
    rest(&half);
    let all = rest(&http2(running.address("main"), b""));
    let frames = frames(&all);
    assert!(frames.contains(&(0, b"x")), "{frames:?}");
    assert!(frames.iter().any(|(kind, _)| *kind == 7), "{frames:?}");
}

#[test]
fn who_asks_for_the_head_gets_no_body() {
    let text = with(
        "common_http_protocol_options: {idle_timeout: 0.2s}",
        &config("", &direct("/", "x"), &[]),
    );
    let running = Running::new(&text, &[], 1);
    let all = rest(&http2_by(running.address("main"), b"\x42\x04HEAD", b""));
    let frames = frames(&all);
    let heads = frames.iter().filter(|(kind, _)| *kind == 1);
    assert_eq!(heads.count(), 1, "{frames:?}");
    assert!(!frames.contains(&(0, b"x")), "{frames:?}");
}

#[test]
fn the_rest_of_a_request_that_is_answered_is_not_awaited_for_long() {
    let text = with(
        "delayed_close_timeout: 0.2s",
        &config("", &direct("/", "x"), &[]),
    );
    let running = Running::new(&text, &[], 1);
    let mut socket = connect(running.address("main"));
    socket
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
        .expect("written");
    let all = String::from_utf8(rest(&socket)).expect("text");
    assert!(all.ends_with("\r\n\r\nx"), "{all}");
}

/// A service that accepts and says nothing, its proxy, and a client whose request has come to it.
fn under_way() -> (Running, Client, TcpStream, String) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let routes = r#"{match: {prefix: "/slow"}, route: {cluster: silent, timeout: 0s}},"#.to_owned();
    let routes = routes + &direct("/", "x");
    let text = with(
        "drain_timeout: 0.1s",
        &config("", &routes, &[("silent", port)]),
    );
    let running = Running::new(&text, &[], 1);
    let mut client = Client::new(running.address("main"));
    client.raw(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    let (mut asked, _) = silent.accept().expect("a connection");
    asked.read_exact(&mut [0; 3]).expect("a request");
    (running, client, asked, text)
}

/// A client whose connection waits for another request.
fn waiting(running: &Running) -> TcpStream {
    let mut socket = connect(running.address("main"));
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .expect("written");
    socket.read_exact(&mut [0; 9]).expect("an answer");
    socket
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate";

#[test]
fn a_request_under_way_outlives_its_configuration() {
    let (running, mut client, mut asked, text) = under_way();
    let waiting = waiting(&running);
    running.write(&(again(&running, &text) + "\n# another\n"));
    running.wait_for("was taken up", 1);
    rest(&waiting);
    // As long again, and more.
    std::thread::sleep(std::time::Duration::from_millis(500));
    asked.write_all(ANSWER).expect("written");
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (200, "late"));
    assert_eq!(response.headers["connection"], "close");
}

#[test]
fn a_request_under_way_is_answered_before_the_process_ends() {
    let (running, mut client, mut asked, _) = under_way();
    let waiting = waiting(&running);
    let stopping = std::thread::spawn(move || drop(running));
    rest(&waiting);
    std::thread::sleep(std::time::Duration::from_millis(500));
    asked.write_all(ANSWER).expect("written");
    let response = client.response();
    assert_eq!((response.status, response.body.as_str()), (200, "late"));
    stopping.join().expect("no panic");
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_a_client_who_sends_on() {
    let text = with(
        "delayed_close_timeout: 60s",
        &config("", &direct("/", "early"), &[]),
    );
    let running = Running::new(&text, &[], 1);
    let mut socket = connect(running.address("main"));
    socket
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 16777216\r\n\r\n")
        .expect("written");
    for _ in 0..256 {
        socket.write_all(&[0; 65536]).expect("it is read on");
    }
    socket.shutdown(Shutdown::Write).expect("shut");
    let all = String::from_utf8(rest(&socket)).expect("text");
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
    assert!(all.contains("connection: close\r\n"), "{all}");
    assert!(all.ends_with("early"), "{all}");
}

#[test]
fn the_short_rest_of_a_request_that_is_answered_costs_no_connection() {
    let running = Running::new(&config("", &direct("/", "x"), &[]), &[], 1);
    let mut socket = connect(running.address("main"));
    let head = |close| format!("POST / HTTP/1.1\r\nhost: a\r\n{close}content-length: 5\r\n\r\n");
    socket.write_all(head("").as_bytes()).expect("written");
    // It is answered before the body comes.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nx") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("an answer");
        answer.extend(byte);
    }
    let answer = String::from_utf8(answer).expect("text");
    assert!(!answer.contains("connection: close"), "{answer}");
    let next = format!("later{}later", head("connection: close\r\n"));
    socket.write_all(next.as_bytes()).expect("written");
    let all = String::from_utf8(rest(&socket)).expect("text");
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{all}");
}

#[test]
fn another_address_for_what_the_proxy_says_of_itself_is_taken_up() {
    let text = config("", &direct("/", "x"), &[]);
    let running = Running::new(&text, &[], 1);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let next = free.local_addr().expect("an address");
    drop(free);
    let admin = format!("address: 127.0.0.1, port_value: {}}}}}}}", next.port());
    let text = again(&running, &text).replacen("address: 127.0.0.1, port_value: 0}}}", &admin, 1);
    running.write(&text);
    running.wait_for("was taken up", 1);
    assert_eq!(Client::new(next).get("/ready", &[]).body, "LIVE\n");
    TcpStream::connect(running.address("admin")).expect_err("nobody listens there any more");
}
