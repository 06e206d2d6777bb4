//! How requests and responses pass, wait and go on.

use std::rc::Rc;

use bytes::Bytes;
use filters::Direction::{Request, Response};
use filters::{Direction, EndReason, Headers, LocalReply, Next, StreamRef, Verdict};
use proptest::prelude::*;

use crate::script::{Notes, Script, chain, data, notes, out, request, respond};

#[test]
fn requests_pass_in_order_and_responses_in_reverse() {
    let told = Notes::default();
    let mut chain = chain(vec![Script::new("a", &told), Script::new("b", &told)], 99);
    request(&mut chain, false);
    data(&mut chain, Request, "x", true);
    respond(&mut chain, true);
    chain.finish(EndReason::Done);
    assert_eq!(out(&mut chain, Request), "headers | x, end");
    assert_eq!(out(&mut chain, Response), "headers, end");
    assert_eq!(
        notes(&told),
        "a: request headers\nb: request headers\na: request data \"x\", end\nb: request data \"x\", end\n\
         b: response headers, end\na: response headers, end\na: log\nb: log\na: destroy Done\nb: destroy Done"
    );
}

#[test]
fn what_arrives_while_a_filter_holds_is_told_once_it_resumes() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|_| Verdict::Hold(Next::Resumed));
    let stream = Rc::clone(&script.stream);
    let mut chain = chain(vec![script, Script::new("b", &told)], 99);
    request(&mut chain, false);
    data(&mut chain, Request, "x", false);
    data(&mut chain, Request, "y", false);
    chain.trailers(Request, Headers::from_iter([("t", "1")]));
    assert_eq!(out(&mut chain, Request), "");
    let stream = stream.borrow().clone().expect("a stream");
    stream.resume(Request);
    stream.resume(Request);
    chain.pump();
    assert_eq!(out(&mut chain, Request), "headers | x | y | trailers");
    assert_eq!(
        notes(&told),
        "a: request headers\nb: request headers\na: request data \"xy\"\nb: request data \"x\"\nb: request data \"y\"\n\
         a: request trailers\nb: request trailers"
    );
}

#[test]
fn to_ask_often_to_go_on_is_to_ask_once() {
    let told = Notes::default();
    let script = Script::new("a", &told)
        .headers(|_| Verdict::Hold(Next::Resumed))
        .data(|_| Verdict::Hold(Next::Resumed));
    let stream = Rc::clone(&script.stream);
    let mut chain = chain(vec![script], 99);
    request(&mut chain, false);
    data(&mut chain, Request, "x", true);
    let stream = stream.borrow().clone().expect("a stream");
    (0..3).for_each(|_| stream.resume(Request));
    chain.pump();
    assert_eq!(out(&mut chain, Request), "headers", "the data is held anew");
    stream.resume(Request);
    chain.pump();
    assert_eq!(out(&mut chain, Request), "x, end");
}

#[test]
fn a_body_can_be_looked_at_before_the_headers_go_on() {
    let told = Notes::default();
    let script = Script::new("a", &told)
        .headers(|_| Verdict::Hold(Next::Each))
        .data(|_| Verdict::Hold(Next::Each))
        .data(|stream| {
            let mut body = stream.body(Request).expect("a body");
            body.replace(1..2, Bytes::from_static(b"__"));
            Verdict::Continue
        });
    let mut chain = chain(vec![script], 99);
    request(&mut chain, false);
    data(&mut chain, Request, "xyz", false);
    assert_eq!(out(&mut chain, Request), "");
    data(&mut chain, Request, "!", true);
    assert_eq!(out(&mut chain, Request), "headers | x | __ | z | !, end");
    assert_eq!(
        notes(&told),
        "a: request headers\na: request data \"xyz\"\na: request data \"xyz!\", end"
    );
}

#[test]
fn who_waits_for_the_whole_body_is_told_once() {
    let told = Notes::default();
    let script = Script::new("a", &told)
        .headers(|_| Verdict::Hold(Next::Whole))
        .data(|_| Verdict::Hold(Next::Whole));
    let stream = Rc::clone(&script.stream);
    let mut chain = chain(vec![script], 99);
    request(&mut chain, false);
    data(&mut chain, Request, "x", false);
    data(&mut chain, Request, "y", true);
    assert_eq!(
        notes(&told),
        "a: request headers\na: request data \"xy\", end"
    );
    stream.borrow().as_ref().expect("a stream").resume(Request);
    chain.pump();
    assert_eq!(out(&mut chain, Request), "headers | x | y, end");
}

#[test]
fn who_holds_may_wait_for_something_else() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|_| Verdict::Hold(Next::Resumed));
    let stream = Rc::clone(&script.stream);
    let mut chain = chain(vec![script], 99);
    request(&mut chain, false);
    let stream = stream.borrow().clone().expect("a stream");
    data(&mut chain, Request, "x", false);
    stream.resume_with(Request, Verdict::Hold(Next::Whole));
    chain.pump();
    assert_eq!(notes(&told), "a: request headers");
    data(&mut chain, Request, "y", true);
    assert_eq!(notes(&told), "a: request data \"xy\", end");
    stream.resume_with(Request, Verdict::Hold(Next::Whole));
    chain.pump();
    assert_eq!(out(&mut chain, Request), "headers | x | y, end");
    assert_eq!(notes(&told), "");
}

#[test]
fn who_comes_to_wait_for_the_whole_body_is_told_of_an_empty_one_too() {
    for trailers in [false, true] {
        let told = Notes::default();
        let script = Script::new("a", &told).headers(|_| Verdict::Hold(Next::Resumed));
        let stream = Rc::clone(&script.stream);
        let mut chain = chain(vec![script], 99);
        request(&mut chain, false);
        if trailers {
            chain.trailers(Request, Headers::default());
        } else {
            data(&mut chain, Request, "", true);
        }
        let stream = stream.borrow().clone().expect("a stream");
        stream.resume_with(Request, Verdict::Hold(Next::Whole));
        chain.pump();
        let expected = if trailers {
            "headers | trailers"
        } else {
            "headers, end"
        };
        assert_eq!(out(&mut chain, Request), expected, "{}", notes(&told));
    }
}

#[test]
fn discarded_data_is_gone_and_the_end_is_not() {
    let told = Notes::default();
    let script = Script::new("a", &told)
        .data(|_| Verdict::Discard)
        .data(|_| Verdict::Continue)
        .data(|_| Verdict::Discard);
    let mut chain = chain(vec![script], 99);
    request(&mut chain, false);
    data(&mut chain, Request, "x", false);
    data(&mut chain, Request, "y", false);
    data(&mut chain, Request, "z", true);
    assert_eq!(out(&mut chain, Request), "headers | y | , end");
}

/// Puts trailers behind a direction.
fn trailed(stream: &StreamRef, direction: Direction) -> Verdict {
    stream.set_trailers(direction, Headers::from_iter([("t", "1")]));
    Verdict::Continue
}

#[test]
fn trailers_that_a_filter_puts_behind_the_end_go_out_behind_it() {
    let told = Notes::default();
    let script = Script::new("b", &told)
        .data(|stream| trailed(stream, Request))
        .data(|stream| trailed(stream, Response));
    let mut both = chain(vec![Script::new("a", &told), script], 99);
    request(&mut both, false);
    data(&mut both, Request, "x", true);
    respond(&mut both, false);
    data(&mut both, Response, "y", true);
    assert_eq!(out(&mut both, Request), "headers | x | trailers");
    assert_eq!(out(&mut both, Response), "headers | y | trailers");
    assert_eq!(
        notes(&told),
        "a: request headers\nb: request headers\na: request data \"x\", end\nb: request data \"x\", end\n\
         b: response headers\na: response headers\nb: response data \"y\", end\n\
         a: response data \"y\"\na: response trailers"
    );

    let script = Script::new("a", &told)
        .headers(|stream| trailed(stream, Request))
        .headers(|stream| trailed(stream, Response));
    let mut bare = chain(vec![script, Script::new("b", &told)], 99);
    request(&mut bare, true);
    respond(&mut bare, true);
    assert_eq!(
        notes(&told),
        "a: request headers, end\nb: request headers\nb: request trailers\n\
         b: response headers, end\na: response headers, end"
    );
    assert_eq!(out(&mut bare, Request), "headers | trailers");
    assert_eq!(out(&mut bare, Response), "headers | trailers");
}

#[test]
fn trailers_behind_a_response_do_not_follow_the_answer_in_its_place() {
    let script = Script::new("a", &Notes::default())
        .headers(|_| Verdict::Continue)
        .headers(|stream| {
            trailed(stream, Response);
            stream.local_reply(LocalReply::text(502, "bad"));
            Verdict::Continue
        });
    let mut chain = chain(vec![script], 99);
    request(&mut chain, true);
    respond(&mut chain, false);
    assert_eq!(out(&mut chain, Response), "headers | bad, end");
    assert!(chain.stream().trailers(Response).is_none());
}

#[test]
fn a_sender_waits_while_a_filter_holds_its_fill() {
    let told = Notes::default();
    let script = Script::new("a", &told).headers(|_| Verdict::Hold(Next::Resumed));
    let stream = Rc::clone(&script.stream);
    let mut chain = chain(vec![script], 2);
    request(&mut chain, false);
    data(&mut chain, Request, "x", false);
    assert!(!chain.is_full(Request));
    data(&mut chain, Request, "yz", false);
    assert!(chain.is_full(Request) && !chain.is_full(Response));
    stream.borrow().as_ref().expect("a stream").resume(Request);
    chain.pump();
    assert!(chain.is_full(Request), "what came out is not taken yet");
    assert_eq!(out(&mut chain, Request), "headers | x | yz");
    assert!(!chain.is_full(Request));
}

#[test]
fn a_held_body_beyond_the_limit_is_refused() {
    let told = Notes::default();
    let script = Script::new("a", &told)
        .headers(|_| Verdict::Hold(Next::Whole))
        .headers(|_| Verdict::Continue);
    let mut chain = chain(vec![script], 2);
    request(&mut chain, false);
    data(&mut chain, Request, "xyz", false);
    assert!(chain.is_answered());
    assert_eq!(
        out(&mut chain, Response),
        "headers | Payload Too Large, end"
    );
    assert_eq!(chain.stream().info().status, 413);
}

fn verdicts() -> impl Strategy<Value = Vec<Verdict>> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Continue),
        1 => Just(Verdict::Hold(Next::Resumed)),
        1 => Just(Verdict::Hold(Next::EachWaiting)),
        1 => Just(Verdict::Hold(Next::Each)),
        1 => Just(Verdict::Hold(Next::Whole)),
    ];
    prop::collection::vec(verdict, 0..8)
}

proptest! {
    /// Whatever filters hold, once they let go, everything comes out once, in order, with its end.
    #[test]
    fn everything_comes_out_once_and_in_order(
        scripts in prop::collection::vec((verdicts(), verdicts(), verdicts()), 1..4),
        chunks in prop::collection::vec("[a-z]{0,3}", 0..5),
        trailers: bool,
        response: bool,
        resumes in prop::collection::vec(any::<bool>(), 8),
    ) {
        let direction = if response { Response } else { Request };
        let mut streams = Vec::new();
        let filters = scripts.into_iter().map(|(headers, data, trailers)| {
            let mut script = Script::new("a", &Notes::default());
            for verdict in headers {
                script = script.headers(move |_| verdict);
            }
            for verdict in data {
                script = script.data(move |_| verdict);
            }
            for verdict in trailers {
                script = script.trailers(move |_| verdict);
            }
            streams.push(Rc::clone(&script.stream));
            script
        }).collect();
        let mut chain = chain(filters, 1000);
        let resume = |chain: &mut filters::Chain| {
            for stream in &streams {
                if let Some(stream) = &*stream.borrow() {
                    stream.resume(direction);
                }
            }
            chain.pump();
        };
        let mut resumes = resumes.into_iter();
        let end = chunks.is_empty() && !trailers;
        if response { respond(&mut chain, end) } else { request(&mut chain, end) }
        for (number, chunk) in chunks.iter().enumerate() {
            if resumes.next() == Some(true) {
                resume(&mut chain);
            }
            let end = number + 1 == chunks.len() && !trailers;
            chain.data(direction, chunk.clone().into(), end);
        }
        if trailers {
            chain.trailers(direction, Headers::default());
        }
        // Each filter has at most as many things to hold as there are callbacks.
        for _ in 0..40 {
            resume(&mut chain);
        }
        prop_assert!(!chain.is_answered());
        let mut came = Vec::new();
        let mut body = String::new();
        while let Some(part) = chain.take(direction) {
            let (kind, end) = match part {
                filters::Part::Headers { end } => ("headers", end),
                filters::Part::Data { data, end } => {
                    body.push_str(std::str::from_utf8(&data).expect("text"));
                    ("data", end)
                }
                filters::Part::Trailers => ("trailers", true),
            };
            came.push((kind, end));
        }
        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(came.first().map(|(kind, _)| *kind), Some("headers"));
        let ends: Vec<_> = came.iter().map(|(_, end)| *end).collect();
        prop_assert!(ends.last() == Some(&true) && ends.iter().filter(|end| **end).count() == 1, "{:?}", came);
        prop_assert_eq!(came.last().map(|(kind, _)| *kind) == Some("trailers"), trailers);
    }
}
