//! Filters' streams to gRPC services, against services made by hand.

use filters::callout::{CallRefused, GrpcCall, GrpcEvent, GrpcStream};

use super::http::Ended;
use super::*;

fn call(timeout: Option<Duration>) -> GrpcCall {
    GrpcCall {
        cluster: "backend".to_owned(),
        service: "test.Echo".to_owned(),
        method: "Say".to_owned(),
        metadata: Headers::from_iter([("x-key-bin", "AAEC"), ("te", "gzip")]),
        timeout,
    }
}

type Events = UnboundedReceiver<GrpcEvent>;

/// Begins a stream.
fn begin(
    upstreams: &Rc<Upstreams>,
    call: GrpcCall,
) -> Result<(Box<dyn GrpcStream>, Events), CallRefused> {
    let (send, mut events) = unbounded_channel();
    let give = Box::new(move |event| drop(send.send(event)));
    let stream = callouts::grpc(upstreams, call, give, 4096)?;
    assert!(events.try_recv().is_err(), "events come later");
    Ok((stream, events))
}

/// The next events in short, up to this many.
async fn next(events: &mut Events, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..count {
        let headers = |headers: &Headers| {
            let named = headers.pairs().filter(|(name, _)| name.starts_with(b"x-"));
            named
                .map(|(name, value)| format!(" {}={}", name.escape_ascii(), value.escape_ascii()))
                .collect::<String>()
        };
        all.push(match events.recv().await.expect("an event comes") {
            GrpcEvent::InitialMetadata(head) => format!("initial{}", headers(&head)),
            GrpcEvent::Message(message) => format!("message {}", message.escape_ascii()),
            GrpcEvent::TrailingMetadata(trailers) => format!("trailing{}", headers(&trailers)),
            GrpcEvent::Closed(status, words) => format!("closed {status} {words}"),
        });
    }
    all
}

fn framed(message: &str) -> Bytes {
    let length = u32::try_from(message.len())
        .expect("it is short")
        .to_be_bytes();
    [&[0], &length[..], message.as_bytes()].concat().into()
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> Frame<Bytes> {
    let pairs = pairs.iter().map(|&(name, value)| {
        (
            name.parse().expect("a name"),
            value.parse().expect("a value"),
        )
    });
    Frame::trailers(pairs.collect())
}

/// An answer whose head has these headers.
fn answer(body: BoxBody, pairs: &[(&'static str, &'static str)]) -> Response<BoxBody> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert("content-type", "application/grpc".parse().expect("a value"));
    for &(name, value) in pairs {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
    }
    response
}

/// What a service that answers every call so is heard to say.
async fn heard(
    reply: impl Fn() -> Response<BoxBody> + Clone + 'static,
    count: usize,
) -> Vec<String> {
    let server = serve(HTTP2, None, move |_| std::future::ready(reply())).await;
    let upstreams = upstreams(cluster(&[server.address], HTTP2));
    let (mut stream, mut events) = begin(&upstreams, call(None)).expect("the call begins");
    stream.send(Bytes::new(), true).expect("there is room");
    let heard = next(&mut events, count).await;
    drop(stream);
    assert!(events.recv().await.is_none(), "nothing follows");
    heard
}

#[test]
fn messages_go_both_ways_as_they_come() {
    run(async {
        let server = serve(HTTP2, None, |request: Request<Incoming>| async {
            let (parts, mut asked) = request.into_parts();
            assert_eq!(parts.uri.path(), "/test.Echo/Say");
            assert_eq!(parts.uri.authority().unwrap(), "backend");
            assert_eq!(parts.headers["content-type"], "application/grpc");
            assert_eq!(parts.headers["te"], "trailers");
            assert_eq!(parts.headers["grpc-timeout"], "90000000u");
            assert_eq!(parts.headers["x-key-bin"], "AAEC");
            let (send, body) = frames();
            spawn_local(async move {
                // Byte by byte, and each answer before the next question.
                while let Some(frame) = asked.frame().await {
                    for byte in frame.unwrap().into_data().unwrap() {
                        send.send(Frame::data(Bytes::copy_from_slice(&[byte])))
                            .unwrap();
                    }
                }
                send.send(trailers(&[("grpc-status", "0"), ("x-end", "1")]))
                    .unwrap();
            });
            answer(body, &[("x-begin", "1")])
        })
        .await;
        let upstreams = upstreams(cluster(&[server.address], HTTP2));
        let begun = begin(&upstreams, call(Some(Duration::from_secs(90))));
        let (mut stream, mut events) = begun.unwrap();
        assert_eq!(next(&mut events, 1).await, ["initial x-begin=1"]);
        for message in ["one", "", "three"] {
            stream.send(message.into(), false).unwrap();
            assert_eq!(next(&mut events, 1).await, [format!("message {message}")]);
        }
        stream.send("last".into(), true).unwrap();
        let end = ["message last", "trailing x-end=1", "closed 0 "];
        assert_eq!(next(&mut events, 3).await, end);
    });
}

#[test]
fn every_end_is_a_status() {
    run(async {
        let only = || {
            answer(
                full(""),
                &[("grpc-status", "5"), ("grpc-message", "no%20such%C3%A9%zz")],
            )
        };
        let expected = ["initial", "trailing", "closed 5 no such\u{e9}%zz"];
        assert_eq!(heard(only, 3).await, expected);

        let without = || {
            let (send, body) = frames();
            send.send(trailers(&[("x-end", "1")])).unwrap();
            answer(body, &[])
        };
        assert_eq!(
            heard(without, 3).await,
            ["initial", "trailing x-end=1", "closed 2 "]
        );

        let nothing = || answer(full(framed("a")), &[]);
        let expected = [
            "initial",
            "message a",
            "closed 2 the service ended the stream without a status",
        ];
        assert_eq!(heard(nothing, 3).await, expected);

        let half = || {
            let (send, body) = frames();
            send.send(Frame::data(framed("abc").slice(..7))).unwrap();
            send.send(trailers(&[("grpc-status", "0")])).unwrap();
            answer(body, &[])
        };
        let expected = [
            "initial",
            "closed 2 the service ended the stream without the rest of a message",
        ];
        assert_eq!(heard(half, 2).await, expected);

        let compressed = || answer(full(&b"\x01\0\0\0\0"[..]), &[]);
        assert_eq!(
            heard(compressed, 2).await,
            ["initial", "closed 13 the service compressed a message"]
        );

        let large = || answer(full(&b"\0\0\x10\0\x01"[..]), &[]);
        let expected = [
            "initial",
            "closed 8 a message has 1048577 bytes; 1048576 are allowed",
        ];
        assert_eq!(heard(large, 2).await, expected);
    });
}

#[test]
fn an_answer_of_http_alone_is_a_status_too() {
    run(async {
        for (http, grpc) in [
            (200, 2),
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (500, 2),
            (503, 14),
        ] {
            let reply = move || Response::builder().status(http).body(full("")).unwrap();
            let heard = heard(reply, 1).await;
            assert!(
                heard[0].starts_with(&format!("closed {grpc} ")),
                "{heard:?}"
            );
        }
        let closing = serve_connections(|stream| async move { drop(stream) }).await;
        let upstreams = upstreams(cluster(&[closing.address], HTTP2));
        let (_stream, mut events) = begin(&upstreams, call(None)).unwrap();
        let end = next(&mut events, 1).await;
        assert!(end[0].starts_with("closed 14 "), "{end:?}");
    });
}

#[test]
fn a_stream_that_takes_too_long_or_is_dropped_is_broken_off() {
    run(async {
        let (said, mut service) = unbounded_channel();
        let server = serve(HTTP2, None, move |request: Request<Incoming>| {
            let said = said.clone();
            async move {
                said.send("arrived").unwrap();
                let (send, body) = frames();
                spawn_local(async move {
                    let _ended = Ended(said.clone());
                    let end = request.into_body().collect().await;
                    said.send(if end.is_ok() { "closed" } else { "broken off" })
                        .unwrap();
                    drop(send);
                });
                answer(body, &[])
            }
        })
        .await;
        let upstreams = upstreams(cluster(&[server.address], HTTP2));
        let (stream, mut events) = begin(&upstreams, call(None)).unwrap();
        assert_eq!(next(&mut events, 1).await, ["initial"]);
        drop(stream);
        assert!(events.recv().await.is_none());
        for said in ["arrived", "broken off", "ended"] {
            assert_eq!(service.recv().await, Some(said));
        }
        tokio::time::pause();
        let timeout = Some(Duration::from_secs(3));
        let (_stream, mut events) = begin(&upstreams, call(timeout)).unwrap();
        let end = next(&mut events, 2).await;
        assert_eq!(end, ["initial", "closed 4 there was no answer in time"]);
        for said in ["arrived", "broken off", "ended"] {
            assert_eq!(service.recv().await, Some(said));
        }
    });
}

#[test]
fn a_stream_that_is_dropped_in_an_event_hears_no_other() {
    run(async {
        let both = || answer(full([framed("a"), framed("b")].concat()), &[]);
        let server = serve(HTTP2, None, move |_| std::future::ready(both())).await;
        let upstreams = upstreams(cluster(&[server.address], HTTP2));
        let stream: Rc<RefCell<Option<Box<dyn GrpcStream>>>> = Rc::default();
        let (send, mut events) = unbounded_channel();
        let held = stream.clone();
        let give = Box::new(move |event| {
            if matches!(event, GrpcEvent::Message(_)) {
                held.take();
            }
            send.send(event).unwrap();
        });
        let begun = callouts::grpc(&upstreams, call(None), give, 4096).unwrap();
        stream.replace(Some(begun));
        assert_eq!(next(&mut events, 2).await, ["initial", "message a"]);
        assert!(events.recv().await.is_none());
    });
}

#[test]
fn messages_that_wait_to_be_sent_are_refused_beyond_the_limit() {
    run(async {
        let server = serve(HTTP2, None, |request: Request<Incoming>| async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            answer(full(framed(&body.len().to_string())), &[])
        })
        .await;
        let upstreams = upstreams(cluster(&[server.address], HTTP2));
        let (mut stream, mut events) = begin(&upstreams, call(None)).unwrap();
        // 1,000 bytes and what a message costs beside, within 4,096.
        let message = Bytes::from(vec![b'x'; 1000]);
        for _ in 0..3 {
            assert_eq!(stream.send(message.clone(), false), Ok(()));
        }
        assert_eq!(stream.send(message.clone(), true), Err(CallRefused::Full));
        assert_eq!(
            stream.send("x".into(), false),
            Ok(()),
            "a small one has room"
        );
        // Once they are sent there is room again.
        while stream.send(message.clone(), true).is_err() {
            tokio::task::yield_now().await;
        }
        let sent = 4 * (1000 + 5) + 1 + 5;
        assert_eq!(
            next(&mut events, 2).await,
            ["initial".to_owned(), format!("message {sent}")]
        );
    });
}

#[test]
fn what_cannot_be_called_is_refused() {
    run(async {
        let upstreams_ = upstreams(cluster(&[], UpstreamProtocol::Http1));
        let refused = begin(&upstreams_, call(None)).map(drop).unwrap_err();
        let words = "the cluster `backend` speaks no HTTP/2".to_owned();
        assert_eq!(refused, CallRefused::BadRequest(words));
        let upstreams = upstreams(cluster(&[], HTTP2));
        for name in [":path", "a b"] {
            let mut bad = call(None);
            bad.metadata.add(name, "/");
            let refused = begin(&upstreams, bad).map(drop).unwrap_err();
            assert!(matches!(refused, CallRefused::BadRequest(_)), "{refused:?}");
        }
        let mut unknown = call(None);
        unknown.cluster = "other".to_owned();
        let refused = begin(&upstreams, unknown).map(drop).unwrap_err();
        assert_eq!(refused, CallRefused::UnknownCluster);
    });
}

#[test]
fn timeouts_have_at_most_eight_digits() {
    for (timeout, expected) in [
        (Duration::ZERO, "0n"),
        (Duration::from_nanos(99_999_999), "99999999n"),
        (Duration::from_millis(100), "100000u"),
        (Duration::from_secs(100), "100000m"),
        (Duration::from_secs(100_000), "100000S"),
        (Duration::from_secs(100_000_000), "1666666M"),
        (Duration::MAX, "99999999H"),
    ] {
        assert_eq!(callouts::timeout_text(timeout), expected);
    }
}
