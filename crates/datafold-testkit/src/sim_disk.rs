//! A disk in memory with files that loses, tears and fails what a real one may.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Disk;
use parking_lot::Mutex;

use crate::trace::TraceOp;
use crate::write_back::{Change, Files, SyncEnd, apply};
use crate::{CutKind, DiskCall, DiskError, DiskFault, DiskImage, DiskImages, Random, Trace};

/// A file of a simulated disk: a cloneable handle to shared bytes, so that a test keeps it after
/// the store is gone.
///
/// The disk knows the bytes of each file as the running process sees them, those that are durable,
/// and the changes between the two; a sync is one of one file. The power fails for all files at
/// the same moment. All choices follow from the disk's seed.
///
/// ```
/// use datafold_store::Disk;
/// use datafold_testkit::{CutKind, SimDisk};
///
/// let disk = SimDisk::new(1);
/// disk.write(0, b"kept")?;
/// disk.sync()?;
/// disk.write(0, b"lost")?;
/// assert_eq!(disk.bytes(), b"lost");
/// assert_eq!(disk.power_cut(CutKind::LoseAll, 1).bytes(), b"kept");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    file: usize,
}

#[derive(Debug)]
struct State {
    /// The files as the running process sees them.
    visible: DiskImages,
    disk: Files,
    /// What has happened since the recording began.
    trace: Option<Trace>,
    /// Each with the number of calls that it has counted.
    faults: Vec<(DiskFault, u64)>,
    call_count: u64,
    drops_last_write: bool,
    /// Files whose syncs do nothing.
    ignores_syncs: Vec<usize>,
    random: Random,
}

impl SimDisk {
    /// The first file of an empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_image(DiskImage::new(), seed)
    }

    /// The first file of a disk, which holds `image`, all of it durable.
    #[must_use]
    pub fn from_image(image: DiskImage, seed: u64) -> Self {
        Self::from_images(DiskImages::from([(0, image)]), seed)
    }

    /// The first file of a disk whose files hold `images`, all of them durable.
    #[must_use]
    pub fn from_images(images: DiskImages, seed: u64) -> Self {
        let state = State {
            visible: images.clone(),
            disk: Files::new(images),
            trace: None,
            faults: Vec::new(),
            call_count: 0,
            drops_last_write: false,
            ignores_syncs: Vec::new(),
            random: Random::new(seed),
        };
        Self { state: Arc::new(Mutex::new(state)), file: 0 }
    }

    /// Another file of the same disk, counted from 0; it is empty if nobody has used it.
    #[must_use]
    pub fn file(&self, file: usize) -> Self {
        Self { state: Arc::clone(&self.state), file }
    }

    /// The bytes as the running process sees them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.image().to_bytes()
    }

    /// The bytes as the running process sees them.
    #[must_use]
    pub fn image(&self) -> DiskImage {
        self.state.lock().visible(self.file).clone()
    }

    /// The bytes of all files as the running process sees them.
    #[must_use]
    pub fn images(&self) -> DiskImages {
        self.state.lock().visible.clone()
    }

    /// The bytes that are durable.
    #[must_use]
    pub fn durable_image(&self) -> DiskImage {
        self.state.lock().disk.file_mut(self.file).durable.clone()
    }

    /// The number of changes of the file that were not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.lock().disk.file_mut(self.file).changes.len()
    }

    /// The disk that a machine finds when it starts again after the power failed now.
    #[must_use]
    pub fn power_cut(&self, kind: CutKind, seed: u64) -> SimDisk {
        let images = self.state.lock().disk.after_cut(kind, &mut Random::new(seed));
        SimDisk::from_images(images, seed).file(self.file)
    }

    /// The disk that a new process finds after the old one was killed: all that was written, with
    /// no planted failures.
    #[must_use]
    pub fn process_kill(&self, seed: u64) -> SimDisk {
        SimDisk::from_images(self.images(), seed).file(self.file)
    }

    /// Records all that happens from now on; forgets an earlier recording.
    pub fn start_trace(&self) {
        let mut state = self.state.lock();
        state.trace = Some(Trace { start: state.disk.clone(), ops: Vec::new() });
    }

    /// Ends the recording and hands it over; empty if there was none.
    #[must_use]
    pub fn take_trace(&self) -> Trace {
        self.state.lock().trace.take().unwrap_or_default()
    }

    /// Marks that the workload is about to ask for the durable answer `n`.
    pub fn attempt(&self, n: u64) {
        self.state.lock().record(TraceOp::Attempted(n));
    }

    /// Marks that the workload has got the durable answer `n`.
    pub fn acknowledge(&self, n: u64) {
        self.state.lock().record(TraceOp::Acknowledged(n));
    }

    /// Plants a failure; several may be planted at once.
    pub fn inject(&self, fault: DiskFault) {
        self.state.lock().faults.push((fault, 0));
    }

    /// Removes all planted failures.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// The number of reads, writes, `set_len`s and syncs so far, those that failed included.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        self.state.lock().call_count
    }

    /// Makes every sync of every file lie: it answers success and loses the last write before it.
    ///
    /// A harness that looks for lost data must find this one (its canary).
    pub fn drop_last_write_before_sync(&self) {
        self.state.lock().drops_last_write = true;
    }

    /// Makes every sync of this file lie: it answers success and does nothing.
    ///
    /// A harness that looks for lost data must find this one too, in each file.
    pub fn ignore_syncs(&self) {
        self.state.lock().ignores_syncs.push(self.file);
    }
}

impl State {
    fn record(&mut self, op: TraceOp) {
        if let Some(trace) = &mut self.trace {
            trace.ops.push(op);
        }
    }

    fn visible(&mut self, file: usize) -> &mut DiskImage {
        self.visible.entry(file).or_default()
    }

    fn change(&mut self, file: usize, change: Change) {
        apply(self.visible(file), &change);
        self.record(TraceOp::Change(file, change.clone()));
        self.disk.file_mut(file).push(change);
    }

    fn end_sync(&mut self, file: usize, end: SyncEnd) {
        self.record(TraceOp::Sync(file, end));
        self.disk.file_mut(file).sync(end);
    }

    /// Counts a call; the failure that is planted for it, if one is.
    fn planted(&mut self, file: usize, call: DiskCall) -> Option<DiskError> {
        self.call_count += 1;
        let mut error = None;
        for (fault, seen) in &mut self.faults {
            let is_other = fault.call.is_some_and(|only| only != call);
            if is_other || fault.file.is_some_and(|only| only != file) {
                continue;
            }
            *seen += 1;
            if *seen == fault.nth || (fault.for_ever && *seen > fault.nth) {
                error = error.or(Some(fault.error));
            }
        }
        error
    }

    fn check(&mut self, file: usize, call: DiskCall) -> io::Result<()> {
        self.planted(file, call).map_or(Ok(()), |error| Err(error.to_io(call)))
    }
}

impl Disk for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().visible(self.file).len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(self.file, DiskCall::Read)?;
        if state.visible(self.file).read(offset, out) {
            Ok(())
        } else {
            Err(past_end(offset, out.len()))
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let planted = state.planted(self.file, DiskCall::Write);
        let written = match planted {
            None => data.len(),
            Some(DiskError::Short) => state.random.below(data.len()),
            Some(_) => 0,
        };
        if let Some(data) = data.get(..written)
            && !data.is_empty()
        {
            state.change(self.file, Change::Write { offset, data: Bytes::copy_from_slice(data) });
        }
        planted.map_or(Ok(()), |error| Err(error.to_io(DiskCall::Write)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(self.file, DiskCall::SetLen)?;
        state.change(self.file, Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(error) = state.planted(self.file, DiskCall::Sync) {
            let seed = state.random.next_u64();
            state.end_sync(self.file, SyncEnd::Failed { seed });
            return Err(error.to_io(DiskCall::Sync));
        }
        let end = if state.ignores_syncs.contains(&self.file) {
            SyncEnd::Ignored
        } else if state.drops_last_write {
            SyncEnd::Lie
        } else {
            SyncEnd::Done
        };
        state.end_sync(self.file, end);
        Ok(())
    }
}

fn past_end(offset: u64, len: usize) -> io::Error {
    let what = format!("{len} bytes at {offset} are past the end");
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_as_a_file_does() {
        let disk = SimDisk::new(1);
        assert!(disk.is_empty().unwrap());
        disk.set_len(16).unwrap();
        disk.write(4, b"abcd").unwrap();
        let mut out = [1; 16];
        disk.read(0, &mut out).unwrap();
        assert_eq!(&out, b"\0\0\0\0abcd\0\0\0\0\0\0\0\0");
        let error = disk.read(8, &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_trace_rebuilds_every_moment() {
        let disk = SimDisk::new(1);
        disk.write(0, b"before").unwrap();
        disk.sync().unwrap();
        disk.start_trace();
        disk.attempt(1);
        disk.write(0, b"first-").unwrap();
        disk.sync().unwrap();
        disk.acknowledge(1);
        disk.write(0, b"second").unwrap();
        let trace = disk.take_trace();
        let mut cursor = trace.cursor();
        let mut seen = Vec::new();
        loop {
            let mut random = Random::new(1);
            let durable = cursor.images(CutKind::LoseAll, &mut random)[&0].to_bytes();
            let visible = cursor.images(CutKind::KeepAll, &mut random)[&0].to_bytes();
            seen.push((durable, visible, cursor.acknowledged()));
            if !cursor.step() {
                break;
            }
        }
        let seen: Vec<_> = seen.iter().map(|(d, v, n)| (&d[..], &v[..], *n)).collect();
        let (before, first) = (&b"before"[..], &b"first-"[..]);
        let expected = [
            (before, before, 0),
            (before, before, 0),
            (before, first, 0),
            (first, first, 0),
            (first, first, 1),
            (first, &b"second"[..], 1),
        ];
        assert_eq!(seen, expected);
        assert_eq!((trace.sync_count(), trace.len()), (1, 5));
    }

    #[test]
    fn planted_failures_strike_where_they_are_planted() {
        let disk = SimDisk::new(1);
        disk.inject(DiskFault::nth(2, DiskError::Io).for_ever());
        disk.write(0, b"a").unwrap();
        assert!(disk.write(0, b"b").is_err());
        assert!(disk.sync().is_err());
        assert_eq!(disk.bytes(), b"a");
        disk.clear_faults();
        disk.inject(DiskFault::nth(1, DiskError::Short).of(DiskCall::Write));
        disk.sync().unwrap();
        assert!(disk.write(0, b"long write").is_err());
        assert_eq!(disk.call_count(), 5);
    }

    #[test]
    fn files_are_synced_one_by_one_and_cut_together() {
        let disk = SimDisk::new(1);
        let other = disk.file(1);
        disk.write(0, b"a").unwrap();
        other.write(0, b"b").unwrap();
        other.sync().unwrap();
        let cut = disk.power_cut(CutKind::LoseAll, 1);
        assert_eq!((cut.bytes(), cut.file(1).bytes()), (vec![], b"b".to_vec()));
        let killed = other.process_kill(1);
        assert_eq!((killed.bytes(), killed.file(0).bytes()), (b"b".to_vec(), b"a".to_vec()));
        disk.inject(DiskFault::nth(1, DiskError::Io).on(1));
        disk.sync().unwrap();
        assert!(other.sync().is_err());
        other.ignore_syncs();
        other.write(1, b"c").unwrap();
        other.sync().unwrap();
        disk.write(1, b"c").unwrap();
        disk.sync().unwrap();
        let cut = disk.power_cut(CutKind::LoseAll, 1);
        assert_eq!((cut.bytes(), cut.file(1).bytes()), (b"ac".to_vec(), b"b".to_vec()));
    }

    #[test]
    fn a_lying_disk_loses_what_it_acknowledged() {
        let disk = SimDisk::new(1);
        disk.drop_last_write_before_sync();
        disk.write(0, b"a").unwrap();
        disk.write(1, b"b").unwrap();
        disk.sync().unwrap();
        assert_eq!(disk.bytes(), b"ab");
        assert_eq!(disk.power_cut(CutKind::KeepAll, 1).bytes(), b"a");
    }
}
