//! The proxy as a process of its own, and what the kernel knows of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use filters::Level;
use proxy::{Options, Proxy};
use tempfile::TempDir;

use crate::Outcome;

/// How a proxy is run.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Flags {
    /// The configuration.
    config: PathBuf,
    /// The engine of WASM filters.
    #[arg(long)]
    engine: String,
    /// How many workers there are.
    #[arg(long)]
    workers: usize,
}

/// Is the proxy, until standard input ends. Says where it listens, and logs as the command line does.
pub(crate) fn serve(flags: &Flags) -> Outcome {
    let options = Options {
        engine: flags.engine.clone(),
        concurrency: flags.workers,
        level: Level::Info,
        log: Arc::new(|level: Level, name: &str, line: &str| {
            eprintln!("{} {name}: {line}", level.name());
        }),
        wasm: Arc::default(),
        metrics: Arc::default(),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(stop);
    });
    Proxy::new(&flags.config, options)?.run(
        |listening, _| {
            let main = listening.iter().find(|listening| listening.name == "main");
            main.iter().for_each(|main| println!("{}", main.address));
        },
        async { drop(stopped.await) },
    )?;
    Ok(())
}

/// A proxy that serves until this is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    input: Option<ChildStdin>,
    folder: TempDir,
}

impl Process {
    /// Starts a proxy.
    pub(crate) fn start(config: &str, engine: &str, workers: usize) -> Outcome<Self> {
        let command = Command::new(std::env::current_exe()?);
        Self::by(command, tempfile::tempdir()?, config, engine, workers)
    }

    /// Starts a proxy under valgrind, which counts its instructions.
    pub(crate) fn counted(config: &str, engine: &str, workers: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let valgrind = std::env::var("VALGRIND").unwrap_or("valgrind".into());
        let mut command = Command::new(valgrind);
        command
            .arg("--tool=callgrind")
            .arg("--callgrind-out-file=/dev/null")
            .arg(format!("--log-file={}", log(folder.path()).display()))
            .arg(std::env::current_exe()?);
        Self::by(command, folder, config, engine, workers)
    }

    fn by(
        mut command: Command,
        folder: TempDir,
        config: &str,
        engine: &str,
        workers: usize,
    ) -> Outcome<Self> {
        let path = folder.path().join("proxy.yaml");
        fs::write(&path, config)?;
        let mut child = command
            .arg("serve")
            .arg(path)
            .args(["--engine", engine, "--workers", &workers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("stderr"))?)
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let Ok(address) = line.trim().parse() else {
            child.wait()?;
            let said = fs::read_to_string(folder.path().join("stderr"))?;
            return Err(format!("the proxy does not start: {said}").into());
        };
        Ok(Self {
            address,
            input: child.stdin.take(),
            child,
            folder,
        })
    }

    /// Processor time of all threads so far.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let said = fs::read_to_string(task?.path().join("schedstat"))?;
            let time = said.split(' ').next().unwrap_or_default();
            nanos += time.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Bytes that the kernel keeps in memory for it.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.unwrap_or_default().parse::<u64>()? * 1024)
    }

    /// Ends it, and answers how many instructions it took, where they were counted.
    pub(crate) fn end(mut self) -> Outcome<u64> {
        drop(self.input.take());
        self.child.wait()?;
        let said = fs::read_to_string(log(self.folder.path()))?;
        let total = said
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        Ok(total.map_or("", |(_, total)| total).trim().parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends by itself; whatever else happened has been said.
        let _ = self.child.wait();
    }
}

/// Where valgrind says what it counted.
fn log(folder: &Path) -> PathBuf {
    folder.join("valgrind")
}
