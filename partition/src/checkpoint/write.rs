//! Writing a checkpoint.

use std::path::Path;

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::Result;
use engine_core::value::Writer;

use super::{Content, KEPT, MAGIC, VERSION, file_name, io, list};
use crate::ids::Order;
use crate::platform::{Access, File, Platform};
use crate::store::{Snapshot, for_each_row};

/// The name of one that is being written.
const DRAFT: &str = "draft";

/// From how many bytes on a frame is written.
const FRAME: usize = 256 << 10;

/// Writes a checkpoint durably and removes all but the last two; gives its size in bytes.
///
/// # Errors
/// `io`; the checkpoints before it are then as they were.
pub(crate) fn write(
    platform: &dyn Platform,
    folder: &Path,
    catalog: &Catalog,
    content: &Content,
) -> Result<u64> {
    let files = platform.files();
    files.create_dir_all(folder).map_err(io("create", folder))?;
    let draft = folder.join(DRAFT);
    let path = folder.join(file_name(content.position));
    let written = draw_up(platform, &draft, catalog, content).and_then(|bytes| {
        files.rename(&draft, &path).map_err(io("rename", &draft))?;
        Ok(bytes)
    });
    let bytes = written.inspect_err(|_| {
        // It may hold the last of the disk's space, which the log is in need of.
        let _ = files.remove(&draft);
    })?;
    files.sync_dir(folder).map_err(io("sync", folder))?;
    for (_, old) in list(platform, folder)?.into_iter().skip(KEPT) {
        files.remove(&old).map_err(io("remove", &old))?;
    }
    // The log forgets what the old ones need: they must not come back.
    files.sync_dir(folder).map_err(io("sync", folder))?;
    Ok(bytes)
}

/// Removes what a crash left of a checkpoint that was being written.
///
/// # Errors
/// `io`.
pub(crate) fn remove_draft(platform: &dyn Platform, folder: &Path) -> Result<()> {
    let (files, draft) = (platform.files(), folder.join(DRAFT));
    match files.exists(&draft).map_err(io("look for", &draft))? {
        true => files.remove(&draft).map_err(io("remove", &draft)),
        false => Ok(()),
    }
}

/// Writes all of a checkpoint durably to a file that is none yet; gives its size in bytes.
fn draw_up(
    platform: &dyn Platform,
    draft: &Path,
    catalog: &Catalog,
    content: &Content,
) -> Result<u64> {
    let persisted = content.rows.persist()?;
    let file = platform
        .files()
        .open(draft, Access::Truncate)
        .map_err(io("create", draft))?;
    let mut sink = Sink {
        file: &*file,
        path: draft,
        at: 0,
        frame: Vec::new(),
    };
    sink.put(MAGIC)?;
    sink.head(catalog, content)?;
    sink.ids(&content.ids)?;
    let mut rows = 0;
    let storages = catalog.storages().filter(|_| !persisted);
    for (storage, _) in storages {
        rows += sink.rows(&*content.rows, storage)?;
    }
    let mut end = Writer(&mut sink.frame);
    end.list(3);
    end.int(3);
    end.int(content.ids.len() as i64);
    end.int(rows);
    sink.flush()?;
    file.sync_data().map_err(io("sync", draft))?;
    Ok(sink.at)
}

struct Sink<'a> {
    file: &'a dyn File,
    path: &'a Path,
    at: u64,
    frame: Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, self.at)
            .map_err(io("write", self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let frame = std::mem::take(&mut self.frame);
        self.put(&(frame.len() as u32).to_le_bytes())?;
        self.put(&crc32c::crc32c(&frame).to_le_bytes())?;
        self.put(&frame)?;
        self.frame = frame;
        self.frame.clear();
        Ok(())
    }

    fn head(&mut self, catalog: &Catalog, content: &Content) -> Result<()> {
        let mut out = Writer(&mut self.frame);
        out.list(8);
        out.int(0);
        out.int(VERSION);
        out.int(content.position.to_u64() as i64);
        out.int(content.offset as i64);
        out.int(content.time);
        out.list(catalog.len());
        for (_, storage) in catalog.storages() {
            out.text(&storage.name);
        }
        out.list(content.projections.len());
        for (projector, progress) in &content.projections {
            out.list(3);
            out.text(projector);
            out.int(progress.through as i64);
            out.int(progress.after as i64);
        }
        out.list(content.jobs.len());
        for (job, through) in &content.jobs {
            out.list(2);
            out.text(job);
            out.int(*through);
        }
        self.flush()
    }

    fn ids(&mut self, ids: &Order) -> Result<()> {
        let mut items = Vec::new();
        let mut count = 0;
        for accepted in ids.iter() {
            let mut out = Writer(&mut items);
            out.list(4);
            out.bytes(&accepted.id);
            out.int(accepted.offset as i64);
            out.bytes(&accepted.hash);
            match &accepted.result {
                Some(result) => out.bytes(result),
                None => out.null(),
            }
            count += 1;
            if items.len() >= FRAME {
                self.list_frame(&[1], count, &items)?;
                items.clear();
                count = 0;
            }
        }
        self.list_frame(&[1], count, &items)
    }

    fn rows(&mut self, view: &dyn Snapshot, storage: StorageId) -> Result<i64> {
        let mut items = Vec::new();
        let mut count = 0;
        let mut total = 0;
        let head = [2, i64::from(storage.0)];
        for_each_row(view, storage, |key, value| {
            let mut out = Writer(&mut items);
            out.list(2);
            out.bytes(key);
            out.bytes(value);
            count += 1;
            total += 1;
            if items.len() >= FRAME {
                self.list_frame(&head, count, &items)?;
                items.clear();
                count = 0;
            }
            Ok(())
        })?;
        self.list_frame(&head, count, &items)?;
        Ok(total)
    }

    /// Writes a frame of some numbers and a list, unless the list is empty.
    fn list_frame(&mut self, head: &[i64], count: usize, items: &[u8]) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut out = Writer(&mut self.frame);
        out.list(head.len() + 1);
        for number in head {
            out.int(*number);
        }
        out.list(count);
        self.frame.extend_from_slice(items);
        self.flush()
    }
}
