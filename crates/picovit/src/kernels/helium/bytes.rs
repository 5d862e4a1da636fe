//! Copies, tables and maxima of bytes.

use core::arch::global_asm;

use crate::format::TABLE_ENTRIES;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_bytes,"ax",%progbits
    .balign 4
    .global picovit_helium_copy
    .type picovit_helium_copy, %function
    .thumb_func
    @ r0: values, r1: their places, r2: how many.
picovit_helium_copy:
    push {{r7, lr}}
    wlstp.8 lr, r2, 2f
1:
    vldrb.u8 q0, [r0], #16
    vstrb.8 q0, [r1], #16
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_copy, . - picovit_helium_copy

    .balign 4
    .global picovit_helium_copy_rows
    .type picovit_helium_copy_rows, %function
    .thumb_func
    @ r0: values, r1: from one row to the next, r2: places, r3: how many in a row, on the stack: rows.
picovit_helium_copy_rows:
    push {{r4-r6, lr}}
    ldr r4, [sp, #16]
0:
    mov r5, r0
    mov r6, r2
    wlstp.8 lr, r3, 2f
1:
    vldrb.u8 q0, [r5], #16
    vstrb.8 q0, [r6], #16
    letp lr, 1b
2:
    add r0, r1
    add r2, r3
    subs r4, #1
    bne 0b
    pop {{r4-r6, pc}}
    .size picovit_helium_copy_rows, . - picovit_helium_copy_rows

    .balign 4
    .global picovit_helium_look_up
    .type picovit_helium_look_up, %function
    .thumb_func
    @ r0: values, r1: table, r2: how many.
picovit_helium_look_up:
    push {{r7, lr}}
    vmov.i8 q1, #0x80
    wlstp.8 lr, r2, 2f
1:
    vldrb.u8 q0, [r0]
    veor q0, q0, q1
    vldrb.u8 q2, [r1, q0]
    vstrb.8 q2, [r0], #16
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_look_up, . - picovit_helium_look_up

    .balign 4
    .global picovit_helium_max_into
    .type picovit_helium_max_into, %function
    .thumb_func
    @ r0: values, r1: those they are taken into, r2: how many.
picovit_helium_max_into:
    push {{r7, lr}}
    wlstp.8 lr, r2, 2f
1:
    vldrb.u8 q0, [r0], #16
    vldrb.u8 q1, [r1]
    vmax.s8 q0, q0, q1
    vstrb.8 q0, [r1], #16
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_max_into, . - picovit_helium_max_into

    .balign 4
    .global picovit_helium_max_of_2
    .type picovit_helium_max_of_2, %function
    .thumb_func
    @ r0: two pixels, r1: what they are taken into, r2: channels.
picovit_helium_max_of_2:
    push {{r7, lr}}
    add r3, r0, r2
    wlstp.8 lr, r2, 2f
1:
    vldrb.u8 q0, [r0], #16
    vldrb.u8 q1, [r3], #16
    vldrb.u8 q2, [r1]
    vmax.s8 q0, q0, q1
    vmax.s8 q0, q0, q2
    vstrb.8 q0, [r1], #16
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_max_of_2, . - picovit_helium_max_of_2

    .balign 4
    .global picovit_helium_max_of_3
    .type picovit_helium_max_of_3, %function
    .thumb_func
    @ As above, three pixels.
picovit_helium_max_of_3:
    push {{r7, lr}}
    add r3, r0, r2
    add r12, r3, r2
    wlstp.8 lr, r2, 2f
1:
    vldrb.u8 q0, [r0], #16
    vldrb.u8 q1, [r3], #16
    vldrb.u8 q2, [r12], #16
    vldrb.u8 q3, [r1]
    vmax.s8 q0, q0, q1
    vmax.s8 q2, q2, q3
    vmax.s8 q0, q0, q2
    vstrb.8 q0, [r1], #16
    letp lr, 1b
2:
    pop {{r7, pc}}
    .size picovit_helium_max_of_3, . - picovit_helium_max_of_3
    .text
    "#
);

unsafe extern "C" {
    fn picovit_helium_copy(values: *const i8, places: *mut i8, count: usize);
    fn picovit_helium_copy_rows(
        values: *const i8,
        next: usize,
        places: *mut i8,
        count: usize,
        rows: usize,
    );
    fn picovit_helium_look_up(values: *mut i8, table: *const i8, count: usize);
    fn picovit_helium_max_into(values: *const i8, out: *mut i8, count: usize);
    fn picovit_helium_max_of_2(pixels: *const i8, out: *mut i8, channels: usize);
    fn picovit_helium_max_of_3(pixels: *const i8, out: *mut i8, channels: usize);
}

/// Copies as much as there is.
#[inline]
pub(in crate::kernels) fn copy(source: &[i8], target: &mut [i8]) {
    let count = source.len().min(target.len());
    // SAFETY: reads and writes `count` values. The code keeps the registers of the procedure call
    // standard.
    unsafe { picovit_helium_copy(source.as_ptr(), target.as_mut_ptr(), count) }
}

/// Copies rows of `count` values, every `next` values of the source, one after the other; whether the
/// source has them all.
#[inline]
pub(in crate::kernels) fn copy_rows(
    source: &[i8],
    next: usize,
    target: &mut [i8],
    count: usize,
) -> bool {
    let rows = target.len().checked_div(count).unwrap_or(0);
    let last = rows.checked_sub(1).and_then(|rows| rows.checked_mul(next)?.checked_add(count));
    let fits = last.is_some_and(|last| last <= source.len());
    if fits {
        // SAFETY: the last row read ends at `last`, and there is room for `rows` rows, of which there is
        // one at least. As above.
        unsafe {
            picovit_helium_copy_rows(source.as_ptr(), next, target.as_mut_ptr(), count, rows);
        }
    }
    fits
}

/// Replaces each value by its entry of a table, whose first one is that of -128.
#[inline]
pub(in crate::kernels) fn look_up(values: &mut [i8], table: &[i8; TABLE_ENTRIES]) {
    // SAFETY: reads and writes the values; a table has an entry for each byte. As above.
    unsafe { picovit_helium_look_up(values.as_mut_ptr(), table.as_ptr(), values.len()) }
}

/// Takes each value into the one at its place, which becomes the larger of both.
#[inline]
pub(in crate::kernels) fn max_into(values: &[i8], out: &mut [i8]) {
    let count = values.len().min(out.len());
    // SAFETY: reads `count` values of each and writes as many of `out`. As above.
    unsafe { picovit_helium_max_into(values.as_ptr(), out.as_mut_ptr(), count) }
}

/// Takes pixels, one after the other, into one.
#[inline]
pub(in crate::kernels) fn max_into_pixel(pixels: &[i8], out: &mut [i8]) {
    let channels = out.len();
    let (source, target) = (pixels.as_ptr(), out.as_mut_ptr());
    if pixels.len() == 3 * channels {
        // SAFETY: reads three pixels and writes one. As above.
        unsafe { picovit_helium_max_of_3(source, target, channels) }
    } else if pixels.len() == 2 * channels {
        // SAFETY: reads two pixels and writes one. As above.
        unsafe { picovit_helium_max_of_2(source, target, channels) }
    } else {
        pixels.chunks(channels.max(1)).for_each(|pixel| max_into(pixel, out));
    }
}
