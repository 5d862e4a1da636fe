//! Depthwise convolution of a row, whose outputs take the place of its topmost inputs.

use super::requant::requant8;
#[cfg(wide)]
use super::wide::{self, Kernel, Simd, dispatch};

/// Channels at a time.
const LANES: usize = if cfg!(wide) { 16 } else { 4 };

/// What a depthwise convolution needs beside rows of pixels. Bias and multiplier have a value for each
/// channel.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// `[kernel][kernel][channels]`.
    pub weights: &'a [i8],
    /// Biases.
    pub bias: &'a [i32],
    /// Multipliers.
    pub mult: &'a [i32],
    /// Zero point of the outputs.
    pub zero: i32,
    /// Edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
}

/// A row for code that does 3x3 kernels, some channels at a time: what that needs, in its order.
#[cfg(dsp)]
#[repr(C)]
pub(super) struct Job {
    /// From the topmost on, which is that of the outputs as well.
    rows: [*mut i8; 3],
    channels: usize,
    zero: i32,
    bias: *const i32,
    mult: *const i32,
    weights: *const i8,
    /// Groups of channels.
    groups: usize,
    outputs: usize,
    /// Bytes from the pixels of an output to those of the next.
    step: usize,
}

#[cfg(dsp)]
impl Depthwise<'_> {
    /// The job for a row, none where the kernel is another, where channels do not come in such groups
    /// or where not all that would be touched is there.
    pub(super) fn job(
        &self,
        ring: &mut [i8],
        first: usize,
        outputs: usize,
        group: usize,
    ) -> Option<Job> {
        let channels = self.bias.len();
        let row = ring.len() / 3;
        let step = self.stride.saturating_mul(channels);
        let reach = step.saturating_mul(outputs.saturating_sub(1)).saturating_add(3 * channels);
        let fits = self.kernel == 3
            && self.stride > 0
            && channels > 0
            && channels.is_multiple_of(group)
            && outputs > 0
            && first < 3
            && reach <= row
            && self.weights.len() >= 9 * channels
            && self.mult.len() >= channels;
        let ring = ring.as_mut_ptr();
        fits.then(|| Job {
            rows: [0, 1, 2].map(|ky| ring.wrapping_add((first + ky) % 3 * row)),
            channels,
            zero: self.zero,
            bias: self.bias.as_ptr(),
            mult: self.mult.as_ptr(),
            weights: self.weights.as_ptr(),
            groups: channels.checked_div(group).unwrap_or(0),
            outputs,
            step,
        })
    }
}

/// A row of `outputs` pixels. `ring` holds `kernel` rows of pixels with the border on either side, as
/// many values each: row `first` is the topmost, the one behind the last is row 0. Output pixel `x`
/// takes the place of pixel `x` of the topmost row, which no later one needs.
pub fn depthwise(layer: Depthwise<'_>, ring: &mut [i8], first: usize, outputs: usize) {
    #[cfg(mve)]
    if super::helium::depthwise(layer, ring, first, outputs) {
        return;
    }
    #[cfg(all(dsp, not(mve)))]
    if super::cortex_m::depthwise(layer, ring, first, outputs) {
        return;
    }
    #[cfg(wide)]
    if dispatch(OnVectors { layer, ring: &mut *ring, first, outputs }).is_some() {
        return;
    }
    compute(layer, ring, (first, outputs), 0, portable(layer.zero));
}

/// [`depthwise`] in portable code that hosts compile for each instruction set.
#[cfg(wide)]
struct OnVectors<'k> {
    layer: Depthwise<'k>,
    ring: &'k mut [i8],
    first: usize,
    outputs: usize,
}

#[cfg(wide)]
impl Kernel for OnVectors<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let OnVectors { layer, ring, first, outputs } = self;
        let requant = |sums: &[i32; LANES], mult: &[i32; LANES], out: &mut [i8; LANES]| {
            let parts = sums.as_chunks().0.iter().zip(mult.as_chunks().0);
            for ((&sums, &mult), out) in parts.zip(out.as_chunks_mut().0) {
                let values = simd.requant([layer.zero; wide::LANES], sums, 0, mult);
                *out = simd.narrow8(values, i8::MIN);
            }
        };
        let done = if layer.kernel == 3 { rows3(layer, ring, first, outputs, requant) } else { 0 };
        compute(layer, ring, (first, outputs), done, requant);
    }
}

/// Channels of a row of 3x3 kernels, some at a time for all pixels, so that weights stay in registers;
/// how many that are.
#[cfg(wide)]
#[inline(always)]
fn rows3(
    layer: Depthwise<'_>,
    ring: &mut [i8],
    first: usize,
    outputs: usize,
    requant: impl Fn(&[i32; LANES], &[i32; LANES], &mut [i8; LANES]),
) -> usize {
    let channels = layer.bias.len();
    let row = ring.len() / 3;
    let starts = [0, 1, 2].map(|ky| (first + ky) % 3 * row);
    // Values of a row that the last output's window ends with.
    let reach = (outputs.saturating_sub(1) * layer.stride + 3) * channels;
    if reach > row || layer.weights.len() < 9 * channels || layer.stride == 0 {
        return 0;
    }
    let mut done = 0;
    let constants = layer.bias.as_chunks::<LANES>().0.iter().zip(layer.mult.as_chunks::<LANES>().0);
    for (bias, mult) in constants {
        let mut weights = [[0; LANES]; 9];
        for (tap, weights) in weights.iter_mut().enumerate() {
            let values = chunk::<i8, LANES>(layer.weights, tap * channels + done);
            *weights = values.copied().unwrap_or([0; LANES]).map(i32::from);
        }
        for x in 0..outputs {
            let mut sums = *bias;
            for (ky, start) in starts.into_iter().enumerate() {
                let place = start + x * layer.stride * channels + done;
                let pixels = ring.get(place..place + 2 * channels + LANES).unwrap_or_default();
                for kx in 0..3 {
                    let Some(values) = chunk::<i8, LANES>(pixels, kx * channels) else { break };
                    for lane in 0..LANES {
                        let product = weights[3 * ky + kx][lane] * i32::from(values[lane]);
                        sums[lane] = sums[lane].wrapping_add(product);
                    }
                }
            }
            let place = starts[0] + x * channels + done;
            if let Some(out) = ring.get_mut(place..).and_then(|rest| rest.first_chunk_mut()) {
                requant(&sums, mult, out);
            }
        }
        done += LANES;
    }
    done
}

/// See [`depthwise`]; the channels from `done` on. Where it is the exception, its stack is not for all to carry.
#[cfg_attr(dsp, inline(never))]
#[cfg_attr(not(dsp), inline(always))]
fn compute(
    layer: Depthwise<'_>,
    ring: &mut [i8],
    (first, outputs): (usize, usize),
    done: usize,
    requant: impl Fn(&[i32; LANES], &[i32; LANES], &mut [i8; LANES]),
) {
    let channels = layer.bias.len();
    let whole = channels - channels % LANES;
    if done == channels {
        return;
    }
    for x in 0..outputs {
        for channel in (done..whole).step_by(LANES) {
            lanes::<LANES>(layer, ring, first, (x, channel), &requant);
        }
        for channel in whole..channels {
            lanes::<1>(layer, ring, first, (x, channel), portable(layer.zero));
        }
    }
}

/// Channels `channel..` of output pixel `x`.
#[inline(always)]
fn lanes<const N: usize>(
    layer: Depthwise<'_>,
    ring: &mut [i8],
    first: usize,
    (x, channel): (usize, usize),
    requant: impl Fn(&[i32; N], &[i32; N], &mut [i8; N]),
) {
    let Depthwise { weights, bias, mult, kernel, stride, .. } = layer;
    let channels = bias.len();
    let row = ring.len().checked_div(kernel).unwrap_or(0);
    let bias = chunk::<i32, N>(bias, channel);
    let mult = chunk::<i32, N>(mult, channel);
    let (Some(bias), Some(mult)) = (bias, mult) else { return };
    let mut sums = *bias;
    let mut tap = channel;
    for ky in 0..kernel {
        let line = if first + ky < kernel { first + ky } else { first + ky - kernel };
        let mut place = line * row + x * stride * channels + channel;
        for _ in 0..kernel {
            let (Some(weights), Some(values)) =
                (chunk::<i8, N>(weights, tap), chunk::<i8, N>(ring, place))
            else {
                return;
            };
            for ((sum, &w), &x) in sums.iter_mut().zip(weights).zip(values) {
                *sum = sum.wrapping_add(i32::from(w) * i32::from(x));
            }
            tap += channels;
            place += channels;
        }
    }
    let place = first * row + x * channels + channel;
    let out = ring.get_mut(place..).and_then(|rest| rest.first_chunk_mut::<N>());
    if let Some(out) = out {
        requant(&sums, mult, out);
    }
}

/// Sums, multipliers and outputs in portable code.
#[inline(always)]
fn portable<const N: usize>(zero: i32) -> impl Fn(&[i32; N], &[i32; N], &mut [i8; N]) {
    move |sums, mult, out| {
        for ((out, &sum), &mult) in out.iter_mut().zip(sums).zip(mult) {
            *out = requant8(sum, mult, zero);
        }
    }
}

/// `N` values from a place on.
#[inline(always)]
fn chunk<T, const N: usize>(values: &[T], place: usize) -> Option<&[T; N]> {
    values.get(place..)?.first_chunk()
}
