//! Finds out what a server is and which models it has.
//!
//! A kind is known by the one field that only it has, never by the HTTP status: LM Studio
//! answers 200 to paths that it does not know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cancel::Cancel;
use crate::upstream::call::Call;
use crate::upstream::error::UpstreamError;
use crate::upstream::exchange::{Exchange, Reply};
use crate::upstream::fault::Said;
use crate::upstream::limits::Limits;
use crate::upstream::models::{Kind, ModelList, ModelState};
use crate::upstream::ollama;
use crate::upstream::shapes::read_list;

/// A look at a server.
pub(super) struct Survey<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) limits: Limits,
    pub(super) cancel: &'a Cancel,
    /// When the look has to be over.
    pub(super) until: Instant,
    /// How often `on_beat` is called while the server is silent.
    pub(super) beat: Option<Duration>,
    pub(super) on_beat: &'a mut dyn FnMut(),
    /// What the look before read, and then what this one did.
    pub(super) seen: Option<Arc<Seen>>,
}

/// A list as it came and what it says: one that comes again is not read again.
#[derive(Debug)]
pub(super) struct Seen {
    /// As which kind of server's it was read.
    kind: Kind,
    bytes: Vec<u8>,
    list: Arc<ModelList>,
}

/// What was found.
pub(super) struct Found {
    pub(super) list: Arc<ModelList>,
    /// As the server writes it, where it does.
    pub(super) version: Option<String>,
}

/// What came back for a list.
enum Listed {
    Models(Arc<ModelList>),
    /// The server has this list, but not now or not for us.
    Failed(UpstreamError),
    /// The server is of another kind.
    OtherShape(UpstreamError),
}

/// The fields by which servers are known.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Marks {
    lmstudio: bool,
    version: Option<String>,
    /// llama.cpp's version.
    build_info: Option<String>,
    /// `router`, of llama.cpp.
    role: Option<String>,
    default_generation_settings: Option<serde::de::IgnoredAny>,
}

impl Survey<'_> {
    /// Looks what the server is; `told` is what the settings say. Errors: it cannot be asked, or
    /// wants a token, or is nothing that we know.
    pub(super) fn detect(&mut self, told: Option<Kind>) -> Result<Found, UpstreamError> {
        let (order, version): (&[Kind], _) = match told {
            Some(Kind::LmStudio | Kind::LmStudio03) => (LM_STUDIO, None),
            Some(Kind::LlamaCpp | Kind::LlamaRouter) => match self.llama()? {
                (Kind::LlamaRouter, version) => (&[Kind::LlamaRouter], version),
                (_, version) => (&[Kind::LlamaCpp], version),
            },
            Some(Kind::Ollama) => (&[Kind::Ollama], None),
            Some(Kind::Vllm) => (&[Kind::Vllm], None),
            Some(Kind::OpenAiCompatible) => (&[Kind::OpenAiCompatible], None),
            None => self.marks()?,
        };
        let mut failure = UpstreamError::Cancelled;
        for kind in order {
            failure = match self.list_as(*kind)? {
                Listed::Models(list) => return Ok(Found { list, version }),
                // A token is wanted by the whole server, not by one of its paths.
                Listed::Failed(error @ UpstreamError::Auth { .. }) => return Err(error),
                Listed::Failed(error) | Listed::OtherShape(error) => error,
            };
        }
        Err(failure)
    }

    /// The list of a server whose kind is known; `None` when another server answers there now.
    pub(super) fn again(&mut self, kind: Kind) -> Result<Option<Arc<ModelList>>, UpstreamError> {
        match self.list_as(kind)? {
            Listed::Models(list) => Ok(Some(list)),
            Listed::Failed(error) => Err(error),
            Listed::OtherShape(_) => Ok(None),
        }
    }

    /// Asks for each kind's own mark, the surest first.
    fn marks(&mut self) -> Result<(&'static [Kind], Option<String>), UpstreamError> {
        if self.mark("/lmstudio-greeting")?.lmstudio {
            return Ok((LM_STUDIO, None));
        }
        let version = self.mark("/api/version")?.version;
        if version.is_some() {
            return Ok((&[Kind::Ollama, Kind::OpenAiCompatible], version));
        }
        match self.llama()? {
            (Kind::LlamaRouter, version) => Ok((&[Kind::LlamaRouter], version)),
            (Kind::LlamaCpp, version) => Ok((&[Kind::LlamaCpp], version)),
            // Its list says whether it is vLLM; LM Studio's follow for builds without a greeting.
            _ => Ok((
                &[Kind::OpenAiCompatible, Kind::LmStudio, Kind::LmStudio03],
                self.mark("/version")?.version,
            )),
        }
    }

    /// Which llama.cpp it is, and [`Kind::OpenAiCompatible`] when it is none.
    fn llama(&mut self) -> Result<(Kind, Option<String>), UpstreamError> {
        let marks = self.mark("/props")?;
        Ok(match (marks.role.as_deref(), marks.default_generation_settings) {
            (Some("router"), _) => (Kind::LlamaRouter, marks.build_info),
            (_, Some(_)) => (Kind::LlamaCpp, marks.build_info),
            _ => (Kind::OpenAiCompatible, None),
        })
    }

    /// The marks in an answer; none where it has none. Errors: there was no answer at all, or a
    /// token is wanted.
    fn mark(&mut self, path: &str) -> Result<Marks, UpstreamError> {
        let Reply { status, body } = self.get(path)?;
        let token_sent = self.exchange.sends_token();
        if status == 401 {
            return Err(UpstreamError::Auth { token_sent });
        }
        match Said::in_body(&body).map(|said| said.into_error(status, None, token_sent)) {
            Some(error @ UpstreamError::Auth { .. }) => Err(error),
            Some(_) => Ok(Marks::default()),
            None => Ok(serde_json::from_slice(&body).unwrap_or_default()),
        }
    }

    /// Asks in one shape. Errors: there was no answer at all.
    fn list_as(&mut self, kind: Kind) -> Result<Listed, UpstreamError> {
        let Reply { status, body } = self.get(kind.list_path())?;
        if let Some(list) = self.read(kind, &body)? {
            return Ok(Listed::Models(list));
        }
        let token_sent = self.exchange.sends_token();
        let Some(said) = Said::in_body(&body) else {
            let error = Said::plain(&body).into_error(status, None, token_sent);
            return Ok(match error {
                UpstreamError::Auth { .. } => Listed::Failed(error),
                _ if status >= 500 => Listed::Failed(error),
                _ => Listed::OtherShape(UpstreamError::Answered {
                    status,
                    said: "that is no list of models".to_owned(),
                    partial: String::new(),
                }),
            });
        };
        let unknown = matches!(status, 404 | 405) || said.is_unknown_endpoint();
        let error = said.into_error(status, None, token_sent);
        Ok(if unknown { Listed::OtherShape(error) } else { Listed::Failed(error) })
    }

    /// Reads a list, and asks for what it does not say itself. Nothing: it is none of this kind.
    fn read(&mut self, kind: Kind, body: &[u8]) -> Result<Option<Arc<ModelList>>, UpstreamError> {
        // Ollama says in a second answer what is loaded.
        let parts = kind == Kind::Ollama;
        if !parts && let Some(list) = self.seen_before(kind, body) {
            return Ok(Some(list));
        }
        let Some(mut list) = read_list(kind, body) else { return Ok(None) };
        let running = if parts { self.get("/api/ps")?.body } else { Vec::new() };
        let bytes = [body, &running].concat();
        if let Some(list) = self.seen_before(kind, &bytes) {
            return Ok(Some(list));
        }
        complete(&mut list, &running);
        let list = Arc::new(list);
        self.seen = Some(Arc::new(Seen { kind, bytes, list: Arc::clone(&list) }));
        Ok(Some(list))
    }

    fn seen_before(&self, kind: Kind, bytes: &[u8]) -> Option<Arc<ModelList>> {
        let seen = self.seen.as_ref()?;
        (seen.kind == kind && seen.bytes == bytes).then(|| Arc::clone(&seen.list))
    }

    fn get(&mut self, path: &str) -> Result<Reply, UpstreamError> {
        let mut limits = self.limits;
        limits.call = self.until.saturating_duration_since(Instant::now());
        let call = Call::new(self.cancel, limits, self.beat);
        let _entered = call.enter();
        self.exchange.get(path, &call, self.on_beat)
    }
}

/// What the list itself does not say; `running` is what Ollama has in memory.
fn complete(list: &mut ModelList, running: &[u8]) {
    let by = |owner: &str| {
        !list.models.is_empty()
            && list.models.iter().all(|model| model.publisher.as_deref() == Some(owner))
    };
    match list.kind {
        Kind::Ollama => ollama::mark_loaded(list, running),
        Kind::OpenAiCompatible if by("vllm") => {
            list.kind = Kind::Vllm;
            for model in &mut list.models {
                model.state = ModelState::Loaded;
                model.context_length = model.max_context_length;
            }
        }
        _ => {}
    }
}

/// Newest first.
const LM_STUDIO: &[Kind] = &[Kind::LmStudio, Kind::LmStudio03, Kind::OpenAiCompatible];
