use super::primitives::{as_i32, mulhi, shift_left};

/// Section 7: the weights `e[j]` of one row of scores. Never normalised; the largest is 255.
///
/// # Panics
/// If a shifted difference overflows or an index is negative, which the compiler excludes.
#[must_use]
pub fn softmax_weights(scores: &[i32], exp_mult: i32, shift: u32, table: &[u8]) -> Vec<u8> {
    assert_eq!(table.len(), 1024);
    let largest = *scores.iter().max().expect("a score");
    scores
        .iter()
        .map(|&score| {
            let difference = as_i32(i64::from(largest) - i64::from(score));
            let index = mulhi(shift_left(difference, shift), exp_mult).min(1023);
            table[usize::try_from(index).expect("an index into the table of exponentials")]
        })
        .collect()
}

/// `D`: the sum of the weights.
#[must_use]
pub fn weight_sum(weights: &[u8]) -> u32 {
    weights.iter().map(|&e| u32::from(e)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::exp_table;
    use super::*;

    #[test]
    fn is_the_float_softmax_within_the_table() {
        let table = exp_table();
        // One score step is 1/1000 of the exponent.
        let shift = 8;
        let exp_mult = (f64::from(2u32.pow(24)) * 128.0 / 1000.0).round() as i32;
        let scores = [-4000, 1200, 900, -300, 1199, -100_000, 0];
        let e = softmax_weights(&scores, exp_mult, shift, &table);
        assert_eq!(e[1], 255);
        assert_eq!(e[5], 0);
        let d = f64::from(weight_sum(&e));
        let exact: Vec<f64> = scores.iter().map(|&a| (f64::from(a) / 1000.0).exp()).collect();
        let total: f64 = exact.iter().sum();
        for (e, exact) in e.iter().zip(exact) {
            assert!((f64::from(*e) / d - exact / total).abs() < 0.003);
        }
    }

    #[test]
    fn far_scores_clamp_to_the_last_entry() {
        let mut table = exp_table();
        table[1023] = 7;
        let e = softmax_weights(&[i32::MIN / 2, 0, i32::MAX / 2], i32::MAX, 0, &table);
        assert_eq!(e, [7, 7, 255]);
    }
}
