//! Ollama's downloads, which last as long as somebody listens: a thread of ours does, and keeps
//! how far each of them is.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Deserialize;

use crate::cancel::{Cancel, Reason};
use crate::upstream::call::Call;
use crate::upstream::client::Upstream;
use crate::upstream::download::Download;
use crate::upstream::error::UpstreamError;
use crate::upstream::exchange::Exchange;
use crate::upstream::fault::Said;
use crate::upstream::json::Object;
use crate::upstream::limits::{Limits, Stop};
use crate::worker::{Worker, lock};

/// The downloads of one upstream; they end with it.
#[derive(Default)]
pub(super) struct Pulls {
    jobs: Mutex<VecDeque<Job>>,
}

struct Job {
    progress: Arc<Mutex<Download>>,
    cancel: Cancel,
    _thread: Worker,
}

/// A line of `/api/pull`.
#[derive(Deserialize)]
struct Line {
    status: Option<String>,
    total: Option<u64>,
    completed: Option<u64>,
    error: Option<serde_json::Value>,
}

impl Pulls {
    /// Begins a download. Errors: too many are going on.
    pub(super) fn begin(
        &self,
        upstream: &Arc<Upstream>,
        model: &str,
    ) -> Result<Download, UpstreamError> {
        let mut jobs = lock(&self.jobs);
        let same = |job: &&Job| {
            let progress = lock(&job.progress);
            progress.job_id.as_deref() == Some(&job_name(model)) && !progress.is_over()
        };
        if let Some(job) = jobs.iter().find(same) {
            return Ok(lock(&job.progress).clone());
        }
        if jobs.len() >= JOBS_MAX {
            let over = jobs.iter().position(|job| lock(&job.progress).is_over());
            let Some(over) = over else {
                return Err(UpstreamError::QueueFull { waiting: jobs.len() });
            };
            // Its thread has ended, or is about to.
            drop(jobs.remove(over));
        }
        let first = Download {
            upstream: upstream.name().to_owned(),
            job_id: Some(job_name(model)),
            status: "downloading".to_owned(),
            ..Download::default()
        };
        jobs.retain(|job| lock(&job.progress).job_id != first.job_id);
        let progress = Arc::new(Mutex::new(first.clone()));
        let cancel = Cancel::new();
        let pull = Pull {
            // The upstream owns the thread, which therefore must not own the upstream.
            exchange: upstream.exchange.clone(),
            limits: upstream.settings.limits,
            model: model.to_owned(),
            cancel: cancel.clone(),
            progress: Arc::clone(&progress),
        };
        let thread = Worker::spawn("pull", STACK_BYTES, move || pull.run());
        let thread = thread.map_err(|error| UpstreamError::Answered {
            status: 0,
            said: format!("the system refuses a thread: {error}"),
            partial: String::new(),
        })?;
        jobs.push_back(Job { progress, cancel, _thread: thread });
        Ok(first)
    }

    /// Whether this is one of its jobs.
    pub(super) fn has(&self, job_id: &str) -> bool {
        self.status(job_id).is_some()
    }

    /// How far a job is.
    pub(super) fn status(&self, job_id: &str) -> Option<Download> {
        let jobs = lock(&self.jobs);
        let mut all = jobs.iter().map(|job| lock(&job.progress));
        all.find(|job| job.job_id.as_deref() == Some(job_id)).map(|job| job.clone())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel.fire(Reason::Shutdown);
    }
}

impl fmt::Debug for Pulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulls").field("jobs", &lock(&self.jobs).len()).finish()
    }
}

struct Pull {
    exchange: Arc<Exchange>,
    limits: Limits,
    model: String,
    cancel: Cancel,
    progress: Arc<Mutex<Download>>,
}

impl Pull {
    fn run(&self) {
        let outcome = self.listen();
        let mut progress = lock(&self.progress);
        match outcome {
            Ok(()) => "completed".clone_into(&mut progress.status),
            Err(error) => {
                "failed".clone_into(&mut progress.status);
                progress.error = Some(error.to_string());
            }
        }
    }

    /// Reads lines until the last one. Errors: it failed.
    fn listen(&self) -> Result<(), UpstreamError> {
        let mut limits = self.limits;
        limits.call = DOWNLOAD_TIME_MAX;
        let call = Call::new(&self.cancel, limits, None);
        let _entered = call.enter();
        let mut body = Object::with("model", &self.model);
        body.flag("stream", true);
        let response = self.exchange.post("/api/pull", &body.end(), &call, &mut || ())?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            let body = self.exchange.reply(response, &call, &mut || ())?.body;
            let said = Said::in_body(&body).unwrap_or_else(|| Said::plain(&body));
            let token_sent = self.exchange.sends_token();
            return Err(said.into_error(status, Some(&self.model), token_sent));
        }
        call.answering();
        let begun = Instant::now();
        let mut lines = BufReader::new(response.into_body().into_reader());
        let mut line = Vec::new();
        let mut ended = false;
        loop {
            line.clear();
            match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) if ended => return Ok(()),
                Ok(0) => {
                    let cause = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(self.exchange.failed(cause, &call));
                }
                Ok(length) if length as u64 >= LINE_BYTES_MAX => {
                    let limit = usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX);
                    return Err(UpstreamError::ReplyTooLarge { limit });
                }
                Ok(_) => {}
                Err(error) if Stop::within(&error) == Some(Stop::Beat) => continue,
                Err(error) => return Err(self.exchange.failed(error, &call)),
            }
            let Ok(read) = serde_json::from_slice::<Line>(&line) else { continue };
            if let Some(said) = read.error.and_then(|error| Said::in_value(&error, None)) {
                return Err(said.into_error(
                    status,
                    Some(&self.model),
                    self.exchange.sends_token(),
                ));
            }
            ended |= read.status.as_deref() == Some("success");
            let mut progress = lock(&self.progress);
            // A model has one large layer; the small ones behind it must not look like it.
            if read.total >= progress.total_size_bytes && read.total.is_some() {
                progress.total_size_bytes = read.total;
                progress.downloaded_bytes = read.completed;
                let seconds = begun.elapsed().as_secs();
                progress.bytes_per_second =
                    read.completed.and_then(|completed| completed.checked_div(seconds));
            }
        }
    }
}

fn job_name(model: &str) -> String {
    format!("pull-{model}")
}

/// More at the same time are a mistake.
const JOBS_MAX: usize = 16;

/// A day.
const DOWNLOAD_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(86_400);

const STACK_BYTES: usize = 256 * 1024;

/// A line of progress has a few hundred bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;
