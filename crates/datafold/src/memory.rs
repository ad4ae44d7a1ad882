//! The seam to memory in large pages.

use std::ops::{Deref, DerefMut};

use memmap2::{MmapMut, MmapOptions};

/// What most processors have as the next size of pages.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes that are read here and there, at first zero.
///
/// Pages that nothing was written to take no memory. If there are many bytes the system is asked
/// for large pages, since looking up where a small page lies can take as long as reading it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    mapping: Option<MmapMut>,
    bytes: usize,
}

impl Memory {
    /// `None` if there is not so much.
    pub(crate) fn zeroed(bytes: usize) -> Option<Self> {
        if bytes == 0 {
            return Some(Self::default());
        }
        // Linux aligns to large pages only what is whole ones.
        let unit = if bytes < LARGE_PAGE_BYTES { 1 } else { LARGE_PAGE_BYTES };
        let mapped = bytes.checked_next_multiple_of(unit)?;
        let mapping = MmapOptions::new().len(mapped).map_anon().ok()?;
        ask_for_large_pages(&mapping, bytes);
        Some(Self { mapping: Some(mapping), bytes })
    }
}

/// Not for a last page that would be large for little of it.
#[cfg(target_os = "linux")]
fn ask_for_large_pages(mapping: &MmapMut, bytes: usize) {
    let large = (bytes + bytes / 64) / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    if large > 0 {
        // Small pages do, too.
        let _ = mapping.advise_range(memmap2::Advice::HugePage, 0, large.min(mapping.len()));
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: &MmapMut, _: usize) {}

impl Deref for Memory {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.mapping.as_deref().and_then(|mapped| mapped.get(..self.bytes)).unwrap_or_default()
    }
}

impl DerefMut for Memory {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes = self.bytes;
        self.mapping.as_deref_mut().and_then(|mapped| mapped.get_mut(..bytes)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zero_and_as_long_as_was_asked_for() {
        for bytes in [0, 1, 5_000, (4 << 20) + 1] {
            let mut memory = Memory::zeroed(bytes).unwrap();
            assert_eq!(memory.len(), bytes);
            assert!(memory.iter().all(|byte| *byte == 0));
            memory.fill(1);
            assert!(memory.iter().all(|byte| *byte == 1));
        }
        assert!(Memory::zeroed(usize::MAX).is_none());
    }
}
