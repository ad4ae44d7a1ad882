//! `schema revise`, and computed fields of other schemas.

use serde_json::json;

use crate::Folder;

const ORDER: &str = r#"{"name": "Order", "key": ["id"], "fields": {
    "id": {"value": {"type": "integer"}}, "net": {"value": {"type": "number"}},
    "total": {"writable": false, "value": {"type": "number"}}}}"#;

const TAX: &str = r#"{"name": "Tax", "key": ["order"], "fields": {
    "order": {"value": {"type": "integer"}}, "rate": {"value": {"type": "number"}},
    "gross": {"transform": {
        "logic": "Order.net * (1 + (rate ?? 0.5))", "output": "Order.total"}}}}"#;

fn with_orders() -> Folder {
    let folder = Folder::new();
    folder.write("order.json", ORDER);
    folder.write("tax.json", TAX);
    folder.run(["schema", "load", "order.json", "tax.json"]).done();
    folder.run(["schema", "approve", "Order"]).done();
    let records = r#"{"mutation": "create", "schema": "Order", "records": [{"id": 1, "net": 80}]}"#;
    folder.pipe(["mutate", "-"], records).done();
    folder
}

#[test]
fn a_field_of_another_schema_is_computed_and_shown() {
    let folder = with_orders();
    let approved = folder.run(["schema", "approve", "Tax"]);
    assert!(approved.err.contains("computing total of Order for 1 record"), "{approved:?}");
    let found = folder.run(["query", "Order", "--format", "ndjson"]).done();
    assert_eq!(found, "{\"id\":1,\"net\":80,\"total\":120}\n");
    let list = folder.run(["transform", "list", "--format", "json"]).json();
    assert_eq!((list[0]["schema"].as_str(), list.as_array().unwrap().len()), (Some("Order"), 1));
    let shown = folder.run(["transform", "show", "Order.total"]).done();
    for part in ["Order.total is ready", "defined in: Tax.gross\n", "reads: Order.net, Tax.rate\n"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let why = folder.run(["why", "Order", "1", "total"]).done();
    assert!(why.contains("Order.net * (1 + (rate ?? 0.5))"), "{why}");
}

#[test]
fn changed_logic_is_tried_and_put_in_place() {
    let folder = with_orders();
    folder.run(["schema", "approve", "Tax"]).done();
    folder.write("tax2.json", TAX.replace("0.5", "0.25"));
    // Loading does not change what is there.
    let refused = folder.run(["schema", "load", "tax2.json"]).failed(4);
    assert!(refused.contains("another definition"), "{refused}");
    let revised = folder.run(["schema", "revise", "tax2.json"]);
    assert!(revised.err.contains("computing total of Order for 1 record"), "{revised:?}");
    let found = folder.run(["query", "Order", "--format", "ndjson"]).done();
    assert_eq!(found, "{\"id\":1,\"net\":80,\"total\":100}\n");
    let again = folder.run(["schema", "revise", "tax2.json", "--format", "json"]).json();
    assert_eq!(again[0]["state"], json!("unchanged"));
    let verified = folder.run(["verify", "--derived"]).done();
    assert!(verified.contains("all are what their inputs give"), "{verified}");
    folder.write("tax3.json", TAX.replace("\"rate\"", "\"share\""));
    let refused = folder.run(["schema", "revise", "tax3.json"]).failed(4);
    assert!(refused.contains("differs in more than how its fields are computed"), "{refused}");
    folder.run(["schema", "revise", "none.json"]).failed(3);
}
