//! `quickstart`: a tour with real data, which can be repeated and picked up where it was left.

mod changes;
mod data;
mod tour;

use std::io::Cursor;
use std::path::Path;

use datafold::QueryRequest;
use datafold::data_layer::CommitNumber;
use datafold::engine::{ImportFormat, ImportOptions, KeyCondition};
use datafold::model::{SchemaName, SchemaState};

use self::changes::{CANCELLED, CHANGES, Change, WORST};
use self::data::{TABLES, Table};
use self::tour::Tour;
use crate::Done;
use crate::commands::init::Created;
use crate::commands::{history, import, init, query, stats, why};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::invocation::{Invocation, quote};
use crate::key::parse_key;
use crate::output::{Count, counted};
use crate::session::Session;

/// The flights that the tour looks at: HA 51 from 8 to 12 January.
const FROM: &str = r#"["HA", 51, "2013-01-08T00:00:00Z"]"#;
const TO: &str = r#"["HA", 51, "2013-01-13T00:00:00Z"]"#;
const SELECT: &str = "time_hour,tailnum,dep_time,dep_delay,arr_delay,dest,speed,delay_class";

/// So many versions of a record are shown: those before and behind the change.
const VERSIONS_SHOWN: usize = 7;

/// Gives the tour in the store at `dir`.
pub(crate) fn run(dir: &Path, invocation: &Invocation) -> Done {
    if invocation.store_given {
        let failure = Failure::new(Exit::Usage, "quickstart makes a store of its own");
        return Err(failure.hint("name its folder with --dir instead of --store"));
    }
    let Some(url) = dir.to_str() else {
        return Err(Failure::new(Exit::Usage, format!("{} is not UTF-8", dir.display())));
    };
    let invocation = invocation.with_store(url);
    let mut tour = Tour::begin("DataFold quickstart: the flights from New York, January 2013")?;
    let session = create(&mut tour, &invocation)?;
    load_schemas(&mut tour, &session)?;
    load_data(&mut tour, &session)?;
    let before = change(&mut tour, &session)?;
    show(&mut tour, &session, before)?;
    show_counts(&mut tour, &session)?;
    say_what_next(&mut tour, &session, before)?;
    tour.flush()?;
    session.close()
}

fn create<'a>(tour: &mut Tour, invocation: &'a Invocation) -> Result<Session<'a>, Failure> {
    tour.step("A store, which is a folder")?;
    tour.command(&invocation.command("init"))?;
    let opened = init::open_or_create(invocation);
    let (session, created) = opened.map_err(|failure| match failure.message() {
        text if text.contains("is not a DataFold store") => {
            failure.hint("choose a new folder with --dir")
        }
        _ => failure,
    })?;
    let store = &invocation.store;
    tour.done(match created {
        Created::Nothing => format!("{store} is there"),
        _ => format!("created {store}"),
    })?;
    Ok(session)
}

fn load_schemas(tour: &mut Tour, session: &Session<'_>) -> Done {
    tour.step("Schemas: what the data must be like. Nothing is read or written before approval")?;
    let mut names = Vec::new();
    let mut waiting = Vec::new();
    for Table { schema, definition, .. } in &TABLES {
        let source = format!("examples/nycflights/schemas/{schema}.json");
        let loaded = session.db.schemas().load_text(definition, Some(&source));
        let name = loaded.map_err(|error| session.fail(&error))?.name;
        let entry = session.db.pool().schemas().entry(name.as_str());
        names.push(name.to_string());
        if entry.is_some_and(|entry| entry.state == SchemaState::Available) {
            waiting.push(name);
        }
    }
    let names = names.join(" ");
    let invocation = session.invocation;
    tour.command(&invocation.command("schema load examples/nycflights/schemas"))?;
    tour.command(&invocation.command(&format!("schema approve {names}")))?;
    if waiting.is_empty() {
        return tour.done(format!("{} schemas are there", TABLES.len()));
    }
    let approved = session.db.schemas().set_states(&waiting, SchemaState::Approved, None);
    let receipt = approved.map_err(|error| session.fail(&error))?;
    let count = counted(waiting.len() as u64, "schema");
    tour.done(format!("approved {count} in commit {}", receipt.commit))
}

fn load_data(tour: &mut Tour, session: &Session<'_>) -> Done {
    tour.step("Data: five files, a thousand rows a commit")?;
    // The changes begin when all data are there, and may have made them fewer.
    let [first, ..] = &CHANGES;
    let is_complete = first.commit(session)?.is_some();
    let counts = session.db.stats().map_err(|error| session.fail(&error))?.schemas;
    for table in &TABLES {
        let Table { schema, file, .. } = table;
        let import = format!("import {schema} examples/nycflights/{file} --null NA");
        tour.command(&session.invocation.command(&import))?;
        let stats = counts.iter().find(|stats| stats.name.as_str() == *schema);
        let found = stats.map_or(0, |stats| stats.counters.records);
        if is_complete || found >= table.records {
            tour.done(format!("{schema}: {} records are there", Count(found)))?;
            continue;
        }
        tour.flush()?;
        tour.done(load_table(session, table)?)?;
    }
    Ok(())
}

fn load_table(session: &Session<'_>, table: &Table) -> Result<String, Failure> {
    let schema = SchemaName::parse(table.schema);
    let schema = schema.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let nulls = vec!["NA".to_owned()];
    let options = ImportOptions { nulls, ..ImportOptions::new(ImportFormat::Csv) };
    let (rows, size) = (Cursor::new(table.rows), table.rows.len() as u64);
    let stop = Interrupt::default();
    let done = import::import(session, &schema, rows, Some(size), &options, &stop);
    match (done.failure, done.report.errors.first()) {
        (Some(failure), _) => Err(failure.at(table.file)),
        (None, None) => Ok(done.summary.unwrap_or_default()),
        (None, Some(error)) => {
            let place = format!("{}:{}", table.file, error.line);
            Err(Failure::new(Exit::Invalid, error.message.as_str()).at(place))
        }
    }
}

/// Makes the changes that are not made yet; answers the last commit before those of flights.
fn change(tour: &mut Tour, session: &Session<'_>) -> Result<CommitNumber, Failure> {
    tour.step("Changes: each line is one commit, durable when it is answered")?;
    let mut before = None;
    for change in &CHANGES {
        let Change { why, request, .. } = change;
        tour.text(why)?;
        let mutate = session.invocation.command("mutate -");
        tour.command(&format!("echo {} | {mutate}", quote(request)))?;
        let commit = match change.commit(session)? {
            Some(commit) => {
                tour.done(format!("made in commit {commit}"))?;
                commit
            }
            None => {
                let commit = change.make(session)?;
                tour.done(format!("commit {commit}"))?;
                commit
            }
        };
        if change.is_of_flights() {
            before.get_or_insert(CommitNumber(commit.0.saturating_sub(1)));
        }
    }
    Ok(before.unwrap_or_default())
}

fn show(tour: &mut Tour, session: &Session<'_>, before: CommitNumber) -> Done {
    tour.step("A query, by a range of keys. Null stands for what is not there")?;
    show_flights(tour, session, None)?;
    tour.step("The history of a record: nothing is overwritten")?;
    let history = format!("history Flight {} --limit {VERSIONS_SHOWN}", quote(WORST));
    tour.command(&session.invocation.command(&history))?;
    let atoms = changes::history_of_worst(session, VERSIONS_SHOWN)?;
    let mut rows = tour.table(history::COLUMNS.map(str::to_owned).to_vec())?;
    for atom in &atoms {
        rows.row(&history::row_of(atom))?;
    }
    rows.finish()?;
    tour.step("Why a computed field has its value: what it read, and who wrote that")?;
    let airline = r#"["HA"]"#;
    for (what, schema, key, field) in [
        ("The flight that was cancelled:", "Flight", CANCELLED, "delay_class"),
        ("The average of an airline, which follows its flights:", "Airline", airline, "dep_delay"),
    ] {
        tour.text(what)?;
        let why = format!("why {schema} {} {field}", quote(key));
        tour.command(&session.invocation.command(&why))?;
        let found = changes::why(session, schema, key, field)?;
        tour.lines(&why::tree(&found.lineage))?;
        tour.remark(why::as_of_line(&found))?;
    }
    tour.step("The same query, as it would have been answered before the changes")?;
    show_flights(tour, session, Some(before))
}

fn show_flights(tour: &mut Tour, session: &Session<'_>, as_of: Option<CommitNumber>) -> Done {
    let moment = as_of.map(|commit| format!(" --as-of {commit}")).unwrap_or_default();
    let (from, to) = (quote(FROM), quote(TO));
    let query = format!("query Flight --from {from} --to {to} --select {SELECT}{moment}");
    tour.command(&session.invocation.command(&query))?;
    let schema = SchemaName::parse("Flight");
    let schema = schema.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let request = QueryRequest {
        select: Some(SELECT.split(',').map(str::to_owned).collect()),
        key: KeyCondition::Range { from: Some(parse_key(FROM)?), to: Some(parse_key(TO)?) },
        as_of: as_of.map(|commit| commit.to_string()),
        ..QueryRequest::new(schema)
    };
    let rows = tour.table(query::columns(session, &request)?)?;
    let (end, count, _) = query::print_records(session, &request, rows, None)?;
    tour.remark(format!("{}{}", counted(count, "record"), query::as_of(&end)))
}

fn show_counts(tour: &mut Tour, session: &Session<'_>) -> Done {
    tour.step("What there is now")?;
    tour.command(&session.invocation.command("stats"))?;
    let stats = session.db.stats().map_err(|error| session.fail(&error))?;
    let mut rows = tour.table(stats::COLUMNS.map(str::to_owned).to_vec())?;
    for row in stats::rows(&stats) {
        rows.row(&row)?;
    }
    rows.finish()?;
    let (commits, size) = (counted(stats.commit.0, "commit"), stats::size(stats.size_bytes));
    tour.remark(format!("{commits}, {size} on disk"))
}

fn say_what_next(tour: &mut Tour, session: &Session<'_>, before: CommitNumber) -> Done {
    tour.heading("Try next")?;
    let wind = quote(r#"["EWR", "2013-02-12T08:00:00Z"]"#);
    let airline = concat!(
        r#"{"mutation": "create", "schema": "Airline", "#,
        r#""records": [{"carrier": "ZZ", "name": "My Airline"}]}"#,
    );
    let mutate = session.invocation.command("mutate -");
    for (why, command) in [
        (
            "the wind that there never was",
            session.invocation.command(&format!("history Weather {wind} wind_speed")),
        ),
        (
            "every version of one field",
            session.invocation.command(&format!("history Flight {} dep_delay", quote(WORST))),
        ),
        (
            "a flight that is deleted now",
            session.invocation.command(&format!(
                "query Flight --key {} --as-of {before}",
                quote(r#"["HA", 51, "2013-01-11T14:00:00Z"]"#)
            )),
        ),
        (
            "records as CSV, or with --format ndjson as lines of JSON",
            session.invocation.command(&format!(
                "query Flight --prefix {} --select time_hour,dep_delay --format csv",
                quote(r#"["UA", 1545]"#)
            )),
        ),
        (
            "the airlines by their average delay, of flights of 1,000 miles and more",
            session.invocation.command(&format!(
                "query Flight --where {} --group-by carrier --aggregate {} --sort {}",
                quote("distance >= 1000"),
                quote("flights = count(), late = avg(dep_delay)"),
                quote("late desc"),
            )),
        ),
        (
            "how the flights left, by a computed field",
            session.invocation.command(&format!(
                "query Flight --group-by delay_class --aggregate {}",
                quote("flights = count(), mph = avg(speed)"),
            )),
        ),
        (
            "the airlines with their average delay, which follows the flights",
            session
                .invocation
                .command(&format!("query Airline --sort {}", quote("dep_delay desc"))),
        ),
        ("what depends on the delay", session.invocation.command("impact Flight dep_delay")),
        ("ask on, line by line, with completion", session.invocation.command("shell")),
        ("an airline of your own", format!("echo {} | {mutate}", quote(airline))),
        ("what a flight consists of", session.invocation.command("schema show Flight")),
        ("whether everything fits together", session.invocation.command("verify")),
        ("a store for your own data", session.invocation.with_default_store().command("init")),
    ] {
        tour.suggestion(why, &command)?;
    }
    Ok(())
}
