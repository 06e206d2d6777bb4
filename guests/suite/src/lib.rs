//! The suite's guest in Rust: probes that do what their arguments say, each one kind of thing.
//!
//! `conformance/guests/suite.lua` has the same extensions in Lua. Their arguments and results are declared in
//! `conformance/src/suite.rs`; most storages are shelves, key `group: text, n: int`, value `v: text`.

mod fail;

use std::sync::atomic::{AtomicI64, Ordering};

use extengine_guest::{Error, KeyBuilder, Row, RowBuilder, State, extension, key, row};

/// What one invocation leaves in the guest's memory, the next one must not see under `fresh`.
static CALLS: AtomicI64 = AtomicI64::new(0);

pub(crate) fn count_call() -> i64 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

/// Takes a row with a field of every type apart and makes it anew.
fn every(args: &Row) -> Result<RowBuilder, Error> {
    let mut args = args.fields();
    let mut out = row()
        .bool(args.bool()?)
        .int(args.int()?)
        .float(args.float()?)
        .text(args.text()?)
        .bytes(args.bytes()?)
        .opt_bool(args.opt_bool()?)
        .opt_int(args.opt_int()?)
        .opt_float(args.opt_float()?)
        .opt_text(args.opt_text()?)
        .opt_bytes(args.opt_bytes()?);
    let mut ints = args.list()?;
    let mut list = row();
    while !ints.is_empty() {
        list = list.int(ints.int()?);
    }
    out = out.list(&list);
    let mut texts = args.list()?;
    let mut list = row();
    while !texts.is_empty() {
        list = list.text(texts.text()?);
    }
    out = out.list(&list);
    out = match args.opt_list()? {
        None => out.null(),
        Some(mut floats) => {
            let mut list = row();
            while !floats.is_empty() {
                list = list.float(floats.float()?);
            }
            out.list(&list)
        }
    };
    out = match args.opt_row()? {
        None => out.null(),
        Some(record) => {
            let mut tags = record.list(1)?;
            let mut list = row();
            while !tags.is_empty() {
                list = list.bytes(tags.bytes()?);
            }
            let made = row().float(record.float(0)?).list(&list);
            let inner = match record.opt_row(2)? {
                None => made.null(),
                Some(inner) => made.list(&row().opt_int(inner.opt_int(0)?)),
            };
            out.list(&inner)
        }
    };
    let mut records = args.list()?;
    let mut list = row();
    while !records.is_empty() {
        let record = records.row()?;
        list = list.list(&row().int(record.int(0)?).opt_text(record.opt_text(1)?));
    }
    Ok(out.list(&list))
}

/// Answers its arguments.
#[extension(function)]
fn echo(state: &mut State, args: &Row) -> Result<(), Error> {
    state.result(&every(args)?);
    Ok(())
}

/// Writes its arguments.
#[extension(command)]
fn keep(state: &mut State, args: &Row) -> Result<(), Error> {
    state.put_value(&key("every").int(1), &every(args)?);
    Ok(())
}

/// Copies a row. Arguments: from, to.
#[extension(command)]
fn copy(state: &mut State, args: &Row) -> Result<(), Error> {
    let from = state.must_exist(&key("every").int(args.int(0)?))?;
    state.new_value(&key("every").int(args.int(1)?), &every(&from)?);
    Ok(())
}

/// Answers the row with its arguments as the key, and writes one there.
#[extension(command)]
fn find(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut args = args.fields();
    let key = key("keyed")
        .bool(args.bool()?)
        .int(args.int()?)
        .float(args.float()?)
        .text(args.text()?)
        .bytes(args.bytes()?)
        .opt_int(args.opt_int()?);
    let found = state.get(&key)?;
    let n = found.map(|row| row.int(0)).transpose()?;
    state.put_value(&key, &row().int(1));
    state.result(&row().opt_int(n));
    Ok(())
}

/// A shelf's key from the arguments behind `at`: storage, group, n.
fn shelf<'a>(args: &'a Row, at: usize) -> Result<KeyBuilder<'a>, Error> {
    Ok(key(args.text(at)?)
        .text(args.text(at + 1)?)
        .int(args.int(at + 2)?))
}

/// Answers a row of a shelf, or null.
#[extension(query)]
fn get(state: &mut State, args: &Row) -> Result<(), Error> {
    let found = state.get(&shelf(args, 0)?)?;
    let v = found.as_ref().map(|row| row.text(0)).transpose()?;
    state.result(&row().opt_text(v));
    Ok(())
}

/// Answers a row of a shelf, which must be there.
#[extension(query)]
fn must(state: &mut State, args: &Row) -> Result<(), Error> {
    let found = state.must_exist(&shelf(args, 0)?)?;
    state.result(&row().text(found.text(0)?));
    Ok(())
}

/// Makes one intent. Arguments: verb, storage, group, n, v.
#[extension(command)]
fn write(state: &mut State, args: &Row) -> Result<(), Error> {
    let (key, value) = (shelf(args, 1)?, row().text(args.text(4)?));
    match args.text(0)? {
        "insert" => state.new_value(&key, &value),
        "update" => state.update_value(&key, &value),
        "put" => state.put_value(&key, &value),
        _ => state.delete(&key),
    }
    Ok(())
}

/// A shelf, or one group of it. Arguments: storage, group?.
fn range_of<'a>(args: &'a Row) -> Result<KeyBuilder<'a>, Error> {
    let range = key(args.text(0)?);
    Ok(match args.opt_text(1)? {
        Some(group) => range.text(group),
        None => range,
    })
}

/// Answers the rows of a shelf.
#[extension(query)]
fn range(state: &mut State, args: &Row) -> Result<(), Error> {
    state.read(&range_of(args)?, |state, key, value| {
        let mut key = key.fields();
        let answer = row().text(&key.text()?).int(key.int()?);
        state.result(&answer.text(value.text(0)?));
        Ok(())
    })
}

/// Answers the number of rows of a shelf.
#[extension(query)]
fn count(state: &mut State, args: &Row) -> Result<(), Error> {
    let mut rows = 0;
    state.read(&range_of(args)?, |_, _, _| {
        rows += 1;
        Ok(())
    })?;
    state.result(&row().int(rows));
    Ok(())
}

/// Reads a range in each row of a range, so many deep, and answers how often it got to the bottom.
#[extension(query)]
fn nest(state: &mut State, args: &Row) -> Result<(), Error> {
    fn descend(state: &mut State, depth: i64, visits: &mut i64) -> Result<(), Error> {
        if depth == 0 {
            *visits += 1;
            return Ok(());
        }
        state.read(&key("open").text("nest"), |state, _, _| {
            descend(state, depth - 1, visits)
        })
    }
    let mut visits = 0;
    descend(state, args.int(0)?, &mut visits)?;
    state.result(&row().int(visits));
    Ok(())
}

fn text_of(len: i64) -> String {
    "x".repeat(usize::try_from(len).unwrap_or(0))
}

/// Makes many intents. Arguments: how many, bytes of each text.
#[extension(command)]
fn many(state: &mut State, args: &Row) -> Result<(), Error> {
    let v = text_of(args.int(1)?);
    for n in 0..args.int(0)? {
        state.put_value(&key("open").text("many").int(n), &row().text(&v));
    }
    Ok(())
}

/// Answers many results. Arguments: how many, bytes of each text.
#[extension(query)]
fn rows(state: &mut State, args: &Row) -> Result<(), Error> {
    let v = text_of(args.int(1)?);
    for _ in 0..args.int(0)? {
        state.result(&row().text(&v));
    }
    Ok(())
}

/// Reads so many rows.
#[extension(query)]
fn reads(state: &mut State, args: &Row) -> Result<(), Error> {
    for n in 0..args.int(0)? {
        state.get(&key("open").text("reads").int(n))?;
    }
    Ok(())
}

/// Counts its calls in the guest's memory, together with those of `Fail`.
#[extension(function)]
fn counter(state: &mut State, _: &Row) -> Result<(), Error> {
    state.result(&row().int(count_call()));
    Ok(())
}

/// Logs. Arguments: lines, bytes of each.
#[extension(command)]
fn log(state: &mut State, args: &Row) -> Result<(), Error> {
    let message = text_of(args.int(1)?);
    for _ in 0..args.int(0)? {
        state.log("warn", &message);
    }
    Ok(())
}

/// Answers what the host says of the invocation, and two blocks of its randomness.
#[extension(function)]
fn context(state: &mut State, _: &Row) -> Result<(), Error> {
    let context = state.context()?;
    let answer = row()
        .int(context.time)
        .opt_text(context.command_id.as_deref())
        .int(context.partition)
        .int(context.offset)
        .bytes(&state.random(0)?)
        .bytes(&state.random(1)?);
    state.result(&answer);
    Ok(())
}

/// Refuses an order of nothing, and breaks the rules for the item `answer`.
#[extension(validator)]
fn check(state: &mut State, _: &Row) -> Result<(), Error> {
    let event = state.event()?;
    let order = event.args()?;
    if order.int(1)? <= 0 {
        return Err(Error::rejected("count is not above zero"));
    }
    if order.text(0)? == "answer" {
        state.result(&row());
    }
    Ok(())
}

/// Writes what it sees of an order.
#[extension(projector)]
fn project(state: &mut State, _: &Row) -> Result<(), Error> {
    let event = state.event()?;
    let order = event.args()?;
    let place = key("open").text(order.text(0)?).int(order.int(1)?);
    state.put_value(&place, &row().text(event.command()?));
    let mut results = event.results()?;
    while !results.is_empty() {
        let total = results.row()?.int(0)?;
        state.put_value(&key("open").text("total").int(total), &row().text(""));
    }
    Ok(())
}

/// Writes a row, as a job.
#[extension(job)]
fn tick(state: &mut State, _: &Row) -> Result<(), Error> {
    state.new_value(&key("open").text("tick").int(0), &row().text(""));
    Ok(())
}

/// Writes a row, which a query may not.
#[extension(query)]
fn sneak(state: &mut State, _: &Row) -> Result<(), Error> {
    state.put_value(&key("open").text("sneak").int(0), &row().text(""));
    Ok(())
}

fn gate() -> KeyBuilder<'static> {
    key("gate").text("gate").int(0)
}

/// Reads the gate until its row is there, and answers how often.
#[extension(query)]
fn wait(state: &mut State, _: &Row) -> Result<(), Error> {
    let mut reads = 1;
    while state.get(&gate())?.is_none() {
        reads += 1;
    }
    state.result(&row().int(reads));
    Ok(())
}

/// Makes an intent and crashes unless the gate's row is there.
#[extension(command)]
fn retry(state: &mut State, _: &Row) -> Result<(), Error> {
    state.new_value(&key("open").text("once").int(0), &row().text(""));
    if state.get(&gate())?.is_none() {
        panic!("the gate is shut");
    }
    Ok(())
}

/// Calls a foreign function and gives its last answer, or its words where they are to be handled. Arguments: name,
/// argument, how often, whether to handle a failure.
#[extension(query)]
fn ask(state: &mut State, args: &Row) -> Result<(), Error> {
    let (name, argument, catch) = (args.text(0)?, args.bytes(1)?, args.bool(3)?);
    let mut last = Ok(Vec::new());
    for _ in 0..args.int(2)? {
        last = state.call(name, argument);
        if last.is_err() {
            break;
        }
    }
    let answer = match last {
        Ok(answer) => row().bytes(&answer).null(),
        Err(error) if catch => row().null().text(error.message()),
        Err(error) => return Err(error),
    };
    state.result(&answer);
    Ok(())
}

/// Calls the typed foreign function `spell` and gives its answer.
#[extension(query)]
fn spell(state: &mut State, args: &Row) -> Result<(), Error> {
    let answer = state.call_row("spell", &args.into())?;
    state.result(&RowBuilder::from(&answer));
    Ok(())
}
