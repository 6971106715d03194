//! Where the answer to an exchange is left for the front, from whatever thread it comes.

use std::io;
use std::sync::{Arc, Mutex};

use super::reply::Answer;
use crate::chime::Chime;
use crate::worker::lock;

/// One exchange's place for its answer.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Nobody waits in its sleep yet.
    #[default]
    Open,
    /// The front sleeps until this is struck.
    Awaited(Arc<Chime>),
    /// There it is.
    Answered(Answer),
    /// Whoever had to answer is gone without having done so.
    Dropped,
    /// The front has it.
    Taken,
}

/// What the front finds in a slot.
#[derive(Debug)]
pub(super) enum Found {
    /// The answer.
    Answer(Answer),
    /// There will be none.
    Dropped,
    /// It is not there yet; this is struck when it is.
    Nothing(Arc<Chime>),
}

impl Slot {
    /// Leaves the answer; the first one counts.
    pub(super) fn fill(&self, answer: Answer) {
        self.settle(State::Answered(answer));
    }

    /// Says that nobody will answer, unless somebody has.
    pub(super) fn give_up(&self) {
        self.settle(State::Dropped);
    }

    fn settle(&self, outcome: State) {
        let mut state = lock(&self.0);
        if matches!(*state, State::Open | State::Awaited(_)) {
            let before = std::mem::replace(&mut *state, outcome);
            drop(state);
            if let State::Awaited(chime) = before {
                chime.strike();
            }
        }
    }

    /// The answer, if it is there.
    pub(super) fn take(&self) -> Option<Answer> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(answer) => Some(answer),
            other => {
                *state = other;
                None
            }
        }
    }

    /// The answer, or what to sleep on until it comes. Errors: no descriptors.
    pub(super) fn find(&self) -> io::Result<Found> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Taken) {
            State::Answered(answer) => Ok(Found::Answer(answer)),
            State::Dropped | State::Taken => Ok(Found::Dropped),
            State::Awaited(chime) => {
                *state = State::Awaited(Arc::clone(&chime));
                Ok(Found::Nothing(chime))
            }
            State::Open => {
                let chime = Chime::new().map(Arc::new);
                if let Ok(chime) = &chime {
                    *state = State::Awaited(Arc::clone(chime));
                }
                chime.map(Found::Nothing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Reply;

    fn status(found: Found) -> Option<u16> {
        match found {
            Found::Answer(Answer::Whole(reply)) => Some(reply.status),
            _ => None,
        }
    }

    #[test]
    fn the_first_answer_counts_and_wakes_who_waits() {
        let slot = Slot::default();
        let Ok(Found::Nothing(chime)) = slot.find() else { panic!("there is none yet") };
        slot.fill(Answer::Whole(Reply::empty(202)));
        slot.fill(Answer::Whole(Reply::empty(500)));
        slot.give_up();
        let mut fds = [rustix::event::PollFd::new(&*chime, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut fds, None), Ok(1));
        assert_eq!(status(slot.find().unwrap()), Some(202));
        assert!(matches!(slot.find(), Ok(Found::Dropped)), "it is taken once");
    }

    #[test]
    fn who_gives_up_without_an_answer_says_so() {
        let slot = Slot::default();
        slot.give_up();
        slot.fill(Answer::Whole(Reply::empty(202)));
        assert!(slot.take().is_none());
        assert!(matches!(slot.find(), Ok(Found::Dropped)));
    }
}
