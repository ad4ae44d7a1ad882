//! The bytes of a disk at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

const PAGE: usize = 4_096;

/// Bytes in shared pages: a copy is cheap, so an image can be kept for every point of a trace.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DiskImage {
    len: u64,
    /// `None` is a page of zeros.
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

/// The bytes of the files of a disk, by the number of the file.
pub type DiskImages = BTreeMap<usize, DiskImage>;

impl DiskImage {
    /// An image with no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An image of the given bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut image = Self::new();
        image.write(0, bytes);
        image
    }

    /// All bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; to_index(self.len)];
        self.read(0, &mut bytes);
        bytes
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `out` from `offset` on; false, and nothing filled, if that is not all there.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.len) {
            return false;
        }
        let mut position = to_index(offset);
        let mut rest = out;
        while !rest.is_empty() {
            let start = position % PAGE;
            let (part, behind) = rest.split_at_mut(rest.len().min(PAGE - start));
            let page = self.pages.get(position / PAGE).and_then(Option::as_ref);
            match page.and_then(|page| page.get(start..start + part.len())) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => part.fill(0),
            }
            position += part.len();
            rest = behind;
        }
        true
    }

    /// Writes `data` from `offset` on; the image grows where that is needed.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.len = self.len.max(offset.saturating_add(data.len() as u64));
        self.pages.resize(to_index(self.len).div_ceil(PAGE), None);
        let mut position = to_index(offset);
        let mut rest = data;
        while !rest.is_empty() {
            let start = position % PAGE;
            let (part, behind) = rest.split_at(rest.len().min(PAGE - start));
            if let Some(page) = self.pages.get_mut(position / PAGE) {
                let page = page.get_or_insert_with(|| Arc::new([0; PAGE]));
                if let Some(bytes) = Arc::make_mut(page).get_mut(start..start + part.len()) {
                    bytes.copy_from_slice(part);
                }
            }
            position += part.len();
            rest = behind;
        }
    }

    /// Cuts or extends it; new bytes are zero.
    pub fn set_len(&mut self, len: u64) {
        let is_cut = len < self.len;
        self.len = len;
        self.pages.resize(to_index(len).div_ceil(PAGE), None);
        let end = to_index(len) % PAGE;
        if is_cut && end != 0 {
            // What was cut off must not come back when the image grows again.
            if let Some(Some(page)) = self.pages.last_mut()
                && let Some(tail) = Arc::make_mut(page).get_mut(end..)
            {
                tail.fill(0);
            }
        }
    }
}

impl fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskImage({} bytes)", self.len)
    }
}

fn to_index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn an_image_behaves_as_a_vector_of_bytes() {
        let mut random = Random::new(crate::seed_from_env(1));
        let (mut image, mut model) = (DiskImage::new(), Vec::new());
        for _ in 0..500 {
            let offset = random.below(3 * PAGE);
            if random.one_in(4) {
                image.set_len(offset as u64);
                model.resize(offset, 0);
            } else {
                let len = random.below(2 * PAGE);
                let data = random.bytes(len);
                image.write(offset as u64, &data);
                model.resize(model.len().max(offset + data.len()), 0);
                model[offset..offset + data.len()].copy_from_slice(&data);
            }
            assert_eq!(image.to_bytes(), model);
        }
        assert!(!image.read(image.len(), &mut [0]));
        assert_eq!(DiskImage::from_bytes(&model).to_bytes(), model);
    }

    #[test]
    fn a_copy_does_not_change_with_the_original() {
        let mut image = DiskImage::from_bytes(&[1; 10]);
        let copy = image.clone();
        image.write(0, &[2; 10]);
        assert_eq!(copy.to_bytes(), [1; 10]);
    }
}
