//! `extengine verify`: a data folder is whole.

use extengine::Result;
use extengine::contract::say;
use extengine::partition::application::os_platform;
use extengine::partition::verify;
use serde_json::json;

use crate::args::Verify;
use crate::output::Lines;

pub(crate) fn verify(args: &Verify) -> Result<bool> {
    let found = verify::verify(&os_platform()?, &args.data)?;
    for notice in &found.notices {
        say!("left behind by a crash, harmless: {notice}");
    }
    let mut lines = Lines::new();
    for problem in &found.problems {
        lines.put(&json!({"problem": problem}))?;
    }
    lines.put(&json!({
        "partitions": found.partitions,
        "groups": found.groups,
        "commands": found.commands,
        "checkpoints": found.checkpoints,
        "hash": found.hash,
        "whole": found.problems.is_empty(),
    }))?;
    lines.flush()?;
    Ok(found.problems.is_empty())
}
