//! Ranges narrower than the extremes, where that costs less than it saves.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::quantize::scale::Affine;

/// How the range of an int8 tensor follows from its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The one of the others with the smallest error, tensor by tensor; see also
    /// [`Calibration::judged`](super::Calibration::judged).
    #[default]
    Auto,
    /// From the smallest to the largest value.
    MinMax,
    /// Without the outermost 1 in 1,000, 10,000 or 100,000 values on either side, whichever is best.
    Percentile,
    /// The least mean squared error over narrowed ranges.
    Mse,
}

/// Bins of a histogram: eight a quantization step, so that rounding errors are resolved.
const BINS: usize = 2048;
/// Shares of the values that percentiles leave out on either side.
const TAILS: [f64; 3] = [1e-3, 1e-4, 1e-5];
/// Narrowed ends, in shares of the whole range, that the search for the least error tries.
const CUTS: RangeInclusive<u32> = 0..=12;
const CUT: f64 = 0.04;

/// How often values occur between two ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    lo: f64,
    hi: f64,
    counts: Vec<u64>,
}

impl Histogram {
    pub(super) fn new(lo: f32, hi: f32) -> Self {
        Self { lo: f64::from(lo), hi: f64::from(hi), counts: vec![0; BINS] }
    }

    pub(super) fn add(&mut self, values: &[f32]) {
        let factor = BINS as f64 / (self.hi - self.lo).max(f64::MIN_POSITIVE);
        for &v in values {
            let bin = ((f64::from(v) - self.lo) * factor) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    pub(super) fn merge(mut self, other: &Self) -> Self {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self
    }

    /// The middle of a bin.
    fn value(&self, bin: usize) -> f64 {
        self.lo + (bin as f64 + 0.5) * (self.hi - self.lo) / BINS as f64
    }

    /// Mean squared error of `function` behind int8 values of this range.
    fn error(&self, (lo, hi): (f64, f64), function: &dyn Fn(f64) -> f64) -> f64 {
        let affine = Affine::int8(lo as f32, hi as f32);
        let table: Vec<f64> = (-128..=127).map(|q| function(affine.real(q))).collect();
        let occupied = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let squares = occupied.map(|(bin, &count)| {
            let value = self.value(bin);
            let q = affine.quantized(value).round().clamp(-128.0, 127.0);
            (table[(q + 128.0) as usize] - function(value)).powi(2) * count as f64
        });
        squares.sum::<f64>() / self.counts.iter().sum::<u64>().max(1) as f64
    }

    /// Ends that leave out this share of the values on either side.
    fn percentile(&self, tail: f64) -> (f64, f64) {
        let allowed = self.counts.iter().sum::<u64>() as f64 * tail;
        let inside = |bins: &[usize]| {
            let mut outside = 0.0;
            bins.iter().copied().find(|&bin| {
                outside += self.counts[bin] as f64;
                outside > allowed
            })
        };
        let (up, down): (Vec<_>, Vec<_>) = ((0..BINS).collect(), (0..BINS).rev().collect());
        let width = (self.hi - self.lo) / BINS as f64;
        let first = inside(&up).unwrap_or(0);
        let last = inside(&down).unwrap_or(BINS - 1);
        (self.lo + first as f64 * width, self.lo + (last + 1) as f64 * width)
    }

    /// The range of a method, and the method behind it.
    pub(super) fn range(
        &self,
        method: Method,
        function: &dyn Fn(f64) -> f64,
    ) -> ((f32, f32), Method) {
        let whole = (self.lo, self.hi);
        let span = self.hi - self.lo;
        let mut candidates = vec![];
        if matches!(method, Method::Auto | Method::MinMax) || span <= 0.0 {
            candidates.push((whole, Method::MinMax));
        }
        if matches!(method, Method::Auto | Method::Percentile) && span > 0.0 {
            candidates.extend(TAILS.map(|tail| (self.percentile(tail), Method::Percentile)));
        }
        if matches!(method, Method::Auto | Method::Mse) && span > 0.0 {
            let cuts = CUTS.flat_map(|low| CUTS.map(move |high| (low, high)));
            candidates.extend(cuts.map(|(low, high)| {
                let (low, high) = (f64::from(low) * CUT, f64::from(high) * CUT);
                ((self.lo + low * span, self.hi - high * span), Method::Mse)
            }));
        }
        let mut best = (whole, Method::MinMax, f64::INFINITY);
        for (range, method) in candidates {
            let error = self.error(range, function);
            // The first of equals: the extremes before anything narrower.
            if error < best.2 {
                best = (range, method, error);
            }
        }
        ((best.0.0 as f32, best.0.1 as f32), best.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many small values and one far away.
    fn outlier() -> Histogram {
        let mut histogram = Histogram::new(-1.0, 8.0);
        let values: Vec<f32> = (0..1_000_000).map(|i| (i as f32 * 0.37).sin()).collect();
        histogram.add(&values);
        histogram.add(&[8.0]);
        histogram
    }

    #[test]
    fn a_lone_outlier_is_cut_off_where_that_pays() {
        let identity: &dyn Fn(f64) -> f64 = &|x| x;
        let histogram = outlier();
        let error = |method| {
            histogram.error(
                {
                    let ((lo, hi), _) = histogram.range(method, identity);
                    (f64::from(lo), f64::from(hi))
                },
                identity,
            )
        };
        let [auto, extremes, percentile, mse] =
            [Method::Auto, Method::MinMax, Method::Percentile, Method::Mse].map(error);
        assert!(auto <= extremes.min(percentile).min(mse));
        assert!(auto < 0.7 * extremes, "{auto} {extremes} {percentile} {mse}");
    }

    #[test]
    fn even_values_keep_their_extremes() {
        let mut histogram = Histogram::new(-2.0, 3.0);
        let values: Vec<f32> = (0..=50_000).map(|i| -2.0 + i as f32 / 10_000.0).collect();
        histogram.add(&values);
        let ((lo, hi), _) = histogram.range(Method::Auto, &|x| x);
        assert!(lo < -1.9 && hi > 2.9, "{lo} {hi}");
    }

    #[test]
    fn a_constant_has_a_range() {
        let mut histogram = Histogram::new(1.5, 1.5);
        histogram.add(&[1.5; 9]);
        for method in [Method::Auto, Method::MinMax, Method::Percentile, Method::Mse] {
            assert_eq!(histogram.range(method, &|x| x).0, (1.5, 1.5));
        }
    }
}
