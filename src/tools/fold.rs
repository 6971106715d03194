//! Letters as they are compared: whatever the case and the accents. Pure.
//!
//! An accented letter is one sign (NFC) or a letter with a combining mark behind it (NFD), as file
//! names of macOS are; both are the plain letter here. Known are the combining marks of U+0300 to
//! U+036F, every Latin letter that is made with one, and the letters of Greek and Russian and
//! Ukrainian that are; no other script's.

/// A sign in lower case and without an accent, the apostrophe always the same; a mark is itself.
pub(super) fn folded(sign: char) -> char {
    if sign.is_ascii() {
        return sign.to_ascii_lowercase();
    }
    // No letter but \u{130} has more than one in lower case: that and a mark.
    let sign = sign.to_lowercase().next().unwrap_or(sign);
    match sign {
        '\u{2018}' | '\u{2019}' | '\u{02bc}' => '\'',
        'ά' => 'α',
        'έ' => 'ε',
        'ή' => 'η',
        'ί' | 'ϊ' | 'ΐ' => 'ι',
        'ό' => 'ο',
        'ύ' | 'ϋ' | 'ΰ' => 'υ',
        'ώ' => 'ω',
        'й' => 'и',
        'ё' => 'е',
        'ї' => 'і',
        'ў' => 'у',
        sign => latin(sign).unwrap_or(sign),
    }
}

/// Whether a sign only changes the letter before it.
pub(super) fn is_mark(sign: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&sign)
}

fn latin(sign: char) -> Option<char> {
    let bare = LATIN.iter().find_map(|(first, bare)| {
        let at = u32::from(sign).checked_sub(*first)?;
        bare.as_bytes().get(usize::try_from(at).ok()?)
    })?;
    (*bare != b'.').then(|| char::from(*bare))
}

/// Runs of signs, each from its first one on, as their bare letters; a dot stands for those that
/// have none. From Unicode's canonical decompositions.
const LATIN: [(u32, &str); 3] = [
    (
        0xe0,
        "aaaaaa.ceeeeiiii.nooooo..uuuuy.yaaaaaaccccccccdd..eeeeeeeeeegggggggghh..iiiiiiii\
         i...jjkk.llllll....nnnnnn...oooooo..rrrrrrsssssssstttt..uuuuuuuuuuuuwwyyyzzzzzz.",
    ),
    (
        0x1a0,
        "oo.............uu............................aaiioouuuuuuuuuu.aaaa....ggkkoooo..\
         j...gg..nnaa....aaaaeeeeiiiioooorrrruuuusstt..hh......aaeeooooooooyy",
    ),
    (
        0x1e00,
        "aabbbbbbccddddddddddeeeeeeeeeeffgghhhhhhhhhhiiiikkkkkkllllllllmmmmmmnnnnnnnnoooo\
         oooopppprrrrrrrrssssssssssttttttttuuuuuuuuuuvvvvwwwwwwwwwwxxxxyyzzzzzzhtwy......\
         aaaaaaaaaaaaaaaaaaaaaaaaeeeeeeeeeeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuu\
         uuyyyyyyyy......",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accented_letter_is_its_bare_one_and_others_are_themselves() {
        for (sign, bare) in [
            ('A', 'a'),
            ('Ü', 'u'),
            ('ą', 'a'),
            ('ș', 's'),
            ('Ế', 'e'),
            ('İ', 'i'),
            ('Й', 'и'),
            ('Ώ', 'ω'),
            ('\u{2019}', '\''),
            ('ß', 'ß'),
            ('ø', 'ø'),
            ('÷', '÷'),
            ('田', '田'),
        ] {
            assert_eq!(folded(sign), bare, "{sign}");
        }
        assert!(is_mark('\u{308}') && !is_mark('a'));
    }
}
