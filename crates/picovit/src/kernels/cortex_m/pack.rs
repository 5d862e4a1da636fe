//! Keys and values into matrices of [`Packing::CortexM`](crate::format::Packing::CortexM), as they
//! arise.

use core::arch::global_asm;

use crate::format::{Packing, TOKENS};

#[cfg(armv8m)]
global_asm!(".cpu cortex-m33");
global_asm!(
    r#"
    .syntax unified
    .section .text.picovit_cortex_m_pack,"ax",%progbits
    .balign 4
    .global picovit_cortex_m_pack_rows
    .type picovit_cortex_m_pack_rows, %function
    .thumb_func
    @ r0, r1: the even and the odd output, r2: place, r3: quads of inputs.
picovit_cortex_m_pack_rows:
    push {{r4-r7, lr}}
1:
    ldr r4, [r0], #4
    ldr r5, [r1], #4
    sxtb16 r6, r4
    sxtb16 r4, r4, ror #8
    and r7, r5, #0x00ff00ff
    and r5, r5, #0xff00ff00
    lsls r7, r7, #8
    sadd16 r6, r6, r7
    sadd16 r4, r4, r5
    str r4, [r2, #8]
    str r6, [r2], #16
    subs r3, r3, #1
    bne 1b
    pop {{r4-r7, pc}}
    .size picovit_cortex_m_pack_rows, . - picovit_cortex_m_pack_rows

    .balign 4
    .global picovit_cortex_m_pack_columns
    .type picovit_cortex_m_pack_columns, %function
    .thumb_func
    @ r0, r1: the even and the odd input, r2: place, r3: tiles, on the stack: bytes of a tile.
picovit_cortex_m_pack_columns:
    push {{r4-r7, lr}}
    ldr r7, [sp, #20]
2:
    ldr r4, [r0], #4
    ldr r5, [r1], #4
    and r6, r4, #0xff00ff00
    sxtb16 r4, r4
    sadd16 r4, r4, r6
    and r6, r5, #0xff00ff00
    sxtb16 r5, r5
    sadd16 r5, r5, r6
    strh r4, [r2]
    lsrs r4, r4, #16
    strh r4, [r2, #4]
    strh r5, [r2, #8]
    lsrs r5, r5, #16
    strh r5, [r2, #12]
    add r2, r2, r7
    subs r3, r3, #1
    bne 2b
    pop {{r4-r7, pc}}
    .size picovit_cortex_m_pack_columns, . - picovit_cortex_m_pack_columns
    .text
    "#
);

unsafe extern "C" {
    fn picovit_cortex_m_pack_rows(even: *const i8, odd: *const i8, place: *mut i8, quads: usize);
    fn picovit_cortex_m_pack_columns(
        even: *const i8,
        odd: *const i8,
        place: *mut i8,
        tiles: usize,
        tile: usize,
    );
}

/// Writes two outputs, `[even, odd]`, of which `start` is where their first halfword lies; whether it
/// was done.
pub(crate) fn pack_rows(packed: &mut [i8], start: usize, [even, odd]: [&[i8]; TOKENS]) -> bool {
    let quads = even.len() / 4;
    let places = packed.get_mut(start..).unwrap_or_default();
    // The last of a quad's words begins eight bytes behind the first.
    let fits = quads > 0
        && even.len() == 4 * quads
        && odd.len() == even.len()
        && places.len() >= 16 * quads - 4;
    if fits {
        // SAFETY: both have `quads` words, for which there are places; no access needs an alignment.
        // The code keeps the registers of the procedure call standard.
        unsafe {
            picovit_cortex_m_pack_rows(even.as_ptr(), odd.as_ptr(), places.as_mut_ptr(), quads);
        }
    }
    fits
}

/// Writes two inputs, `[even, odd]`, the even one of which is `input`, of all outputs of a matrix of so
/// many inputs; whether it was done.
pub(crate) fn pack_columns(
    packed: &mut [i8],
    (inputs, input): (usize, usize),
    [even, odd]: [&[i8]; TOKENS],
) -> bool {
    let tiles = even.len() / 4;
    let tile = Packing::CortexM.matrix_bytes(4, inputs);
    let start = input / 4 * 16 + input % 4;
    let fits = tiles > 0
        && input < inputs
        && even.len() == 4 * tiles
        && odd.len() == even.len()
        && packed.len() >= tiles.saturating_mul(tile);
    if fits {
        // SAFETY: both have `tiles` words. A tile has sixteen bytes for each quad of inputs, of which
        // that of `input` is one, and `packed` has `tiles` of them; `start` is at most two bytes into
        // a quad, and the last halfword begins twelve bytes behind it. No access needs an alignment.
        // The code keeps the registers of the procedure call standard.
        unsafe {
            let place = packed.as_mut_ptr().add(start);
            picovit_cortex_m_pack_columns(even.as_ptr(), odd.as_ptr(), place, tiles, tile);
        }
    }
    fits
}
