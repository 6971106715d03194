//! What a chat costs that goes through the program, beside the same one made directly at the model server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::Outcome;
use crate::client::{Place, Session, Transport};
use crate::figures::{Short, median, millis, percentile};
use crate::process::{Running, free_port, started, watch_for};
use crate::wire::Wire;

/// What to run, and how often.
#[derive(Debug, Deserialize)]
pub(crate) struct Plan {
    /// Each round makes every call directly and through the program, in turn.
    rounds: usize,
    /// How long short answers are asked for in a round.
    call_seconds: f64,
    /// How many tokens the long paced answer has.
    paced_tokens: u32,
    /// The program that plays the model server.
    stand_in: PathBuf,
    /// A model that the stand-in lists.
    model: String,
    /// The program under test.
    server: PathBuf,
    /// Where its state goes.
    folder: PathBuf,
}

/// One line of the table; every round adds a value to each side.
struct Row {
    name: String,
    direct: Vec<f64>,
    through: Vec<f64>,
    /// What may be said of the two; the sheet's bound stands in README.
    verdict: Verdict,
}

#[derive(Clone, Copy)]
enum Verdict {
    /// What the program adds.
    Added,
    /// The share of the direct figure that is left.
    Share,
    /// There is no direct figure.
    Alone,
}

/// Runs the plan and prints the medians of its rounds.
pub(crate) fn run(plan: &Plan) -> Outcome<String> {
    let mut rows = Vec::new();
    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        for clients in [1, 8] {
            for (what, measure) in MEASURES {
                measure(plan, clients, &mut rows)
                    .map_err(|error| format!("{what}, {}: {error}", of(clients)))?;
            }
        }
    }
    let mut table = String::from("| | directly | through | |\n|---|---:|---:|---:|\n");
    for row in &rows {
        table.push_str(&row.line());
    }
    Ok(table)
}

/// The added time of a call whose answer is short, and of its first token. Several clients get it at
/// a pace that a model could have: at once, they would measure how many calls fit on the machine.
fn short_answers(plan: &Plan, clients: usize, rows: &mut Vec<Row>) -> Outcome<()> {
    let pace = if clients == 1 { 0 } else { SHORT_TOKENS_PER_S };
    let pair = Pair::start(plan, SHORT_TOKENS, pace)?;
    let time = Duration::from_secs_f64(plan.call_seconds);
    pair.direct(clients, time)?;
    pair.through(clients, time, false)?;
    let directly = pair.direct(clients, time)?;
    let through = pair.through(clients, time, false)?;
    let told = pair.through(clients, time, true)?;
    let whole = |all: &[Times]| millis(percentile(all.iter().map(|times| times.whole), 50));
    let first = |all: &[Times]| millis(percentile(all.iter().map(|times| times.first), 50));
    let named = |what: &str| format!("{what}, {}, p50 ms", of(clients));
    add(rows, named("short answer"), Some(whole(&directly)), whole(&through), Verdict::Added);
    add(rows, named("first token"), Some(first(&directly)), first(&told), Verdict::Added);
    Ok(())
}

/// The pace that reaches the client of a fast model, and what each token costs.
fn paced_answers(plan: &Plan, clients: usize, rows: &mut Vec<Row>) -> Outcome<()> {
    let pair = Pair::start(plan, plan.paced_tokens, TOKENS_PER_S)?;
    let rate = |all: &[Times]| {
        let slowest = all.iter().map(|times| times.whole).max().unwrap_or_default();
        f64::from(plan.paced_tokens) / slowest.as_secs_f64()
    };
    let directly = rate(&pair.direct(clients, Duration::ZERO)?);
    pair.through(clients, Duration::ZERO, true)?;
    let before = pair.server.processor_time()?;
    let through = rate(&pair.through(clients, Duration::ZERO, true)?);
    let spent = pair.server.processor_time()? - before;
    let tokens = f64::from(plan.paced_tokens) * clients as f64;
    let name = format!("at {TOKENS_PER_S} tokens/s, {}, tokens/s", of(clients));
    add(rows, name, Some(directly), through, Verdict::Share);
    let name = format!("processor time a token, {}, µs", of(clients));
    add(rows, name, None, spent.as_secs_f64() * 1e6 / tokens, Verdict::Alone);
    Ok(())
}

/// The memory that calls with answers of 1 MiB need each, and what stays of it.
fn long_answers(plan: &Plan, clients: usize, rows: &mut Vec<Row>) -> Outcome<()> {
    let pair = Pair::start(plan, MIB_TOKENS, 0)?;
    // What all calls share is made by others before.
    pair.through(clients, Duration::ZERO, true)?;
    watch_for(SETTLE);
    let before = pair.server.resident_kib()?;
    pair.server.forget_peak()?;
    pair.through(clients, Duration::ZERO, true)?;
    let peak = pair.server.peak_kib()?;
    watch_for(SETTLE);
    let after = pair.server.resident_kib()?;
    let each = |kib: f64| kib / 1024.0 / clients as f64;
    let name = format!("peak memory of a call that answers 1 MiB, {}, MiB", of(clients));
    add(rows, name, None, each(peak - before), Verdict::Alone);
    let name = format!("what stays of it, {}, MiB", of(clients));
    add(rows, name, None, each(after - before), Verdict::Alone);
    Ok(())
}

/// The program and the model server behind it.
struct Pair<'a> {
    plan: &'a Plan,
    stand_in: Running,
    server: Running,
    port: u16,
}

/// How long a call took, to its first token and in all.
struct Times {
    first: Duration,
    whole: Duration,
}

impl<'a> Pair<'a> {
    fn start(plan: &'a Plan, tokens: u32, per_second: u32) -> Outcome<Self> {
        let stand_in = Running::stand_in(
            &plan.stand_in,
            &[("TOKENS", tokens.to_string()), ("TOKENS_PER_S", per_second.to_string())],
        )?;
        let port = free_port()?;
        let config = plan.folder.join("chat.toml");
        let url = &stand_in.address;
        let upstream =
            format!("[[upstream]]\nname = \"it\"\nurl = \"{url}\"\nconcurrency = {CLIENTS_MAX}\n");
        std::fs::write(&config, upstream)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let settings = [
            ("PORT", port.to_string()),
            ("HOST", "127.0.0.1".to_owned()),
            ("MCP_TRANSPORT", "http".to_owned()),
            ("MCP_CONFIG", text(&config)),
            ("MCP_STATE_DIR", text(&plan.folder)),
        ];
        let environment: BTreeMap<_, _> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut server = Running::server(&[text(&plan.server)], &environment)?;
        started(&mut server, || Session::open(place(plan, port)).map(drop))?;
        Ok(Self { plan, stand_in, server, port })
    }

    fn direct(&self, clients: usize, time: Duration) -> Outcome<Vec<Times>> {
        let (_, port) = self.stand_in.address.rsplit_once(':').ok_or("the stand-in has no port")?;
        let port = port.trim_end_matches('/').parse()?;
        let body = json!({
            "model": self.plan.model,
            "messages": [{"role": "user", "content": "go on"}],
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let body = body.to_string();
        in_parallel(clients, time, || {
            let mut wire = Wire::open(port, None)?;
            let body = &body;
            Ok(move || {
                let asked = Instant::now();
                let mut first = None;
                let headers = "Content-Type: application/json\r\n";
                let head = wire.exchange("POST /v1/chat/completions", headers, body)?;
                if head.status != 200 {
                    return Err(format!("the stand-in answered {}", head.status).into());
                }
                while let Some(line) = wire.line()? {
                    if line.contains("word") {
                        first.get_or_insert_with(|| asked.elapsed());
                    }
                }
                times(first, asked.elapsed())
            })
        })
    }

    /// With `told` the client asks for progress, and the first token is the progress that tells of it.
    fn through(&self, clients: usize, time: Duration, told: bool) -> Outcome<Vec<Times>> {
        in_parallel(clients, time, || {
            let mut session = Ending(Session::open(place(self.plan, self.port))?);
            Ok(move || {
                let session = &mut session.0;
                let asked = Instant::now();
                let mut first = None;
                session.chat(&self.plan.model, told, &mut |progress| {
                    if progress.contains("writing") {
                        first.get_or_insert_with(|| asked.elapsed());
                    }
                })?;
                let whole = asked.elapsed();
                times(if told { first } else { Some(whole) }, whole)
            })
        })
    }
}

/// A session that ends with its client: what stays after that is nobody's.
struct Ending<'a>(Session<'a>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.end() {
            eprintln!("a session did not end: {error}");
        }
    }
}

fn times(first: Option<Duration>, whole: Duration) -> Outcome<Times> {
    Ok(Times { first: first.ok_or("no token was seen")?, whole })
}

fn place(plan: &Plan, port: u16) -> Place<'_> {
    let transport = Transport::Streamable;
    Place { port, path: "/mcp", transport, model: &plan.model, identity: None }
}

/// Each client makes its connection, then they begin a moment apart, as those do that know nothing of each other,
/// and call again until the time is over, at least once.
fn in_parallel<C: FnMut() -> Outcome<Times> + Send>(
    clients: usize,
    time: Duration,
    client: impl Fn() -> Outcome<C>,
) -> Outcome<Vec<Times>> {
    let calls = (0..clients).map(|_| client()).collect::<Outcome<Vec<_>>>()?;
    let start = Barrier::new(clients);
    std::thread::scope(|scope| {
        let loops: Vec<_> = (0..)
            .zip(calls)
            .map(|(place, mut call)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    watch_for(APART * place);
                    let begun = Instant::now();
                    let mut all = vec![call()?];
                    while begun.elapsed() < time {
                        all.push(call()?);
                    }
                    Outcome::Ok(all)
                })
            })
            .collect();
        let mut all = Vec::new();
        for running in loops {
            all.extend(running.join().map_err(|_panic| "a client's thread panicked")??);
        }
        Ok(all)
    })
}

fn add(rows: &mut Vec<Row>, name: String, direct: Option<f64>, through: f64, verdict: Verdict) {
    let at = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
        rows.push(Row { name, direct: Vec::new(), through: Vec::new(), verdict });
        rows.len() - 1
    });
    if let Some(row) = rows.get_mut(at) {
        row.direct.extend(direct);
        row.through.push(through);
    }
}

impl Row {
    fn line(&self) -> String {
        let through = median(self.through.iter().copied()).unwrap_or_default();
        let direct = median(self.direct.iter().copied());
        let verdict = match (self.verdict, direct) {
            (Verdict::Added, Some(direct)) => format!("+{}", Short(through - direct)),
            (Verdict::Share, Some(direct)) => format!("{:.3}", through / direct),
            _ => "–".to_owned(),
        };
        let direct = direct.map_or("–".to_owned(), |direct| Short(direct).to_string());
        format!("| {} | {direct} | {} | {verdict} |\n", self.name, Short(through))
    }
}

fn of(clients: usize) -> String {
    if clients == 1 { "one client".to_owned() } else { format!("{clients} clients") }
}

type Measure = fn(&Plan, usize, &mut Vec<Row>) -> Outcome<()>;

const MEASURES: [(&str, Measure); 3] = [
    ("short answers", short_answers),
    ("paced answers", paced_answers),
    ("answers of 1 MiB", long_answers),
];

const CLIENTS_MAX: usize = 8;
const SHORT_TOKENS: u32 = 8;
/// Eight at once are a fast model that serves all of them.
const SHORT_TOKENS_PER_S: u32 = TOKENS_PER_S / 8;
const APART: Duration = Duration::from_millis(1);
/// A fast model on a good card.
const TOKENS_PER_S: u32 = 2000;
/// A token of the stand-in has five bytes.
const MIB_TOKENS: u32 = 1024 * 1024 / 5;
/// Until memory is given back.
const SETTLE: Duration = Duration::from_secs(1);
