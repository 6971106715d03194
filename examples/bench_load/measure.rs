//! What is measured of one server in one round.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::client::{Place, Session, Transport};
use crate::figures::{Figures, millis, percentile};
use crate::process::{Running, free_port, started, watch_for};
use crate::tls::Identity;
use crate::{Outcome, Plan, Subject};

/// One server and what it is measured with.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) subject: &'a Subject,
    pub(crate) identity: &'a Identity,
    pub(crate) upstream: &'a str,
}

impl Bench<'_> {
    /// Measures everything once, each group with a fresh process.
    pub(crate) fn round(&self) -> Outcome<Figures> {
        let mut figures = Figures::default();
        if let Some(binary) = self.subject.binary.as_ref().filter(|_| !self.subject.plain) {
            figures.set("program, MiB", std::fs::metadata(binary)?.len() as f64 / MIB);
        }
        self.start_and_calls(&mut figures).map_err(|error| self.named(&error))?;
        if !self.subject.plain {
            self.kept_connections(&mut figures).map_err(|error| self.named(&error))?;
            self.idle_sessions(&mut figures).map_err(|error| self.named(&error))?;
        }
        Ok(figures)
    }

    fn named(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.subject.name)
    }

    fn start_and_calls(&self, figures: &mut Figures) -> Outcome<()> {
        let (server, place) = self.start()?;
        figures.set("cold start, ms", millis(server.since.elapsed()));
        watch_for(SETTLE);
        figures.set("idle RSS, MiB", server.resident_kib()? / 1024.0);
        let call_time = Duration::from_secs_f64(self.plan.call_seconds);
        closed_loop(place, CLIENTS, call_time, Call::ListModels)?;
        for (call, what) in [(Call::ListModels, "list_models"), (Call::Ping, "ping")] {
            let one = closed_loop(place, 1, call_time, call)?;
            figures.set(format!("{what}, one client, calls/s"), one.per_second());
            figures.set(format!("{what}, one client, p50 ms"), millis(one.percentile(50)));
            figures.set(format!("{what}, one client, p99 ms"), millis(one.percentile(99)));
            let before = server.processor_time()?;
            let many = closed_loop(place, CLIENTS, call_time, call)?;
            let spent = server.processor_time()? - before;
            let spent = spent.as_secs_f64() * 1e6 / many.latencies.len() as f64;
            figures.set(format!("{what}, 16 clients, calls/s"), many.per_second());
            figures.set(format!("{what}, 16 clients, p99 ms"), millis(many.percentile(99)));
            figures.set(format!("{what}, server CPU per call, µs"), spent);
        }
        Ok(())
    }

    /// What a connection costs that was used and waits for the next request, and a session without one.
    fn kept_connections(&self, figures: &mut Figures) -> Outcome<()> {
        if self.subject.transport != Transport::Streamable {
            return Ok(());
        }
        let (server, place) = self.start()?;
        let used = || -> Outcome<Session<'_>> {
            let mut session = Session::open(place)?;
            session.list_models()?;
            Ok(session)
        };
        for _ in 0..4 {
            used()?;
        }
        watch_for(SETTLE);
        let empty = server.resident_kib()?;
        let kept = (0..SESSIONS).map(|_| used()).collect::<Outcome<Vec<_>>>()?;
        watch_for(SETTLE);
        let full = server.resident_kib()?;
        figures.set("RSS per kept connection at 64, KiB", (full - empty) / SESSIONS as f64);
        drop(kept);
        watch_for(SETTLE);
        let before = server.resident_kib()?;
        for _ in 0..ABANDONED {
            used()?;
        }
        watch_for(SETTLE);
        let after = server.resident_kib()?;
        figures.set("RSS per abandoned session, KiB", (after - before) / ABANDONED as f64);
        Ok(())
    }

    fn idle_sessions(&self, figures: &mut Figures) -> Outcome<()> {
        let (server, place) = self.start()?;
        // The first sessions make what all share; they come and go before counting starts.
        for _ in 0..4 {
            Session::open(place)?.list_models()?;
        }
        watch_for(SETTLE);
        let empty = server.resident_kib()?;
        let held =
            (0..SESSIONS).map(|_| Session::open(place)?.hold()).collect::<Outcome<Vec<_>>>()?;
        watch_for(SETTLE);
        let full = server.resident_kib()?;
        figures.set("RSS per session at 64, KiB", (full - empty) / SESSIONS as f64);
        let before = server.processor_time()?;
        let idle_time = Duration::from_secs_f64(self.plan.idle_seconds);
        watch_for(idle_time);
        let spent = server.processor_time()? - before;
        figures
            .set("CPU with 64 idle, ms per 10 s", millis(spent) * 10.0 / idle_time.as_secs_f64());
        drop(held);
        Ok(())
    }

    /// Starts the server and returns when it has answered its first initialize.
    fn start(&self) -> Outcome<(Running, Place<'_>)> {
        let port = free_port()?;
        let fill = |text: &String| self.fill(text, port);
        let command: Vec<String> = self.subject.command.iter().map(fill).collect();
        let environment: BTreeMap<_, _> = self
            .subject
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), fill(value)))
            .collect();
        let mut server = Running::server(&command, &environment)?;
        let place = Place {
            port,
            path: &self.subject.path,
            transport: self.subject.transport,
            model: &self.plan.model,
            identity: (!self.subject.plain).then_some(self.identity),
        };
        started(&mut server, || Session::open(place).map(drop))?;
        Ok((server, place))
    }

    fn fill(&self, text: &str, port: u16) -> String {
        text.replace("{port}", &port.to_string())
            .replace("{upstream}", self.upstream)
            .replace("{certificate}", &self.identity.certificate.to_string_lossy())
            .replace("{key}", &self.identity.key.to_string_lossy())
            .replace("{folder}", &self.plan.folder.to_string_lossy())
    }
}

/// What a client does over and over.
#[derive(Debug, Clone, Copy)]
enum Call {
    ListModels,
    Ping,
}

/// The times of all calls of a loop.
struct Calls {
    latencies: Vec<Duration>,
    took: Duration,
}

impl Calls {
    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    fn percentile(&self, percent: usize) -> Duration {
        percentile(self.latencies.iter().copied(), percent)
    }
}

/// Each client, with its own session, calls again as soon as it has its answer.
fn closed_loop(place: Place<'_>, clients: usize, time: Duration, call: Call) -> Outcome<Calls> {
    let mut sessions = (0..clients).map(|_| Session::open(place)).collect::<Outcome<Vec<_>>>()?;
    let (start, begun) = (Barrier::new(clients), Instant::now());
    let latencies = std::thread::scope(|scope| {
        let loops: Vec<_> = sessions
            .iter_mut()
            .map(|session| scope.spawn(|| calls_of_one(session, &start, time, call)))
            .collect();
        let mut all = Vec::new();
        for running in loops {
            all.extend(running.join().map_err(|_panic| "a client's thread panicked")??);
        }
        Outcome::Ok(all)
    })?;
    let took = begun.elapsed();
    Ok(Calls { latencies, took })
}

fn calls_of_one(
    session: &mut Session<'_>,
    start: &Barrier,
    time: Duration,
    call: Call,
) -> Outcome<Vec<Duration>> {
    let mut latencies = Vec::new();
    start.wait();
    let end = Instant::now() + time;
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok(latencies);
        }
        match call {
            Call::ListModels => session.list_models()?,
            Call::Ping => session.ping()?,
        }
        latencies.push(sent.elapsed());
    }
}

const CLIENTS: usize = 16;
const SESSIONS: usize = 64;
const ABANDONED: usize = 1000;
const MIB: f64 = 1024.0 * 1024.0;
/// After a start, and after sessions were opened, until memory is read.
const SETTLE: Duration = Duration::from_millis(500);
