//! A process that runs while it is measured, and what `/proc` says about it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// A started program; dropping it ends it.
pub(crate) struct Running {
    child: Child,
    /// When it was started.
    pub(crate) since: Instant,
    /// What it printed as its address; empty for servers, whose port is chosen for them.
    pub(crate) address: String,
}

impl Running {
    /// Starts a server with nothing on its standard streams.
    pub(crate) fn server(
        command: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Outcome<Self> {
        let (program, arguments) = command.split_first().ok_or("an empty command")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let since = Instant::now();
        Ok(Self { child: command.spawn()?, since, address: String::new() })
    }

    /// Starts the stand-in model server on a port of the system's choice.
    pub(crate) fn stand_in(program: &Path, script: &[(&str, String)]) -> Outcome<Self> {
        let mut command = Command::new(program);
        command.envs(script.iter().map(|(name, value)| (name, value)));
        command.env("PORT", "0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let since = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.split_whitespace().find(|word| word.starts_with("http://"));
        let address = address.ok_or("the stand-in named no address")?.to_owned();
        Ok(Self { child, since, address })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> Outcome<f64> {
        self.status_kib("VmRSS:")
    }

    /// The most that was resident since the last [`Running::forget_peak`], in KiB.
    pub(crate) fn peak_kib(&self) -> Outcome<f64> {
        self.status_kib("VmHWM:")
    }

    /// Begins a new peak at what is resident now (proc_pid_clear_refs(5)).
    pub(crate) fn forget_peak(&self) -> Outcome<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    fn status_kib(&self, name: &str) -> Outcome<f64> {
        let status = self.proc("status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).ok_or("not in status")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Processor time spent so far, user and system.
    pub(crate) fn processor_time(&self) -> Outcome<Duration> {
        let stat = self.proc("stat")?;
        // The program's name, in parentheses, may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields.skip(UTIME).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(TICK * u32::try_from(ticks)?)
    }

    fn proc(&self, file: &str) -> Outcome<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way it must be gone and reaped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until the server answers what `try_it` asks.
pub(crate) fn started(server: &mut Running, try_it: impl Fn() -> Outcome<()>) -> Outcome<()> {
    loop {
        match try_it() {
            Ok(()) => return Ok(()),
            Err(error) if server.since.elapsed() > START_MAX || !server.is_alive()? => {
                return Err(format!("does not start: {error}").into());
            }
            Err(_) => watch_for(RETRY),
        }
    }
}

/// A port that nobody has now.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Lets time pass while something is watched.
pub(crate) fn watch_for(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// The place of `utime` among the fields after the name (proc_pid_stat(5), field 14).
const UTIME: usize = 11;
/// USER_HZ is 100 on every Linux that this runs on.
const TICK: Duration = Duration::from_millis(10);
const START_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to reach a server that is starting: far below what is measured.
const RETRY: Duration = Duration::from_micros(200);
