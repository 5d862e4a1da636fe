//! Rows of a block as pairs of halfwords.

use super::QUAD;
use crate::kernels::block::Operand;

/// Writes a row of a block: quads of inputs, inputs 0 and 2 of either token as words of two
/// halfwords, then inputs 1 and 3.
#[inline]
pub(in crate::kernels) fn spread<T: Operand>(row: &[T], token: usize, block: &mut [u8]) {
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

/// A quad of inputs of a row that was spread.
pub(in crate::kernels) fn gather(token: usize, quad: usize, block: &[u8]) -> [i32; 4] {
    let value = |input: usize| {
        let place = quad * QUAD + input % 2 * 8 + token * 4 + input / 2 * 2;
        let half = block.get(place..).and_then(|rest| rest.first_chunk());
        half.map_or(0, |half| i16::from_le_bytes(*half).into())
    };
    [value(0), value(1), value(2), value(3)]
}

/// The sign-extended first and third bytes of a word.
#[inline]
pub(in crate::kernels) fn signed_halves(word: u32) -> u32 {
    let halves;
    // SAFETY: reads one register and writes another.
    unsafe {
        core::arch::asm!("sxtb16 {}, {}", out(reg) halves, in(reg) word, options(pure, nomem, nostack, preserves_flags));
    }
    halves
}
