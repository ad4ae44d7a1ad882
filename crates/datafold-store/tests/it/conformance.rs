//! The suite, once for each engine and each kind of disk.

use std::sync::Arc;

use datafold_testkit::conformance::run_program;
use datafold_testkit::{FaultStore, RecordingStore, conformance_suite, replay, seed_from_env};

use crate::harness::{FolderHarness, MemoryHarness, SimHarness, Wrapped};

conformance_suite!(memory, MemoryHarness::default());
conformance_suite!(redb_in_a_folder, FolderHarness::redb());
conformance_suite!(sled_in_a_folder, FolderHarness::sled());
conformance_suite!(redb_on_a_simulated_disk, SimHarness::default());
// The doubles of the test kit pass on what nobody has planted.
conformance_suite!(faulty_store, Wrapped::new(|store| Arc::new(FaultStore::new(store))));
conformance_suite!(recording_store, Wrapped::new(|store| Arc::new(RecordingStore::new(store))));

#[test]
fn a_program_ends_with_the_same_rows_on_every_engine() {
    let seed = seed_from_env(0xE61E);
    for program in 0..20 {
        let [memory, folder, sled, sim] = [
            run_program(&MemoryHarness::default(), seed, program, 100),
            run_program(&FolderHarness::redb(), seed, program, 100),
            run_program(&FolderHarness::sled(), seed, program, 100),
            run_program(&SimHarness::default(), seed, program, 100),
        ];
        assert!(memory.is_ok(), "{memory:?}\n  {}", replay(seed));
        assert_eq!(memory, folder, "{}", replay(seed));
        assert_eq!(memory, sled, "{}", replay(seed));
        assert_eq!(memory, sim, "{}", replay(seed));
    }
}
