//! Answers of groups.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafold_lang as lang;

use super::super::super::error::{FoldDbError, QueryError};
use super::super::Record;
use super::super::explain::Counts;
use super::super::group::Groups;
use super::super::order::{Sorter, ends_descending, write_order, write_ties, write_value};
use super::super::plan::Grouping;
use super::super::program::RowView;
use super::Run;
use crate::model::from_lang;

/// The place of a group in the order stands whole in a cursor up to so many bytes.
const PLACE_BYTES_MAX: usize = 256;
const PLACE_WHOLE: u8 = 0;
const PLACE_HASHED: u8 = 1;

impl Run<'_> {
    pub(super) fn run_groups(
        &self,
        grouping: &Grouping,
        visit: &mut impl FnMut(&mut Record) -> ControlFlow<()>,
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let mut groups = Groups::new(&grouping.keys, &grouping.aggregates);
        if self.plan.is_plain_count(grouping) {
            groups.count(self.counted()?);
        } else if self.plan.counts_entries(grouping) {
            groups.count(self.count_entries()?);
        } else {
            self.each_match(false, None, false, &mut |_, view| {
                groups.add(view, &self.plan.around)?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        let rows = groups.finish()?;
        Counts::add(&self.plan.counts.groups, rows.len() as u64);
        let mut sorter = Sorter::new(self.plan.limit);
        let mut order = Vec::new();
        let after = grouping.cursor_order(self.plan.after.as_deref(), &rows)?;
        for values in rows {
            self.look()?;
            let view = RowView::of_group(&values);
            if let Some(having) = &grouping.having
                && !having.matches(&view, &grouping.around)?
            {
                continue;
            }
            order.clear();
            grouping.write_place(&values, &mut order)?;
            if after.as_ref().is_none_or(|after| order > *after) {
                sorter.offer(&order, || values)?;
            }
        }
        let has_more = sorter.has_more;
        let found = sorter.finish();
        let last = found.last().filter(|_| has_more).map(|item| group_cursor(&item.order));
        let columns = &grouping.names;
        for item in found {
            self.look()?;
            let view = RowView::of_group(&item.payload);
            let mut values = Vec::with_capacity(columns.len());
            for bound in &grouping.columns {
                let value = bound.evaluate(&view, &grouping.around, |value| from_lang(&value))?;
                values.push(value);
            }
            let mut record = Record { columns: Arc::clone(columns), values };
            if visit(&mut record).is_break() {
                break;
            }
        }
        Ok(last)
    }
}

impl Grouping {
    /// Writes the place of a group in the order.
    fn write_place(
        &self,
        values: &Vec<lang::Value<'static>>,
        order: &mut Vec<u8>,
    ) -> Result<(), FoldDbError> {
        write_order(&self.sort, &RowView::of_group(values), &self.around, order)?;
        write_ties(ends_descending(&self.sort), order, |order| {
            for value in values.iter().take(self.keys.len()) {
                write_value(value, order);
            }
        });
        Ok(())
    }

    /// The place in the order of the group at which the page before has ended.
    fn cursor_order(
        &self,
        after: Option<&[u8]>,
        rows: &[Vec<lang::Value<'static>>],
    ) -> Result<Option<Vec<u8>>, FoldDbError> {
        let Some(after) = after else { return Ok(None) };
        let (form, place) = after.split_first().ok_or(QueryError::InvalidCursor)?;
        if *form == PLACE_WHOLE {
            return Ok(Some(place.to_vec()));
        }
        let mut order = Vec::new();
        for values in rows {
            order.clear();
            self.write_place(values, &mut order)?;
            if hash_of(&order) == place {
                return Ok(Some(order));
            }
        }
        Err(QueryError::InvalidCursor.into())
    }
}

/// The place of a group as it stands in a cursor: whole, or if it is long as a hash.
fn group_cursor(order: &[u8]) -> Vec<u8> {
    match order.len() {
        ..=PLACE_BYTES_MAX => [&[PLACE_WHOLE], order].concat(),
        _ => [&[PLACE_HASHED][..], &hash_of(order)].concat(),
    }
}

fn hash_of(order: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    blake3::Hasher::new().update(order).finalize_xof().fill(&mut hash);
    hash
}
