//! What was to be written to a disk that is not written to any more.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::Disk;

const PAGE_BYTES: usize = 4_096;

/// Pages and a length that hide those of a disk.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// By number: the offset by the size of a page.
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
    /// The length, once it is another one than the disk's.
    len: Option<u64>,
    /// What is still seen of the disk, once a part of it has been cut off.
    kept: Option<u64>,
}

impl Unwritten {
    pub(super) fn len(&self, disk: &dyn Disk) -> io::Result<u64> {
        self.len.map_or_else(|| disk.len(), Ok)
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.len = Some(len);
        self.kept = Some(self.kept.map_or(len, |kept| kept.min(len)));
        self.pages.retain(|page, _| page.saturating_mul(PAGE_BYTES as u64) < len);
        let (page, end) = place(len);
        // What was cut off must not come back when the length grows again.
        if let Some(tail) = self.pages.get_mut(&page).and_then(|bytes| bytes.get_mut(end..)) {
            tail.fill(0);
        }
    }

    pub(super) fn read(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let len = self.len(disk)?;
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_disk(disk, offset, out)?;
        for (page, start, part) in parts(offset, out.len()) {
            let bytes = self.pages.get(&page).and_then(|bytes| bytes.get(start..));
            let bytes = bytes.and_then(|bytes| bytes.get(..part.len()));
            if let (Some(bytes), Some(part)) = (bytes, out.get_mut(part)) {
                part.copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, disk: &dyn Disk, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        for (page, start, part) in parts(offset, data.len()) {
            if !self.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE_BYTES]);
                if part.len() < PAGE_BYTES {
                    self.read_disk(disk, page * PAGE_BYTES as u64, &mut bytes[..])?;
                }
                self.pages.insert(page, bytes);
            }
            let bytes = self.pages.get_mut(&page).and_then(|bytes| bytes.get_mut(start..));
            let bytes = bytes.and_then(|bytes| bytes.get_mut(..part.len()));
            if let (Some(bytes), Some(part)) = (bytes, data.get(part)) {
                bytes.copy_from_slice(part);
            }
        }
        self.len = Some(self.len(disk)?.max(end));
        Ok(())
    }

    /// Fills `out` with what is seen of the disk, and with zeros behind it.
    fn read_disk(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let len = disk.len()?;
        let len = self.kept.map_or(len, |kept| kept.min(len));
        let there = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (first, behind) = out.split_at_mut(there.min(out.len()));
        behind.fill(0);
        if first.is_empty() { Ok(()) } else { disk.read(offset, first) }
    }
}

/// The page of a position, and the place in it.
fn place(position: u64) -> (u64, usize) {
    let page_bytes = PAGE_BYTES as u64;
    (position / page_bytes, usize::try_from(position % page_bytes).unwrap_or(0))
}

/// The parts of a range by the pages that they are in: the page, where the part begins in it, and
/// where it is in the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (page, start) = place(offset.checked_add(done as u64)?);
        let part = done..len.min(done + PAGE_BYTES - start);
        done = part.end;
        (!part.is_empty()).then_some((page, start, part))
    })
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A disk that is only read.
    #[derive(Debug)]
    struct Bytes(Mutex<Vec<u8>>);

    impl Disk for Bytes {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.lock().len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let start = usize::try_from(offset).unwrap();
            let bytes = self.0.lock();
            let bytes = bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        }

        fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
            panic!("the disk was written to")
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            panic!("the disk was written to")
        }

        fn sync(&self) -> io::Result<()> {
            panic!("the disk was synced")
        }
    }

    proptest! {
        /// Writes and lengths over a disk answer as a vector of bytes does.
        #[test]
        fn it_hides_the_disk(
            disk_len in 0_usize..20_000,
            steps in vec((any::<bool>(), 0_usize..24_000, 0_usize..9_000, 1_u8..), 1..12),
        ) {
            let mut model: Vec<u8> = (0..disk_len).map(|at| (at % 251).to_le_bytes()[0]).collect();
            let disk = Bytes(Mutex::new(model.clone()));
            let mut unwritten = Unwritten::default();
            for (is_write, offset, len, fill) in steps {
                if is_write {
                    unwritten.write(&disk, offset as u64, &vec![fill; len]).unwrap();
                    model.resize(model.len().max(offset + len), 0);
                    model[offset..offset + len].fill(fill);
                } else {
                    unwritten.set_len(offset as u64);
                    model.resize(offset, 0);
                }
                prop_assert_eq!(unwritten.len(&disk).unwrap(), model.len() as u64);
                let mut out = vec![0xEE; model.len()];
                unwritten.read(&disk, 0, &mut out).unwrap();
                prop_assert!(out == model);
                let mut out = vec![0; 1];
                prop_assert!(unwritten.read(&disk, model.len() as u64, &mut out).is_err());
            }
        }
    }
}
