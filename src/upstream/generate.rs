//! One generation at one upstream: held against the window, queued, sent once, read to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::Response;
use ureq::http::header::CONTENT_TYPE;

use crate::cancel::Cancel;
use crate::upstream::assembly::Assembly;
use crate::upstream::body::{self, Route, Without};
use crate::upstream::call::Call;
use crate::upstream::chat::{ChatAnswer, ChatEvent, ChatRequest};
use crate::upstream::client::{Upstream, unknown_in};
use crate::upstream::error::{Stage, UpstreamError};
use crate::upstream::exchange::Reply;
use crate::upstream::fault::Said;
use crate::upstream::follow::Follow;
use crate::upstream::limits::Limit;
use crate::upstream::models::{Kind, Model, ModelList, ModelState};
use crate::upstream::queue::{Refused, Turn};
use crate::upstream::window;

/// A generation whose upstream and model are chosen.
pub(super) struct Generation<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) request: &'a ChatRequest,
    /// What the model was called by whoever asked.
    pub(super) asked: String,
    /// What the upstream is to be told.
    pub(super) name: String,
    /// Its models, where they are known.
    pub(super) list: Option<Arc<ModelList>>,
    pub(super) cancel: &'a Cancel,
    /// When the call was accepted.
    pub(super) begun: Instant,
    /// How long it may take in all.
    pub(super) length: Duration,
}

impl Generation<'_> {
    /// Brings the answer. Errors: see [`UpstreamError`].
    pub(super) fn run(
        &mut self,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let outcome = self.answer(on);
        self.upstream.record.note(self.upstream.name(), &outcome);
        match outcome {
            Err(UpstreamError::Timeout { limit: Limit::Call, partial, .. })
                if partial.is_empty() =>
            {
                Err(UpstreamError::Deadline { length: self.length, during: Stage::Reading })
            }
            Err(UpstreamError::ModelNotFound { .. }) => {
                self.upstream.record.forget_list();
                Err(unknown_in(self.list.as_deref(), &self.asked))
            }
            Err(
                error @ (UpstreamError::NoModelLoaded { .. } | UpstreamError::ModelCrashed { .. }),
            ) => {
                self.upstream.record.forget_list();
                Err(error)
            }
            outcome => outcome,
        }
    }

    fn answer(&mut self, on: &mut dyn FnMut(ChatEvent<'_>)) -> Result<ChatAnswer, UpstreamError> {
        self.is_possible()?;
        let warning = self.fits(on)?;
        let waits = Instant::now();
        let mut waited = false;
        let _turn = self.enter(&mut waited, on)?;
        let queued = waits.elapsed();
        if waited {
            self.look_again(on);
        }
        let mut answer = self.send(on)?;
        answer.warnings.splice(0..0, warning);
        answer.queued = queued;
        answer.total = self.begun.elapsed();
        answer.requested_model.clone_from(&self.asked);
        self.upstream.name().clone_into(&mut answer.upstream);
        Ok(answer)
    }

    fn kind(&self) -> Option<Kind> {
        self.list.as_ref().map(|list| list.kind)
    }

    fn model(&self) -> Option<&Model> {
        self.list.as_ref()?.find(&self.name)
    }

    /// Errors: a conversation that the upstream is to keep cannot be kept.
    fn is_possible(&self) -> Result<(), UpstreamError> {
        let Some(_) = &self.request.conversation else { return Ok(()) };
        let said = match self.kind() {
            Some(Kind::LmStudio) if self.request.is_native() => return Ok(()),
            Some(Kind::LmStudio) => {
                "one message a turn, without json_schema, stop, seed, penalties or a temperature \
                 over 1"
            }
            _ => "only LM Studio 0.4 and newer keeps them",
        };
        Err(UpstreamError::NotSupported { what: "kept conversations", said: said.to_owned() })
    }

    fn call(&self) -> std::rc::Rc<Call> {
        let mut limits = self.upstream.settings.limits;
        limits.call = self.length.saturating_sub(self.begun.elapsed());
        Call::new(self.cancel, limits, self.request.beat)
    }

    fn fits(&self, on: &mut dyn FnMut(ChatEvent<'_>)) -> Result<Option<String>, UpstreamError> {
        let room = self.model().and_then(|model| model.window_of(&self.name));
        let call = self.call();
        let _entered = call.enter();
        let beat = &mut || on(ChatEvent::Waiting);
        window::check(self.upstream, self.kind(), self.request, room, &call, beat)
    }

    fn enter(
        &self,
        waited: &mut bool,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<Turn, UpstreamError> {
        let beat = self.request.beat.unwrap_or(BEAT);
        let mut told = |before| {
            *waited = true;
            on(ChatEvent::Queued { before });
        };
        let until = self.begun + self.length;
        self.upstream.queue.enter(self.cancel, beat, until, &mut told).map_err(|refused| {
            match refused {
                Refused::Full { waiting } => UpstreamError::QueueFull { waiting },
                Refused::Cancelled => UpstreamError::Cancelled,
                Refused::TooLate => {
                    UpstreamError::Deadline { length: self.length, during: Stage::Waiting }
                }
            }
        })
    }

    /// Others may have loaded or unloaded the model meanwhile.
    fn look_again(&mut self, on: &mut dyn FnMut(ChatEvent<'_>)) {
        let mut beat = || on(ChatEvent::Waiting);
        let list = self.upstream.recent_list(self.cancel, self.request.beat, &mut beat);
        if let Ok(list) = list {
            self.list = Some(list);
        }
    }

    /// Sends the request; once more without what the upstream says that it does not take.
    fn send(&self, on: &mut dyn FnMut(ChatEvent<'_>)) -> Result<ChatAnswer, UpstreamError> {
        let mut route = Route::choose(self.kind(), self.model(), self.request);
        let is_cold = self.model().is_some_and(|model| model.state == ModelState::NotLoaded);
        loop {
            let without = self.upstream.without();
            let json = match route {
                Route::Native => body::native(self.request, &self.name, self.model()),
                _ => body::compatible(self.request, &self.name, self.kind(), without),
            };
            on(ChatEvent::Asking { upstream: self.upstream.name(), model: &self.name });
            let call = self.call();
            let _entered = call.enter();
            let beat = &mut || on(ChatEvent::Waiting);
            let response = self.upstream.exchange.post(route.path(), &json, &call, beat)?;
            drop(json);
            if is_cold {
                self.upstream.record.forget_list();
            }
            if response.status().is_success() && may_stream(&response) {
                return self.follow(response, &call, on);
            }
            let beat = &mut || on(ChatEvent::Waiting);
            let reply = self.upstream.exchange.reply(response, &call, beat)?;
            let said = Said::in_body(&reply.body);
            match said.as_ref().and_then(|said| self.other_way(said, &reply, route, without)) {
                Some(other) => route = other,
                None => return self.whole(said, &reply, route, on),
            }
        }
    }

    /// The way to ask once more after a refusal that names what it is about; it is a way that has
    /// not been gone, since what is refused is remembered.
    fn other_way(
        &self,
        said: &Said,
        reply: &Reply,
        route: Route,
        mut without: Without,
    ) -> Option<Route> {
        if route == Route::Native {
            // Its strict shapes are known from its documentation, which has been wrong before.
            let other = self.request.conversation.is_none()
                && (said.is_unknown_endpoint() || said.is_about_shape());
            return other.then_some(Route::Chat);
        }
        if !(400..500).contains(&reply.status) {
            return None;
        }
        let before = without;
        without.stream_options |= said.names("stream_options");
        without.response_format |=
            self.request.json_schema.is_some() && said.names("response_format");
        if without == before {
            return None;
        }
        self.upstream.do_without(without);
        Some(route)
    }

    fn assembly(&self) -> Assembly {
        let bytes_max = self.upstream.settings.reply_bytes_max;
        Assembly::new(&self.name, self.upstream.has_token(), bytes_max)
            .at_most(self.request.max_tokens)
    }

    fn follow(
        &self,
        response: Response<Body>,
        call: &Call,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let mut first = None;
        let mut on = |event: ChatEvent<'_>| {
            if first.is_none() && matches!(event, ChatEvent::Thinking(_) | ChatEvent::Writing(_)) {
                first = Some(self.begun.elapsed());
                call.answering();
            }
            on(event);
        };
        let mut follow = Follow {
            exchange: &self.upstream.exchange,
            call,
            bytes_max: self.upstream.settings.reply_bytes_max,
            length: self.length,
        };
        let mut answer = follow.read(response, self.assembly(), &mut on)?;
        answer.first_token = first;
        self.warn(&mut answer);
        Ok(answer)
    }

    fn whole(
        &self,
        said: Option<Said>,
        reply: &Reply,
        route: Route,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let Reply { status, body } = reply;
        let is_success = (200..300).contains(status);
        let said = said.or_else(|| (!is_success).then(|| Said::plain(body)));
        if let Some(said) = said {
            let has_no_path = matches!(status, 404 | 405 | 501) || said.is_unknown_endpoint();
            let error = said.into_error(*status, Some(&self.asked), self.upstream.has_token());
            return Err(if route == Route::Text && has_no_path {
                uncompleted(error)
            } else {
                error
            });
        }
        let mut assembly = self.assembly();
        assembly.take_whole(body, on)?;
        let mut answer = assembly.finish()?;
        answer.first_token = Some(self.begun.elapsed());
        self.warn(&mut answer);
        Ok(answer)
    }

    fn warn(&self, answer: &mut ChatAnswer) {
        if self.request.json_schema.is_some() && self.upstream.without().response_format {
            let told = "the model server takes no JSON Schema, so the answer may not follow it";
            answer.warnings.push(told.to_owned());
        }
        // llama.cpp answers to every name with the model that it has.
        if self.list.is_some() && self.model().is_none() && answer.model == self.name {
            let asked = &self.asked;
            let told = format!(
                "the model server lists no {asked:?}; another of its models may have answered"
            );
            answer.warnings.push(told);
        }
    }
}

/// What it means that a path is not there, or not for this: not every server completes texts.
fn uncompleted(error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::BadRequest { said }
        | UpstreamError::NotSupported { said, .. }
        | UpstreamError::Answered { said, .. } => {
            UpstreamError::NotSupported { what: "completing a text (/v1/completions)", said }
        }
        error => error,
    }
}

/// Whether an answer may be a stream of events; servers that forget the type send events.
fn may_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    !kind.contains("json") && !kind.contains("html")
}

/// How often the place in the line is looked at when nobody wants to hear of it.
const BEAT: Duration = Duration::from_secs(7);
