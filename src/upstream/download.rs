//! Brings models onto an upstream's disk: LM Studio's jobs, and Ollama's pulls.

use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cancel::Cancel;
use crate::upstream::call::Call;
use crate::upstream::client::Upstream;
use crate::upstream::error::UpstreamError;
use crate::upstream::fleet::{Failed, Fleet};
use crate::upstream::json::Object;
use crate::upstream::models::Kind;
use crate::upstream::queue::pause;

/// How far a download is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Download {
    /// The name of the upstream.
    pub upstream: String,
    /// The name of the job; none when nothing had to be done.
    pub job_id: Option<String>,
    /// `downloading`, `paused`, `completed`, `failed` or `already_downloaded`.
    pub status: String,
    /// In bytes.
    pub total_size_bytes: Option<u64>,
    /// In bytes.
    pub downloaded_bytes: Option<u64>,
    /// In bytes.
    pub bytes_per_second: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Download {
    /// Whether nothing more will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "already_downloaded")
    }

    /// How much of it is there, in percent.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let total = self.total_size_bytes.filter(|total| *total > 0)?;
        let share = self.downloaded_bytes? as f64 / total as f64;
        Some((share * 1000.0).round() / 10.0)
    }

    /// How long the rest takes at this rate.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let left = self.total_size_bytes?.saturating_sub(self.downloaded_bytes?);
        let rate = self.bytes_per_second.filter(|rate| *rate > 0)?;
        Some(Duration::from_secs(left / rate))
    }
}

#[derive(Deserialize)]
struct Job {
    status: String,
    job_id: Option<String>,
    total_size_bytes: Option<f64>,
    downloaded_bytes: Option<f64>,
    bytes_per_second: Option<f64>,
}

impl Fleet {
    /// Begins a download; it goes on when this has returned. `quantization` is for links to
    /// Hugging Face at LM Studio; `on_beat` is called every `beat` of silence. Errors: see
    /// [`UpstreamError`].
    pub fn download(
        &self,
        upstream: Option<&str>,
        model: &str,
        quantization: Option<&str>,
        cancel: &Cancel,
        beat: Option<Duration>,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Download, Failed> {
        let upstream = self.named(upstream)?;
        let begun = match upstream.kind(cancel, beat, on_beat) {
            Ok(Kind::LmStudio) => {
                let call = Call::new(cancel, upstream.settings.limits, beat);
                studio(upstream, model, quantization, &call, on_beat)
            }
            Ok(Kind::Ollama) if quantization.is_some() => Err(UpstreamError::NotSupported {
                what: "choosing a quantization",
                said: "Ollama takes it as a tag of the model, as in llama3:8b-instruct-q8_0"
                    .to_owned(),
            }),
            Ok(Kind::Ollama) => upstream.pulls.begin(upstream, model),
            Ok(kind) => Err(UpstreamError::NotSupported {
                what: "downloading a model",
                said: format!("it is {kind}; LM Studio 0.4 and Ollama can"),
            }),
            Err(error) => Err(error),
        };
        begun.map_err(|error| Failed::at(upstream, error))
    }

    /// How far a download is; `on_beat` is called every `beat` of silence. Errors: see
    /// [`UpstreamError`]; an unknown job is a bad request.
    pub fn download_status(
        &self,
        upstream: Option<&str>,
        job_id: &str,
        cancel: &Cancel,
        beat: Option<Duration>,
        on_beat: &mut dyn FnMut(),
    ) -> Result<Download, Failed> {
        let ours = |upstream: &&std::sync::Arc<Upstream>| upstream.pulls.has(job_id);
        let upstream = match (upstream, self.upstreams().iter().find(ours)) {
            (None, Some(upstream)) => upstream,
            (named, _) => self.named(named)?,
        };
        let status = match upstream.pulls.status(job_id) {
            Some(status) => Ok(Download { upstream: upstream.name().to_owned(), ..status }),
            None => job(upstream, job_id, cancel, beat, on_beat),
        };
        status.map_err(|error| Failed::at(upstream, error))
    }

    /// Watches what `begun` was until it is over; `on` hears how far it is, once a second, and the
    /// same again every `beat` of silence. A cancel ends the watching, not the download. Errors: as
    /// of [`Fleet::download_status`].
    pub fn follow_download(
        &self,
        begun: Download,
        cancel: &Cancel,
        until: Instant,
        beat: Option<Duration>,
        on: &mut dyn FnMut(&Download),
    ) -> Result<Download, Failed> {
        let mut status = begun;
        loop {
            let Some(job) = status.job_id.clone() else { return Ok(status) };
            let upstream = Some(status.upstream.as_str());
            let on_beat = &mut || on(&status);
            status = self.download_status(upstream, &job, cancel, beat, on_beat)?;
            if status.is_over() || Instant::now() >= until {
                return Ok(status);
            }
            on(&status);
            if !pause(cancel, LOOK) {
                let error = UpstreamError::Cancelled;
                return Err(Failed { upstream: status.upstream, ..Failed::nowhere(error) });
            }
        }
    }
}

fn studio(
    upstream: &Upstream,
    model: &str,
    quantization: Option<&str>,
    call: &Rc<Call>,
    on_beat: &mut dyn FnMut(),
) -> Result<Download, UpstreamError> {
    let mut body = Object::with("model", model);
    if let Some(quantization) = quantization {
        body.text("quantization", quantization);
    }
    let _entered = call.enter();
    let path = "/api/v1/models/download";
    let answer = upstream.ask(path, &body.end(), Some(model), call, on_beat)?;
    read(upstream, &answer, None)
}

fn job(
    upstream: &Upstream,
    job_id: &str,
    cancel: &Cancel,
    beat: Option<Duration>,
    on_beat: &mut dyn FnMut(),
) -> Result<Download, UpstreamError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if job_id.is_empty() || !job_id.bytes().all(is_name) {
        return Err(UpstreamError::BadRequest { said: "there is no such job".to_owned() });
    }
    if upstream.kind(cancel, beat, on_beat)? != Kind::LmStudio {
        return Err(UpstreamError::BadRequest {
            said: format!("there is no job {job_id} any more; they end with this server"),
        });
    }
    let path = format!("/api/v1/models/download/status/{job_id}");
    read(upstream, &upstream.fetch(&path, cancel, beat, on_beat)?, Some(job_id))
}

fn read(
    upstream: &Upstream,
    answer: &[u8],
    job_id: Option<&str>,
) -> Result<Download, UpstreamError> {
    let job: Job =
        serde_json::from_slice(answer).map_err(|_unreadable| UpstreamError::Answered {
            status: 200,
            said: "that says nothing about a download".to_owned(),
            partial: String::new(),
        })?;
    Ok(Download {
        upstream: upstream.name().to_owned(),
        job_id: job.job_id.or_else(|| job_id.map(str::to_owned)),
        status: job.status,
        total_size_bytes: job.total_size_bytes.map(whole),
        downloaded_bytes: job.downloaded_bytes.map(whole),
        bytes_per_second: job.bytes_per_second.map(whole),
        error: None,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float saturates, and bytes need no fraction"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// As often as anybody wants to hear of it.
const LOOK: Duration = Duration::from_secs(1);
