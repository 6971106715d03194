//! Reads an answer while it comes, until it ends in one of its ways.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use ureq::http::Response;
use ureq::{Body, BodyReader};

use crate::upstream::assembly::{Assembly, Next};
use crate::upstream::call::Call;
use crate::upstream::chat::{ChatAnswer, ChatEvent, Finish};
use crate::upstream::error::{Stage, UpstreamError};
use crate::upstream::exchange::Exchange;
use crate::upstream::limits::{Limit, Stop};
use crate::upstream::sse::{Event, Reader, Take, TooLong};

/// A stream that is being read.
pub(super) struct Follow<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) call: &'a Call,
    /// Longest answer, in bytes.
    pub(super) bytes_max: usize,
    /// How long the whole call may take.
    pub(super) length: Duration,
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

impl Follow<'_> {
    /// Reads to the end. Errors: see [`UpstreamError`]; what had come is in them.
    pub(super) fn read(
        &mut self,
        response: Response<Body>,
        mut assembly: Assembly,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<ChatAnswer, UpstreamError> {
        let body = response.into_body().into_reader();
        match self.follow(body, &mut assembly, on) {
            Ok(end) => self.conclude(end, assembly),
            Err(error) => Err(error.after(assembly.into_partial().text)),
        }
    }

    /// Reads events until the stream says that it is done, ends, or fails.
    fn follow(
        &self,
        mut body: BodyReader<'_>,
        assembly: &mut Assembly,
        on: &mut dyn FnMut(ChatEvent<'_>),
    ) -> Result<End, UpstreamError> {
        let mut reader = Reader::new(self.bytes_max);
        let mut piece = vec![0; PIECE_BYTES];
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
            let mut told = false;
            let mut hear = |event: ChatEvent<'_>| {
                told = true;
                on(event);
            };
            if self.events(assembly, &mut hear, &mut |take| reader.push(read, take))? == Next::Done
            {
                // The end of the body comes at once, or the connection is not kept.
                self.call.ending();
                drop(body.read(&mut piece));
                return Ok(End::Done);
            }
            // Servers send comments to say that they are still there; callers hear nothing of it.
            if !told {
                on(ChatEvent::Waiting);
            }
        }
        let last = self.events(assembly, on, &mut |take| reader.finish(take))?;
        Ok(if last == Next::Done { End::Done } else { End::Closed })
    }

    fn events(
        &self,
        assembly: &mut Assembly,
        on: &mut dyn FnMut(ChatEvent<'_>),
        give: Give<'_>,
    ) -> Result<Next, UpstreamError> {
        let mut outcome = Ok(Next::More);
        let mut take = |event: Event<'_>| {
            outcome = if event.name == "error" {
                Err(assembly.fault(event.data))
            } else {
                assembly.take(event.data, on)
            };
            matches!(outcome, Ok(Next::More))
        };
        match give(&mut take) {
            Err(TooLong) => Err(UpstreamError::ReplyTooLarge { limit: self.bytes_max }),
            Ok(_) => outcome,
        }
    }

    fn conclude(&self, end: End, assembly: Assembly) -> Result<ChatAnswer, UpstreamError> {
        match end {
            End::Done => assembly.finish(),
            // Only the farewell is missing.
            End::Closed | End::Failed(_) if assembly.is_complete() => assembly.finish(),
            End::Closed => {
                let error = io::Error::new(ErrorKind::UnexpectedEof, "the stream ended too early");
                let failed = self.exchange.failed(error, self.call);
                Err(failed.after(assembly.into_partial().text))
            }
            End::Failed(error) => {
                let cut = Stop::within(&error) == Some(Stop::Limit(Limit::Call));
                let answer = assembly.into_partial();
                let has_text = !answer.text.trim().is_empty();
                match cut {
                    true if has_text => {
                        Ok(ChatAnswer { partial: true, finish: Finish::Deadline, ..answer })
                    }
                    true => {
                        let thought = !answer.reasoning.trim().is_empty();
                        let during = if thought { Stage::Thinking } else { Stage::Reading };
                        Err(UpstreamError::Deadline { length: self.length, during })
                    }
                    false => Err(self.exchange.failed(error, self.call).after(answer.text)),
                }
            }
        }
    }
}

/// Gives events to whoever takes them.
type Give<'a> = &'a mut dyn FnMut(Take<'_>) -> Result<bool, TooLong>;

const PIECE_BYTES: usize = 8 * 1024;
