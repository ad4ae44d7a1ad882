//! Who may read and write a field.

use std::collections::BTreeMap;
use std::fmt;

use super::super::Value;
use super::reader::{Path, Present, Reader};

/// How far from the owner a caller may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TrustDistance {
    /// At most that far; the owner has distance 0.
    Distance(u32),
    /// Everybody, also without a distance.
    NoRequirement,
}

/// Only the owner.
impl Default for TrustDistance {
    fn default() -> Self {
        TrustDistance::Distance(0)
    }
}

/// Who may read and who may write a field. By default the owner alone.
///
/// Policies are read, stored and shown; they are not enforced yet. Whoever embeds the library or
/// uses the command line is the owner, whose distance 0 every policy allows.
///
/// An explicit policy lists public keys that are allowed besides the distance. The number of a key
/// comes from the original; a key with a number above 0 is allowed, whatever the number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PermissionPolicy {
    /// The distance for reading.
    pub read: TrustDistance,
    /// The distance for writing.
    pub write: TrustDistance,
    /// Public keys that may read.
    pub explicit_read: BTreeMap<String, u8>,
    /// Public keys that may write.
    pub explicit_write: BTreeMap<String, u8>,
}

/// `owner`, `distance <= 2` or `everybody`.
impl fmt::Display for TrustDistance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustDistance::Distance(0) => f.pad("owner"),
            TrustDistance::Distance(distance) => f.pad(&format!("distance <= {distance}")),
            TrustDistance::NoRequirement => f.pad("everybody"),
        }
    }
}

impl PermissionPolicy {
    /// Who may read, in words: `owner, 2 keys`.
    #[must_use]
    pub fn readers(&self) -> String {
        in_words(self.read, &self.explicit_read)
    }

    /// Who may write, in words.
    #[must_use]
    pub fn writers(&self) -> String {
        in_words(self.write, &self.explicit_write)
    }

    pub(super) fn read(reader: &mut Reader, path: Path<'_>, value: &Value) -> Self {
        let Some(members) = reader.members(path, value) else {
            return Self::default();
        };
        let known =
            ["read_policy", "write_policy", "explicit_read_policy", "explicit_write_policy"];
        reader.unknown(path, members.0, &known);
        Self {
            read: distance(reader, path, members, "read_policy"),
            write: distance(reader, path, members, "write_policy"),
            explicit_read: keys(reader, path, members, "explicit_read_policy"),
            explicit_write: keys(reader, path, members, "explicit_write_policy"),
        }
    }

    /// The policy as JSON, without what is the default.
    pub(super) fn to_value(&self) -> Option<Value> {
        let mut members = BTreeMap::new();
        for (name, distance) in [("read_policy", self.read), ("write_policy", self.write)] {
            if distance != TrustDistance::default() {
                members.insert(name.to_owned(), distance.to_value());
            }
        }
        for (name, keys) in [
            ("explicit_read_policy", &self.explicit_read),
            ("explicit_write_policy", &self.explicit_write),
        ] {
            if !keys.is_empty() {
                let counts = keys.iter().map(|(key, n)| (key.clone(), i64::from(*n).into()));
                let counts = ("counts_by_pub_key".to_owned(), counts.collect());
                members.insert(name.to_owned(), Value::from_iter([counts]));
            }
        }
        (!members.is_empty()).then(|| members.into())
    }
}

impl TrustDistance {
    fn to_value(self) -> Value {
        match self {
            TrustDistance::Distance(distance) => {
                Value::from_iter([("Distance".to_owned(), distance.into())])
            }
            TrustDistance::NoRequirement => "NoRequirement".into(),
        }
    }
}

fn in_words(distance: TrustDistance, keys: &BTreeMap<String, u8>) -> String {
    match keys.values().filter(|count| **count > 0).count() {
        0 => distance.to_string(),
        1 => format!("{distance}, 1 key"),
        keys => format!("{distance}, {keys} keys"),
    }
}

fn distance(
    reader: &mut Reader,
    path: Path<'_>,
    members: Present<'_>,
    name: &'static str,
) -> TrustDistance {
    let read = |reader: &mut Reader, value| {
        let path = path.child(name);
        let (variant, content) = reader.variant(path, value, &["Distance", "NoRequirement"])?;
        match variant {
            "NoRequirement" => Some(TrustDistance::NoRequirement),
            _ => {
                let distance = reader.unsigned(path.child(variant), content, 0, u32::MAX);
                distance.map(TrustDistance::Distance)
            }
        }
    };
    members.get(name).and_then(|value| read(reader, value)).unwrap_or_default()
}

fn keys(
    reader: &mut Reader,
    path: Path<'_>,
    members: Present<'_>,
    name: &'static str,
) -> BTreeMap<String, u8> {
    let mut keys = BTreeMap::new();
    let path = path.child(name);
    let policy = members.get(name).and_then(|value| reader.members(path, value));
    let Some(policy) = policy else {
        return keys;
    };
    reader.unknown(path, policy.0, &["counts_by_pub_key"]);
    let path = path.child("counts_by_pub_key");
    let counts = policy.get("counts_by_pub_key").and_then(|value| reader.members(path, value));
    for (key, count) in counts.into_iter().flat_map(|counts| counts.0) {
        if let Some(count) = reader.unsigned(path.child(key), count, 0, u8::MAX) {
            keys.insert(key.clone(), count);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_told_in_words() {
        let keys = |counts: &[u8]| {
            let key = |(i, count): (usize, &u8)| (format!("key {i}"), *count);
            counts.iter().enumerate().map(key).collect::<BTreeMap<_, _>>()
        };
        let words = |distance, counts: &[u8]| {
            let policy = PermissionPolicy {
                read: distance,
                explicit_read: keys(counts),
                ..PermissionPolicy::default()
            };
            assert_eq!(policy.writers(), "owner");
            policy.readers()
        };
        assert_eq!(words(TrustDistance::Distance(0), &[]), "owner");
        // A key with the number 0 is not allowed.
        assert_eq!(words(TrustDistance::Distance(2), &[0, 1]), "distance <= 2, 1 key");
        assert_eq!(words(TrustDistance::NoRequirement, &[3, 1]), "everybody, 2 keys");
    }
}
