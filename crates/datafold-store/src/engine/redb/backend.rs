//! The disk as redb sees it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::StorageBackend;

use super::unwritten::Unwritten;
use crate::Disk;

/// Fits a [`Disk`] to what redb asks of its storage. Clones share their state.
///
/// redb answers nothing more, not even a read, once a write or sync has failed. So from
/// [`Backend::keep_failures`] on, the first such failure is kept here instead, and the disk is not
/// written to any more: what it holds is what a crash at that moment would have left. What redb
/// goes on writing is kept in memory, since the pages of commits that only the log has made durable
/// are among it, and snapshots show them. The store must ask for the failure before it believes
/// redb.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    disk: Arc<dyn Disk>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    keeps_failures: AtomicBool,
    has_failed: AtomicBool,
    failure: Mutex<Option<io::Error>>,
    /// Offset and length of each write since the last sync that succeeded, once: a small cache puts
    /// the same pages out again and again until the log is full.
    unsynced: Mutex<BTreeSet<(u64, usize)>>,
    /// What was to be written when the disk had failed.
    unwritten: RwLock<Unwritten>,
}

impl Backend {
    pub(super) fn new(disk: Box<dyn Disk>) -> Self {
        Self { disk: Arc::from(disk), state: Arc::default() }
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Hides failures to write from redb from now on.
    pub(super) fn keep_failures(&self) {
        self.state.keeps_failures.store(true, Ordering::Release);
    }

    /// Whether a write or sync has failed, so that nothing redb says of later commits is true.
    pub(super) fn has_failed(&self) -> bool {
        self.state.has_failed.load(Ordering::Acquire)
    }

    /// Writes nothing more to the disk.
    pub(super) fn stop(&self) {
        self.state.has_failed.store(true, Ordering::Release);
    }

    /// The failure, to the first who asks.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.state.failure.lock().take()
    }

    /// Calls the disk, unless it has failed before; `instead` keeps in memory what is not done.
    fn change(
        &self,
        call: impl FnOnce(&dyn Disk) -> io::Result<()>,
        instead: impl FnOnce(&mut Unwritten) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.has_failed() {
            return instead(&mut self.state.unwritten.write());
        }
        match call(&*self.disk) {
            Err(error) if self.state.keeps_failures.load(Ordering::Acquire) => {
                *self.state.failure.lock() = Some(error);
                let mut unwritten = self.state.unwritten.write();
                let kept = instead(&mut unwritten);
                // Set before redb goes on, and so before it could show the commit to a reader.
                self.stop();
                kept
            }
            answer => answer,
        }
    }

    /// Writes again what a failed sync may have forgotten.
    ///
    /// An operating system that could not write a page back may keep it in its cache as clean. The
    /// store that is opened next would read it, build on it, and sync without it; the next loss of
    /// power would then take what was acknowledged meanwhile. Written again, the page is part of
    /// the next sync, or its failure is.
    fn write_again(&self, unsynced: &BTreeSet<(u64, usize)>) {
        // There is no better answer to a failure here than the one that is given anyway.
        if let Ok(len) = self.disk.len() {
            let _ = self.disk.set_len(len);
        }
        for (offset, len) in unsynced {
            let mut data = vec![0; *len];
            if self.disk.read(*offset, &mut data).is_ok() {
                let _ = self.disk.write(*offset, &data);
            }
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        if self.has_failed() {
            return self.state.unwritten.read().len(&*self.disk);
        }
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.has_failed() {
            return self.state.unwritten.read().read(&*self.disk, offset, out);
        }
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(
            |disk| disk.set_len(len),
            |unwritten| {
                unwritten.set_len(len);
                Ok(())
            },
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        let sync = |disk: &dyn Disk| {
            let mut unsynced = self.state.unsynced.lock();
            let synced = disk.sync();
            match synced {
                Ok(()) => unsynced.clear(),
                Err(_) => self.write_again(&unsynced),
            }
            synced
        };
        self.change(sync, |_| Ok(()))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = |disk: &dyn Disk| {
            self.state.unsynced.lock().insert((offset, data.len()));
            disk.write(offset, data)
        };
        self.change(write, |unwritten| unwritten.write(&*self.disk, offset, data))
    }
}
