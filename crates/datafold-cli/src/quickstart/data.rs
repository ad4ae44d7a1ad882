//! The schemas and data of `examples/nycflights`, kept inside the program.

/// A schema and its records.
#[derive(Debug)]
pub(crate) struct Table {
    /// The name of the schema.
    pub(crate) schema: &'static str,
    /// Its definition.
    pub(crate) definition: &'static str,
    /// The name of the file with the records.
    pub(crate) file: &'static str,
    /// The file, CSV or CSV in gzip; `NA` stands for null.
    pub(crate) rows: &'static [u8],
    /// How many records it has.
    pub(crate) records: u64,
}

macro_rules! example {
    ($($path:literal)+) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/nycflights/", $($path),+)
    };
}

macro_rules! table {
    ($schema:literal, $file:literal, $records:literal) => {
        Table {
            schema: $schema,
            definition: include_str!(example!("schemas/" $schema ".json")),
            file: $file,
            rows: include_bytes!(example!($file)),
            records: $records,
        }
    };
}

/// In the order in which they are loaded.
pub(crate) const TABLES: [Table; 5] = [
    table!("Airline", "airlines.csv", 16),
    table!("Airport", "airports.csv.gz", 1_458),
    table!("Plane", "planes.csv.gz", 3_322),
    table!("Weather", "weather.csv.gz", 26_115),
    table!("Flight", "flights-2013-01.csv.gz", 27_004),
];
