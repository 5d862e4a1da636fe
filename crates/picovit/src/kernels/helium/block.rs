//! Rows of a block, interleaved: a step of one token, then the same step of the other.

use core::arch::global_asm;

use crate::format::TOKENS;
use crate::format::packing::HELIUM_STEP;
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
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_interleave(values: *const u8, places: *mut u8, count: usize);
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

/// A quad of inputs of a row.
pub(in crate::kernels) fn gather<T: Operand>(token: usize, quad: usize, block: &[u8]) -> [i32; 4] {
    let (step, first) = (4 * quad / HELIUM_STEP, 4 * quad % HELIUM_STEP);
    let start = step * STEP + token * HELIUM_STEP + first;
    let bytes: &[T] = bytemuck::must_cast_slice(block);
    let values = bytes.get(start..).and_then(|rest| rest.first_chunk::<4>());
    values.map_or([0; 4], |values| values.map(Into::into))
}
