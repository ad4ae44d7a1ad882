//! Test doubles of DataFold: simulated disks, faulty stores, models and the conformance suite.
