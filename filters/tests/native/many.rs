//! Many streams on one thread, whose tasks run on others.

use std::sync::mpsc;

use filters::Direction::{Request, Response};
use filters::native::{Answer, Outcome};
use filters::{Chain, EndReason, LocalReply, Part};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::bench::{Played, at, bench};

/// Drives a chain until something comes out of a direction.
async fn until_out(chain: &mut Chain, direction: filters::Direction) -> Part {
    loop {
        if let Some(part) = chain.take(direction) {
            return part;
        }
        chain.event().await;
    }
}

#[test]
fn a_thousand_streams_at_once_each_get_their_own_answer() {
    const STREAMS: u16 = 1000;
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let local = LocalSet::new();
    let streams: Vec<_> = (0..STREAMS)
        .map(|number| {
            local.spawn_local(async move {
                let mut bench = bench([at("decode_headers", move |_, stream| {
                    let handle = stream.handle();
                    stream.spawn(async move {
                        for _ in 0..number % 7 {
                            tokio::task::yield_now().await;
                        }
                        let name = handle.with(move |_, stream| {
                            let mut headers = stream.headers(Request).expect("headers");
                            headers.add("number", number.to_string());
                        });
                        name.await.expect("the stream waits");
                        match number % 4 {
                            0 => Answer::Continue.into(),
                            1 => {
                                Answer::LocalReply(LocalReply::text(200 + number % 100, "")).into()
                            }
                            2 => panic!("stream {number} on purpose"),
                            _ => Outcome::then(|_: &mut Played, stream| {
                                stream.spawn(async { Answer::Continue });
                                Answer::Running
                            }),
                        }
                    });
                    Answer::Running
                })]);
                bench.headers(Request, true);
                let direction = if matches!(number % 4, 0 | 3) {
                    Request
                } else {
                    Response
                };
                let part = until_out(&mut bench.chain, direction).await;
                assert!(matches!(part, Part::Headers { .. }));
                let stream = bench.chain.stream();
                let named = stream
                    .headers(Request)
                    .and_then(|h| h.text("number").map(str::to_owned));
                assert_eq!(named, Some(number.to_string()));
                let status = match number % 4 {
                    1 => 200 + number % 100,
                    2 => 500,
                    _ => 0,
                };
                assert_eq!(bench.answered().0, status);
                assert_eq!(bench.errors().len(), usize::from(number % 4 == 2));
                bench.chain.finish(EndReason::Done);
            })
        })
        .collect();
    local.block_on(&runtime, async {
        for stream in streams {
            stream.await.expect("every assertion holds");
        }
    });
}

#[test]
fn a_task_that_blocks_stalls_no_other_stream_of_its_thread() {
    let (go, wait) = mpsc::channel::<()>();
    let mut wait = Some(wait);
    let mut blocked = bench([at("decode_headers", move |_, stream| {
        let wait = wait.take();
        stream.spawn(async move {
            wait.expect("once").recv().expect("it is sent");
            Answer::Continue
        });
        Answer::Running
    })]);
    blocked.headers(Request, true);
    let mut other = bench([at("decode_headers", |_, stream| {
        stream.spawn(async { Answer::Continue });
        Answer::Running
    })]);
    other.headers(Request, true);
    assert_eq!(other.until_out(Request), "headers, end");
    assert_eq!(blocked.out(Request), "");
    go.send(()).expect("somebody waits");
    assert_eq!(blocked.until_out(Request), "headers, end");
}
