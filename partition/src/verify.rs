//! Verification: a data folder's logs and checkpoints are whole and agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_core::error::{Error, ErrorKind, Result};

use crate::checkpoint;
use crate::folder::{self, FolderFacts, checkpoint_folder, log_folder, store_folder};
use crate::ids::Window;
use crate::log::{self, LogReader, Owner, Position, SegmentLog};
use crate::manifest::PartitionSpec;
use crate::packages;
use crate::platform::Platform;
use crate::rows;
use crate::state::{State, log_error, reaches};
use crate::store::{Scratch, StoreKind, StorePlace};

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Partitions.
    pub partitions: u32,
    /// Groups of the logs.
    pub groups: u64,
    /// Commands.
    pub commands: u64,
    /// Checkpoints that agree with their logs.
    pub checkpoints: u64,
    /// The hash of the state.
    pub hash: Option<String>,
    /// What is damaged or does not agree.
    pub problems: Vec<String>,
    /// What a crash left behind, which the next opening puts right without loss.
    pub notices: Vec<String>,
}

/// Reads a whole data folder and compares every checkpoint, and a store on disk, with what the log says, and kept code with
/// its hashes.
///
/// Nothing is changed: not even what a crash left behind. For a store on disk the state is made once more beside it, and
/// removed again. Where the log has forgotten its beginning, such a store's rows are read, and are compared with nothing.
///
/// # Errors
/// `unknown` where the folder is no data folder, `busy` where it is open, `io`; `corrupt` or `manifest` where what the folder
/// says of itself cannot be read, and `corrupt` where a row does not fit its schema. Other damage is not an error here.
pub fn verify(platform: &Arc<dyn Platform>, data: &Path) -> Result<Verified> {
    let Some(facts) = FolderFacts::read(&**platform, data)? else {
        return Err(Error::new(
            ErrorKind::Unknown,
            format!(
                "{} is no data folder: it has no application.json",
                data.display()
            ),
        ));
    };
    let mut found = Verified {
        partitions: facts.partitions,
        ..Verified::default()
    };
    let lost = facts.lost_logs(&**platform, data)?;
    found.problems.extend(lost.iter().map(ToString::to_string));
    let mut snapshots = Vec::new();
    let mut scratches = Vec::new();
    for number in 0..facts.partitions {
        let folder = folder::of_partition(data, number);
        let owner = Owner::new(&facts.application, number);
        match partition(platform, (&folder, owner), &facts, &mut found) {
            Ok(Some((state, scratch))) => {
                found.commands += state.offset;
                snapshots.push(state.store.snapshot()?);
                scratches.extend(scratch);
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                found.problems.push(format!("partition {number}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    if found.problems.is_empty() {
        found.hash = Some(rows::hash(&facts.catalog()?, &snapshots)?);
    }
    let damaged = packages::verify(&**platform, data)?;
    found.problems.extend(damaged);
    Ok(found)
}

/// Verifies one partition; gives its state where that can be had.
fn partition<'a>(
    platform: &'a Arc<dyn Platform>,
    (folder, owner): (&Path, Owner),
    facts: &FolderFacts,
    found: &mut Verified,
) -> Result<Option<(State, Vec<Scratch<'a>>)>> {
    let catalog = Arc::new(facts.catalog()?);
    let mut state = State::new(catalog, Window::ALL);
    let log_folder = log_folder(folder);
    let files = platform.files();
    let exists = files.exists(&log_folder).map_err(|source| {
        let what = format!("cannot look for {}: {source}", log_folder.display());
        Error::new(ErrorKind::Io, what).with_source(source)
    });
    if !exists? {
        // The folder was claimed, and the partition was never opened.
        return Ok(Some((state, Vec::new())));
    }
    let walked = log::verify(platform, &log_folder).map_err(log_error)?;
    found.groups += walked.groups;
    found
        .problems
        .extend(walked.damage.iter().map(ToString::to_string));
    found
        .notices
        .extend(walked.notices.iter().map(ToString::to_string));
    if !walked.damage.is_empty() {
        return Ok(None);
    }
    let (reader, _lock) =
        SegmentLog::open_to_read(platform.clone(), &log_folder, Some(owner)).map_err(log_error)?;
    let mut kept = checkpoint::list(&**platform, &checkpoint_folder(folder))?;
    kept.reverse();
    let place = StorePlace {
        kind: facts.store,
        platform: &**platform,
        folder: store_folder(folder),
        memory: PartitionSpec::default().store_bytes,
    };
    let is_whole = reader.oldest() == Position::START;
    let (scratches, mut stored) = match facts.store {
        StoreKind::Memory => (Vec::new(), None),
        StoreKind::Disk => open_store(&place, is_whole, facts, &mut state, found)?,
    };
    if !is_whole {
        // What lies before the oldest checkpoint is gone; that checkpoint is where the rest begins.
        if let Some((_, oldest)) = kept.first() {
            checkpoint::read(&**platform, oldest, &mut state)?;
            if facts.store == StoreKind::Disk {
                reaches(Some(&*state.store), &state, oldest)?;
            }
        }
    }
    for (position, path) in &kept {
        if let Some(stored) = stored.take_if(|stored| stored.position < *position) {
            let what = stored.disagreement(&mut state, &*reader)?;
            found.problems.extend(what);
        }
        match check_checkpoint(
            platform,
            (*position, path),
            facts.store,
            &mut state,
            &*reader,
        )? {
            None => found.checkpoints += 1,
            Some(problem) => found.problems.push(problem),
        }
    }
    if let Some(stored) = stored {
        let what = stored.disagreement(&mut state, &*reader)?;
        found.problems.extend(what);
    }
    state.follow(&*reader)?;
    state.check_store()?;
    Ok(Some((state, scratches)))
}

/// Opens a copy of a store on disk. Where the log has its beginning, the state gets a store without rows for the log to
/// fill, and what the copy says is given, to be compared; else the copy is the state's store. The scratches are to stay as
/// long as the state.
fn open_store<'a>(
    place: &StorePlace<'a>,
    is_whole: bool,
    facts: &FolderFacts,
    state: &mut State,
    found: &mut Verified,
) -> Result<(Vec<Scratch<'a>>, Option<Stored>)> {
    let catalog = state.catalog.clone();
    let copy = place.copy("verify-store")?;
    let opened = copy.0.check().and_then(|()| copy.0.open(&catalog));
    let opened = opened.and_then(|store| {
        let hash = rows::hash(&catalog, &[store.snapshot()?])?;
        Ok((store, hash))
    });
    let opened = opened.map_err(|error| {
        // The damage is in the store, not in its copy.
        let (copy, store) = (&copy.0.folder, &place.folder);
        let message = error.message();
        let message = message.replace(&*copy.to_string_lossy(), &store.to_string_lossy());
        Error::new(error.kind(), message)
    });
    let opened = match opened {
        // The first opening did not come so far that anything was answered.
        Err(error) if error.kind() == ErrorKind::Corrupt && is_whole && !facts.opened => {
            let notice =
                "the first opening did not come to its end, and the next one makes the store anew";
            found.notices.push(format!("{notice}: {}", error.message()));
            None
        }
        opened => Some(opened?),
    };
    match opened {
        Some((store, _)) if !is_whole => {
            state.store = store;
            Ok((vec![copy], None))
        }
        opened => {
            let beside = place.scratch("verify")?;
            state.store = beside.0.open(&catalog)?;
            let stored = opened.map(|(store, hash)| Stored {
                folder: place.folder.clone(),
                position: store.position(),
                hash,
            });
            Ok((vec![beside, copy], stored))
        }
    }
}

/// Follows the log up to a checkpoint and compares; says what is wrong with the checkpoint.
fn check_checkpoint(
    platform: &Arc<dyn Platform>,
    (position, path): (Position, &Path),
    store: StoreKind,
    state: &mut State,
    reader: &dyn LogReader,
) -> Result<Option<String>> {
    let mut saved = State::new(state.catalog.clone(), Window::ALL);
    if let Err(error) = checkpoint::read(&**platform, path, &mut saved) {
        return Ok(Some(error.to_string()));
    }
    state.follow_until(reader, Some(position), |_, _| Ok(()))?;
    let misplaced = saved.position != position;
    let what = match misplaced {
        true => Some("its name says another position than it does".to_owned()),
        false => disagreement(state, &saved, store)?,
    };
    Ok(what.map(|what| format!("{} does not agree with the log: {what}", path.display())))
}

/// What a store on disk says.
struct Stored {
    folder: PathBuf,
    position: Position,
    hash: String,
}

impl Stored {
    /// Follows the log up to the store's position and compares.
    fn disagreement(&self, log: &mut State, reader: &dyn LogReader) -> Result<Option<String>> {
        log.follow_until(reader, Some(self.position), |_, _| Ok(()))?;
        let rows = rows::hash(&log.catalog, &[log.store.snapshot()?])?;
        Ok((rows != self.hash).then(|| {
            format!(
                "{} does not agree with the log at position {}: its rows differ",
                self.folder.display(),
                self.position
            )
        }))
    }
}

fn disagreement(log: &State, saved: &State, store: StoreKind) -> Result<Option<String>> {
    if log.position != saved.position {
        return Ok(Some(format!(
            "it is of position {}, where no group of the log ends",
            saved.position
        )));
    }
    if log.offset != saved.offset {
        return Ok(Some(format!(
            "it has {} commands, the log {}",
            saved.offset, log.offset
        )));
    }
    if log.projections != saved.projections {
        return Ok(Some("its projectors are at other places".to_owned()));
    }
    if log.jobs != saved.jobs {
        return Ok(Some("its jobs are at other times".to_owned()));
    }
    if !log.ids.end_with(&saved.ids) {
        return Ok(Some("its command ids differ".to_owned()));
    }
    if store == StoreKind::Disk {
        // The store has the rows.
        return Ok(None);
    }
    let hash = |state: &State| rows::hash(&state.catalog, &[state.store.snapshot()?]);
    Ok((hash(log)? != hash(saved)?).then(|| "its rows differ".to_owned()))
}
