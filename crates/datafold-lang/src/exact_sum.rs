//! Sums that are rounded once.

use crate::value::Value;

/// Bits of one limb.
const LIMB_BITS: usize = 32;
/// Every float is a multiple of 2^-1074 and less than 2^1024; with 64 bits above for carries.
const LIMBS: usize = (1074 + 1024 + 64) / LIMB_BITS + 1;
/// The place of the bit of 2^0.
const UNIT: usize = 1074;
/// An addition changes a limb by less than 2^32, so that many fit before carries must be made.
const LAZY_MAX: u32 = 1 << 29;

/// The exact sum of integers and floats, rounded once when it is read.
///
/// The order in which numbers are added does not matter, and what was added can be taken away again
/// without a trace. Nothing overflows before it is read.
///
/// # Cost
///
/// A few nanoseconds a number. 32 bytes, and another 560 while a float is in it.
///
/// ```
/// use datafold_lang::{ExactSum, Value};
///
/// let mut sum = ExactSum::new();
/// for number in [1e100, 0.5, -1e100] {
///     sum.add(&Value::number(number)?);
/// }
/// assert_eq!(sum.value(), Some(Value::Float(0.5)));
/// sum.remove(&Value::Float(0.5));
/// assert_eq!(sum.value(), Some(Value::Int(0)));
/// # Ok::<(), datafold_lang::InvalidValue>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    ints: i128,
    /// How many floats are in it. It is negative while more were taken away than added.
    float_count: i64,
    /// The sum of the floats, if any are in it.
    floats: Option<Box<Wide>>,
}

/// A number in two's complement, of limbs that may hold carries: its value is the sum of
/// `limb * 2^(32 * at - 1074)`.
#[derive(Debug, Clone)]
struct Wide {
    limbs: [i64; LIMBS],
    /// Additions since the carries were made.
    pending: u32,
}

impl ExactSum {
    /// The sum of nothing, 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number; anything else is passed over. Says whether it was a number.
    pub fn add(&mut self, value: &Value<'_>) -> bool {
        self.change(value, 1)
    }

    /// Takes a number away that was added before; anything else is passed over.
    pub fn remove(&mut self, value: &Value<'_>) -> bool {
        self.change(value, -1)
    }

    /// The bytes of memory that it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let floats = self.floats.as_ref().map_or(0, |_| size_of::<Wide>());
        (size_of::<Self>() + floats) as u64
    }

    fn change(&mut self, value: &Value<'_>, sign: i64) -> bool {
        match value {
            Value::Int(int) => self.ints += i128::from(sign) * i128::from(*int),
            Value::Float(float) => {
                self.floats.get_or_insert_with(Default::default).add_float(*float, sign);
                self.float_count += sign;
                self.settle();
            }
            _ => return false,
        }
        true
    }

    /// Nothing is left of floats that were all taken away, so that a sum is what is in it and not
    /// how it came to be.
    fn settle(&mut self) {
        if self.float_count == 0 {
            self.floats = None;
        }
    }

    /// Adds all that another sum holds.
    pub fn merge(&mut self, other: &ExactSum) {
        self.ints += other.ints;
        if let Some(other) = &other.floats {
            let floats = self.floats.get_or_insert_with(Default::default);
            let mut other = other.clone();
            floats.carry();
            other.carry();
            for (limb, more) in floats.limbs.iter_mut().zip(other.limbs) {
                *limb += more;
            }
            floats.pending = 1;
        }
        self.float_count += other.float_count;
        self.settle();
    }

    /// The sum as bytes: 16 of the integers, and with floats 8 of their count and those of their
    /// sum. Equal for the same numbers, in whatever order they were added.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.ints.to_be_bytes().to_vec();
        let Some(floats) = &self.floats else { return out };
        let mut wide = floats.clone();
        wide.carry();
        out.extend(self.float_count.to_be_bytes());
        // Most limbs at both ends are 0, or those of a sign.
        let (last, rest) = wide.limbs.split_last().unwrap_or((&0, &[]));
        let first = rest.iter().position(|limb| *limb != 0).unwrap_or(rest.len());
        let fill = if *last < 0 { i64::from(u32::MAX) } else { 0 };
        let end = rest.iter().rposition(|limb| *limb != fill).map_or(first, |at| at + 1);
        out.extend(last.to_be_bytes());
        out.push(u8::try_from(first).unwrap_or(u8::MAX));
        for limb in rest.get(first..end.max(first)).unwrap_or_default() {
            out.extend(u32::try_from(*limb).unwrap_or(0).to_be_bytes());
        }
        out
    }

    /// The sum that [`ExactSum::to_bytes`] has written; `None` for what it never writes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (ints, rest) = bytes.split_first_chunk()?;
        let mut sum = Self { ints: i128::from_be_bytes(*ints), ..Self::default() };
        if rest.is_empty() {
            return Some(sum);
        }
        let (count, rest) = rest.split_first_chunk()?;
        let (last, rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first()?;
        let (first, last) = (usize::from(*first), i64::from_be_bytes(*last));
        let (parts, []) = rest.as_chunks::<4>() else { return None };
        let mut wide = Wide::default();
        let (top, limbs) = wide.limbs.split_last_mut()?;
        *top = last;
        if first + parts.len() > limbs.len() {
            return None;
        }
        let fill = if last < 0 { i64::from(u32::MAX) } else { 0 };
        for limb in limbs.iter_mut().skip(first) {
            *limb = fill;
        }
        for (limb, part) in limbs.iter_mut().skip(first).zip(parts) {
            *limb = i64::from(u32::from_be_bytes(*part));
        }
        sum.float_count = i64::from_be_bytes(*count);
        sum.floats = (sum.float_count != 0).then(|| Box::new(wide));
        (sum.to_bytes() == bytes).then_some(sum)
    }

    /// The sum, an integer if it equals one, else the nearest float (ties to even); `None` if it
    /// is larger than there are numbers. A sum of integers alone that is no `i64` is `None` too:
    /// it is not rounded.
    #[must_use]
    pub fn value(&self) -> Option<Value<'static>> {
        match self.floats {
            None => i64::try_from(self.ints).ok().map(Value::Int),
            Some(_) => Value::number(self.to_float()).ok(),
        }
    }

    /// The sum divided by a count, rounded to a float first unless it divides exactly; `None` for
    /// a count of 0.
    #[must_use]
    pub fn average(&self, count: u64) -> Option<Value<'static>> {
        if count == 0 {
            return None;
        }
        let exact = self.ints % i128::from(count) == 0 && self.floats.is_none();
        if exact && let Ok(average) = i64::try_from(self.ints / i128::from(count)) {
            return Some(Value::Int(average));
        }
        Value::number(self.to_float() / count as f64).ok()
    }

    /// The nearest float; an infinity if there is none.
    fn to_float(&self) -> f64 {
        let Some(floats) = &self.floats else { return self.ints as f64 };
        let mut wide = floats.clone();
        wide.carry();
        wide.add_int(self.ints);
        wide.round()
    }
}

impl Default for Wide {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], pending: 0 }
    }
}

impl Wide {
    fn add_float(&mut self, float: f64, sign: i64) {
        let bits = float.to_bits();
        let exponent = usize::try_from((bits >> 52) & 0x7FF).unwrap_or(0);
        let fraction = bits & ((1 << 52) - 1);
        // The float is `mantissa * 2^(place - 1074)`.
        let (mantissa, place) = match exponent {
            0 => (fraction, 0),
            _ => (fraction | (1 << 52), exponent - 1),
        };
        let sign = if float.is_sign_negative() { -sign } else { sign };
        self.add_shifted(mantissa, place, sign);
    }

    fn add_int(&mut self, int: i128) {
        let sign = if int < 0 { -1 } else { 1 };
        let size = int.unsigned_abs();
        let half = |shift: u32| u64::try_from((size >> shift) & u128::from(u64::MAX)).unwrap_or(0);
        self.add_shifted(half(0), UNIT, sign);
        self.add_shifted(half(64), UNIT + 64, sign);
    }

    /// Adds `sign * mantissa * 2^(place - 1074)`.
    fn add_shifted(&mut self, mantissa: u64, place: usize, sign: i64) {
        let shifted = u128::from(mantissa) << (place % LIMB_BITS);
        let first = place / LIMB_BITS;
        let limbs = self.limbs.iter_mut().skip(first).take(3);
        for (at, limb) in limbs.enumerate() {
            let part = (shifted >> (at * LIMB_BITS)) & u128::from(u32::MAX);
            *limb += sign * i64::try_from(part).unwrap_or(0);
        }
        self.pending += 1;
        if self.pending >= LAZY_MAX {
            self.carry();
        }
    }

    /// Brings all limbs but the last into 0..2^32; the last has the sign.
    fn carry(&mut self) {
        let mut carry = 0_i64;
        let last = LIMBS - 1;
        for (at, limb) in self.limbs.iter_mut().enumerate() {
            let sum = *limb + carry;
            if at == last {
                *limb = sum;
            } else {
                *limb = sum & i64::from(u32::MAX);
                carry = sum >> LIMB_BITS;
            }
        }
        self.pending = 0;
    }

    /// The nearest float, ties to even.
    fn round(mut self) -> f64 {
        self.carry();
        let is_negative = self.limbs.last().is_some_and(|last| *last < 0);
        if is_negative {
            for limb in &mut self.limbs {
                *limb = -*limb;
            }
            self.carry();
        }
        let Some(top) = self.limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
        let limb = |at: usize| self.limbs.get(at).copied().unwrap_or(0).unsigned_abs();
        let top_bit = top * LIMB_BITS + (63 - limb(top).leading_zeros() as usize);
        let bit = |at: usize| (limb(at / LIMB_BITS) >> (at % LIMB_BITS)) & 1;
        // A float has 53 bits; fewer below 2^-1022, where the last bit is always that of 2^-1074.
        let low = (top_bit + 1).saturating_sub(53);
        let mut mantissa = (low..=top_bit).rev().fold(0_u64, |bits, at| (bits << 1) | bit(at));
        if low > 0 && bit(low - 1) == 1 {
            let is_tie = (0..low - 1).all(|at| bit(at) == 0);
            if !is_tie || mantissa & 1 == 1 {
                mantissa += 1;
            }
        }
        let size = scale(mantissa, low);
        if is_negative { -size } else { size }
    }
}

/// `mantissa * 2^(low - 1074)`, where the mantissa has at most 53 bits, or is 2^53.
fn scale(mantissa: u64, low: usize) -> f64 {
    let (mantissa, low) =
        if mantissa == 1 << 53 { (mantissa >> 1, low + 1) } else { (mantissa, low) };
    if mantissa < 1 << 52 {
        // Below 2^-1022, where `low` is 0.
        return f64::from_bits(mantissa);
    }
    let exponent = low as u64 + 1;
    if exponent >= 0x7FF {
        return f64::INFINITY;
    }
    f64::from_bits((exponent << 52) | (mantissa & ((1 << 52) - 1)))
}

/// Two sums are equal if what they hold is, however it was added.
impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let all = |sum: &Self| {
            let mut wide = sum.floats.as_deref().cloned().unwrap_or_default();
            wide.carry();
            wide.add_int(sum.ints);
            wide.carry();
            wide.limbs
        };
        all(self) == all(other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number::exact_int;

    fn sum(numbers: &[f64]) -> ExactSum {
        let mut sum = ExactSum::new();
        for number in numbers {
            // Also floats that hide an integer are added as they are.
            sum.add(&Value::Float(*number));
        }
        sum
    }

    #[test]
    fn sums_are_rounded_once() {
        for (numbers, expected) in [
            (vec![0.1; 10], 1.0),
            (vec![1e308, 1e308, -1e308], 1e308),
            (vec![f64::MIN_POSITIVE, -f64::MIN_POSITIVE / 2.0], f64::MIN_POSITIVE / 2.0),
            (vec![5e-324, 5e-324], 1e-323),
            (vec![9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0),
            (vec![9_007_199_254_740_992.0, 1.0, 5e-324], 9_007_199_254_740_994.0),
            (vec![-9_007_199_254_740_992.0, -1.5], -9_007_199_254_740_994.0),
            (vec![f64::MAX, -f64::MAX], 0.0),
        ] {
            assert_eq!(sum(&numbers).to_float(), expected, "{numbers:?}");
        }
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), None);
        let mut ints = ExactSum::new();
        ints.add(&Value::Int(i64::MAX));
        ints.add(&Value::Int(1));
        assert_eq!(ints.value(), None);
        ints.add(&Value::Int(-2));
        assert_eq!(ints.value(), Some(Value::Int(i64::MAX - 1)));
        assert_eq!(ints.average(0), None);
        assert!(!ints.add(&Value::Null));
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |float| float.is_finite()),
            -1e6..1e6,
            any::<i64>().prop_map(|int| int as f64),
        ]
    }

    proptest! {
        #[test]
        fn order_and_removal_leave_no_trace(
            mut numbers in prop::collection::vec(number(), 1..20),
            more in prop::collection::vec(number(), 0..20),
        ) {
            let expected = sum(&numbers);
            numbers.reverse();
            let mut found = sum(&numbers);
            found.merge(&sum(&more));
            for number in &more {
                found.remove(&Value::Float(*number));
            }
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(found.to_float().to_bits(), expected.to_float().to_bits());
            prop_assert_eq!(found.to_bytes(), expected.to_bytes());
        }

        #[test]
        fn sums_are_read_back(
            floats in prop::collection::vec(number(), 0..9),
            ints in prop::collection::vec(any::<i64>(), 0..9),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut found = sum(&floats);
            for int in &ints {
                found.add(&Value::Int(*int));
            }
            let read = ExactSum::from_bytes(&found.to_bytes()).unwrap();
            prop_assert_eq!(&read, &found);
            prop_assert_eq!(read.value(), found.value());
            for float in &floats {
                found.remove(&Value::Float(*float));
            }
            prop_assert_eq!(found.to_bytes().len(), 16);
            if let Some(sum) = ExactSum::from_bytes(&bytes) {
                prop_assert_eq!(sum.to_bytes(), bytes);
            }
        }

        #[test]
        fn two_floats_sum_as_the_machine_adds_them(a in number(), b in number()) {
            let expected = a + b;
            prop_assert!(sum(&[a, b]).to_float() == expected);
        }

        #[test]
        fn integers_beside_floats_are_exact(ints in prop::collection::vec(any::<i64>(), 0..20)) {
            let mut found = sum(&[0.5]);
            for int in &ints {
                found.add(&Value::Int(*int));
            }
            found.remove(&Value::Float(0.5));
            let total: i128 = ints.iter().map(|int| i128::from(*int)).sum();
            prop_assert!(found.to_float() == total as f64);
            prop_assert_eq!(exact_int(found.to_float()).is_some(), found.value().is_some_and(
                |value| matches!(value, Value::Int(_))));
        }
    }
}
