//! Functions of our own contract, for WebAssembly and for the engine `builtin`; `contract.lua` beside the tests has the
//! same ones in Lua.

use extengine_guest::{Error, Row, State, extension, row};

extengine_guest::package!("contract");

/// `(a: i32, b: i32) -> i32`
#[extension(function, name = "add")]
fn add(state: &mut State, args: &Row) -> Result<(), Error> {
    state.result(&row().int(args.int(0)? + args.int(1)?));
    Ok(())
}

/// `(name: text, counts: map[i32], at: {x: f64, y: f64}?, tags: [text]) -> {name: text, total: i64, far: bool?, tags: map[u8]}`
#[extension(function, name = "describe")]
fn describe(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut args = args.fields();
    let name = args.text()?.to_owned();
    let mut total = 0;
    let mut counts = args.list()?;
    while !counts.is_empty() {
        total += counts.row()?.int(1)?;
    }
    let far = match args.opt_row()? {
        Some(at) => Some(at.float(0)?.hypot(at.float(1)?) > 10.0),
        None => None,
    };
    let mut tags = row();
    let mut given = args.list()?;
    while !given.is_empty() {
        let tag = given.text()?;
        tags = tags.list(&row().text(tag).int(tag.len() as i64));
    }
    let answer = row().text(&name).int(total).opt_bool(far).list(&tags);
    state.result(&row().list(&answer));
    Ok(())
}

/// `(give: bool) -> text?`
#[extension(function, name = "maybe")]
fn maybe(state: &mut State, args: &Row) -> Result<(), Error> {
    if args.bool(0)? {
        state.result(&row().text("here"));
    }
    Ok(())
}

/// `() -> [bytes]`: two blocks of randomness.
#[extension(function, name = "roll")]
fn roll(state: &mut State, _: &Row) -> Result<(), Error> {
    let blocks = row().bytes(&state.random(0)?).bytes(&state.random(1)?);
    state.result(&row().list(&blocks));
    Ok(())
}

/// `() -> i64`: microseconds since 1970.
#[extension(function, name = "now")]
fn now(state: &mut State, _: &Row) -> Result<(), Error> {
    let time = state.context()?.time;
    state.result(&row().int(time));
    Ok(())
}

/// `(name: text, data: bytes) -> bytes`: what a foreign function answers.
#[extension(function, name = "call")]
fn call(state: &mut State, args: &Row) -> Result<(), Error> {
    let answer = state.call(args.text(0)?, args.bytes(1)?)?;
    state.result(&row().bytes(&answer));
    Ok(())
}

/// `(message: text)`
#[extension(function, name = "say")]
fn say(state: &mut State, args: &Row) -> Result<(), Error> {
    state.log("warn", args.text(0)?);
    Ok(())
}

/// `(message: text) -> i64`: refuses.
#[extension(function, name = "refuse")]
fn refuse(_: &State, args: &Row) -> Result<(), Error> {
    Err(Error::rejected(args.text(0)?))
}

/// `() -> i64`: crashes.
#[extension(function, name = "crash")]
fn crash(_: &State, _: &Row) -> Result<(), Error> {
    panic!("a bad day");
}
