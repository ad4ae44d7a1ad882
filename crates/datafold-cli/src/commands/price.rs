//! `query --price`: what a query would cost.

use datafold::QueryRequest;
use datafold::model::{Price, PriceBasis, Value};

use crate::Done;
use crate::args::PriceFlags;
use crate::output::{Format, Out, RowWriter, footer, note};
use crate::session::Session;

/// Prints the price of each selected field, and of the query.
pub(super) fn print(
    session: &Session<'_>,
    request: &QueryRequest,
    flags: &PriceFlags,
    out: &mut Out,
) -> Done {
    let basis = PriceBasis { market_rate: flags.market_rate, system_base_rate: flags.base_rate };
    let price = session.db.price_of(request, &basis, flags.distance);
    let Price { fields, total } = price.map_err(|error| session.fail(&error))?;
    let format = session.invocation.format;
    if format == Format::Json {
        out.text("{\"prices\":")?;
    }
    let mut rows = RowWriter::begin(out, format, vec!["field".into(), "price".into()])?;
    for (field, price) in fields {
        // A price is at most the largest i64.
        let price = Value::Int(i64::try_from(price).unwrap_or(i64::MAX));
        rows.row(&[Value::from(field.as_str()), price])?;
    }
    rows.finish()?;
    match format {
        Format::Json => out.line(format_args!(",\"total\":{total}}}")),
        Format::Ndjson | Format::Csv => {
            out.flush()?;
            note(format_args!("total: {total}"));
            Ok(())
        }
        Format::Table => {
            out.flush()?;
            let caller = flags.distance;
            footer(format_args!("{total} satoshi for a caller at distance {caller}"));
            Ok(())
        }
    }
}
