//! The cases of asynchronous authorisation.

use filters::Direction::{Request, Response};
use filters::Headers;
use filters::callout::{CallFailed, HttpAnswer};
use filters::native::NativeConfig;
use filters::testing::TestWorker;
use serde_json::{Value, json};

use crate::bench::{Bench, bench, config};

const REQUEST: &[(&str, &str)] = &[
    (":path", "/private"),
    ("authorization", "Bearer 7"),
    ("x-user", "root"),
];

fn asking(more: &Value) -> NativeConfig {
    let mut asking = json!({
        "mode": "ask", "cluster": TestWorker::CLUSTER, "path": "/check", "identity": "x-user", "timeout_ms": 250,
    });
    for (name, value) in more.as_object().expect("an object") {
        asking[name] = value.clone();
    }
    config("example.authorise", asking)
}

/// A request with a token, about which a service is asked that answers so.
fn answered(more: &Value, result: Result<&[(&str, &str)], CallFailed>) -> Bench {
    let mut bench = bench(&asking(more));
    bench.request(REQUEST);
    assert!(
        bench.chain.take(Request).is_none(),
        "it waits for the answer"
    );
    let result = result.map(|headers| HttpAnswer {
        headers: headers.iter().copied().collect(),
        ..HttpAnswer::default()
    });
    assert!(bench.worker.answer(0, result));
    bench
}

#[test]
fn an_allowed_request_passes_with_the_identity_that_the_service_says() {
    let mut bench = answered(&json!({}), Ok(&[(":status", "200"), ("x-user", "ann")]));
    let headers = bench.until_headers(Request);
    assert_eq!(headers.all("x-user").collect::<Vec<_>>(), [b"ann"]);
    let calls = bench.worker.calls.borrow();
    let asked = &calls[0].call;
    assert_eq!(asked.headers.text(":path"), Some("/check"));
    assert_eq!(asked.headers.text("authorization"), Some("Bearer 7"));
    assert_eq!(asked.timeout.map(|timeout| timeout.as_millis()), Some(250));
}

#[test]
fn a_request_never_brings_its_own_identity() {
    let mut bench = answered(&json!({}), Ok(&[(":status", "204")]));
    let headers = bench.until_headers(Request);
    assert_eq!(headers, Headers::from_iter(REQUEST[..2].iter().copied()));
}

#[test]
fn a_denied_request_is_forbidden() {
    for status in ["401", "403", "302"] {
        let mut bench = answered(&json!({"fail_open": true}), Ok(&[(":status", status)]));
        bench.until_headers(Response);
        assert_eq!(bench.answered(), (403, "denied".to_owned()));
        assert!(bench.chain.take(Request).is_none());
    }
}

#[test]
fn a_request_without_a_token_is_forbidden_and_nobody_is_asked() {
    let mut bench = bench(&asking(&json!({"token": "x-token"})));
    bench.request(REQUEST);
    assert_eq!(bench.answered(), (403, "no_token".to_owned()));
    assert!(bench.worker.calls.borrow().is_empty());
}

#[test]
fn an_outage_opens_or_closes_as_configured() {
    let outages: [Result<&[(&str, &str)], _>; 4] = [
        Err(CallFailed::Timeout),
        Err(CallFailed::Reset),
        Ok(&[(":status", "503")]),
        Ok(&[]),
    ];
    for outage in outages {
        let mut closed = answered(&json!({}), outage);
        closed.until_headers(Response);
        assert_eq!(closed.answered(), (503, "authorisation_outage".to_owned()));
        assert!(
            closed.log().contains("did not authorise"),
            "{}",
            closed.log()
        );

        let mut open = answered(&json!({"fail_open": true}), outage);
        let headers = open.until_headers(Request);
        assert_eq!(headers.get("x-user"), None);
    }
}

#[test]
fn a_service_that_cannot_be_asked_is_an_outage() {
    let mut bench = bench(&asking(&json!({"cluster": "elsewhere"})));
    bench.request(REQUEST);
    bench.until_headers(Response);
    assert_eq!(bench.answered().0, 503);
}

#[test]
fn a_client_that_leaves_gives_the_question_up() {
    let mut bench = bench(&asking(&json!({})));
    bench.request(REQUEST);
    bench.chain.finish(filters::EndReason::Reset);
    assert!(bench.worker.calls.borrow()[0].is_given_up());
}

#[test]
fn a_route_may_be_open_to_all() {
    let open = asking(&json!({})).merge(&config("example.authorise", json!({"mode": "off"})));
    let mut bench = bench(&open.expect("they fit"));
    bench.request(&REQUEST[..1]);
    assert!(bench.chain.take(Request).is_some());
}

#[test]
fn a_wrong_configuration_says_what_is_wrong() {
    for (wrong, word) in [
        (json!({"mode": "ask"}), "cluster"),
        (
            json!({"mode": "ask", "cluster": "a", "fail_opne": true}),
            "fail_opne",
        ),
        (json!({"cluster": "a"}), "mode"),
    ] {
        let refused = NativeConfig::parse("example.authorise", &wrong).expect_err("wrong");
        assert!(refused.to_string().contains(word), "{refused}");
    }
}
