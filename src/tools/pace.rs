//! When a running generation reports progress, and in which words.

use std::time::{Duration, Instant};

use crate::mcp::Progress;
use crate::upstream::ChatEvent;

/// Turns the pieces of an answer into progress: at once, with the first token, else at most twice a
/// second, and a beat while the upstream is silent, because clients give up on calls that say nothing.
pub(super) struct Pace<'a> {
    to: Option<&'a dyn Progress>,
    reported: Option<Instant>,
    /// The count that was reported last; progress must rise strictly.
    value: f64,
    thought: u32,
    written: u32,
    writing_since: Option<Instant>,
    /// What happens before the first word.
    before: String,
    /// The longest answer, in tokens, where there is a limit: then progress is a share of 100.
    most: Option<u32>,
    /// What was reached before the first word, as a share of 100.
    share: f64,
}

impl<'a> Pace<'a> {
    /// Reports to `to`, if anybody asked.
    pub(super) fn new(to: Option<&'a dyn Progress>) -> Self {
        Self {
            to,
            reported: None,
            value: 0.0,
            thought: 0,
            written: 0,
            writing_since: None,
            before: ACCEPTED.to_owned(),
            most: None,
            share: 0.0,
        }
    }

    /// How often the upstream's silence is to be broken; not at all when nobody listens.
    pub(super) fn beat(&self) -> Option<Duration> {
        self.to.map(|_| BEAT)
    }

    /// The call began.
    pub(super) fn begin(&mut self, now: Instant) {
        self.report(ACCEPTED, now);
    }

    /// A question begins, whose answer has at most so many tokens.
    pub(super) fn aim(&mut self, most: Option<u32>) {
        self.most = most;
        self.writing_since = None;
    }

    /// A share of 100 is done, of work that others do; told at most twice a second, and as a beat
    /// when nothing moves.
    pub(super) fn share(&mut self, percent: f64, message: &str) {
        let now = Instant::now();
        let due = if percent > self.share { BETWEEN } else { BEAT_MIN };
        if self.reported.is_some_and(|at| now.saturating_duration_since(at) < due) {
            return;
        }
        (self.most, self.share) = (Some(1), percent);
        self.report(message, now);
    }

    /// So many of so many are done, of work that is counted.
    pub(super) fn done(&mut self, count: usize, all: usize, message: &str) {
        let Some(to) = self.to else { return };
        let number = |count| u32::try_from(count).map_or(0.0, f64::from);
        self.value = number(count).max(self.value + SLIGHTLY);
        self.reported = Some(Instant::now());
        to.report(self.value, Some(number(all)), message);
    }

    /// Something came, or nothing came for a beat.
    pub(super) fn hear(&mut self, event: ChatEvent<'_>, now: Instant) {
        let mut is_news = true;
        match event {
            // Vectors are counted by themselves.
            ChatEvent::Waiting | ChatEvent::Embedded(_) => is_news = false,
            ChatEvent::Asking { .. } => READING.clone_into(&mut self.before),
            ChatEvent::Queued { before } => {
                let told = format!("waiting, {before} before you");
                is_news = told != self.before;
                self.before = told;
            }
            ChatEvent::Loading(percent) => {
                self.share = f64::from(percent) * LOADED / 100.0;
                self.before = format!("loading the model, {percent} %");
            }
            ChatEvent::Reading(percent) => {
                self.share = LOADED + f64::from(percent) * (READ - LOADED) / 100.0;
                self.before = format!("{READING}, {percent} %");
            }
            ChatEvent::Thinking(_) => self.thought += 1,
            ChatEvent::Writing(_) => {
                self.written += 1;
                self.writing_since.get_or_insert(now);
            }
        }
        // What ends a wait, and what changes seldom, who waits wants to know at once.
        let at_once = match event {
            ChatEvent::Thinking(_) | ChatEvent::Writing(_) => self.thought + self.written == 1,
            ChatEvent::Queued { .. } => is_news,
            _ => false,
        };
        let due = match is_news {
            _ if at_once => Duration::ZERO,
            true => BETWEEN,
            false => BEAT_MIN,
        };
        if self.to.is_none()
            || self.reported.is_some_and(|at| now.saturating_duration_since(at) < due)
        {
            return;
        }
        let message = self.message(now);
        self.report(&message, now);
    }

    fn message(&self, now: Instant) -> String {
        let tokens = |count| format!("{count} {}", if count == 1 { "token" } else { "tokens" });
        let written = self.written;
        match (self.writing_since, self.thought) {
            (Some(since), _) => {
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                if seconds < RATE_AFTER.as_secs_f64() {
                    return format!("writing, {}", tokens(written));
                }
                format!("writing, {written} tokens, {:.0} tok/s", f64::from(written) / seconds)
            }
            (None, 0) => self.before.clone(),
            (None, thought) => format!("thinking, {}", tokens(thought)),
        }
    }

    fn report(&mut self, message: &str, now: Instant) {
        let Some(to) = self.to else { return };
        let tokens = f64::from(self.thought) + f64::from(self.written);
        let reached = match self.most {
            // Of the answer all but the end is shown: a model may write on.
            Some(most) if tokens > 0.0 => {
                READ + (tokens / f64::from(most)).min(1.0) * (WRITTEN - READ)
            }
            Some(_) => self.share,
            None => tokens,
        };
        // A beat without news still has to rise; a part of a token does.
        self.value = if reached > self.value { reached } else { self.value + SLIGHTLY };
        self.reported = Some(now);
        to.report(self.value, self.most.map(|_| 100.0), message);
    }
}

const ACCEPTED: &str = "accepted";
const READING: &str = "reading the prompt";

/// How often a silent wait is left to see whether a beat is due; it counts anew with every request to
/// an upstream.
const BEAT: Duration = Duration::from_millis(2500);

/// Between a beat and what was told before it. Clients of some kinds give up after ten silent
/// seconds; this and one wait more are less than the eight that are promised.
const BEAT_MIN: Duration = Duration::from_millis(4500);

/// Twice a second is as fast as anybody reads.
const BETWEEN: Duration = Duration::from_millis(500);

/// Before this a rate is noise.
const RATE_AFTER: Duration = Duration::from_secs(1);

const SLIGHTLY: f64 = 0.001;

/// Where each phase ends, of 100.
const LOADED: f64 = 30.0;
const READ: f64 = 50.0;
const WRITTEN: f64 = 99.0;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(f64, String)>>);

    impl Progress for Heard {
        fn report(&self, progress: f64, _: Option<f64>, message: &str) {
            self.0.lock().unwrap().push((progress, message.to_owned()));
        }
    }

    #[test]
    fn the_first_token_is_told_at_once() {
        let heard = Heard::default();
        let mut pace = Pace::new(Some(&heard));
        let start = Instant::now();
        pace.begin(start);
        for n in 1..=3 {
            pace.hear(ChatEvent::Writing("a"), start + Duration::from_millis(n));
        }
        let heard = heard.0.into_inner().unwrap();
        let words: Vec<_> = heard.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(words, ["accepted", "writing, 1 token"]);
    }

    #[test]
    fn progress_rises_strictly_and_comes_at_most_twice_a_second() {
        let heard = Heard::default();
        let mut pace = Pace::new(Some(&heard));
        let start = Instant::now();
        pace.begin(start);
        let asking = ChatEvent::Asking { upstream: "desk", model: "m" };
        pace.hear(asking, start + Duration::from_millis(1));
        for second in [7, 14] {
            pace.hear(ChatEvent::Waiting, start + Duration::from_secs(second));
        }
        let writing = start + Duration::from_secs(20);
        for n in 0..1000_u32 {
            let event = if n < 300 { ChatEvent::Thinking("a") } else { ChatEvent::Writing("a") };
            pace.hear(event, writing + Duration::from_millis(10) * n);
        }
        let heard = heard.0.into_inner().unwrap();
        assert!(heard.windows(2).all(|pair| pair[0].0 < pair[1].0), "{heard:?}");
        assert_eq!(heard.len(), 3 + 20, "{heard:?}");
        assert_eq!(heard[0].1, "accepted");
        assert_eq!(heard[2].1, "reading the prompt");
        assert!(heard.iter().any(|(_, message)| message == "thinking, 51 tokens"), "{heard:?}");
        let (_, last) = heard.last().unwrap();
        assert!(last.starts_with("writing, ") && last.ends_with(" tok/s"), "{last}");
    }

    #[test]
    fn the_place_in_the_line_is_told_at_once() {
        let heard = Heard::default();
        let mut pace = Pace::new(Some(&heard));
        let start = Instant::now();
        pace.begin(start);
        pace.hear(ChatEvent::Queued { before: 2 }, start);
        pace.hear(ChatEvent::Queued { before: 1 }, start + Duration::from_millis(1));
        let heard = heard.0.into_inner().unwrap();
        let told: Vec<_> = heard.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(told, ["accepted", "waiting, 2 before you", "waiting, 1 before you"]);
    }

    #[test]
    fn nobody_is_told_who_did_not_ask() {
        let mut pace = Pace::new(None);
        assert_eq!(pace.beat(), None);
        pace.begin(Instant::now());
        pace.hear(ChatEvent::Writing("a"), Instant::now());
    }
}
