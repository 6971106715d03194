//! Plays a transcript: against the house in this process, or against the real program on stdio.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail here")]

use std::collections::HashMap;

use local_llm_mcp::config::Scheme;
use serde_json::Value;

use super::pattern::mismatch;
use super::script::{Body, Step};
use crate::support::client::{Client, Connection, End, Event, Got, SOON, Stream};
use crate::support::house::{House, Plan};
use crate::support::served::Served;
use crate::support::stand_in::{Counts, Script, Stall, StandIn};

/// A connection of a transcript, with what was read of it last.
enum Line {
    Open(Box<Connection>),
    Stream(Box<Stream>),
}

/// What a transcript is played against, and what it has so far.
#[derive(Default)]
pub(super) struct Player {
    plan: Option<Plan>,
    tls: bool,
    house: Option<House>,
    program: Option<(StandIn, Served)>,
    lines: HashMap<String, Line>,
    methods: HashMap<String, String>,
    last: Option<Got>,
    variables: HashMap<String, String>,
}

/// The name of a connection that has none.
const IT: &str = "it";
const ENVELOPE: &str = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

impl Player {
    pub(super) fn step(&mut self, step: &Step) {
        self.variables.entry("envelope".to_owned()).or_insert_with(|| ENVELOPE.to_owned());
        let text = self.filled(&step.text);
        let words: Vec<&str> = text.split_whitespace().collect();
        let option = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).copied()
        };
        let name = option("as").or_else(|| option("of")).or_else(|| option("on")).unwrap_or(IT);
        let times: usize = option("times").map_or(1, |times| times.parse().unwrap());
        for n in 0..times {
            let name = if times == 1 { name.to_owned() } else { format!("{name}-{n}") };
            self.variables.insert("n".to_owned(), n.to_string());
            self.once(step, &words, &name);
        }
    }

    fn once(&mut self, step: &Step, words: &[&str], name: &str) {
        match words {
            ["house", rest @ ..] => self.plan(rest),
            ["program"] => {
                let stand_in = StandIn::start(Script::default());
                let served = Served::start(&stand_in, &[]);
                self.program = Some((stand_in, served));
            }
            ["send", "plain", method, path, ..] => self.send(step, method, path, name, true),
            ["send", method, path, ..] => self.send(step, method, path, name, false),
            ["expect", status, more @ ..] => {
                self.expect(step, status.parse().unwrap(), name, more.contains(&"empty"));
            }
            ["event", ..] => {
                let (_, message) = self.stream(name).message().unwrap();
                self.compare(step, &message);
            }
            ["block", ..] => {
                let lines = self.stream(name).lines().unwrap();
                assert_eq!(self.text(step), lines);
            }
            ["comment", ..] => {
                let event = self.stream(name).next().unwrap();
                assert!(matches!(event, Some(Event::Comment(_))), "{event:?}");
            }
            ["ends", ..] => assert_eq!(self.stream(name).end(), End::Orderly),
            ["close", name] => drop(self.lines.remove(*name).unwrap()),
            ["save", variable, "field", field] => {
                let value = self.last.as_ref().unwrap().field(field).unwrap().to_owned();
                self.variables.insert((*variable).to_owned(), value);
            }
            ["save", variable, "data", ..] => {
                let lines = self.stream(name).lines().unwrap();
                let data = lines.iter().find_map(|line| line.strip_prefix("data: ")).unwrap();
                self.variables.insert((*variable).to_owned(), data.to_owned());
                if let Body::Text(_) = step.body {
                    let wanted = self.text(step).concat();
                    assert!(data.starts_with(&wanted), "{data} does not begin with {wanted}");
                }
            }
            ["upstream", rest @ ..] => self.upstream(rest),
            ["restart"] => self.restart(),
            ["line"] => {
                let body = self.body(step);
                self.served().write(&format!("{body}\n"));
            }
            ["says"] => {
                let message = self.served().next();
                self.compare(step, &message);
            }
            ["exits", code] => {
                let served = self.served();
                served.close();
                assert_eq!(served.end(), (Some(code.parse().unwrap()), Vec::new()));
            }
            _ => panic!("no such step"),
        }
    }

    fn upstream(&mut self, words: &[&str]) {
        let stand_in = self.house().stand_in();
        match words {
            ["release"] => stand_in.release(),
            ["looked"] => {
                let before = stand_in.counts().lists;
                let again = stand_in.wait_for(|counts| counts.lists > before, SOON);
                assert!(again, "nobody asks what has changed");
            }
            ["unloads"] => stand_in.play(Script { loaded: false, ..Script::default() }),
            [what, times] => {
                let times: usize = times.parse().unwrap();
                let count: fn(&Counts) -> usize = match *what {
                    "stalled" => |counts| counts.stalled,
                    "aborted" => |counts| counts.aborted,
                    "chats" => |counts| counts.chats,
                    _ => panic!("nothing counts {what}"),
                };
                let reached = stand_in.wait_for(|counts| count(counts) == times, SOON);
                assert!(reached, "{:?}", stand_in.counts());
            }
            _ => panic!("no such step"),
        }
    }

    fn plan(&mut self, words: &[&str]) {
        let plan = self.plan.take().unwrap_or_else(Plan::new);
        self.plan = Some(match words {
            ["https"] => {
                self.tls = true;
                plan.set("MCP_TRANSPORT", "https")
            }
            ["stalling"] => plan.stalling(),
            ["stalling", "before-head"] => {
                plan.script(Script { stall: Stall::BeforeHead, ..Script::default() })
            }
            ["set", name, value] => plan.set(name, value),
            ["limit", "heartbeat_ms", value] => {
                plan.limits(|limits| limits.heartbeat_ms = value.parse().unwrap())
            }
            _ => panic!("no such house"),
        });
    }

    fn house(&mut self) -> &House {
        let plan = &mut self.plan;
        self.house.get_or_insert_with(|| plan.take().unwrap_or_else(Plan::new).start())
    }

    fn served(&mut self) -> &mut Served {
        &mut self.program.as_mut().unwrap().1
    }

    /// Ends the house and starts another on the same state.
    fn restart(&mut self) {
        self.lines.clear();
        let House { server, stand_in, scratch } = self.house.take().unwrap();
        drop(server);
        drop(stand_in);
        let mut plan = Plan::new();
        let folder = scratch.path().to_str().unwrap().to_owned();
        plan.scratch = scratch;
        self.house = Some(plan.set("MCP_STATE_DIR", &folder).start());
    }

    fn send(&mut self, step: &Step, method: &str, path: &str, name: &str, plain: bool) {
        let tls = self.tls;
        let house = self.house();
        let client = match (tls, plain) {
            (true, false) => house.tls_client(),
            (true, true) => Client::plain(house.address(Scheme::Https)),
            _ => house.client(),
        };
        let port = client.address().port().to_string();
        self.variables.insert("port".to_owned(), port);
        let body = self.body(step);
        let fields: Vec<String> = step.fields.iter().map(|field| self.filled(field)).collect();
        let given = |name: &str| {
            let mut names = fields.iter().filter_map(|field| field.split_once(':'));
            names.any(|(its, _)| its.eq_ignore_ascii_case(name))
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let default = |name: &str, value: &str| {
            if given(name) { String::new() } else { format!("{name}: {value}\r\n") }
        };
        head.push_str(&default("Host", "localhost"));
        head.push_str(&default("Accept", "application/json, text/event-stream"));
        if method == "POST" {
            head.push_str(&default("Content-Type", "application/json"));
            if !given("Transfer-Encoding") {
                head.push_str(&default("Content-Length", &body.len().to_string()));
            }
        }
        for field in fields.iter().filter(|field| !field.ends_with(": -")) {
            head.push_str(&format!("{field}\r\n"));
        }
        let mut connection = match self.lines.remove(name) {
            Some(Line::Open(connection)) if step.text.contains(" on ") => connection,
            _ => Box::new(client.connect()),
        };
        connection.send(&format!("{head}\r\n{body}"));
        self.methods.insert(name.to_owned(), method.to_owned());
        self.lines.insert(name.to_owned(), Line::Open(connection));
    }

    fn expect(&mut self, step: &Step, status: u16, name: &str, empty: bool) {
        let Some(Line::Open(mut connection)) = self.lines.remove(name) else {
            panic!("nothing was sent");
        };
        let mut got = connection.head();
        let streams = got.field("content-type") == Some("text/event-stream");
        if !streams && status >= 200 {
            connection.rest(&mut got, self.methods.get(name).unwrap());
        }
        assert_eq!(got.status, status, "{}", String::from_utf8_lossy(&got.body));
        for field in &step.fields {
            let field = self.filled(field);
            let (its, wanted) = field.split_once(": ").unwrap();
            let value = got.field(&its.to_ascii_lowercase());
            match wanted {
                "-" => assert_eq!(value, None, "{its}"),
                "*" => assert!(value.is_some(), "{its} is missing"),
                _ => assert_eq!(value, Some(wanted), "{its}"),
            }
        }
        assert!(!empty || got.body.is_empty(), "{}", String::from_utf8_lossy(&got.body));
        match &step.body {
            Body::None => {}
            Body::Json(_) => self.compare(step, &got.json()),
            Body::Text(_) => {
                for line in self.text(step) {
                    // A line that begins with a minus must not be in it.
                    match line.strip_prefix("- ") {
                        Some(words) => assert!(!got.text().contains(words), "{}", got.text()),
                        None => assert!(got.text().contains(line.trim()), "{}", got.text()),
                    }
                }
            }
        }
        let line = if streams {
            Line::Stream(Box::new(Stream::new(*connection, got)))
        } else {
            self.last = Some(got);
            Line::Open(connection)
        };
        self.lines.insert(name.to_owned(), line);
    }

    fn stream(&mut self, name: &str) -> &mut Stream {
        match self.lines.get_mut(name) {
            Some(Line::Stream(stream)) => stream,
            _ => panic!("{name} is no stream"),
        }
    }

    fn compare(&self, step: &Step, actual: &Value) {
        let pattern = match &step.body {
            Body::Json(text) => serde_json::from_str(&self.filled(text)).unwrap(),
            _ => Value::Object(serde_json::Map::new()),
        };
        if let Some(wrong) = mismatch(&pattern, actual) {
            panic!("{wrong}");
        }
    }

    /// What a step sends: JSON on one line, text as it is.
    fn body(&self, step: &Step) -> String {
        match &step.body {
            Body::None => String::new(),
            Body::Json(text) => {
                let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
                self.filled(&lines.join(" "))
            }
            Body::Text(_) => self.text(step).join("\r\n"),
        }
    }

    fn text(&self, step: &Step) -> Vec<String> {
        let Body::Text(lines) = &step.body else { panic!("lines behind bars are missing") };
        lines.iter().map(|line| self.filled(line)).collect()
    }

    /// With every `${NAME}` replaced.
    fn filled(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.variables {
            filled = filled.replace(&format!("${{{name}}}"), value);
        }
        filled
    }
}
