//! Tasks: how they resume, change, answer, fail and end with their stream.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use filters::Direction::{self, Request, Response};
use filters::callout::{CallFailed, CallRefused, HttpAnswer, HttpCall};
use filters::native::{Answer, CallError, Handle, Outcome};
use filters::testing::TestWorker;
use filters::{Chain, EndReason, FilterLimits, Headers, LocalReply, StreamGone};
use tokio::sync::oneshot;

use crate::bench::{Bench, Played, at, bench, bench_on, tcp};

fn header(bench: &Bench, name: &str) -> Option<String> {
    let stream = bench.chain.stream();
    let headers = stream.headers(Request)?;
    headers.text(name).map(str::to_owned)
}

fn callback(direction: Direction) -> &'static str {
    match direction {
        Request => "decode_headers",
        Response => "encode_headers",
    }
}

#[test]
fn a_task_changes_headers_and_lets_them_go_on() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        let handle = stream.handle();
        stream.spawn(async move {
            let path = handle.with(|filter, stream| {
                filter.note("a visit");
                let mut headers = stream.headers(Request).expect("headers");
                headers.add("by", "task");
                headers.text(":path").map(str::to_owned)
            });
            assert_eq!(path.await?.as_deref(), Some("/"));
            Ok::<_, StreamGone>(Answer::Continue)
        });
        Answer::Running
    })]);
    bench.headers(Request, false);
    bench.data(Request, "ab", true);
    assert_eq!(bench.until_out(Request), "headers | ab, end");
    assert_eq!(header(&bench, "by").as_deref(), Some("task"));
    assert_eq!(
        bench.notes(),
        "decode_headers \"\"\na visit\ndecode_data \"ab\", end"
    );
}

#[test]
fn a_task_changes_the_body_that_is_held() {
    for (direction, data) in [(Request, "decode_data"), (Response, "encode_data")] {
        let mut bench = bench([at(data, |_, stream| {
            let (handle, direction) = (stream.handle(), stream.direction());
            stream.spawn(async move {
                let change = handle.with(move |_, stream| {
                    let mut body = stream.body(direction).expect("a body");
                    body.replace(0..1, Bytes::from_static(b"xyz"));
                });
                change.await?;
                Ok::<_, StreamGone>(Answer::Continue)
            });
            Answer::Running
        })]);
        bench.headers(direction, false);
        assert_eq!(bench.out(direction), "headers");
        bench.data(direction, "ab", true);
        assert_eq!(bench.until_out(direction), "xyz | b, end");
    }
}

#[test]
fn a_task_answers_in_the_servers_place() {
    for direction in Direction::BOTH {
        let mut bench = bench([at(callback(direction), |_, stream| {
            stream.spawn(async { Answer::LocalReply(LocalReply::text(403, "no").because("task")) });
            Answer::Running
        })]);
        bench.headers(direction, true);
        assert_eq!(bench.until_out(Response), "headers | no, end");
        assert_eq!(bench.answered(), (403, "task".to_owned()));
    }
}

#[test]
fn a_task_ends_with_a_closure_that_has_the_filter_and_the_stream() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        stream.spawn(async {
            let found = 7;
            Outcome::then(move |filter: &mut Played, stream| {
                filter.note(format!("found {found}"));
                stream.spawn(async { Answer::Continue });
                Answer::Running
            })
        });
        Answer::Running
    })]);
    bench.headers(Request, true);
    assert_eq!(bench.until_out(Request), "headers, end");
    assert_eq!(bench.notes(), "decode_headers \"\", end\nfound 7");
}

/// The end of a task with this answer, which the filter notes.
fn noted(answer: Answer) -> Outcome<Played> {
    Outcome::then(move |filter: &mut Played, _| {
        filter.note(format!("{answer:?}"));
        answer
    })
}

#[test]
fn the_end_of_a_task_may_be_to_wait_for_the_whole_body() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        stream.spawn(async { noted(Answer::StopAndBuffer) });
        Answer::Running
    })]);
    bench.headers(Request, false);
    bench.data(Request, "ab", false);
    bench.until(|bench| bench.notes.borrow().len() == 2);
    assert_eq!(bench.out(Request), "");
    bench.data(Request, "cd", true);
    assert_eq!(bench.out(Request), "headers | ab | cd, end");
    assert_eq!(
        bench.notes(),
        "decode_headers \"\"\nStopAndBuffer\ndecode_data \"abcd\", end"
    );
}

#[test]
fn the_end_of_a_task_may_be_to_wait_for_each_chunk_or_to_forget_one() {
    let mut bench = bench([
        at("decode_headers", |_, stream| {
            stream.spawn(async { noted(Answer::StopAndBufferWatermark) });
            Answer::Running
        }),
        at("decode_data", |_, stream| {
            stream.spawn(async { Answer::StopNoBuffer });
            Answer::Running
        }),
    ]);
    bench.headers(Request, false);
    bench.until(|bench| bench.notes.borrow().len() == 2);
    bench.data(Request, "ab", false);
    bench.data(Request, "cd", false);
    assert_eq!(bench.until_out(Request), "headers | cd");
    assert_eq!(
        bench.notes(),
        "decode_headers \"\"\nStopAndBufferWatermark\ndecode_data \"ab\"\ndecode_data \"cd\""
    );
}

#[test]
fn what_arrives_while_a_task_runs_waits_and_beyond_the_limit_its_sender_does() {
    let (go, wait) = oneshot::channel::<()>();
    let mut wait = Some(wait);
    let mut bench = bench([at("decode_headers", move |_, stream| {
        let wait = wait.take();
        stream.spawn(async move {
            wait.expect("once").await.expect("it is sent");
            Answer::Continue
        });
        Answer::Running
    })]);
    bench.headers(Request, false);
    bench.data(Request, "01234567", false);
    assert!(!bench.chain.is_full(Request));
    bench.data(Request, "89ab", true);
    assert!(bench.chain.is_full(Request) && !bench.chain.is_answered());
    go.send(()).expect("somebody waits");
    assert_eq!(bench.until_out(Request), "headers | 01234567 | 89ab, end");
    assert!(!bench.chain.is_full(Request));
}

#[test]
fn with_a_task_under_way_a_buffering_filter_lets_the_sender_wait() {
    let mut bench = bench([
        at("decode_headers", |_, stream| {
            stream.spawn(std::future::pending::<Answer>());
            Answer::StopAndBufferWatermark
        }),
        at("decode_data", |_, _| Answer::StopAndBufferWatermark),
        at("decode_data", |_, stream| {
            stream.spawn(async { Answer::Continue });
            Answer::StopAndBufferWatermark
        }),
    ]);
    bench.headers(Request, false);
    bench.data(Request, "0123456789", false);
    assert!(bench.chain.is_full(Request));
    // What was on its way is taken all the same.
    bench.data(Request, "abc", true);
    assert!(!bench.chain.is_answered());
    assert_eq!(bench.until_out(Request), "headers | 0123456789 | abc, end");
}

#[test]
fn each_direction_has_a_task_of_its_own_and_a_second_one_takes_its_place() {
    let (dropped, told) = mpsc::channel::<()>();
    let mut bench = bench([
        at("decode_headers", move |_, stream| {
            let dropped = dropped.clone();
            stream.spawn(async move {
                let _dropped = dropped;
                std::future::pending::<Answer>().await
            });
            Answer::Continue
        }),
        at("encode_headers", |_, stream| {
            stream.spawn(async { Answer::Continue });
            Answer::Running
        }),
        at("decode_data", |_, stream| {
            stream.spawn(async { Answer::Continue });
            Answer::Running
        }),
    ]);
    bench.headers(Request, false);
    assert_eq!(bench.out(Request), "headers");
    bench.headers(Response, true);
    assert_eq!(bench.until_out(Response), "headers, end");
    assert!(
        matches!(told.try_recv(), Err(mpsc::TryRecvError::Empty)),
        "the other direction's task goes on"
    );
    bench.data(Request, "x", true);
    assert_eq!(bench.until_out(Request), "x, end");
    assert_eq!(told.recv(), Err(mpsc::RecvError), "it was cancelled");
}

#[test]
fn a_connection_waits_for_its_task() {
    let mut bench = tcp([at("on_connection", |_, stream| {
        stream.spawn(async { Answer::Continue });
        Answer::Running
    })]);
    bench.chain.connection();
    bench.data(Request, "ab", false);
    assert_eq!(bench.until_out(Request), "headers | ab");
}

#[test]
fn an_end_that_its_callback_does_not_take_is_a_local_500() {
    let mut late = bench([at("decode_trailers", |_, stream| {
        stream.spawn(async { Answer::StopAndBuffer });
        Answer::Running
    })]);
    late.headers(Request, false);
    late.trailers(Request);
    late.until(|bench| bench.chain.is_answered());
    assert_eq!(late.answered(), (500, "filter_failed".to_owned()));

    let mut idle = bench([at("decode_headers", |_, stream| {
        stream.spawn(async { Answer::Running });
        Answer::Running
    })]);
    idle.headers(Request, true);
    idle.until(|bench| bench.chain.is_answered());
    assert_eq!(idle.answered().0, 500);
    assert_eq!(
        idle.errors(),
        ["decode_headers was answered with Running, but no task of this direction is under way"]
    );
}

/// A function that a stack names however it is compiled.
#[inline(never)]
fn stumble() -> Answer {
    panic!("on purpose")
}

#[test]
fn a_panic_of_a_task_is_logged_with_its_stack_and_answered() {
    for direction in Direction::BOTH {
        let mut bench = bench([at(callback(direction), |_, stream| {
            stream.spawn(async {
                tokio::task::yield_now().await;
                stumble()
            });
            Answer::Running
        })]);
        bench.headers(direction, true);
        assert_eq!(
            bench.until_out(Response),
            "headers | Internal Server Error, end"
        );
        assert_eq!(bench.answered(), (500, "filter_panic".to_owned()));
        let errors = bench.errors();
        let [seen] = &errors[..] else {
            panic!("{errors:?}")
        };
        assert!(seen.contains("on purpose"), "{seen}");
        assert!(seen.contains("stumble"), "no stack in {seen}");
        let panics = bench
            .chain
            .stream()
            .worker()
            .metrics()
            .get("filters_panics_total");
        assert_eq!(panics.map(|panics| panics.get()), Some(1));
    }
}

#[test]
fn a_task_that_fails_with_an_answer_under_way_breaks_the_stream_off() {
    let reply = || Answer::LocalReply(LocalReply::text(403, "no"));
    for end in [stumble as fn() -> Answer, reply, || Answer::StopAndBuffer] {
        let mut bench = bench([
            at("decode_headers", move |_, _| reply()),
            at("encode_data", move |_, stream| {
                stream.spawn(async move { end() });
                Answer::Running
            }),
        ]);
        bench.headers(Request, true);
        bench.until(|bench| bench.chain.is_closing());
    }
}

#[test]
fn a_panic_of_what_a_task_does_on_the_streams_thread_is_answered() {
    let visit = |stream: &filters::native::Stream<'_, Played>| {
        let handle = stream.handle();
        stream.spawn(async move {
            handle.with(|_, _| panic!("on purpose")).await?;
            Ok::<_, StreamGone>(Answer::Continue)
        });
    };
    let end = |stream: &filters::native::Stream<'_, Played>| {
        stream.spawn(async { Outcome::then(|_: &mut Played, _| panic!("on purpose")) });
    };
    for start in [visit, end] {
        let mut bench = bench([at("decode_headers", move |_, stream| {
            start(stream);
            Answer::Running
        })]);
        bench.headers(Request, true);
        assert_eq!(
            bench.until_out(Response),
            "headers | Internal Server Error, end"
        );
        assert!(bench.errors()[0].contains("on purpose"));
    }
}

#[test]
fn a_stream_that_ends_cancels_its_task_before_its_filter_is_destroyed() {
    let (dropped, told) = mpsc::channel::<()>();
    let mut bench = bench([
        at("decode_headers", move |_, stream| {
            let dropped = dropped.clone();
            stream.spawn(async move {
                let _dropped = dropped;
                std::future::pending::<Answer>().await
            });
            Answer::Running
        }),
        at("on_destroy", move |filter, _| {
            filter.note(format!("{:?}", told.recv()));
            Answer::Continue
        }),
    ]);
    bench.headers(Request, true);
    bench.chain.finish(EndReason::Reset);
    assert_eq!(
        bench.notes(),
        "decode_headers \"\", end\non_log \"\"\non_destroy Reset\nErr(RecvError)"
    );
}

#[test]
fn a_task_that_outlives_its_stream_is_told_that_it_is_gone() {
    let (go, wait) = mpsc::channel::<()>();
    let (say, said) = mpsc::channel();
    let mut wait = Some(wait);
    let mut bench = bench([at("decode_headers", move |_, stream| {
        let (handle, wait, say) = (stream.handle(), wait.take(), say.clone());
        // The runtime's own, which the end of the stream does not cancel.
        stream.runtime().spawn(async move {
            wait.expect("once").recv().expect("it is sent");
            let gone = handle.with(|filter, _| filter.note("never")).await;
            let call = handle.http(call(TestWorker::CLUSTER)).await;
            say.send((gone, call.map(|_| ())))
                .expect("somebody listens");
        });
        Answer::Continue
    })]);
    bench.headers(Request, true);
    bench.chain.finish(EndReason::Done);
    go.send(()).expect("somebody waits");
    assert_eq!(
        said.recv(),
        Ok((Err(StreamGone), Err(CallError::Gone))),
        "the chain is still there, its stream is not"
    );
}

#[test]
fn who_waits_for_a_stream_that_ends_is_told_that_it_is_gone() {
    let (go, wait) = oneshot::channel::<()>();
    let (say, said) = mpsc::channel();
    let mut wait = Some(wait);
    let mut bench = bench([at("decode_headers", move |_, stream| {
        let (handle, wait, say) = (stream.handle(), wait.take(), say.clone());
        stream.runtime().spawn(async move {
            wait.expect("once").await.expect("it is sent");
            let mut asked = std::pin::pin!(handle.with(|_, _| ()));
            // It asks, and waits for its turn from now on.
            let first = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
            assert!(first.is_pending());
            say.send(None).expect("somebody listens");
            say.send(Some(asked.await)).expect("somebody listens");
        });
        Answer::Continue
    })]);
    bench.headers(Request, true);
    go.send(()).expect("somebody waits");
    assert_eq!(said.recv(), Ok(None));
    bench.chain.finish(EndReason::Done);
    assert_eq!(said.recv(), Ok(Some(Err(StreamGone))));
}

#[test]
fn a_task_without_an_answer_is_answered_for() {
    let (send, receive) = oneshot::channel::<Handle<Played>>();
    let mut receive = Some(receive);
    let mut first = bench([at("decode_headers", move |_, stream| {
        let receive = receive.take();
        stream.spawn(async move {
            let other = receive.expect("once").await.expect("it is sent");
            other.with(|_, _| ()).await?;
            Ok::<_, StreamGone>(Answer::Continue)
        });
        Answer::Running
    })]);
    first.headers(Request, true);
    let handle = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&handle);
    let mut other = bench([at("decode_headers", move |_, stream| {
        keep.replace(Some(stream.handle()));
        Answer::Continue
    })]);
    other.headers(Request, true);
    drop(other);
    let gone = handle.take().expect("it was kept");
    send.send(gone).expect("somebody waits");
    first.until(|bench| bench.chain.is_answered());
    assert_eq!(first.answered(), (500, "filter_failed".to_owned()));
    assert_eq!(first.errors(), ["a task ended without an answer"]);
}

#[test]
fn a_runtime_that_goes_leaves_no_stream_waiting() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let steps = [at("decode_headers", |_, stream| {
        stream.spawn(std::future::pending::<Answer>());
        Answer::Running
    })];
    let mut bench = bench_on(Chain::new, runtime.handle(), steps);
    bench.headers(Request, true);
    drop(runtime);
    assert_eq!(
        bench.until_out(Response),
        "headers | Internal Server Error, end"
    );
    assert_eq!(bench.errors(), ["the runtime dropped a task"]);
}

fn call(cluster: &str) -> HttpCall {
    HttpCall {
        cluster: cluster.into(),
        headers: Headers::from_iter([(":method", "GET"), (":path", "/"), (":authority", "a")]),
        body: Bytes::new(),
        trailers: Headers::default(),
        timeout: Some(Duration::from_secs(1)),
    }
}

#[test]
fn a_call_begun_in_a_callback_or_in_a_task_is_awaited_in_the_task() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        let (first, handle) = (stream.http(call(TestWorker::CLUSTER)), stream.handle());
        stream.spawn(async move {
            let first = first.await.expect("an answer").body;
            let second = handle.http(call(TestWorker::CLUSTER)).await;
            assert_eq!(
                second.map(|_| ()),
                Err(CallError::Failed(CallFailed::Timeout))
            );
            let body = String::from_utf8_lossy(&first).into_owned();
            Answer::LocalReply(LocalReply::text(200, body))
        });
        Answer::Running
    })]);
    bench.headers(Request, true);
    assert!(!bench.worker.answer(1, Err(CallFailed::Reset)), "not begun");
    let answer = HttpAnswer {
        body: Bytes::from_static(b"hello"),
        ..HttpAnswer::default()
    };
    assert!(bench.worker.answer(0, Ok(answer)));
    bench.until(|bench| bench.worker.calls.borrow().len() == 2);
    assert!(bench.worker.answer(1, Err(CallFailed::Timeout)));
    assert_eq!(bench.until_out(Response), "headers | hello, end");
}

#[test]
fn a_call_that_is_refused_says_why() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        let call = stream.http(call("elsewhere"));
        stream.spawn(async move {
            let refused = call.await.map(|_| ()).expect_err("no such cluster");
            assert_eq!(refused, CallError::Refused(CallRefused::UnknownCluster));
            Answer::LocalReply(LocalReply::text(503, refused.to_string()))
        });
        Answer::Running
    })]);
    bench.headers(Request, true);
    assert_eq!(
        bench.until_out(Response),
        "headers | there is no such cluster, end"
    );
}

#[test]
fn a_filter_has_so_many_calls_under_way_and_no_more() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        let calls: [_; 3] = std::array::from_fn(|_| stream.http(call(TestWorker::CLUSTER)));
        let handle = stream.handle();
        stream.spawn(async move {
            let [first, second, third] = calls;
            let refused = third.await.map(|_| ()).expect_err("two are under way");
            assert_eq!(refused, CallError::Refused(CallRefused::Full));
            let _ = first.await;
            let next = handle.http(call(TestWorker::CLUSTER)).await;
            let _ = second.await;
            let words = next.map_or_else(|why| why.to_string(), |_| "an answer".into());
            Answer::LocalReply(LocalReply::text(503, words))
        });
        Answer::Running
    })]);
    bench.worker.limits.set(FilterLimits {
        stream_calls: 2,
        ..FilterLimits::default()
    });
    bench.headers(Request, true);
    assert_eq!(bench.worker.under_way(), 2);
    assert!(bench.worker.answer(0, Err(CallFailed::Reset)));
    bench.until(|bench| bench.worker.calls.borrow().len() == 3);
    assert!(bench.worker.answer(2, Ok(HttpAnswer::default())));
    assert!(bench.worker.answer(1, Ok(HttpAnswer::default())));
    assert_eq!(bench.until_out(Response), "headers | an answer, end");
}

#[test]
fn a_call_that_nobody_waits_for_is_given_up() {
    let mut bench = bench([at("decode_headers", |_, stream| {
        drop(stream.http(call(TestWorker::CLUSTER)));
        let waiting = stream.http(call(TestWorker::CLUSTER));
        stream.spawn(async move {
            let _ = waiting.await;
            Answer::Continue
        });
        Answer::Running
    })]);
    bench.headers(Request, true);
    let given_up = |bench: &Bench| {
        let calls = bench.worker.calls.borrow();
        calls
            .iter()
            .map(|call| call.is_given_up())
            .collect::<Vec<_>>()
    };
    assert_eq!(given_up(&bench), [true, false]);
    bench.chain.finish(EndReason::Reset);
    assert_eq!(given_up(&bench), [true, true]);
    assert!(!bench.worker.answer(1, Err(CallFailed::Reset)));
}
