//! Dot products by the FPU of Cortex-M4F, M7, M33 and later: eight lanes in as many registers, several
//! values loaded at once, and half precision converted by an instruction, which is exact.

use core::arch::global_asm;

use super::float::LANES;

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified
    .fpu fpv4-sp-d16

    @ Lane by lane: \a to \h multiplied with s16 to s23 and added to s24 to s31.
    .macro picovit_fpu_products a, b, c, d, e, f, g, h
    vmul.f32 \a, \a, s16
    vmul.f32 \b, \b, s17
    vmul.f32 \c, \c, s18
    vmul.f32 \d, \d, s19
    vmul.f32 \e, \e, s20
    vmul.f32 \f, \f, s21
    vmul.f32 \g, \g, s22
    vmul.f32 \h, \h, s23
    vadd.f32 s24, s24, \a
    vadd.f32 s25, s25, \b
    vadd.f32 s26, s26, \c
    vadd.f32 s27, s27, \d
    vadd.f32 s28, s28, \e
    vadd.f32 s29, s29, \f
    vadd.f32 s30, s30, \g
    vadd.f32 s31, s31, \h
    .endm

    .macro picovit_fpu_start
    vpush {{d8-d15}}
    mov r12, #0
    vmov d12, r12, r12
    vmov d13, r12, r12
    vmov d14, r12, r12
    vmov d15, r12, r12
    cmp r2, #0
    beq 3f
    .endm

    @ Steps of eight weights, which \load brings to s0 to s3.
    .macro picovit_fpu_f16_steps load
1:
    \load
    vldmia r1!, {{s16-s23}}
    vcvtb.f32.f16 s4, s0
    vcvtt.f32.f16 s5, s0
    vcvtb.f32.f16 s6, s1
    vcvtt.f32.f16 s7, s1
    vcvtb.f32.f16 s8, s2
    vcvtt.f32.f16 s9, s2
    vcvtb.f32.f16 s10, s3
    vcvtt.f32.f16 s11, s3
    picovit_fpu_products s4, s5, s6, s7, s8, s9, s10, s11
    subs r2, r2, #1
    bne 1b
    .endm

    .macro picovit_fpu_words
    vldmia r0!, {{s0-s3}}
    .endm

    @ At any address.
    .macro picovit_fpu_halfwords
    ldr r12, [r0], #4
    vmov s0, r12
    ldr r12, [r0], #4
    vmov s1, r12
    ldr r12, [r0], #4
    vmov s2, r12
    ldr r12, [r0], #4
    vmov s3, r12
    .endm

    @ One weight more, if there is one.
    .macro picovit_fpu_f16_rest sum
    subs r3, r3, #1
    bmi 4f
    ldrh r12, [r0], #2
    vmov s0, r12
    vcvtb.f32.f16 s0, s0
    vldmia r1!, {{s16}}
    vmul.f32 s0, s0, s16
    vadd.f32 \sum, \sum, s0
    .endm

    .macro picovit_fpu_f32_rest sum
    subs r3, r3, #1
    bmi 4f
    vldmia r0!, {{s0}}
    vldmia r1!, {{s16}}
    vmul.f32 s0, s0, s16
    vadd.f32 \sum, \sum, s0
    .endm

    @ What fills no step, and the sum of the lanes.
    .macro picovit_fpu_end rest
3:
    \rest s24
    \rest s25
    \rest s26
    \rest s27
    \rest s28
    \rest s29
    \rest s30
4:
    vadd.f32 s24, s24, s28
    vadd.f32 s25, s25, s29
    vadd.f32 s26, s26, s30
    vadd.f32 s27, s27, s31
    vadd.f32 s24, s24, s26
    vadd.f32 s25, s25, s27
    vadd.f32 s0, s24, s25
    vpop {{d8-d15}}
    bx lr
    .endm

    .section .text.picovit_fpu_dot_f16,"ax",%progbits
    .balign 4
    .global picovit_fpu_dot_f16
    .type picovit_fpu_dot_f16, %function
    .thumb_func
    @ r0: weights, r1: floats, r2: steps of eight, r3: how many fill no step.
picovit_fpu_dot_f16:
    picovit_fpu_start
    tst r0, #3
    bne 2f
    picovit_fpu_f16_steps picovit_fpu_words
    b 3f
2:
    picovit_fpu_f16_steps picovit_fpu_halfwords
    picovit_fpu_end picovit_fpu_f16_rest
    .size picovit_fpu_dot_f16, . - picovit_fpu_dot_f16

    .section .text.picovit_fpu_dot_f32,"ax",%progbits
    .balign 4
    .global picovit_fpu_dot_f32
    .type picovit_fpu_dot_f32, %function
    .thumb_func
    @ As above, of floats only.
picovit_fpu_dot_f32:
    picovit_fpu_start
1:
    vldmia r0!, {{s4-s11}}
    vldmia r1!, {{s16-s23}}
    picovit_fpu_products s4, s5, s6, s7, s8, s9, s10, s11
    subs r2, r2, #1
    bne 1b
    picovit_fpu_end picovit_fpu_f32_rest
    .size picovit_fpu_dot_f32, . - picovit_fpu_dot_f32
    .purgem picovit_fpu_products
    .purgem picovit_fpu_start
    .purgem picovit_fpu_f16_steps
    .purgem picovit_fpu_words
    .purgem picovit_fpu_halfwords
    .purgem picovit_fpu_f16_rest
    .purgem picovit_fpu_f32_rest
    .purgem picovit_fpu_end
    .text
    "#
);

unsafe extern "C" {
    fn picovit_fpu_dot_f16(w: *const u16, x: *const f32, steps: usize, rest: usize) -> f32;
    fn picovit_fpu_dot_f32(a: *const f32, b: *const f32, steps: usize, rest: usize) -> f32;
}

/// [`dot_f16`](super::float::dot_f16).
#[inline]
pub(super) fn dot_f16(w: &[u16], x: &[f32]) -> f32 {
    let count = w.len().min(x.len());
    // SAFETY: reads so many values of both slices, which they have; half precision with loads that
    // need no alignment, unless it begins with a word. The code keeps the registers of the procedure
    // call standard.
    unsafe { picovit_fpu_dot_f16(w.as_ptr(), x.as_ptr(), count / LANES, count % LANES) }
}

/// [`dot_f32`](super::float::dot_f32).
#[inline]
pub(super) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let count = a.len().min(b.len());
    // SAFETY: as above.
    unsafe { picovit_fpu_dot_f32(a.as_ptr(), b.as_ptr(), count / LANES, count % LANES) }
}
