//! The DSP instructions of Armv7E-M and Armv8-M, for [`Packing::CortexM`].
//!
//! Two channels share a halfword, `256 * odd + even`, and SMLAD multiplies two halfwords at once:
//! on the stored words it gives `256 * odd + even` of the sums, on the words' sign-extended low
//! bytes the even sum, and the odd one is a 256th of the difference. That is exact while odd sums
//! stay below 2^23, which is why sums are taken in parts of [`PART`] quads of inputs.
//!
//! [`Packing::CortexM`]: crate::format::Packing::CortexM

use core::arch::global_asm;

use super::block::Operand;
use crate::format::TOKENS;

/// Quads of inputs whose sums are taken at a time: `4 * PART * 127 * 255 < 2^23`.
const PART: usize = 64;

/// Bytes that a quad of inputs takes, of a tile and of a block.
const QUAD: usize = 16;

global_asm!(
    r#"
    .macro picovit_quad
    .rept 2
    ldrd r2, r3, [r0], #8
    ldrd r4, r5, [r1], #8
    smlad r6, r2, r4, r6
    smlad r7, r2, r5, r7
    smlad r8, r3, r4, r8
    smlad r9, r3, r5, r9
    sxtb16 r2, r2
    sxtb16 r3, r3
    smlad r10, r2, r4, r10
    smlad r11, r2, r5, r11
    smlad r12, r3, r4, r12
    smlad lr, r3, r5, lr
    .endr
    .endm

    .macro picovit_sums both0, both1, even0, even1, at
    ldrd r4, r5, [r2, #\at]
    add r4, r4, \even0
    add r5, r5, \even1
    strd r4, r5, [r2, #\at]
    ldrd r4, r5, [r2, #\at + 8]
    sub \both0, \both0, \even0
    sub \both1, \both1, \even1
    add r4, r4, \both0, asr #8
    add r5, r5, \both1, asr #8
    strd r4, r5, [r2, #\at + 8]
    .endm

    .section .text.picovit_cortex_m_tile,"ax",%progbits
    .syntax unified
    .balign 4
    .global picovit_cortex_m_tile
    .type picovit_cortex_m_tile, %function
    .thumb_func
    @ r0: weights, r1: tokens, r2: quads of inputs, at least 1, r3: sums [4][2].
    @ On the stack: sums, quads left, end of this part's whole rounds, end of this part.
picovit_cortex_m_tile:
    push {{r4-r11, lr}}
    sub sp, #20
    strd r3, r2, [sp]
1:
    mov r3, r2
    cmp r3, #{part}
    it hi
    movhi r3, #{part}
    subs r2, r2, r3
    str r2, [sp, #4]
    add r2, r1, r3, lsl #4
    bic r3, r3, #3
    add r3, r1, r3, lsl #4
    strd r3, r2, [sp, #8]
    movs r6, #0
    movs r7, #0
    mov r8, r6
    mov r9, r6
    mov r10, r6
    mov r11, r6
    mov r12, r6
    mov lr, r6
    cmp r1, r3
    beq 3f
2:
    .rept 4
    picovit_quad
    .endr
    ldr r2, [sp, #8]
    cmp r1, r2
    bne 2b
3:
    ldr r2, [sp, #12]
    cmp r1, r2
    beq 5f
4:
    picovit_quad
    ldr r2, [sp, #12]
    cmp r1, r2
    bne 4b
5:
    ldr r2, [sp]
    picovit_sums r6, r7, r10, r11, 0
    picovit_sums r8, r9, r12, lr, 16
    ldr r2, [sp, #4]
    cmp r2, #0
    bne 1b
    add sp, #20
    pop {{r4-r11, pc}}
    .size picovit_cortex_m_tile, . - picovit_cortex_m_tile
    .purgem picovit_quad
    .purgem picovit_sums
    .text
    "#,
    part = const PART,
);

unsafe extern "C" {
    fn picovit_cortex_m_tile(
        weights: *const i8,
        tokens: *const u8,
        quads: usize,
        sums: *mut [[i32; TOKENS]; 4],
    );
}

/// Adds the products of one tile of four channels with a block.
#[inline]
pub(super) fn tile(weights: &[i8], block: &[u8], sums: &mut [[i32; TOKENS]; 4]) {
    let quads = weights.len().min(block.len()) / QUAD;
    if quads > 0 && weights.as_ptr().addr().is_multiple_of(4) {
        // SAFETY: reads `quads` times 16 bytes of either slice, which are there, and reads and
        // writes the eight sums. Block and sums are words of their own, aligned for doubles by
        // their origin; it keeps the registers of the procedure call standard.
        unsafe { picovit_cortex_m_tile(weights.as_ptr(), block.as_ptr(), quads, sums) }
    }
}

/// Writes a row of a block: quads of inputs, inputs 0 and 2 of either token as words of two
/// halfwords, then inputs 1 and 3.
#[inline]
pub(super) fn spread<T: Operand>(row: &[T], token: usize, block: &mut [u8]) {
    let (words, rest) = bytemuck::must_cast_slice::<T, u8>(row).as_chunks::<4>();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(last, &value)| *last = value);
    let last = (!rest.is_empty()).then_some(&last);
    let quads = block.as_chunks_mut::<QUAD>().0;
    for (quad, word) in quads.iter_mut().zip(words.iter().chain(last)) {
        let word = u32::from_le_bytes(*word);
        for (pair, word) in quad.as_chunks_mut::<8>().0.iter_mut().zip([word, word >> 8]) {
            if let Some(halves) = pair.as_chunks_mut::<4>().0.get_mut(token) {
                *halves = T::halves(word).to_le_bytes();
            }
        }
    }
}

/// The sign-extended first and third bytes of a word.
#[inline]
pub(super) fn signed_halves(word: u32) -> u32 {
    let halves;
    // SAFETY: reads one register and writes another.
    unsafe {
        core::arch::asm!("sxtb16 {}, {}", out(reg) halves, in(reg) word, options(pure, nomem, nostack, preserves_flags));
    }
    halves
}
