//! A group read back, from bytes of which nothing is trusted.

use engine_core::catalog::{Catalog, StorageId};
use engine_core::error::{Error, ErrorKind, Result};
use engine_core::intent::{Intent, Intents};
use engine_core::manifest::Verb;
use engine_core::value::{Reader, Token};

use super::{
    Command, Counted, Entry, ForeignAnswer, Group, GroupHead, JobRun, LoggedStep, PackageHash,
    Projection, VERSION,
};

pub(super) struct Parser<'a> {
    reader: Reader<'a>,
    names: Vec<StorageId>,
    packages: Vec<(String, PackageHash)>,
    catalog: &'a Catalog,
}

impl<'a> Parser<'a> {
    pub(super) fn new(bytes: &'a [u8], catalog: &'a Catalog) -> Self {
        Self {
            reader: Reader::new(bytes),
            names: Vec::new(),
            packages: Vec::new(),
            catalog,
        }
    }

    pub(super) fn group(mut self) -> Result<Group> {
        self.list_of(6)?;
        let version = self.int()?;
        if version != VERSION {
            return Err(corrupt(format!(
                "a group of the log has version {version}; this build reads version {VERSION}"
            )));
        }
        let time = self.int()?;
        let seed = self.hash()?;
        for _ in 0..self.list()? {
            let name = self.text()?;
            let id = self.catalog.id(name).ok_or_else(|| {
                corrupt(format!(
                    "the log writes to a storage `{name}`, which the manifest does not declare"
                ))
            })?;
            self.names.push(id);
        }
        for _ in 0..self.list()? {
            self.list_of(2)?;
            let package = (self.text()?.to_owned(), self.hash()?);
            self.packages.push(package);
        }
        let mut entries = Vec::new();
        for _ in 0..self.list()? {
            entries.push(self.entry()?);
        }
        if !self.reader.is_at_end() {
            return Err(corrupt("a group of the log goes on behind its end"));
        }
        Ok(Group {
            head: GroupHead { time, seed },
            packages: self.packages,
            entries,
        })
    }

    fn entry(&mut self) -> Result<Entry> {
        match (self.list()?, self.int()?) {
            (8, 0) => self.command().map(Entry::Command),
            (6, 1) => self.projection().map(Entry::Projection),
            (4, 2) => self.job().map(Entry::Job),
            _ => Err(unexpected()),
        }
    }

    fn command(&mut self) -> Result<Command> {
        let offset = self.number()?;
        let attempt = self.number()?;
        let name = self.text()?.to_owned();
        let id = match self.reader.token()? {
            Token::Text(id) => Some(id.to_owned()),
            Token::Null => None,
            _ => return Err(unexpected()),
        };
        let args = self.bytes()?.to_owned();
        let mut results = Vec::new();
        for _ in 0..self.list()? {
            results.push(self.bytes()?.to_owned());
        }
        let mut steps = Vec::new();
        for _ in 0..self.list()? {
            self.list_of(4)?;
            steps.push(LoggedStep {
                extension: self.text()?.to_owned(),
                package: self.package()?,
                intents: self.intents()?,
                answers: self.answers()?,
            });
        }
        Ok(Command {
            offset,
            attempt,
            name,
            id,
            args,
            results,
            steps,
        })
    }

    fn projection(&mut self) -> Result<Projection> {
        let projector = self.text()?.to_owned();
        let package = self.hash()?;
        let through = self.number()?;
        let after = self.number()?;
        let mut events = Vec::new();
        for _ in 0..self.list()? {
            self.list_of(3)?;
            events.push(Counted {
                offset: self.number()?,
                intents: self.intents()?,
                answers: self.answers()?,
            });
        }
        Ok(Projection {
            projector,
            package,
            through,
            after,
            events,
        })
    }

    fn job(&mut self) -> Result<JobRun> {
        let job = self.text()?.to_owned();
        let through = self.int()?;
        let error = match self.reader.token()? {
            Token::Null => None,
            Token::List(2) => Some((self.text()?.to_owned(), self.text()?.to_owned())),
            _ => return Err(unexpected()),
        };
        Ok(JobRun {
            job,
            through,
            error,
        })
    }

    /// The version that a package's number stands for.
    fn package(&mut self) -> Result<PackageHash> {
        let number = usize::try_from(self.number()?).ok();
        let package = number.and_then(|number| self.packages.get(number));
        package.map(|(_, hash)| *hash).ok_or_else(unexpected)
    }

    fn intents(&mut self) -> Result<Intents> {
        let count = self.list()?;
        let mut intents = Intents::with_capacity(count.min(64) as usize);
        for _ in 0..count {
            self.list_of(4)?;
            let verb = self.int()?;
            let verb = Verb::ALL
                .into_iter()
                .find(|v| *v as i64 == verb && *v != Verb::Read)
                .ok_or_else(unexpected)?;
            let number = self.int()?;
            let storage = usize::try_from(number).ok();
            let storage = storage
                .and_then(|n| self.names.get(n))
                .ok_or_else(unexpected)?;
            let storage = *storage;
            let key = self.bytes()?;
            let value = self.bytes()?;
            intents.push(Intent {
                verb,
                storage,
                key,
                value,
            });
        }
        Ok(intents)
    }

    fn answers(&mut self) -> Result<Vec<ForeignAnswer>> {
        let mut answers = Vec::new();
        for _ in 0..self.list()? {
            self.list_of(3)?;
            answers.push(ForeignAnswer {
                function: self.text()?.to_owned(),
                argument: self.hash()?,
                answer: match self.reader.token()? {
                    Token::Bytes(bytes) => Ok(bytes.to_owned()),
                    Token::Text(words) => Err(words.to_owned()),
                    _ => return Err(unexpected()),
                },
            });
        }
        Ok(answers)
    }

    fn list(&mut self) -> Result<u32> {
        match self.reader.token()? {
            Token::List(len) => Ok(len),
            _ => Err(unexpected()),
        }
    }

    fn list_of(&mut self, len: u32) -> Result<()> {
        if self.list()? == len {
            return Ok(());
        }
        Err(unexpected())
    }

    fn int(&mut self) -> Result<i64> {
        match self.reader.token()? {
            Token::Int(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    fn number(&mut self) -> Result<u64> {
        u64::try_from(self.int()?).map_err(|_| unexpected())
    }

    fn text(&mut self) -> Result<&'a str> {
        match self.reader.token()? {
            Token::Text(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.reader.token()? {
            Token::Bytes(value) => Ok(value),
            _ => Err(unexpected()),
        }
    }

    fn hash(&mut self) -> Result<[u8; 16]> {
        self.bytes()?.try_into().map_err(|_| unexpected())
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn unexpected() -> Error {
    corrupt("a group of the log has another form than this build writes")
}
