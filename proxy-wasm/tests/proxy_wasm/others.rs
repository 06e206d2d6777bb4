//! Filters that others built and nobody committed: those of the folder that `EXTENGINE_FILTERS` names.
//!
//! Each one is looked into, started without a configuration and shown a request and its response, on both runtimes. What is
//! asked of a filter is that both runtimes agree, and that the host stands whatever it does.

use std::path::Path;

use filters::{Direction, EndReason};

use crate::harness::{Bench, ENGINES, config, reply, request, respond};

/// What became of a filter on one runtime, in words.
fn tried(engine: &str, code: &[u8]) -> String {
    let mut config = config(engine, "(module)");
    config.vm.code = code.into();
    config.vm.limits.deadline_ms = 10_000;
    config.root_id = String::new();
    config.configuration.clear();
    config.vm.configuration.clear();
    let bench = match Bench::try_new(config) {
        Ok(bench) => bench,
        Err(error) => return format!("does not start: {}", error.kind()),
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
    format!("answers {answered}, fails {failures} times")
}

#[test]
fn filters_of_others_do_the_same_on_both_runtimes() {
    let Some(folder) = std::env::var_os("EXTENGINE_FILTERS") else {
        println!("nothing was tried: EXTENGINE_FILTERS names no folder");
        return;
    };
    let entries = std::fs::read_dir(Path::new(&folder)).expect("the folder of EXTENGINE_FILTERS");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    paths.sort();
    assert!(!paths.is_empty(), "no .wasm file in {}", folder.display());
    for path in paths {
        let code = std::fs::read(&path).expect("a file");
        let [one, other] = ENGINES.map(|engine| tried(engine, &code));
        println!("{}: {one}", path.display());
        assert_eq!(
            one,
            other,
            "{} differs between the runtimes",
            path.display()
        );
    }
}
