//! The examples do what they say.

use filters::Direction::{Request, Response};
use filters::Headers;
use filters::callout::{CallFailed, HttpAnswer};

use crate::bench::Stream;

const AUTHORISE: &str = include_str!("../../../examples/filters-lua/authorise.lua");
const REDACT: &str = include_str!("../../../examples/filters-lua/redact.lua");

fn authorise(answer: Result<&'static str, CallFailed>) -> Stream {
    let mut stream = Stream::new(AUTHORISE);
    stream.worker.clusters.replace(vec!["auth".into()]);
    let headers = [
        (":path", "/"),
        ("x-user", "root"),
        ("authorization", "Bearer t"),
    ];
    stream
        .chain
        .headers(Request, Headers::from_iter(headers), true);
    let answer = answer.map(|status| HttpAnswer {
        headers: Headers::from_iter([(":status", status), ("x-user", "ann")]),
        body: "who are you?".into(),
        ..HttpAnswer::default()
    });
    let call = stream.worker.answer_next(answer).expect("a call");
    assert_eq!(call.headers.text("authorization"), Some("Bearer t"));
    stream.chain.pump();
    stream
}

#[test]
fn authorise_lets_known_callers_pass_under_their_name() {
    let mut stream = authorise(Ok("200"));
    assert_eq!(stream.out(Request), ":path=/ x-user=ann, end");
    stream.respond(true);
    assert!(stream.out(Response).contains("cache-control=private"));
    assert_eq!(stream.log(), "");
}

#[test]
fn authorise_refuses_everybody_else() {
    let refused = |mut stream: Stream| {
        assert_eq!(stream.out(Request), "");
        stream.out(Response)
    };
    let out = refused(authorise(Ok("403")));
    assert!(
        out.starts_with(":status=401") && out.ends_with("\"who are you?\", end"),
        "{out}"
    );
    let out = refused(authorise(Err(CallFailed::Timeout)));
    assert!(out.starts_with(":status=503"), "{out}");
}

#[test]
fn redact_hides_numbers_of_cards_alone() {
    let respond = |kind: &str, chunks: &[&'static str]| {
        let mut stream = Stream::new(REDACT);
        stream.request(true);
        let headers = [(":status", "200"), ("content-type", kind)];
        stream
            .chain
            .headers(Response, Headers::from_iter(headers), false);
        for chunk in chunks {
            stream.data(Response, chunk, false);
        }
        stream.data(Response, "", true);
        assert_eq!(stream.log(), "");
        let count = stream.chain.stream().metadata().contains_key("redact");
        (stream.out(Response), count)
    };
    let (out, counted) = respond(
        "application/json",
        &["{\"card\": 55556666", "77778888, \"n\": 123}"],
    );
    assert!(out.contains("content-length=36 | "), "{out}");
    assert!(
        out.ends_with("\"{\\\"card\\\": ************8888, \\\"n\\\": 123}\", end") && counted,
        "{out}"
    );
    let (out, counted) = respond("image/png", &["5555666677778888"]);
    assert!(
        out.ends_with("| \"5555666677778888\" | \"\", end") && !counted,
        "{out}"
    );
    let (out, counted) = respond("text/plain", &["12345"]);
    assert!(out.contains("\"12345\", end") && !counted, "{out}");
}
