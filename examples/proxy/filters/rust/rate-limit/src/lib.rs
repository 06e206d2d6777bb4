//! Lets so many requests of a client pass in a window of time, counted over all machines of its id.
//!
//! The configuration is `limit=3 window_ms=60000 header=x-client`. Clients without the header are told apart by address.
//! A client's window begins with its first request; what is beyond the limit is answered with 429 and `retry-after`.

use std::rc::Rc;
use std::time::UNIX_EPOCH;

use log::{error, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// How often a count is tried again that somebody else changed meanwhile.
const TRIES: usize = 10;

#[derive(Default)]
struct Limit {
    limit: u64,
    window_ms: u64,
    header: String,
}

impl Limit {
    fn parse(text: &str) -> Result<Self, String> {
        let mut limit = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse().map_err(|_| format!("`{word}` has no number"));
            match name {
                "limit" => limit.limit = number()?,
                "window_ms" => limit.window_ms = number()?,
                "header" => value.clone_into(&mut limit.header),
                _ => {
                    return Err(format!(
                        "`{name}` is none of `limit`, `window_ms` and `header`"
                    ));
                }
            }
        }
        if limit.limit == 0 || limit.window_ms == 0 {
            return Err("`limit` and `window_ms` are needed, above 0".into());
        }
        Ok(limit)
    }
}

#[derive(Default)]
struct Root {
    limit: Rc<Limit>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        match Limit::parse(&String::from_utf8_lossy(&configuration)) {
            Ok(limit) => {
                self.limit = Rc::new(limit);
                true
            }
            Err(why) => {
                error!("{why}");
                false
            }
        }
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            limit: Rc::clone(&self.limit),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    limit: Rc<Limit>,
}

/// A client's window: when it began, in milliseconds since 1970, and its requests. Kept as `BEGAN COUNT`.
fn window(bytes: &[u8]) -> Option<(u64, u64)> {
    let (began, count) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    Some((began.parse().ok()?, count.parse().ok()?))
}

impl Stream {
    fn client(&self) -> String {
        if let Some(client) = self.get_http_request_header(&self.limit.header) {
            return client;
        }
        let address = self.get_property(vec!["source", "address"]);
        let address = String::from_utf8_lossy(&address.unwrap_or_default()).into_owned();
        // Without the port, which is another one for each connection.
        address
            .rsplit_once(':')
            .map_or(address.clone(), |(host, _)| host.to_owned())
    }

    /// Counts this request, and answers how many milliseconds the client should wait where it is one too many.
    fn count(&self) -> Result<Option<u64>, Status> {
        let key = format!("rate-limit/{}", self.client());
        let now = self.get_current_time().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_millis() as u64);
        for _ in 0..TRIES {
            let (value, cas) = self.get_shared_data(&key);
            let (began, count) = value
                .and_then(|value| window(&value))
                .filter(|(began, _)| now < began + self.limit.window_ms)
                .unwrap_or((now, 0));
            if count >= self.limit.limit {
                return Ok(Some(began + self.limit.window_ms - now));
            }
            let value = format!("{began} {}", count + 1);
            match self.set_shared_data(&key, Some(value.as_bytes()), cas) {
                Ok(()) => return Ok(None),
                Err(Status::CasMismatch) => {}
                Err(status) => return Err(status),
            }
        }
        Err(Status::CasMismatch)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        match self.count() {
            Ok(None) => Action::Continue,
            Ok(Some(wait)) => {
                let seconds = wait.div_ceil(1_000).to_string();
                let headers = vec![("retry-after", &*seconds)];
                self.send_http_response(429, headers, Some(b"too many requests"));
                Action::Pause
            }
            Err(status) => {
                warn!("the request is not counted: {status:?}");
                Action::Continue
            }
        }
    }
}
