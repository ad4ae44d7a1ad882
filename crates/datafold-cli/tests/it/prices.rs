//! `query --price`.

use crate::Folder;

/// Prices that are 300, and 300 by distance 0 or 600 by distance 2, if the market asks for 100.
const PAID: &str = r#"{"name": "Paid", "payment_config": {"base_multiplier": 1.5},
    "fields": {
        "plain": {"payment_config": {"base_multiplier": 2}},
        "far": {"payment_config": {"base_multiplier": 2, "trust_distance_scaling":
            {"Linear": {"slope": 0.5, "intercept": 1, "min_factor": 1}}}},
        "total": {"field_type": "Range", "payment_config": {"min_payment": 1000}}}}"#;

fn paid() -> Folder {
    let folder = Folder::new();
    folder.write("paid.json", PAID);
    folder.run(["schema", "load", "paid.json"]).done();
    folder.run(["schema", "approve", "Paid"]).done();
    folder
}

#[test]
fn a_price_is_shown_in_every_format() {
    let folder = paid();
    let flags = ["--price", "--market-rate", "100", "--distance", "2"];
    let price = |rest: &[&str]| {
        let answer = folder.run([&["query", "Paid"], &flags[..], rest].concat());
        assert_eq!(answer.code, 0, "{answer:?}");
        answer
    };
    let table = price(&[]);
    let lines = ["field  price", "plain    300", "far      600", "total   1000"];
    assert_eq!(table.out.lines().collect::<Vec<_>>(), lines);
    assert_eq!(table.err, "1900 satoshi for a caller at distance 2\n");
    let csv = price(&["--format", "csv", "--select", "far,plain,far"]);
    assert_eq!(
        (csv.out.as_str(), csv.err.as_str()),
        ("field,price\nfar,600\nplain,300\n", "total: 900\n")
    );
    let ndjson = price(&["--format", "ndjson", "--select", "plain"]);
    assert_eq!(ndjson.out, "{\"field\":\"plain\",\"price\":300}\n");
    let json = price(&["--format", "json", "--select", "far", "--base-rate", "5000"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let expected = serde_json::json!({"prices": [{"field": "far", "price": 600}], "total": 5000});
    assert_eq!(json, expected);
}

#[test]
fn a_price_of_a_query_in_a_file() {
    let folder = paid();
    folder.write("query.json", r#"{"schema": "Paid", "select": ["plain"]}"#);
    let answer = folder.run(["query", "--file", "query.json", "--price"]);
    // The market asks for 1 unless told otherwise.
    assert_eq!((answer.code, answer.out.lines().last()), (0, Some("plain      3")));
}

#[test]
fn a_price_that_cannot_be_told_says_why() {
    let folder = paid();
    for (rest, code, message) in [
        (
            &["--price", "--select", "plaim"][..],
            5,
            "`Paid` has no field `plaim`; did you mean `plain`?",
        ),
        (&["--price", "--market-rate=-1"], 2, "--market-rate"),
        (&["--price", "--distance", "far"], 2, "--distance"),
        (&["--market-rate", "5"], 2, "--price"),
        (
            &["--price", "--market-rate", "18446744073709551615"],
            5,
            "the price of Paid.plain is more",
        ),
    ] {
        let answer = folder.run([&["query", "Paid"], rest].concat());
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.err.contains(message), "{}", answer.err);
        assert_eq!(answer.out, "");
    }
    let answer = folder.run(["query", "Free", "--price"]);
    assert_eq!(answer.code, 3, "{answer:?}");
}
