//! Reads the answer of a chat completion while it comes, until it ends in one of its ways.

use std::io::{self, ErrorKind, Read};
use std::time::Instant;

use ureq::http::header::CONTENT_TYPE;
use ureq::http::{Response, Uri};
use ureq::{Body, BodyReader};

use crate::cancel::Cancel;
use crate::upstream::assembly::{Assembly, Next};
use crate::upstream::call::Call;
use crate::upstream::chat::{self, ChatAnswer, ChatEvent, ChatRequest, Finish};
use crate::upstream::error::UpstreamError;
use crate::upstream::exchange::Exchange;
use crate::upstream::fault::Said;
use crate::upstream::limits::{Limit, Limits, Stop};
use crate::upstream::sse;

/// A generation, from its request to its end.
pub(super) struct Generation<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) uri: &'a Uri,
    pub(super) limits: Limits,
    pub(super) reply_bytes_max: usize,
}

impl Generation<'_> {
    /// Sends the request and reads the answer. Errors: see [`UpstreamError`].
    pub(super) fn run(
        &self,
        request: &ChatRequest,
        cancel: &Cancel,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let begun = Instant::now();
        let mut limits = self.limits;
        limits.call = request.deadline.unwrap_or(limits.call);
        let call = Call::new(cancel, limits, request.beat);
        let _entered = call.enter();
        let json = serde_json::to_vec(&chat::Body::from(request)).map_err(|error| {
            UpstreamError::BadRequest { said: format!("it cannot be written: {error}") }
        })?;
        let mut first = None;
        let mut on = |event: ChatEvent<'_>| {
            if event != ChatEvent::Waiting && first.is_none() {
                first = Some(begun.elapsed());
                call.answering();
            }
            on(event);
        };
        let response =
            self.exchange.post(self.uri, &json, &call, &mut || on(ChatEvent::Waiting))?;
        let mut answer = self.read(response, &request.model, &call, &mut on)?;
        answer.first_token = first;
        answer.total = begun.elapsed();
        Ok(answer)
    }

    fn read(
        &self,
        response: Response<Body>,
        model: &str,
        call: &Call,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let status = response.status();
        let token_sent = self.exchange.sends_token();
        let mut assembly = Assembly::new(model, token_sent, self.reply_bytes_max);
        if status.is_success() && may_stream(&response) {
            let body = response.into_body().into_reader();
            return match self.follow(body, &mut assembly, on) {
                Ok(end) => self.conclude(end, assembly, call),
                Err(error) => Err(error.after(assembly.into_partial().text)),
            };
        }
        let body = self.exchange.whole(response, call, &mut || on(ChatEvent::Waiting))?;
        if let Some(said) = Said::in_body(&body) {
            return Err(said.into_error(status.as_u16(), Some(model), token_sent));
        }
        if !status.is_success() {
            let said = Said::plain(&body);
            return Err(said.into_error(status.as_u16(), Some(model), token_sent));
        }
        assembly.take_whole(&body, on)?;
        assembly.finish()
    }

    /// Reads events until the stream says that it is done, ends, or fails.
    fn follow(
        &self,
        mut body: BodyReader<'_>,
        assembly: &mut Assembly,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<End, UpstreamError> {
        let mut reader = sse::Reader::new(self.reply_bytes_max);
        let mut piece = vec![0; PIECE_BYTES];
        let mut events = Vec::new();
        loop {
            let read = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => piece.get(..n).unwrap_or_default(),
                Err(error) if Stop::within(&error) == Some(Stop::Beat) => {
                    on(ChatEvent::Waiting);
                    continue;
                }
                Err(error) => return Ok(End::Failed(error)),
            };
            let pushed = reader.push(read, |event| events.push(event));
            for event in events.drain(..) {
                if take(assembly, &event, on)? == Next::Done {
                    return Ok(End::Done);
                }
            }
            if pushed == Err(sse::TooLong) {
                return Err(UpstreamError::ReplyTooLarge { limit: self.reply_bytes_max });
            }
        }
        match reader.finish() {
            Some(event) if take(assembly, &event, on)? == Next::Done => Ok(End::Done),
            _ => Ok(End::Closed),
        }
    }

    fn conclude(
        &self,
        end: End,
        assembly: Assembly,
        call: &Call,
    ) -> Result<ChatAnswer, UpstreamError> {
        match end {
            End::Done => assembly.finish(),
            // Only the farewell is missing.
            End::Closed | End::Failed(_) if assembly.is_complete() => assembly.finish(),
            End::Closed => {
                let error = io::Error::new(ErrorKind::UnexpectedEof, "the stream ended too early");
                Err(self.exchange.failed(error, call).after(assembly.into_partial().text))
            }
            End::Failed(error) => {
                let answer = assembly.into_partial();
                let cut = Stop::within(&error) == Some(Stop::Limit(Limit::Call));
                if cut && !answer.text.trim().is_empty() {
                    return Ok(ChatAnswer { partial: true, finish: Finish::Deadline, ..answer });
                }
                Err(self.exchange.failed(error, call).after(answer.text))
            }
        }
    }
}

/// How a stream came to its end.
enum End {
    /// It said that it is done.
    Done,
    /// It was closed in an orderly way.
    Closed,
    /// The connection broke, or we stopped waiting.
    Failed(io::Error),
}

fn take(
    assembly: &mut Assembly,
    event: &sse::Event,
    on: &mut dyn FnMut(ChatEvent<'_>),
) -> Result<Next, UpstreamError> {
    if event.name == "error" {
        Err(assembly.fault(&event.data))
    } else {
        assembly.take(&event.data, on)
    }
}

/// Whether an answer may be a stream of events; servers that forget the type send events.
fn may_stream(response: &Response<Body>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    !kind.contains("json") && !kind.contains("html")
}

const PIECE_BYTES: usize = 8 * 1024;
