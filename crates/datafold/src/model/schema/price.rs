//! What reading fields would cost. A preview: nothing is charged.

use serde::Serialize;

use super::super::{FieldName, SchemaName};
use super::payment::TrustDistanceScaling;
use super::{Field, Schema};

/// What a price starts from, in satoshi.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PriceBasis {
    /// The market's base rate of one field.
    pub market_rate: u64,
    /// The least price of a query.
    pub system_base_rate: u64,
}

/// The price of a query, in satoshi.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Price {
    /// The price of every field, each once, in the order of the query.
    pub fields: Vec<(FieldName, u64)>,
    /// The sum, or the least price of a query if that is more.
    pub total: u64,
}

/// A price that is more than can be paid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the price of {schema}{} is more than {} satoshi", of_field(field.as_ref()), PRICE_MAX)]
pub struct PriceError {
    /// The schema.
    pub schema: SchemaName,
    /// The field; none if the sum is too large.
    pub field: Option<FieldName>,
}

impl PriceError {
    /// A name of the error that never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "price_too_large"
    }
}

/// The largest price: amounts are integers of JSON.
const PRICE_MAX: u64 = i64::MAX as u64;
/// 2^63, the first float that is beyond it.
const PRICE_BEYOND: f64 = 9_223_372_036_854_775_808.0;

fn of_field(field: Option<&FieldName>) -> String {
    field.map(|field| format!(".{field}")).unwrap_or_default()
}

impl TrustDistanceScaling {
    /// The factor of a price for a caller at a distance: 1 or more; infinite beyond all floats.
    #[must_use]
    pub fn factor(&self, distance: u32) -> f64 {
        let distance = f64::from(distance);
        match *self {
            TrustDistanceScaling::None => 1.0,
            TrustDistanceScaling::Linear { slope, intercept, min_factor } => {
                (slope * distance + intercept).max(min_factor)
            }
            TrustDistanceScaling::Exponential { base, scale, min_factor } => {
                base.powf(scale * distance).max(min_factor)
            }
        }
    }
}

impl Schema {
    /// The price of one field for a caller at a distance, in satoshi.
    ///
    /// It is the largest of three: the rounded product of market rate, schema multiplier, field
    /// multiplier and [`TrustDistanceScaling::factor`]; the field's `min_payment`; and the schema's
    /// `min_payment_threshold`. The product is taken in 64-bit floats, from left to right, and
    /// rounded once, halves away from zero.
    ///
    /// # Errors
    ///
    /// [`PriceError`] for a product above `i64::MAX`, an infinite one too.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a product of floats; it is not negative and checked to be below 2^63"
    )]
    pub fn field_price(
        &self,
        field: &Field,
        basis: &PriceBasis,
        distance: u32,
    ) -> Result<u64, PriceError> {
        let payment = &field.payment;
        let product = basis.market_rate as f64
            * self.payment.base_multiplier
            * payment.base_multiplier
            * payment.scaling.factor(distance);
        let rounded = product.round();
        // 0 times infinity: what costs nothing costs nothing at any distance.
        let rounded = if basis.market_rate == 0 { 0.0 } else { rounded };
        if rounded.is_nan() || rounded >= PRICE_BEYOND {
            let (schema, field) = (self.name.clone(), Some(field.name.clone()));
            return Err(PriceError { schema, field });
        }
        let least = payment.min_payment.unwrap_or(0).max(self.payment.min_payment_threshold);
        Ok(least.max(rounded as u64))
    }

    /// The price of reading some fields in one query, in satoshi.
    ///
    /// The sum of [`Schema::field_price`], each field counted once, and at least
    /// [`PriceBasis::system_base_rate`], which is asked for once a query and not for each field.
    ///
    /// # Errors
    ///
    /// [`PriceError`] for a field or a sum above `i64::MAX`.
    ///
    /// ```
    /// use datafold::model::{PriceBasis, Schema};
    ///
    /// let schema = Schema::parse(
    ///     r#"{"name": "Song", "payment_config": {"base_multiplier": 1.5},
    ///         "fields": {"title": {"payment_config": {"base_multiplier": 2}},
    ///                    "year": {"payment_config": {"base_multiplier": 1.5}}}}"#,
    /// )?.schema;
    /// let basis = PriceBasis { market_rate: 100, system_base_rate: 50 };
    /// assert_eq!(schema.price(schema.fields.iter(), &basis, 0)?.total, 525);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn price<'f>(
        &self,
        fields: impl Iterator<Item = &'f Field>,
        basis: &PriceBasis,
        distance: u32,
    ) -> Result<Price, PriceError> {
        let mut prices: Vec<(FieldName, u64)> = Vec::new();
        let mut sum = 0_u64;
        for field in fields {
            if prices.iter().any(|(name, _)| *name == field.name) {
                continue;
            }
            let price = self.field_price(field, basis, distance)?;
            prices.push((field.name.clone(), price));
            sum = match sum.checked_add(price) {
                Some(sum) if sum <= PRICE_MAX => sum,
                _ => return Err(PriceError { schema: self.name.clone(), field: None }),
            };
        }
        Ok(Price { fields: prices, total: sum.max(basis.system_base_rate) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(multiplier: &str, threshold: u64, fields: &[&str]) -> Schema {
        let field =
            |(i, payment): (usize, &&str)| format!(r#""f{i}":{{"payment_config":{payment}}}"#);
        let fields: Vec<_> = fields.iter().enumerate().map(field).collect();
        let text = format!(
            r#"{{"name":"S","payment_config":{{"base_multiplier":{multiplier},
                "min_payment_threshold":{threshold}}},"fields":{{{}}}}}"#,
            fields.join(",")
        );
        Schema::parse(&text).unwrap().schema
    }

    fn total(schema: &Schema, rate: u64, distance: u32) -> u64 {
        let basis = PriceBasis { market_rate: rate, system_base_rate: 0 };
        schema.price(schema.fields.iter(), &basis, distance).unwrap().total
    }

    #[test]
    fn prices_are_those_of_the_formula() {
        let linear = r#"{"base_multiplier":2,"trust_distance_scaling":
            {"Linear":{"slope":0.5,"intercept":1,"min_factor":1}}}"#;
        let exponential = r#"{"base_multiplier":2,"trust_distance_scaling":
            {"Exponential":{"base":2,"scale":0.5,"min_factor":1}}}"#;
        for (fields, distance, expected) in [
            (vec![linear], 2, 600),
            (vec![exponential], 3, 849),
            (vec![r#"{"base_multiplier":2}"#, r#"{"base_multiplier":1.5}"#], 0, 525),
            (vec![r#"{"base_multiplier":0.1,"min_payment":1000}"#], 0, 1_000),
            (vec![linear], 0, 300),
        ] {
            assert_eq!(total(&schema("1.5", 0, &fields), 100, distance), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_falling_line_stops_at_the_least_factor() {
        let falling = r#"{"trust_distance_scaling":
            {"Linear":{"slope":-5,"intercept":3,"min_factor":1.5}}}"#;
        let schema = schema("1", 0, &[falling]);
        assert_eq!((total(&schema, 10, 0), total(&schema, 10, u32::MAX)), (30, 15));
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let price = |rate| total(&schema("0.5", 0, &["{}"]), rate, 0);
        assert_eq!([price(0), price(1), price(2), price(3), price(5)], [0, 1, 1, 2, 3]);
    }

    #[test]
    fn the_schema_asks_for_each_field_and_the_system_for_each_query() {
        let schema = schema("1", 7, &["{}", r#"{"min_payment":9}"#]);
        let price = |system_base_rate, fields: &[&Field]| {
            let basis = PriceBasis { market_rate: 1, system_base_rate };
            schema.price(fields.iter().copied(), &basis, 0).unwrap().total
        };
        let [first, second] = [&schema.fields[0], &schema.fields[1]];
        assert_eq!(price(0, &[first, second]), 16);
        assert_eq!(price(10, &[first, second]), 16);
        assert_eq!(price(20, &[first, second]), 20);
        // A field that is named twice is read once.
        assert_eq!(price(0, &[first, second, first]), 16);
        assert_eq!(price(3, &[]), 3);
    }

    #[test]
    fn what_is_too_much_is_an_error() {
        let steep = r#"{"trust_distance_scaling":
            {"Exponential":{"base":10,"scale":1,"min_factor":1}}}"#;
        let steep = schema("1", 0, &[steep]);
        let price = |schema: &Schema, market_rate, distance| {
            let basis = PriceBasis { market_rate, system_base_rate: 0 };
            schema.price(schema.fields.iter(), &basis, distance).map(|price| price.total)
        };
        assert_eq!(price(&steep, 1, 18), Ok(1_000_000_000_000_000_000));
        for distance in [19, 400, u32::MAX] {
            let error = price(&steep, 1, distance).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the price of S.f0 is more than 9223372036854775807 satoshi"
            );
        }
        assert_eq!(price(&steep, 0, u32::MAX), Ok(0));
        let many = schema("1", i64::MAX.unsigned_abs(), &["{}", "{}"]);
        assert_eq!(price(&many, 1, 0).unwrap_err().field, None);
    }
}
