//! Input from a file or from standard input, gzip or not.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use crate::failure::{Exit, Failure};

/// The first bytes of a gzip file. Source: RFC 1952, section 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The name of an input for messages.
pub(crate) fn name_of(path: &Path) -> String {
    if is_stdin(path) { "standard input".into() } else { path.display().to_string() }
}

/// Opens an input; answers its size in bytes, if it is a regular file.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    if is_stdin(path) {
        return Ok((Box::new(io::stdin()), None));
    }
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok((file, metadata.is_file().then_some(metadata.len())))
    };
    let (file, size) = open().map_err(|error| Failure::io(path.display(), &error))?;
    Ok((Box::new(file), size))
}

/// A whole input of text that has at most so many bytes.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let name = name_of(path);
    let (input, _) = open(path)?;
    let mut text = Vec::new();
    let read = input.take(bytes_max + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::io(&name, &error))?;
    if text.len() as u64 > bytes_max {
        let message = format!("{name}: is longer than {bytes_max} bytes");
        return Err(Failure::new(Exit::Invalid, message).hint("divide it"));
    }
    String::from_utf8(text).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("{name}: must be UTF-8, and is not behind byte {at}");
        Failure::new(Exit::Invalid, message).hint("save it as UTF-8")
    })
}

/// The input unpacked if it begins as gzip does, else as it is.
pub(crate) fn unpack(mut input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::with_capacity(GZIP_MAGIC.len());
    input.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut start)?;
    let is_gzip = start == GZIP_MAGIC;
    let whole = BufReader::with_capacity(64 << 10, Cursor::new(start).chain(input));
    Ok(if is_gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

/// The input, and whether it failed to be read so far, which its reader may tell less clearly.
pub(crate) fn watch<R: Read>(input: R) -> (WatchedRead<R>, Rc<Cell<bool>>) {
    let failed = Rc::default();
    (WatchedRead { input, failed: Rc::clone(&failed) }, failed)
}

/// An input that notes when it fails.
#[derive(Debug)]
pub(crate) struct WatchedRead<R> {
    input: R,
    failed: Rc<Cell<bool>>,
}

impl<R: Read> Read for WatchedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.failed.set(true);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn unpacked(bytes: Vec<u8>) -> Vec<u8> {
        let mut text = Vec::new();
        unpack(Cursor::new(bytes)).unwrap().read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes() {
        let gzip = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(unpacked(gzip(b"a,b\n")), b"a,b\n");
        assert_eq!(unpacked([gzip(b"a"), gzip(b"b")].concat()), b"ab");
        for text in [&b""[..], b"a", b"\x1f", b"a,b\n"] {
            assert_eq!(unpacked(text.to_vec()), text);
        }
    }
}
