//! Filters' requests: when they are answered, and with what.

use filters::callout::{CallFailed, CallRefused, HttpAnswer, HttpCall, Pending};
use tokio::sync::oneshot;

use super::*;

type Answer = Result<HttpAnswer, CallFailed>;

fn call(timeout: Option<Duration>) -> HttpCall {
    HttpCall {
        cluster: "backend".to_owned(),
        headers: Headers::from_iter([(":method", "POST"), (":path", "/a"), (":authority", "b")]),
        body: Bytes::from_static(b"question"),
        trailers: Headers::from_iter([("x-end", "asked")]),
        timeout,
    }
}

/// Begins a call; what is received is its answer, or that it was given up.
fn begin(
    upstreams: &Rc<Upstreams>,
    call: HttpCall,
) -> Result<(Box<dyn Pending>, oneshot::Receiver<Answer>), CallRefused> {
    let (send, mut receive) = oneshot::channel();
    let done = Box::new(|answer| drop(send.send(answer)));
    let pending = callouts::http(upstreams, call, done)?;
    assert!(receive.try_recv().is_err(), "an answer comes later");
    Ok((pending, receive))
}

#[test]
fn an_answer_has_headers_body_and_trailers() {
    run(async {
        let server = serve(HTTP2, None, |request: Request<Incoming>| async {
            let asked = request.into_body().collect().await.unwrap();
            assert_eq!(asked.trailers().unwrap()["x-end"], "asked");
            let (send, body) = frames();
            send.send(Frame::data(asked.to_bytes())).unwrap();
            let trailers = [("x-end".parse().unwrap(), "answered".parse().unwrap())];
            send.send(Frame::trailers(trailers.into_iter().collect()))
                .unwrap();
            Response::builder().status(418).body(body).unwrap()
        })
        .await;
        let upstreams = upstreams(cluster(&[server.address], HTTP2));
        let (_pending, answer) = begin(&upstreams, call(None)).unwrap();
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.headers.text(":status"), Some("418"));
        assert_eq!(answer.body, "question");
        assert_eq!(answer.trailers, Headers::from_iter([("x-end", "answered")]));
    });
}

#[test]
fn what_is_no_request_is_refused() {
    run(async {
        let upstreams = upstreams(cluster(&[], HTTP2));
        let mut unknown = call(None);
        unknown.cluster = "other".to_owned();
        let refused = begin(&upstreams, unknown).map(drop).unwrap_err();
        assert_eq!(refused, CallRefused::UnknownCluster);
        for name in [":method", ":path", ":authority"] {
            let mut without = call(None);
            without.headers.remove(name);
            let refused = begin(&upstreams, without).map(drop).unwrap_err();
            assert_eq!(
                refused,
                CallRefused::BadRequest(format!("there is no `{name}`"))
            );
        }
        let mut bad = call(None);
        bad.trailers.add("a b", "");
        assert!(matches!(
            begin(&upstreams, bad).map(drop),
            Err(CallRefused::BadRequest(_))
        ));
    });
}

#[test]
fn a_call_without_an_answer_fails() {
    run(async {
        let silent = |_| std::future::pending();
        let server = serve(UpstreamProtocol::Http1, None, silent).await;
        let silent = upstreams(cluster(&[server.address], UpstreamProtocol::Http1));
        tokio::time::pause();
        let (_pending, answer) = begin(&silent, call(Some(Duration::from_secs(3)))).unwrap();
        assert_eq!(answer.await.unwrap().unwrap_err(), CallFailed::Timeout);
        tokio::time::resume();
        let closing = serve_connections(|stream| async move { drop(stream) }).await;
        for endpoints in [&[closing.address][..], &[]] {
            let upstreams = upstreams(cluster(endpoints, UpstreamProtocol::Http1));
            let (_pending, answer) = begin(&upstreams, call(None)).unwrap();
            assert_eq!(answer.await.unwrap().unwrap_err(), CallFailed::Reset);
        }
    });
}

#[test]
fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    run(async {
        for (size, fits) in [
            (callouts::MAX_ANSWER, true),
            (callouts::MAX_ANSWER + 1, false),
        ] {
            let server = serve(HTTP2, None, move |_| async move {
                Response::new(full(vec![0; size]))
            })
            .await;
            let upstreams = upstreams(cluster(&[server.address], HTTP2));
            let (_pending, answer) = begin(&upstreams, call(None)).unwrap();
            match answer.await.unwrap() {
                Ok(answer) => assert!(fits && answer.body.len() == size),
                Err(error) => assert!(!fits && error == CallFailed::TooLarge),
            }
        }
    });
}

#[test]
fn a_call_that_is_dropped_is_given_up() {
    run(async {
        for protocol in [UpstreamProtocol::Http1, HTTP2] {
            let (arrived, mut events) = unbounded_channel();
            let server = serve(protocol, None, move |_| {
                let arrived = arrived.clone();
                async move {
                    arrived.send("arrived").unwrap();
                    let _ended = Ended(arrived);
                    std::future::pending().await
                }
            })
            .await;
            let upstreams = upstreams(cluster(&[server.address], protocol));
            let (pending, answer) = begin(&upstreams, call(None)).unwrap();
            assert_eq!(events.recv().await, Some("arrived"));
            drop(pending);
            answer.await.unwrap_err();
            assert_eq!(events.recv().await, Some("ended"));
        }
    });
}

/// Says when it is dropped.
pub(super) struct Ended(pub(super) UnboundedSender<&'static str>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send("ended");
    }
}
