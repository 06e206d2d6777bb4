//! Adds headers to requests and responses.
//!
//! The configuration is lines such as `request x-from: edge` and `response x-by: extengine`; any other line refuses the start.

use std::rc::Rc;

use log::{error, info};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// What is added, by direction.
#[derive(Default)]
struct Added {
    request: Vec<(String, String)>,
    response: Vec<(String, String)>,
}

impl Added {
    fn parse(text: &str) -> Result<Self, String> {
        let mut added = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let wrong =
                || format!("`{line}` is neither `request NAME: VALUE` nor `response NAME: VALUE`");
            let (direction, header) = line.split_once(' ').ok_or_else(wrong)?;
            let (name, value) = header.split_once(':').ok_or_else(wrong)?;
            let headers = match direction {
                "request" => &mut added.request,
                "response" => &mut added.response,
                _ => return Err(wrong()),
            };
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(added)
    }
}

#[derive(Default)]
struct Root {
    added: Rc<Added>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        match Added::parse(&String::from_utf8_lossy(&configuration)) {
            Ok(added) => {
                let count = added.request.len() + added.response.len();
                info!("headers to add: {count}");
                self.added = Rc::new(added);
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
            added: Rc::clone(&self.added),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    added: Rc<Added>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        for (name, value) in &self.added.request {
            self.add_http_request_header(name, value);
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        for (name, value) in &self.added.response {
            self.add_http_response_header(name, value);
        }
        Action::Continue
    }
}
