//! A disk in memory that loses, tears and fails what a real one may.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use datafold_store::Disk;
use parking_lot::Mutex;

use crate::trace::TraceOp;
use crate::write_back::{Change, SyncEnd, WriteBack, apply};
use crate::{CutKind, DiskCall, DiskError, DiskFault, DiskImage, Random, Trace};

/// A simulated disk: a cloneable handle to shared bytes, so that a test keeps it after the store
/// is gone.
///
/// It knows the bytes as the running process sees them, the bytes that are durable, and the
/// changes between the two. All of its choices follow from its seed.
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
}

#[derive(Debug)]
struct State {
    visible: DiskImage,
    disk: WriteBack,
    /// What has happened since the recording began.
    trace: Option<Trace>,
    /// Each with the number of calls that it has counted.
    faults: Vec<(DiskFault, u64)>,
    call_count: u64,
    drops_last_write: bool,
    random: Random,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_image(DiskImage::new(), seed)
    }

    /// A disk that holds `image`, all of it durable.
    #[must_use]
    pub fn from_image(image: DiskImage, seed: u64) -> Self {
        let state = State {
            visible: image.clone(),
            disk: WriteBack::new(image),
            trace: None,
            faults: Vec::new(),
            call_count: 0,
            drops_last_write: false,
            random: Random::new(seed),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The bytes as the running process sees them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.state.lock().visible.to_bytes()
    }

    /// The bytes as the running process sees them.
    #[must_use]
    pub fn image(&self) -> DiskImage {
        self.state.lock().visible.clone()
    }

    /// The bytes that are durable.
    #[must_use]
    pub fn durable_image(&self) -> DiskImage {
        self.state.lock().disk.durable.clone()
    }

    /// The number of changes that were not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.lock().disk.changes.len()
    }

    /// The disk that a machine finds when it starts again after the power failed now.
    #[must_use]
    pub fn power_cut(&self, kind: CutKind, seed: u64) -> SimDisk {
        let image = self.state.lock().disk.after_cut(kind, &mut Random::new(seed));
        SimDisk::from_image(image, seed)
    }

    /// The disk that a new process finds after the old one was killed: all that was written, with
    /// no planted failures.
    #[must_use]
    pub fn process_kill(&self, seed: u64) -> SimDisk {
        SimDisk::from_image(self.image(), seed)
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

    /// Makes every sync lie: it answers success and loses the last write before it.
    ///
    /// A harness that looks for lost data must find this one (its canary).
    pub fn drop_last_write_before_sync(&self) {
        self.state.lock().drops_last_write = true;
    }
}

impl State {
    fn record(&mut self, op: TraceOp) {
        if let Some(trace) = &mut self.trace {
            trace.ops.push(op);
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.visible, &change);
        self.record(TraceOp::Change(change.clone()));
        self.disk.push(change);
    }

    fn end_sync(&mut self, end: SyncEnd) {
        self.record(TraceOp::Sync(end));
        self.disk.sync(end);
    }

    /// Counts a call; the failure that is planted for it, if one is.
    fn planted(&mut self, call: DiskCall) -> Option<DiskError> {
        self.call_count += 1;
        let mut error = None;
        for (fault, seen) in &mut self.faults {
            if fault.call.is_some_and(|only| only != call) {
                continue;
            }
            *seen += 1;
            if *seen == fault.nth || (fault.for_ever && *seen > fault.nth) {
                error = error.or(Some(fault.error));
            }
        }
        error
    }

    fn check(&mut self, call: DiskCall) -> io::Result<()> {
        self.planted(call).map_or(Ok(()), |error| Err(error.to_io(call)))
    }
}

impl Disk for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().visible.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(DiskCall::Read)?;
        if state.visible.read(offset, out) { Ok(()) } else { Err(past_end(offset, out.len())) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let planted = state.planted(DiskCall::Write);
        let written = match planted {
            None => data.len(),
            Some(DiskError::Short) => state.random.below(data.len()),
            Some(_) => 0,
        };
        if let Some(data) = data.get(..written)
            && !data.is_empty()
        {
            state.change(Change::Write { offset, data: Bytes::copy_from_slice(data) });
        }
        planted.map_or(Ok(()), |error| Err(error.to_io(DiskCall::Write)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(DiskCall::SetLen)?;
        state.change(Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(error) = state.planted(DiskCall::Sync) {
            let seed = state.random.next_u64();
            state.end_sync(SyncEnd::Failed { seed });
            return Err(error.to_io(DiskCall::Sync));
        }
        let lies = state.drops_last_write;
        state.end_sync(if lies { SyncEnd::Lie } else { SyncEnd::Done });
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
            let durable = cursor.image(CutKind::LoseAll, &mut random).to_bytes();
            let visible = cursor.image(CutKind::KeepAll, &mut random).to_bytes();
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
