//! A proxy in this process, services for it, and a client that speaks HTTP/1.1 by hand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use engine_core::error::Result;
use filters::Level;
use filters::metrics::Metrics;
use proxy::{Listening, Options, Proxy};
use proxy_wasm::ProxyWasm;
use tempfile::TempDir;

/// Makes a test of each case, which is a function of the engine's name, on each runtime.
macro_rules! on_each_engine {
    ($($case:ident)*) => {
        mod wasmtime {
            $(#[test] fn $case() { super::$case("wasmtime"); })*
        }

        mod wasmer {
            $(#[test] fn $case() { super::$case("wasmer"); })*
        }
    };
}
pub(crate) use on_each_engine;

pub(crate) use crate::yaml::{PATIENT, clusters, config, direct, wasm};

/// A proxy that serves until this is dropped.
pub(crate) struct Running {
    pub(crate) folder: TempDir,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    pub(crate) metrics: Arc<Metrics>,
    listening: Vec<Listening>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Options that note what is logged.
pub(crate) fn options(
    engine: &str,
    lines: &Arc<Mutex<Vec<String>>>,
    metrics: &Arc<Metrics>,
    workers: usize,
) -> Options {
    let lines = Arc::clone(lines);
    Options {
        engine: engine.into(),
        concurrency: workers,
        level: Level::Trace,
        log: Arc::new(move |level: Level, name: &str, line: &str| {
            let line = format!("{} {name}: {line}", level.name());
            lines.lock().expect("no panic").push(line);
        }),
        wasm: Arc::new(ProxyWasm::new(proxy_wasm::Options::default())),
        metrics: Arc::clone(metrics),
    }
}

impl Running {
    /// Serves a configuration in which `FOLDER` is a folder that has these modules.
    pub(crate) fn new(config: &str, modules: &[(&str, &str)], workers: usize) -> Self {
        Self::on("wasmtime", config, modules, workers)
    }

    /// The same with WASM filters on an engine.
    pub(crate) fn on(engine: &str, config: &str, modules: &[(&str, &str)], workers: usize) -> Self {
        Self::try_on(engine, config, modules, workers).expect("it is served")
    }

    pub(crate) fn try_on(
        engine: &str,
        config: &str,
        modules: &[(&str, &str)],
        workers: usize,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, code) in modules {
            let code = wat::parse_str(code).expect("a module");
            std::fs::write(folder.path().join(name), code).expect("written");
        }
        let lines = Arc::default();
        let metrics = Arc::default();
        let mut running = Self {
            folder,
            listening: Vec::new(),
            stop: None,
            thread: None,
            lines,
            metrics,
        };
        // Whoever tests a deadline says which.
        let patience = ["", PATIENT][usize::from(!config.contains("extengine:"))];
        running.write(&format!("{config}\n{patience}"));
        let options = options(engine, &running.lines, &running.metrics, workers);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (started, listening) = mpsc::channel();
        let path = running.path();
        let thread = std::thread::spawn(move || {
            let wait = async { drop(stopped.await) };
            Proxy::new(&path, options)?.run(
                |listening, _| started.send(listening.to_vec()).expect("waited for"),
                wait,
            )
        });
        match listening.recv() {
            Ok(listening) => {
                running.listening = listening;
                running.stop = Some(stop);
                running.thread = Some(thread);
                Ok(running)
            }
            Err(_) => Err(thread
                .join()
                .expect("no panic")
                .expect_err("it did not start")),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("proxy.yaml")
    }

    /// Puts another configuration in the place of the last one, at once.
    pub(crate) fn write(&self, config: &str) {
        let folder = self.folder.path().to_str().expect("text");
        let next = self.folder.path().join("next.yaml");
        std::fs::write(&next, config.replace("FOLDER", folder)).expect("written");
        std::fs::rename(next, self.path()).expect("renamed");
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let found = self
            .listening
            .iter()
            .find(|listening| listening.name == name);
        found.expect("a listener of this name").address
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        Client::new(self.address("main")).get(path, &[])
    }

    /// Waits until a line with this is logged so many times.
    pub(crate) fn wait_for(&self, what: &str, times: usize) {
        for _ in 0..1000 {
            let lines = self.lines.lock().expect("no panic");
            if lines.iter().filter(|line| line.contains(what)).count() >= times {
                return;
            }
            drop(lines);
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("`{what}` was not logged {times} times: {:?}", self.lines);
    }

    /// Waits until something is so.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..1000 {
            if is_so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("never: {what}; {:?}", self.lines);
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metrics.get(name).map_or(0, |metric| metric.get())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("no panic").expect("it ended well");
            }
        }
    }
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// A client's connection.
pub(crate) struct Client<S: Read + Write = TcpStream>(BufReader<S>);

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("a connection");
        let most = Some(Duration::from_secs(20));
        socket.set_read_timeout(most).expect("set");
        Self(BufReader::new(socket))
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on a connection that is there.
    pub(crate) fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, None)
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: example.com\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.raw(head.as_bytes());
        self.raw(body.unwrap_or("").as_bytes());
        self.response()
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        // A server that has answered already need not read on.
        let _ = self.0.get_mut().write_all(bytes);
        let _ = self.0.get_mut().flush();
    }

    pub(crate) fn response(&mut self) -> Response {
        let head = read_head(&mut self.0).expect("a response");
        let mut words = head.first.splitn(3, ' ').skip(1);
        let status = words.next().and_then(|word| word.parse().ok());
        let reason = words.next().unwrap_or("").to_owned();
        let body = read_body(&mut self.0, &head.headers);
        Response {
            status: status.expect("a status"),
            reason,
            headers: head.headers,
            body,
        }
    }
}

struct Head {
    first: String,
    headers: BTreeMap<String, String>,
}

fn read_head(from: &mut impl BufRead) -> Option<Head> {
    let line = |from: &mut dyn BufRead| {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    };
    let first = line(from)?;
    let mut headers = BTreeMap::new();
    loop {
        let line = line(from)?;
        match line.split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => return Some(Head { first, headers }),
        };
    }
}

fn read_body(from: &mut impl BufRead, headers: &BTreeMap<String, String>) -> String {
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().expect("a number"), 0);
        from.read_exact(&mut body).expect("a body");
    } else if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        loop {
            let mut line = String::new();
            from.read_line(&mut line).expect("a chunk");
            let len = usize::from_str_radix(line.trim(), 16).expect("a chunk's length");
            let mut chunk = vec![0; len + 2];
            from.read_exact(&mut chunk).expect("a chunk");
            if len == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..len]);
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// A service that answers each request with its first line, its headers and its body, as text.
pub(crate) fn echo() -> SocketAddr {
    service(|head, body| {
        let mut text = format!("{}\n", head.0);
        for (name, value) in head.1 {
            text.push_str(&format!("{name}={value}\n"));
        }
        text + body
    })
}

/// A service that answers with what a function makes of a request.
pub(crate) fn service(
    answer: impl Fn((&str, &BTreeMap<String, String>), &str) -> String + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut from = BufReader::new(socket);
                while let Some(head) = read_head(&mut from) {
                    let body = read_body(&mut from, &head.headers);
                    let text = answer((&head.first, &head.headers), &body);
                    let response = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-service: here\r\n\r\n{text}",
                        text.len()
                    );
                    if from.get_mut().write_all(response.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A filter in WAT: its imports and everything else.
pub(crate) fn module(imports: &str, rest: &str) -> String {
    format!(
        r#"(module {imports}
          (memory (export "memory") 2)
          (global $heap (mut i32) (i32.const 32768))
          (func (export "malloc") (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (global.get $heap))
            (global.set $heap (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
          (func (export "proxy_abi_version_0_2_1"))
          {rest})"#
    )
}
