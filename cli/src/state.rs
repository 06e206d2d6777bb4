//! `extengine state`: the rows, or their hash.

use std::sync::Arc;

use extengine::contract::catalog::{Catalog, StorageId};
use extengine::contract::say;
use extengine::partition::application::FailedProjector;
use extengine::partition::rows;
use extengine::partition::store::Snapshot;
use extengine::{Error, ErrorKind, Result};
use serde_json::Value as Json;

use crate::args::State;
use crate::open;
use crate::output::Lines;

pub(crate) fn state(args: &State) -> Result<bool> {
    let application = open::open_existing(&args.app)?;
    let failed = open::settle(&application)?;
    let snapshots = application.snapshots()?;
    let snapshots: Vec<_> = snapshots
        .into_iter()
        .map(|(_, snapshot)| snapshot)
        .collect();
    let catalog = application.spec().catalog.clone();
    let storages = chosen(&catalog, args.storage.as_deref())?;
    let mut lines = Lines::new();
    let is_behind = |failed: &FailedProjector| {
        open::written(application.spec(), &failed.projector)
            .any(|storage| storages.contains(&storage))
    };
    if args.hash && failed.iter().any(is_behind) {
        say!("no hash: it would be one of rows that stay behind");
    } else if args.hash {
        let hash = match &storages[..] {
            [one] if args.storage.is_some() => rows::hash_of(&catalog, &snapshots, &[*one])?,
            _ => rows::hash(&catalog, &snapshots)?,
        };
        lines.put(&serde_json::json!({"hash": hash}))?;
    } else {
        for storage in storages {
            print(
                &mut lines,
                &catalog,
                &snapshots,
                storage,
                args.storage.is_none(),
            )?;
        }
    }
    lines.flush()?;
    application.close()?;
    Ok(failed.is_empty())
}

fn chosen(catalog: &Catalog, name: Option<&str>) -> Result<Vec<StorageId>> {
    let stored = || catalog.storages().filter(|(id, _)| !id.is_system());
    let Some(name) = name else {
        return Ok(stored().map(|(id, _)| id).collect());
    };
    match catalog.id(name) {
        Some(id) if !id.is_system() => Ok(vec![id]),
        _ => {
            let names: Vec<_> = stored().map(|(_, storage)| &*storage.name).collect();
            Err(Error::new(
                ErrorKind::Unknown,
                format!("no storage `{name}`; there are: {}", names.join(", ")),
            ))
        }
    }
}

fn print(
    lines: &mut Lines,
    catalog: &Catalog,
    snapshots: &[Arc<dyn Snapshot>],
    storage: StorageId,
    named: bool,
) -> Result<()> {
    rows::for_each_row(snapshots, storage, |partition, key, value| {
        let mut line = serde_json::Map::new();
        if named {
            let name = &*catalog.storage(storage).name;
            line.insert("storage".to_owned(), Json::from(name));
        }
        line.extend(rows::to_json(catalog, storage, key, value)?);
        if snapshots.len() > 1 {
            line.insert("partition".to_owned(), Json::from(partition));
        }
        lines.put(&line)
    })
}
