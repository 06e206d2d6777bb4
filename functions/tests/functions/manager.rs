//! The manager: adding, changing, deleting and calling, many at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use engine_core::limits::Limit;
use functions::{ErrorKind, PluginState, Value};

use crate::plugin::{PATIENCE, Plugins};

/// A module whose function `name` answers this number.
fn constant(name: &str, number: i32) -> Vec<u8> {
    let wat = format!("(module (func (export \"{name}\") (result i32) i32.const {number}))");
    wat::parse_str(wat).expect("a module")
}

fn toml(name: &str, file: &str, functions: &str) -> String {
    format!("name = '{name}'\npath = '{file}'\nfunctions = [{functions}]")
}

#[test]
fn functions_are_found_by_name_alone_and_by_plugin() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins.file("two.wasm", constant("two", 2));
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    plugins.add(&toml("b", "two.wasm", "'two'")).unwrap();
    let manager = &plugins.manager;
    assert_eq!(manager.execute("two", &[]).unwrap(), Value::I32(2));
    assert_eq!(manager.execute_on("a", "one", &[]).unwrap(), Value::I32(1));
    for error in [
        manager.execute("three", &[]).unwrap_err(),
        manager.execute_on("a", "two", &[]).unwrap_err(),
        manager.execute_on("c", "one", &[]).unwrap_err(),
        manager.delete("c").unwrap_err(),
        manager.status("c").unwrap_err(),
        manager.wait_ready("c", PATIENCE).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unknown);
    }
    let list = manager.list();
    let names: Vec<_> = list
        .iter()
        .map(|status| status.config.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(
        list.iter()
            .all(|status| status.state == PluginState::Ready && !status.changing)
    );
    assert_eq!(list[0].functions[0].to_string(), "one() -> i32");
}

#[test]
fn two_plugins_that_claim_one_name_are_refused_at_add() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    let error = plugins
        .add(&toml("b", "one.wasm", "'one', 'two'"))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Manifest);
    assert_eq!(error.message(), "function `one` is claimed by plugin `a`");
    assert_eq!(
        plugins.manager.status("b").unwrap_err().kind(),
        ErrorKind::Unknown
    );
    let again = plugins.add(&toml("a", "one.wasm", "'one'")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exists);
    plugins.manager.delete("a").unwrap();
    assert_eq!(
        plugins.manager.execute("one", &[]).unwrap_err().kind(),
        ErrorKind::Unknown
    );
    plugins.add(&toml("c", "one.wasm", "'one'")).unwrap();
}

#[test]
fn a_plugin_that_does_not_load_is_failed_and_says_why() {
    let plugins = Plugins::new();
    plugins.file("bad.wasm", "no module");
    let error = plugins.add(&toml("a", "bad.wasm", "'one'")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Package);
    let status = plugins.manager.status("a").unwrap();
    assert_eq!(status.state, PluginState::Failed);
    assert_eq!(
        plugins.manager.execute("one", &[]).unwrap_err().kind(),
        ErrorKind::Package
    );
    // Its names are its own until it is deleted; a change mends it.
    plugins.file("one.wasm", constant("one", 1));
    assert!(plugins.add(&toml("b", "one.wasm", "'one'")).is_err());
    plugins
        .manager
        .change(plugins.config(&toml("a", "one.wasm", "'one'")))
        .unwrap();
    plugins.manager.wait_ready("a", PATIENCE).unwrap();
    assert_eq!(plugins.manager.execute("one", &[]).unwrap(), Value::I32(1));
    let gone = plugins.add(&toml("c", "gone.wasm", "'three'")).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Io);
    assert!(gone.message().contains("gone.wasm"), "{gone}");
}

#[test]
fn code_is_read_no_further_than_its_limit() {
    let plugins = Plugins::new();
    let mut long = constant("one", 1);
    // What stands behind is a section that means nothing: a thousand bytes with an empty name.
    long.extend([0, 0xe9, 7, 0]);
    long.extend([0; 1_000]);
    plugins.file("one.wasm", &long);
    let limited = |bytes: usize| {
        let toml = toml("a", "one.wasm", "'one'");
        format!("{toml}\n[limits]\ncode_bytes = {bytes}")
    };
    let error = plugins.add(&limited(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit(Limit::CodeBytes), "{error}");
    plugins.manager.delete("a").unwrap();
    let read = |most| engine_core::engine::read_code(&plugins.folder.path().join("one.wasm"), most);
    assert_eq!(read(100).unwrap(), long[..101]);
    assert_eq!(read(u64::MAX).unwrap(), long);
    plugins.add(&limited(long.len())).unwrap();
}

#[test]
#[cfg(unix)]
fn a_pipe_is_no_code_and_keeps_nobody_waiting() {
    let plugins = Plugins::new();
    let pipe = plugins.folder.path().join("pipe.wasm");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    plugins.file("one.wasm", constant("one", 1));
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    let (done, answers) = std::sync::mpsc::channel();
    for name in ["a", "b"] {
        let (manager, done) = (plugins.manager.clone(), done.clone());
        let config = plugins.config(&toml(name, "pipe.wasm", "'one'"));
        thread::spawn(move || {
            let answer = match name {
                "a" => manager.change(config),
                _ => manager.add(config),
            };
            done.send(answer).unwrap();
        });
    }
    for _ in 0..2 {
        let answer = answers.recv_timeout(PATIENCE).unwrap();
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.message().contains("no regular file"), "{error}");
    }
    plugins.manager.delete("a").unwrap();
}

#[test]
fn a_failed_change_leaves_what_was_there_at_work() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins.file("other.wasm", constant("other", 3));
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    plugins.add(&toml("b", "other.wasm", "'other'")).unwrap();
    let manager = &plugins.manager;
    let change = |text: &str| {
        manager.change(plugins.config(text))?;
        manager.wait_ready("a", PATIENCE)
    };
    // The module has no such function; the name is free again after it.
    assert_eq!(
        change(&toml("a", "one.wasm", "'one', 'new'"))
            .unwrap_err()
            .kind(),
        ErrorKind::Package
    );
    assert_eq!(
        change(&toml("a", "one.wasm", "'one', 'other'"))
            .unwrap_err()
            .kind(),
        ErrorKind::Manifest
    );
    assert_eq!(
        change(&toml("a", "gone.wasm", "'one'")).unwrap_err().kind(),
        ErrorKind::Io
    );
    assert_eq!(manager.execute("one", &[]).unwrap(), Value::I32(1));
    assert_eq!(
        manager.execute("new", &[]).unwrap_err().kind(),
        ErrorKind::Unknown
    );
    let status = manager.status("a").unwrap();
    assert_eq!(
        (status.state, status.config.functions.len()),
        (PluginState::Ready, 1)
    );
    // And one that succeeds gives up what it no longer offers.
    plugins.file("new.wasm", constant("new", 2));
    change(&toml("a", "new.wasm", "'new'")).unwrap();
    assert_eq!(manager.execute("new", &[]).unwrap(), Value::I32(2));
    assert_eq!(
        manager.execute("one", &[]).unwrap_err().kind(),
        ErrorKind::Unknown
    );
    plugins.add(&toml("c", "one.wasm", "'one'")).unwrap();
}

#[test]
fn calls_from_many_threads_go_on_through_changes_and_deletions_of_others() {
    let plugins = Plugins::new();
    for number in 1..=2 {
        plugins.file(&format!("{number}.wasm"), constant("f", number));
    }
    plugins.file("other.wasm", constant("other", 9));
    let more = "instance_num = 2";
    plugins
        .add(&format!("{}\n{more}", toml("a", "1.wasm", "'f'")))
        .unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (manager, over) = (&plugins.manager, &over);
                scope.spawn(move || {
                    let mut local = manager.local();
                    let mut seen = [0u64; 3];
                    while !over.load(Ordering::Relaxed) || seen[2] == 0 {
                        let answer = match caller % 2 {
                            0 => manager.execute("f", &[]),
                            _ => local.execute("f", &[]),
                        };
                        match answer {
                            Ok(Value::I32(number)) => seen[number as usize] += 1,
                            other => panic!("{other:?}"),
                        }
                    }
                    seen
                })
            })
            .collect();
        for round in 0..20 {
            plugins
                .add(&toml("other", "other.wasm", "'other'"))
                .unwrap();
            let file = format!("{}.wasm", 1 + round % 2);
            let changed = format!("{}\n{more}", toml("a", &file, "'f'"));
            plugins.manager.change(plugins.config(&changed)).unwrap();
            plugins.manager.wait_ready("a", PATIENCE).unwrap();
            plugins.manager.delete("other").unwrap();
        }
        over.store(true, Ordering::Relaxed);
        for caller in callers {
            let seen = caller.join().unwrap();
            assert!(seen[1] + seen[2] > 0);
        }
    });
    assert_eq!(plugins.manager.execute("f", &[]).unwrap(), Value::I32(2));
}

#[test]
fn a_call_waits_no_longer_than_its_timeout_for_an_instance() {
    let plugins = Plugins::new();
    let wat = r#"(module (func (export "spin") (loop $again br $again)) (func (export "one") (result i32) i32.const 1))"#;
    plugins.file("spin.wasm", wat::parse_str(wat).unwrap());
    let config = toml("a", "spin.wasm", "'spin', 'one'")
        + "\ntimeout_ms = 20\n[limits]\ndeadline_ms = 60000";
    plugins.add(&config).unwrap();
    thread::scope(|scope| {
        let manager = &plugins.manager;
        let spinning = scope.spawn(|| manager.execute("spin", &[]));
        // The only instance is taken sooner or later; then there is none for this one in time.
        let busy = loop {
            if let Err(error) = manager.execute("one", &[]) {
                break error;
            }
        };
        assert_eq!(busy.kind(), ErrorKind::Busy);
        assert!(
            busy.message().contains("no instance was free within 20 ms"),
            "{busy}"
        );
        // What was given up is never run; a deleted plugin finishes what it has begun, or is cut by its deadline.
        manager.delete("a").unwrap();
        drop(spinning);
    });
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins.file("bad.wasm", "no module");
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    plugins.add(&toml("b", "bad.wasm", "'two'")).unwrap_err();
    let configs = [
        plugins.config(&toml("c", "one.wasm", "'one'")),
        plugins.config(&toml("d", "bad.wasm", "'four'")),
        plugins.config(&toml("d", "one.wasm", "'four'")),
        plugins.config(&toml("e", "gone.wasm", "'five'")),
        plugins.config(&toml("g", "gone.wasm", "'one'")),
    ];
    let faults = plugins.manager.check_all(&configs);
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    for part in [
        "b: this is no WebAssembly module",
        "c: function `one` is claimed by plugin `a`",
        "d: this is no WebAssembly module",
        "d: two plugins have this name",
        "d: function `four` is claimed by plugin `d`",
        "e: `",
        "g: function `one` is claimed by plugin `a`",
        "g: `",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(part)),
            "{part}: {faults:#?}"
        );
    }
    assert_eq!(plugins.manager.list().len(), 2);
    assert!(plugins.manager.check(&configs[3]).is_err());
    assert!(
        plugins
            .manager
            .check(&plugins.config(&toml("f", "one.wasm", "'one'")))
            .is_err()
    );
}

#[test]
fn a_name_that_a_checked_change_gives_up_is_free_in_the_same_check() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins.file("two.wasm", constant("two", 2));
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    let configs = [
        plugins.config(&toml("b", "one.wasm", "'one'")),
        plugins.config(&toml("a", "two.wasm", "'two'")),
    ];
    let faults = plugins.manager.check_all(&configs);
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(plugins.manager.check_all(&configs[..1]).len(), 1);
}

#[test]
fn configurations_made_by_code_are_checked_before_anything_changes() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins.add(&toml("a", "one.wasm", "'one'")).unwrap();
    let manager = &plugins.manager;
    let good = manager.status("a").unwrap().config;
    let mut without_threads = good.clone();
    without_threads.instance_num = 0;
    let mut without_end = good.clone();
    without_end.queue = usize::MAX;
    for bad in [without_threads, without_end] {
        let mut other = bad.clone();
        other.name = "b".to_owned();
        for refused in [
            manager.change(bad.clone()),
            manager.check(&bad),
            manager.add(other),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Manifest);
        }
        assert_eq!(manager.execute("one", &[]).unwrap(), Value::I32(1));
    }
    assert_eq!(manager.list().len(), 1);
}

#[test]
fn the_longest_times_are_waited() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    let mut config = plugins.config(&toml("a", "one.wasm", "'one'"));
    config.timeout = Duration::MAX;
    plugins.manager.add(config).unwrap();
    plugins.manager.wait_ready("a", Duration::MAX).unwrap();
    assert_eq!(plugins.manager.execute("one", &[]).unwrap(), Value::I32(1));
}

#[test]
fn waiting_for_a_plugin_ends_after_its_time() {
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    plugins
        .manager
        .add(plugins.config(&toml("a", "one.wasm", "'one'")))
        .unwrap();
    // Either it was quicker than nothing, or it is said to be loading.
    if let Err(error) = plugins.manager.wait_ready("a", Duration::ZERO) {
        assert_eq!(error.kind(), ErrorKind::Busy);
    }
    plugins.manager.wait_ready("a", PATIENCE).unwrap();
}

#[test]
fn a_plugin_that_no_thread_can_load_leaves_nothing_behind() {
    const INSIDE: &str = "FUNCTIONS_TEST_WITHOUT_THREADS";
    if std::env::var_os(INSIDE).is_none() {
        // No system has room for such a stack, so in this process no thread starts.
        let name = "manager::a_plugin_that_no_thread_can_load_leaves_nothing_behind";
        let inside = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--test-threads=1"])
            .env(INSIDE, "yes")
            .env("RUST_MIN_STACK", (1u64 << 62).to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(
            inside.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let plugins = Plugins::new();
    plugins.file("one.wasm", constant("one", 1));
    let error = plugins.add(&toml("a", "one.wasm", "'one'")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    for gone in [
        plugins.manager.status("a").map(drop),
        plugins.manager.owner("one").map(drop),
    ] {
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::Unknown);
    }
}
