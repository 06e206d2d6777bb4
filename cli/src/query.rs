//! `extengine query`: one query, its rows as lines.

use extengine::Result;
use extengine::contract::manifest::ExtensionKind;
use serde_json::Value as Json;

use crate::args::Query;
use crate::open;
use crate::output::{Lines, row};

pub(crate) fn query(args: &Query) -> Result<bool> {
    let input = open::json(&args.args, "ARGS")?;
    let application = open::open_existing(&args.app)?;
    let failed = open::settle(&application)?;
    let spec = application.spec();
    let answers = application.query(&args.name, &input, 0)?;
    let decl = spec
        .extension(&args.name)
        .map(|number| &spec.extensions[number].decl);
    let schema = decl.filter(|decl| decl.kind == ExtensionKind::Query);
    let schema = schema.map(|decl| decl.result.clone()).unwrap_or_default();
    let many = spec.partitions > 1;
    let mut lines = Lines::new();
    for answer in answers {
        let answer = answer.wait()?;
        for result in &answer.rows {
            let mut line = row(&schema, result)?;
            if many {
                line.insert("partition".to_owned(), Json::from(answer.partition));
            }
            lines.put(&line)?;
        }
    }
    lines.flush()?;
    application.close()?;
    Ok(failed.is_empty())
}
