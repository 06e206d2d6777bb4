//! What filters read of a stream, and what they may say of it.

use std::rc::Rc;

use bytes::Bytes;
use filters::stream::TlsInfo;
use filters::{Chain, Settings, StreamInfo, Worker};

use crate::harness::{Bench, ENGINES, config, filter, request};

/// Sets properties when a request comes, and logs what others are then, or `none`. Paths have dots.
fn asking(sets: &[(&str, &str)], gets: &[&str]) -> String {
    let (mut data, mut calls, mut at) = (String::new(), String::new(), 4096);
    let mut place = |text: &str| {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        data.push_str(&format!("(data (i32.const {at}) \"{bytes}\")\n"));
        let from = at;
        at += text.len();
        format!("(i32.const {from}) (i32.const {})", text.len())
    };
    let none = place("none");
    for (path, value) in sets {
        let (path, value) = (place(&path.replace('.', "\0")), place(value));
        calls.push_str(&format!("(drop (call $set {path} {value}))\n"));
    }
    for path in gets {
        let path = place(&path.replace('.', "\0"));
        calls.push_str(&format!(
            "(if (call $get {path} (i32.const 16) (i32.const 20))
               (then (drop (call $log (i32.const 2) {none})))
               (else (drop (call $log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20))))))\n"
        ));
    }
    filter(
        r#"
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
          (import "env" "proxy_set_property" (func $set (param i32 i32 i32 i32) (result i32)))
        "#,
        &format!(
            r#"{data} (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                {calls} (i32.const 0))"#
        ),
    )
}

/// What a filter logs of a stream that is prepared.
fn read(code: &str, info: &StreamInfo, prepare: impl Fn(&Chain)) -> Vec<String> {
    let [one, other] = ENGINES.map(|engine| {
        let bench = Bench::new(config(engine, code));
        bench.lines();
        let worker = Rc::clone(&bench.world) as Rc<dyn Worker>;
        let filters = vec![bench.plugin.filter()];
        let mut chain = Chain::new(filters, info.clone(), Settings::default(), worker);
        prepare(&chain);
        request(&mut chain, true);
        let lines = bench.lines();
        let lines = lines.iter();
        let lines = lines.map(|line| line.trim_start_matches("info probe: ").to_owned());
        lines.collect::<Vec<_>>()
    });
    assert_eq!(one, other);
    one
}

#[test]
fn what_a_filter_sets_never_stands_for_what_the_host_says() {
    let sets = [
        ("source.address", "10.0.0.1:1"),
        ("request.path", "/forged"),
        ("response.code", "200"),
        ("connection.subject_peer_certificate", "CN=root"),
        ("route_metadata.filter_metadata.a.b", "x"),
        ("node.id", "n"),
        ("plugin_name", "other"),
        ("mine.source", "mine"),
    ];
    let lines = read(
        &asking(&sets, &sets.map(|(path, _)| path)),
        &StreamInfo::default(),
        |_| {},
    );
    assert_eq!(
        lines,
        [
            "none", "/a?b=c", "none", "none", "none", "none", "probe", "mine"
        ]
    );
}

#[test]
fn what_filters_tell_one_another_reads_as_the_configuration_does() {
    let gets = [
        "metadata.filter_metadata.ns.text",
        "metadata.filter_metadata.ns.deep.a.b",
        "metadata.filter_metadata.ns.deep.a",
        "metadata.filter_metadata.one",
        "metadata.filter_metadata.ns.none",
        "metadata.filter_metadata.none",
    ];
    let lines = read(&asking(&[], &gets), &StreamInfo::default(), |chain| {
        let stream = chain.stream();
        let mut metadata = stream.metadata();
        let values = [("text", r#""abc""#), ("deep", r#"{"a":{"b":"c"}}"#)];
        let values = values.map(|(key, value)| (key.to_owned(), Bytes::from(value)));
        metadata.insert("ns".into(), values.into());
        let one = [("k".to_owned(), Bytes::from(r#""v""#))];
        metadata.insert("one".into(), one.into());
    });
    let map = |name, value| format!("\u{1}\0\0\0\u{1}\0\0\0\u{1}\0\0\0{name}\0{value}\0");
    let maps = [map('b', 'c'), map('k', 'v')];
    assert_eq!(
        lines,
        [
            "abc",
            "c",
            maps[0].as_str(),
            maps[1].as_str(),
            "none",
            "none"
        ]
    );
}

#[test]
fn a_filter_sees_who_the_client_is() {
    let gets = [
        "connection.subject_peer_certificate",
        "connection.uri_san_peer_certificate",
        "connection.dns_san_peer_certificate",
        "connection.sha256_peer_certificate_digest",
    ];
    let text = include_str!("../../../filter-lua/tests/lua/certificate.txt");
    let hex = text.lines().find(|line| !line.starts_with('#'));
    let hex = hex.expect("a certificate");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let der: Bytes = (0..hex.len()).step_by(2).map(byte).collect();
    let with = |peer| StreamInfo {
        tls: Some(TlsInfo {
            peer,
            ..TlsInfo::default()
        }),
        ..StreamInfo::default()
    };
    let code = asking(&[], &gets);
    assert_eq!(
        read(&code, &with(Some(der)), |_| {}),
        [
            "CN=client.example,O=Second,O=First & Co,C=US",
            "spiffe://example/client",
            "a.example",
            "85f4246c48d0a34de5d228de42116685f98ceaed748a4d4c5c867dd3edb463f3",
        ]
    );
    assert_eq!(read(&code, &with(None), |_| {}), ["none"; 4]);
    assert_eq!(read(&code, &StreamInfo::default(), |_| {}), ["none"; 4]);
}
