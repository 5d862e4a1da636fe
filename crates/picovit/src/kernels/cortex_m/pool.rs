//! Maxima of bytes.

use core::arch::global_asm;

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified
    .macro picovit_max a, b
    ssub8 r12, \a, \b
    sel \b, \a, \b
    .endm

    .section .text.picovit_cortex_m_max,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_max
    .type picovit_cortex_m_max, %function
    .thumb_func
    @ r0: values, r1: those that become the larger of both, r2: words.
picovit_cortex_m_max:
    push {{r4-r10, lr}}
    subs r2, r2, #4
    blo 2f
1:
    ldmia r0!, {{r3-r6}}
    ldmia r1, {{r7-r10}}
    picovit_max r3, r7
    picovit_max r4, r8
    picovit_max r5, r9
    picovit_max r6, r10
    stmia r1!, {{r7-r10}}
    subs r2, r2, #4
    bhs 1b
2:
    adds r2, r2, #4
    beq 4f
3:
    ldr r3, [r0], #4
    ldr r7, [r1]
    picovit_max r3, r7
    str r7, [r1], #4
    subs r2, r2, #1
    bne 3b
4:
    pop {{r4-r10, pc}}
    .size picovit_cortex_m_max, . - picovit_cortex_m_max
    .purgem picovit_max
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m_max(values: *const i8, out: *mut i8, words: usize);
}

/// Takes values into those at their places, in whole words; how many there were.
pub(in crate::kernels) fn max_into(values: &[i8], out: &mut [i8]) -> usize {
    let words = values.len().min(out.len()) / 4;
    let aligned = [values.as_ptr(), out.as_ptr()].iter().all(|at| at.addr().is_multiple_of(4));
    if words == 0 || !aligned {
        return 0;
    }
    // SAFETY: both have as many words, which are aligned. The code keeps the registers of the procedure
    // call standard.
    unsafe { picovit_cortex_m_max(values.as_ptr(), out.as_mut_ptr(), words) }
    4 * words
}
