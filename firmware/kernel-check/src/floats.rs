//! Kernels on floats, whose every bit counts.

use bytemuck::cast_slice_mut;
use picovit::kernels::float::{
    add_affine_f16, affine_f16, each, gelu, layer_norm, scores_f32, silu, softmax_f32,
    weighted_mean,
};

use crate::random::Random;
use crate::{Memory, Sum};

/// Values of a row at most.
const INPUTS: usize = 200;
/// Rows at most.
const ROWS: usize = 12;

/// Linear layers whose weights begin at any address, attention, norms and activations.
pub fn floats(memory: &mut Memory, random: &mut Random) -> Sum {
    let (inputs, rows) =
        (1 + random.below(INPUTS as u32) as usize, 1 + random.below(ROWS as u32) as usize);
    let (weights, values) = memory.values.matrices();
    let weights = &mut cast_slice_mut::<_, u16>(weights)[..ROWS * INPUTS + 1];
    random.fill(weights, half);
    let start = random.below(2) as usize;
    let weights = &weights[start..start + rows * inputs];
    let floats = cast_slice_mut::<_, f32>(values);
    let (keys, rest) = floats.split_at_mut(ROWS * INPUTS);
    let (x, rest) = rest.split_at_mut(INPUTS);
    let (gamma, beta) = rest.split_at_mut(INPUTS);
    random.fill(keys, number);
    random.fill(x, number);
    random.fill(gamma, number);
    random.fill(&mut beta[..INPUTS], number);
    let (x, keys) = (&mut x[..inputs], &keys[..rows * inputs]);
    let mut sum = Sum::EMPTY;
    let mut add = |values: &[f32]| values.iter().for_each(|v| sum.add(v.to_bits() as i32));
    let mut out = [0.0; ROWS];
    let out = &mut out[..rows];
    affine_f16(weights, beta, x, out);
    add(out);
    add_affine_f16(weights, gamma, x, out);
    add(out);
    scores_f32(x, keys, 1.0 / 64.0, out);
    add(out);
    add(&[softmax_f32(out)]);
    add(out);
    let factor = number(random);
    layer_norm(x, 1e-5, &gamma[..inputs], &beta[..inputs]);
    add(x);
    each(gelu, x);
    add(x);
    each(silu, x);
    add(x);
    weighted_mean(out, keys, factor, x);
    add(x);
    sum
}

/// Bits of a finite half-precision number.
fn half(random: &mut Random) -> u16 {
    let bits = random.bits() as u16;
    if bits & 0x7c00 == 0x7c00 { bits ^ 0x4000 } else { bits }
}

/// A number below 1024, of any size.
fn number(random: &mut Random) -> f32 {
    let value = random.extreme(-(1 << 20), 1 << 20) as f32;
    value / (1u32 << (10 + random.below(16))) as f32
}
