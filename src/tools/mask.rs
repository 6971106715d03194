//! Private values of a text, replaced by marks before a model sees it, and kept out of what it
//! writes. Pure: texts in, texts out.

use std::ops::Range;

use crate::order;
use crate::tools::fold::{folded, is_mark};
use crate::tools::scan::{Kind, NO_SPACES, find};

/// The private values of one text.
pub(super) struct Mask {
    values: Vec<Secret>,
}

struct Secret {
    kind: Kind,
    /// As it stood in the text first.
    text: String,
    /// As in `[EMAIL_1]`.
    mark: String,
    /// How often it stood there.
    count: usize,
}

/// What stands in place of a value in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// The marks.
    Marks,
    /// General words.
    Phrases,
}

impl Mask {
    /// What is private in `text`: found by its form, and the names that are given.
    pub(super) fn new(text: &str, names: &[&str], basic_only: bool) -> Self {
        let mut mask = Self { values: Vec::new() };
        for found in find(text) {
            if mask.is_too_long() {
                return mask;
            }
            if found.kind.is_basic() || !basic_only {
                mask.add(found.kind, found.text, 1);
            }
        }
        // The longest first: a first name may stand inside of a full name.
        let names = order::by(names.to_vec(), |one, other| other.len().cmp(&one.len()));
        for name in names.into_iter().filter(|_| !basic_only) {
            let count = places(text, name).len();
            mask.add(Kind::Name, name, count);
        }
        mask
    }

    fn add(&mut self, kind: Kind, text: &str, count: usize) {
        if let Some(known) = self.values.iter_mut().find(|known| is_same(&known.text, text)) {
            known.count += count;
            return;
        }
        let number = self.values.iter().filter(|known| known.kind == kind).count() + 1;
        let mark = format!("[{}_{number}]", kind.name().to_uppercase());
        self.values.push(Secret { kind, text: text.to_owned(), mark, count });
    }

    /// Whether the text has more values than can be looked for in what a model writes.
    pub(super) fn is_too_long(&self) -> bool {
        self.values.len() > VALUES_MAX
    }

    /// How often each value stood in the text.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.values.iter().map(|value| (value.kind, value.count)).filter(|(_, count)| *count > 0)
    }

    /// The text with a mark in place of every value, in whatever way it is written.
    pub(super) fn masked(&self, text: &str) -> String {
        self.replaced(text, |value| value.mark.clone())
    }

    /// What a model wrote, without any of the values.
    pub(super) fn clean(&self, text: &str, words: Words) -> String {
        let marked = self.masked(text);
        if words == Words::Marks {
            return marked;
        }
        let phrased = self
            .values
            .iter()
            .fold(marked, |text, value| text.replace(&value.mark, value.kind.phrase()));
        // A phrase beside other words may have made a value again.
        self.masked(&phrased)
    }

    fn replaced(&self, text: &str, with: impl Fn(&Secret) -> String) -> String {
        let mut text = text.to_owned();
        // What has the form of a value is compared as such: a number may be written otherwise.
        let again: Vec<_> = find(&text)
            .into_iter()
            .filter_map(|one| {
                Some((one.at, self.values.iter().find(|it| is_same(&it.text, one.text))?))
            })
            .collect();
        for (at, value) in again.into_iter().rev() {
            text.replace_range(at, &with(value));
        }
        for value in &self.values {
            let by_digits = number_places(&text, &value.text);
            for at in by_digits.into_iter().rev() {
                text.replace_range(at, &with(value));
            }
            for at in places(&text, &value.text).into_iter().rev() {
                text.replace_range(at, &with(value));
            }
        }
        text
    }

    /// Whether a value is in a text, as it stood or in another way of writing it.
    #[cfg(test)]
    fn survives(&self, text: &str) -> bool {
        let formed = find(text);
        self.values.iter().any(|value| {
            !places(text, &value.text).is_empty()
                || !number_places(text, &value.text).is_empty()
                || formed.iter().any(|it| is_same(it.text, &value.text))
        })
    }
}

/// Where a value stands, whatever the case, the accents, the white space and the apostrophe, and not
/// as a part of a longer word, in scripts that have spaces between words.
fn places(text: &str, value: &str) -> Vec<Range<usize>> {
    let is_word = |sign: Option<char>| {
        sign.is_some_and(|sign| sign < NO_SPACES && (sign.is_alphanumeric() || is_mark(sign)))
    };
    let (begins, ends) = (is_word(value.chars().next()), is_word(value.chars().next_back()));
    let mut places = Vec::new();
    let Some(first) = value.chars().find(|sign| !is_mark(*sign)).map(folded) else { return places };
    let mut free = 0;
    let mut before = None;
    for (at, sign) in text.char_indices() {
        let behind_word = begins && is_word(before);
        before = Some(sign);
        // Most places are none; this is what it costs to see that.
        if at < free || behind_word || folded(sign) != first {
            continue;
        }
        let Some(rest) = text.get(at..) else { continue };
        let Some(length) = matched(rest, value) else { continue };
        let behind = rest.get(length..).and_then(|rest| rest.chars().next());
        if !(ends && is_word(behind)) {
            free = at + length;
            places.push(at..free);
        }
    }
    places
}

/// How many bytes of the beginning of `text` are this value.
fn matched(text: &str, value: &str) -> Option<usize> {
    let mut rest = text.char_indices().peekable();
    let mut wanted = value.chars().filter(|sign| !is_mark(*sign)).peekable();
    while let Some(sign) = wanted.next() {
        if sign.is_whitespace() {
            while wanted.next_if(|sign| sign.is_whitespace()).is_some() {}
            rest.next_if(|(_, sign)| sign.is_whitespace())?;
            while rest.next_if(|(_, sign)| sign.is_whitespace()).is_some() {}
        } else {
            rest.next_if(|(_, other)| folded(*other) == folded(sign))?;
        }
        while rest.next_if(|(_, sign)| is_mark(*sign)).is_some() {}
    }
    Some(rest.next().map_or(text.len(), |(at, _)| at))
}

/// Where the digits of a value stand, however they are grouped. Only of numbers long enough to be
/// nobody else's.
fn number_places(text: &str, value: &str) -> Vec<Range<usize>> {
    let wanted: Vec<u8> = value.bytes().filter(u8::is_ascii_digit).collect();
    if wanted.len() < DIGITS_MIN || value.chars().any(char::is_alphabetic) {
        return Vec::new();
    }
    let digits: Vec<(usize, u8)> =
        text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).collect();
    let near = |pair: &[(usize, u8)]| match pair {
        [(one, _), (other, _)] => text.get(one + 1..*other).is_some_and(|between| {
            between.len() <= GAP_MAX && !between.contains(char::is_alphanumeric)
        }),
        _ => true,
    };
    let mut places: Vec<Range<usize>> = Vec::new();
    for window in digits.windows(wanted.len()) {
        let ([(from, _), ..], [.., (to, _)]) = (window, window) else { continue };
        let same = window.iter().map(|(_, digit)| digit).eq(&wanted);
        let is_free = places.last().is_none_or(|last| last.end <= *from);
        if same && is_free && window.windows(2).all(near) {
            places.push(*from..to + 1);
        }
    }
    places
}

/// Whether two ways of writing mean the same value: numbers by their digits, the rest by letters.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(|sign| sign.is_alphanumeric() || ".@".contains(*sign));
        let plain: String = kept.map(folded).collect();
        if plain.contains(|sign: char| sign.is_alphabetic()) {
            plain
        } else {
            plain.replace('.', "")
        }
    };
    let (one, other) = (plain(one), plain(other));
    let (short, long) = if one.len() < other.len() { (&one, &other) } else { (&other, &one) };
    // A phone number is the same with its country before it.
    let is_number = short.len() >= DIGITS_MIN && long.bytes().all(|byte| byte.is_ascii_digit());
    one == other || is_number && long.ends_with(short.as_str())
}

const DIGITS_MIN: usize = 7;
/// Each is looked for in every text: more would take longer than anybody waits.
pub(super) const VALUES_MAX: usize = 1000;
/// As between the groups of "(555) - 123".
const GAP_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Ann Lee (ann@example.org, 555-123-4567) paid $50 in 2024; Ann called \
                        555.123.4567 and ANN@example.org.";

    #[test]
    fn every_occurrence_gets_its_mark_and_innocent_text_stays() {
        let mask = Mask::new(TEXT, &["Ann", "Ann Lee"], false);
        assert_eq!(
            mask.masked(TEXT),
            "[NAME_1] ([EMAIL_1], [PHONE_1]) paid [AMOUNT_1] in 2024; [NAME_2] called [PHONE_1] \
             and [EMAIL_1]."
        );
        assert_eq!(mask.masked("Annual planning"), "Annual planning");
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        for (name, text, masked) in [
            ("Ann Lee", "Ann\nLee and ann\u{a0} LEE", "[NAME_1] and [NAME_1]"),
            ("O'Brien", "Mr. O\u{2019}Brien", "Mr. [NAME_1]"),
            ("田中", "田中さんは東京", "[NAME_1]さんは東京"),
            ("Li", "Lima is no Li.", "Lima is no [NAME_1]."),
            ("İpek", "İPEK and ipek", "[NAME_1] and [NAME_1]"),
            (
                "André",
                "Andre\u{301}, ANDRE\u{301}s and Andre.",
                "[NAME_1], ANDRE\u{301}s and [NAME_1].",
            ),
            ("Zoe\u{308} Mu\u{308}ller", "zoë  Müller", "[NAME_1]"),
            (
                "Ann",
                "E\u{301}ann and anno\u{308} and Ann",
                "E\u{301}ann and anno\u{308} and [NAME_1]",
            ),
            ("Андрей", "Андреи\u{306} тут", "[NAME_1] тут"),
        ] {
            let mask = Mask::new(text, &[name], false);
            assert_eq!(mask.masked(text), masked);
            assert!(!mask.survives(masked));
        }
    }

    #[test]
    fn a_text_with_more_values_than_can_be_kept_out_is_too_long() {
        let many =
            |count: usize| -> String { (0..count).map(|n| format!("a{n}@example.org ")).collect() };
        assert!(!Mask::new(&many(VALUES_MAX), &[], false).is_too_long());
        assert!(Mask::new(&many(VALUES_MAX + 5), &[], false).is_too_long());
    }

    #[test]
    fn no_value_survives_whatever_a_model_writes() {
        let mask = Mask::new(TEXT, &["Ann", "Ann Lee"], false);
        for said in [
            "Dear [NAME_1], mail ann@EXAMPLE.org or (555) 123-4567 about $ 50.",
            "ann lee, ANN, +1 555 123 4567? [PHONE_1][EMAIL_1]",
            "5551234567 and 555 123 4567 and ann @ example.org",
        ] {
            for words in [Words::Marks, Words::Phrases] {
                let clean = mask.clean(said, words);
                assert!(!mask.survives(&clean), "{clean}");
            }
        }
        assert_eq!(
            mask.clean("Write to [EMAIL_1], [NAME_1].", Words::Phrases),
            "Write to an email address, a person."
        );
    }

    #[test]
    fn at_the_lowest_level_only_contact_and_payment_are_replaced() {
        let mask = Mask::new(TEXT, &["Ann"], true);
        let masked = mask.masked(TEXT);
        assert!(masked.starts_with("Ann Lee ([EMAIL_1], [PHONE_1]) paid $50"), "{masked}");
    }
}
