//! Fuzz bodies of what the command line reads itself. Each has the name of its target.

use std::io::{Cursor, Read, Write};

use clap::{CommandFactory, FromArgMatches};
use datafold::model::Value;
use datafold_testkit::{Fuzz, Verdict};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::args::Cli;
use crate::commands::unpack;
use crate::failure::Exit;
use crate::key::parse_key;

#[test]
fn cli_key() {
    let seeds = ["N14228", "1545", "-5", "\"06\"", "06", "true", "[\"UA\", 1545]", "[broken"];
    let words = ["[", "]", "\"", "{", "}", "null", " ", "1e400", "-0.0", "\\u0000"];
    Fuzz::new("cli_key").seeds(seeds).words(words).run(|input| {
        let text = String::from_utf8_lossy(input);
        match parse_key(&text) {
            Ok(parts) => {
                assert!(parts.iter().all(|part| part.check().is_ok()));
                // Written as JSON, the key is the same one.
                let json = Value::Array(parts.clone()).to_json();
                assert_eq!(parse_key(&json).unwrap(), parts, "{json}");
                Verdict::accepted(parts.len().min(3) as u64)
            }
            Err(failure) => {
                assert_eq!(failure.exit(), Exit::Usage);
                Verdict::refused("key")
            }
        }
    });
}

#[test]
fn cli_gzip() {
    let gzip = |text: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let seeds = [gzip(b"a,b\n1,2\n"), gzip(&[b'x'; 5_000]), b"a,b\n".to_vec(), vec![0x1F]];
    Fuzz::new("cli_gzip").seeds(seeds).cost(4).run(|input| {
        let mut text = Vec::new();
        let unpacked = unpack(Cursor::new(input.to_vec())).unwrap();
        let read = unpacked.take(1 << 20).read_to_end(&mut text);
        match read {
            Ok(_) if !input.starts_with(&[0x1F, 0x8B]) => {
                assert_eq!(text, input);
                Verdict::accepted(0)
            }
            Ok(_) => Verdict::accepted(1),
            Err(_) => Verdict::refused("gzip"),
        }
    });
}

/// Arguments, one a line: they are read, or answered with help or an error of usage.
#[test]
fn cli_args() {
    let seeds = [
        "query\nFlight\n--select\ncarrier,distance\n--key\n[\"UA\",1]\n--as-of\n-2h",
        "history\nFlight\n[\"UA\"]\nnote\n--before\n7\n--limit\n3",
        "elements\nItem\n1\nof\n--prefix\na\n--reverse\n--limit\n2",
        "import\nFlight\nfile.csv\n--batch\n10\n--store\nmemory:\n--format\njson",
        "schema\napprove\nFlight\nItem\n--space\nx",
    ];
    let words = [
        "--",
        "-",
        "--help",
        "\n",
        "--limit=0",
        "--format=csv",
        "\u{feff}",
        "=",
        "18446744073709551616",
    ];
    Fuzz::new("cli_args").seeds(seeds).words(words).cost(200).run(|input| {
        let text = String::from_utf8_lossy(input);
        let words = ["datafold"].into_iter().chain(text.split('\n'));
        let read = Cli::command().try_get_matches_from(words);
        match read.and_then(|matches| Cli::from_arg_matches(&matches)) {
            Ok(_) => Verdict::accepted(0),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                Verdict::refused(&error.kind().to_string())
            }
        }
    });
}
