//! Schema files in folders.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::model::{ParsedSchema, SCHEMA_BYTES_MAX, Schema, SchemaError};

/// Where the definition of a schema was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SchemaSource {
    /// The folder of schemas that came with applications.
    AvailableDirectory,
    /// The folder of schemas beside the data.
    DataDirectory,
    /// A file or folder that the owner has named.
    File,
    /// The store, where it was before.
    Persistence,
}

impl SchemaSource {
    /// `AvailableDirectory`, `DataDirectory`, `File` or `Persistence`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SchemaSource::AvailableDirectory => "AvailableDirectory",
            SchemaSource::DataDirectory => "DataDirectory",
            SchemaSource::File => "File",
            SchemaSource::Persistence => "Persistence",
        }
    }
}

impl std::fmt::Display for SchemaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for SchemaSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a file gave no schema.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaFileError {
    /// The operating system does not give the file, or the names in the folder.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// It is a pipe, a socket or a device, which might be read for ever.
    #[error("it is not a regular file")]
    NotRegular,
    /// It is not UTF-8.
    #[error("it is not text in UTF-8")]
    NotText,
    /// It is not a valid schema.
    #[error(transparent)]
    Invalid(#[from] SchemaError),
}

impl SchemaFileError {
    /// A name of the variant that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SchemaFileError::Unreadable(_) | SchemaFileError::NotRegular => "unreadable_file",
            SchemaFileError::NotText => "not_text",
            SchemaFileError::Invalid(_) => "invalid_schema",
        }
    }
}

/// A file and the schema in it, or a folder that cannot be read.
#[derive(Debug)]
pub struct SchemaFile {
    /// Where it was looked for.
    pub source: SchemaSource,
    /// The path.
    pub path: PathBuf,
    /// The schema with its warnings, or why there is none.
    pub parsed: Result<ParsedSchema, SchemaFileError>,
}

/// The folders in which schemas are looked for at the start, in this order.
///
/// In each of them every `.json` file is read, sorted by name; folders inside are not entered. A
/// folder that does not exist has no files. Nothing that is wrong with one file keeps the others
/// from being read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaDiscovery {
    folders: Vec<(SchemaSource, PathBuf)>,
}

impl SchemaDiscovery {
    /// Looks nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Looks in `available_schemas` and `data/schemas` of a folder.
    #[must_use]
    pub fn in_folder(base: impl AsRef<Path>) -> Self {
        let base = base.as_ref();
        Self::none()
            .with_folder(SchemaSource::AvailableDirectory, base.join("available_schemas"))
            .with_folder(SchemaSource::DataDirectory, base.join("data").join("schemas"))
    }

    /// Looks in one more folder, behind the others.
    #[must_use]
    pub fn with_folder(mut self, source: SchemaSource, folder: impl Into<PathBuf>) -> Self {
        self.folders.push((source, folder.into()));
        self
    }

    /// The folders in their order.
    #[must_use]
    pub fn folders(&self) -> &[(SchemaSource, PathBuf)] {
        &self.folders
    }

    /// Reads all files. It stores nothing.
    ///
    /// # Cost
    ///
    /// At most [`SCHEMA_BYTES_MAX`] bytes of each file are read.
    #[must_use]
    pub fn discover_all_sources(&self) -> Vec<SchemaFile> {
        let mut found = Vec::new();
        for (source, folder) in &self.folders {
            match files_in(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                files => found.extend(parse_all(*source, folder, files)),
            }
        }
        found
    }
}

/// Reads what the owner has named: a file, or all `.json` files of a folder.
pub(super) fn read_path(path: &Path) -> Vec<SchemaFile> {
    let source = SchemaSource::File;
    if path.is_dir() {
        return parse_all(source, path, files_in(path));
    }
    let parsed = read_text(path).and_then(|text| Ok(Schema::parse(&text)?));
    vec![SchemaFile { source, path: path.to_owned(), parsed }]
}

type Files = io::Result<Vec<(PathBuf, io::Result<()>)>>;

/// The `.json` files of a folder, sorted; those whose kind cannot be told with the reason.
fn files_in(folder: &Path) -> Files {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        match entry {
            Ok(entry) => {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    files.push((path, Ok(())));
                }
            }
            Err(error) => files.push((folder.to_owned(), Err(error))),
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

fn parse_all(source: SchemaSource, folder: &Path, files: Files) -> Vec<SchemaFile> {
    let files = match files {
        Ok(files) => files,
        Err(error) => vec![(folder.to_owned(), Err(error))],
    };
    let mut found = Vec::with_capacity(files.len());
    for (path, listed) in files {
        let parsed = match listed.map_err(SchemaFileError::from) {
            Ok(()) => match parse_regular(&path).transpose() {
                Some(parsed) => parsed,
                None => continue,
            },
            Err(error) => Err(error),
        };
        found.push(SchemaFile { source, path, parsed });
    }
    found
}

/// The schema of a regular file; none for a folder. A link that leads nowhere or back to itself is
/// an error.
fn parse_regular(path: &Path) -> Result<Option<ParsedSchema>, SchemaFileError> {
    let kind = fs::metadata(path)?;
    if kind.is_dir() {
        return Ok(None);
    }
    if !kind.is_file() {
        return Err(SchemaFileError::NotRegular);
    }
    Ok(Some(Schema::parse(&read_text(path)?)?))
}

/// The text of a file, one byte more than a schema can have at most.
fn read_text(path: &Path) -> Result<String, SchemaFileError> {
    let mut text = Vec::new();
    File::open(path)?.take(SCHEMA_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    // A character may be cut in two there; that the file is too large is what matters.
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError::TooLarge { found: text.len() }.into());
    }
    String::from_utf8(text).map_err(|_| SchemaFileError::NotText)
}
