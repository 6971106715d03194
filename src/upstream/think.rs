//! Parts a model's thinking from its answer where both come in one text. Pure.
//!
//! Thinking stands at the beginning, between marks that may be cut anywhere. A missing closing
//! mark makes everything thinking; a missing opening one (templates that open the thinking inside
//! the prompt) is seen only at the end, when the closing mark is met without it.

/// A piece of a parted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Of the thinking.
    Thinking(&'a str),
    /// Of the answer.
    Answer(&'a str),
}

/// The state between two pieces of a text.
#[derive(Debug, Default)]
pub(super) struct Parter {
    place: Place,
    /// Text that may be the beginning of a mark.
    held: String,
}

impl Parter {
    /// Takes the next piece and gives what is certain to `take`.
    pub(super) fn push(&mut self, piece: &str, mut take: impl FnMut(Piece<'_>)) {
        if self.place == Place::Answer && self.held.is_empty() {
            take(Piece::Answer(piece));
            return;
        }
        self.held.push_str(piece);
        while self.step(&mut take) {}
    }

    /// The text is over: gives what was held back.
    pub(super) fn finish(mut self, mut take: impl FnMut(Piece<'_>)) -> Place {
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            match self.place {
                Place::Thinking(_) => take(Piece::Thinking(&rest)),
                Place::Beginning | Place::Gap | Place::Answer => take(Piece::Answer(&rest)),
            }
        }
        self.place
    }

    /// Goes on as far as one mark; says whether to look again.
    fn step(&mut self, take: &mut impl FnMut(Piece<'_>)) -> bool {
        match self.place {
            Place::Beginning => {
                let text = self.held.trim_start();
                if let Some(mark) = MARKS.iter().find(|mark| text.starts_with(mark.open)) {
                    let after = text.strip_prefix(mark.open).unwrap_or_default().to_owned();
                    self.held = after;
                    self.place = Place::Thinking(mark);
                    return true;
                }
                if MARKS.iter().any(|mark| mark.open.starts_with(text)) {
                    return false;
                }
                self.place = Place::Answer;
                true
            }
            Place::Thinking(mark) => {
                if let Some((before, after)) = mark.cut(&self.held) {
                    if !before.is_empty() {
                        take(Piece::Thinking(before));
                    }
                    self.held = after.to_owned();
                    self.place = Place::Gap;
                    return true;
                }
                let closes = mark.close.iter();
                let keep = closes.map(|close| overlap(&self.held, close)).max().unwrap_or_default();
                let (certain, kept) =
                    self.held.split_at_checked(self.held.len() - keep).unwrap_or(("", &self.held));
                if !certain.is_empty() {
                    take(Piece::Thinking(certain));
                    self.held = kept.to_owned();
                }
                false
            }
            Place::Gap => {
                let text = self.held.trim_start();
                if text.is_empty() {
                    self.held.clear();
                    return false;
                }
                take(Piece::Answer(text));
                self.held.clear();
                self.place = Place::Answer;
                false
            }
            Place::Answer => {
                take(Piece::Answer(&self.held));
                self.held.clear();
                false
            }
        }
    }
}

/// Where in the text the parter is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing but white space, or the beginning of a mark, has come.
    #[default]
    Beginning,
    /// After this mark's opening.
    Thinking(&'static Mark),
    /// Between the thinking and the first word of the answer.
    Gap,
    /// In the answer.
    Answer,
}

/// A pair of marks around thinking.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    open: &'static str,
    /// The first of them that comes ends the thinking; a longer one stands before those in it.
    close: &'static [&'static str],
}

impl Mark {
    /// The text before and after the closing mark.
    fn cut<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let cuts = self.close.iter().filter_map(|close| text.split_once(close));
        cuts.min_by_key(|(before, _)| before.len())
    }
}

/// A whole text that had no opening mark: the thinking and the answer, if a closing mark stands
/// where one ends, at an end of a line. In the middle of a sentence it is only talked about.
pub(super) fn part_unopened(text: &str) -> Option<(&str, &str)> {
    MARKS.iter().filter(|mark| mark.close != [""]).find_map(|mark| {
        let (before, after) = mark.cut(text)?;
        let at_line_end = after.is_empty() || after.starts_with(['\n', '\r']);
        let at_line_start = before.is_empty() || before.ends_with(['\n', '\r']);
        (at_line_end || at_line_start).then(|| (before, after.trim_start()))
    })
}

/// How many bytes at the end of `text` may be the beginning of `mark`.
fn overlap(text: &str, mark: &str) -> usize {
    (1..mark.len())
        .rev()
        .find(|&n| mark.get(..n).is_some_and(|beginning| text.ends_with(beginning)))
        .unwrap_or_default()
}

const MARKS: &[Mark] = &[
    Mark { open: "<think>", close: &["</think>"] },
    Mark { open: "<thinking>", close: &["</thinking>"] },
    // gpt-oss, where its channels reach us unparsed, with or without the tokens between them.
    Mark { open: "<|channel|>analysis<|message|>", close: CHANNEL_CLOSES },
    Mark { open: "<|start|>assistant<|channel|>analysis<|message|>", close: CHANNEL_CLOSES },
    // It did not think.
    Mark { open: "<|channel|>final<|message|>", close: &[""] },
];

const CHANNEL_CLOSES: &[&str] =
    &["<|end|><|start|>assistant<|channel|>final<|message|>", "<|channel|>final<|message|>"];

/// What gpt-oss writes behind its answer.
const TAILS: &[&str] = &["<|return|>", "<|end|>"];

/// An answer without the marks that stand behind it.
pub(super) fn without_tail(text: &mut String) {
    for tail in TAILS {
        if text.ends_with(tail) {
            text.truncate(text.len() - tail.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(pieces: &[&str]) -> (String, String) {
        let mut parter = Parter::default();
        let (mut thinking, mut answer) = (String::new(), String::new());
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Thinking(text) => thinking.push_str(text),
            Piece::Answer(text) => answer.push_str(text),
        };
        for piece in pieces {
            parter.push(piece, &mut take);
        }
        parter.finish(&mut take);
        (thinking, answer)
    }

    #[test]
    fn every_cut_gives_the_same_parts() {
        for (text, thinking, answer) in [
            ("<think>a < b</think>\n\nYes ä.", "a < b", "Yes ä."),
            ("\n<think></think>Yes", "", "Yes"),
            ("<thinking>no </think> yet</thinking> Yes", "no </think> yet", "Yes"),
            ("<think>endless </thin", "endless </thin", ""),
            ("Yes, <think> is a tag </think>", "", "Yes, <think> is a tag </think>"),
            ("<thin ice>", "", "<thin ice>"),
            ("  plain", "", "  plain"),
            (
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final\
                 <|message|>Yes",
                "hm",
                "Yes",
            ),
            ("<|channel|>analysis<|message|>hm<|channel|>final<|message|>Yes", "hm", "Yes"),
            ("<|channel|>final<|message|>Yes", "", "Yes"),
        ] {
            let expected = (thinking.to_owned(), answer.to_owned());
            assert_eq!(part(&[text]), expected, "{text}");
            let cuts: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            for &first in &cuts {
                for &second in cuts.iter().filter(|second| **second >= first) {
                    let (before, last) = text.split_at(second);
                    let (head, middle) = before.split_at(first);
                    let pieces = [head, middle, last];
                    assert_eq!(part(&pieces), expected, "{text} cut at {first} and {second}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn however_the_text_is_cut_the_parts_are_the_same(
            words in proptest::collection::vec(
                prop_oneof![
                    proptest::sample::select(vec![
                        "<think>", "</think>", "<thinking>", "</thinking>", "<th", "ink>", "<|",
                        "<|channel|>analysis<|message|>", "<|channel|>final<|message|>",
                        "<|end|><|start|>assistant", "\n", " ", "<", "ä€",
                    ]).prop_map(str::to_owned),
                    "[a-z<>/ ]{0,5}",
                ],
                0..10,
            ),
            sizes in proptest::collection::vec(1_usize..6, 1..6),
        ) {
            let text = words.concat();
            let letters: Vec<char> = text.chars().collect();
            let mut pieces: Vec<String> = Vec::new();
            let mut rest = letters.as_slice();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece.iter().collect());
                rest = more;
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(part(&pieces), part(&[&text]));
        }
    }

    #[test]
    fn what_stands_behind_an_answer_is_taken_off() {
        let mut text = "Yes<|return|>".to_owned();
        without_tail(&mut text);
        assert_eq!(text, "Yes");
    }

    #[test]
    fn a_closing_mark_alone_parts_only_at_the_end_of_a_line() {
        assert_eq!(part_unopened("hm\n</think>\n\nYes"), Some(("hm\n", "Yes")));
        assert_eq!(part_unopened("hm</think>\nYes"), Some(("hm", "Yes")));
        assert_eq!(part_unopened("Write </think> after it."), None);
        assert_eq!(part_unopened("Yes"), None);
    }
}
