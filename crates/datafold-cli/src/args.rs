//! The arguments of the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use datafold::engine::{ImportFormat, parse_moment};
use datafold::model::{FieldName, SchemaName, Timestamp, Value};

use crate::help;
use crate::output::Format;

const ABOUT: &str = "A data node that its owner controls";

const REVERT_USAGE: &str = "\
datafold revert [OPTIONS] <SCHEMA> <KEY> --to <MOMENT>
       datafold revert [OPTIONS] --commit <N> [--force]";

const QUERY_USAGE: &str = "\
datafold query [OPTIONS] <SCHEMA>
       datafold query --file <FILE>";

const TEST_USAGE: &str = "\
datafold transform test [OPTIONS] <SCHEMA[.FIELD]>
       datafold transform test [OPTIONS] --file <FILE>";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "datafold", version, about = ABOUT, after_help = help::PROGRAM)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command has, before or behind its name.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The store: a folder, or the URL of one
    #[arg(long, global = true, value_name = "URL", env = "DATAFOLD_STORE", hide_env_values = true)]
    #[arg(default_value = "./datafold-data", help_heading = "Global options")]
    pub(crate) store: String,
    /// The space, a database of its own inside the store [default: default]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) space: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "table")]
    #[arg(help_heading = "Global options")]
    pub(crate) format: Format,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load real data into a new store, change some of it, and read it as it was
    Quickstart {
        /// The folder of the new store
        #[arg(long, default_value = "./datafold-quickstart")]
        dir: PathBuf,
    },
    /// Create the store, and the space that --space names
    Init,
    /// Load, approve and look at schemas
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Create, update and delete records, put and remove elements, as lines of JSON say
    ///
    /// Each line is a mutation or a transaction, and becomes one commit. Each is answered by a
    /// line as soon as it is durable: the commit, or an error; then the next one is carried out.
    #[command(after_long_help = help::MUTATE)]
    Mutate {
        /// The file with the lines; `-` is standard input
        file: PathBuf,
    },
    /// Read records as they are, or as they were
    #[command(override_usage = QUERY_USAGE, after_long_help = help::QUERY)]
    Query(Box<QueryArgs>),
    /// Write records to a file or standard output, as NDJSON or CSV
    ///
    /// NDJSON unless `--format csv` or `json` is given. All records are of one moment.
    #[command(after_long_help = help::EXPORT)]
    Export(Box<ExportArgs>),
    /// Type commands and queries one after the other, with history and completion
    #[command(after_long_help = help::SHELL)]
    Shell,
    /// Read elements of a Collection or Range field, as they are, or as they were
    #[command(after_long_help = help::ELEMENTS)]
    Elements(Box<ElementArgs>),
    /// Show all versions of a record, of one of its fields, or of an element, the newest first
    #[command(after_long_help = help::HISTORY)]
    History {
        /// The schema
        #[arg(value_parser = SchemaName::parse)]
        schema: SchemaName,
        /// The record
        #[arg(allow_hyphen_values = true)]
        key: String,
        /// Only this field
        #[arg(value_parser = FieldName::parse)]
        field: Option<FieldName>,
        /// Only this element of the field
        #[arg(allow_hyphen_values = true)]
        element: Option<String>,
        /// At most so many versions
        #[arg(long, value_name = "N", value_parser = one_or_more)]
        limit: Option<NonZeroUsize>,
    },
    /// Show what changed, commit by commit
    #[command(after_long_help = help::CHANGES)]
    Changes(ChangesArgs),
    /// Show what is different between two moments
    #[command(after_long_help = help::DIFF)]
    Diff(DiffArgs),
    /// Make a record, or all that a commit wrote, again what it was
    #[command(override_usage = REVERT_USAGE, after_long_help = help::REVERT)]
    Revert(RevertArgs),
    /// Create or update a record for each row of CSV or NDJSON files, gzip or not
    #[command(after_long_help = help::IMPORT)]
    Import(ImportArgs),
    /// Show what the store holds
    Stats,
    /// Copy a store, with all its spaces, to a new one of the same or another engine
    ///
    /// Commits, ids and history are the same in both, and every row is compared. The new store
    /// takes over the identity of the old one, so only one of them may be written to from then on.
    Migrate {
        /// The store to copy: a folder or a URL; it is not changed
        #[arg(long, value_name = "URL")]
        from: String,
        /// The new store: a folder that is empty or not there yet, or its URL
        #[arg(long, value_name = "URL")]
        to: String,
    },
    /// List, show, try and run computed fields
    #[command(subcommand)]
    Transform(TransformCommand),
    /// Show why a field has its value: what it was computed from, down to what people wrote
    #[command(after_long_help = help::WHY)]
    Why {
        /// The schema
        #[arg(value_parser = SchemaName::parse)]
        schema: SchemaName,
        /// The record
        #[arg(allow_hyphen_values = true)]
        key: String,
        /// The field
        #[arg(value_parser = FieldName::parse)]
        field: FieldName,
        /// As it was at this moment
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment)]
        as_of: Option<String>,
    },
    /// List the fields that are computed or mapped from a field, directly and by way of others
    Impact {
        /// The schema
        #[arg(value_parser = SchemaName::parse)]
        schema: SchemaName,
        /// The field
        #[arg(value_parser = FieldName::parse)]
        field: FieldName,
    },
    /// Read everything and check that it fits together
    Verify {
        /// Also compute every computed value again, and compare
        #[arg(long)]
        derived: bool,
    },
    /// Carry out a query or mutation in the JSON of the first DataFold
    #[command(after_long_help = help::EXEC)]
    Exec {
        /// The file with the operation; `-` is standard input
        file: PathBuf,
    },
    /// Print the manual page, or write the pages of all commands
    Man {
        /// The folder for the pages
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What is to be done with schemas.
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Load definitions, which then wait for approval
    #[command(after_long_help = help::SCHEMA_LOAD)]
    Load {
        /// JSON files, or folders with JSON files
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Change how the fields of a schema are computed
    ///
    /// Nothing else may differ from the definition that is there. Of an approved schema the records
    /// are computed again; only what has another result is written. `transform test --file` shows
    /// what would come out.
    Revise {
        /// The JSON file with the whole definition
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Let applications query and write records of schemas
    Approve(StateArgs),
    /// Refuse to query and write records of schemas
    Block(StateArgs),
    /// Take approval or block back
    Unload(StateArgs),
    /// List the schemas
    List,
    /// Show the definition of a schema
    Show {
        /// The schema
        #[arg(value_parser = SchemaName::parse)]
        name: SchemaName,
    },
    /// Show the states of the schemas, with reasons, sources and hashes
    Status,
    /// Make or drop an index over fields of a schema, or list its indexes
    Index {
        /// The schema
        #[arg(value_parser = SchemaName::parse)]
        name: SchemaName,
        /// The fields, the first one sorts first; without any the indexes are listed
        #[arg(value_name = "FIELD", value_parser = FieldName::parse)]
        fields: Vec<FieldName>,
        /// No two records may have the same values; null is never the same
        #[arg(long, requires = "fields", conflicts_with = "drop")]
        unique: bool,
        /// Drop the index over these fields
        #[arg(long, requires = "fields")]
        drop: bool,
    },
    /// Delete the definition of a schema that never had data
    Delete {
        /// The schema
        #[arg(value_parser = SchemaName::parse)]
        name: SchemaName,
    },
}

/// What is to be done with computed fields.
#[derive(Debug, Subcommand)]
pub(crate) enum TransformCommand {
    /// List the computed fields, their states, and for how many records they fail
    List {
        /// Only those of this schema
        #[arg(value_parser = SchemaName::parse)]
        schema: Option<SchemaName>,
    },
    /// Show how a field is computed, and where that failed last
    Show {
        /// The field
        #[arg(value_name = "SCHEMA.FIELD", value_parser = full_name)]
        field: FullName,
    },
    /// Show what would be computed for some records; nothing is written
    #[command(override_usage = TEST_USAGE, after_long_help = help::TRANSFORM_TEST)]
    Test(TestArgs),
    /// Compute a field again, for all records or some
    ///
    /// A result that is what the field has already writes nothing, so that it can be called any
    /// number of times.
    Run {
        /// The field
        #[arg(value_name = "SCHEMA.FIELD", value_parser = full_name)]
        field: FullName,
        /// Only the record with this key; may be given several times
        #[arg(long, allow_hyphen_values = true)]
        key: Vec<String>,
    },
    /// Compute again what has failed
    Retry {
        /// Only this field
        #[arg(value_name = "SCHEMA.FIELD", value_parser = full_name)]
        field: Option<FullName>,
    },
    /// Draw which fields are computed from which
    Graph {
        /// Only the computed fields of this schema, and what they are made from
        #[arg(value_parser = SchemaName::parse)]
        schema: Option<SchemaName>,
        /// Write a drawing to this new file
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

/// A trial of transforms.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A schema that is approved, or one of its fields
    #[arg(value_name = "SCHEMA[.FIELD]", required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// A schema file that is not approved yet
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) file: Option<PathBuf>,
    /// Only this field of the file
    #[arg(long, requires = "file", value_parser = FieldName::parse)]
    pub(crate) field: Option<FieldName>,
    /// The record with this key; may be given several times [default: the first records]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) key: Vec<String>,
    /// A record as JSON, which needs not exist; may be given several times
    #[arg(long, value_name = "JSON", conflicts_with = "key")]
    pub(crate) record: Vec<String>,
    /// So many of the first records
    #[arg(long, value_name = "N", default_value = "10", value_parser = one_or_more)]
    #[arg(conflicts_with_all = ["key", "record"])]
    pub(crate) limit: NonZeroUsize,
}

/// A field with its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullName {
    pub(crate) schema: SchemaName,
    pub(crate) field: FieldName,
}

/// Reads `SCHEMA.FIELD`.
pub(crate) fn full_name(text: &str) -> Result<FullName, String> {
    let (schema, field) = text.split_once('.').ok_or("write it as SCHEMA.FIELD")?;
    let schema = SchemaName::parse(schema).map_err(|error| error.to_string())?;
    let field = FieldName::parse(field).map_err(|error| error.to_string())?;
    Ok(FullName { schema, field })
}

/// Schemas, and why their state is changed.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// The schemas; all of them change, or none
    #[arg(required = true, value_name = "NAME", value_parser = SchemaName::parse)]
    pub(crate) names: Vec<SchemaName>,
    /// Why; `schema status` shows it
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) reason: Option<String>,
}

/// A query.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The schema
    #[arg(required_unless_present = "file", value_parser = SchemaName::parse)]
    pub(crate) schema: Option<SchemaName>,
    /// The query in its JSON form; `-` is standard input
    #[arg(long, conflicts_with_all = ["schema", "QueryFlags"])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: QueryFlags,
    #[command(flatten)]
    pub(crate) price: PriceFlags,
    /// Carry the query out and tell how, and how much it read, instead of showing records
    #[arg(long, conflicts_with = "price")]
    pub(crate) explain: bool,
}

/// What a query would cost.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PriceFlags {
    /// Show what the selected fields would cost, in satoshi, instead of reading them
    #[arg(long)]
    pub(crate) price: bool,
    /// The market's rate of one field, in satoshi, for --price
    #[arg(long, value_name = "N", default_value = "1", requires = "price")]
    pub(crate) market_rate: u64,
    /// The least price of a query, in satoshi, for --price
    #[arg(long, value_name = "N", default_value = "0", requires = "price")]
    pub(crate) base_rate: u64,
    /// The trust distance of the caller, for --price; 0 is the owner
    #[arg(long, value_name = "N", default_value = "0", requires = "price")]
    pub(crate) distance: u32,
}

/// The conditions of a query that is not in a file.
#[derive(Debug, Args)]
pub(crate) struct QueryFlags {
    /// The columns to show, in this order: fields, or `name = EXPR`
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) select: Vec<String>,
    /// Only the records for which this holds, such as `distance > 1000 && dest == 'IAH'`
    #[arg(long = "where", value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) filter: Option<String>,
    /// The value of a parameter, `$NAME` in expressions; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) parameters: Vec<(String, Value)>,
    /// The record with this key
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["prefix", "from", "to"])]
    pub(crate) key: Option<String>,
    /// The records whose key begins with this
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<String>,
    /// The records from this key on
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// The records before this key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// Group records by these columns
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) group_by: Vec<String>,
    /// Compute this of each group, or of all records: `n = count()`, `longest = max(distance)`
    #[arg(long, value_name = "AGGREGATES")]
    pub(crate) aggregate: Vec<String>,
    /// Only the groups for which this holds
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) having: Option<String>,
    /// Show equal records once
    #[arg(long)]
    pub(crate) distinct: bool,
    /// The order: columns or expressions, each with `desc` and `nulls first` or `nulls last`
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    pub(crate) sort: Vec<String>,
    /// At most so many records
    #[arg(long, value_name = "N", value_parser = one_or_more)]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Go on where an earlier answer ended
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) cursor: Option<String>,
    /// Read as it was at this moment
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment)]
    pub(crate) as_of: Option<String>,
}

/// An export.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The schema
    #[arg(value_parser = SchemaName::parse)]
    pub(crate) schema: SchemaName,
    /// The new file; one that ends in `.gz` is compressed [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: QueryFlags,
}

/// A request for elements.
#[derive(Debug, Args)]
pub(crate) struct ElementArgs {
    /// The schema
    #[arg(value_parser = SchemaName::parse)]
    pub(crate) schema: SchemaName,
    /// The record
    #[arg(allow_hyphen_values = true)]
    pub(crate) key: String,
    /// A Collection or Range field
    #[arg(value_parser = FieldName::parse)]
    pub(crate) field: FieldName,
    /// The element with this key; may be given several times
    #[arg(long, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["prefix", "from", "to", "glob", "value"])]
    pub(crate) element: Vec<String>,
    /// The elements whose key begins with this text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["from", "to", "glob", "value"])]
    pub(crate) prefix: Option<String>,
    /// The elements from this key on
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["glob", "value"])]
    pub(crate) from: Option<String>,
    /// The elements before this key
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["glob", "value"])]
    pub(crate) to: Option<String>,
    /// The elements whose key fits a pattern: `*` is any text, `?` one character
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, conflicts_with = "value")]
    pub(crate) glob: Option<String>,
    /// The elements with this value, in JSON
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// The last element first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many elements
    #[arg(long, value_name = "N", value_parser = one_or_more)]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Go on where an earlier answer ended
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) cursor: Option<String>,
    /// Read as it was at this moment
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment)]
    pub(crate) as_of: Option<String>,
}

/// Changes.
#[derive(Debug, Args)]
pub(crate) struct ChangesArgs {
    /// From this commit on
    #[arg(long, value_name = "N")]
    pub(crate) from: Option<u64>,
    /// Only changes of this schema; may be given several times
    #[arg(long, value_name = "NAME", value_parser = SchemaName::parse)]
    pub(crate) schema: Vec<SchemaName>,
    /// End behind the commit that reaches so many changes
    #[arg(long, value_name = "N", value_parser = one_or_more)]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Go on with the commits to come, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Show the value before each change, too
    #[arg(long)]
    pub(crate) before: bool,
}

/// Two moments to compare.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The schema
    #[arg(value_parser = SchemaName::parse)]
    pub(crate) schema: SchemaName,
    /// Only this record
    #[arg(allow_hyphen_values = true)]
    pub(crate) key: Option<String>,
    /// The first moment
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment)]
    pub(crate) from: String,
    /// The second moment [default: now]
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment)]
    pub(crate) to: Option<String>,
}

/// What is taken back.
#[derive(Debug, Args)]
pub(crate) struct RevertArgs {
    /// The schema of the record
    #[arg(value_parser = SchemaName::parse, required_unless_present = "commit")]
    pub(crate) schema: Option<SchemaName>,
    /// The record
    #[arg(allow_hyphen_values = true, required_unless_present = "commit")]
    pub(crate) key: Option<String>,
    /// The moment at which it was as it shall be
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment)]
    #[arg(required_unless_present = "commit")]
    pub(crate) to: Option<String>,
    /// Take back everything that this commit wrote
    #[arg(long, value_name = "N", conflicts_with_all = ["schema", "key", "to"])]
    pub(crate) commit: Option<u64>,
    /// Also what later commits have changed again
    #[arg(long, requires = "commit")]
    pub(crate) force: bool,
}

/// An import.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The schema
    #[arg(value_parser = SchemaName::parse)]
    pub(crate) schema: SchemaName,
    /// The files, one after the other; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Rows that become one commit
    #[arg(long, value_name = "N", default_value = "1000", value_parser = one_or_more)]
    pub(crate) batch: NonZeroUsize,
    /// A text that stands for a missing value in a CSV file
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) null: Vec<String>,
    /// The format of all files, if their names do not tell
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) input_format: Option<InputFormat>,
}

/// The format of rows to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// The first line names the fields
    Csv,
    /// One JSON object a line
    Ndjson,
}

impl From<InputFormat> for ImportFormat {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Csv => ImportFormat::Csv,
            InputFormat::Ndjson => ImportFormat::Ndjson,
        }
    }
}

/// Checks that a text is a moment; which one, the store's clock decides.
fn moment(text: &str) -> Result<String, String> {
    match parse_moment(text, Timestamp::MAX) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn one_or_more(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a number from 1 on is needed".to_owned())
}

/// Reads `NAME=VALUE`; a value that is no JSON is text.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let name = name.trim().trim_start_matches('$');
    FieldName::parse(name).map_err(|error| error.to_string())?;
    let value = Value::parse_json(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn moments_and_keys_may_begin_with_a_hyphen() {
        let line = ["datafold", "query", "S", "--as-of", "-2h", "--key", "-5", "--store", "x"];
        let Command::Query(query) = Cli::parse_from(line).command else { panic!("a query") };
        assert_eq!(query.flags.as_of.as_deref(), Some("-2h"));
        assert_eq!(query.flags.key.as_deref(), Some("-5"));
        let line = ["datafold", "history", "S", "-5", "--limit", "3", "f"];
        let Command::History { key, field, limit, .. } = Cli::parse_from(line).command else {
            panic!("a history")
        };
        assert_eq!((key.as_str(), limit.map(NonZeroUsize::get)), ("-5", Some(3)));
        assert_eq!(field.map(|field| field.to_string()), Some("f".into()));
    }
}
