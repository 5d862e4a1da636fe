//! Rows of a block as pairs of halfwords.

use core::arch::global_asm;

use super::QUAD;
use crate::kernels::block::Operand;

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified

    @ r0: values, r1: their places, r2: words of four values.
    .macro picovit_spread name, extend
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {{r4, lr}}
    subs r2, r2, #4
    blo 2f
1:
    .rept 4
    ldr r3, [r0], #4
    \extend r4, r3
    \extend r3, r3, ror #8
    str r4, [r1], #8
    str r3, [r1], #8
    .endr
    subs r2, r2, #4
    bhs 1b
2:
    adds r2, r2, #4
    beq 4f
3:
    ldr r3, [r0], #4
    \extend r4, r3
    \extend r3, r3, ror #8
    str r4, [r1], #8
    str r3, [r1], #8
    subs r2, r2, #1
    bne 3b
4:
    pop {{r4, pc}}
    .size \name, . - \name
    .endm

    .section .text.picovit_cortex_m_spread,"ax",%progbits
    picovit_spread picovit_cortex_m_spread_i8, sxtb16
    picovit_spread picovit_cortex_m_spread_u8, uxtb16
    .purgem picovit_spread
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m_spread_i8(values: *const u8, places: *mut u8, words: usize);
    fn picovit_cortex_m_spread_u8(values: *const u8, places: *mut u8, words: usize);
}

/// Writes a row of a block: quads of inputs, inputs 0 and 2 of either token as words of two
/// halfwords, then inputs 1 and 3. What is left of the last quad becomes 0.
#[inline]
pub(in crate::kernels) fn spread<T: Operand>(row: &[T], token: usize, block: &mut [u8]) {
    let (words, rest) = bytemuck::must_cast_slice::<T, u8>(row).as_chunks::<4>();
    // The last quad ends with a word of the other token.
    let places = block.get_mut(4 * token..).unwrap_or_default();
    let count = words.len().min((places.len() + 4) / QUAD);
    write::<T>(words.get(..count).unwrap_or_default(), places);
    if !rest.is_empty() && count == words.len() {
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(last, &value)| *last = value);
        let places = places.get_mut(count * QUAD..).unwrap_or_default();
        if places.len() + 4 >= QUAD {
            write::<T>(&[last], places);
        }
    }
}

/// Writes words of four values, one every [`QUAD`] bytes, for which there are places.
#[inline(always)]
fn write<T: Operand>(words: &[[u8; 4]], places: &mut [u8]) {
    let write = if T::SIGNED { picovit_cortex_m_spread_i8 } else { picovit_cortex_m_spread_u8 };
    // SAFETY: reads the words, with loads that need no alignment, and writes two words for each, eight
    // bytes apart, which are there. The code keeps the registers of the procedure call standard.
    unsafe { write(words.as_ptr().cast(), places.as_mut_ptr(), words.len()) }
}

/// A quad of inputs of a row that was spread.
pub(in crate::kernels) fn gather(token: usize, quad: usize, block: &[u8]) -> [i32; 4] {
    let value = |input: usize| {
        let place = quad * QUAD + input % 2 * 8 + token * 4 + input / 2 * 2;
        let half = block.get(place..).and_then(|rest| rest.first_chunk());
        half.map_or(0, |half| i16::from_le_bytes(*half).into())
    };
    [value(0), value(1), value(2), value(3)]
}
