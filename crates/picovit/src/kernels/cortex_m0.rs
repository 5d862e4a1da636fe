//! Products on Armv6-M: two rows of weights with two tokens at a time, so that every value that is
//! loaded is multiplied twice, and sums in the upper registers, where a multiplication has no use for
//! them.

use core::arch::global_asm;

use super::block::Operand;
use crate::format::TOKENS;

global_asm!(
    r#"
    .syntax unified

    .macro picovit_products name, load
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
    @ r0, r1: weights, r2, r3: tokens, on the stack: inputs, sums.
\name:
    push {{r4-r7, lr}}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {{r4-r7}}
    ldr r4, [sp, #36]
    movs r5, #0
    mov r8, r5
    mov r9, r5
    mov r10, r5
    mov r11, r5
    @ All count up to zero from the ends.
    adds r0, r0, r4
    adds r1, r1, r4
    adds r2, r2, r4
    adds r3, r3, r4
    negs r4, r4
1:
    ldrsb r6, [r0, r4]
    \load r5, [r2, r4]
    mov r7, r6
    muls r7, r5, r7
    add r8, r7
    \load r7, [r3, r4]
    muls r6, r7, r6
    add r9, r6
    ldrsb r6, [r1, r4]
    muls r5, r6, r5
    add r10, r5
    muls r7, r6, r7
    add r11, r7
    adds r4, r4, #1
    bne 1b
    ldr r4, [sp, #40]
    mov r0, r8
    mov r1, r9
    mov r2, r10
    mov r3, r11
    stmia r4!, {{r0-r3}}
    pop {{r4-r7}}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {{r4-r7, pc}}
    .size \name, . - \name
    .endm

    .section .text.picovit_cortex_m0_products,"ax",%progbits
    picovit_products picovit_cortex_m0_i8, ldrsb
    picovit_products picovit_cortex_m0_u8, ldrb
    .purgem picovit_products
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m0_i8(
        one: *const i8,
        two: *const i8,
        first: *const u8,
        second: *const u8,
        inputs: usize,
        sums: *mut [i32; TOKENS],
    );
    fn picovit_cortex_m0_u8(
        one: *const i8,
        two: *const i8,
        first: *const u8,
        second: *const u8,
        inputs: usize,
        sums: *mut [i32; TOKENS],
    );
}

/// Sums of two rows of weights with the tokens, over as many inputs as all have.
pub(super) fn products<T: Operand>(
    weights: [&[i8]; 2],
    tokens: [&[T]; TOKENS],
) -> [[i32; TOKENS]; 2] {
    let [one, two] = weights;
    let [first, second] = tokens.map(bytemuck::must_cast_slice::<T, u8>);
    let inputs = one.len().min(two.len()).min(first.len()).min(second.len());
    let mut sums = [[0; TOKENS]; 2];
    if inputs > 0 {
        let products = if T::SIGNED { picovit_cortex_m0_i8 } else { picovit_cortex_m0_u8 };
        let pointers = (one.as_ptr(), two.as_ptr(), first.as_ptr(), second.as_ptr());
        // SAFETY: reads `inputs` bytes of each, of which all have as many, and writes four sums. The
        // code keeps the registers of the procedure call standard.
        unsafe {
            products(pointers.0, pointers.1, pointers.2, pointers.3, inputs, sums.as_mut_ptr());
        }
    }
    sums
}
