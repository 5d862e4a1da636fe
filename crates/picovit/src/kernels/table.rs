//! Functions of int8 values by table.

use crate::format::TABLE_ENTRIES;

/// Replaces each value by its entry of a table, whose first one is that of -128.
#[inline]
pub fn look_up(values: &mut [i8], table: &[i8; TABLE_ENTRIES]) {
    #[cfg(mve)]
    super::helium::look_up(values, table);
    #[cfg(target_arch = "x86_64")]
    if super::x86::is_avx512() && super::x86::values512::has_vbmi() {
        // SAFETY: AVX-512 is current, and VBMI has been asked for.
        return unsafe { super::x86::values512::look_up(values, table) };
    }
    #[cfg(not(mve))]
    {
        #[cfg(target_arch = "aarch64")]
        let values = if super::neon::is_current() {
            let (steps, rest) = values.as_chunks_mut();
            // SAFETY: NEON is current.
            unsafe { super::neon::look_up(steps, table) };
            rest
        } else {
            values
        };
        let entry = |v: i8| table[(v as u8 ^ 0x80) as usize];
        let (fours, rest) = values.as_chunks_mut::<4>();
        #[cfg(dsp)]
        super::cortex_m::look_up(fours, table);
        #[cfg(not(dsp))]
        fours.iter_mut().for_each(|four| *four = four.map(entry));
        rest.iter_mut().for_each(|v| *v = entry(*v));
    }
}
