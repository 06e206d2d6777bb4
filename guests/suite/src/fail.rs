//! The extension that fails in the way that it is told.

use std::hint::black_box;

use extengine_guest::{Error, Row, State, extension, key, row};

use crate::count_call;

/// Logs, makes an intent, fails, and makes another intent if it still can. Arguments: how, whether to handle what can
/// be handled.
#[extension(command)]
fn fail(state: &mut State, args: &Row) -> Result<(), Error> {
    let (how, catch) = (args.text(0)?, args.bool(1)?);
    count_call();
    state.log("info", "about to fail");
    state.put_value(&key("open").text("before").int(0), &row().text(how));
    match attempt(state, how) {
        Err(_) if catch => {}
        ended => ended?,
    }
    state.put_value(&key("open").text("after").int(0), &row().text(how));
    Ok(())
}

fn attempt(state: &mut State, how: &str) -> Result<(), Error> {
    let whole = |storage| key(storage).text("g").int(0);
    match how {
        "nothing" => {}
        "reject_at_length" => return Err(Error::rejected("é".repeat(50_000))),
        "reject" => return Err(Error::rejected("no, because of NUL \0 and é")),
        "faulty_then_reject" => {
            state.put_value(&whole("read_only"), &row().text("v"));
            return Err(Error::rejected("no"));
        }
        "crash" => panic!("the guest crashes"),
        "must_exist" => drop(state.must_exist(&key("open").text("absent").int(0))?),
        "bad_key" => drop(state.get(&key("open").text("half a key"))?),
        "bad_prefix" => state.read(&key("open").int(5), |_, _, _| Ok(()))?,
        "io" => drop(state.get(&whole("broken"))?),
        "io_range" => state.read(&key("broken"), |_, _, _| Ok(()))?,
        "denied_get" => drop(state.get(&whole("sealed"))?),
        "denied_range" => state.read(&key("sealed"), |_, _, _| Ok(()))?,
        "unknown_storage" => drop(state.get(&whole("ghost"))?),
        "reads" => {
            for _ in 0..10 {
                state.get(&whole("open"))?;
            }
        }
        "denied_write" => state.put_value(&whole("read_only"), &row().text("v")),
        "denied_misfit" => state.put_value(&whole("read_only"), &row().int(5)),
        "bad_value" => state.put_value(&whole("open"), &row().int(5)),
        "bad_write_key" => state.put_value(&key("open").text("g"), &row().text("v")),
        "bad_result" => state.result(&row().text("text")),
        "two_results" => {
            state.result(&row().int(1));
            state.result(&row().int(2));
        }
        "loop" => loop {
            black_box(0);
        },
        "memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1_u8; 1_000]));
            }
        }
        "stack" => {
            black_box(recurse(1));
        }
        other => panic!("the guest knows no way to fail that is called {other}"),
    }
    Ok(())
}

/// Recurses without end, and without a place in memory, so that it is the engine's stack which ends it.
fn recurse(n: i64) -> i64 {
    if n == 0 {
        return count_call();
    }
    recurse(n + 1).wrapping_mul(31) ^ n
}
