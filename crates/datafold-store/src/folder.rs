//! The folder of an embedded store: its lock, and the note that says what it is.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::identity::OLDEST_VERSION;
use crate::{FORMAT_VERSION, StoreError, StoreId};

pub(crate) const LOCK_FILE: &str = "LOCK";
pub(crate) const NOTE_FILE: &str = "STORE.json";
/// Stands in a folder while rows are loaded into it that are not a store yet.
pub(crate) const LOADING_FILE: &str = "LOADING";

/// An exclusive hold on a folder, released when it is dropped.
///
/// The lock belongs to the open file, so it ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub(crate) fn acquire(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK_FILE);
        let io = |source| StoreError::io(format!("lock {}", path.display()), source);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::AlreadyOpen { path: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // The number is for the message to others only, and a full disk has no room for it.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// What the note in a folder says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) id: StoreId,
    pub(crate) engine: String,
    /// The format of the folder.
    pub(crate) version: u32,
}

impl Note {
    /// Reads the note; `None` if the folder has none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(NOTE_FILE);
        let text = read_file(&path)?;
        text.map(|text| Self::parse(&path, &text)).transpose()
    }

    /// Reads the text of the note of this path.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, StoreError> {
        let not_a_store = |reason: &str| StoreError::NotAStore {
            path: path.to_owned(),
            reason: format!("the file {reason}"),
        };
        let note: Value = serde_json::from_str(text).map_err(|_| not_a_store("is not JSON"))?;
        let version = note.get("format_version").and_then(Value::as_u64);
        let version = version.ok_or_else(|| not_a_store("names no format version"))?;
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(StoreError::UnknownFormat { found: version });
        }
        let id = note.get("store_id").and_then(Value::as_str).and_then(StoreId::parse);
        let engine = note.get("engine").and_then(Value::as_str);
        Ok(Self {
            id: id.ok_or_else(|| not_a_store("names no store id"))?,
            engine: engine.ok_or_else(|| not_a_store("names no engine"))?.to_owned(),
            version,
        })
    }

    /// Writes the note, durable and in one step.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        write_file(folder, NOTE_FILE, &self.text())
    }

    /// The text of the note.
    pub(crate) fn text(&self) -> String {
        let text = json!({
            "what": "a DataFold store; do not edit",
            "engine": self.engine,
            "format_version": self.version,
            "store_id": self.id.to_string(),
        });
        format!("{text:#}\n")
    }
}

/// The text of a file; `None` if there is no such file.
pub(crate) fn read_file(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(format!("read {}", path.display()), error)),
    }
}

/// Writes or replaces a file, durable and in one step. Meanwhile a file `NAME.new` exists.
pub(crate) fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), StoreError> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let io = |source| StoreError::io(format!("write {}", path.display()), source);
    let mut file = File::create(&new).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&new, &path).map_err(io)?;
    sync_folder(folder).map_err(io)
}

/// Removes a file, or a folder with all that is in it; it is no error if there is none.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io(format!("remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Makes the folder and those above it that are missing, and makes their names durable.
pub(crate) fn create_folder(folder: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::io(format!("create the folder {}", folder.display()), source);
    let full = std::path::absolute(folder).map_err(io)?;
    let missing: Vec<&Path> = full.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(&full).map_err(io)?;
    for made in missing {
        if let Some(parent) = made.parent() {
            sync_folder(parent).map_err(io)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_lock_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path()).unwrap();
        let error = FolderLock::acquire(folder.path()).unwrap_err();
        assert_eq!(error.code(), "store_already_open");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(lock);
        FolderLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_note_of_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let note = Note { id: StoreId([7; 16]), engine: "redb".into(), version: 2 };
        assert_eq!(Note::read(folder.path()).unwrap(), None);
        note.write(folder.path()).unwrap();
        assert_eq!(Note::read(folder.path()).unwrap(), Some(note));
        let path = folder.path().join(NOTE_FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"format_version\": 2", "\"format_version\": 9")).unwrap();
        let error = Note::read(folder.path()).unwrap_err();
        assert_eq!(error.to_string(), "the store has format version 9, this program reads up to 2");
        fs::write(&path, "{").unwrap();
        assert_eq!(Note::read(folder.path()).unwrap_err().code(), "not_a_store");
    }
}
