//! Whatever comes in which order and in which pieces: everything passes once, with its end, and nothing hangs.

use std::rc::Rc;

use filters::Direction::Request;
use filters::callout::CallFailed;
use filters::{EndReason, Part};

use crate::bench::{Stream, thread, worker};

const SCRIPTS: [&str; 8] = [
    "call() body()",
    "body() call()",
    "call() chunks()",
    "chunks(call)",
    "call() chunks(call) call()",
    "call() tail() call()",
    "body() call() tail() call()",
    "call() body() chunks() tail()",
];

const HELPERS: &str = "
    local handle
    local function call()
        handle:httpCall('a', {[':method']='GET', [':path']='/', [':authority']='a'}, nil, 5)
    end
    local function body() handle:body(true):length() end
    local function tail() handle:trailers() end
    local function chunks(each)
        pcall(function() for chunk in handle:bodyChunks() do chunk:length() if each then each() end end end)
    end";

#[derive(Clone, Copy, Debug)]
enum Event {
    Headers { end: bool },
    Data(&'static str, bool),
    Trailers,
}

/// Every way in which a request of this body may come.
fn requests() -> Vec<Vec<Event>> {
    use Event::{Data, Headers, Trailers};
    let open = Headers { end: false };
    vec![
        vec![Headers { end: true }],
        vec![open, Data("", true)],
        vec![open, Trailers],
        vec![open, Data("ab", true)],
        vec![open, Data("a", false), Data("b", true)],
        vec![open, Data("a", false), Data("b", false), Data("", true)],
        vec![open, Data("a", false), Data("b", false), Trailers],
    ]
}

fn put(stream: &mut Stream, event: Event) {
    match event {
        Event::Headers { end } => stream.request(end),
        Event::Data(data, end) => stream.data(Request, data, end),
        Event::Trailers => stream.trailers(Request),
    };
}

#[test]
fn a_stream_may_go_at_any_moment() {
    for script in SCRIPTS {
        let source = format!("function envoy_on_request(h) {HELPERS} handle = h {script} end");
        let thread = thread(&source);
        let worker = worker();
        for events in requests() {
            for gone in 0..=events.len() {
                for answers in 0..3 {
                    let mut stream = Stream::on(&thread, &worker);
                    for event in &events[..gone] {
                        put(&mut stream, *event);
                    }
                    for _ in 0..answers {
                        worker.answer_next(Err(CallFailed::Reset));
                        stream.chain.pump();
                    }
                    stream.chain.finish(EndReason::Reset);
                    assert_eq!(
                        worker.under_way(),
                        0,
                        "{script} {events:?} {gone} {answers}"
                    );
                    assert_eq!(stream.log(), "");
                }
            }
        }
        drop(thread);
        assert_eq!(Rc::strong_count(&worker), 1, "nothing is kept of {script}");
    }
}

#[test]
fn everything_passes_once_whenever_calls_are_answered() {
    for script in SCRIPTS {
        let source =
            format!("function envoy_on_request(h) {HELPERS} handle = h {script} print('over') end");
        let thread = thread(&source);
        for events in requests() {
            // Behind which events a call is answered, one bit for each.
            for answered in 0..1u32 << events.len() {
                let mut stream = Stream::on(&thread, &worker());
                let (mut parts, mut body, mut ends) = (0, String::new(), 0);
                let mut take = |stream: &mut Stream| {
                    while let Some(part) = stream.chain.take(Request) {
                        parts += 1;
                        ends += u32::from(match part {
                            Part::Headers { end } => {
                                assert_eq!(parts, 1, "headers come first, and once");
                                end
                            }
                            Part::Data { data, end } => {
                                body.push_str(std::str::from_utf8(&data).expect("text"));
                                end
                            }
                            Part::Trailers => true,
                        });
                    }
                };
                for (number, event) in events.iter().enumerate() {
                    put(&mut stream, *event);
                    if answered & 1 << number != 0 {
                        stream.worker.answer_next(Err(CallFailed::Reset));
                        stream.chain.pump();
                    }
                    take(&mut stream);
                }
                while stream.worker.answer_next(Err(CallFailed::Reset)).is_some() {
                    stream.chain.pump();
                }
                take(&mut stream);
                let case = format!("{script} {events:?} {answered:b}");
                let given = events.iter().map(|event| match event {
                    Event::Data(data, _) => data,
                    _ => "",
                });
                assert_eq!(body, given.collect::<String>(), "{case}");
                assert_eq!(ends, 1, "{case}");
                assert_eq!(stream.log(), "info: over", "{case}");
            }
        }
    }
}
