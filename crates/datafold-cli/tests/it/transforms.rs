//! `transform`, `why`, `impact` and `verify --derived`.

use serde_json::{Value, json};

use crate::Folder;

const TRIP: &str = r#"{"name": "Trip", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}},
    "miles": {"value": {"type": "number"}}, "minutes": {"value": {"type": "number"}},
    "speed": {"writable": false, "transform": {"logic": "miles / minutes\n  * 60"}},
    "is_fast": {"writable": false, "transform": {"logic": "speed > 400"}}}}"#;

/// A folder with trips, of which the third fails.
fn with_trips() -> Folder {
    let folder = Folder::new();
    folder.write("trip.json", TRIP);
    folder.run(["schema", "load", "trip.json"]).done();
    folder.run(["schema", "approve", "Trip"]).done();
    let records = r#"{"mutation": "create", "schema": "Trip", "records": [
        {"id": 1, "miles": 1400, "minutes": 227}, {"id": 2, "miles": 800, "minutes": 110},
        {"id": 3, "miles": 90, "minutes": 0}]}"#;
    folder.pipe(["mutate", "-"], records.replace('\n', " ")).done();
    folder
}

#[test]
fn transforms_are_listed_and_shown() {
    let folder = with_trips();
    let list = folder.run(["transform", "list"]).done();
    let lines: Vec<Vec<&str>> =
        list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..2], ["Trip", "speed"]);
    assert_eq!(lines[1][3..], ["ready", "3", "3", "1", "miles", "/", "minutes", "*", "60"]);
    let found = folder.run(["transform", "list", "Trip", "--format", "json"]).json();
    assert_eq!(found[1]["logic"], "speed > 400");
    assert_eq!(found[0]["failing"], 1);
    let shown = folder.run(["transform", "show", "Trip.speed"]).done();
    for part in [
        "Trip.speed is ready, transform-",
        "    miles / minutes\n      * 60\n",
        "reads: Trip.miles, Trip.minutes\n",
        "read by: Trip.is_fast\n",
        "computed: 3 of 3 records; 1 failing\n",
        "division_by_zero",
        " --> line 1, column 1\n  |\n1 | miles / minutes\n  | ^\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = folder.run(["transform", "show", "Trip.speed", "--format", "json"]).json();
    assert_eq!(shown["failures"][0]["key"], json!([3]));
    assert_eq!(shown["inputs"], json!(["Trip.miles", "Trip.minutes"]));
    assert_eq!((&shown["on_error"], &shown["computed"]), (&json!("keep"), &json!(3)));
}

#[test]
fn a_tree_tells_where_a_value_comes_from() {
    let folder = with_trips();
    folder
        .pipe(
            ["mutate", "-"],
            concat!(
                r#"{"mutation": "update", "schema": "Trip", "records": [{"id": 2, "minutes": 0}]}"#,
                "\n"
            ),
        )
        .done();
    let tree = folder.run(["why", "Trip", "1", "is_fast"]).done();
    let lines: Vec<&str> = tree.lines().collect();
    assert_eq!(lines[0], "Trip [1]");
    assert!(lines[1].starts_with("is_fast = false  transform-"), "{tree}");
    assert_eq!(lines[2], "│  speed > 400");
    assert!(lines[3].starts_with("└─ speed = 370.04405286343615  transform-"), "{tree}");
    assert_eq!(lines[4], "   │  miles / minutes * 60");
    assert!(lines[5].starts_with("   ├─ miles = 1400  owner, commit 3, 2"), "{tree}");
    assert!(lines[6].starts_with("   └─ minutes = 227  owner, commit 3, 2"), "{tree}");
    assert_eq!(lines.len(), 7);
    let tree = folder.run(["why", "Trip", "2", "speed"]).done();
    assert!(tree.contains("└─ failed in commit 4, "), "{tree}");
    assert!(tree.contains("(1 failure): line 1, column 1: "), "{tree}");
    assert!(tree.contains("\n   └─ minutes = 0  owner, commit 4, "), "{tree}");
    let past = folder.run(["why", "Trip", "2", "speed", "--as-of", "3", "--format", "json"]).json();
    assert_eq!(past.get("failure"), None);
    assert_eq!(
        (&past["value"], &past["origin"]),
        (&json!(436.363_636_363_636_4), &json!("computed"))
    );
    let inputs: Vec<&Value> =
        past["inputs"].as_array().unwrap().iter().map(|i| &i["value"]).collect();
    assert_eq!(inputs, [&json!(800), &json!(110)]);
    let rows = folder.run(["why", "Trip", "2", "speed", "--format", "ndjson"]);
    let rows: Vec<_> =
        rows.json_lines().iter().map(|row| (row["depth"].clone(), row["as"].clone())).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[4], (json!(1), json!("input of failure")));
    let csv = folder.run(["why", "Trip", "1", "id", "--format", "csv"]).done();
    assert!(csv.lines().nth(1).unwrap().starts_with("0,Trip,[1],id,1,value,key,"), "{csv}");
}

#[test]
fn computed_elements_stand_as_one_object() {
    let folder = Folder::new();
    let cart = r#"{"name": "Cart", "key": ["id"], "fields": {"id": {"value": {"type": "integer"}},
        "prices": {"field_type": "Range", "value": {"type": "integer"}},
        "double": {"field_type": "Range", "writable": false,
            "transform": {"logic": "map_values(prices, p => p * 2)"}}}}"#;
    folder.write("cart.json", cart);
    folder.run(["schema", "load", "cart.json"]).done();
    folder.run(["schema", "approve", "Cart"]).done();
    let record = r#"{"mutation": "create", "schema": "Cart",
        "records": [{"id": 1, "prices": {"a": 1, "b": 2}}]}"#;
    folder.pipe(["mutate", "-"], record.replace('\n', " ")).done();
    let tree = folder.run(["why", "Cart", "1", "double"]).done();
    let lines: Vec<_> = tree.lines().collect();
    assert!(lines[1].starts_with(r#"double = {"a":2,"b":4}  transform-"#), "{tree}");
    assert_eq!(
        lines[2..],
        ["│  map_values(prices, p => p * 2)", r#"└─ prices = {"a":1,"b":2}  2 elements"#,]
    );
    let found = folder.run(["elements", "Cart", "1", "double", "--format", "json"]).json();
    assert_eq!(found["elements"], json!({"a": 2, "b": 4}));
    assert_eq!(found.get("stale"), None);
    let tried = folder.run([
        "transform",
        "test",
        "Cart.double",
        "--record",
        r#"{"id": 1, "prices": {"c": 5}}"#,
        "--format",
        "ndjson",
    ]);
    let tried = tried.done();
    assert!(tried.contains(r#""computed":{"a":2,"b":4,"c":10}"#), "{tried}");
    folder.run(["verify", "--derived"]).done();
    // What is exported can be read again.
    let rows = folder.run(["export", "Cart"]).done();
    folder.pipe(["import", "Cart", "-", "--input-format", "ndjson"], rows).done();
}

#[test]
fn runs_and_retries_say_what_they_did() {
    let folder = with_trips();
    let stats = || folder.run(["stats", "--format", "json"]).json()["commit"].clone();
    let before = stats();
    for _ in 0..2 {
        let found = folder.run(["transform", "run", "Trip.is_fast", "--format", "json"]).json();
        assert_eq!((&found[0]["records"], &found[0]["atoms"]), (&json!(3), &json!(0)));
    }
    assert_eq!(stats(), before, "there was nothing to write");
    let one = folder.run(["transform", "run", "Trip.is_fast", "--key", "1", "--format", "json"]);
    assert_eq!(one.json()[0]["records"], 1);
    let answer = folder.run(["transform", "retry"]);
    assert!(answer.err.contains("Trip.speed could not be computed for 1 record\n"), "{answer:?}");
    assert!(answer.err.contains("datafold transform show Trip.speed tells why"), "{answer:?}");
    let shown = folder.run(["transform", "show", "Trip.speed", "--format", "json"]).json();
    assert_eq!(shown["failures"][0]["count"], 2);
    let mend = r#"{"mutation": "update", "schema": "Trip", "records": [{"id": 3, "minutes": 9}]}"#;
    folder.pipe(["mutate", "-"], mend).done();
    let answer = folder.run(["transform", "retry"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, "nothing has failed\n"));
    let missing = folder.run(["transform", "run", "Trip.speed", "--key", "77"]).failed(3);
    assert!(missing.contains("record `[77] of Trip` does not exist"), "{missing}");
}

#[test]
fn trials_write_nothing_and_fail_with_a_place() {
    let folder = with_trips();
    let answer =
        folder.run(["transform", "test", "Trip.is_fast", "--key", "1", "--format", "json"]);
    let found: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!((answer.code, &found["existing"]), (0, &json!(3)));
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    assert_eq!(found["results"][0]["computed"], false);
    let answer = folder.run(["transform", "test", "Trip"]);
    assert!(answer.out.contains("line 1, column 1: "), "{answer:?}");
    let notes = answer.failed(5);
    assert!(notes.contains("1 of 6 values could not be computed"), "{notes}");
    assert!(notes.contains("1 | miles / minutes\n  | ^"), "{notes}");
    // Other logic under the same name, on the records that are there and on one that is not.
    let changed = TRIP.replace("miles / minutes\\n  * 60", "minutes == 0 ? null : miles / minutes");
    folder.write("changed.json", changed);
    let answer = folder.run(["transform", "test", "--file", "changed.json", "--format", "csv"]);
    assert!(answer.out.contains("[2],speed,436.3636363636364,7.2727272727272725,\n"), "{answer:?}");
    assert!(answer.err.contains("nothing was written; `Trip` has 3 records"), "{answer:?}");
    answer.done();
    let record = r#"{"id": 9, "miles": 10, "minutes": 4}"#;
    let args = ["transform", "test", "--file", "changed.json", "--record", record];
    let answer = folder.run([&args[..], &["--field", "speed", "--format", "ndjson"]].concat());
    let expected =
        json!({"key": [9], "field": "speed", "stored": null, "computed": 2.5, "error": null});
    assert_eq!(answer.json_lines(), [expected]);
    // What is wrong with a file is what approval says.
    folder.write("wrong.json", TRIP.replace("speed > 400", "sped > 400").replace("Trip", "Tour"));
    let notes = folder.run(["transform", "test", "--file", "wrong.json"]).failed(5);
    assert!(notes.contains("did you mean `speed`?") && notes.contains("^^^^"), "{notes}");
    let commit = folder.run(["stats", "--format", "json"]).json()["commit"].clone();
    assert_eq!(commit, 3);
    for wrong in ["[1]", "{", "nothing"] {
        let args = ["transform", "test", "Trip", "--record", wrong];
        let notes = folder.run(args).failed(2);
        assert!(notes.contains(&format!("the record `{wrong}` is no")), "{notes}");
    }
}

#[test]
fn the_graph_is_text_and_a_drawing() {
    let folder = with_trips();
    let text = folder.run(["transform", "graph"]).done();
    let expected = "Trip.is_fast  computed\n└─ Trip.speed  computed\n   \
                    ├─ Trip.miles\n   └─ Trip.minutes\n";
    assert_eq!(text, expected);
    let found = folder.run(["transform", "graph", "Trip", "--format", "json"]).json();
    assert_eq!(found[3]["from"], json!(["Trip.speed"]));
    let answer = folder.run(["transform", "graph", "--svg", "graph.svg"]);
    assert_eq!((answer.code, answer.err.as_str()), (0, "wrote graph.svg\n"));
    let svg = std::fs::read_to_string(folder.path("graph.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"), "{svg}");
    for name in ["miles", "minutes", "speed", "is_fast"] {
        assert!(svg.contains(&format!(">{name}</text>")), "{name}: {svg}");
    }
    assert_eq!(svg.matches("marker-end").count(), 3, "{svg}");
    let notes = folder.run(["transform", "graph", "--svg", "graph.svg"]).failed(1);
    assert!(notes.contains("graph.svg: File exists"), "{notes}");
    let none = Folder::with_cities().run(["transform", "graph"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert!(none.err.starts_with("there are no computed fields"), "{none:?}");
}

#[test]
fn impact_lists_what_depends_on_a_field() {
    let folder = with_trips();
    let found = folder.run(["impact", "Trip", "miles", "--format", "json"]).json();
    assert_eq!((&found[0]["field"], &found[0]["direct"]), (&json!("speed"), &json!(true)));
    assert_eq!(
        (&found[1]["field"], &found[1]["through"]),
        (&json!("is_fast"), &json!(["Trip.speed"]))
    );
    assert_eq!(found[1]["records"], 3);
    let none = folder.run(["impact", "Trip", "is_fast"]);
    assert_eq!(none.err, "nothing is computed or mapped from Trip.is_fast\n");
}

#[test]
fn computed_values_are_verified() {
    let folder = with_trips();
    let text = folder.run(["verify", "--derived"]).done();
    let expected = "computed 5 values again\n1 value: cannot be computed at present\n\
                    all are what their inputs give\n";
    assert!(text.ends_with(expected), "{text}");
    let found = folder.run(["verify", "--derived", "--format", "json"]).json();
    assert_eq!(found["derived"]["differences_found"], 0);
    assert_eq!(folder.run(["verify", "--format", "json"]).json().get("derived"), None);
}

#[test]
fn approval_tells_what_is_computed_for_how_many_records() {
    let folder = Folder::with_cities();
    let view = r#"{"name": "Place", "key": ["name"], "fields": {
        "name": {"value": {"type": "string"}}, "people": {"field_mappers": {"City": "people"}},
        "is_large": {"transform": {"logic": "people > 200000"}},
        "share": {"transform": {"logic": "1 / (people - 126000)"}}}}"#;
    folder.write("place.json", view);
    folder.run(["schema", "load", "place.json"]).done();
    let answer = folder.run(["schema", "approve", "Place"]);
    let expected = "computing is_large, share of Place for 3 records that exist";
    assert!(answer.err.contains(expected), "{answer:?}");
    assert!(answer.err.contains("Place.share could not be computed for 1 record\n"), "{answer:?}");
    let again = folder.run(["schema", "approve", "Place"]);
    assert!(!again.err.contains("computing"), "{again:?}");
}

#[test]
fn slips_are_answered_with_what_was_perhaps_meant() {
    let folder = with_trips();
    for (args, code, hint) in [
        (vec!["transform", "show", "Trip.sped"], 3, "did you mean `Trip.speed`?"),
        (vec!["transform", "show", "Trip.miles"], 3, "transform list names those that exist"),
        (vec!["transform", "run", "Tripp.speed"], 3, "did you mean `Trip`?"),
        (vec!["transform", "list", "Tripp"], 3, "did you mean `Trip`?"),
        (vec!["transform", "graph", "Tripp"], 3, "did you mean `Trip`?"),
        (vec!["transform", "show", "speed"], 2, "write it as SCHEMA.FIELD"),
        (vec!["transform", "shw"], 2, "show"),
        (vec!["why", "Trip", "1", "sped"], 5, "did you mean `speed`?"),
        (vec!["why", "Trip", "7", "speed"], 3, "record `[7] of Trip` does not exist"),
        (vec!["why", "Trip", "1", "speed", "--as-of", "99"], 5, "lies in the future"),
        (vec!["impact", "Trip", "mile"], 5, "did you mean `miles`?"),
        (vec!["impact", "Tripp", "miles"], 3, "did you mean `Trip`?"),
    ] {
        let notes = folder.run(&args).failed(code);
        assert!(notes.contains(hint), "{args:?}: {notes}");
    }
}

#[test]
fn the_change_feed_tells_of_failures() {
    let folder = with_trips();
    let answer = folder.run(["changes", "--from", "3", "--format", "ndjson"]);
    let told: Vec<_> =
        answer.json_lines().into_iter().filter(|row| row["change"] == "failed").collect();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["key"], &told[0]["field"]), (&json!([3]), &json!("speed")));
    assert_eq!(told[0]["value"]["code"], "division_by_zero");
    assert_eq!(told[0]["value"]["column"], 1);
}
