//! A simulated machine, for tests: files in memory that lose power and fail on demand.
//!
//! The disk is as unkind as POSIX allows. Until a file is synced, each sector
//! of what was written to it may survive a power loss or not, by itself. Until
//! a folder is synced, so may each change of a name in it. A failed sync may
//! have kept any part, and a later one does not make up for it. The choices
//! come from the seed, so a run repeats exactly. Threads are real threads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::random::Random;
use super::{Access, Alarm, File, Files, FolderLock, JoinHandle, Platform, spawn_thread};

/// What a power loss keeps or loses as one.
const SECTOR: usize = 512;

/// What goes wrong at a chosen file operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails with an input/output error; a write may have written a part.
    Io,
    /// The operation fails for want of space; a write may have written a part.
    Full,
    /// A write writes only a part, and says so. Other operations go well.
    ShortWrite,
    /// The machine goes off: this operation takes part effect, and it and all
    /// later ones fail until [`SimPlatform::power_loss`].
    PowerCut,
}

/// A simulated machine. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct SimPlatform {
    machine: Arc<Mutex<Machine>>,
    held: Arc<Held>,
}

/// Syncs that are slow until somebody says so.
#[derive(Debug, Default)]
struct Held {
    /// Whether syncs wait, and how many do.
    syncs: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Held {
    fn syncs(&self) -> MutexGuard<'_, (bool, usize)> {
        self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, waits: impl Fn(&(bool, usize)) -> bool) {
        let waited = self.changed.wait_while(self.syncs(), |syncs| waits(syncs));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Holds a sync for as long as syncs are held.
    fn pass(&self) {
        self.syncs().1 += 1;
        self.changed.notify_all();
        self.wait_while(|syncs| syncs.0);
        self.syncs().1 -= 1;
    }
}

impl SimPlatform {
    /// A machine with an empty disk and a clock at 0, all of whose chances come from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let seed = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        Self {
            machine: Arc::new(Mutex::new(Machine {
                now: 0,
                clock_readings: 0,
                alarms: Vec::new(),
                random: Random::new(seed),
                chance: Random::new(*blake3::hash(&seed).as_bytes()),
                operations: 0,
                fault: None,
                off: false,
                boots: 0,
                folders: BTreeSet::new(),
                locked: BTreeSet::new(),
                inodes: Vec::new(),
                names: BTreeMap::new(),
                synced_names: BTreeMap::new(),
                unsynced_names: Vec::new(),
            })),
            held: Arc::default(),
        }
    }

    /// Sets the clock, in microseconds since the Unix epoch.
    pub fn set_now(&self, micros: i64) {
        let mut machine = self.machine();
        machine.now = micros;
        machine.alarms.retain(|(time, alarm)| {
            let waits = *time > micros;
            if !waits {
                // Whoever set it may be gone.
                alarm.try_send(Instant::now()).ok();
            }
            waits
        });
    }

    /// How often the clock was read so far.
    #[must_use]
    pub fn clock_readings(&self) -> u64 {
        self.machine().clock_readings
    }

    /// Makes every sync of a file's content wait until [`release_syncs`](Self::release_syncs).
    pub fn hold_syncs(&self) {
        self.held.syncs().0 = true;
    }

    /// Waits until a sync is held.
    pub fn wait_for_held_sync(&self) {
        self.held.wait_while(|syncs| syncs.1 == 0);
    }

    /// Lets the syncs that are held go on, and later ones with them.
    pub fn release_syncs(&self) {
        self.held.syncs().0 = false;
        self.held.changed.notify_all();
    }

    /// How many file operations there were so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// Arms one fault for the file operation that comes after `operations` more.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut machine = self.machine();
        machine.fault = Some((machine.operations + operations, fault));
    }

    /// Kills the process: open files and locks are gone, the disk stays as it was seen.
    pub fn kill(&self) {
        let mut machine = self.machine();
        machine.boots += 1;
        machine.fault = None;
        machine.locked.clear();
    }

    /// Cuts the power and restores it: as [`kill`](Self::kill), and what was
    /// not synced survives in part, by chance.
    pub fn power_loss(&self) {
        self.kill();
        let mut machine = self.machine();
        machine.off = false;
        machine.lose_power();
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform for SimPlatform {
    fn now(&self) -> i64 {
        let mut machine = self.machine();
        machine.clock_readings += 1;
        machine.now
    }

    fn alarm(&self, time: i64) -> Alarm {
        let mut machine = self.machine();
        if time <= machine.now {
            return crossbeam_channel::after(Duration::ZERO);
        }
        let (alarm, goes_off) = bounded(1);
        machine.alarms.push((time, alarm));
        goes_off
    }

    fn random(&self) -> [u8; 32] {
        self.machine().random.block()
    }

    fn spawn(&self, name: &str, task: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle> {
        spawn_thread(name, task)
    }

    fn files(&self) -> &dyn Files {
        self
    }
}

#[derive(Debug)]
struct Machine {
    now: i64,
    clock_readings: u64,
    alarms: Vec<(i64, Sender<Instant>)>,
    random: Random,
    /// Decides what a fault leaves behind; apart from `random`, so that faults
    /// do not change what the program draws.
    chance: Random,
    operations: u64,
    fault: Option<(u64, Fault)>,
    off: bool,
    /// Handles of an earlier boot are dead.
    boots: u64,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that no sync has made durable, in order.
    unsynced_names: Vec<NameChange>,
}

/// A change of names: `from` goes, `to` comes.
#[derive(Debug)]
struct NameChange {
    from: Option<PathBuf>,
    to: Option<(PathBuf, usize)>,
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        let path = self.to.as_ref().map(|(path, _)| path);
        path.or(self.from.as_ref()).and_then(|path| path.parent())
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some((to, inode)) = &self.to {
            names.insert(to.clone(), *inode);
        }
    }
}

#[derive(Debug, Default)]
struct Inode {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What a power loss cannot take.
    synced: Vec<u8>,
    /// What the next sync adds to `synced`, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Size(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Change::Size(size) => content.resize(*size, 0),
        }
    }

    /// The parts that survive a power loss each by itself.
    fn parts(self) -> Vec<Change> {
        match self {
            Change::Write(mut offset, bytes) => {
                let mut rest = bytes.as_slice();
                let mut parts = Vec::new();
                while !rest.is_empty() {
                    let (part, later) = rest.split_at((SECTOR - offset % SECTOR).min(rest.len()));
                    parts.push(Change::Write(offset, part.to_vec()));
                    offset += part.len();
                    rest = later;
                }
                parts
            }
            size => vec![size],
        }
    }
}

/// How an operation ends that a fault met.
enum Met {
    Nothing,
    Short,
    Error(io::Error),
}

fn off() -> io::Error {
    io::Error::other("the machine is off")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn in_memory(n: u64) -> io::Result<usize> {
    usize::try_from(n).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl Machine {
    fn coin(&self) -> bool {
        self.chance.block()[0] & 1 == 1
    }

    /// A length that is at least 1 and less than `len`, or 0 where there is none.
    fn shorter(&self, len: usize) -> usize {
        let draw = self.chance.block();
        let draw = u32::from_le_bytes([draw[0], draw[1], draw[2], draw[3]]) as usize;
        if len < 2 { 0 } else { 1 + draw % (len - 1) }
    }

    /// Counts an operation and says what goes wrong with it.
    fn meet(&mut self) -> Met {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == number => {
                self.fault = None;
                match fault {
                    Fault::Io => Met::Error(io::Error::other("injected input/output error")),
                    Fault::Full => Met::Error(io::ErrorKind::StorageFull.into()),
                    Fault::ShortWrite => Met::Short,
                    Fault::PowerCut => {
                        self.off = true;
                        Met::Error(off())
                    }
                }
            }
            _ => Met::Nothing,
        }
    }

    /// As [`meet`](Self::meet), for operations of which nothing happens in part.
    fn step(&mut self) -> io::Result<()> {
        if self.off {
            return Err(off());
        }
        match self.meet() {
            Met::Error(e) => Err(e),
            Met::Nothing | Met::Short => Ok(()),
        }
    }

    fn change_names(&mut self, from: Option<PathBuf>, to: Option<(PathBuf, usize)>) {
        let change = NameChange { from, to };
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn change(&mut self, inode: usize, change: Change) {
        let inode = &mut self.inodes[inode];
        change.apply(&mut inode.seen);
        inode.unsynced.push(change);
    }

    /// Keeps some parts of what is unsynced, by chance, and forgets the rest.
    fn sync_in_part(&mut self, inode: usize) {
        let (everything, in_order) = (self.coin(), self.coin());
        let mut kept = self.coin();
        for change in std::mem::take(&mut self.inodes[inode].unsynced) {
            for part in change.parts() {
                kept = match (everything, in_order) {
                    (true, _) => kept,
                    (false, true) => kept && self.coin(),
                    (false, false) => self.coin(),
                };
                if kept {
                    part.apply(&mut self.inodes[inode].synced);
                }
            }
        }
    }

    fn lose_power(&mut self) {
        for inode in 0..self.inodes.len() {
            self.sync_in_part(inode);
            self.inodes[inode].seen = self.inodes[inode].synced.clone();
        }
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.coin() {
                change.apply(&mut self.synced_names);
            }
        }
        self.names = self.synced_names.clone();
    }
}

impl Files for SimPlatform {
    fn create_dir_all(&self, folder: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.step()?;
        machine
            .folders
            .extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut machine = self.machine();
        machine.step()?;
        if !machine.folders.contains(folder) {
            return Err(missing());
        }
        let paths = machine.names.keys().chain(&machine.folders);
        let mut names: Vec<String> = paths
            .filter(|path| path.parent() == Some(folder))
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut machine = self.machine();
        machine.step()?;
        let inode = match (machine.names.get(path).copied(), access) {
            (Some(_), Access::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), Access::Truncate) => {
                machine.change(inode, Change::Size(0));
                inode
            }
            (Some(inode), _) => inode,
            (None, Access::Read | Access::Write) => return Err(missing()),
            (None, Access::CreateNew | Access::Truncate) => {
                if !path.parent().is_some_and(|p| machine.folders.contains(p)) {
                    return Err(missing());
                }
                let inode = machine.inodes.len();
                machine.inodes.push(Inode::default());
                machine.change_names(None, Some((path.to_owned(), inode)));
                inode
            }
        };
        Ok(Box::new(SimFile {
            boot: machine.boots,
            writable: access != Access::Read,
            platform: self.clone(),
            inode,
        }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut machine = self.machine();
        machine.step()?;
        Ok(machine.names.contains_key(path) || machine.folders.contains(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.step()?;
        let inode = *machine.names.get(from).ok_or_else(missing)?;
        machine.change_names(Some(from.to_owned()), Some((to.to_owned(), inode)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.step()?;
        if !machine.names.contains_key(path) {
            return Err(missing());
        }
        machine.change_names(Some(path.to_owned()), None);
        Ok(())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        machine.step()?;
        for change in std::mem::take(&mut machine.unsynced_names) {
            if change.folder() == Some(folder) {
                change.apply(&mut machine.synced_names);
            } else {
                machine.unsynced_names.push(change);
            }
        }
        Ok(())
    }

    fn lock(&self, folder: &Path) -> io::Result<FolderLock> {
        let mut machine = self.machine();
        machine.step()?;
        if !machine.locked.insert(folder.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(FolderLock::new(SimLock {
            boot: machine.boots,
            platform: self.clone(),
            folder: folder.to_owned(),
        }))
    }
}

struct SimLock {
    boot: u64,
    platform: SimPlatform,
    folder: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.platform.machine();
        if machine.boots == self.boot {
            machine.locked.remove(&self.folder);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    boot: u64,
    writable: bool,
    platform: SimPlatform,
    inode: usize,
}

impl SimFile {
    fn machine(&self) -> io::Result<MutexGuard<'_, Machine>> {
        let machine = self.platform.machine();
        if machine.boots != self.boot {
            return Err(io::Error::other(
                "the process that opened this file is dead",
            ));
        }
        if machine.off {
            return Err(off());
        }
        Ok(machine)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut machine = self.machine()?;
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (len, error) = match machine.meet() {
            Met::Nothing => (bytes.len(), None),
            Met::Short if bytes.len() < 2 => (bytes.len(), None),
            Met::Short => (machine.shorter(bytes.len()), None),
            Met::Error(e) => (machine.shorter(bytes.len()), Some(e)),
        };
        let change = Change::Write(in_memory(offset)?, bytes[..len].to_vec());
        machine.change(self.inode, change);
        error.map_or(Ok(len), Err)
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        let mut machine = self.machine()?;
        machine.step()?;
        Ok(machine.inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut machine = self.machine()?;
        machine.step()?;
        let content = &machine.inodes[self.inode].seen;
        let rest = content.get(in_memory(offset)?..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut machine = self.machine()?;
        machine.step()?;
        machine.change(self.inode, Change::Size(in_memory(size)?));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.platform.held.pass();
        let mut machine = self.machine()?;
        match machine.meet() {
            Met::Nothing | Met::Short => {
                let inode = &mut machine.inodes[self.inode];
                for change in std::mem::take(&mut inode.unsynced) {
                    change.apply(&mut inode.synced);
                }
                Ok(())
            }
            // The pages count as clean from here on, or are read back from
            // the disk: both are what real file systems do.
            Met::Error(e) => {
                machine.sync_in_part(self.inode);
                if machine.coin() {
                    machine.inodes[self.inode].seen = machine.inodes[self.inode].synced.clone();
                }
                Err(e)
            }
        }
    }
}
