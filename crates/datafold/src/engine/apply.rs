//! Carries out a prepared request on the records as they are.

use super::error::{FoldDbError, MutationError};
use super::mutation::{Condition, MutationKind};
use super::prepare::{Action, Prepared, PreparedCondition, Step, recheck};
use crate::data_layer::internal::{Draft, Editor, FieldWrites};
use crate::data_layer::{SchemaEntry, SerializationHelper};

/// Checks the preconditions, then carries out the steps. The first error ends it.
pub(crate) fn apply(editor: &mut Editor<'_>, prepared: &Prepared) -> Result<(), FoldDbError> {
    recheck(editor.catalogue, prepared)?;
    for condition in &prepared.preconditions {
        let draft =
            editor.working.record(editor.source, condition.entry.id, condition.key.bytes())?;
        check(condition, draft)?;
    }
    for step in &prepared.steps {
        let draft = editor.working.record(editor.source, step.entry.id, step.key.bytes())?;
        carry_out(step, draft)?;
    }
    Ok(())
}

/// As [`apply`] for the rows of an import; answers how many had all their values already.
pub(crate) fn apply_import(
    editor: &mut Editor<'_>,
    prepared: &Prepared,
) -> Result<u64, FoldDbError> {
    recheck(editor.catalogue, prepared)?;
    let mut unchanged = 0;
    for step in &prepared.steps {
        let draft = editor.working.record(editor.source, step.entry.id, step.key.bytes())?;
        match &step.action {
            Action::Import { writes } => {
                unchanged += u64::from(!import(&step.entry, writes, draft));
            }
            _ => carry_out(step, draft)?,
        }
    }
    Ok(unchanged)
}

/// Creates the record or merges the values that differ; answers whether there was any.
fn import(entry: &SchemaEntry, writes: &FieldWrites, draft: &mut Draft) -> bool {
    if !draft.exists() {
        draft.create(with_defaults(entry, writes.clone()));
        return true;
    }
    let mut writes = writes.clone();
    writes.retain(|field, value| draft.value(*field) != value.as_ref());
    let differs = !writes.is_empty();
    if differs {
        draft.merge(writes);
    }
    differs
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
        Action::Write { writes, .. } if draft.exists() => {
            draft.merge(writes.clone());
            Ok(())
        }
        Action::Import { writes } => {
            import(&step.entry, writes, draft);
            Ok(())
        }
        Action::Write { writes, .. } => {
            draft.create(with_defaults(&step.entry, writes.clone()));
            Ok(())
        }
    }
}

/// The values of a new record: what was given, else the fields' defaults.
fn with_defaults(entry: &SchemaEntry, mut writes: FieldWrites) -> FieldWrites {
    for (id, field) in entry.fields() {
        if let Some(default) = &field.default {
            let value = writes.entry(id).or_default();
            if value.is_none() {
                *value = Some(SerializationHelper::serialize(default));
            }
        }
    }
    writes
}
