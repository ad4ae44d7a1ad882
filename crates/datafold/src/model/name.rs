//! Names of schemas and fields.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most bytes that a name has.
pub const NAME_BYTES_MAX: usize = 255;

/// Words of the expression language, which would hide a field of that name.
const KEYWORDS: [&str; 8] = ["let", "if", "else", "return", "true", "false", "null", "in"];

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("a name must not be empty")]
    Empty,
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("a name has at most {NAME_BYTES_MAX} bytes, this one has {found}")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
    /// The name has a character that an identifier cannot have at that place.
    #[error(
        "`{}` is not a name: `{}` is not allowed at character {at} \
         (a letter or `_`, then letters, digits and `_`)",
        name.escape_debug(),
        found.escape_default()
    )]
    Character {
        /// The name as given.
        name: String,
        /// The character.
        found: char,
        /// Its position; the first character is 1.
        at: usize,
    },
    /// The name is a word of the expression language.
    #[error("`{name}` is a keyword of the expression language and cannot be a name")]
    Keyword {
        /// The name as given.
        name: String,
    },
}

impl NameError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            NameError::Empty => "name_empty",
            NameError::TooLong { .. } => "name_too_long",
            NameError::Character { .. } => "name_character",
            NameError::Keyword { .. } => "name_keyword",
        }
    }
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { found: name.len() });
    }
    let allowed = |(at, c): (usize, char)| {
        c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
    };
    if let Some((at, found)) = name.chars().enumerate().find(|character| !allowed(*character)) {
        return Err(NameError::Character { name: name.to_owned(), found, at: at + 1 });
    }
    if KEYWORDS.contains(&name) {
        return Err(NameError::Keyword { name: name.to_owned() });
    }
    Ok(())
}

/// The two kinds of name differ in nothing but what they name.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// It matches `[A-Za-z_][A-Za-z0-9_]*`, has at most [`NAME_BYTES_MAX`] bytes and is not a
        /// keyword of the expression language (`let if else return true false null in`). Case
        /// matters, and names sort by their bytes.
        ///
        /// # Cost
        ///
        /// A clone increments a counter; the text is shared.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text and makes it a name.
            ///
            /// # Errors
            ///
            /// A [`NameError`] that says which rule the text breaks.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::parse(name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::parse(&name).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a schema.
    ///
    /// ```
    /// use datafold::model::SchemaName;
    ///
    /// assert_eq!(SchemaName::parse("Flight")?.as_str(), "Flight");
    /// assert!(SchemaName::parse("Flight.distance").is_err());
    /// # Ok::<(), datafold::model::NameError>(())
    /// ```
    SchemaName
}

name! {
    /// The name of a field of a schema.
    FieldName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_names_and_nothing_else_is() {
        for name in ["a", "_", "A1_b", "Let", "index", &"x".repeat(255)] {
            assert_eq!(FieldName::parse(name).unwrap().as_str(), name);
        }
        let code = |name: &str| SchemaName::parse(name).unwrap_err().code();
        assert_eq!(code(""), "name_empty");
        assert_eq!(code(&"x".repeat(256)), "name_too_long");
        assert_eq!(code("in"), "name_keyword");
        for name in ["1a", "a.b", "a b", "../a", "é", "a\n", "a-b"] {
            assert_eq!(code(name), "name_character", "{name}");
        }
        let error = SchemaName::parse("a\nb").unwrap_err().to_string();
        assert!(error.contains("`\\n` is not allowed at character 2"), "{error}");
    }

    #[test]
    fn json_goes_through_the_same_check() {
        assert_eq!(serde_json::from_str::<FieldName>("\"a\"").unwrap(), "a");
        assert!(serde_json::from_str::<FieldName>("\"a.b\"").is_err());
        assert_eq!(serde_json::to_string(&FieldName::parse("a").unwrap()).unwrap(), "\"a\"");
    }
}
