//! `migrate`, and stores of sled.

use crate::Folder;

/// What a store answers, in lines.
fn answers(folder: &Folder, store: &str) -> Vec<String> {
    let run = |args: &[&str]| folder.run([args, &["--store", store]].concat()).done();
    vec![
        run(&["query", "City", "--format", "ndjson"]),
        run(&["query", "City", "--as-of", "3", "--format", "ndjson"]),
        run(&["history", "City", "Ulm", "--format", "json"]),
        run(&["history", "City", "Bonn", "people", "--format", "ndjson"]),
        run(&["schema", "status", "--format", "json"]),
        run(&["verify", "--format", "json"]),
    ]
}

fn folder() -> Folder {
    let folder = Folder::with_cities();
    let update =
        r#"{"mutation": "update", "schema": "City", "records": [{"name": "Bonn", "people": 7}]}"#;
    folder.pipe(["mutate", "-"], update).done();
    folder
}

#[test]
fn a_store_goes_to_sled_and_back_and_answers_the_same() {
    let folder = folder();
    let expected = answers(&folder, "datafold-data");
    let migrate = |from: &str, to: &str| {
        folder.run(["migrate", "--from", from, "--to", to, "--format", "json"]).json()
    };
    let answer = migrate("datafold-data", "sled:s/there");
    assert_eq!((&answer["from_engine"], &answer["to_engine"]), (&"redb".into(), &"sled".into()));
    let (rows, id) = (answer["rows"].clone(), answer["store_id"].clone());
    assert!(rows.as_u64().unwrap() > 10, "{answer}");
    let back = migrate("s/there", "back");
    assert_eq!((&back["rows"], &back["store_id"]), (&rows, &id));
    for store in ["datafold-data", "s/there", "sled:s/there", "back"] {
        assert_eq!(answers(&folder, store), expected, "{store}");
    }
    let table = folder.run(["migrate", "--from", "back", "--to", "sled:again"]);
    assert!(table.err.contains("both stores have one identity now"), "{table:?}");
    assert!(table.err.contains("--store sled:again stats"), "{table:?}");
    let table = table.done();
    assert!(table.starts_with("copied and compared ") && table.lines().count() == 1, "{table}");
    let args = ["migrate", "--from", "back", "--to", "third", "--format", "csv"];
    let csv = folder.run(args).done();
    assert!(csv.starts_with("from,from_engine,to,to_engine,store_id,rows,bytes\n"), "{csv}");
}

#[test]
fn what_cannot_be_migrated_is_refused_by_its_class() {
    let folder = folder();
    let migrate = |from: &str, to: &str| folder.run(["migrate", "--from", from, "--to", to]);
    let error = migrate("memory:", "x").failed(2);
    assert!(error.contains("there is nothing to copy"), "{error}");
    migrate("datafold-data", "memory:").failed(2);
    migrate("datafold-data", "mysql://x").failed(2);
    let error = migrate("missing", "x").failed(6);
    assert!(error.contains("there is no store at missing"), "{error}");
    let error = migrate("datafold-data", "./datafold-data").failed(4);
    assert!(error.contains("hint: name a new or empty folder with --to"), "{error}");
    folder.write("city", "");
    migrate("datafold-data", "city").failed(6);
    folder.run(["migrate", "--from", "datafold-data"]).failed(2);
    // What was interrupted is no store, and is begun anew.
    std::fs::create_dir(folder.path("half")).unwrap();
    folder.write("half/LOADING", "");
    folder.write("half/data.redb", "half of it");
    for args in [["stats", "--store", "half"], ["init", "--store", "half"]] {
        let error = folder.run(args).failed(6);
        assert!(error.contains("is unfinished"), "{error}");
        assert!(error.contains("hint: run the migration to this place again"), "{error}");
    }
    migrate("datafold-data", "sled:half").done();
    assert_eq!(answers(&folder, "half"), answers(&folder, "datafold-data"));
}

#[test]
fn a_new_store_of_sled_is_used_like_any_other() {
    let folder = Folder::empty();
    folder.run(["init", "--store", "sled:data"]).done();
    let error = folder.run(["stats", "--store", "redb:data"]).failed(6);
    assert!(error.contains("belongs to the engine `sled`"), "{error}");
    folder.write("city.json", crate::CITY);
    folder.run(["schema", "load", "city.json", "--store", "data"]).done();
    folder.run(["schema", "approve", "City", "--store", "data"]).done();
    folder.write("c.csv", "name,people\nRome,5\nOslo,6\n");
    folder.run(["import", "City", "c.csv", "--store", "sled:data"]).done();
    let rows = folder.run(["query", "City", "--store", "data", "--format", "csv"]).done();
    assert_eq!(rows, "name,people,mayor\nOslo,6,\nRome,5,\n");
    let stats = folder.run(["stats", "--store", "data", "--format", "json"]).json();
    assert_eq!((&stats["engine"], &stats["records"]), (&"sled".into(), &2.into()));
    folder.run(["verify", "--store", "data"]).done();
}
