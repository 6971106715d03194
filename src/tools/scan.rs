//! Finds personal data by its form, without a model: addresses, numbers with their check digits,
//! amounts. Pure: a text in, places out.

use std::ops::Range;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) kind: Kind,
    /// As it stands there.
    pub(super) text: &'a str,
    /// Where, in bytes.
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
            Some((kind, value, end)) => {
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
        .map(|(kind, length)| (kind, at + length))
}

fn email(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let local = bytes.iter().take(LOCAL_MAX).take_while(|byte| is_local(byte)).count();
    if local == 0 || bytes.get(local) != Some(&b'@') || !bytes.first()?.is_ascii_alphanumeric() {
        return None;
    }
    let domain = rest.get(local + 1..)?;
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    let length = domain.bytes().take_while(is_domain).count();
    let domain = domain.get(..length)?.trim_end_matches(['.', '-']);
    let (_, top) = domain.rsplit_once('.')?;
    let is_top = top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_top.then_some(local + 1 + domain.len())
}

/// A currency sign before or behind a number.
fn amount(rest: &str) -> Option<usize> {
    let digits = |text: &str| {
        let length =
            text.bytes().take_while(|it| it.is_ascii_digit() || b".,".contains(it)).count();
        let number = text.get(..length)?.trim_end_matches(['.', ',']);
        (number.bytes().any(|it| it.is_ascii_digit())).then_some(number.len())
    };
    let sign = rest.chars().next().filter(|sign| CURRENCIES.contains(sign));
    if let Some(sign) = sign {
        let behind = rest.get(sign.len_utf8()..)?;
        let gap = behind.len() - behind.trim_start_matches(' ').len();
        return Some(sign.len_utf8() + gap + digits(behind.get(gap..)?)?);
    }
    let length = digits(rest).filter(|_| rest.starts_with(|it: char| it.is_ascii_digit()))?;
    let behind = rest.get(length..)?;
    let gap = usize::from(behind.starts_with(' '));
    let behind = behind.get(gap..)?;
    let sign = behind.chars().next().filter(|sign| CURRENCIES.contains(sign)).map(char::len_utf8);
    let word = || CODES.iter().find(|code| behind.starts_with(**code)).map(|code| code.len());
    Some(length + gap + sign.or_else(word)?)
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
        let whole = !rest.as_bytes().get(end).is_some_and(u8::is_ascii_alphanumeric);
        let kind = whole.then(|| meaning(groups, plus, rest, named)).flatten()?;
        Some((kind, end))
    })
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

/// Whether the words right before a number say that it is an account's.
fn is_called_account(before: &str) -> bool {
    let from = before.char_indices().rev().nth(ACCOUNT_NEAR).map_or(0, |(at, _)| at);
    let near = before.get(from..).unwrap_or_default().to_lowercase();
    let near = near.trim_end_matches([' ', '#', ':', '.']);
    let near =
        near.trim_end_matches("number").trim_end_matches("no").trim_end_matches([' ', '.', '#']);
    ["account", "acct", "iban", "konto"].iter().any(|word| near.ends_with(word))
}

/// Longer names are none (RFC 5321, section 4.5.3.1.1).
const LOCAL_MAX: usize = 64;
const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];
const CODES: [&str; 4] = ["USD", "EUR", "GBP", "CHF"];
/// ISO 13616.
const IBAN_MIN: usize = 15;
const IBAN_MAX: usize = 34;
const GROUPS_MAX: usize = 8;
/// As far as "account number #: " goes.
const ACCOUNT_NEAR: usize = 20;

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
            ("call +49 30 1234567", ("phone", "+49 30 1234567")),
            ("ruf 030/1234567", ("phone", "030/1234567")),
            ("to DE89 3704 0044 0532 0130 00 today", ("account", "DE89 3704 0044 0532 0130 00")),
            ("Account number: 12345678", ("account", "12345678")),
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
            "SSN 000-12-3456 and 666-12-3456 and 123-00-4567",
            "DE88370400440532013000",
            "build 1700000000 of Johnson Street",
            "me@home and @ann and a@b.c",
            "abc12345678 and 123456",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
