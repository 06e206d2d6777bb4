//! A module that Go made: a function without arguments or result that prints to the log.
//!
//! `functions/guests/go/build.sh` makes it, and CI has it made; it is too large to lie in the repository.

use std::path::Path;
use std::sync::{Arc, Mutex};

use functions::{Manager, Value};

use crate::plugin::{Plugins, WASM};

#[test]
fn hello_world_in_go_prints_to_the_log() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests/hello.wasm");
    let Ok(module) = std::fs::read(&module) else {
        println!(
            "not run: there is no {}; make it with functions/guests/go/build.sh",
            module.display()
        );
        return;
    };
    for engine in WASM {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&lines);
        let manager = Manager::with_logger(move |line| {
            taken
                .lock()
                .expect("no panic")
                .push((line.level.to_owned(), line.message.to_owned()));
        });
        let plugins = Plugins::with(manager);
        plugins.file("hello.wasm", &module);
        plugins
            .add(&format!("name = 'hello'\nengine = '{engine}'\npath = 'hello.wasm'\nfunctions = ['HelloWorld']\n[limits]\ndeadline_ms = 60000"))
            .unwrap();
        for _ in 0..2 {
            assert_eq!(
                plugins.manager.execute("HelloWorld", &[]).unwrap(),
                Value::Null
            );
        }
        let line = ("info".to_owned(), "Hello World".to_owned());
        assert_eq!(*lines.lock().unwrap(), [line.clone(), line], "{engine}");
    }
}
