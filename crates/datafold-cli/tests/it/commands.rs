//! `init`, `query`, `history`, `stats`, `verify`, `completions`, and the global options.

use serde_json::json;

use crate::Folder;

#[test]
fn init_creates_once_and_makes_no_commit() {
    let folder = Folder::empty();
    let first = folder.run(["init", "--format", "json"]).json();
    assert_eq!(first, json!({"store": "./datafold-data", "space": "default", "created": "store"}));
    assert!(folder.path("datafold-data").is_dir());
    assert!(folder.run(["init"]).done().contains("is there already"));
    let space = folder.run(["--space", "lab", "init"]).done();
    assert_eq!(space, "created the space `lab` in ./datafold-data\n");
    let again = folder.run(["init", "--space", "lab", "--format", "ndjson"]).json();
    assert_eq!(again["created"], "nothing");
    for space in ["default", "lab"] {
        let stats = folder.run(["stats", "--space", space, "--format", "json"]).json();
        assert_eq!((&stats["commit"], &stats["time"]), (&json!(0), &json!(null)), "{space}");
    }
}

#[test]
fn init_does_not_say_that_it_creates_what_it_finds() {
    let folder = Folder::with_cities();
    for (format, answer) in [
        ("table", "./datafold-data is there already, with 3 commits in `default`\n"),
        ("csv", "store,space,created\n./datafold-data,default,nothing\n"),
    ] {
        std::fs::remove_file(folder.path("datafold-data/STORE.json")).unwrap();
        let again = folder.run(["init", "--format", format]);
        assert_eq!((again.out.as_str(), again.err.as_str()), (answer, ""));
    }
    assert_eq!(folder.run(["stats", "--format", "json"]).json()["records"], 3);
}

#[test]
fn the_store_is_named_by_option_or_environment_anywhere() {
    let folder = Folder::empty();
    folder.run(["init", "--store", "a"]).done();
    let stats = folder.run(["stats", "--format=json", "--store", "a"]).json();
    assert_eq!(stats["store"], "a");
    let stats = folder.command(["--format", "json", "stats"]).env("DATAFOLD_STORE", "a").output();
    assert!(stats.unwrap().status.success());
    assert!(!folder.path("datafold-data").exists());
}

#[test]
fn queries_have_conditions_groups_and_an_order() {
    let folder = Folder::with_cities();
    let query = |flags: &[&str]| {
        folder.run(["query", "City", "--format", "csv"].iter().chain(flags)).done()
    };
    assert_eq!(
        query(&["--where", "people > $least", "--param", "least=130000", "--select", "name"]),
        "name\nAachen\n"
    );
    assert_eq!(
        query(&["--select", "name, thousands = round(people / 1000, 0)", "--sort", "people desc"]),
        "name,thousands\nAachen,249\nUlm,126\nBonn,\n"
    );
    assert_eq!(
        query(&[
            "--group-by",
            "known = people != null",
            "--aggregate",
            "n = count(), p = max(people)"
        ]),
        "known,n,p\nfalse,1,\ntrue,2,249000\n"
    );
    assert_eq!(query(&["--select", "known = mayor != null", "--distinct"]), "known\nfalse\ntrue\n");
    let explain = folder.run(["query", "City", "--where", "name == 'Ulm'", "--explain"]).done();
    assert_eq!(explain, "1. read the key: name == \"Ulm\"\nrows read: 1\nrows returned: 1\n");
    let explain = folder.run(["query", "City", "--explain", "--format", "json"]).json();
    assert_eq!(explain["rows_read"], 3);
    let wrong = folder.run(["query", "City", "--where", "people > 'a'"]).failed(5);
    assert!(wrong.contains("1 | people > 'a'\n  |        ^"), "{wrong}");
    let wrong = folder.run(["query", "City", "--param", "1=2"]).failed(2);
    assert!(wrong.contains("name"), "{wrong}");
}

#[test]
fn a_query_is_printed_in_every_format() {
    let folder = Folder::with_cities();
    let table = folder.run(["query", "City"]);
    let lines = ["name    people  mayor", "Aachen  249000  null", "Bonn      null  null"];
    assert_eq!(table.out.lines().take(3).collect::<Vec<_>>(), lines);
    assert!(table.err.starts_with("3 records as of commit 3 (20"), "{}", table.err);
    let all = folder.run(["query", "City", "--format", "json"]).json();
    assert_eq!(all["records"].as_array().unwrap().len(), 3);
    assert_eq!(all["records"][1], json!({"name": "Bonn", "people": null, "mayor": null}));
    assert_eq!((&all["cursor"], &all["commit"]), (&json!(null), &json!(3)));
    let lines = folder.run(["query", "City", "--select", "people,name", "--format", "ndjson"]);
    assert_eq!(lines.out.lines().next(), Some(r#"{"people":249000,"name":"Aachen"}"#));
    assert_eq!(lines.err, "");
    let csv = folder.run(["query", "City", "--format", "csv"]).done();
    assert_eq!(csv, "name,people,mayor\nAachen,249000,\nBonn,,\nUlm,126000,Ann\n");
    let none = folder.run(["query", "City", "--key", "Rome", "--format", "json"]).done();
    assert_eq!(none, "{\"records\":[],\"cursor\":null,\"commit\":3}\n");
    let none = folder.run(["query", "City", "--key", "Rome", "--format", "csv"]).done();
    assert_eq!(none, "name,people,mayor\n");
}

#[test]
fn a_long_value_in_a_pipe_is_whole_and_makes_no_other_line_long() {
    let folder = Folder::with_cities();
    let mayor = "x".repeat(5_000);
    let record = json!({"name": "Ulm", "mayor": mayor, "people": 7});
    let update = json!({"mutation": "update", "schema": "City", "records": [record]});
    folder.pipe(["mutate", "-"], update.to_string()).done();
    let table = folder.run(["query", "City", "--select", "mayor,name"]).done();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0].len(), 200 + "  name".len());
    assert_eq!(lines[2], format!("{:200}  Bonn", "null"));
    assert_eq!(lines[3], format!("{mayor}  Ulm"));
}

#[test]
fn tables_show_what_turns_or_moves_text() {
    let folder = Folder::with_cities();
    let record = json!({"name": "Ulm", "mayor": "\u{202e}nnA\u{2066}\u{200f}\u{1b}[1m"});
    let update = json!({"mutation": "update", "schema": "City", "records": [record]});
    folder.pipe(["mutate", "-"], update.to_string()).done();
    let table = folder.run(["query", "City", "--select", "mayor", "--key", "Ulm"]).done();
    assert_eq!(table, "mayor\n\\u{202e}nnA\\u{2066}\\u{200f}\\u{1b}[1m\n");
    folder.write("c.csv", "name,people\nRome,\u{202e}\u{1b}[1m\n");
    let notes = folder.run(["import", "City", "c.csv"]).failed(5);
    assert!(!notes.contains('\u{202e}'), "{notes}");
    let dark = r#"{"name": "Dark", "fields": {"a": {}}, "description": "x\u001b[8m", "\u001b": 1}"#;
    folder.write("dark.json", dark);
    let loaded = folder.run(["schema", "load", "dark.json"]);
    assert!(loaded.err.starts_with("warning: dark.json: "), "{loaded:?}");
    loaded.failed(0);
    assert!(folder.run(["schema", "show", "Dark"]).done().contains("x\\u{1b}[8m\n"));
}

#[test]
fn a_query_reads_by_key_prefix_range_and_page() {
    let folder = Folder::with_cities();
    let names = |args: &[&str]| {
        let args = [&["query", "City", "--select", "name", "--format", "csv"], args].concat();
        let answer = folder.run(args);
        let names: Vec<_> = answer.out.lines().skip(1).map(str::to_owned).collect();
        (names.join(" "), answer.err)
    };
    assert_eq!(names(&["--key", "Ulm"]).0, "Ulm");
    assert_eq!(names(&["--prefix", "[\"Bonn\"]"]).0, "Bonn");
    assert_eq!(names(&["--prefix", "[]"]).0, "Aachen Bonn Ulm");
    assert_eq!(names(&["--from", "B"]).0, "Bonn Ulm");
    assert_eq!(names(&["--to", "Bonn"]).0, "Aachen");
    assert_eq!(names(&["--from", "Bonn", "--to", "Ulm"]).0, "Bonn");
    let (first, notes) = names(&["--limit", "2"]);
    assert_eq!(first, "Aachen Bonn");
    let cursor = notes.trim().strip_prefix("cursor: ").unwrap().to_owned();
    assert_eq!(names(&["--limit", "2", "--cursor", &cursor]), ("Ulm".into(), String::new()));
}

#[test]
fn a_query_may_be_in_a_file() {
    let folder = Folder::with_cities();
    let query = r#"{"schema": "City", "select": ["people"], "key": {"exact": "Ulm"}}"#;
    let answer = folder.pipe(["query", "--file", "-", "--format", "ndjson"], query).json();
    assert_eq!(answer, json!({"people": 126_000}));
    folder.write("q.json", r#"{"schema": "City", "wher": 1}"#);
    let error = folder.run(["query", "--file", "q.json"]).failed(5);
    assert!(error.starts_with("error: q.json: wher: is not a member"), "{error}");
}

#[test]
fn the_past_is_read_by_commit_time_and_age() {
    let folder = Folder::with_cities();
    let record = json!({"name": "Ulm", "people": 1});
    let update = json!({"mutation": "update", "schema": "City", "records": [record]});
    let time = folder.run(["stats", "--format", "json"]).json()["time"].clone();
    folder.pipe(["mutate", "-"], update.to_string()).done();
    let people = |moment: &[&str]| {
        let args = ["query", "City", "--key", "Ulm", "--select", "people", "--format", "csv"];
        let answer = folder.run([&args, moment].concat()).done();
        answer.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(people(&[]), "1");
    assert_eq!(people(&["--as-of", "3"]), "126000");
    assert_eq!(people(&["--as-of", time.as_str().unwrap()]), "126000");
    assert_eq!(people(&["--as-of", "-1ms"]), "1");
    let early = folder.run(["query", "City", "--as-of", "-1h"]).failed(3);
    assert!(early.contains("hint: it was loaded in commit 1"), "{early}");
    let future = folder.run(["query", "City", "--as-of", "2999-01-01T00:00:00Z"]).failed(5);
    assert!(future.contains("lies in the future"), "{future}");
}

#[test]
fn history_shows_versions_newest_first() {
    let folder = Folder::with_cities();
    let record = json!({"name": "Ulm", "people": 1});
    let update = json!({"mutation": "update", "schema": "City", "records": [record]});
    let delete = json!({"mutation": "delete", "schema": "City", "keys": ["Ulm"]});
    let lines = format!("{update}\n{delete}");
    folder.pipe(["mutate", "-"], lines).done();
    let people = folder.run(["history", "City", "Ulm", "people", "--format", "json"]).json();
    let versions: Vec<_> = people.as_array().unwrap().iter().collect();
    assert_eq!(versions.len(), 3);
    let of = |at: usize| (&versions[at]["commit"], &versions[at]["status"], &versions[at]["value"]);
    assert_eq!(of(0), (&json!(5), &json!("deleted"), &json!(null)));
    assert_eq!(of(1), (&json!(4), &json!("active"), &json!(1)));
    assert_eq!(of(2), (&json!(3), &json!("active"), &json!(126_000)));
    assert_eq!(versions[1]["writer"], "owner");
    let record = folder.run(["history", "City", "[\"Ulm\"]", "--format", "ndjson"]);
    assert_eq!(record.json_lines().len(), 4, "{record:?}");
    let one = folder.run(["history", "City", "Ulm", "--limit", "1", "--format", "csv"]).done();
    assert_eq!(one.lines().count(), 2);
    let never = folder.run(["history", "City", "Rome"]).failed(3);
    let expected = "error: record [\"Rome\"] of `City` has no versions\nhint: ";
    assert!(never.starts_with(expected), "{never}");
}

#[test]
fn long_histories_are_shown_whole() {
    let folder = Folder::with_cities();
    let update = |people: u32| {
        let record = json!({"name": "Ulm", "people": people, "mayor": format!("M{people}")});
        json!({"mutation": "update", "schema": "City", "records": [record]}).to_string() + "\n"
    };
    let lines: String = (0..1_100).map(update).collect();
    folder.pipe(["mutate", "-"], lines).done();
    let all = folder.run(["history", "City", "Ulm", "--format", "ndjson"]);
    assert_eq!(all.json_lines().len(), 2 * 1_101);
    let commits: Vec<_> =
        all.json_lines().iter().map(|version| version["commit"].as_u64().unwrap()).collect();
    assert!(commits.is_sorted_by(|a, b| a >= b));
}

#[test]
fn a_history_is_cut_to_its_limit_and_repeats_nothing() {
    let folder = Folder::with_cities();
    let update = |record: serde_json::Value| {
        json!({"mutation": "update", "schema": "City", "records": [record]}).to_string() + "\n"
    };
    let both = |people: u32| {
        update(json!({"name": "Ulm", "people": people, "mayor": format!("M{people}")}))
    };
    let lines: String = (0..1_100).map(both).collect();
    // The newest commit has one version, so that pages of an even number end inside of commits.
    let newest = update(json!({"name": "Ulm", "people": 2_000}));
    folder.pipe(["mutate", "-"], lines + &newest).done();
    let history = |args: &[&str]| {
        let answer = folder.run([&["history", "City", "Ulm", "--format", "ndjson"], args].concat());
        answer.done().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = history(&[]);
    let (atoms, total) = (all.iter().collect::<std::collections::HashSet<_>>(), 1 + 2 * 1_101);
    assert_eq!((all.len(), atoms.len()), (total, total));
    for limit in [1, 2, 3, 999, 1_000, 1_001, 1_002, 2_001, 2_002, total - 1, total, total + 1] {
        let some = history(&["--limit", &limit.to_string()]);
        assert_eq!(some, all[..limit.min(total)], "{limit}");
    }
    folder.pipe(["mutate", "-"], update(json!({"name": "Bonn", "people": 1}))).done();
    let args = ["history", "City", "Bonn", "people", "--limit", "2", "--format", "ndjson"];
    assert_eq!(folder.run(args).json_lines().len(), 1);
}

#[test]
fn stats_and_verify_tell_what_there_is() {
    let folder = Folder::with_cities();
    let stats = folder.run(["stats", "--format", "json"]).json();
    assert_eq!((&stats["records"], &stats["commit"]), (&json!(3), &json!(3)));
    assert_eq!(stats["by_schema"][0]["schema"], "City");
    let table = folder.run(["stats"]).done();
    assert!(table.contains("City    Approved        3      3"), "{table}");
    let csv = folder.run(["stats", "--format", "csv"]).done();
    assert_eq!(csv, "schema,state,records,atoms\nCity,Approved,3,3\n");
    let sound = folder.run(["verify", "--format", "json"]).json();
    assert_eq!((&sound["sound"], &sound["commits"]), (&json!(true), &json!(3)));
    let text = folder.run(["verify"]).done();
    assert_eq!(
        text,
        "read 3 commits, 3 records, 0 elements and 3 atoms\neverything fits together\n"
    );
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Folder::empty().run(["completions", shell]).done();
        assert!(script.contains("quickstart"), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let folder = Folder::empty();
    let page = folder.run(["man"]).done();
    assert!(page.contains(".TH datafold 1") && page.contains(".SH NOTES"), "{page}");
    assert!(page.contains("datafold\\-query(1)"), "{page}");
    let written = folder.run(["man", "--dir", "pages"]).done();
    let mut files: Vec<_> = written.lines().collect();
    files.sort_unstable();
    let mut found: Vec<_> = std::fs::read_dir(folder.path("pages")).unwrap().collect();
    found.sort_by_key(|entry| entry.as_ref().unwrap().path());
    let found: Vec<_> = found.iter().map(|e| e.as_ref().unwrap().file_name()).collect();
    assert_eq!(files.len(), found.len());
    // Every command that --help names has a page, and no other.
    let help = folder.run(["--help"]).done();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let commands: Vec<_> = commands
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    for command in commands.iter().filter(|command| **command != "help") {
        let page = folder.path(&format!("pages/datafold-{command}.1"));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&format!("\\fBdatafold {command}\\fR")), "{command}: {page}");
    }
    let import = std::fs::read_to_string(folder.path("pages/datafold-import.1")).unwrap();
    assert!(import.contains("zcat flights.csv.gz"), "{import}");
    assert!(folder.path("pages/datafold-schema-load.1").exists());
}

#[test]
fn operations_are_answered_in_their_own_shape() {
    let folder = Folder::new();
    let profile = r#"{"name": "UserProfile", "fields": {"username": {}, "age": {}}}"#;
    folder.write("p.json", profile);
    folder.run(["schema", "load", "p.json"]).done();
    folder.run(["schema", "approve", "UserProfile"]).done();
    let create = json!({"type": "mutation", "schema": "UserProfile", "mutation_type": "create",
        "data": {"username": "ann", "age": 30}});
    folder.write("create.json", create.to_string());
    let written = folder.run(["exec", "create.json", "--format", "table"]).json();
    assert_eq!((&written["commit"], &written["atoms"]), (&json!(3), &json!(2)));
    let query = json!({"type": "query", "schema": "UserProfile", "fields": ["age", "username"]});
    let values = folder.pipe(["exec", "-"], query.to_string()).done();
    assert_eq!(values, "[30,\"ann\"]\n");
    // Several are answered line by line, and one that fails stops no other.
    let wrong = json!({"type": "query", "schema": "Nobody", "fields": []});
    let all = folder.pipe(["exec", "-"], json!([query, wrong, create, query]).to_string());
    let lines = all.json_lines();
    assert_eq!((&lines[0], &lines[3]), (&json!([30, "ann"]), &json!([30, "ann"])));
    assert_eq!(lines[1]["error"]["code"], "schema_not_found");
    assert_eq!((&lines[1]["operation"], &lines[2]["commit"]), (&json!(2), &json!(4)));
    let notes = all.failed(3);
    assert!(notes.starts_with("error: standard input: operation 2: schema `Nobody`"), "{notes}");
}
