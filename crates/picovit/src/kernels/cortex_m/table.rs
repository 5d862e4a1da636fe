//! Functions of int8 values by table, four values at a time.

use core::arch::global_asm;

use crate::format::TABLE_ENTRIES;

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified

    .macro picovit_four
    ldr r3, [r0]
    sxtb r4, r3
    sbfx r5, r3, #8, #8
    sbfx r6, r3, #16, #8
    asrs r3, r3, #24
    ldrb r4, [r1, r4]
    ldrb r5, [r1, r5]
    ldrb r6, [r1, r6]
    ldrb r3, [r1, r3]
    orr r4, r4, r5, lsl #8
    orr r6, r6, r3, lsl #8
    orr r4, r4, r6, lsl #16
    str r4, [r0], #4
    .endm

    .section .text.picovit_cortex_m_look_up,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_look_up
    .type picovit_cortex_m_look_up, %function
    .thumb_func
    @ r0: values, r1: entry of 0, r2: words of four values.
picovit_cortex_m_look_up:
    push {{r4-r6, lr}}
    subs r2, r2, #2
    blo 2f
1:
    picovit_four
    picovit_four
    subs r2, r2, #2
    bhs 1b
2:
    adds r2, r2, #2
    beq 3f
    picovit_four
3:
    pop {{r4-r6, pc}}
    .size picovit_cortex_m_look_up, . - picovit_cortex_m_look_up
    .purgem picovit_four
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m_look_up(values: *mut [i8; 4], zero: *const i8, words: usize);
}

/// Replaces each value by its entry of a table, whose first one is that of -128.
#[inline]
pub(in crate::kernels) fn look_up(values: &mut [[i8; 4]], table: &[i8; TABLE_ENTRIES]) {
    let zero = table.as_ptr().wrapping_add(TABLE_ENTRIES / 2);
    // SAFETY: reads and writes the values, with loads and stores that need no alignment; a table has an
    // entry for each byte, half of them before that of 0. The code keeps the registers of the procedure
    // call standard.
    unsafe { picovit_cortex_m_look_up(values.as_mut_ptr(), zero, values.len()) }
}
