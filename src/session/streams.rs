//! Sessions on `/mcp`: what is kept of one beside its id, which says itself whose it is and what
//! it speaks. A session that has nothing to keep takes no memory at all.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::replay::Replay;
use super::talk::Talk;
use crate::cancel::Reason;
use crate::mcp::{ClientFeatures, Revision};
use crate::worker::lock;

/// The limits of these sessions; explained where all are listed, in `config`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "documented once, on config::Limits")]
pub struct KeptLimits {
    pub kept_sessions_max: usize,
    pub session_idle_s_max: u64,
    pub outbox_events_max: usize,
    pub outbox_bytes_max: usize,
}

/// A session while something is to be kept of it.
#[derive(Debug)]
pub struct Kept {
    /// What tells it from others.
    pub key: [u8; 16],
    /// What it speaks.
    pub revision: Revision,
    /// What its conversation carries along.
    pub talk: Talk,
    limits: KeptLimits,
    streams: Mutex<Streams>,
    touched: Mutex<Instant>,
}

#[derive(Debug, Default)]
struct Streams {
    /// The one that `GET /mcp` reads; it has the number 0.
    standing: Option<Arc<Replay>>,
    /// Those of requests, oldest first.
    of_requests: Vec<OfRequest>,
    numbers: u64,
}

#[derive(Debug)]
struct OfRequest {
    stream: Arc<Replay>,
    /// When it was first seen that it has ended and a client has read all of it.
    told: Option<Instant>,
}

impl Kept {
    /// A new stream for the messages of one request.
    #[must_use]
    pub fn stream(&self) -> Arc<Replay> {
        let mut streams = lock(&self.streams);
        streams.numbers += 1;
        let number = streams.numbers;
        let stream = self.replay(number);
        streams.of_requests.push(OfRequest { stream: Arc::clone(&stream), told: None });
        // What has ended is kept for a client that missed its last words, for a while.
        let has_ended = |of: &OfRequest| of.stream.has_ended();
        if streams.of_requests.iter().filter(|of| has_ended(of)).count() > FINISHED_STREAMS_MAX
            && let Some(oldest) = streams.of_requests.iter().position(has_ended)
        {
            streams.of_requests.remove(oldest);
        }
        stream
    }

    /// The stream for what belongs to no request.
    #[must_use]
    pub fn standing(&self) -> Arc<Replay> {
        let mut streams = lock(&self.streams);
        Arc::clone(streams.standing.get_or_insert_with(|| self.replay(0)))
    }

    fn replay(&self, number: u64) -> Arc<Replay> {
        Replay::new(number, self.limits.outbox_events_max, self.limits.outbox_bytes_max)
    }

    /// A stream by its number.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<Arc<Replay>> {
        self.all().into_iter().find(|stream| stream.number() == number)
    }

    fn all(&self) -> Vec<Arc<Replay>> {
        let streams = lock(&self.streams);
        let of_requests = streams.of_requests.iter().map(|of| &of.stream);
        streams.standing.iter().chain(of_requests).cloned().collect()
    }

    /// Lets go of what a client has read to its end and did not come back for, so that a long
    /// answer is not held for as long as its session. A client that has said nothing since may sleep,
    /// and may never have got what its socket took: a shorter answer waits until it wakes.
    fn forget_told(&self, now: Instant) {
        let heard = *lock(&self.touched);
        lock(&self.streams).of_requests.retain_mut(|of| {
            if !(of.stream.has_ended() && of.stream.is_blank()) {
                of.told = None;
                return true;
            }
            let told = *of.told.get_or_insert(now);
            let may_sleep = heard <= told && of.stream.bytes() <= ASLEEP_BYTES_MAX;
            let kept = if may_sleep { ASLEEP_KEPT } else { TOLD_KEPT };
            now.saturating_duration_since(told.max(heard)) < kept
        });
    }

    fn is_blank(&self) -> bool {
        let streams = lock(&self.streams);
        self.talk.is_blank()
            && streams.of_requests.is_empty()
            && streams.standing.as_ref().is_none_or(|standing| standing.is_blank())
    }

    fn is_busy(&self) -> bool {
        !self.talk.in_flight.is_empty() || self.all().iter().any(|stream| stream.is_read())
    }

    fn stop(&self, reason: Reason) {
        self.talk.in_flight.cancel_all(reason);
        for stream in self.all() {
            stream.end();
        }
    }
}

/// All of them.
pub struct KeptSessions {
    map: Mutex<HashMap<[u8; 16], Arc<Kept>>>,
    limits: KeptLimits,
    closed: AtomicBool,
    evicted: AtomicU64,
}

impl KeptSessions {
    /// None yet.
    #[must_use]
    pub fn new(limits: KeptLimits) -> Self {
        Self {
            map: Mutex::default(),
            limits,
            closed: AtomicBool::new(false),
            evicted: AtomicU64::new(0),
        }
    }

    /// What is kept of a session, if anything is.
    #[must_use]
    pub fn find(&self, key: &[u8; 16]) -> Option<Arc<Kept>> {
        lock(&self.map).get(key).cloned()
    }

    /// Begins to keep something of a session. At `kept_sessions_max` the one idle longest without
    /// work is forgotten: its streams and settings, not its id.
    #[must_use]
    pub fn keep(
        &self,
        key: [u8; 16],
        revision: Revision,
        features: ClientFeatures,
        now: Instant,
    ) -> Arc<Kept> {
        self.keep_with(key, revision, features, now, &mut |_| ())
    }

    /// The same, with what is to be kept of it noted by `then` before anybody can forget it. `then`
    /// must not use these sessions.
    pub fn keep_with(
        &self,
        key: [u8; 16],
        revision: Revision,
        features: ClientFeatures,
        now: Instant,
        then: &mut dyn FnMut(&Arc<Kept>),
    ) -> Arc<Kept> {
        let mut evicted = None;
        let kept = {
            let mut map = lock(&self.map);
            if map.len() >= self.limits.kept_sessions_max && !map.contains_key(&key) {
                let oldest = map
                    .values()
                    .min_by_key(|kept| (kept.is_busy(), *lock(&kept.touched)))
                    .map(|kept| kept.key);
                evicted = oldest.and_then(|oldest| map.remove(&oldest));
            }
            let new = || {
                Arc::new(Kept {
                    key,
                    revision,
                    talk: Talk::new(features),
                    limits: self.limits,
                    streams: Mutex::default(),
                    touched: Mutex::new(now),
                })
            };
            let kept = map.entry(key).or_insert_with(new);
            *lock(&kept.touched) = now;
            then(kept);
            Arc::clone(kept)
        };
        if let Some(evicted) = evicted {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            log::info!("a session was forgotten: the limit kept_sessions_max is reached");
            evicted.stop(Reason::SessionEnded);
        }
        if self.closed.load(Ordering::SeqCst) {
            kept.stop(Reason::Shutdown);
        }
        kept
    }

    /// Forgets a session that has nothing to keep any more.
    pub fn release(&self, kept: &Kept) {
        let mut map = lock(&self.map);
        // It may have been forgotten, and kept anew, before.
        let is_it = map.get(&kept.key).is_some_and(|now| std::ptr::eq(Arc::as_ptr(now), kept));
        if is_it && kept.is_blank() {
            map.remove(&kept.key);
        }
    }

    /// Ends a session: its calls are stopped, its streams end.
    pub fn end(&self, key: &[u8; 16]) {
        let kept = lock(&self.map).remove(key);
        if let Some(kept) = kept {
            kept.stop(Reason::SessionEnded);
        }
    }

    /// Forgets what nobody has used for `session_idle_s_max`, and what was told to its end.
    pub fn sweep(&self, now: Instant) {
        let idle = Duration::from_secs(self.limits.session_idle_s_max);
        lock(&self.map).retain(|_, kept| {
            kept.forget_told(now);
            let unused = now.saturating_duration_since(*lock(&kept.touched));
            kept.is_busy() || (unused < idle && (unused < TOLD_KEPT || !kept.is_blank()))
        });
    }

    /// Ends all of them, and whatever is kept from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let all: Vec<Arc<Kept>> = lock(&self.map).drain().map(|(_, kept)| kept).collect();
        for kept in all {
            kept.stop(Reason::Shutdown);
        }
    }

    /// How many are kept now, and how many were forgotten to make room.
    #[must_use]
    pub fn counts(&self) -> (usize, u64) {
        (lock(&self.map).len(), self.evicted.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for KeptSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptSessions").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Finished streams of one session that are kept for a client that missed their end.
const FINISHED_STREAMS_MAX: usize = 4;
/// Who lost the end of a stream on the way asks again within seconds.
const TOLD_KEPT: Duration = Duration::from_secs(60);
/// A lid that was closed during a call is open again by then; clients that never end their sessions
/// would fill the memory.
const ASLEEP_KEPT: Duration = Duration::from_secs(3600);
/// What a model writes in one go is hardly ever longer.
const ASLEEP_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Heard;

    const LIMITS: KeptLimits = KeptLimits {
        kept_sessions_max: 4,
        session_idle_s_max: 600,
        outbox_events_max: 4,
        outbox_bytes_max: 1000,
    };

    fn seconds(later: u64) -> Instant {
        Instant::now() + Duration::from_secs(later)
    }

    const KEY: [u8; 16] = [7; 16];

    fn keep(all: &KeptSessions, now: Instant) -> Arc<Kept> {
        all.keep(KEY, Revision::V2025_06_18, ClientFeatures::default(), now)
    }

    /// A stream that has brought an answer of so many bytes to its reader.
    fn told(kept: &Kept, bytes: usize) -> u64 {
        let stream = kept.stream();
        stream.push("a".repeat(bytes));
        stream.end();
        assert!(matches!(stream.read(0).hear(), Heard::Message(..)));
        stream.number()
    }

    #[test]
    fn what_was_told_to_its_end_is_kept_for_a_minute_and_the_rest_as_long_as_its_session() {
        let all = KeptSessions::new(KeptLimits { outbox_bytes_max: 1_000_000, ..LIMITS });
        let kept = || keep(&all, Instant::now());
        let missed = kept().stream();
        missed.push("answer".to_owned());
        missed.end();
        let stream = kept().stream();
        stream.push("a".repeat(100_000));
        stream.end();
        let mut reader = stream.read(0);
        assert!(matches!(reader.hear(), Heard::Message(..)));
        all.sweep(seconds(100));
        assert!(kept().find(stream.number()).is_some(), "it is being read");
        drop(reader);
        all.sweep(seconds(200));
        all.sweep(seconds(259));
        assert!(kept().find(stream.number()).is_some(), "a client may come back");
        all.sweep(seconds(261));
        assert!(kept().find(stream.number()).is_none());
        assert!(kept().find(missed.number()).is_some());
        drop(missed.read(0).hear());
        all.sweep(seconds(300));
        keep(&all, seconds(301));
        all.sweep(seconds(362));
        assert!(all.find(&KEY).is_none(), "nothing is left of the session to keep");
    }

    #[test]
    fn an_answer_waits_for_a_client_that_sleeps_until_a_minute_after_it_was_heard_again() {
        let all = KeptSessions::new(KeptLimits { session_idle_s_max: 43_200, ..LIMITS });
        let number = told(&keep(&all, Instant::now()), 500);
        for later in [1, 100, 3500] {
            all.sweep(seconds(later));
        }
        assert!(all.find(&KEY).unwrap().find(number).is_some(), "it may never have got it");
        let kept = keep(&all, seconds(3510));
        all.sweep(seconds(3560));
        assert!(kept.find(number).is_some(), "it asks again within seconds");
        all.sweep(seconds(3571));
        assert!(kept.find(number).is_none());
        told(&kept, 500);
        all.sweep(seconds(4000));
        all.sweep(seconds(7601));
        assert!(all.find(&KEY).is_none(), "nobody sleeps for ever");
    }

    #[test]
    fn a_session_is_not_forgotten_with_what_somebody_else_has_begun_to_keep() {
        let all = KeptSessions::new(LIMITS);
        let old = keep(&all, Instant::now());
        all.end(&KEY);
        let new = keep(&all, Instant::now());
        all.release(&old);
        assert!(Arc::ptr_eq(&all.find(&KEY).unwrap(), &new), "it was kept anew");
        let mut stream = None;
        let features = ClientFeatures::default();
        let kept = all.keep_with(KEY, new.revision, features, Instant::now(), &mut |kept| {
            stream = Some(kept.standing().read(0));
        });
        all.release(&kept);
        assert!(all.find(&KEY).is_some(), "its stream is about to be read");
        drop(stream);
        all.release(&kept);
        assert!(all.find(&KEY).is_none());
    }
}
