//! What a store URL says.

use std::path::PathBuf;

use crate::StoreError;

/// An engine and its place, read from a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// `memory:`, gone when it is closed.
    Memory,
    /// A plain path: a folder, with the engine that its note names; redb if it is new.
    Folder(PathBuf),
    /// `redb:PATH`: a folder with one redb file.
    Redb(PathBuf),
    /// `sled:PATH`: a folder with the files of sled.
    Sled(PathBuf),
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidUrl`] for an empty text, an unknown scheme, a scheme without its
    /// path, and text behind `memory:`.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let invalid =
            |reason: &str| StoreError::InvalidUrl { url: url.to_owned(), reason: reason.into() };
        if url.is_empty() {
            return Err(invalid("it is empty"));
        }
        match split_scheme(url) {
            Some(("memory", "")) => Ok(StoreUrl::Memory),
            Some(("memory", _)) => Err(invalid("nothing may follow `memory:`")),
            Some((scheme @ ("redb" | "sled"), "")) => {
                Err(invalid(&format!("a folder must follow `{scheme}:`")))
            }
            Some(("redb", path)) => Ok(StoreUrl::Redb(PathBuf::from(path))),
            Some(("sled", path)) => Ok(StoreUrl::Sled(PathBuf::from(path))),
            Some((scheme, _)) => Err(invalid(&format!(
                "`{scheme}` is no engine of this build; use memory:, redb:PATH, sled:PATH or a \
                 plain path"
            ))),
            None => Ok(StoreUrl::Folder(PathBuf::from(url))),
        }
    }
}

/// Splits `scheme:rest`. A one-letter scheme is a drive of a path, `./a:b` is a path.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_scheme.then_some((scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_choose_the_engine() {
        assert_eq!(StoreUrl::parse("memory:").unwrap(), StoreUrl::Memory);
        assert_eq!(StoreUrl::parse("redb:/a/b").unwrap(), StoreUrl::Redb("/a/b".into()));
        assert_eq!(StoreUrl::parse("redb:a").unwrap(), StoreUrl::Redb("a".into()));
        assert_eq!(StoreUrl::parse("sled:/a:b").unwrap(), StoreUrl::Sled("/a:b".into()));
        for (url, path) in [
            ("./datafold-data", "./datafold-data"),
            ("/tmp/x:y", "/tmp/x:y"),
            ("C:\\data", "C:\\data"),
        ] {
            assert_eq!(StoreUrl::parse(url).unwrap(), StoreUrl::Folder(path.into()), "{url}");
        }
    }

    #[test]
    fn wrong_urls_name_the_rule() {
        for (url, rule) in [
            ("", "empty"),
            ("memory:x", "nothing may follow"),
            ("redb:", "a folder must follow `redb:`"),
            ("sled:", "a folder must follow `sled:`"),
            ("mysql://h/db", "no engine of this build"),
        ] {
            let error = StoreUrl::parse(url).unwrap_err();
            assert_eq!(error.code(), "invalid_store_url");
            assert!(error.to_string().contains(rule), "{error}");
        }
    }
}
