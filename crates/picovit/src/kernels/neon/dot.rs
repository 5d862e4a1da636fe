//! SDOT multiplies signed bytes: uint8 tokens enter as `x - 128`, and 128 times the sum of the
//! weights is added again. The compiler has no stable name for it yet.

use core::arch::aarch64::*;
use core::arch::asm;

use super::super::block::Operand;
use super::super::wide::{Kernel, LANES, Lanes, Rows, Simd, Sums, simd};
use super::super::winograd4_tiles::{Constants, Squares, TilePairs, TileSums};
use super::product::{EightRows, Places, Quads};
use super::winograd4::{add_pairs, squares};
use super::{
    BYTES, Task, fold_missing, fold_rows, fold4, load, narrow8, narrow16, padded, requant,
    start_rows, store,
};
use crate::format::TOKENS;

/// Proof that the processor has it: made in [`run`] alone.
#[derive(Clone, Copy)]
struct Dot(());

/// Runs a kernel.
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Dot(()))
}

simd!(Dot);

/// Adds products of bytes, four in each lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: reads three registers and writes one of them.
    unsafe {
        asm!(
            "sdot {:v}.4s, {:v}.16b, {:v}.16b", inout(vreg) sums, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// As [`sdot`], with lane `LANE` of `b` in all lanes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot_lane<const LANE: usize>(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: reads three registers and writes one of them.
    unsafe {
        asm!(
            "sdot {:v}.4s, {:v}.16b, {:v}.4b[{}]",
            inout(vreg) sums, in(vreg) a, in(vreg) b, const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Tokens as signed bytes.
#[inline]
#[target_feature(enable = "neon")]
fn signed<T: Operand>(tokens: int8x16_t) -> int8x16_t {
    if T::SIGNED { tokens } else { veorq_s8(tokens, vdupq_n_s8(-128)) }
}

/// Sums of [`LANES`] rows, and of the weights where tokens have no sign.
struct Accumulators {
    sums: [[int32x4_t; LANES]; TOKENS],
    missing: [int32x4_t; LANES],
}

impl Accumulators {
    /// Adds the products of [`BYTES`] inputs from `at` on.
    ///
    /// # Safety
    /// With `WHOLE`, all slices have as many.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn step<const WHOLE: bool, T: Operand>(
        &mut self,
        weights: &[&[i8]; LANES],
        tokens: [&[T]; TOKENS],
        at: usize,
    ) {
        // SAFETY: the caller's promise.
        let x = unsafe { [load::<WHOLE, T>(tokens[0], at), load::<WHOLE, T>(tokens[1], at)] };
        let x = [signed::<T>(x[0]), signed::<T>(x[1])];
        for lane in 0..LANES {
            // SAFETY: the caller's promise.
            let w = unsafe { load::<WHOLE, i8>(weights[lane], at) };
            for token in 0..TOKENS {
                self.sums[token][lane] = sdot(self.sums[token][lane], w, x[token]);
            }
            if !T::SIGNED {
                self.missing[lane] = sdot(self.missing[lane], w, vdupq_n_s8(-128));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn rows<T: Operand>(matrix: Rows<'_>, tokens: [&[T]; TOKENS]) -> Sums {
    let inputs = matrix.inputs().min(tokens[0].len()).min(tokens[1].len());
    let mut weights: [&[i8]; LANES] = [&[]; LANES];
    for lane in 0..LANES {
        // What follows the inputs in a row must not count.
        weights[lane] = matrix.row(lane).get(..inputs).unwrap_or_default();
    }
    let zero = vdupq_n_s32(0);
    let mut all = Accumulators { sums: [[zero; LANES]; TOKENS], missing: [zero; LANES] };
    let whole = inputs / BYTES * BYTES;
    for at in (0..whole).step_by(BYTES) {
        // SAFETY: `at` and the 15 after it are below the length of all slices.
        unsafe { all.step::<true, T>(&weights, tokens, at) };
    }
    if whole < inputs {
        // SAFETY: not whole.
        unsafe { all.step::<false, T>(&weights, tokens, whole) };
    }
    let mut sums = [[[0; 4]; 2]; TOKENS];
    for token in 0..TOKENS {
        for half in 0..2 {
            let mut lanes = [zero; 4];
            for lane in 0..4 {
                let place = 4 * half + lane;
                lanes[lane] = all.sums[token][place];
                if !T::SIGNED {
                    lanes[lane] = vsubq_s32(lanes[lane], all.missing[place]);
                }
            }
            sums[token][half] = store(fold4(lanes));
        }
    }
    bytemuck::must_cast(sums)
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tiles<T: Operand>(tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
    let zero = vdupq_n_s32(0);
    // From inputs (0, 2), (1, 3) of channels (0, 1), (2, 3) to the inputs of each channel.
    let channels: [u8; BYTES] = [0, 8, 2, 10, 1, 9, 3, 11, 4, 12, 6, 14, 5, 13, 7, 15];
    // SAFETY: it has 16 bytes.
    let channels = unsafe { vld1q_u8(channels.as_ptr()) };
    let even = vreinterpretq_u8_u16(vdupq_n_u16(0xff));
    let (mut sums, mut missing) = ([[zero; 2]; TOKENS], [zero; 2]);
    for at in (0..tokens[0].len()).step_by(BYTES) {
        let x = [signed::<T>(padded(tokens[0], at)), signed::<T>(padded(tokens[1], at))];
        for tile in 0..2 {
            let quads = tiles[tile].get(4 * at..).unwrap_or_default().as_chunks::<BYTES>().0;
            for (place, quad) in quads.iter().enumerate().take(4) {
                // SAFETY: it has 16 bytes.
                let packed = unsafe { vld1q_s8(quad.as_ptr()) };
                // The even channels' bytes stand as they are, the odd ones' have been borrowed from.
                let odd = vaddq_s16(vreinterpretq_s16_s8(packed), vdupq_n_s16(0x80));
                let mixed = vbslq_s8(even, packed, vreinterpretq_s8_s16(odd));
                let w = vqtbl1q_s8(mixed, channels);
                for token in 0..TOKENS {
                    let (sums, x) = (&mut sums[token][tile], x[token]);
                    *sums = match place {
                        0 => sdot_lane::<0>(*sums, w, x),
                        1 => sdot_lane::<1>(*sums, w, x),
                        2 => sdot_lane::<2>(*sums, w, x),
                        _ => sdot_lane::<3>(*sums, w, x),
                    };
                }
                if !T::SIGNED {
                    missing[tile] = sdot(missing[tile], w, vdupq_n_s8(-128));
                }
            }
        }
    }
    let sums = |token: usize, tile: usize| store(vsubq_s32(sums[token][tile], missing[tile]));
    bytemuck::must_cast([[sums(0, 0), sums(0, 1)], [sums(1, 0), sums(1, 1)]])
}

/// Kernel of [`product`](super::product).
struct DotSums;

/// Runs a task.
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn perform<K: Task>(task: K) -> bool {
    task.run::<DotSums>()
}

impl EightRows for DotSums {
    #[inline(always)]
    unsafe fn sums<T: Operand>(places: &Places) -> Quads {
        // SAFETY: the caller's promise.
        unsafe { if T::SIGNED { signed_sums(places) } else { unsigned_sums(places) } }
    }
}

/// Sums of eight rows and two tokens: row `r` in register `r` and `10 + r`. Sixty-four inputs at a
/// time take ten loads.
///
/// # Safety
/// As [`EightRows::sums`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn signed_sums(places: &Places) -> Quads {
    let (a, b, c, d);
    // SAFETY: reads what `Places` describes and writes registers.
    unsafe {
        asm!(
            start_rows!(),
            "cbz x10, 3f",
            "2:",
            "ld1 {{v20.16b-v23.16b}}, [x8], #64",
            "ld1 {{v24.16b-v27.16b}}, [x9], #64",
            "subs x10, x10, #1",
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"ld1 {{v28.16b-v31.16b}}, [x\r], #64",
            r"sdot v\r\().4s, v28.16b, v20.16b",
            r"sdot v1\r\().4s, v28.16b, v24.16b",
            r"sdot v\r\().4s, v29.16b, v21.16b",
            r"sdot v1\r\().4s, v29.16b, v25.16b",
            r"sdot v\r\().4s, v30.16b, v22.16b",
            r"sdot v1\r\().4s, v30.16b, v26.16b",
            r"sdot v\r\().4s, v31.16b, v23.16b",
            r"sdot v1\r\().4s, v31.16b, v27.16b",
            ".endr",
            "b.ne 2b",
            "3:",
            "cbz x11, 5f",
            "4:",
            "ldr q20, [x8], #16",
            "ldr q24, [x9], #16",
            "subs x11, x11, #1",
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"ldr q28, [x\r], #16",
            r"sdot v\r\().4s, v28.16b, v20.16b",
            r"sdot v1\r\().4s, v28.16b, v24.16b",
            ".endr",
            "b.ne 4b",
            "5:",
            "cbz x12, 6f",
            "ldr q20, [x8, x12]",
            "ldr q24, [x9, x12]",
            "and v20.16b, v20.16b, v18.16b",
            "and v24.16b, v24.16b, v18.16b",
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"ldr q28, [x\r, x12]",
            r"sdot v\r\().4s, v28.16b, v20.16b",
            r"sdot v1\r\().4s, v28.16b, v24.16b",
            ".endr",
            "6:",
            fold_rows!(),
            inout("x0") places.weights => _, out("x1") _, out("x2") _, out("x3") _, out("x4") _,
            out("x5") _, out("x6") _, out("x7") _, in("x13") places.stride,
            inout("x8") places.tokens[0] => _, inout("x9") places.tokens[1] => _,
            inout("x10") places.blocks => _, inout("x11") places.steps => _,
            in("x12") places.back, in("v18") places.mask, in("x14") places.bias,
            out("v0") a, out("v1") _, out("v2") _, out("v3") _, out("v4") b, out("v5") _,
            out("v6") _, out("v7") _, out("v10") c, out("v11") _, out("v12") _, out("v13") _,
            out("v14") d, out("v15") _, out("v16") _, out("v17") _, out("v20") _, out("v21") _,
            out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(readonly, nostack)
        );
    }
    [[a, b], [c, d]]
}

/// As [`signed_sums`]. Tokens enter as `x - 128`; registers `20 + r` are the sums of the weights,
/// times -128.
///
/// # Safety
/// As [`EightRows::sums`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn unsigned_sums(places: &Places) -> Quads {
    let (a, b, c, d);
    // SAFETY: reads what `Places` describes and writes registers.
    unsafe {
        asm!(
            start_rows!(),
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"movi v2\r\().4s, #0",
            ".endr",
            "movi v31.16b, #128",
            "cbz x11, 3f",
            "2:",
            "ldr q28, [x8], #16",
            "ldr q29, [x9], #16",
            "eor v28.16b, v28.16b, v31.16b",
            "eor v29.16b, v29.16b, v31.16b",
            "subs x11, x11, #1",
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"ldr q30, [x\r], #16",
            r"sdot v\r\().4s, v30.16b, v28.16b",
            r"sdot v1\r\().4s, v30.16b, v29.16b",
            r"sdot v2\r\().4s, v30.16b, v31.16b",
            ".endr",
            "b.ne 2b",
            "3:",
            "cbz x12, 4f",
            "ldr q28, [x8, x12]",
            "ldr q29, [x9, x12]",
            "eor v28.16b, v28.16b, v31.16b",
            "eor v29.16b, v29.16b, v31.16b",
            "and v28.16b, v28.16b, v18.16b",
            "and v29.16b, v29.16b, v18.16b",
            "and v31.16b, v31.16b, v18.16b",
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"ldr q30, [x\r, x12]",
            r"sdot v\r\().4s, v30.16b, v28.16b",
            r"sdot v1\r\().4s, v30.16b, v29.16b",
            r"sdot v2\r\().4s, v30.16b, v31.16b",
            ".endr",
            "4:",
            fold_rows!(),
            fold_missing!(),
            "sub v0.4s, v0.4s, v20.4s",
            "sub v4.4s, v4.4s, v24.4s",
            "sub v10.4s, v10.4s, v20.4s",
            "sub v14.4s, v14.4s, v24.4s",
            inout("x0") places.weights => _, out("x1") _, out("x2") _, out("x3") _, out("x4") _,
            out("x5") _, out("x6") _, out("x7") _, in("x13") places.stride,
            inout("x8") places.tokens[0] => _, inout("x9") places.tokens[1] => _,
            inout("x11") places.steps => _,
            in("x12") places.back, in("v18") places.mask, in("x14") places.bias,
            out("v0") a, out("v1") _, out("v2") _, out("v3") _, out("v4") b, out("v5") _,
            out("v6") _, out("v7") _, out("v10") c, out("v11") _, out("v12") _, out("v13") _,
            out("v14") d, out("v15") _, out("v16") _, out("v17") _, out("v19") _, out("v20") _,
            out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _,
            out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(readonly, nostack)
        );
    }
    [[a, b], [c, d]]
}
