//! An admitted request in its handler's hands, and the two ways by which its answer reaches the
//! front.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::http::Carrier;
use super::reply::Answer;
use super::stream::{EventSource, Handed, Work};
use super::{Admitted, Reply};

/// An admitted request that waits for its answer.
pub struct Exchange {
    /// What the front knows of it.
    pub admitted: Arc<Admitted>,
    /// The whole body.
    pub body: Vec<u8>,
    way: Way,
}

/// By which way an exchange came to its handler, and how the front hears of its answer.
enum Way {
    /// Through tiny_http: a byte on the inner connection.
    Inner(Carrier),
    /// On the client's own thread: the slot itself.
    Alone,
}

impl Exchange {
    pub(super) fn carried(admitted: Arc<Admitted>, body: Vec<u8>, by: Carrier) -> Self {
        Self { admitted, body, way: Way::Inner(by) }
    }

    pub(super) fn alone(admitted: Arc<Admitted>, body: Vec<u8>) -> Self {
        Self { admitted, body, way: Way::Alone }
    }

    /// Whether its handler has the client's own thread ([`Route::alone`](super::Route::alone)).
    #[must_use]
    pub fn is_alone(&self) -> bool {
        matches!(self.way, Way::Alone)
    }

    /// Answers it. The front takes the reply from here, so this does not wait for the client.
    pub fn respond(self, reply: Reply) {
        self.answer(Answer::Whole(reply));
    }

    /// Begins an event stream: 200 with `fields`, then whatever `source` brings, until it ends or
    /// the client leaves. Errors: no descriptors; the client gets a 500.
    pub fn stream(
        self,
        fields: &[(&'static str, &'static str)],
        source: Box<dyn EventSource>,
    ) -> io::Result<()> {
        self.hand(fields, Handed::new(source)?);
        Ok(())
    }

    /// The same for a stream that ends with an answer; `work` is what makes its words, where the stream's
    /// own thread is to run that, which goes on when the client leaves. Errors: as above, and the work
    /// is not run.
    pub fn answer_with(
        self,
        fields: &[(&'static str, &'static str)],
        source: Box<dyn EventSource>,
        work: Option<Work>,
    ) -> io::Result<()> {
        let handed = Handed::new(source)?;
        self.hand(fields, Handed { work, has_end: true, ..handed });
        Ok(())
    }

    fn hand(self, fields: &[(&'static str, &'static str)], handed: Handed) {
        let mut reply = Reply::text(200, "");
        reply.content_type = "text/event-stream";
        for (name, value) in fields {
            reply = reply.with(name, value);
        }
        self.answer(Answer::Stream(reply, handed));
    }

    fn answer(mut self, answer: Answer) {
        self.admitted.slot.fill(answer);
        // What is dropped after this has answered.
        if let Way::Inner(carrier) = std::mem::replace(&mut self.way, Way::Alone) {
            carrier.nod();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // On the other way tiny_http answers for it.
        if matches!(self.way, Way::Alone) {
            self.admitted.slot.give_up();
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("admitted", &self.admitted)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
