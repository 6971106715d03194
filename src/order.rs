//! Puts things in order. One copy of the sort for all of them: each one made for a type is six
//! kilobytes of program, and what is sorted here is short. Knows not what is sorted.

use std::cmp::Ordering;

/// The items in the order of `compare`; what is equal stays as it stood.
#[must_use]
pub fn by<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let places = places(items.len(), &|one, other| match (items.get(one), items.get(other)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    });
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    places.into_iter().filter_map(|place| items.get_mut(place)?.take()).collect()
}

/// The items from the least to the greatest.
#[must_use]
pub fn rising<T: Ord>(items: Vec<T>) -> Vec<T> {
    by(items, T::cmp)
}

/// In which order the places of a list are to be taken.
fn places(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    places.sort_by(|one, other| compare(*one, *other));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_stay_as_they_stood() {
        assert_eq!(rising(vec![3, 1, 2, 1]), [1, 1, 2, 3]);
        assert!(rising(Vec::<u8>::new()).is_empty());
        let words = vec!["bb", "a", "dd", "c"];
        assert_eq!(by(words, |one, other| one.len().cmp(&other.len())), ["a", "c", "bb", "dd"]);
    }
}
