//! The cases of streaming redaction, in a chain.

use filters::Direction::{self, Request, Response};
use filters::Headers;
use filters::native::NativeConfig;
use serde_json::{Value, json};

use crate::bench::{BOTH, Bench, JSON, bench, config};

fn hiding(more: &Value) -> NativeConfig {
    let mut hiding = json!({"fields": ["password"], "requests": true});
    for (name, value) in more.as_object().expect("an object") {
        hiding[name] = value.clone();
    }
    config("example.redact", hiding)
}

/// A stream on whose direction a JSON message passed in these chunks.
fn passed(direction: Direction, chunks: &[&str]) -> Bench {
    let mut bench = bench(&hiding(&json!({})));
    if direction == Response {
        bench.request(&[(":path", "/")]);
    }
    bench.message(direction, JSON, chunks);
    bench
}

#[test]
fn a_field_is_hidden_wherever_its_body_is_split() {
    let whole = r#"{"user": "ann", "password" : "se\"cret", "n": [1, {"password": {"a": [2]}}]}"#;
    for direction in BOTH {
        for place in 0..=whole.len() {
            let (head, tail) = whole.split_at(place);
            let mut bench = passed(direction, &[head, tail]);
            assert_eq!(
                bench.body(direction),
                (
                    r#"{"user": "ann", "password" : "***", "n": [1, {"password": "***"}]}"#.into(),
                    true
                )
            );
            assert_eq!(bench.headers(direction).get("content-length"), None);
        }
    }
}

#[test]
fn what_is_read_passes_before_the_rest_is_here() {
    let mut bench = bench(&hiding(&json!({})));
    bench
        .chain
        .headers(Response, JSON.iter().copied().collect(), false);
    let mut say = |chunk: &'static str| {
        bench.chain.data(Response, chunk.into(), false);
        bench.body(Response).0
    };
    assert_eq!(say(r#"{"a": 1, "pass"#), r#"{"a": 1, "pass"#);
    assert_eq!(say(r#"word": "sec"#), r#"word": "***""#);
    assert_eq!(say("ret"), "");
    assert_eq!(say(r#"", "b""#), r#", "b""#);
}

#[test]
fn other_bodies_pass_as_they_are() {
    let text = &[
        (":status", "200"),
        ("content-type", "text/plain"),
        ("content-length", "4"),
    ];
    let mut other = bench(&hiding(&json!({})));
    other.message(Response, text, &["{{{", "{"]);
    assert_eq!(other.body(Response), ("{{{{".into(), true));
    assert_eq!(other.headers(Response).text("content-length"), Some("4"));

    let mut off = bench(&hiding(&json!({"requests": false, "responses": false})));
    for direction in BOTH {
        off.message(direction, JSON, &[r#"{"password": 1}"#]);
        assert_eq!(off.body(direction).0, r#"{"password": 1}"#);
    }
}

#[test]
fn a_message_without_a_body_keeps_its_headers() {
    let mut bench = bench(&hiding(&json!({})));
    let headers: Headers = JSON.iter().copied().collect();
    bench.chain.headers(Response, headers.clone(), true);
    assert_eq!(bench.headers(Response), headers);
}

#[test]
fn servers_are_asked_for_plain_answers() {
    let mut bench = bench(&hiding(&json!({})));
    bench.request(&[
        (":path", "/"),
        ("accept-encoding", "gzip"),
        ("range", "bytes=9-"),
    ]);
    assert_eq!(bench.headers(Request), Headers::from_iter([(":path", "/")]));
}

#[test]
fn a_body_that_cannot_be_read_is_refused() {
    let encoded = [JSON, &[("content-encoding", "gzip")]].concat();
    for (direction, unread, encoding) in [(Request, 400, 415), (Response, 502, 502)] {
        for chunks in [&["{password: 1}"][..], &["[1, ", "2"], &[r#"{"a": 1"#]] {
            let mut bench = bench(&hiding(&json!({})));
            let headers: Headers = JSON.iter().copied().collect();
            bench.chain.headers(direction, headers, false);
            if direction == Request {
                // The client is still to be answered whatever went to the server.
                bench.body(Request);
            }
            for (number, chunk) in chunks.iter().enumerate() {
                let end = number + 1 == chunks.len();
                bench
                    .chain
                    .data(direction, chunk.as_bytes().to_vec().into(), end);
            }
            assert!(bench.log().contains("cannot be hidden"), "{}", bench.log());
            if direction == Request {
                assert_eq!(bench.answered(), (unread, "not_redactable".to_owned()));
            } else {
                assert!(
                    bench.chain.is_closing(),
                    "its headers are on their way already"
                );
            }
        }
        let mut bench = bench(&hiding(&json!({})));
        bench.message(direction, &encoded, &["zzz"]);
        assert_eq!(bench.answered(), (encoding, "not_redactable".to_owned()));
    }
}

#[test]
fn a_body_that_trailers_end_too_early_is_refused() {
    for direction in BOTH {
        let mut bench = bench(&hiding(&json!({})));
        bench
            .chain
            .headers(direction, JSON.iter().copied().collect(), false);
        bench.chain.data(direction, "[1".into(), false);
        bench.chain.trailers(direction, Headers::default());
        assert!(bench.chain.is_answered());
    }
}

#[test]
fn a_route_hides_its_own_fields_beside_its_listeners() {
    let route = config("example.redact", json!({"fields": ["ssn"]}));
    let mut bench = bench(&hiding(&json!({})).merge(&route).expect("they fit"));
    bench.message(Request, JSON, &[r#"{"password": 1, "ssn": 2, "a": 3}"#]);
    assert_eq!(
        bench.body(Request).0,
        r#"{"password": "***", "ssn": "***", "a": 3}"#
    );
}

#[test]
fn a_wrong_configuration_says_what_is_wrong() {
    for (wrong, word) in [
        (json!({"fields": []}), "names no field"),
        (json!({"fields": ["x".repeat(257)]}), "more than 256"),
        (json!({"fields": ["a"], "request": true}), "`request`"),
    ] {
        let refused = NativeConfig::parse("example.redact", &wrong).expect_err("wrong");
        assert!(refused.to_string().contains(word), "{refused}");
    }
}
