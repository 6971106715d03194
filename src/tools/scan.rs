//! Finds personal data by its form, without a model: addresses, numbers with their check digits,
//! amounts. Pure: a text in, places out.

use std::ops::Range;

use crate::tools::fold::is_mark;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) kind: Kind,
    /// As it stands there, a phone number without its extension.
    pub(super) text: &'a str,
    /// Where, in bytes, an extension included.
    pub(super) at: Range<usize>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Email,
    Phone,
    Card,
    /// A bank account, or a number that is called one.
    Account,
    /// A social security number of the United States.
    Ssn,
    /// An IPv4 address.
    Ip,
    Amount,
    /// Only where the caller gave it.
    Name,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "credit_card",
            Self::Account => "account",
            Self::Ssn => "ssn",
            Self::Ip => "ip_address",
            Self::Amount => "amount",
            Self::Name => "name",
        }
    }

    /// In general words.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Email => "an email address",
            Self::Phone => "a phone number",
            Self::Card => "a card number",
            Self::Account => "an account number",
            Self::Ssn => "a social security number",
            Self::Ip => "an IP address",
            Self::Amount => "an amount",
            Self::Name => "a person",
        }
    }

    pub(super) fn severity(self) -> &'static str {
        match self {
            Self::Card | Self::Account | Self::Ssn => "high",
            Self::Email | Self::Phone | Self::Name => "medium",
            Self::Ip | Self::Amount => "low",
        }
    }

    /// Contact and payment data, which is replaced at every level.
    pub(super) fn is_basic(self) -> bool {
        matches!(self, Self::Email | Self::Phone | Self::Card | Self::Account | Self::Ssn)
    }
}

/// Everything that is found, in the order of the text; nothing overlaps.
pub(super) fn find(text: &str) -> Vec<Found<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let at_word = at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
        let hit = at_word.then(|| hit(text, at)).flatten();
        match hit.and_then(|(kind, end)| Some((kind, text.get(at..end)?, end))) {
            Some((kind, value, mut end)) => {
                if kind == Kind::Phone {
                    end += text.get(end..).map_or(0, extension);
                }
                found.push(Found { kind, text: value, at: at..end });
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// What begins here, and where it ends.
fn hit(text: &str, at: usize) -> Option<(Kind, usize)> {
    let rest = text.get(at..)?;
    email(rest)
        .map(|length| (Kind::Email, length))
        .or_else(|| amount(rest).map(|length| (Kind::Amount, length)))
        .or_else(|| iban(rest).map(|length| (Kind::Account, length)))
        .or_else(|| number(rest, text.get(..at)?))
        .or_else(|| called(rest, text.get(..at)?))
        .map(|(kind, length)| (kind, at + length))
}

fn email(rest: &str) -> Option<usize> {
    let is_local = |sign: &char| is_letter(*sign) || "._%+-".contains(*sign);
    let local = rest.chars().take(LOCAL_MAX).take_while(is_local).map(char::len_utf8).sum();
    if !is_letter(rest.chars().next()?) {
        return None;
    }
    let domain = rest.get(local..)?.strip_prefix('@')?;
    let is_domain = |sign: &char| is_letter(*sign) || ".-".contains(*sign);
    let length = domain.chars().take_while(is_domain).map(char::len_utf8).sum();
    let domain = domain.get(..length)?.trim_end_matches(['.', '-']);
    let (_, top) = domain.rsplit_once('.')?;
    let is_word = || top.chars().all(|sign| is_letter(sign) && !sign.is_numeric());
    let is_top = top.chars().count() >= 2 && (is_word() || top.starts_with(PUNYCODE));
    is_top.then_some(local + 1 + domain.len())
}

/// Whether a sign belongs to a name in an address: a letter or a digit of any script that has
/// spaces between words, also when its accent stands behind it.
fn is_letter(sign: char) -> bool {
    sign < NO_SPACES && (sign.is_alphanumeric() || is_mark(sign))
}

/// A currency before or behind a number.
fn amount(rest: &str) -> Option<usize> {
    let digits = |text: &str| {
        let length =
            text.bytes().take_while(|it| it.is_ascii_digit() || b".,'".contains(it)).count();
        let number = text.get(..length)?.trim_end_matches(['.', ',', '\'']);
        number.starts_with(|it: char| it.is_ascii_digit()).then_some(number.len())
    };
    let gap = |text: &str| text.len() - text.trim_start_matches(SPACES).len();
    if let Some(length) = currency(rest) {
        let behind = rest.get(length..)?;
        let gap = gap(behind);
        return Some(length + gap + digits(behind.get(gap..)?)?);
    }
    let length = digits(rest)?;
    let behind = rest.get(length..)?;
    let gap = gap(behind);
    Some(length + gap + currency(behind.get(gap..).filter(|_| gap <= GAP_MAX)?)?)
}

/// How long the currency is that begins here: a sign, perhaps with its country before it, or a code.
fn currency(text: &str) -> Option<usize> {
    let country = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let sign = text.get(country..)?.chars().next().filter(|sign| CURRENCIES.contains(sign));
    let sign = sign.filter(|_| country <= COUNTRY_MAX).map(|sign| country + sign.len_utf8());
    sign.or_else(|| CODES.iter().find(|code| text.starts_with(**code)).map(|code| code.len()))
}

/// An international bank account number, whose check digits are right.
fn iban(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let [country @ .., _, _] = bytes.get(..4)? else { return None };
    if !country.iter().all(u8::is_ascii_uppercase)
        || !bytes.get(2..4)?.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    let (mut signs, mut end) = (Vec::new(), 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b' ' if signs.len() % 4 == 0 => {}
            b'0'..=b'9' | b'A'..=b'Z' if signs.len() < IBAN_MAX => {
                signs.push(*byte);
                end = at + 1;
            }
            _ => break,
        }
        let is_whole = !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric);
        if signs.len() >= IBAN_MIN && is_whole && is_checked(&signs) {
            return Some(end);
        }
    }
    None
}

fn is_checked(iban: &[u8]) -> bool {
    let (head, tail) = iban.split_at(4);
    tail.iter().chain(head).fold(0_u32, |rest, sign| match sign {
        b'0'..=b'9' => (rest * 10 + u32::from(sign - b'0')) % 97,
        _ => (rest * 100 + u32::from(sign - b'A') + 10) % 97,
    }) == 1
}

/// A number in groups of digits: the longest beginning that means something.
fn number(rest: &str, before: &str) -> Option<(Kind, usize)> {
    let (groups, plus) = groups(rest)?;
    let named = is_called_account(before);
    (1..=groups.len()).rev().find_map(|count| {
        let groups = groups.get(..count)?;
        let end = groups.last()?.end;
        let kind = meaning(groups, plus, rest, named)?;
        let whole = !rest.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric);
        let extended = kind == Kind::Phone && extension(rest.get(end..)?) > 0;
        (whole || extended).then_some((kind, end))
    })
}

/// How long the extension is that stands behind a phone number; 0 when there is none.
fn extension(behind: &str) -> usize {
    let start = behind.trim_start_matches([' ', ',']);
    let gap = behind.len() - start.len();
    let letters = start.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (Some(word), Some(rest)) = (start.get(..letters), start.get(letters..)) else { return 0 };
    let is_one = EXTENSIONS.iter().any(|known| word.eq_ignore_ascii_case(known));
    let number = rest.trim_start_matches(['.', ':', ' ']);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let ends = !number.as_bytes().get(digits).is_some_and(u8::is_ascii_alphanumeric);
    if gap <= 2 && is_one && (1..=EXTENSION_MAX).contains(&digits) && ends {
        behind.len() - number.len() + digits
    } else {
        0
    }
}

/// Digits, where they end, and what stands before them.
struct Group<'a> {
    digits: &'a str,
    separator: &'a str,
    end: usize,
}

fn groups(rest: &str) -> Option<(Vec<Group<'_>>, bool)> {
    let plus = rest.starts_with('+');
    let mut groups = Vec::new();
    let mut at = 0;
    while groups.len() < GROUPS_MAX {
        let tail = rest.get(at..)?;
        let gap = tail.bytes().take_while(|byte| b" .-()/+".contains(byte)).count();
        let digits = tail.bytes().skip(gap).take_while(u8::is_ascii_digit).count();
        if digits == 0 || gap > 2 || (groups.is_empty() && gap > 1) {
            break;
        }
        let separator = tail.get(..gap)?;
        // An opening is only that of a phone number.
        if groups.is_empty() && !["", "+", "("].contains(&separator) {
            return None;
        }
        at += gap + digits;
        groups.push(Group { digits: tail.get(gap..gap + digits)?, separator, end: at });
    }
    (!groups.is_empty()).then_some((groups, plus))
}

fn meaning(groups: &[Group<'_>], plus: bool, rest: &str, named: bool) -> Option<Kind> {
    let lengths: Vec<usize> = groups.iter().map(|group| group.digits.len()).collect();
    let digits: String = groups.iter().map(|group| group.digits).collect();
    let later = groups.get(1..).unwrap_or_default();
    let apart = |signs: &[&str]| later.iter().all(|group| signs.contains(&group.separator));
    let opens = plus || rest.starts_with('(');
    if groups.len() == 4 && apart(&["."]) && !opens {
        let octets = groups.iter().all(|group| group.digits.parse::<u8>().is_ok());
        let short = lengths.iter().all(|length| *length <= 3);
        return (octets && short).then_some(Kind::Ip);
    }
    if lengths == [3, 2, 4] && apart(&["-", " "]) && !opens {
        return is_ssn(&digits).then_some(Kind::Ssn);
    }
    if (13..=19).contains(&digits.len()) && apart(&["-", " "]) && !opens && is_luhn(&digits) {
        return Some(Kind::Card);
    }
    let is_phone = if plus {
        (8..=15).contains(&digits.len())
    } else {
        let american =
            lengths.ends_with(&[3, 3, 4]) && (lengths.len() == 3 || digits.starts_with('1'));
        let national =
            digits.starts_with('0') && (9..=13).contains(&digits.len()) && lengths.len() > 1;
        american && lengths.len() <= 4 || national
    };
    if is_phone {
        return Some(Kind::Phone);
    }
    (named && groups.len() == 1 && digits.len() >= 6).then_some(Kind::Account)
}

fn is_ssn(digits: &str) -> bool {
    let part = |range: Range<usize>| digits.get(range).unwrap_or_default();
    let area = part(0..3);
    area != "000"
        && area != "666"
        && !area.starts_with('9')
        && part(3..5) != "00"
        && part(5..9) != "0000"
}

/// The check digit of cards (ISO/IEC 7812).
fn is_luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0');
            let doubled = if at % 2 == 1 { digit * 2 } else { digit };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    sum.is_multiple_of(10) && digits.bytes().any(|digit| digit != b'0')
}

/// What is private only by the words before it: an account's number that begins with letters, and
/// the end of a card's.
fn called(rest: &str, before: &str) -> Option<(Kind, usize)> {
    let bytes = rest.as_bytes();
    let letters = bytes.iter().take_while(|sign| sign.is_ascii_alphabetic()).count();
    let digits = bytes.iter().skip(letters).take_while(|sign| sign.is_ascii_digit()).count();
    let end = letters + digits;
    if bytes.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    if (1..=LETTERS_MAX).contains(&letters) && digits >= 4 && is_called_account(before) {
        return Some((Kind::Account, end));
    }
    let is_end = letters == 0 && digits == CARD_END && {
        let near = near(before, CARD_NEAR);
        let near = near.trim_end_matches("digits").trim_end();
        CARDS.iter().any(|card| near.contains(card)) && ENDS.iter().any(|end| near.ends_with(end))
    };
    is_end.then_some((Kind::Card, end))
}

/// Whether the words right before a number say that it is an account's.
fn is_called_account(before: &str) -> bool {
    let near = near(before, ACCOUNT_NEAR);
    let near =
        near.trim_end_matches("number").trim_end_matches("no").trim_end_matches([' ', '.', '#']);
    ["account", "acct", "iban", "konto"].iter().any(|word| near.ends_with(word))
}

/// The last of the words before something, in lower case, without what leads to it.
fn near(before: &str, count: usize) -> String {
    let from = before.char_indices().rev().nth(count).map_or(0, |(at, _)| at);
    let near = before.get(from..).unwrap_or_default().to_lowercase();
    near.trim_end_matches([' ', '#', ':', '.', '*', '•']).to_owned()
}

/// Longer names are none (RFC 5321, section 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// How a name in another script begins that is written in ASCII (RFC 3492).
const PUNYCODE: &str = "xn--";
const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];
const CODES: [&str; 10] = ["USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "SEK", "NOK", "DKK"];
/// As in NZ$.
const COUNTRY_MAX: usize = 2;
/// Also those that keep a number and its unit on one line.
const SPACES: [char; 3] = [' ', '\u{a0}', '\u{202f}'];
/// One space of any kind, in bytes, between a number and its currency.
const GAP_MAX: usize = 3;
const EXTENSIONS: [&str; 3] = ["x", "ext", "extension"];
/// Longer numbers are no house's extensions.
const EXTENSION_MAX: usize = 6;
/// From here on (Thai, kana, Han, Hangul and others) words stand without spaces between them.
pub(super) const NO_SPACES: char = '\u{0e00}';
/// ISO 13616.
const IBAN_MIN: usize = 15;
const IBAN_MAX: usize = 34;
const GROUPS_MAX: usize = 8;
/// As far as "account number #: " goes.
const ACCOUNT_NEAR: usize = 20;
/// Before the digits of an account's number.
const LETTERS_MAX: usize = 4;
/// As many digits of a card as receipts show.
const CARD_END: usize = 4;
/// As far as "credit card with the last four digits: " goes.
const CARD_NEAR: usize = 40;
const CARDS: [&str; 4] = ["card", "karte", "visa", "amex"];
const ENDS: [&str; 7] =
    ["ending", "ending in", "ending with", "ends in", "last four", "last 4", "endet auf"];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&'static str, &str)> {
        find(text).into_iter().map(|one| (one.kind.name(), one.text)).collect()
    }

    #[test]
    fn what_has_the_form_and_the_check_digits_is_found() {
        for (text, expected) in [
            ("Write to ann.b+c@mail.example.org.", ("email", "ann.b+c@mail.example.org")),
            ("card 4111 1111 1111 1111, please", ("credit_card", "4111 1111 1111 1111")),
            ("card 4111-1111-1111-1111", ("credit_card", "4111-1111-1111-1111")),
            ("at 192.168.1.20:80", ("ip_address", "192.168.1.20")),
            ("SSN 123-45-6789.", ("ssn", "123-45-6789")),
            ("call (555) 123-4567 now", ("phone", "(555) 123-4567")),
            ("call 555-123-4567", ("phone", "555-123-4567")),
            ("call 555-123-4567x12 now", ("phone", "555-123-4567")),
            ("call +49 30 1234567, Ext. 12", ("phone", "+49 30 1234567")),
            ("to ann@müller.de, now", ("email", "ann@müller.de")),
            ("(müller@example.de)", ("email", "müller@example.de")),
            ("von u\u{308}lker@bu\u{308}ro.de.", ("email", "u\u{308}lker@bu\u{308}ro.de")),
            ("to ann@xn--80a1acny.xn--p1ai", ("email", "ann@xn--80a1acny.xn--p1ai")),
            ("на анна@почта.рф", ("email", "анна@почта.рф")),
            ("请联系ann@example.org谢谢", ("email", "ann@example.org")),
            ("costs EUR 500 or so", ("amount", "EUR 500")),
            ("costs CHF1'250.50", ("amount", "CHF1'250.50")),
            ("costs US$ 30", ("amount", "US$ 30")),
            ("kostet 500\u{a0}€", ("amount", "500\u{a0}€")),
            ("call +49 30 1234567", ("phone", "+49 30 1234567")),
            ("ruf 030/1234567", ("phone", "030/1234567")),
            ("to DE89 3704 0044 0532 0130 00 today", ("account", "DE89 3704 0044 0532 0130 00")),
            ("Account number: 12345678", ("account", "12345678")),
            ("your account #A123456 is", ("account", "A123456")),
            ("card ending in 4567 was", ("credit_card", "4567")),
            ("Visa, last 4 digits: 4567", ("credit_card", "4567")),
            ("pay $1,234.50 now", ("amount", "$1,234.50")),
            ("zahle 12,50 € heute", ("amount", "12,50 €")),
        ] {
            assert_eq!(found(text), [expected], "{text}");
        }
        let both = "a@b.cd and 10.0.0.1 555-123-4567";
        let both = found(both);
        assert_eq!(
            both.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            ["email", "ip_address", "phone"]
        );
    }

    #[test]
    fn innocent_numbers_and_words_are_left_alone() {
        for text in [
            "In 1984 and 2024-01-15 and 12/31/1999",
            "version 1.2.3.456 and 300.1.1.1",
            "card 4111 1111 1111 1112",
            "the year ending in 2024, card 1234, account abcdef12",
            "card ending in 45678, the account A12345x of B123456",
            "SSN 000-12-3456 and 666-12-3456 and 123-00-4567",
            "DE88370400440532013000",
            "build 1700000000 of Johnson Street",
            "me@home and @ann and a@b.c and a@b.c-d",
            "abc12345678 and 123456",
            "EURO 2024 and EUR and USD, CAD. 5x5",
            "555-123-4567xyz and 555-123-4567x1234567",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
