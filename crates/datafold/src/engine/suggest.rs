//! Near misses of names.

/// The name closest to `wrong`, if it is close enough to be what was meant.
pub(crate) fn closest<'a, N: AsRef<str> + ?Sized>(
    wrong: &str,
    names: impl Iterator<Item = &'a N>,
) -> Option<&'a N> {
    let near = (wrong.chars().count() / 3).max(1);
    let ranked = names.map(|name| (distance(wrong, name.as_ref()), name));
    ranked.filter(|(distance, _)| *distance <= near).min_by_key(|(d, _)| *d).map(|(_, name)| name)
}

/// The number of characters to insert, remove or replace, upper and lower case taken as equal.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (cb, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(ca != *cb);
            left = replaced.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
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
        assert_eq!(suggest("y"), Some("x"));
        assert_eq!(suggest("altitude"), None);
    }
}
