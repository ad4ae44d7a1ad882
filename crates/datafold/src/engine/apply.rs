//! Carries out a prepared request on the records as they are.

use super::error::{FoldDbError, MutationError};
use super::mutation::{Condition, MutationKind};
use super::prepare::{Action, MappedWrites, Prepared, PreparedCondition, Step, recheck};
use crate::data_layer::internal::{Draft, Editor, FieldWrites};
use crate::data_layer::{CommitNumber, FieldId, SchemaEntry};

/// Checks the preconditions, then carries out the steps. The first error ends it.
pub(crate) fn apply(editor: &mut Editor<'_>, prepared: &Prepared) -> Result<(), FoldDbError> {
    recheck(editor.catalogue, prepared)?;
    for condition in &prepared.preconditions {
        let entry = &condition.entry;
        let draft = editor.working.record(editor.source, entry.records(), condition.key.bytes())?;
        check(condition, draft)?;
        let Condition::UnchangedSince(since) = condition.condition else { continue };
        for (cell, _) in entry.fields().filter(|(cell, _)| cell.schema != entry.records()) {
            let draft = editor.working.record(editor.source, cell.schema, condition.key.bytes())?;
            check_mapped(condition, since, draft, cell.field)?;
        }
    }
    for step in &prepared.steps {
        let draft = editor.working.record(editor.source, step.entry.records(), step.key.bytes())?;
        carry_out(step, draft)?;
        for MappedWrites { entry, writes } in &step.mapped {
            let draft = editor.working.record(editor.source, entry.id, step.key.bytes())?;
            if draft.exists() {
                draft.merge(writes.clone());
            } else if writes.values().any(Option::is_some) {
                draft.create(with_defaults(entry, writes.clone()));
            }
        }
    }
    Ok(())
}

fn check(condition: &PreparedCondition, draft: &Draft) -> Result<(), MutationError> {
    let exists = draft.exists() || !condition.entry.schema.is_keyed();
    let failed = |expected: String, found: String| {
        Err(MutationError::PreconditionFailed {
            schema: condition.entry.schema.name.clone(),
            key: condition.key.clone(),
            expected,
            found,
        })
    };
    match condition.condition {
        Condition::Exists if exists => Ok(()),
        Condition::Exists => failed("exists".into(), "does not exist".into()),
        Condition::Absent if !exists => Ok(()),
        Condition::Absent => failed("does not exist".into(), "exists".into()),
        Condition::UnchangedSince(since) => {
            let expected = || format!("is unchanged since commit {since}");
            let changed = match draft.changed() {
                // The record of a schema without key exists, changed or not.
                None if !condition.entry.schema.is_keyed() => Some(draft.ended()),
                changed => changed,
            };
            match changed {
                Some(changed) if changed <= since => Ok(()),
                Some(changed) => failed(expected(), format!("changed in commit {changed}")),
                None => failed(expected(), "does not exist".into()),
            }
        }
    }
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

fn carry_out(step: &Step, draft: &mut Draft) -> Result<(), MutationError> {
    let keyed = step.entry.schema.is_keyed();
    let (schema, key) = (step.entry.schema.name.clone(), step.key.clone());
    match &step.action {
        Action::Delete if !draft.exists() && keyed => {
            Err(MutationError::RecordNotFound { schema, key })
        }
        Action::Delete => {
            draft.delete();
            Ok(())
        }
        Action::Write { kind: MutationKind::Create, .. } if keyed && draft.exists() => {
            Err(MutationError::RecordExists { schema, key })
        }
        Action::Write { kind: MutationKind::Update, .. } if keyed && !draft.exists() => {
            Err(MutationError::RecordNotFound { schema, key })
        }
        // Everything that was given belongs to other records.
        Action::Write { writes, .. } | Action::Import { writes }
            if writes.is_empty() && !step.mapped.is_empty() =>
        {
            Ok(())
        }
        Action::Write { writes, .. } if draft.exists() => {
            draft.merge(writes.clone());
            Ok(())
        }
        Action::Import { writes } if draft.exists() => {
            let mut writes = writes.clone();
            writes.retain(|field, value| draft.value(*field) != value.as_ref());
            if !writes.is_empty() {
                draft.merge(writes);
            }
            Ok(())
        }
        Action::Write { writes, .. } | Action::Import { writes } => {
            draft.create(with_defaults(&step.entry, writes.clone()));
            Ok(())
        }
    }
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
