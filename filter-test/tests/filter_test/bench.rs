//! What is wrong is told: wrong expectations, and filters that hang, trap, panic, hold or differ.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use filter_test::{Cases, Lua, Native, Report, run};
use filters::callout::{GrpcCall, GrpcStream, HttpCall, Pending};
use filters::metrics::MetricKind;
use filters::{Direction, Filter, Headers, Level, LocalReply, Next, StreamRef, Verdict};

use crate::on_both;

/// Does something of everything that can be looked at; the path says what becomes of the request.
#[derive(Default)]
struct Everything {
    call: RefCell<Option<Box<dyn Pending>>>,
    stream: RefCell<Option<Box<dyn GrpcStream>>>,
}

impl Filter for Everything {
    fn on_headers(&mut self, stream: &StreamRef, direction: Direction, _: bool) -> Verdict {
        let path = stream.headers(direction).and_then(|mut headers| {
            headers.add("x-a", "1");
            headers.text(":path").map(str::to_owned)
        });
        if direction == Direction::Response {
            return Verdict::Continue;
        }
        let worker = stream.worker();
        worker.log(Level::Info, "everything", "hello");
        if let Some(gauge) = worker.metrics().define(MetricKind::Gauge, "n") {
            gauge.add(-1);
        }
        stream.properties().insert(b"a\0b".to_vec(), "p".into());
        match path.as_deref() {
            Some("/reply") => stream.local_reply(LocalReply::text(403, "no").because("why")),
            Some("/bare") => stream.local_reply(LocalReply::default()),
            Some("/hold") => return Verdict::Hold(Next::Resumed),
            Some("/panic") => panic!("on purpose"),
            Some("/close") => stream.close(),
            Some("/call") => {
                let call = HttpCall {
                    cluster: "c".into(),
                    headers: Headers::from_iter([(":path", "/p"), ("x-c", "2")]),
                    body: "asked".into(),
                    trailers: Headers::default(),
                    timeout: Some(Duration::from_millis(7)),
                };
                *self.call.borrow_mut() = worker.http(call, Box::new(|_| {})).ok();
            }
            Some("/grpc") => {
                let call = GrpcCall {
                    cluster: "g".into(),
                    service: "a.B".into(),
                    method: "C".into(),
                    metadata: Headers::from_iter([("x-m", "3")]),
                    timeout: None,
                };
                let log = Rc::clone(worker);
                let events = move |event| log.log(Level::Info, "", &format!("{event:?}"));
                if let Ok(mut stream) = worker.grpc(call, Box::new(events)) {
                    stream.send("asked".into(), true).expect("there is room");
                    *self.stream.borrow_mut() = Some(stream);
                }
            }
            _ => {}
        }
        Verdict::Continue
    }
}

/// The steps of one case, played with [`Everything`].
fn played(steps: &str) -> Report {
    let cases = Cases::parse(&format!("[[case]]\nname = \"it\"\n{steps}")).expect("cases");
    let plugin = Native("native", || {
        Box::new(Everything::default()) as Box<dyn Filter>
    });
    run(&cases, &[&plugin])
}

/// A request to a path, and what is expected of it.
fn request(path: &str, expect: &str) -> String {
    format!("[[case.step]]\nrequest = {{ headers = {{ \":path\" = \"{path}\" }} }}\n{expect}")
}

/// Everything that failed.
fn failures(report: &Report) -> Vec<String> {
    let failures = report.cases.iter().flat_map(|case| &case.failures);
    failures.map(ToString::to_string).collect()
}

#[test]
fn a_wrong_expectation_is_told_with_its_place_and_what_was_found() {
    let right_and_wrong = [
        (
            "/",
            "request = \"passed\"",
            "request = \"held\"",
            "request: expected held, found passed",
        ),
        (
            "/",
            "response = \"nothing\"",
            "response = \"passed\"",
            "response: expected passed, found nothing",
        ),
        (
            "/",
            "request_headers = { x-a = \"1\" }",
            "request_headers = { x-a = \"2\" }",
            "request header `x-a`: expected \"2\", found \"1\"",
        ),
        (
            "/",
            "request_headers = { x-a = true, x-b = false }",
            "request_headers = { x-a = false }",
            "request header `x-a`: expected nothing, found \"1\"",
        ),
        (
            "/",
            "request_headers = { x-a = [\"1\"] }",
            "request_headers = { x-b = true }",
            "request header `x-b`: expected something, found nothing",
        ),
        (
            "/",
            "request_trailers = { t = false }",
            "request_trailers = { t = \"\" }",
            "request trailer `t`: expected \"\", found nothing",
        ),
        (
            "/",
            "request_body = \"\"",
            "request_body = \"x\"",
            "request body: expected \"x\", found \"\"",
        ),
        (
            "/",
            "request_body = \"\"",
            "request_body = { hex = \"ff\" }",
            "request body: expected hex ff, found \"\"",
        ),
        (
            "/",
            "request_body = false",
            "request_body = true",
            "request body: expected something, found \"\"",
        ),
        (
            "/",
            "response_headers = { a = false }",
            "response_headers = { a = \"b\" }",
            "response header `a`: expected \"b\", found nothing",
        ),
        (
            "/",
            "response_trailers = { a = false }",
            "response_trailers = { a = [\"b\", \"c\"] }",
            "response trailer `a`: expected [\"b\", \"c\"], found nothing",
        ),
        (
            "/reply",
            "response_body = { contains = \"o\" }",
            "response_body = { contains = \"x\" }",
            "response body: expected \"x\" in it, found \"no\"",
        ),
        (
            "/reply",
            "response_body = true",
            "response_body = false",
            "response body: expected nothing, found \"no\"",
        ),
        (
            "/reply",
            "request = \"answered\"",
            "request = \"passed\"",
            "request: expected passed, found answered",
        ),
        (
            "/reply",
            "reply.status = 403",
            "reply.status = 401",
            "reply, status: expected 401, found 403",
        ),
        (
            "/reply",
            "reply.body = \"no\"",
            "reply.body = \"yes\"",
            "reply, body: expected \"yes\", found \"no\"",
        ),
        (
            "/reply",
            "reply.headers = { content-length = \"2\" }",
            "reply.headers = { content-length = \"3\" }",
            "reply, header `content-length`: expected \"3\", found \"2\"",
        ),
        (
            "/reply",
            "reply.details = \"why\"",
            "reply.details = \"so\"",
            "reply, details: expected \"so\", found \"why\"",
        ),
        (
            "/reply",
            "reply = { body = true, details = true }",
            "reply = { body = true, details = false }",
            "reply, details: expected nothing, found \"why\"",
        ),
        (
            "/bare",
            "reply = { body = false, details = false }",
            "reply = { body = true }",
            "reply, body: expected something, found \"\"",
        ),
        (
            "/",
            "request = \"passed\"",
            "reply.status = 200",
            "reply: expected one, found none",
        ),
        (
            "/",
            "log = [\"info hello\"]",
            "log = [\"bye\"]",
            "log: expected \"bye\" in it, found [\"info hello\"]",
        ),
        (
            "/",
            "no_log = [\"bye\"]",
            "no_log = [\"hell\"]",
            "log: expected no \"hell\" in it, found \"info hello\"",
        ),
        (
            "/",
            "metrics = { n = -1 }",
            "metrics = { n = 0 }",
            "metric `n`: expected 0, found -1",
        ),
        (
            "/",
            "metrics = { n = -1 }",
            "metrics = { m = 0 }",
            "metric `m`: expected 0, found nothing",
        ),
        (
            "/",
            "properties = { \"a.b\" = \"p\" }",
            "properties = { \"a.b\" = \"q\" }",
            "property `a.b`: expected \"q\", found \"p\"",
        ),
        (
            "/",
            "shared = { k = false }",
            "shared = { k = \"v\" }",
            "shared data `k`: expected \"v\", found nothing",
        ),
        (
            "/close",
            "closed = true",
            "closed = false",
            "closed: expected false, found true",
        ),
        (
            "/panic",
            "failure = \"on purpose\"",
            "failure = \"else\"",
            "the plugin: expected a failure with \"else\", found ",
        ),
        (
            "/",
            "request = \"passed\"",
            "failure = \"else\"",
            "the plugin: expected a failure with \"else\", found no failure",
        ),
    ];
    for (path, right, wrong, told) in right_and_wrong {
        let report = played(&request(path, &format!("expect.{right}")));
        assert!(report.is_ok(), "{right}: {report}");
        let report = played(&request(path, &format!("expect.{wrong}")));
        let [failure] = &failures(&report)[..] else {
            panic!("{wrong}: {report}");
        };
        assert!(
            failure.starts_with(&format!("step 1 (line 3), {told}")),
            "{wrong}: {failure}"
        );
        assert!(!report.is_ok());
    }
}

#[test]
fn a_wrong_callout_is_told() {
    let right = "cluster = \"c\", path = \"/p\", headers = { x-c = \"2\" }, body = \"asked\", timeout_ms = 7";
    let step = |callout: &str| {
        let call = request("/call", "");
        played(&format!("{call}[[case.step]]\ncallout = {{ {callout} }}"))
    };
    let report = step(right);
    assert!(report.is_ok(), "{report}");
    let wrongs = [
        (
            "cluster = \"d\"",
            "callout, cluster: expected \"d\", found \"c\"",
        ),
        (
            "path = \"/q\"",
            "callout, path: expected \"/q\", found \"/p\"",
        ),
        (
            "headers = { x-c = false }",
            "callout, header `x-c`: expected nothing, found \"2\"",
        ),
        (
            "body = { contains = \"x\" }",
            "callout, body: expected \"x\" in it, found \"asked\"",
        ),
        (
            "cluster = false",
            "callout, cluster: expected nothing, found \"c\"",
        ),
        ("timeout_ms = 8", "callout, timeout_ms: expected 8, found 7"),
    ];
    for (wrong, told) in wrongs {
        let found = failures(&step(wrong));
        assert_eq!(found, [format!("step 2 (line 5), {told}")]);
    }
    let none = played("[[case.step]]\ncallout = {}");
    assert_eq!(
        failures(&none),
        ["step 1 (line 3), callout: expected a call, found nothing"]
    );
    let unexpected = played(&request("/call", ""));
    assert_eq!(
        failures(&unexpected),
        ["callouts at the end: expected a step `callout` for each, found a call to cluster \"c\""]
    );
    let call = request("/call", "");
    let late = played(&format!(
        "{call}[[case.step]]\nend = \"reset\"\n[[case.step]]\ncallout.failed = \"timeout\""
    ));
    assert_eq!(
        failures(&late),
        ["step 3 (line 7), callout: expected a call under way, found one that was given up"]
    );
}

#[test]
fn a_grpc_call_is_looked_at_and_answered_event_by_event() {
    let step = |callout: &str, expect: &str| {
        let call = request("/grpc", "");
        played(&format!(
            "{call}[[case.step]]\ncallout = {{ {callout} }}\n{expect}"
        ))
    };
    let right =
        r#"cluster = "g", service = "a.B", method = "C", headers = { x-m = "3" }, body = "asked""#;
    let answer = r#"answer = { headers = { i = "1" }, body = ["one", "two"], trailers = { t = "2" }, grpc_status = 5 }"#;
    let told = r#"expect.log = ["InitialMetadata", "Message(b\"one\")", "Message(b\"two\")", "TrailingMetadata", "Closed(5"]"#;
    let report = step(&format!("{right}, {answer}"), told);
    assert!(report.is_ok(), "{report}");
    let report = step("failed = \"timeout\"", "expect.log = [\"Closed(4\"]");
    assert!(report.is_ok(), "{report}");
    let found = failures(&step(
        "service = \"a.C\", method = \"D\", path = \"/\", body = \"\"",
        "",
    ));
    assert_eq!(
        found,
        [
            "step 2 (line 5), callout, path: expected \"/\", found nothing",
            "step 2 (line 5), callout, service: expected \"a.C\", found \"a.B\"",
            "step 2 (line 5), callout, method: expected \"D\", found \"C\"",
            "step 2 (line 5), callout, body: expected \"\", found \"asked\"",
        ]
    );
}

#[test]
fn a_request_that_stays_held_is_told_unless_the_case_means_it() {
    let report = played(&request("/hold", ""));
    assert_eq!(
        failures(&report),
        [
            "the request of stream 1 at the end: expected to have gone on, found it is held, and nothing is left to let it go on"
        ]
    );
    assert!(played(&request("/hold", "expect.request = \"held\"")).is_ok());
}

#[test]
fn a_panicking_native_filter_is_told_though_no_step_looks_for_it() {
    let found = failures(&played(&request("/panic", "")));
    assert!(
        found[0].starts_with("step 1 (line 3), the plugin: expected no failure, found "),
        "{found:?}"
    );
    assert!(found[0].contains("on purpose"), "{found:?}");
}

#[test]
fn variants_that_differ_are_told() {
    struct Adds(&'static str);

    impl Filter for Adds {
        fn on_headers(&mut self, stream: &StreamRef, direction: Direction, _: bool) -> Verdict {
            if let Some(mut headers) = stream.headers(direction) {
                headers.add("x", self.0);
            }
            Verdict::Continue
        }
    }

    let cases =
        Cases::parse(&format!("[[case]]\nname = \"it\"\n{}", request("/", ""))).expect("cases");
    let one = Native("one", || Box::new(Adds("1")) as Box<dyn Filter>);
    let same = Native("same", || Box::new(Adds("1")) as Box<dyn Filter>);
    let two = Native("two", || Box::new(Adds("2")) as Box<dyn Filter>);
    let report = run(&cases, &[&one, &same]);
    assert!(report.is_ok(), "{report}");
    let report = run(&cases, &[&one, &two]);
    let found = failures(&report);
    assert_eq!(found.len(), 1, "{report}");
    assert!(
        found[0].starts_with("step 1 (line 3), request headers: expected the same, on one "),
        "{found:?}"
    );
    assert_eq!(report.cases[0].variant, "one and two");
}

/// Traps where `x-t` is there, runs for ever where `x-l` is, pauses where `x-p` is.
const MODULE: &str = r#"(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "proxy_abi_version_0_2_1"))
  (data (i32.const 64) "x-tx-lx-px-q")
  (func $there (param $at i32) (result i32)
    (i32.eqz (call $get (i32.const 0) (local.get $at) (i32.const 3) (i32.const 200) (i32.const 204))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $there (i32.const 64)) (then unreachable))
    (if (call $there (i32.const 67)) (then (loop $again (br $again))))
    (if (call $there (i32.const 73)) (then
      (drop (call $register (i32.const 73) (i32.const 3) (i32.const 208)))
      (drop (call $enqueue (i32.load (i32.const 208)) (i32.const 0) (i32.const 0)))))
    (call $there (i32.const 70)))
  (func (export "proxy_on_queue_ready") (param i32 i32)
    (drop (call $enqueue (local.get 1) (i32.const 0) (i32.const 0)))))"#;

/// A request with a header, for [`MODULE`] on both runtimes.
fn module(header: &str, expect: &str) -> Report {
    let code = wat::parse_str(MODULE).expect("a module");
    let step = format!("[[case.step]]\nrequest = {{ headers = {{ {header} = \"1\" }} }}\n{expect}");
    // Short where it is waited for; elsewhere no load makes it count.
    let deadline = if header == "x-l" { 50 } else { 60_000 };
    let cases =
        format!("[plugin.limits]\ndeadline_ms = {deadline}\n[[case]]\nname = \"it\"\n{step}");
    on_both(&code, &cases)
}

#[test]
fn a_trapping_filter_is_told_on_both_runtimes() {
    let report = module("x-t", "");
    assert_eq!(report.failed(), 2, "{report}");
    for failure in failures(&report) {
        assert!(
            failure.starts_with("step 1 (line 5), the plugin: expected no failure, found "),
            "{failure}"
        );
        assert!(
            failure.contains("`proxy_on_request_headers` failed"),
            "{failure}"
        );
    }
    let meant = "expect.failure = \"unreachable\"\nexpect.reply = { status = 503, details = \"wasm_failed\" }";
    let report = module("x-t", meant);
    assert!(report.is_ok(), "{report}");
}

#[test]
fn a_filter_that_runs_for_ever_is_told_on_both_runtimes() {
    let report = module("x-l", "");
    assert_eq!(report.failed(), 2, "{report}");
    for failure in failures(&report) {
        assert!(failure.contains("50 ms"), "{failure}");
    }
}

#[test]
fn a_filter_that_pauses_without_an_end_is_told_on_both_runtimes() {
    let report = module("x-p", "");
    assert_eq!(report.failed(), 2, "{report}");
    for failure in failures(&report) {
        assert!(failure.contains("it is held"), "{failure}");
    }
}

#[test]
fn a_filter_that_gives_itself_more_to_do_each_time_is_told() {
    let report = module("x-q", "");
    assert_eq!(report.failed(), 2, "{report}");
    for failure in failures(&report) {
        assert!(failure.contains("expected to come to rest"), "{failure}");
    }
}

#[test]
fn a_module_that_does_not_start_is_told_unless_the_case_means_it() {
    let cases = "[[case]]\nname = \"it\"";
    let report = on_both(b"no module", cases);
    assert_eq!(report.failed(), 2, "{report}");
    for failure in failures(&report) {
        assert!(
            failure.starts_with("the start: expected the plugin to start, found error"),
            "{failure}"
        );
    }
    let report = on_both(
        b"no module",
        &format!("{cases}\nrefused = \"no WebAssembly module\""),
    );
    assert!(report.is_ok(), "{report}");
}

#[test]
fn time_and_randomness_are_the_cases_own() {
    struct Says;

    impl Filter for Says {
        fn on_headers(&mut self, stream: &StreamRef, _: Direction, _: bool) -> Verdict {
            let worker = stream.worker();
            let mut random = [0; 5];
            let line = match worker.random(&mut random) {
                Ok(()) => format!("at {} with {random:?}", worker.time()),
                Err(error) => error.to_string(),
            };
            worker.log(Level::Info, "says", &line);
            Verdict::Continue
        }
    }

    let lines = |setup: &str| {
        let cases = format!(
            "[[case]]\nname = \"it\"\nplugin = {{ {setup} }}\n{}",
            request("/", "expect.log = [\"?\"]")
        );
        let plugin = Native("says", || Box::new(Says) as Box<dyn Filter>);
        failures(&run(&Cases::parse(&cases).expect("cases"), &[&plugin]))
    };
    assert_eq!(lines("time = 5, seed = 1"), lines("time = 5, seed = 1"));
    assert!(lines("time = 5")[0].contains("at 5000000000 with"));
    assert_ne!(lines("seed = 1"), lines("seed = 2"));
}

#[test]
fn a_tcp_connection_is_played_from_its_beginning_to_its_end() {
    struct Upper;

    impl Filter for Upper {
        fn on_connection(&mut self, stream: &StreamRef) -> Verdict {
            stream.worker().log(Level::Info, "upper", "connected");
            Verdict::Continue
        }

        fn on_data(&mut self, stream: &StreamRef, direction: Direction, _: bool) -> Verdict {
            if let Some(mut body) = stream.body(direction) {
                let upper = body.to_bytes().to_ascii_uppercase();
                let len = body.len();
                body.replace(0..len, upper.into());
            }
            Verdict::Continue
        }

        fn on_close(&mut self, stream: &StreamRef, direction: Direction, _: bool) {
            let line = format!("closed {direction:?}");
            stream.worker().log(Level::Info, "upper", &line);
        }
    }

    let cases = r#"
        [[case]]
        name = "it"
        tcp = true
        [[case.step]]
        request = { body = "ab", more = true }
        expect = { request = "passed", request_body = "AB", log = ["connected"] }
        [[case.step]]
        response = { body = ["c", "d"] }
        expect = { response = "passed", response_body = "CD", no_log = ["connected"] }
        [[case.step]]
        close = "server"
        expect.log = ["closed Response"]
        [[case.step]]
        close = "client"
        expect.log = ["closed Request"]
    "#;
    let plugin = Native("upper", || Box::new(Upper) as Box<dyn Filter>);
    let report = run(&Cases::parse(cases).expect("cases"), &[&plugin]);
    assert!(report.is_ok(), "{report}");
}

/// One request for a script.
fn script(source: &str, setup: &str, expect: &str) -> Report {
    let cases = format!(
        "[plugin]\n{setup}\n[[case]]\nname = \"it\"\n[[case.step]]\nrequest.headers = {{}}\n{expect}"
    );
    let source = format!("function envoy_on_request(handle) {source} end");
    run(&Cases::parse(&cases).expect("cases"), &[&Lua { source }])
}

#[test]
fn a_script_reads_its_configuration() {
    let says = "handle:logInfo(handle:filterContext().greeting)";
    let setup = "configuration = '{\"greeting\": \"hello\"}'";
    let report = script(says, setup, "expect.log = [\"info hello\"]");
    assert!(report.is_ok(), "{report}");
    for (setup, told) in [
        ("configuration = \"[]\"", "an object in JSON"),
        ("root_id = \"a\"", "a script has no `root_id`"),
        ("fail_open = true", "a script has no `fail_open`"),
    ] {
        let found = failures(&script(says, setup, ""));
        assert!(found[0].contains(told), "{found:?}");
    }
}

#[test]
fn a_script_that_fails_is_told_unless_the_case_means_it() {
    for (source, setup, words) in [
        ("error('on purpose')", "", "on purpose"),
        (
            "while true do end",
            "limits = { deadline_ms = 50 }",
            "50 ms",
        ),
    ] {
        let found = failures(&script(source, setup, ""));
        assert!(
            found[0].contains("expected no failure") && found[0].contains(words),
            "{found:?}"
        );
        let report = script(source, setup, &format!("expect.failure = {words:?}"));
        assert!(report.is_ok(), "{report}");
    }
    let found = failures(&script("local =", "", ""));
    assert!(found[0].contains("default_source_code:1:"), "{found:?}");
}

#[test]
fn what_a_script_tells_other_filters_is_seen() {
    let tells = "handle:streamInfo():dynamicMetadata():set('a.b', 'c', { 1 })";
    let report = script(
        tells,
        "",
        "expect.metadata = { \"a.b.c\" = \"[1]\", \"a.b\" = false }",
    );
    assert!(report.is_ok(), "{report}");
    let found = failures(&script(
        tells,
        "",
        "expect.metadata = { \"a.b.c\" = \"[2]\" }",
    ));
    assert!(
        found[0].contains("metadata `a.b.c`: expected \"[2]\", found \"[1]\""),
        "{found:?}"
    );
}
