//! Filters that others built and nobody committed: those of the folder that `EXTENGINE_FILTERS` names.
//!
//! Each one is looked into, started and shown a request and its response, on both runtimes. What is asked of a filter is that
//! it starts, that both runtimes agree, and that the host stands whatever it does. Beside `NAME.wasm` there may be
//! `NAME.root_id` and `NAME.configuration`, which are empty where they are missing, and `NAME.refused` for a filter that
//! must not start.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use filters::{Direction, EndReason};

use crate::harness::{Bench, ENGINES, config, filter, reply, request, respond};

/// What became of a filter on one runtime, in words, and whether it started.
#[derive(PartialEq)]
struct Tried {
    starts: bool,
    words: String,
}

/// Tries a filter; the words of errors are each runtime's own, and are shown apart.
fn tried(engine: &str, path: &Path) -> (Tried, String) {
    let beside = |extension: &str| std::fs::read(path.with_extension(extension));
    let mut config = config(engine, "(module)");
    config.vm.code = std::fs::read(path).expect("a file").into();
    config.vm.limits.deadline_ms = 10_000;
    let root_id = beside("root_id").unwrap_or_default();
    config.root_id = String::from_utf8_lossy(&root_id).trim_end().into();
    config.configuration = beside("configuration").unwrap_or_default();
    config.vm.configuration.clear();
    let bench = match Bench::try_new(config) {
        Ok(bench) => bench,
        Err(error) => {
            let tried = Tried {
                starts: false,
                words: format!("does not start: {}", error.kind()),
            };
            return (tried, error.to_string());
        }
    };
    let mut chain = bench.chain();
    request(&mut chain, false);
    chain.data(Direction::Request, "body".into(), true);
    respond(&mut chain, false);
    chain.data(Direction::Response, "body".into(), true);
    let answered = reply(&mut chain).map_or("nothing".into(), |(status, _)| status);
    chain.finish(EndReason::Done);
    bench.world.now.set(bench.world.now.get() + 60_000_000_000);
    bench.thread.tick();
    let failures = bench.metric("wasm.probe.failures");
    let tried = Tried {
        starts: true,
        words: format!("answers {answered}, fails {failures} times"),
    };
    (tried, String::new())
}

/// Tries the filters of a folder: what each one did, and what is wrong of that.
fn try_all(folder: &Path) -> (String, Vec<String>) {
    let entries = std::fs::read_dir(folder).expect("the folder of EXTENGINE_FILTERS");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    paths.sort();
    let (mut shown, mut wrong) = (String::new(), Vec::new());
    for path in &paths {
        let name = path.display();
        let [(one, why), (other, _)] = ENGINES.map(|engine| tried(engine, path));
        writeln!(shown, "{name}: {}", one.words).expect("a string");
        if one != other {
            wrong.push(format!(
                "{name} differs between the runtimes: {}",
                other.words
            ));
        }
        match (one.starts, path.with_extension("refused").exists()) {
            (true, true) => wrong.push(format!("{name} starts, and should be refused")),
            (false, false) => wrong.push(format!("{name} does not start: {why}")),
            _ => {}
        }
    }
    if paths.is_empty() {
        wrong.push(format!("no .wasm file in {}", folder.display()));
    }
    (shown, wrong)
}

#[test]
fn filters_of_others_start_and_do_the_same_on_both_runtimes() {
    let Some(folder) = std::env::var_os("EXTENGINE_FILTERS") else {
        println!("nothing was tried: EXTENGINE_FILTERS names no folder");
        return;
    };
    let (shown, wrong) = try_all(Path::new(&folder));
    // Not by `print!`, of which the test runner shows nothing where all is well.
    write!(std::io::stderr(), "\n{shown}").expect("standard error");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_folder_of_filters_says_which_did_not_run() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("others");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("written");
    assert_eq!(try_all(&folder).1.len(), 1, "an empty folder");
    // Starts where its configuration has three bytes.
    let picky = filter(
        "",
        r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.eq (local.get 1) (i32.const 3)))"#,
    );
    let picky = wat::parse_str(picky).expect("a module");
    write("bad.wasm", &picky);
    write("good.wasm", &picky);
    write("good.configuration", b"abc");
    write("good.root_id", b"root\n");
    let (shown, wrong) = try_all(&folder);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(
        shown.contains("good.wasm: answers 200, fails 0 times"),
        "{shown}"
    );
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].contains("bad.wasm does not start: "), "{wrong:?}");
    write("bad.refused", b"");
    assert_eq!(try_all(&folder).1, [""; 0]);
    write("good.refused", b"");
    assert!(try_all(&folder).1[0].contains("should be refused"));
}
