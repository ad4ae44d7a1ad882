//! Near misses of names.

/// Names that are longer are not compared: it takes the product of both lengths.
const CHARS_MAX: usize = 64;

/// The name closest to `wrong`, if it is close enough to be what was meant.
pub(crate) fn closest<'a, N: AsRef<str> + ?Sized>(
    wrong: &str,
    names: impl Iterator<Item = &'a N>,
) -> Option<&'a N> {
    if wrong.len() > CHARS_MAX {
        return None;
    }
    let near = (wrong.chars().count() / 3).max(1);
    // A name whose length differs by more cannot be near.
    let fits = |name: &&N| name.as_ref().len().abs_diff(wrong.len()) <= near;
    let ranked = names.filter(fits).map(|name| (distance(wrong, name.as_ref()), name));
    ranked.filter(|(distance, _)| *distance <= near).min_by_key(|(d, _)| *d).map(|(_, name)| name)
}

/// The number of characters to insert, remove, replace or swap with their neighbours, upper and
/// lower case taken as equal. Source: the optimal string alignment distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Option<(char, Vec<usize>)> = None;
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let replaced = at(&row, j) + usize::from(ca != *cb);
            let mut least = replaced.min(at(&next, j) + 1).min(at(&row, j + 1) + 1);
            if let (Some((earlier, rows)), Some(k)) = (&before, j.checked_sub(1))
                && *earlier == *cb
                && b.get(k) == Some(&ca)
            {
                least = least.min(at(rows, k) + 1);
            }
            next.push(least);
        }
        before = Some((ca, std::mem::replace(&mut row, next)));
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let names = ["carrier", "dep_delay", "arr_delay", "x"];
        let suggest = |wrong| closest(wrong, names.into_iter());
        assert_eq!(suggest("carier"), Some("carrier"));
        assert_eq!(suggest("Dep_Delay"), Some("dep_delay"));
        assert_eq!(suggest("depdelay"), Some("dep_delay"));
        assert_eq!(suggest("depd_elay"), Some("dep_delay"));
        assert_eq!(suggest("y"), Some("x"));
        assert_eq!(suggest("altitude"), None);
        assert_eq!(closest("emial", ["age", "email"].into_iter()), Some("email"));
        assert_eq!(closest(&"a".repeat(100), ["a"].into_iter()), None);
        for (a, b, expected) in
            [("", "abc", 3), ("abc", "", 3), ("ab", "ba", 1), ("abcd", "badc", 2), ("a", "A", 0)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
