//! Requests of the proxy: which connection they take, and what they end with.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;

/// Answers with what was asked for.
async fn echo(request: Request<Incoming>) -> Response<BoxBody> {
    let (parts, body) = request.into_parts();
    let host = match parts.headers.get("host") {
        Some(host) => host.to_str().expect("the host is text"),
        None => parts.uri.authority().expect("there is a host").as_str(),
    };
    let what = format!(
        "{:?} {} {host} {:?} ",
        parts.version,
        parts.uri.path(),
        parts.headers["x-one"]
    );
    let body = body.collect().await.expect("the body arrives").to_bytes();
    Response::new(full([what.as_bytes(), &body].concat()))
}

/// Reads the head of one request, of which nobody asks anything but its end.
async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request has a head"));
    }
}

/// A request without a body.
fn get(path: &str) -> Request<BoxBody> {
    let mut request = post(path, full(""));
    *request.method_mut() = ::http::Method::GET;
    request
}

#[test]
fn a_request_reaches_an_endpoint_of_either_protocol_and_connections_serve_many() {
    run(async {
        for (protocol, version) in [(UpstreamProtocol::Http1, "HTTP/1.1"), (HTTP2, "HTTP/2.0")] {
            let server = serve(protocol, None, echo).await;
            let (_all, backend) = backend(cluster(&[server.address], protocol));
            for path in ["/a", "/b", "/c"] {
                let (response, who) = backend.request(post(path, full("body"))).await.unwrap();
                assert_eq!(who, server.address);
                let expected = format!("{version} {path} example.com \"1\" body");
                assert_eq!(text(response).await, expected);
            }
            assert_eq!(server.taken.get(), 1, "{version}");
        }
    });
}

#[test]
fn an_answer_that_is_not_read_keeps_its_connection_from_others() {
    run(async {
        let server = serve(UpstreamProtocol::Http1, None, |_| async {
            let (send, body) = frames();
            // The sender lives on in the body's task: the answer has no end.
            send.send(Frame::data("a".into())).unwrap();
            std::mem::forget(send);
            Response::new(body)
        })
        .await;
        let (_all, backend) = backend(cluster(&[server.address], UpstreamProtocol::Http1));
        let one = backend.request(get("/")).await.unwrap();
        let two = backend.request(get("/")).await.unwrap();
        assert_eq!(server.taken.get(), 2);
        drop((one, two));
        server
            .open
            .clone()
            .wait_for(|open| *open == 0)
            .await
            .unwrap();
    });
}

#[test]
fn a_connection_that_the_endpoint_closed_is_replaced() {
    run(async {
        let server = serve_connections(|mut stream| async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        let (_all, backend) = backend(cluster(&[server.address], UpstreamProtocol::Http1));
        for taken in 1..=5 {
            let (response, _) = backend.request(get("/")).await.unwrap();
            assert_eq!(text(response).await, "ok");
            assert_eq!(server.taken.get(), taken);
        }
    });
}

#[test]
fn a_request_that_was_sent_is_not_sent_again() {
    run(async {
        let server = serve_connections(|mut stream| async move {
            read_head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
            read_head(&mut stream).await;
        })
        .await;
        let (_all, backend) = backend(cluster(&[server.address], UpstreamProtocol::Http1));
        let (response, _) = backend.request(get("/")).await.unwrap();
        assert_eq!(text(response).await, "ok");
        let error = backend.request(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Reset(_)), "{error}");
        assert_eq!(server.taken.get(), 1);
    });
}

#[test]
fn endpoints_take_turns_and_one_without_connections_is_passed_over() {
    run(async {
        let one = serve(UpstreamProtocol::Http1, None, echo).await;
        let two = serve(UpstreamProtocol::Http1, None, echo).await;
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let endpoints = [one.address, two.address];
        let (_all, backend_) = backend(cluster(&endpoints, UpstreamProtocol::Http1));
        for who in [0, 1, 0, 1] {
            let (_, by) = backend_.request(get("/")).await.unwrap();
            assert_eq!(by, endpoints[who]);
        }
        let (_all, backend_) = backend(cluster(&[closed, one.address], UpstreamProtocol::Http1));
        for _ in 0..4 {
            assert_eq!(backend_.request(get("/")).await.unwrap().1, one.address);
        }
        let (_all, backend_) = backend(cluster(&[closed], HTTP2));
        let error = backend_.request(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Connect(_)), "{error}");
        let (_all, backend_) = backend(cluster(&[], HTTP2));
        let error = backend_.request(get("/")).await.unwrap_err();
        assert_eq!(error, UpstreamError::NoEndpoints);
    });
}

#[test]
fn streams_share_a_connection_as_far_as_both_sides_allow() {
    run(async {
        let go = Rc::new(Notify::new());
        let (arrived, mut arrivals) = unbounded_channel();
        let wait = go.clone();
        let server = serve(HTTP2, None, move |_| {
            arrived.send(()).unwrap();
            let wait = wait.clone();
            async move {
                wait.notified().await;
                Response::new(full("ok"))
            }
        })
        .await;
        let mut limited = cluster(&[server.address], HTTP2);
        limited.protocol = UpstreamProtocol::Http2(Http2Options {
            max_concurrent_streams: Some(2),
            ..Http2Options::default()
        });
        let (_all, backend) = backend(limited);
        let ask = |_| {
            let backend = backend.clone();
            spawn_local(async move { text(backend.request(get("/")).await.unwrap().0).await })
        };
        let asked: Vec<_> = (0..3).map(ask).collect();
        for _ in 0..3 {
            arrivals.recv().await.unwrap();
        }
        assert_eq!(server.taken.get(), 2);
        go.notify_waiters();
        for answer in asked {
            assert_eq!(answer.await.unwrap(), "ok");
        }
    });
}

#[test]
fn an_idle_connection_is_closed_after_a_time() {
    run(async {
        for protocol in [UpstreamProtocol::Http1, HTTP2] {
            let mut server = serve(protocol, None, echo).await;
            let (_all, backend) = backend(cluster(&[server.address], protocol));
            text(backend.request(get("/")).await.unwrap().0).await;
            tokio::time::pause();
            tokio::time::sleep(IDLE_TIMEOUT / 2).await;
            assert_eq!(*server.open.borrow(), 1);
            tokio::time::sleep(IDLE_TIMEOUT).await;
            server.open.wait_for(|open| *open == 0).await.unwrap();
            tokio::time::resume();
        }
    });
}

#[test]
fn a_connection_must_come_about_in_time() {
    run(async {
        // Who says nothing agrees on no TLS.
        let server = serve_connections(|mut stream| async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let mut silent = cluster(&[server.address], UpstreamProtocol::Http1);
        silent.tls = Some(tls::upstream_tls(None, &[]));
        let (_all, backend) = backend(silent);
        tokio::time::pause();
        let error = backend.request(get("/")).await.unwrap_err();
        assert_eq!(error, UpstreamError::ConnectTimeout);
        assert_eq!(
            backend.connect().await.unwrap_err(),
            UpstreamError::ConnectTimeout
        );
    });
}

/// A body of this many pieces, each of 64 KiB, that counts those that were taken.
struct Pieces(Rc<Cell<usize>>, usize);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let taken = self.0.get();
        Poll::Ready((taken < self.1).then(|| {
            self.0.set(taken + 1);
            Ok(Frame::data(Bytes::from_static(&[0; 1 << 16])))
        }))
    }
}

#[test]
fn a_body_waits_for_who_does_not_read_it() {
    const PIECES: usize = 1024;
    run(async {
        for protocol in [UpstreamProtocol::Http1, HTTP2] {
            let go = Rc::new(Notify::new());
            let wait = go.clone();
            let server = serve(protocol, None, move |request: Request<Incoming>| {
                let wait = wait.clone();
                async move {
                    wait.notified().await;
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Response::new(full(body.len().to_string()))
                }
            })
            .await;
            let (_all, backend) = backend(cluster(&[server.address], protocol));
            let taken = Rc::new(Cell::new(0));
            let body = Box::pin(Pieces(taken.clone(), PIECES));
            let asked = spawn_local(async move {
                text(backend.request(post("/", body)).await.unwrap().0).await
            });
            // Time that stands still goes on once nobody has anything to do.
            tokio::time::pause();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(taken.get() < PIECES / 2, "{}", taken.get());
            tokio::time::resume();
            go.notify_one();
            assert_eq!(asked.await.unwrap(), (PIECES << 16).to_string());
        }
    });
}

#[test]
fn an_endpoint_is_asked_by_its_name_where_the_request_says_so() {
    run(async {
        let server = serve(UpstreamProtocol::Http1, None, echo).await;
        let mut named = cluster(&[server.address], UpstreamProtocol::Http1);
        named.endpoints[0].hostname = "service.test".to_owned();
        let (_all, backend) = backend(named);
        let mut request = get("/");
        request.extensions_mut().insert(AskByEndpointName);
        let (response, _) = backend.request(request).await.unwrap();
        assert_eq!(text(response).await, "HTTP/1.1 / service.test \"1\" ");
    });
}

#[test]
fn a_raw_connection_carries_bytes_both_ways() {
    run(async {
        let server = serve_connections(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        })
        .await;
        let (_all, backend) = backend(cluster(&[server.address], UpstreamProtocol::Http1));
        let (mut stream, who) = backend.connect().await.unwrap();
        assert_eq!(who, server.address);
        stream.write_all(b"there and back").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).await.unwrap();
        assert_eq!(back, "there and back");
    });
}
