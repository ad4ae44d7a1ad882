//! Carries out a prepared request on the records as they are.

use datafold_store::Keyspace;

use super::error::{FoldDbError, MutationError};
use super::mutation::{Condition, MutationKind, PutCondition};
use super::prepare::{
    Action, ElementWrite, MappedWrites, NamedElement, Prepared, PreparedCondition, Step, recheck,
};
use crate::data_layer::internal::{CellPlace, Draft, Editor, FieldWrites};
use crate::data_layer::{CommitNumber, DataLayerError, FieldId, SchemaEntry};
use crate::model::{FieldName, decode_element};

/// Checks the preconditions, then carries out the steps. The first error ends it. Answers how many
/// steps found everything as they would have left it; only those of an import pass over that.
pub(crate) fn apply(editor: &mut Editor<'_>, prepared: &Prepared) -> Result<u64, FoldDbError> {
    recheck(editor.catalogue, prepared)?;
    for condition in &prepared.preconditions {
        check(editor, condition)?;
        let (Condition::UnchangedSince(since), None) = (condition.condition, &condition.element)
        else {
            continue;
        };
        let entry = &condition.entry;
        for (cell, _) in entry.fields().filter(|(cell, _)| cell.schema != entry.records()) {
            let draft = editor.working.record(editor.source, cell.schema, condition.key.bytes())?;
            check_mapped(condition, since, draft, cell.field)?;
        }
    }
    let mut unchanged = 0;
    for step in &prepared.steps {
        let mut has_written = carry_out(editor, step)?;
        for MappedWrites { entry, writes } in &step.mapped {
            let draft = editor.working.record(editor.source, entry.id, step.key.bytes())?;
            if draft.exists() || writes.values().any(Option::is_some) {
                let is_import = matches!(step.action, Action::Import { .. });
                has_written |= write(entry, draft, writes.clone(), is_import);
            }
        }
        check_empty(editor, step)?;
        for write in &step.elements {
            has_written |= put(editor, step, write)?;
        }
        unchanged += u64::from(!has_written);
    }
    Ok(unchanged)
}

/// Merges values into a record or begins its life with them; answers whether there was anything to
/// write. An import writes only what differs.
fn write(entry: &SchemaEntry, draft: &mut Draft, mut writes: FieldWrites, is_import: bool) -> bool {
    if !draft.exists() {
        draft.create(with_defaults(entry, writes));
        return true;
    }
    if is_import {
        writes.retain(|field, value| draft.value(*field) != value.as_ref());
    }
    let differs = !is_import || !writes.is_empty();
    if differs {
        draft.merge(writes);
    }
    differs
}

/// What a precondition looks at.
struct Found {
    exists: bool,
    /// The last commit that touched it; `None` if it does not exist.
    changed: Option<CommitNumber>,
}

fn check(editor: &mut Editor<'_>, condition: &PreparedCondition) -> Result<(), FoldDbError> {
    let found = match &condition.element {
        Some(element) => find_element(editor, condition, element)?,
        None => find_record(editor, condition)?,
    };
    let failed = |expected: String, found: String| {
        let (schema, key) = (condition.entry.schema.name.clone(), condition.key.clone());
        Err(match condition.element.clone() {
            Some(NamedElement { field, text, .. }) => {
                let (element, expected, found) = (text.into(), expected.into(), found.into());
                MutationError::ElementPreconditionFailed {
                    schema,
                    key,
                    field,
                    element,
                    expected,
                    found,
                }
            }
            None => MutationError::PreconditionFailed { schema, key, expected, found },
        }
        .into())
    };
    match condition.condition {
        Condition::Exists if found.exists => Ok(()),
        Condition::Exists => failed("exists".into(), "does not exist".into()),
        Condition::Absent if !found.exists => Ok(()),
        Condition::Absent => failed("does not exist".into(), "exists".into()),
        Condition::UnchangedSince(since) => {
            let expected = || format!("is unchanged since commit {since}");
            match found.changed {
                Some(changed) if changed <= since => Ok(()),
                Some(changed) => failed(expected(), format!("changed in commit {changed}")),
                None => failed(expected(), "does not exist".into()),
            }
        }
    }
}

fn find_record(
    editor: &mut Editor<'_>,
    condition: &PreparedCondition,
) -> Result<Found, DataLayerError> {
    let (id, key) = (condition.entry.records(), condition.key.bytes());
    let draft = editor.working.record(editor.source, id, key)?;
    // The record of a schema without key exists, changed or not.
    let always = !condition.entry.schema.is_keyed();
    let changed = match draft.changed() {
        None if always => Some(draft.ended()),
        changed => changed,
    };
    Ok(Found { exists: draft.exists() || always, changed })
}

fn find_element(
    editor: &mut Editor<'_>,
    condition: &PreparedCondition,
    NamedElement { cell, element, .. }: &NamedElement,
) -> Result<Found, DataLayerError> {
    let name = cell.element(&condition.key, element.clone());
    let (record, draft) = editor.working.element(editor.source, &name)?;
    Ok(Found { exists: draft.value(record).is_some(), changed: draft.changed(record) })
}

/// Checks a cell that a schema without key maps from another one.
fn check_mapped(
    condition: &PreparedCondition,
    since: CommitNumber,
    draft: &Draft,
    field: FieldId,
) -> Result<(), MutationError> {
    match draft.cell_changed(field) {
        Some(changed) if changed > since => Err(MutationError::PreconditionFailed {
            schema: condition.entry.schema.name.clone(),
            key: condition.key.clone(),
            expected: format!("is unchanged since commit {since}"),
            found: format!("changed in commit {changed}"),
        }),
        _ => Ok(()),
    }
}

/// Does with the record itself what the step says; answers whether there was anything to write.
fn carry_out(editor: &mut Editor<'_>, step: &Step) -> Result<bool, FoldDbError> {
    let id = step.entry.records();
    let draft = editor.working.record(editor.source, id, step.key.bytes())?;
    match &step.action {
        Action::Delete => {
            need_record(step, draft)?;
            draft.delete();
        }
        Action::Put { .. } => need_record(step, draft)?,
        Action::Write { kind: MutationKind::Create, .. }
            if step.entry.schema.is_keyed() && draft.exists() =>
        {
            let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
            return Err(MutationError::RecordExists { schema, key }.into());
        }
        Action::Write { kind: MutationKind::Update, .. }
            if step.entry.schema.is_keyed() && !draft.exists() =>
        {
            need_record(step, draft)?;
        }
        // Everything that was given belongs to other records.
        Action::Write { writes, .. } | Action::Import { writes }
            if writes.is_empty() && is_elsewhere(step) =>
        {
            return Ok(false);
        }
        Action::Write { writes, .. } => {
            return Ok(write(&step.entry, draft, writes.clone(), false));
        }
        Action::Import { writes } => return Ok(write(&step.entry, draft, writes.clone(), true)),
    }
    Ok(true)
}

/// Whether a step writes something, and only to the records of other schemas.
fn is_elsewhere(step: &Step) -> bool {
    let own = step.entry.records();
    !(step.mapped.is_empty() && step.elements.is_empty())
        && step.elements.iter().all(|write| write.cell.schema != own)
}

/// Refuses a record that does not exist; that of a schema without key always does.
fn need_record(step: &Step, draft: &Draft) -> Result<(), MutationError> {
    if draft.exists() || !step.entry.schema.is_keyed() {
        return Ok(());
    }
    let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
    Err(MutationError::RecordNotFound { schema, key })
}

/// Refuses to pass over elements that are said to be none. An import does: it takes single values
/// away, not elements that others have put.
fn check_empty(editor: &mut Editor<'_>, step: &Step) -> Result<(), FoldDbError> {
    if matches!(step.action, Action::Import { .. }) {
        return Ok(());
    }
    for cell in &step.empty {
        let (working, source) = (&mut *editor.working, &mut *editor.source);
        let found = working.element_count(source, cell.schema, step.key.bytes(), cell.field)?;
        if found > 0 {
            let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
            let field = name_of(&step.entry, *cell)?;
            return Err(MutationError::ElementsNotEmpty { schema, key, field, found }.into());
        }
    }
    Ok(())
}

/// Writes an element, and begins the life of a record that always exists; answers whether there was
/// anything to write.
fn put(editor: &mut Editor<'_>, step: &Step, write: &ElementWrite) -> Result<bool, FoldDbError> {
    let id = write.cell.schema;
    let draft = editor.working.record(editor.source, id, step.key.bytes())?;
    if !draft.exists() && write.value.is_some() {
        let other = (id != step.entry.records()).then(|| editor.catalogue.by_id(id)).flatten();
        draft.create(with_defaults(other.unwrap_or(&step.entry), FieldWrites::new()));
    }
    let name = step.element_name(write);
    let (record, draft) = editor.working.element(editor.source, &name)?;
    let before = draft.value(record);
    let refused = match &step.action {
        Action::Put { condition: Some(PutCondition::Absent) } if before.is_some() => Some(true),
        Action::Put { condition: Some(PutCondition::Exists) } if before.is_none() => Some(false),
        Action::Import { .. } if before == write.value.as_ref() => return Ok(false),
        _ => None,
    };
    if let Some(is_there) = refused {
        return Err(refusal(step, write, is_there)?.into());
    }
    draft.set(record, write.value.clone());
    Ok(true)
}

/// What is said of an element that must not be there, or must.
fn refusal(
    step: &Step,
    write: &ElementWrite,
    is_there: bool,
) -> Result<MutationError, DataLayerError> {
    let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
    let field = name_of(&step.entry, write.cell)?;
    let element = decode_element(&write.element)
        .map_err(|error| DataLayerError::key(Keyspace::Elements, &[], error))?;
    Ok(if is_there {
        MutationError::ElementExists { schema, key, field, element }
    } else {
        MutationError::ElementNotFound { schema, key, field, element }
    })
}

fn name_of(entry: &SchemaEntry, cell: CellPlace) -> Result<FieldName, DataLayerError> {
    let field = entry.field_at(cell).map(|field| field.name.clone());
    field.ok_or_else(|| DataLayerError::missing("a field with elements"))
}

/// The values of a new record: what was given, else the fields' defaults.
fn with_defaults(entry: &SchemaEntry, mut writes: FieldWrites) -> FieldWrites {
    for (field, default) in &*entry.defaults {
        let value = writes.entry(*field).or_default();
        if value.is_none() {
            *value = Some(default.clone());
        }
    }
    writes
}
