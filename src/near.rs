//! The names most like one that somebody mistyped. Knows not what is named.

use crate::order;

/// The names of `known` that are a slip or a part away from `typed`, the nearest first, at most
/// three.
#[must_use]
pub fn near<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.to_lowercase().replace('-', "_");
    let far = |name: &str| {
        let name = name.to_lowercase().replace('-', "_");
        let is_part = typed.len() >= PART_MIN && (name.contains(&typed) || typed.contains(&name));
        let slips = if is_part || is_swapped(&typed, &name) { 1 } else { slips(&typed, &name) };
        Some(slips).filter(|slips| *slips <= slips_max(&name))
    };
    let near = known.into_iter().filter_map(|name| far(name).map(|far| (far, name))).collect();
    order::rising(near).into_iter().take(3).map(|(_, name)| name).collect()
}

/// Whether two neighbors changed places, the commonest slip of all.
fn is_swapped(one: &str, other: &str) -> bool {
    let differing = || one.bytes().zip(other.bytes()).enumerate().filter(|(_, (a, b))| a != b);
    let mut pairs = differing();
    let (Some(first), Some(second), None) = (pairs.next(), pairs.next(), pairs.next()) else {
        return false;
    };
    let (first_at, (a, b)) = first;
    one.len() == other.len() && second == (first_at + 1, (b, a))
}

/// A third of a name may be wrong, at most four characters.
fn slips_max(name: &str) -> usize {
    (name.len() / 3).clamp(1, 4)
}

/// The characters to put in, leave out or change (Levenshtein).
fn slips(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.bytes().enumerate() {
        let mut corner = at;
        let mut left = at + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(other.bytes()) {
            let changed = corner + usize::from(byte != other);
            corner = *cell;
            left = changed.min(left + 1).min(corner + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Shorter ones are a part of too much.
const PART_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (one, other, count) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(slips(one, other), count, "{one} {other}");
        }
    }

    #[test]
    fn slips_and_parts_are_near_and_strangers_are_not() {
        let known = ["token_file", "token_env", "url", "default_model"];
        assert_eq!(near("tokenfile", known), ["token_file"]);
        assert_eq!(near("ulr", known), ["url"]);
        assert!(near("lur", known).is_empty());
        assert_eq!(near("urls", known), ["url"]);
        assert_eq!(near("token", known), ["token_env", "token_file"]);
        assert_eq!(near("Model", known), ["default_model"]);
        assert!(near("frobnicate", known).is_empty());
    }
}
