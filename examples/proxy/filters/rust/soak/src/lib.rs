//! A filter for load tests: each request's number goes through a call to a service and through shared data, and the answer
//! has what came back.
//!
//! - `x-id` is a request's number, and `x-slot` a place that no other request under way has. The answer has `x-echoed`, which
//!   the service said, and `x-shared`, which was found in the place.
//! - `x-trap` makes the filter fail.
//! - `x-count` is answered with what all machines have counted, as lines of a name and a number.
//!
//! Every answer has `x-filter: soak`. The service `echo` answers with the body of what it is asked. Each machine asks it on
//! every tick too, with a number of its own.

use std::collections::HashMap;
use std::time::Duration;

use log::error;
use proxy_wasm::hostcalls::{get_shared_data, set_shared_data};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, Bytes, ContextType, LogLevel, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// What is counted, in shared data: requests that came, that the service answered, and that are over; ticks, and those
/// that the service answered; and answers that were another one's.
const COUNTERS: [&str; 6] = [
    "started",
    "answered",
    "logged",
    "ticks",
    "ticks_answered",
    "crossed",
];

const TICK: Duration = Duration::from_millis(10);

/// How long the service may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds one to a counter, however often somebody else does meanwhile.
fn count(name: &str) {
    loop {
        let (value, cas) = read(name);
        let next = (value + 1).to_string();
        match set_shared_data(name, Some(next.as_bytes()), cas) {
            Err(Status::CasMismatch) => {}
            Ok(()) => return,
            Err(status) => return error!("`{name}` is not counted: {status:?}"),
        }
    }
}

/// A counter, and what it can be changed with.
fn read(name: &str) -> (u64, Option<u32>) {
    let (value, cas) = get_shared_data(name).unwrap_or_default();
    let value = value.and_then(|value| String::from_utf8(value).ok()?.parse().ok());
    (value.unwrap_or(0), cas)
}

/// Asks the service for some text.
fn ask(context: &dyn Context, text: &str) -> Result<u32, Status> {
    let headers = vec![(":method", "POST"), (":path", "/"), (":authority", "echo")];
    context.dispatch_http_call("echo", headers, Some(text.as_bytes()), vec![], PATIENCE)
}

fn answer(context: &dyn Context, size: usize) -> Option<Bytes> {
    context.get_http_call_response_body(0, size)
}

#[derive(Default)]
struct Root {
    ticks: u64,
    asked: HashMap<u32, String>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, call: u32, _: usize, size: usize, _: usize) {
        let asked = self.asked.remove(&call).map(String::into_bytes);
        match answer(self, size) {
            None => error!("the service does not answer"),
            Some(text) if Some(&text) == asked.as_ref() => count("ticks_answered"),
            Some(_) => count("crossed"),
        }
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _: usize) -> bool {
        // The first machine starts before all others: from then on there is a value to compare with.
        for name in COUNTERS {
            if read(name).1.is_none() && set_shared_data(name, Some(b"0"), None).is_err() {
                return false;
            }
        }
        self.set_tick_period(TICK);
        true
    }

    fn on_tick(&mut self) {
        self.ticks += 1;
        let text = format!("tick {}", self.ticks);
        match ask(self, &text) {
            Ok(call) => {
                self.asked.insert(call, text);
                count("ticks");
            }
            Err(status) => error!("the service cannot be asked: {status:?}"),
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::default()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

#[derive(Default)]
struct Stream {
    call: Option<u32>,
    slot: String,
    echoed: Bytes,
    shared: Bytes,
}

impl Stream {
    fn fail(&self, why: Status) -> Action {
        error!("a request cannot be served: {why:?}");
        self.send_http_response(500, vec![], None);
        Action::Pause
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, call: u32, _: usize, size: usize, _: usize) {
        if self.call != Some(call) {
            count("crossed");
        }
        match (answer(self, size), get_shared_data(&self.slot)) {
            (Some(echoed), Ok((Some(shared), _))) => {
                (self.echoed, self.shared) = (echoed, shared);
                count("answered");
                self.resume_http_request();
            }
            _ => {
                self.fail(Status::NotFound);
            }
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        assert!(
            self.get_http_request_header("x-trap").is_none(),
            "as it was asked to"
        );
        if self.get_http_request_header("x-count").is_some() {
            let counted = COUNTERS.map(|name| format!("{name} {}\n", read(name).0));
            let counted = counted.concat();
            self.send_http_response(200, vec![], Some(counted.as_bytes()));
            return Action::Pause;
        }
        let [id, slot] = ["x-id", "x-slot"].map(|name| self.get_http_request_header(name));
        let (Some(id), Some(slot)) = (id, slot) else {
            return Action::Continue;
        };
        self.slot = format!("slot {slot}");
        count("started");
        if let Err(status) = set_shared_data(&self.slot, Some(id.as_bytes()), None) {
            return self.fail(status);
        }
        match ask(self, &id) {
            Ok(call) => self.call = Some(call),
            Err(status) => return self.fail(status),
        }
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.add_http_response_header("x-filter", "soak");
        if self.call.is_some() {
            self.add_http_response_header_bytes("x-echoed", &self.echoed);
            self.add_http_response_header_bytes("x-shared", &self.shared);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.call.is_some() {
            count("logged");
        }
    }
}
