//! NEON of every AArch64.

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
struct Neon(());

/// Runs a kernel.
#[target_feature(enable = "neon")]
pub(in super::super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon(()))
}

simd!(Neon);

/// Adds the products of [`BYTES`] inputs from `at` on. Tokens without a sign enter as `x - 128`;
/// `missing` is the sum of their weights.
///
/// # Safety
/// With `WHOLE`, all slices have as many.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn step<const WHOLE: bool, T: Operand>(
    sums: &mut [[int32x4_t; LANES]; TOKENS],
    missing: &mut [int32x4_t; LANES],
    weights: &[&[i8]; LANES],
    tokens: [&[T]; TOKENS],
    at: usize,
) {
    // SAFETY: the caller's promise.
    let mut x = unsafe { [load::<WHOLE, T>(tokens[0], at), load::<WHOLE, T>(tokens[1], at)] };
    if !T::SIGNED {
        let half = vdupq_n_s8(-128);
        x = [veorq_s8(x[0], half), veorq_s8(x[1], half)];
    }
    for lane in 0..LANES {
        // SAFETY: the caller's promise.
        let w = unsafe { load::<WHOLE, i8>(weights[lane], at) };
        for token in 0..TOKENS {
            // Two products of -128 with itself exceed 16 bits: each is added by itself.
            let low = vmull_s8(vget_low_s8(w), vget_low_s8(x[token]));
            let high = vmull_high_s8(w, x[token]);
            let sum = vpadalq_s16(sums[token][lane], low);
            sums[token][lane] = vpadalq_s16(sum, high);
        }
        if !T::SIGNED {
            missing[lane] = vpadalq_s16(missing[lane], vpaddlq_s8(w));
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn rows<T: Operand>(matrix: Rows<'_>, tokens: [&[T]; TOKENS]) -> Sums {
    let inputs = matrix.inputs().min(tokens[0].len()).min(tokens[1].len());
    let mut weights: [&[i8]; LANES] = [&[]; LANES];
    for lane in 0..LANES {
        // What follows the inputs in a row must not count.
        weights[lane] = matrix.row(lane).get(..inputs).unwrap_or_default();
    }
    let zero = vdupq_n_s32(0);
    let (mut all, mut missing) = ([[zero; LANES]; TOKENS], [zero; LANES]);
    let whole = inputs / BYTES * BYTES;
    for at in (0..whole).step_by(BYTES) {
        // SAFETY: `at` and the 15 after it are below the length of all slices.
        unsafe { step::<true, T>(&mut all, &mut missing, &weights, tokens, at) };
    }
    if whole < inputs {
        // SAFETY: not whole.
        unsafe { step::<false, T>(&mut all, &mut missing, &weights, tokens, whole) };
    }
    let mut sums = [[[0; 4]; 2]; TOKENS];
    for token in 0..TOKENS {
        for half in 0..2 {
            let mut lanes = [zero; 4];
            for lane in 0..4 {
                let place = 4 * half + lane;
                lanes[lane] = all[token][place];
                if !T::SIGNED {
                    lanes[lane] = vaddq_s32(lanes[lane], vshlq_n_s32::<7>(missing[place]));
                }
            }
            sums[token][half] = store(fold4(lanes));
        }
    }
    bytemuck::must_cast(sums)
}

#[inline]
#[target_feature(enable = "neon")]
fn tiles<T: Operand>(tiles: [&[i8]; 2], tokens: [&[T]; TOKENS]) -> Sums {
    let zero = vdupq_n_s32(0);
    let (mut even, mut odd) = ([[zero; 2]; TOKENS], [[zero; 2]; TOKENS]);
    // Inputs 0, 2, 0, 2, 1, 3, 1, 3 of four, as the weights lie: bytes at the upper end of 16 bits.
    let z = 0xff;
    let places: [u8; BYTES] = [z, 0, z, 2, z, 0, z, 2, z, 1, z, 3, z, 1, z, 3];
    // SAFETY: it has 16 bytes.
    let places = unsafe { vld1q_u8(places.as_ptr()) };
    for (quad, at) in (0..tokens[0].len()).step_by(4).enumerate() {
        let mut x = [vdupq_n_s16(0); TOKENS];
        for token in 0..TOKENS {
            let spread = vqtbl1q_s8(padded(tokens[token], at), places);
            x[token] = if T::SIGNED {
                vshrq_n_s16::<8>(vreinterpretq_s16_s8(spread))
            } else {
                vreinterpretq_s16_u16(vshrq_n_u16::<8>(vreinterpretq_u16_s8(spread)))
            };
        }
        for tile in 0..2 {
            let packed = vreinterpretq_s16_s8(padded(tiles[tile], BYTES * quad));
            // A halfword is `256 * odd + even`.
            let low = vshrq_n_s16::<8>(vshlq_n_s16::<8>(packed));
            let high = vshrq_n_s16::<8>(vaddq_s16(packed, vdupq_n_s16(0x80)));
            for token in 0..TOKENS {
                let (x, x_low) = (x[token], vget_low_s16(x[token]));
                let sum = vmlal_s16(even[token][tile], vget_low_s16(low), x_low);
                even[token][tile] = vmlal_high_s16(sum, low, x);
                let sum = vmlal_s16(odd[token][tile], vget_low_s16(high), x_low);
                odd[token][tile] = vmlal_high_s16(sum, high, x);
            }
        }
    }
    let sums = |token: usize, tile: usize| {
        let [a, c, b, d] = store(vpaddq_s32(even[token][tile], odd[token][tile]));
        [a, b, c, d]
    };
    bytemuck::must_cast([[sums(0, 0), sums(0, 1)], [sums(1, 0), sums(1, 1)]])
}

/// Kernel of [`product`](super::product).
struct PlainSums;

/// Runs a task.
#[target_feature(enable = "neon")]
pub(in super::super) fn perform<K: Task>(task: K) -> bool {
    task.run::<PlainSums>()
}

impl EightRows for PlainSums {
    #[inline(always)]
    unsafe fn sums<T: Operand>(places: &Places) -> Quads {
        // SAFETY: the caller's promise.
        unsafe { if T::SIGNED { signed_sums(places) } else { unsigned_sums(places) } }
    }
}

/// Sums of eight rows and two tokens: row `r` in register `r` and `10 + r`. Weights of the contract
/// are -127 at least, so that two products fit 16 bits.
///
/// # Safety
/// As [`EightRows::sums`].
#[inline]
#[target_feature(enable = "neon")]
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
            "smull v8.8h, v28.8b, v20.8b",
            "smull v9.8h, v28.8b, v24.8b",
            "smlal2 v8.8h, v28.16b, v20.16b",
            "smlal2 v9.8h, v28.16b, v24.16b",
            r"sadalp v\r\().4s, v8.8h",
            r"sadalp v1\r\().4s, v9.8h",
            "smull v19.8h, v29.8b, v21.8b",
            "smull v28.8h, v29.8b, v25.8b",
            "smlal2 v19.8h, v29.16b, v21.16b",
            "smlal2 v28.8h, v29.16b, v25.16b",
            r"sadalp v\r\().4s, v19.8h",
            r"sadalp v1\r\().4s, v28.8h",
            "smull v8.8h, v30.8b, v22.8b",
            "smull v9.8h, v30.8b, v26.8b",
            "smlal2 v8.8h, v30.16b, v22.16b",
            "smlal2 v9.8h, v30.16b, v26.16b",
            r"sadalp v\r\().4s, v8.8h",
            r"sadalp v1\r\().4s, v9.8h",
            "smull v19.8h, v31.8b, v23.8b",
            "smull v28.8h, v31.8b, v27.8b",
            "smlal2 v19.8h, v31.16b, v23.16b",
            "smlal2 v28.8h, v31.16b, v27.16b",
            r"sadalp v\r\().4s, v19.8h",
            r"sadalp v1\r\().4s, v28.8h",
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
            "smull v8.8h, v28.8b, v20.8b",
            "smull v9.8h, v28.8b, v24.8b",
            "smlal2 v8.8h, v28.16b, v20.16b",
            "smlal2 v9.8h, v28.16b, v24.16b",
            r"sadalp v\r\().4s, v8.8h",
            r"sadalp v1\r\().4s, v9.8h",
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
            "smull v8.8h, v28.8b, v20.8b",
            "smull v9.8h, v28.8b, v24.8b",
            "smlal2 v8.8h, v28.16b, v20.16b",
            "smlal2 v9.8h, v28.16b, v24.16b",
            r"sadalp v\r\().4s, v8.8h",
            r"sadalp v1\r\().4s, v9.8h",
            ".endr",
            "6:",
            fold_rows!(),
            inout("x0") places.weights => _, out("x1") _, out("x2") _, out("x3") _, out("x4") _,
            out("x5") _, out("x6") _, out("x7") _, in("x13") places.stride,
            inout("x8") places.tokens[0] => _, inout("x9") places.tokens[1] => _,
            inout("x10") places.blocks => _, inout("x11") places.steps => _,
            in("x12") places.back, in("v18") places.mask, in("x14") places.bias,
            out("v0") a, out("v1") _, out("v2") _, out("v3") _, out("v4") b, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") c, out("v11") _,
            out("v12") _, out("v13") _, out("v14") d, out("v15") _, out("v16") _, out("v17") _,
            out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            out("v30") _, out("v31") _,
            options(readonly, nostack)
        );
    }
    [[a, b], [c, d]]
}

/// As [`signed_sums`]. Tokens enter as `x - 128`; registers `20 + r` are the sums of the weights.
///
/// # Safety
/// As [`EightRows::sums`].
#[inline]
#[target_feature(enable = "neon")]
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
            "smull v8.8h, v30.8b, v28.8b",
            "smull v9.8h, v30.8b, v29.8b",
            "smlal2 v8.8h, v30.16b, v28.16b",
            "smlal2 v9.8h, v30.16b, v29.16b",
            r"sadalp v\r\().4s, v8.8h",
            r"sadalp v1\r\().4s, v9.8h",
            "saddlp v19.8h, v30.16b",
            r"sadalp v2\r\().4s, v19.8h",
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
            ".irp r, 0, 1, 2, 3, 4, 5, 6, 7",
            r"ldr q30, [x\r, x12]",
            "smull v8.8h, v30.8b, v28.8b",
            "smull v9.8h, v30.8b, v29.8b",
            "smlal2 v8.8h, v30.16b, v28.16b",
            "smlal2 v9.8h, v30.16b, v29.16b",
            r"sadalp v\r\().4s, v8.8h",
            r"sadalp v1\r\().4s, v9.8h",
            "and v30.16b, v30.16b, v18.16b",
            "saddlp v19.8h, v30.16b",
            r"sadalp v2\r\().4s, v19.8h",
            ".endr",
            "4:",
            fold_rows!(),
            fold_missing!(),
            "shl v20.4s, v20.4s, #7",
            "shl v24.4s, v24.4s, #7",
            "add v0.4s, v0.4s, v20.4s",
            "add v4.4s, v4.4s, v24.4s",
            "add v10.4s, v10.4s, v20.4s",
            "add v14.4s, v14.4s, v24.4s",
            inout("x0") places.weights => _, out("x1") _, out("x2") _, out("x3") _, out("x4") _,
            out("x5") _, out("x6") _, out("x7") _, in("x13") places.stride,
            inout("x8") places.tokens[0] => _, inout("x9") places.tokens[1] => _,
            inout("x11") places.steps => _,
            in("x12") places.back, in("v18") places.mask, in("x14") places.bias,
            out("v0") a, out("v1") _, out("v2") _, out("v3") _, out("v4") b, out("v5") _,
            out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") c, out("v11") _,
            out("v12") _, out("v13") _, out("v14") d, out("v15") _, out("v16") _, out("v17") _,
            out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            out("v30") _, out("v31") _,
            options(readonly, nostack)
        );
    }
    [[a, b], [c, d]]
}
