//! What `--help` says behind the options: the forms of what is read, and examples.

/// Of the program.
pub(crate) const PROGRAM: &str = "\
Start with `datafold quickstart`: it loads real data and shows what can be done with them. With
data of your own: init, schema load, schema approve, import or mutate, query.

A KEY is a scalar, or a JSON array for a key of several fields: N14228, '[\"UA\",1545]'.
A MOMENT is a commit number, an RFC 3339 time, or a time ago such as -2h or -1d12h.

Results go to standard output, everything else to standard error. NO_COLOR takes the colours away.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused, 5 invalid data,
6 store unavailable or damaged, 130 interrupted.";

/// Of `schema load`.
pub(crate) const SCHEMA_LOAD: &str = r#"A schema is a JSON object:

  { "name": "City", "description": "Cities of the region", "key": ["name"],
    "fields": {
      "name":   { "value": { "type": "string" } },
      "people": { "value": { "type": ["integer", "null"] }, "description": "Inhabitants" } } }

Only `name` and `fields` are needed.
`key` names the fields that tell records apart; without it there is one record. `value` is a
JSON Schema that the values of a field must fit; without it any JSON does. A field has one value,
or with "field_type": "Collection" or "Range" elements by id or by ordered key.

Of a folder, the files *.json are loaded, sorted by name. A file that cannot be loaded does not
stop the others. A definition that is there already does not change: give a new one a new name, or
if only computed fields differ in how they are computed, see `datafold schema revise`.

Examples:
  datafold schema load city.json
  datafold schema load schemas/ more/plane.json"#;

/// Of `mutate`.
pub(crate) const MUTATE: &str = r#"A line is one of:

  {"mutation": "create", "schema": "City", "records": [{"name": "Ulm", "people": 126000}]}
  {"mutation": "update", "schema": "City", "records": [{"name": "Ulm", "people": null}]}
  {"mutation": "upsert", "schema": "City", "records": [{"name": "Bonn"}]}
  {"mutation": "delete", "schema": "City", "keys": ["Ulm", "Bonn"]}
  {"mutation": "put", "schema": "Shop", "key": "Ulm", "field": "stock", "elements": {"cake": 2}}
  {"mutation": "remove", "schema": "Shop", "key": "Ulm", "field": "stock", "elements": ["cake"]}
  {"transaction": [LINE, LINE, …], "if": [{"schema": "City", "key": "Ulm", "unchanged_since": 3}]}

create: the record must be absent. update: it must exist; the given fields are merged, and null
takes a value away. upsert: creates or merges. put: writes elements of a Collection or Range field;
with "if": "absent" they are new, with "if": "exists" they are there. A transaction is all or
nothing; its conditions are "unchanged_since", "exists" and "absent".

A line is answered by {"commit", "time", "atoms"} or {"error": {"code", "message"}, "line"}.

Examples:
  datafold mutate changes.ndjson
  echo '{"mutation": "delete", "schema": "City", "keys": ["Ulm"]}' | datafold mutate -"#;

/// Of `query`.
pub(crate) const QUERY: &str = r#"Examples:
  datafold query Flight --prefix '["UA", 1545]' --select time_hour,dep_delay
  datafold query Flight --from UA --to VX --limit 100
  datafold query Flight --prefix UA --as-of -2h --format csv
  datafold query Flight --where 'distance > 1000 && dest == "IAH"' --sort 'dep_delay desc'
  datafold query Flight --select 'flight, mph = round(distance / air_time * 60, 1)' --limit 10
  datafold query Flight --group-by carrier --aggregate 'n = count(), late = avg(dep_delay)'
  datafold query Flight --where 'Plane[tailnum].seats > $min' --param min=300 --explain
  datafold query Flight --select carrier,distance --price --market-rate 100 --distance 2

Expressions are those of docs/language.md: names of fields, `Schema[key].field` for a record of
another schema, $NAME for a parameter. Aggregates are count, count_distinct, sum, min, max and avg.
The key and indexes are used where they can serve; --explain tells how.

A prefix is of whole parts of the key: --prefix UA finds all flights of UA. --from is included,
--to is not.

The JSON form, for --file:

  { "schema": "Flight", "select": ["carrier", "flight"],
    "key": { "prefix": ["UA"] },        or "exact", or "from" and "to"
    "where": "distance > $min", "parameters": { "min": 1000 },
    "group_by": ["carrier"], "aggregates": ["n = count()"], "having": "n > 100",
    "distinct": false,
    "sort": ["n desc"], "limit": 10, "cursor": null, "as_of": 42 }"#;

/// Of `export`.
pub(crate) const EXPORT: &str = r#"Examples:
  datafold export Flight --output flights.ndjson.gz
  datafold export Flight --where 'carrier == "UA"' --format csv > ua.csv
  datafold export Plane --as-of 2026-01-01T00:00:00Z -o planes.ndjson

The options are those of `query`. An import of the file gives the same records; null is an empty
cell of CSV, so that it needs `import --null ''`."#;

/// Of `shell`.
pub(crate) const SHELL: &str = r#"Every command can be typed without `datafold`, such as

  query Flight --where 'distance > 1000'
  history Plane N14228

A line that ends in `\` or within quotes goes on in the next one. Ctrl-C clears the line, and ends a
query that runs. Tab completes commands, options, schemas, fields and functions; the arrow keys and
Ctrl-R find earlier lines. `.help` tells more."#;

/// Of `history`.
pub(crate) const HISTORY: &str = r#"Examples:
  datafold history Plane N14228
  datafold history Flight '["UA", 1545, "2013-01-01T10:00:00Z"]' dep_delay --limit 5"#;

/// Of `why`.
pub(crate) const WHY: &str = r#"Below a computed value stand the values that its transform
read in the commit in which it computed, and so on, down to those that people wrote. Each line names
the atom's writer, commit and time. If the last computation failed, it tells the error and what it
read then.

Examples:
  datafold why Flight '["UA", 1545, "2013-01-01T10:00:00Z"]' speed
  datafold why Flight '["UA", 1545, "2013-01-01T10:00:00Z"]' delay_class --as-of -2h
  datafold why Trip 1 mph --format json"#;

/// Of `transform test`.
pub(crate) const TRANSFORM_TEST: &str = r#"A file is checked as approval does, so that
everything that is wrong is told with its place. It may have the name of a schema that is there: its
logic is then tried on the records of that one. Exit code 5 if something could not be computed.

Examples:
  datafold transform test Flight.speed
  datafold transform test Flight --key '["UA", 1545, "2013-01-01T10:00:00Z"]'
  datafold transform test --file flight.json --limit 100
  datafold transform test --file flight.json --record '{"distance": 1400, "air_time": 0}'"#;

/// Of `changes`.
pub(crate) const CHANGES: &str = r#"A change is one of:

  created   a record began to live; nothing is left of an earlier life; its values follow
  deleted   a record ended, with all fields and elements
  set       a field or element got a value
  removed   a field lost its value, or an element was removed
  loaded, dropped, state, index, transform   of schemas; the value of `state` is the new one
  failed    a field could not be computed and keeps its value; `value` tells the error
  recovered a field that had failed has a result again

Commits are not split: to go on, take the last commit and add 1.

With --follow the store is opened only when another process has written to it and closed it. A
command that begins in the very moment in which it is read finds it open, and is called again.

Examples:
  datafold changes --from 42 --before
  datafold changes --schema Plane --limit 100 --format ndjson
  datafold changes --follow --format ndjson | my-indexer"#;

/// Of `diff`.
pub(crate) const DIFF: &str = r#"Examples:
  datafold diff Plane --from -2h
  datafold diff Flight '["UA", 1545, "2013-01-01T10:00:00Z"]' --from 42 --to 69"#;

/// Of `revert`.
pub(crate) const REVERT: &str = "\
It is a new commit: history keeps what was. A record that did not exist at the moment is deleted,
one that was deleted since is created again, with its elements. What is as it was already is not
written.

--commit takes back each field and element that the commit wrote, and each record that it created
or deleted. What later commits have changed again is listed, and nothing is written; with --force
that goes, too. Commits that changed schemas are not taken back.

Examples:
  datafold revert Plane N14228 --to -2h
  datafold revert --commit 42";

/// Of `elements`.
pub(crate) const ELEMENTS: &str = r#"Examples:
  datafold elements ProductCatalog C-10 stock --prefix eu:
  datafold elements SocialPost '["ada", "2026-03-02T18:00:00Z"]' replies --reverse --limit 10"#;

/// Of `import`.
pub(crate) const IMPORT: &str = r#"The first line of CSV names the fields.
Cells are converted to their types.
A line of NDJSON is an object with the fields of a record.

A row that breaks a rule is told with its line and passed over. Rows that are there already write
nothing: an import that failed or was interrupted is completed by the same command.

Examples:
  datafold import Plane planes.csv.gz --null NA
  datafold import Flight flights-*.ndjson
  zcat flights.csv.gz | datafold import Flight - --input-format csv"#;

/// Of `exec`.
pub(crate) const EXEC: &str = r#"An operation is one of:

  {"type": "query", "schema": "UserProfile", "fields": ["username", "email"], "filter": null}
  {"type": "mutation", "schema": "UserProfile", "mutation_type": "create",
   "data": {"username": "ann", "email": "ann@example.org"}}

The kinds of mutations are create, update, delete, add_to_collection:ID, update_to_collection:ID
and delete_from_collection:ID. A query is answered by the array of the values, in the order of its
fields, a mutation by its commit. Several operations are the items of an array.

They are for schemas with one record. With a key, `data` holds the key fields, and a query names
the record by "key"."#;
