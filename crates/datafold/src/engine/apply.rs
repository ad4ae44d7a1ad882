//! Carries out a prepared request on the records as they are.

use bytes::Bytes;

use super::error::{FoldDbError, MutationError};
use super::mutation::{Condition, MutationKind, PutCondition};
use super::prepare::{
    Action, ElementWrite, NamedElement, Prepared, PreparedCondition, RecordWrites, Step, recheck,
};
use crate::data_layer::internal::{Draft, Editor, ElementName, FieldWrites};
use crate::data_layer::{CommitNumber, DataLayerError, SchemaEntry, SerializationHelper};
use crate::model::{FieldName, decode_element};

/// Checks the preconditions, then carries out the steps. The first error ends it. Answers how many
/// steps found everything as they would have left it; only those of an import pass over that.
pub(crate) fn apply(editor: &mut Editor<'_>, prepared: &Prepared) -> Result<u64, FoldDbError> {
    recheck(editor.catalogue, prepared)?;
    for condition in &prepared.preconditions {
        check(editor, condition)?;
    }
    let mut unchanged = 0;
    for step in &prepared.steps {
        unchanged += u64::from(!carry_out(editor, step)?);
    }
    Ok(unchanged)
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
            Some(NamedElement { field_name: field, text: element, .. }) => {
                let (field, element) = (field, element);
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
    let (id, key) = (condition.entry.id, condition.key.bytes());
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
    NamedElement { field, element, .. }: &NamedElement,
) -> Result<Found, DataLayerError> {
    let name = ElementName {
        schema: condition.entry.id,
        record: condition.key.bytes().clone(),
        field: *field,
        element: element.clone(),
    };
    let (record, draft) = editor.working.element(editor.source, &name)?;
    Ok(Found { exists: draft.value(record).is_some(), changed: draft.changed(record) })
}

/// Does what a step asks; answers whether there was anything to write.
fn carry_out(editor: &mut Editor<'_>, step: &Step) -> Result<bool, FoldDbError> {
    let draft = editor.working.record(editor.source, step.entry.id, step.key.bytes())?;
    match &step.action {
        Action::Delete => {
            need_record(step, draft)?;
            draft.delete();
            Ok(true)
        }
        Action::Write { kind, writes } => {
            match kind {
                MutationKind::Create if step.entry.schema.is_keyed() && draft.exists() => {
                    let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
                    return Err(MutationError::RecordExists { schema, key }.into());
                }
                MutationKind::Update => need_record(step, draft)?,
                MutationKind::Create | MutationKind::Upsert => {}
            }
            write_cells(step, draft, writes.cells.clone());
            write_elements(editor, step, writes, false)?;
            Ok(true)
        }
        Action::Import { writes } => {
            let mut cells = writes.cells.clone();
            if draft.exists() {
                cells.retain(|field, value| draft.value(*field) != value.as_ref());
            }
            let differs = !cells.is_empty() || !draft.exists();
            if differs {
                write_cells(step, draft, cells);
            }
            Ok(write_elements(editor, step, writes, true)? || differs)
        }
        Action::Put { elements, condition } => {
            need_record(step, draft)?;
            if !draft.exists() && !elements.is_empty() {
                write_cells(step, draft, FieldWrites::new());
            }
            for write in elements {
                put(editor, step, write, *condition)?;
            }
            Ok(true)
        }
        Action::Remove { elements } => {
            need_record(step, draft)?;
            for write in elements {
                put(editor, step, write, Some(PutCondition::Exists))?;
            }
            Ok(true)
        }
    }
}

/// Refuses a record that does not exist; that of a schema without key always does.
fn need_record(step: &Step, draft: &Draft) -> Result<(), MutationError> {
    if draft.exists() || !step.entry.schema.is_keyed() {
        return Ok(());
    }
    let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
    Err(MutationError::RecordNotFound { schema, key })
}

/// Merges cells into a record, or begins its life with them.
fn write_cells(step: &Step, draft: &mut Draft, cells: FieldWrites) {
    if draft.exists() {
        draft.merge(cells);
    } else {
        draft.create(with_defaults(&step.entry, cells));
    }
}

/// Writes the elements that are among the fields of a record, which exists by now; answers whether
/// there was any to write.
fn write_elements(
    editor: &mut Editor<'_>,
    step: &Step,
    writes: &RecordWrites,
    only_changed: bool,
) -> Result<bool, FoldDbError> {
    for field in &writes.nulls {
        let (id, record) = (step.entry.id, step.key.bytes());
        let found = editor.working.element_count(editor.source, id, record, *field)?;
        if let (1.., Some(name)) = (found, name_of(&step.entry, *field)) {
            let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
            return Err(MutationError::ElementsNotEmpty { schema, key, field: name, found }.into());
        }
    }
    let mut has_written = false;
    for write in &writes.elements {
        let name = step.element_name(write);
        let (record, draft) = editor.working.element(editor.source, &name)?;
        if !only_changed || draft.value(record) != write.value.as_ref() {
            draft.set(record, write.value.clone());
            has_written = true;
        }
    }
    Ok(has_written)
}

fn put(
    editor: &mut Editor<'_>,
    step: &Step,
    write: &ElementWrite,
    condition: Option<PutCondition>,
) -> Result<(), FoldDbError> {
    let name = step.element_name(write);
    let (record, draft) = editor.working.element(editor.source, &name)?;
    let exists = draft.value(record).is_some();
    let (refused, is_there) = match condition {
        Some(PutCondition::Absent) => (exists, true),
        Some(PutCondition::Exists) => (!exists, false),
        None => (false, exists),
    };
    if refused {
        return Err(refusal(step, write, is_there)?.into());
    }
    draft.set(record, write.value.clone());
    Ok(())
}

/// What is said of an element that must not be there, or must.
fn refusal(
    step: &Step,
    write: &ElementWrite,
    is_there: bool,
) -> Result<MutationError, DataLayerError> {
    let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
    let field = name_of(&step.entry, write.field);
    let field = field.ok_or_else(|| DataLayerError::missing("the field of an element"))?;
    let element = decode_element(&write.element)
        .map_err(|error| DataLayerError::key(datafold_store::Keyspace::Elements, &[], error))?;
    Ok(if is_there {
        MutationError::ElementExists { schema, key, field, element }
    } else {
        MutationError::ElementNotFound { schema, key, field, element }
    })
}

fn name_of(entry: &SchemaEntry, field: crate::data_layer::FieldId) -> Option<FieldName> {
    entry.field(field).map(|field| field.name.clone())
}

/// The values of a new record: what was given, else the fields' defaults.
fn with_defaults(entry: &SchemaEntry, mut cells: FieldWrites) -> FieldWrites {
    for (id, field) in entry.fields() {
        if let Some(default) = &field.default {
            let value: &mut Option<Bytes> = cells.entry(id).or_default();
            if value.is_none() {
                *value = Some(SerializationHelper::serialize(default));
            }
        }
    }
    cells
}
