//! Brings models into memory and out of it, where the upstream lets others do that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::upstream::call::Call;
use crate::upstream::chat::{ChatEvent, ChatRequest, Message, Role};
use crate::upstream::client::{Upstream, unknown_in};
use crate::upstream::error::{Stage, UpstreamError};
use crate::upstream::fleet::{Failed, Fleet};
use crate::upstream::generate::Generation;
use crate::upstream::json::{List, Object};
use crate::upstream::models::{Kind, Model, ModelList, ModelState, ModelType};
use crate::upstream::queue::pause;
use crate::upstream::route::{Choice, Need, Wanted};

/// A model to bring into memory.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// The name of the upstream; chosen by its models when absent.
    pub upstream: Option<String>,
    /// The model.
    pub model: String,
    /// Its context window, in tokens; the upstream's default when absent.
    pub context_length: Option<u32>,
    /// LM Studio's switch.
    pub flash_attention: Option<bool>,
    /// Out of memory again after so long without use, where the upstream can.
    pub ttl: Option<Duration>,
    /// How often to be woken with [`ChatEvent::Waiting`] while nothing comes.
    pub beat: Option<Duration>,
}

/// A model in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The name of the upstream.
    pub upstream: String,
    /// The model.
    pub model: String,
    /// The name of the copy in memory.
    pub instance_id: String,
    /// It was there before.
    pub already_loaded: bool,
    /// How long it took.
    pub took: Duration,
    /// Its context window, in tokens, where the upstream says.
    pub context_length: Option<u64>,
    /// What the caller should know besides.
    pub warnings: Vec<String>,
}

impl Fleet {
    /// Brings a model into memory, unless it is there; never a second copy of it. `on` hears of
    /// progress where the upstream tells it. Blocks until it is there. Errors: see
    /// [`UpstreamError`].
    pub fn load(
        &self,
        request: &LoadRequest,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Loaded, Failed> {
        let wanted = Wanted {
            upstream: request.upstream.as_deref(),
            model: Some(&request.model),
            need: Need::Chat,
            beat: request.beat,
        };
        self.routed(&wanted, cancel, on, &mut |choice, on| {
            let begun = Instant::now();
            let loading = Loading { upstream: &choice.upstream, request, cancel, begun };
            let mut loaded = loading.run(choice, on)?;
            loaded.took = begun.elapsed();
            choice.upstream.name().clone_into(&mut loaded.upstream);
            Ok(loaded)
        })
    }

    /// Takes a model, or one copy of it, out of memory: the names of what was there, none when
    /// nothing was. `on` hears of silence every `beat`. Errors: see [`UpstreamError`].
    pub fn unload(
        &self,
        upstream: Option<&str>,
        name: &str,
        beat: Option<Duration>,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(String, Vec<String>), Failed> {
        let wanted = Wanted { upstream, model: Some(name), need: Need::Chat, beat };
        self.routed(&wanted, cancel, on, &mut |choice, on| {
            let on_beat = &mut || on(ChatEvent::Waiting);
            let gone = unload(&choice.upstream, name, beat, cancel, on_beat)?;
            choice.upstream.record.forget_list();
            Ok((choice.upstream.name().to_owned(), gone))
        })
    }
}

struct Loading<'a> {
    upstream: &'a Upstream,
    request: &'a LoadRequest,
    cancel: &'a Cancel,
    begun: Instant,
}

impl Loading<'_> {
    fn run(
        &self,
        choice: &Choice,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Loaded, UpstreamError> {
        let list = self.look(on)?;
        let asked = self.request.model.as_str();
        let Some(model) = list.find(asked) else { return Err(unknown_in(Some(&list), asked)) };
        if model.state == ModelState::Loaded {
            return Ok(self.present(model, true));
        }
        on(ChatEvent::Loading(0));
        self.upstream.record.forget_list();
        let outcome = match list.kind {
            Kind::LmStudio => self.studio(model, choice, &list, on),
            Kind::Ollama => self.ollama(model, on),
            Kind::LlamaRouter => self.router(model, on),
            kind => Err(unable("loading a model", kind)),
        };
        self.upstream.record.forget_list();
        match outcome {
            Err(UpstreamError::Cancelled) => Err(UpstreamError::Cancelled),
            // It goes on without us after a timeout, or has come while we asked.
            outcome => {
                let list = self.look(on);
                let found = list.as_ref().ok().and_then(|list| list.find(asked));
                match found.filter(|model| model.state == ModelState::Loaded) {
                    Some(model) => Ok(self.present(model, false)),
                    None => outcome.map(|()| self.present(model, false)),
                }
            }
        }
    }

    fn look(&self, on: &mut dyn FnMut(ChatEvent<'_>)) -> Result<Arc<ModelList>, UpstreamError> {
        let beat = &mut || on(ChatEvent::Waiting);
        self.upstream.look(self.cancel, self.request.beat, beat)
    }

    fn present(&self, model: &Model, already_loaded: bool) -> Loaded {
        let name = model.name_for(&self.request.model);
        let context_length = model.window_of(name);
        let mut warnings = Vec::new();
        let wanted = self.request.context_length.map(u64::from);
        if let Some((wanted, has)) = wanted.zip(context_length).filter(|(wanted, has)| has < wanted)
        {
            warnings.push(format!(
                "it is in memory with a window of {has} tokens, not {wanted}; unload it first to \
                 load it with another one"
            ));
        }
        Loaded {
            model: model.id.clone(),
            instance_id: name.to_owned(),
            already_loaded,
            context_length,
            warnings,
            ..Loaded::default()
        }
    }

    fn call(&self) -> std::rc::Rc<Call> {
        Call::new(self.cancel, self.upstream.settings.limits, self.request.beat)
    }

    /// Only an answer of one token tells how far the loading is; what it cannot express is loaded
    /// without a word in between.
    fn studio(
        &self,
        model: &Model,
        choice: &Choice,
        list: &Arc<ModelList>,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        let request = self.request;
        let plain = request.context_length.is_none()
            && request.flash_attention.is_none()
            && request.ttl.is_none();
        if plain && model.model_type == ModelType::Llm {
            match self.by_answer(model, choice, list, on) {
                // It came into memory, whatever it said then.
                Ok(()) | Err(UpstreamError::EmptyOutput { .. }) => return Ok(()),
                Err(
                    UpstreamError::NoModelLoaded { .. }
                    | UpstreamError::ModelNotFound { .. }
                    | UpstreamError::BadRequest { .. }
                    | UpstreamError::NotSupported { .. },
                ) => {}
                Err(error) => return Err(error),
            }
        }
        let mut body = Object::with("model", &model.id);
        body.integer("context_length", request.context_length.map(i64::from));
        if let Some(flash_attention) = request.flash_attention {
            body.flag("flash_attention", flash_attention);
        }
        if let Some(ttl) = request.ttl {
            body.integer("ttl", i64::try_from(ttl.as_secs()).ok());
        }
        self.post("/api/v1/models/load", &body.end(), &model.id, on)
    }

    fn by_answer(
        &self,
        model: &Model,
        choice: &Choice,
        list: &Arc<ModelList>,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        let request = ChatRequest {
            messages: vec![Message { role: Role::User, content: ".".to_owned() }],
            max_tokens: Some(1),
            beat: self.request.beat,
            ..ChatRequest::default()
        };
        let mut generation = Generation {
            upstream: &choice.upstream,
            request: &request,
            asked: model.id.clone(),
            name: model.id.clone(),
            list: Some(Arc::clone(list)),
            cancel: self.cancel,
            begun: self.begun,
            length: self.upstream.settings.limits.call,
        };
        generation.run(on).map(|_| ())
    }

    fn ollama(
        &self,
        model: &Model,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        let mut body = Object::with("model", &model.id);
        body.raw("messages", &List::new().end());
        if let Some(window) = self.request.context_length {
            let mut options = Object::new();
            options.integer("num_ctx", Some(window.into()));
            body.raw("options", &options.end());
        }
        if let Some(ttl) = self.request.ttl {
            body.integer("keep_alive", i64::try_from(ttl.as_secs()).ok());
        }
        body.flag("stream", false);
        self.post("/api/chat", &body.end(), &model.id, on)
    }

    /// It answers at once and loads then.
    fn router(
        &self,
        model: &Model,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        self.post("/models/load", &Object::with("model", &model.id).end(), &model.id, on)?;
        let limits = self.upstream.settings.limits;
        let mut last_beat = Instant::now();
        while self.begun.elapsed() < limits.prefill {
            if !pause(self.cancel, ROUTER_LOOK) {
                return Err(UpstreamError::Cancelled);
            }
            let list = self.look(on)?;
            match list.find(&model.id).map(|model| model.state) {
                Some(ModelState::Loaded) => return Ok(()),
                Some(ModelState::Loading) => {}
                _ => {
                    return Err(UpstreamError::ModelLoadFailed {
                        said: "the router's log says why".to_owned(),
                    });
                }
            }
            if self.request.beat.is_some_and(|beat| last_beat.elapsed() >= beat) {
                last_beat = Instant::now();
                on(ChatEvent::Waiting);
            }
        }
        Err(UpstreamError::Deadline { length: limits.prefill, during: Stage::Reading })
    }

    fn post(
        &self,
        path: &str,
        body: &[u8],
        model: &str,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<(), UpstreamError> {
        let call = self.call();
        let _entered = call.enter();
        let beat = &mut || on(ChatEvent::Waiting);
        self.upstream.ask(path, body, Some(model), &call, beat).map(|_| ())
    }
}

fn unload(
    upstream: &Upstream,
    name: &str,
    beat: Option<Duration>,
    cancel: &Cancel,
    on_beat: &mut dyn FnMut(),
) -> Result<Vec<String>, UpstreamError> {
    // What was seen a moment ago may be gone.
    let list = upstream.look(cancel, beat, on_beat)?;
    let Some(model) = list.find(name) else { return Err(unknown_in(Some(&list), name)) };
    let copies = model.instances.iter().map(|copy| copy.id.clone());
    let names: Vec<String> = match list.kind {
        Kind::LmStudio if model.id != name && copies.clone().any(|copy| copy == name) => {
            vec![name.to_owned()]
        }
        Kind::LmStudio => copies.collect(),
        Kind::Ollama | Kind::LlamaRouter => {
            let is_there = matches!(model.state, ModelState::Loaded | ModelState::Loading);
            is_there.then(|| model.id.clone()).into_iter().collect()
        }
        kind => return Err(unable("unloading a model", kind)),
    };
    let mut gone = Vec::new();
    for name in names {
        let (path, body) = match list.kind {
            Kind::LmStudio => ("/api/v1/models/unload", Object::with("instance_id", &name)),
            Kind::Ollama => {
                let mut body = Object::with("model", &name);
                body.raw("messages", &List::new().end());
                body.integer("keep_alive", Some(0));
                body.flag("stream", false);
                ("/api/chat", body)
            }
            _ => ("/models/unload", Object::with("model", &name)),
        };
        let call = Call::new(cancel, upstream.settings.limits, beat);
        let _entered = call.enter();
        if let Err(error) = upstream.ask(path, &body.end(), Some(&name), &call, on_beat) {
            // Somebody else may have been faster.
            let now = upstream.look(cancel, beat, on_beat)?;
            let found = now.find(&name);
            if found.is_some_and(|model| model.state == ModelState::Loaded) {
                return Err(error);
            }
            continue;
        }
        gone.push(name);
    }
    Ok(gone)
}

fn unable(what: &'static str, kind: Kind) -> UpstreamError {
    let said = format!("it is {kind}; LM Studio 0.4, Ollama and llama.cpp as a router can");
    UpstreamError::NotSupported { what, said }
}

/// Routers are asked so often whether they are done.
const ROUTER_LOOK: Duration = Duration::from_millis(500);
