//! What each answer does in each stage and direction.

use filters::Direction::{self, Request, Response};
use filters::native::Answer;
use filters::{EndReason, LocalReply};

use crate::bench::{Bench, at, bench, tcp};

/// The callbacks of a direction.
fn callbacks(direction: Direction) -> [&'static str; 3] {
    match direction {
        Request => ["decode_headers", "decode_data", "decode_trailers"],
        Response => ["encode_headers", "encode_data", "encode_trailers"],
    }
}

/// Headers, two chunks and trailers of a direction.
fn pass(bench: &mut Bench, direction: Direction) -> String {
    bench.headers(direction, false);
    bench.data(direction, "ab", false);
    bench.data(direction, "cd", false);
    bench.trailers(direction);
    bench.out(direction)
}

const ALL: &str = "headers | ab | cd | trailers";

#[test]
fn a_filter_is_told_of_everything_and_lets_it_pass() {
    let mut bench = bench([]);
    for direction in Direction::BOTH {
        assert_eq!(pass(&mut bench, direction), ALL);
    }
    bench.chain.finish(EndReason::Done);
    assert_eq!(
        bench.notes(),
        "decode_headers \"\"\ndecode_data \"ab\"\ndecode_data \"cd\"\ndecode_trailers \"\"\n\
         encode_headers \"\"\nencode_data \"ab\"\nencode_data \"cd\"\nencode_trailers \"\"\n\
         on_log \"\"\non_destroy Done"
    );
}

#[test]
fn stop_and_buffer_waits_for_the_whole_body_wherever_it_is_answered() {
    for direction in Direction::BOTH {
        let [headers, data, trailers] = callbacks(direction);
        let mut bench = bench([
            at(headers, |_, _| Answer::StopAndBuffer),
            // The whole body is here, and trailers follow: answering the same again waits for them.
            at(data, |_, _| Answer::StopAndBuffer),
            at(trailers, |_, stream| {
                let body = stream.body(stream.direction()).expect("a body");
                assert_eq!(body.to_bytes(), "abcd");
                Answer::Continue
            }),
        ]);
        assert_eq!(pass(&mut bench, direction), ALL);
        assert_eq!(
            bench.notes(),
            format!("{headers} \"\"\n{data} \"abcd\"\n{trailers} \"abcd\"")
        );
    }
}

#[test]
fn stop_and_buffer_at_data_tells_the_rest_at_once() {
    for direction in Direction::BOTH {
        let [headers, data, _] = callbacks(direction);
        let mut bench = bench([at(data, |_, _| Answer::StopAndBuffer)]);
        bench.headers(direction, false);
        bench.data(direction, "ab", false);
        bench.data(direction, "cd", false);
        assert_eq!(bench.out(direction), "headers");
        bench.data(direction, "ef", true);
        assert_eq!(bench.out(direction), "ab | cd | ef, end");
        assert_eq!(
            bench.notes(),
            format!("{headers} \"\"\n{data} \"ab\"\n{data} \"abcdef\", end")
        );
    }
}

#[test]
fn stop_and_buffer_watermark_is_told_of_each_chunk() {
    for direction in Direction::BOTH {
        let [headers, data, trailers] = callbacks(direction);
        let mut bench = bench([
            at(headers, |_, _| Answer::StopAndBufferWatermark),
            at(data, |_, _| Answer::StopAndBufferWatermark),
        ]);
        assert_eq!(pass(&mut bench, direction), ALL);
        assert_eq!(
            bench.notes(),
            format!("{headers} \"\"\n{data} \"ab\"\n{data} \"abcd\"\n{trailers} \"\"")
        );
    }
}

#[test]
fn stop_no_buffer_forgets_data() {
    for direction in Direction::BOTH {
        let [headers, data, _] = callbacks(direction);
        let mut bench = bench([at(data, |_, _| Answer::StopNoBuffer)]);
        assert_eq!(pass(&mut bench, direction), "headers | cd | trailers");

        let mut bench = self::bench([
            at(headers, |_, _| Answer::StopAndBuffer),
            at(data, |_, _| Answer::StopNoBuffer),
        ]);
        assert_eq!(pass(&mut bench, direction), "headers | trailers");
    }
}

#[test]
fn a_local_reply_is_sent_from_every_callback() {
    for direction in Direction::BOTH {
        for callback in 0..3 {
            let reply = LocalReply::text(403, "no").because("test");
            let mut bench = answered(direction, callback, false, Answer::LocalReply(reply));
            assert!(bench.chain.is_answered());
            assert_eq!(bench.answered(), (403, "test".to_owned()));
            assert_eq!(bench.out(Response), "headers | no, end");
        }
    }
}

#[test]
fn a_body_beyond_the_limit_is_refused_whichever_way_it_is_buffered() {
    for direction in Direction::BOTH {
        for answer in [Answer::StopAndBuffer, Answer::StopAndBufferWatermark] {
            let [headers, data, _] = callbacks(direction);
            let steps = [headers, data, data].map(|callback| {
                let answer = answer.clone();
                at(callback, move |_, _| answer.clone())
            });
            let mut bench = bench(steps);
            bench.headers(direction, false);
            bench.data(direction, "0123456789", false);
            assert!(!bench.chain.is_full(direction), "the rest would never come");
            assert!(!bench.chain.is_answered());
            bench.data(direction, "!", false);
            assert!(bench.chain.is_answered());
            let status = if direction == Request { 413 } else { 500 };
            assert_eq!(bench.answered().0, status);
        }
    }
}

/// A stream whose filter answers so at a callback, at the end where `end` is set, and holds everything before.
fn answered(direction: Direction, callback: usize, end: bool, answer: Answer) -> Bench {
    let callbacks = callbacks(direction);
    let hold = callbacks[..callback].iter();
    let hold = hold.map(|callback| at(callback, |_, _| Answer::StopAndBufferWatermark));
    let answer = at(callbacks[callback], move |_, _| answer.clone());
    let mut bench = bench(hold.chain([answer]));
    bench.headers(direction, end && callback == 0);
    if callback > 0 {
        bench.data(direction, "ab", end && callback == 1);
    }
    if callback > 1 {
        bench.trailers(direction);
    }
    bench
}

#[test]
fn an_answer_that_its_callback_does_not_take_is_a_local_500() {
    let refused = [
        // (callback, at the end, answer)
        (0, false, Answer::StopNoBuffer),
        (0, false, Answer::Running),
        (0, true, Answer::StopAndBuffer),
        (0, true, Answer::StopAndBufferWatermark),
        (1, false, Answer::Running),
        (1, true, Answer::StopAndBuffer),
        (1, true, Answer::StopAndBufferWatermark),
        (2, false, Answer::Running),
        (2, false, Answer::StopAndBuffer),
        (2, false, Answer::StopAndBufferWatermark),
        (2, false, Answer::StopNoBuffer),
    ];
    for direction in Direction::BOTH {
        for (callback, end, answer) in refused.clone() {
            let mut bench = answered(direction, callback, end, answer.clone());
            let name = callbacks(direction)[callback];
            assert!(bench.chain.is_answered(), "{name} {answer:?}");
            assert_eq!(bench.answered(), (500, "filter_failed".to_owned()));
            let begin = format!("{name} was answered with {answer:?}, but ");
            assert!(
                bench.errors()[0].starts_with(&begin),
                "{:?}",
                bench.errors()
            );
            assert_eq!(
                bench.out(Response),
                "headers | Internal Server Error, end",
                "{name} {answer:?}"
            );
        }
    }
}

#[test]
fn headers_that_are_held_while_the_last_data_is_forgotten_are_a_local_500() {
    let mut bench = bench([
        at("decode_headers", |_, _| Answer::StopAndBuffer),
        at("decode_data", |_, _| Answer::StopNoBuffer),
    ]);
    bench.headers(Request, false);
    bench.data(Request, "x", true);
    assert_eq!(bench.answered().0, 500);
}

#[test]
fn a_connection_is_told_with_its_data_and_its_ends() {
    let mut bench = tcp([
        at("on_connection", |_, _| Answer::StopAndBufferWatermark),
        at("decode_data", |_, _| Answer::StopAndBufferWatermark),
        at("encode_data", |_, _| Answer::StopNoBuffer),
    ]);
    bench.chain.connection();
    bench.data(Request, "ab", false);
    assert_eq!(bench.out(Request), "", "no server is asked for yet");
    bench.data(Request, "cd", false);
    bench.data(Response, "hidden", false);
    bench.data(Response, "xy", true);
    bench.chain.closed(Request, false);
    assert_eq!(bench.out(Request), "headers | ab | cd");
    assert_eq!(bench.out(Response), "xy, end");
    assert_eq!(
        bench.notes(),
        "on_connection \"\"\ndecode_data \"ab\"\ndecode_data \"abcd\"\nencode_data \"hidden\"\n\
         encode_data \"xy\", end\non_close Request by us: false"
    );
}

#[test]
fn a_connection_is_answered_by_its_end() {
    let mut bench = tcp([at("on_connection", |_, _| {
        Answer::LocalReply(LocalReply::text(403, ""))
    })]);
    bench.chain.connection();
    assert!(bench.chain.is_closing());
    assert_eq!(bench.out(Request), "");
}
