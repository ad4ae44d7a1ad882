//! The seam between an engine and the file it keeps.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A resizable array of bytes that an engine keeps its pages in.
///
/// The redb engine runs on any `Disk`, so a test can put the whole store on a simulated one that
/// loses, tears and fails writes that were not synced.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// The operating system's answer, as for every method here.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds no bytes.
    ///
    /// # Errors
    ///
    /// As [`Disk::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset` on; reading past the end is an error.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] past the end.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `data` from `offset` on. Not durable before [`Disk::sync`].
    ///
    /// # Errors
    ///
    /// The operating system's answer; some of the bytes may have been written.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts or extends it; new bytes are zero. Not durable before [`Disk::sync`].
    ///
    /// # Errors
    ///
    /// The operating system's answer.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes every earlier write and length durable.
    ///
    /// # Errors
    ///
    /// The operating system's answer. After an error nothing is known of what is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file of the operating system.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
}

impl FileDisk {
    /// Opens the file at `path` for reading and writing; creates it only if `create` is set.
    ///
    /// # Errors
    ///
    /// The operating system's answer.
    pub fn open(path: &Path, create: bool) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Self { file })
    }

    /// Locks the file for this handle alone, until it is dropped; `false` if another one has it.
    ///
    /// The lock belongs to the file and not to a name, so nobody can remove it.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(unix)]
impl Disk for FileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written_and_refuses_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(FileDisk::open(&path, false).unwrap_err().kind(), io::ErrorKind::NotFound);
        let disk = FileDisk::open(&path, true).unwrap();
        assert!(disk.is_empty().unwrap());
        disk.set_len(16).unwrap();
        disk.write(4, b"abcd").unwrap();
        disk.sync().unwrap();
        drop(disk);
        let disk = FileDisk::open(&path, false).unwrap();
        let mut out = [1; 16];
        disk.read(0, &mut out).unwrap();
        assert_eq!(&out, b"\0\0\0\0abcd\0\0\0\0\0\0\0\0");
        let error = disk.read(8, &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
