//! Layer norm.

use core::arch::{asm, global_asm};

/// Adds values and squares of pairs to their sums.
#[inline]
pub(in crate::kernels) fn sums_of_squares(pairs: &[[i16; 2]]) -> (i32, u64) {
    let (mut sum, mut low, mut high) = (0i32, 0u32, 0u32);
    for &pair in pairs {
        let pair: u32 = bytemuck::must_cast(pair);
        // SAFETY: reads registers and updates others.
        unsafe {
            asm!(
                "smlad {sum}, {pair}, {ones}, {sum}",
                "smlald {low}, {high}, {pair}, {pair}",
                pair = in(reg) pair, ones = in(reg) 0x0001_0001, sum = inout(reg) sum,
                low = inout(reg) low, high = inout(reg) high, options(pure, nomem, nostack)
            );
        }
    }
    (sum, u64::from(high) << 32 | u64::from(low))
}

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified

    @ Two values from r4 to r5 and r4, offset added.
    .macro picovit_norm_pair
    ldmia r1!, {{r10, r11}}
    ldmia r2!, {{r12, lr}}
    sxth r5, r4
    asr r4, r4, #16
    mla r5, r5, r6, r7
    mla r4, r4, r6, r7
    smmulr r5, r5, r8
    smmulr r4, r4, r8
    smmlar r5, r5, r10, r12
    smmlar r4, r4, r11, lr
    .endm

    .macro picovit_norm8_pair
    ldr r4, [r0], #4
    picovit_norm_pair
    ssat r5, #8, r5, asr #8
    ssat r4, #8, r4, asr #8
    strb r5, [r3], #1
    strb r4, [r3], #1
    .endm

    .macro picovit_norm16_pair
    ldr r4, [r0]
    picovit_norm_pair
    ssat r5, #16, r5
    ssat r4, #16, r4
    pkhbt r5, r5, r4, lsl #16
    str r5, [r0], #4
    .endm

    .section .text.picovit_cortex_m_norm8,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_norm8
    .type picovit_cortex_m_norm8, %function
    .thumb_func
    @ r0: values, r1: gains, r2: offsets, r3: outputs,
    @ on the stack: width * 2^shift, -sum * 2^shift, inverse, fours.
picovit_cortex_m_norm8:
    push {{r4-r11, lr}}
    add r4, sp, #36
    ldmia r4, {{r6, r7, r8, r9}}
1:
    picovit_norm8_pair
    picovit_norm8_pair
    subs r9, r9, #1
    bne 1b
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_norm8, . - picovit_cortex_m_norm8

    .balign 4
    .global picovit_cortex_m_norm16
    .type picovit_cortex_m_norm16, %function
    .thumb_func
    @ r0: values, which become the outputs, r1: gains, r2: offsets, on the stack: as above.
picovit_cortex_m_norm16:
    push {{r4-r11, lr}}
    add r4, sp, #36
    ldmia r4, {{r6, r7, r8, r9}}
1:
    picovit_norm16_pair
    picovit_norm16_pair
    subs r9, r9, #1
    bne 1b
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_norm16, . - picovit_cortex_m_norm16
    .purgem picovit_norm_pair
    .purgem picovit_norm8_pair
    .purgem picovit_norm16_pair
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m_norm8(
        x: *const i16,
        gain: *const i32,
        offset: *const i32,
        out: *mut i8,
        factor: i32,
        minus_sum: i32,
        inverse: i32,
        fours: usize,
    );
    fn picovit_cortex_m_norm16(
        x: *mut i16,
        gain: *const i32,
        offset: *const i32,
        unused: usize,
        factor: i32,
        minus_sum: i32,
        inverse: i32,
        fours: usize,
    );
}

/// int8 outputs of whole fours of channels:
/// `sat8((offset + mulhi(mulhi(x * factor - sum, inverse), gain)) >> 8)`; how many there were.
#[inline]
pub(in crate::kernels) fn write8(
    x: &[i16],
    (factor, sum, inverse): (i32, i32, i32),
    gain: &[i32],
    offset: &[i32],
    out: &mut [i8],
) -> usize {
    let fours = x.len().min(gain.len()).min(offset.len()).min(out.len()) / 4;
    if fours > 0 {
        let minus_sum = sum.wrapping_neg();
        let (x, gain, offset) = (x.as_ptr(), gain.as_ptr(), offset.as_ptr());
        // SAFETY: reads and writes `fours` times four values of each slice, which are there. Pairs
        // of int16 values are read with loads that need no alignment. The code keeps the registers
        // of the procedure call standard.
        unsafe {
            picovit_cortex_m_norm8(
                x,
                gain,
                offset,
                out.as_mut_ptr(),
                factor,
                minus_sum,
                inverse,
                fours,
            );
        }
    }
    4 * fours
}

/// int16 outputs of whole fours of channels, in place:
/// `sat16(offset + mulhi(mulhi(x * factor - sum, inverse), gain))`; how many there were.
#[inline]
pub(in crate::kernels) fn write16(
    x: &mut [i16],
    (factor, sum, inverse): (i32, i32, i32),
    gain: &[i32],
    offset: &[i32],
) -> usize {
    let fours = x.len().min(gain.len()).min(offset.len()) / 4;
    if fours > 0 {
        let minus_sum = sum.wrapping_neg();
        let (x, gain, offset) = (x.as_mut_ptr(), gain.as_ptr(), offset.as_ptr());
        // SAFETY: as above; what is written are the values that were read.
        unsafe {
            picovit_cortex_m_norm16(x, gain, offset, 0, factor, minus_sum, inverse, fours);
        }
    }
    4 * fours
}
