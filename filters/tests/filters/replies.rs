//! Answers in the server's place, panics, and what comes from outside of callbacks.

use std::rc::Rc;

use filters::Direction::{Request, Response};
use filters::{Chain, Headers, LocalReply, Next, StreamGone, StreamRef, Verdict};

use crate::script::{Notes, Script, chain, data, notes, out, request, respond};

fn header(chain: &Chain, name: &str) -> Option<String> {
    let stream = chain.stream();
    let headers = stream.headers(Response)?;
    headers.text(name).map(str::to_owned)
}

#[test]
fn an_answer_in_the_servers_place_ends_the_request_and_passes_the_response_filters() {
    let told = Notes::default();
    let script = Script::new("b", &told).headers(|stream| {
        stream.local_reply(LocalReply::text(403, "no").because("by_b"));
        stream.local_reply(LocalReply::text(500, "second"));
        Verdict::Continue
    });
    let filters = vec![Script::new("a", &told), script, Script::new("c", &told)];
    let mut chain = chain(filters, 99);
    request(&mut chain, false);
    data(&mut chain, Request, "late", true);
    respond(&mut chain, true);
    assert!(chain.is_answered());
    assert_eq!(out(&mut chain, Request), "");
    assert_eq!(out(&mut chain, Response), "headers | no, end");
    assert_eq!(header(&chain, ":status").as_deref(), Some("403"));
    assert_eq!(header(&chain, "content-length").as_deref(), Some("2"));
    assert_eq!(chain.stream().info().details, "by_b");
    assert_eq!(
        notes(&told),
        "a: request headers\nb: request headers\nc: response headers\nb: response headers\na: response headers\n\
         c: response data \"no\", end\nb: response data \"no\", end\na: response data \"no\", end"
    );
}

#[test]
fn an_answer_whose_status_has_no_content_has_no_body_and_no_length() {
    for status in [204, 304] {
        let script = Script::new("a", &Notes::default()).headers(move |stream| {
            let mut reply = LocalReply::text(status, "words");
            reply.headers.add("content-length", "5");
            stream.local_reply(reply);
            Verdict::Continue
        });
        let mut chain = chain(vec![script], 99);
        request(&mut chain, true);
        assert_eq!(out(&mut chain, Response), "headers, end", "{status}");
        assert_eq!(header(&chain, "content-length"), None, "{status}");
    }
}

#[test]
fn an_answer_while_a_response_passes_goes_straight_to_the_client() {
    let told = Notes::default();
    let script = Script::new("b", &told)
        .headers(|_| Verdict::Continue)
        .headers(|stream| {
            stream.local_reply(LocalReply::text(502, "bad"));
            Verdict::Continue
        });
    let mut chain = chain(vec![Script::new("a", &told), script], 99);
    request(&mut chain, true);
    respond(&mut chain, false);
    data(&mut chain, Response, "ignored", true);
    assert_eq!(out(&mut chain, Response), "headers | bad, end");
    assert!(!notes(&told).contains("a: response"));
}

#[test]
fn an_answer_behind_a_response_breaks_the_stream_off() {
    let told = Notes::default();
    let script = Script::new("a", &told).data(|stream| {
        stream.local_reply(LocalReply::text(500, "late"));
        Verdict::Continue
    });
    let mut chain = chain(vec![script], 99);
    request(&mut chain, true);
    respond(&mut chain, false);
    assert_eq!(out(&mut chain, Response), "headers");
    data(&mut chain, Response, "x", false);
    assert!(chain.is_closing());
}

/// A chain whose last filter answers each request, and whose first one does something with the answer's body; each with
/// its stream.
fn answering(
    limit: usize,
    body: impl FnMut(&StreamRef) -> Verdict + 'static,
) -> (Chain, [StreamRef; 2]) {
    let told = Notes::default();
    let first = Script::new("a", &told).data(body);
    let last = Script::new("b", &told).headers(|stream| {
        stream.local_reply(LocalReply::text(403, "no"));
        Verdict::Continue
    });
    let streams = [&first, &last].map(|script| Rc::clone(&script.stream));
    let mut chain = chain(vec![first, last], limit);
    request(&mut chain, true);
    let streams = streams.map(|stream| stream.borrow().clone().expect("a stream"));
    (chain, streams)
}

#[test]
fn an_answer_that_is_kept_from_its_end_for_good_breaks_the_stream_off() {
    let late = || LocalReply::text(500, "late");
    let (chain, _) = answering(99, move |stream| {
        stream.local_reply(late());
        Verdict::Hold(Next::Resumed)
    });
    assert!(chain.is_closing(), "who is told of it answers anew");

    let (chain, _) = answering(99, |_| panic!("on purpose"));
    assert!(chain.is_closing(), "who is told of it panics");

    let (chain, _) = answering(1, |_| Verdict::Hold(Next::Each));
    assert!(chain.is_closing(), "it is larger than may be held");

    let held = || answering(99, |_| Verdict::Hold(Next::Resumed));
    let (mut chain, [first, _]) = held();
    assert!(!chain.is_closing());
    first.local_reply(late());
    chain.pump();
    assert!(chain.is_closing(), "who holds it answers anew");

    let (mut chain, [first, _]) = held();
    let handle = first.handle().expect("a filter's stream has one");
    handle.visit(|_, _| panic!("on purpose")).expect("there");
    chain.pump();
    assert!(chain.is_closing(), "who holds it panics");

    let (mut chain, _) = held();
    chain.stream().local_reply(late());
    chain.pump();
    assert!(chain.is_closing(), "its time is over");
}

#[test]
fn a_further_answer_of_who_does_not_hold_the_first_changes_nothing() {
    let (mut chain, [first, last]) = answering(99, |_| Verdict::Hold(Next::Resumed));
    last.local_reply(LocalReply::text(500, "again"));
    chain.pump();
    first.resume(Response);
    first.local_reply(LocalReply::text(500, "let go already"));
    chain.pump();
    chain
        .stream()
        .local_reply(LocalReply::text(500, "too late"));
    chain.pump();
    assert!(!chain.is_closing());
    assert_eq!(out(&mut chain, Response), "headers | no, end");
}

#[test]
fn a_client_of_grpc_is_answered_in_its_own_form() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|stream| {
        stream.local_reply(LocalReply::text(503, "50 % é"));
        Verdict::Continue
    });
    let mut chain = chain(vec![script], 99);
    let headers = Headers::from_iter([(":path", "/"), ("content-type", "application/grpc+proto")]);
    chain.headers(Request, headers, false);
    assert_eq!(out(&mut chain, Response), "headers, end");
    assert_eq!(header(&chain, ":status").as_deref(), Some("200"));
    assert_eq!(header(&chain, "grpc-status").as_deref(), Some("14"));
    assert_eq!(
        header(&chain, "grpc-message").as_deref(),
        Some("50 %25 %C3%A9")
    );
}

#[test]
fn a_filter_that_panics_is_answered_for_and_left_alone() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|_| panic!("on purpose"));
    let mut chain = chain(vec![script, Script::new("b", &told)], 99);
    request(&mut chain, false);
    assert_eq!(
        out(&mut chain, Response),
        "headers | Internal Server Error, end"
    );
    chain.finish(filters::EndReason::Done);
    assert_eq!(
        notes(&told),
        "a: request headers\nb: response headers\nb: response data \"Internal Server Error\", end\nb: log\nb: destroy Done"
    );
    let stream = chain.stream();
    let metric = stream.worker().metrics().get("filters_panics_total");
    assert_eq!(metric.map(|metric| metric.get()), Some(1));
}

#[test]
fn a_handle_works_from_another_thread_until_the_stream_is_gone() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|_| Verdict::Hold(Next::Resumed));
    let stream = Rc::clone(&script.stream);
    let mut chain = chain(vec![script], 99);
    request(&mut chain, true);
    let handle = stream.borrow().as_ref().and_then(|stream| stream.handle());
    let handle = handle.expect("a filter's stream has one");
    let other = handle.clone();
    let add = move |stream: &filters::StreamRef| {
        let mut headers = stream.headers(Request).expect("headers");
        headers.add("by", "task");
    };
    std::thread::spawn(move || {
        other.visit(move |_, stream| add(stream)).expect("there");
        other.resume(Request).expect("there");
    })
    .join()
    .expect("no panic");
    chain.pump();
    assert_eq!(out(&mut chain, Request), "headers, end");
    let by = chain
        .stream()
        .headers(Request)
        .and_then(|h| h.text("by").map(str::to_owned));
    assert_eq!(by.as_deref(), Some("task"));
    chain.finish(filters::EndReason::Reset);
    assert_eq!(handle.resume(Request), Err(StreamGone));
    assert_eq!(handle.local_reply(LocalReply::default()), Err(StreamGone));
}
