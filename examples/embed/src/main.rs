//! A tokio service that embeds an application: it opens it from code, registers native extensions, awaits answers,
//! handles a full queue, queries while it writes, and shuts down in order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use extengine::guest as extengine_guest;
use extengine::{Accepted, AppSpec, Application, ErrorKind, Options, Result};
use extengine_guest::{Error as Refusal, Row, State, extension, key, row};
use serde_json::json;

extengine_guest::package!("stock");

/// Adds to an item's count. Arguments: name, count.
#[extension(command)]
fn add(state: &mut State, args: &Row) -> std::result::Result<(), Refusal> {
    let item = key("item").text(args.text(0)?);
    let before = match state.get(&item)? {
        Some(item) => item.int(0)?,
        None => 0,
    };
    let after = before + args.int(1)?;
    if after < 0 {
        return Err(Refusal::rejected(format!("only {before} are left")));
    }
    state.put_value(&item, &row().int(after));
    state.result(&row().int(after));
    Ok(())
}

/// Answers an item's count. Arguments: name.
#[extension(query)]
fn count(state: &mut State, args: &Row) -> std::result::Result<(), Refusal> {
    let item = state.must_exist(&key("item").text(args.text(0)?))?;
    state.result(&row().int(item.int(0)?));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = AppSpec::parse(include_str!("../app.toml"), folder)?;
    let options = Options {
        data: Some(".extengine/embed".into()),
        ..Options::default()
    };
    let application = Arc::new(Application::open(spec, options)?);
    println!("open; press Ctrl-C to stop early");

    tokio::select! {
        served = serve(&application) => served?,
        _ = tokio::signal::ctrl_c() => println!("stopping"),
    }
    close(application)
}

/// Adds to eight items from eight tasks at once, and asks for a count meanwhile.
async fn serve(application: &Arc<Application>) -> Result<()> {
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let application = application.clone();
        writers.spawn(async move {
            let name = format!("item-{number}");
            let mut waited = 0;
            let mut last = None;
            for _ in 0..250 {
                let (accepted, busy) = submit(&application, &name, 1).await?;
                waited += busy;
                last = Some(accepted);
            }
            Ok::<_, extengine::Error>((name, waited, last))
        });
    }
    while let Some(written) = writers.join_next().await {
        let (name, waited, last) = match written {
            Ok(written) => written?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        // Reading one's own write: the state must have the command behind which we ask.
        let at_least = last.map_or(0, |accepted: Accepted| accepted.offset + 1);
        for answer in application.query("Count", &json!({ "name": name }), at_least)? {
            let answer = answer.await?;
            let count = extengine::contract::value::decode(&answer.rows[0])?;
            println!("{name}: {count:?}, with {waited} waits for a full queue");
        }
    }
    match application
        .submit("Add", &json!({"name": "item-0", "count": -1_000_000}), None)?
        .await
    {
        Err(refusal) if refusal.kind() == ErrorKind::Rejected => println!("refused: {refusal}"),
        other => println!("unexpected: {other:?}"),
    }
    Ok(())
}

/// Submits a command, again where the queue is full; says how often it was.
async fn submit(application: &Application, name: &str, count: i64) -> Result<(Accepted, u32)> {
    let args = json!({"name": name, "count": count});
    let mut busy = 0;
    loop {
        match application.submit("Add", &args, None) {
            Ok(answer) => return Ok((answer.await?, busy)),
            Err(error) if error.kind() == ErrorKind::Busy => {
                busy += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Closes the application, which answers what is still in its queues.
fn close(application: Arc<Application>) -> Result<()> {
    match Arc::try_unwrap(application) {
        Ok(application) => {
            application.close()?;
            println!("closed");
            Ok(())
        }
        // A task that was cut off still holds it; dropping the last handle closes it.
        Err(_) => Ok(()),
    }
}
