//! Replaces text in responses' bodies, which it holds until they are whole.
//!
//! The configuration is lines `OLD => NEW`, each done on what the ones before it left.
//! As the headers go on before the body, `content-length` is taken away. Where the host shows the body before the headers
//! go on, a line `with content-length` holds the headers too and gives them the new length.

use std::rc::Rc;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Default)]
struct Rules {
    with_length: bool,
    replace: Vec<(String, String)>,
}

impl Rules {
    fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line == "with content-length" {
                rules.with_length = true;
                continue;
            }
            match line.split_once("=>") {
                Some((old, new)) if !old.trim().is_empty() => {
                    let rule = (old.trim().to_owned(), new.trim().to_owned());
                    rules.replace.push(rule);
                }
                _ => return Err(format!("`{line}` is not `OLD => NEW`")),
            }
        }
        Ok(rules)
    }
}

#[derive(Default)]
struct Root {
    rules: Rc<Rules>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        match Rules::parse(&String::from_utf8_lossy(&configuration)) {
            Ok(rules) => {
                self.rules = Rc::new(rules);
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
            rules: Rc::clone(&self.rules),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    rules: Rc<Rules>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_response_headers(&mut self, _count: usize, end: bool) -> Action {
        if end {
            return Action::Continue;
        }
        self.set_http_response_header("content-length", None);
        if self.rules.with_length {
            Action::Pause
        } else {
            Action::Continue
        }
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_response_body(0, size).unwrap_or_default();
        // What is no text passes as it is.
        if let Ok(mut text) = String::from_utf8(body) {
            for (old, new) in &self.rules.replace {
                text = text.replace(old, new);
            }
            self.set_http_response_body(0, size, text.as_bytes());
            if self.rules.with_length {
                self.set_http_response_header("content-length", Some(&text.len().to_string()));
            }
        }
        Action::Continue
    }
}
