//! What was measured on, and with which versions.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LOCK: &str = include_str!("../../../Cargo.lock");

/// A few lines: the command, the machine and the versions.
pub(super) fn description(arguments: &[String], folder: &Path, elapsed: Duration) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let sqlite = rusqlite::version();
    format!(
        "`cargo run --release -p datafold-bench -- {}`, {:.0} minutes and {} seconds, {}: {cores} \
         cores ({}), {:.0} GB of memory, {} {}, Linux {}; {}; redb {}, sled {}, SQLite {sqlite}.",
        arguments.join(" "),
        elapsed.as_secs() / 60,
        elapsed.as_secs() % 60,
        output("date", &["+%F"]),
        processor(),
        memory_bytes() / 1e9,
        file_system(folder),
        load(),
        read("/proc/sys/kernel/osrelease"),
        output("rustc", &["--version"]),
        version("redb"),
        version("sled"),
    )
}

/// A file of the system, or nothing.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| format!("{program} unknown"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// What stands behind the colon of the first line that begins so.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn processor() -> String {
    field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.into())
}

fn memory_bytes() -> f64 {
    let total = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    total.trim_end_matches(" kB").parse::<f64>().unwrap_or_default() * 1024.0
}

/// How busy the machine was in the last quarter of an hour, of which this run was a part.
fn load() -> String {
    let load = read("/proc/loadavg");
    format!("(load {} in the last 15 minutes)", load.split(' ').nth(2).unwrap_or("unknown"))
}

/// The kind of file system that a folder is in.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap();
    let mounts = read("/proc/mounts");
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let over = fields.filter(|fields| folder.starts_with(fields[1]));
    let nearest = over.max_by_key(|fields| fields[1].len());
    nearest.map_or_else(String::new, |fields| fields[2].to_owned())
}

/// The version of a crate in the lock file.
fn version(name: &str) -> &'static str {
    let at = format!("name = \"{name}\"\nversion = \"");
    let rest = LOCK.split_once(at.as_str()).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_the_lock_file() {
        assert_eq!(version("sled"), "0.34.7");
        assert!(version("redb").starts_with("4."));
        assert_eq!(version("no-such-crate"), "");
    }
}
