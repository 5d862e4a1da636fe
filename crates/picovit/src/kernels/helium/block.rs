//! Rows of a block, interleaved: a step of one token, then the same step of the other.

use core::arch::global_asm;

use crate::format::packing::{HELIUM_STEP, HELIUM_TILE, helium_place};
use crate::format::{Packing, TOKENS};
use crate::kernels::block::Operand;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_interleave,"ax",%progbits
    .balign 4
    .global picovit_helium_interleave
    .type picovit_helium_interleave, %function
    .thumb_func
    @ r0: values, r1: their places, r2: how many. What is left of the last step becomes 0.
picovit_helium_interleave:
    push {{r7, lr}}
    lsrs r3, r2, #4
    wls lr, r3, 2f
1:
    vldrb.u8 q0, [r0], #16
    vstrb.8 q0, [r1], #32
    le lr, 1b
2:
    ands r2, r2, #15
    beq 3f
    vctp.8 r2
    vpst
    vldrbt.u8 q0, [r0]
    vstrb.8 q0, [r1]
3:
    pop {{r7, pc}}
    .size picovit_helium_interleave, . - picovit_helium_interleave

    .balign 4
    .global picovit_helium_output
    .type picovit_helium_output, %function
    .thumb_func
    @ r0: values, r1: their places, r2: how many, one step every 64 bytes.
picovit_helium_output:
    push {{r7, lr}}
    wlstp.8 lr, r2, 2f
1:
    vldrb.u8 q0, [r0], #16
    vstrb.8 q0, [r1], #64
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_output, . - picovit_helium_output

    .balign 4
    .global picovit_helium_columns
    .type picovit_helium_columns, %function
    .thumb_func
    @ r0: the first tile's places, r1, r2: values of two inputs, r3: tiles, on the stack: offsets of
    @ the places of eight outputs, from one tile to the next.
picovit_helium_columns:
    push {{r4, r5, r6, lr}}
    add r4, sp, #16
    ldmia r4, {{r4, r5}}
    vldrh.u16 q3, [r4]
    vmov.i8 q2, #0x80
    dls lr, r3
1:
    vldrb.u16 q0, [r1], #8
    vldrb.u16 q1, [r2], #8
    vsli.16 q0, q1, #8
    veor q0, q0, q2
    vstrh.16 q0, [r0, q3]
    add r0, r5
    le lr, 1b
    pop {{r4, r5, r6, pc}}
    .size picovit_helium_columns, . - picovit_helium_columns
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_interleave(values: *const u8, places: *mut u8, count: usize);
    fn picovit_helium_output(values: *const i8, places: *mut i8, count: usize);
    fn picovit_helium_columns(
        places: *mut i8,
        first: *const i8,
        second: *const i8,
        tiles: usize,
        offsets: *const [u16; HELIUM_TILE],
        next: usize,
    );
}

/// Bytes that a step takes, of both tokens.
const STEP: usize = TOKENS * HELIUM_STEP;

/// Writes a row of a block; behind its last value are zeros to the end of the step.
#[inline]
pub(in crate::kernels) fn interleave(row: &[u8], token: usize, block: &mut [u8]) {
    let places = block.get_mut(token * HELIUM_STEP..).unwrap_or_default();
    // The last step has no other token's behind it.
    let steps = (places.len() + HELIUM_STEP) / STEP;
    let count = row.len().min(steps * HELIUM_STEP);
    // SAFETY: reads `count` bytes of `row` and writes the steps that hold them, every `STEP` bytes,
    // for which `places` is long enough. The code keeps the registers of the procedure call standard.
    unsafe { picovit_helium_interleave(row.as_ptr(), places.as_mut_ptr(), count) }
}

/// Writes the inputs of an output, whose step the first of `places` is; whether they have room.
pub(crate) fn output(places: &mut [i8], row: &[i8]) -> bool {
    const NEXT: usize = HELIUM_TILE / 2 * HELIUM_STEP;
    // The last step has no other output's behind it.
    let steps = row.len().div_ceil(HELIUM_STEP);
    let fits = places.len() + NEXT >= steps * NEXT + HELIUM_STEP;
    if fits {
        // SAFETY: reads the row and writes the steps that hold it, every `NEXT` bytes, the last one as
        // far as there are values; `places` is long enough. As above.
        unsafe { picovit_helium_output(row.as_ptr(), places.as_mut_ptr(), row.len()) }
    }
    fits
}

/// Writes two inputs, of which the first is even, of the outputs of whole tiles of a matrix for
/// unsigned operands; how many outputs there were.
pub(crate) fn columns(
    packed: &mut [i8],
    inputs: usize,
    input: usize,
    [first, second]: [&[i8]; TOKENS],
) -> usize {
    let tile = Packing::Helium.matrix_bytes(HELIUM_TILE, inputs);
    let tiles = first.len().min(second.len()) / HELIUM_TILE;
    let place = |output| helium_place(inputs, output, 0);
    let offsets = core::array::from_fn(|output| place(output) as u16);
    let fits = tiles > 0
        && input < inputs
        && input.is_multiple_of(2)
        && tiles.saturating_mul(tile) <= packed.len()
        && tile <= usize::from(u16::MAX)
        && packed.as_ptr().addr().is_multiple_of(2);
    if !fits {
        return 0;
    }
    let Some(places) = packed.get_mut(helium_place(inputs, 0, input)..) else { return 0 };
    let (places, first, second) = (places.as_mut_ptr(), first.as_ptr(), second.as_ptr());
    // SAFETY: reads eight values of each row for each tile and writes halfwords, where such may be, to
    // places of `tiles` tiles, all of which are there. As above.
    unsafe { picovit_helium_columns(places, first, second, tiles, &offsets, tile) }
    tiles * HELIUM_TILE
}

/// A quad of inputs of a row.
pub(in crate::kernels) fn gather<T: Operand>(token: usize, quad: usize, block: &[u8]) -> [i32; 4] {
    let (step, first) = (4 * quad / HELIUM_STEP, 4 * quad % HELIUM_STEP);
    let start = step * STEP + token * HELIUM_STEP + first;
    let bytes: &[T] = bytemuck::must_cast_slice(block);
    let values = bytes.get(start..).and_then(|rest| rest.first_chunk::<4>());
    values.map_or([0; 4], |values| values.map(Into::into))
}
