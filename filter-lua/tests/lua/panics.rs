//! A panic beneath a script is answered for, and no script catches it.

use std::rc::Rc;
use std::sync::Arc;

use filters::Direction::{Request, Response};
use filters::callout::{
    CallFailed, CallRefused, GrpcCall, GrpcEvents, GrpcStream, HttpCall, HttpDone, Pending,
};
use filters::metrics::Metrics;
use filters::testing::TestWorker;
use filters::{Chain, Headers, Level, Settings, StreamInfo, Worker};

use crate::bench::{Stream, log, thread, worker};

/// Panics where the cluster `b` is called.
struct Panics(Rc<TestWorker>);

impl Worker for Panics {
    fn log_level(&self) -> Level {
        self.0.log_level()
    }

    fn log(&self, level: Level, filter: &str, line: &str) {
        self.0.log(level, filter, line);
    }

    fn time(&self) -> u64 {
        self.0.time()
    }

    fn metrics(&self) -> &Arc<Metrics> {
        self.0.metrics()
    }

    fn http(&self, call: HttpCall, done: HttpDone) -> Result<Box<dyn Pending>, CallRefused> {
        assert_ne!(call.cluster, "b", "on purpose");
        self.0.http(call, done)
    }

    fn grpc(&self, call: GrpcCall, events: GrpcEvents) -> Result<Box<dyn GrpcStream>, CallRefused> {
        self.0.grpc(call, events)
    }
}

#[test]
fn a_panic_answers_its_stream_alone() {
    let thread = thread(
        "function envoy_on_request(handle)
            local function call(cluster)
                return handle:httpCall(cluster, {[':method']='GET', [':path']='/', [':authority']='a'}, nil, 5)
            end
            if handle:headers():get('later') then call('a') end
            print('calls')
            pcall(call, 'b')
            print('never')
        end",
    );
    for later in [false, true] {
        let worker = worker();
        let panics = Rc::new(Panics(Rc::clone(&worker)));
        let filters = vec![thread.filter(None)];
        let mut chain = Chain::new(filters, StreamInfo::default(), Settings::default(), panics);
        let mut headers = Headers::from_iter([(":path", "/")]);
        if later {
            headers.add("later", "1");
        }
        chain.headers(Request, headers, true);
        if later {
            worker.answer_next(Err(CallFailed::Reset)).expect("a call");
            chain.pump();
        }
        assert!(chain.is_answered() && chain.take(Response).is_some());
        assert_eq!(chain.stream().info().status, 500);
        let metric = if later {
            "lua.panics"
        } else {
            "filters_panics_total"
        };
        assert_eq!(
            worker.metrics().get(metric).map(|metric| metric.get()),
            Some(1)
        );
        let lines = log(&worker);
        assert!(
            lines.contains("on purpose") && !lines.contains("never"),
            "{lines}"
        );
    }
    // The virtual machine is as good as before.
    let worker = worker();
    worker.busy.set(true);
    let mut stream = Stream::on(&thread, &worker);
    stream.request(true);
    assert_eq!(stream.log(), "info: calls\ninfo: never");
}
