//! The lines of an input that is imported.

use std::collections::VecDeque;
use std::io::{self, Read};

/// The longest line of NDJSON and the longest row of CSV, in bytes.
pub(super) const LINE_BYTES_MAX: u64 = 16 << 20;

/// The input without the byte order mark that some programs begin a file with.
pub(super) fn without_mark(mut input: impl Read) -> io::Result<impl Read> {
    let mut start = Vec::with_capacity(MARK.len());
    input.by_ref().take(MARK.len() as u64).read_to_end(&mut start)?;
    if start == MARK {
        start.clear();
    }
    Ok(io::Cursor::new(start).chain(input))
}

/// U+FEFF in UTF-8.
const MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// Counts the lines of an input that is read ahead, to tell on which a row begins: the parser's
/// own position is before the blank lines that it skips.
pub(super) struct Lines<R> {
    input: R,
    /// What was read behind the last row.
    ahead: VecDeque<u8>,
    /// The place of `ahead` in the input, and its line.
    offset: u64,
    line: u64,
}

impl<R> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, ahead: VecDeque::new(), offset: 0, line: 1 }
    }

    /// The line on which the row begins that ends at a place in the input.
    pub(super) fn row_ends(&mut self, end: u64) -> u64 {
        let bytes = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut begin = None;
        for byte in self.ahead.drain(..bytes.min(self.ahead.len())) {
            if begin.is_none() && !matches!(byte, b'\n' | b'\r') {
                begin = Some(self.line);
            }
            self.line += u64::from(byte == b'\n');
        }
        self.offset = end;
        begin.unwrap_or(self.line)
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.ahead.len() as u64 >= LINE_BYTES_MAX {
            let line = self.line;
            return Err(io::Error::other(format!(
                "the row behind line {line} is longer than {LINE_BYTES_MAX} bytes; \
                 is a quote not closed?"
            )));
        }
        let read = self.input.read(out)?;
        self.ahead.extend(out.iter().take(read));
        Ok(read)
    }
}
