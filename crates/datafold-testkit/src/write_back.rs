//! What a disk has promised to keep, and what it may still lose.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::disk_image::DiskImages;
use crate::{CutKind, DiskImage, Random};

/// The unit that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// One change of a disk's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Bytes were written.
    Write { offset: u64, data: Bytes },
    /// The length was set.
    SetLen(u64),
}

/// How a sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SyncEnd {
    /// Everything is durable.
    Done,
    /// The disk said so, but lost the last write.
    Lie,
    /// The disk said so, and did nothing.
    Ignored,
    /// The disk answered an error: what became durable is chosen by the seed, and the rest will
    /// never be, as with a page cache that marks pages clean when their write-back fails.
    Failed { seed: u64 },
}

/// Durable bytes of a file, and the changes behind them that were not synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteBack {
    pub(crate) durable: DiskImage,
    pub(crate) changes: Vec<Change>,
}

impl WriteBack {
    pub(crate) fn new(durable: DiskImage) -> Self {
        Self { durable, changes: Vec::new() }
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(crate) fn sync(&mut self, end: SyncEnd) {
        match end {
            SyncEnd::Done => {}
            SyncEnd::Ignored => return,
            SyncEnd::Lie => {
                let is_write = |change: &Change| matches!(change, Change::Write { .. });
                if let Some(last) = self.changes.iter().rposition(is_write) {
                    self.changes.remove(last);
                }
            }
            SyncEnd::Failed { seed } => {
                self.durable = self.after_cut(CutKind::Torn, &mut Random::new(seed));
                self.changes.clear();
            }
        }
        for change in self.changes.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// What the file holds if the power fails now.
    fn after_cut(&self, kind: CutKind, random: &mut Random) -> DiskImage {
        let mut image = self.durable.clone();
        if kind == CutKind::LoseAll {
            return image;
        }
        for change in &self.changes {
            match (kind, change) {
                (CutKind::LoseAll, _) => {}
                (CutKind::KeepAll | CutKind::OneFile, _) => apply(&mut image, change),
                (CutKind::Subset, _) | (CutKind::Torn, Change::SetLen(_)) => {
                    if random.one_in(2) {
                        apply(&mut image, change);
                    }
                }
                (CutKind::Torn, Change::Write { offset, data }) => match random.below(4) {
                    0 => {}
                    1 => apply(&mut image, change),
                    _ => tear(&mut image, *offset, data, random),
                },
            }
        }
        image
    }
}

/// The files of a disk, for which the power fails at the same moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(BTreeMap<usize, WriteBack>);

impl Files {
    pub(crate) fn new(images: DiskImages) -> Self {
        let files = images.into_iter();
        Self(files.map(|(file, image)| (file, WriteBack::new(image))).collect())
    }

    /// A file, empty if nobody has used it.
    pub(crate) fn file_mut(&mut self, file: usize) -> &mut WriteBack {
        self.0.entry(file).or_default()
    }

    /// The number of changes that may be lost, of each file.
    pub(crate) fn unsynced(&self) -> impl Iterator<Item = usize> {
        self.0.values().map(|file| file.changes.len())
    }

    /// What the files hold if the power fails now.
    pub(crate) fn after_cut(&self, kind: CutKind, random: &mut Random) -> DiskImages {
        let changed = self.0.iter().filter(|(_, file)| !file.changes.is_empty());
        let changed: Vec<usize> = changed.map(|(file, _)| *file).collect();
        let kept = match kind {
            CutKind::OneFile => random.choose(&changed).copied(),
            _ => None,
        };
        let image = |(at, file): (&usize, &WriteBack)| match kind {
            CutKind::OneFile if Some(*at) != kept => {
                (*at, file.after_cut(CutKind::LoseAll, random))
            }
            kind => (*at, file.after_cut(kind, random)),
        };
        self.0.iter().map(image).collect()
    }
}

pub(crate) fn apply(image: &mut DiskImage, change: &Change) {
    match change {
        Change::Write { offset, data } => image.write(*offset, data),
        Change::SetLen(len) => image.set_len(*len),
    }
}

/// Writes a random choice of the sectors that a write touches.
fn tear(image: &mut DiskImage, offset: u64, data: &[u8], random: &mut Random) {
    let (mut offset, mut rest) = (offset, data);
    while !rest.is_empty() {
        let room = usize::try_from(SECTOR - offset % SECTOR).unwrap_or(rest.len());
        let (sector, behind) = rest.split_at(rest.len().min(room));
        if random.one_in(2) {
            image.write(offset, sector);
        }
        offset += sector.len() as u64;
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_writes() -> WriteBack {
        let mut disk = WriteBack::new(DiskImage::from_bytes(&[0; 4096]));
        disk.push(Change::Write { offset: 0, data: vec![1; 1024].into() });
        disk.push(Change::Write { offset: 2048, data: vec![2; 1024].into() });
        disk
    }

    #[test]
    fn a_cut_keeps_what_its_kind_says() {
        let disk = two_writes();
        let mut random = Random::new(3);
        let lost = disk.after_cut(CutKind::LoseAll, &mut random);
        assert_eq!(lost.to_bytes(), [0; 4096]);
        let kept = disk.after_cut(CutKind::KeepAll, &mut random).to_bytes();
        assert_eq!((kept[0], kept[1023], kept[1024], kept[2048]), (1, 1, 0, 2));
        for _ in 0..100 {
            let bytes = disk.after_cut(CutKind::Torn, &mut random).to_bytes();
            for sector in bytes.chunks(512) {
                assert!(sector.iter().all(|byte| byte == &sector[0]), "a sector was torn");
            }
        }
    }

    #[test]
    fn one_file_is_kept_and_the_other_is_not() {
        let mut files = Files::default();
        for file in 0..2 {
            files.file_mut(file).push(Change::Write { offset: 0, data: vec![1].into() });
        }
        let mut random = Random::new(1);
        let mut seen = [0, 0];
        for _ in 0..50 {
            let images = files.after_cut(CutKind::OneFile, &mut random);
            let kept: Vec<_> = images.values().map(|image| !image.is_empty()).collect();
            assert!(kept == [true, false] || kept == [false, true], "{kept:?}");
            seen[usize::from(kept[1])] += 1;
        }
        assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    }

    #[test]
    fn a_lie_loses_the_last_write_and_a_failure_forgets_the_rest() {
        let mut disk = two_writes();
        disk.sync(SyncEnd::Lie);
        assert_eq!((disk.durable.to_bytes()[0], disk.durable.to_bytes()[2048]), (1, 0));
        let mut disk = two_writes();
        disk.sync(SyncEnd::Failed { seed: 1 });
        let durable = disk.durable.to_bytes();
        disk.sync(SyncEnd::Done);
        assert_eq!(disk.durable.to_bytes(), durable);
        let mut disk = two_writes();
        disk.sync(SyncEnd::Ignored);
        assert_eq!((disk.durable.to_bytes(), disk.changes.len()), (vec![0; 4096], 2));
    }
}
