//! DataFold.

use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use datafold::FoldDb;
use datafold::data_layer::{CommitNumber, Durability, Moment};
use datafold::engine::{ImportFormat, ImportOptions, Mutation, QueryRequest};
use datafold::model::{FieldName, SchemaName, Value};

use super::{BATCH, Fields, Session, Subject};
use crate::{bench_import, fixture};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Engine {
    Redb,
    Sled,
    Memory,
}

pub(super) struct Folded {
    db: FoldDb,
    flights: SchemaName,
}

impl Folded {
    pub(super) fn open(engine: Engine, path: &Path) -> Self {
        let url = match engine {
            Engine::Redb => format!("redb:{}", path.display()),
            Engine::Sled => format!("sled:{}", path.display()),
            Engine::Memory => "memory:".into(),
        };
        let flights = SchemaName::parse("Flight").unwrap();
        if engine != Engine::Memory && path.exists() {
            return Self { db: FoldDb::open(&url).unwrap(), flights };
        }
        let db = FoldDb::create(&url).unwrap();
        fixture::approve(&db);
        let text = bench_import::written_only("schemas/Flight.json");
        db.schemas().load_text(&text, None).unwrap();
        db.schemas().approve_schema(&flights).unwrap();
        Self { db, flights }
    }
}

impl Subject for Folded {
    fn session(&self, run: &mut dyn FnMut(&mut dyn Session)) {
        let mut one = QueryRequest::new(fixture::schema());
        one.select = Some(vec!["count".into()]);
        run(&mut FoldedSession {
            db: &self.db,
            schema: fixture::schema(),
            one,
            all: QueryRequest::new(fixture::schema()),
        });
    }

    fn fill(&self, ids: Range<u64>) {
        let ids: Vec<u64> = ids.collect();
        for chunk in ids.chunks(BATCH) {
            let rows = chunk.iter().map(|id| fixture::record(*id, 0)).collect();
            let request = Mutation::create(fixture::schema(), rows).into();
            self.db.mutate_with(&request, Durability::Buffered).unwrap();
        }
        self.db.pool().flush().unwrap();
    }

    fn import(&self, lines: &Path, _: &[String]) -> u64 {
        let mut options = ImportOptions::new(ImportFormat::Ndjson);
        options.batch_rows = BATCH;
        let input = BufReader::new(File::open(lines).unwrap());
        let go_on = |_| ControlFlow::Continue(());
        let report = self.db.import(&self.flights, input, &options, go_on).unwrap();
        assert_eq!(report.refused, 0, "{:?}", report.errors.first());
        report.imported
    }

    fn close(self: Box<Self>) {
        self.db.pool().close().unwrap();
    }
}

struct FoldedSession<'a> {
    db: &'a FoldDb,
    schema: SchemaName,
    one: QueryRequest,
    all: QueryRequest,
}

fn key(id: u64) -> [Value; 1] {
    [Value::Int(id as i64)]
}

fn number(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Int(number)) => *number as u64,
        other => panic!("{other:?} is no number"),
    }
}

impl Session for FoldedSession<'_> {
    fn create(&mut self, id: u64, count: u64) {
        let record = fixture::record(id, count);
        self.db.mutate(&Mutation::create(self.schema.clone(), vec![record]).into()).unwrap();
    }

    fn update(&mut self, id: u64, count: u64) -> u64 {
        self.db.mutate(&fixture::update(id, count).into()).unwrap().commit.0
    }

    fn get(&mut self, id: u64) -> u64 {
        let record = self.db.get(&self.schema, &key(id)).unwrap().unwrap();
        number(black_box(&record).get("count"))
    }

    fn text(&mut self, id: u64) -> String {
        let record = self.db.get(&self.schema, &key(id)).unwrap().unwrap();
        match record.get("text") {
            Some(Value::Text(text)) => text.clone(),
            other => panic!("{other:?} is no text"),
        }
    }

    fn scan(&mut self, fields: Fields) -> u64 {
        let query = if fields == Fields::One { &self.one } else { &self.all };
        let mut records = 0;
        self.db
            .query_each(query, |record| {
                black_box(&record.values);
                records += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        records
    }

    fn get_as_of(&mut self, id: u64, moment: u64) -> u64 {
        let moment = Moment::Commit(CommitNumber(moment));
        let record = self.db.get_as_of(&self.schema, &key(id), moment).unwrap().unwrap();
        number(black_box(&record).get("count"))
    }

    fn history(&mut self, id: u64) -> u64 {
        let field = FieldName::parse("count").unwrap();
        let atoms = self.db.history(&self.schema, &key(id), Some(&field), None, usize::MAX);
        black_box(atoms.unwrap()).len() as u64
    }
}
