//! Whether another process has written to a store.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Not changed by what is written to the store, but by who opens it.
const LOCK_FILE: &str = "LOCK";
/// Folders are looked into as deep as this.
const DEPTH_MAX: usize = 3;

/// The files of a store as they were seen.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` for a store without files.
    folder: Option<PathBuf>,
    seen: Option<Vec<Seen>>,
}

/// A file: its path, its size in bytes, and when it was changed, in nanoseconds.
type Seen = (PathBuf, u64, u128);

impl Watch {
    /// Watches the store with this URL.
    pub(crate) fn new(url: &str) -> Self {
        let path = url.strip_prefix("redb:").or(url.strip_prefix("sled:")).unwrap_or(url);
        let folder = (url != "memory:").then(|| PathBuf::from(path));
        Self { folder, seen: None }
    }

    /// Sees how the files are now.
    pub(crate) fn look(&mut self) {
        self.seen = Some(self.files());
    }

    /// Any look at the files finds them changed from now on.
    pub(crate) fn forget(&mut self) {
        self.seen = None;
    }

    /// Whether the files are not as they were seen.
    pub(crate) fn has_changed(&self) -> bool {
        self.seen.as_ref() != Some(&self.files())
    }

    fn files(&self) -> Vec<Seen> {
        let mut files = Vec::new();
        if let Some(folder) = &self.folder {
            list(folder, 0, &mut files);
        }
        files.sort_unstable();
        files
    }
}

/// Files that come and go meanwhile are passed over: they are changes in any case.
fn list(folder: &Path, depth: usize, files: &mut Vec<Seen>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth < DEPTH_MAX {
            list(&entry.path(), depth + 1, files);
        } else if entry.file_name() != LOCK_FILE {
            let changed = metadata.modified().ok();
            let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            files.push((entry.path(), metadata.len(), changed.unwrap_or_default().as_nanos()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        let mut watch = Watch::new(&format!("redb:{}", folder.path().display()));
        assert!(watch.has_changed());
        watch.look();
        assert!(!watch.has_changed());
        fs::write(&file, "a").unwrap();
        assert!(watch.has_changed());
        watch.look();
        fs::write(folder.path().join(LOCK_FILE), "1").unwrap();
        assert!(!watch.has_changed());
        watch.forget();
        assert!(watch.has_changed());
        let mut none = Watch::new("memory:");
        none.look();
        assert!(!none.has_changed());
    }
}
