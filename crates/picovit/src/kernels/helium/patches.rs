//! Patches of few values, gathered from a map into a block.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::format::TOKENS;
use crate::format::packing::HELIUM_STEP;
use crate::kernels::conv::Window;
use crate::rows::rows_mut;

global_asm!(
    r#"
    .syntax unified
    .cpu cortex-m55
    .section .text.picovit_helium_patches,"ax",%progbits
    .balign 4
    .global picovit_helium_inner_patches
    .type picovit_helium_inner_patches, %function
    .thumb_func
    @ r0, r1: two patches' first values, r2: their shape, r3: the block. What is left of the last step
    @ becomes 0.
picovit_helium_inner_patches:
    ldr r12, [r2, #{count}]
1:
    vctp.8 r12
    vldrb.u8 q0, [r2], #16
    vpstt
    vldrbt.u8 q1, [r0, q0]
    vldrbt.u8 q2, [r1, q0]
    vstrb.8 q1, [r3], #16
    vstrb.8 q2, [r3], #16
    subs r12, #16
    bhi 1b
    bx lr
    .size picovit_helium_inner_patches, . - picovit_helium_inner_patches

    .balign 4
    .global picovit_helium_border_patch
    .type picovit_helium_border_patch, %function
    .thumb_func
    @ r0: where a patch's first value were, r1: its shape, r2: the token's first step, r3: a bit for each
    @ value that there is; the others are those of the border.
picovit_helium_border_patch:
    push {{r4, lr}}
    ldr r4, [r1, #{count}]
    add r12, r1, #{border}
1:
    vldrb.u8 q0, [r1], #16
    vldrb.u8 q1, [r12], #16
    vmsr p0, r3
    vpst
    vldrbt.u8 q2, [r0, q0]
    vpsel q1, q2, q1
    vstrb.8 q1, [r2], #32
    lsrs r3, #16
    subs r4, #16
    bhi 1b
    pop {{r4, pc}}
    .size picovit_helium_border_patch, . - picovit_helium_border_patch
    .text
    "#,
    count = const offset_of!(Shape, count),
    border = const offset_of!(Shape, border),
);

unsafe extern "C" {
    fn picovit_helium_inner_patches(
        first: *const i8,
        second: *const i8,
        shape: *const Shape,
        block: *mut u8,
    );
    fn picovit_helium_border_patch(
        first: *const i8,
        shape: *const Shape,
        steps: *mut u8,
        inside: u32,
    );
}

/// Steps of a patch at most.
const STEPS: usize = 2;

/// Where the values of a patch lie behind its first, and those of one outside the map.
#[derive(Debug)]
#[repr(C)]
struct Shape {
    offsets: [u8; STEPS * HELIUM_STEP],
    /// 0 behind the last value.
    border: [i8; STEPS * HELIUM_STEP],
    count: usize,
}

/// The patches of a convolution's map, of less values than 32 bits have and near enough to each other.
#[derive(Debug)]
pub(in crate::kernels) struct Patches<'m> {
    /// `height * width` pixels.
    map: &'m [i8],
    extent: (usize, usize, usize),
    window: Window,
    /// First row and column of the last patch that lies inside.
    last: [usize; 2],
    shape: Shape,
    /// A bit for the first value of each row of a patch.
    lines: u32,
}

impl<'m> Patches<'m> {
    /// Those of a map, if they are small enough.
    pub(in crate::kernels) fn new(
        map: &'m [i8],
        (height, width, channels): (usize, usize, usize),
        window: Window,
        zero: &[i8],
    ) -> Option<Self> {
        let kernel = window.kernel;
        let (next, row) = (width.checked_mul(channels)?, kernel.checked_mul(channels)?);
        let count = kernel.checked_mul(row)?;
        let reach = kernel.checked_sub(1)?.checked_mul(next)?.checked_add(row)?;
        if count == 0 || count >= u32::BITS as usize || reach > usize::from(u8::MAX) + 1 {
            return None;
        }
        let last = [height.checked_sub(kernel)?, width.checked_sub(kernel)?];
        let map = map.get(..height.checked_mul(next)?)?;
        let mut shape = Shape { offsets: Default::default(), border: Default::default(), count };
        let mut lines = 0;
        for (line, offsets) in rows_mut(shape.offsets.get_mut(..count)?, row).enumerate() {
            lines |= 1 << (line * row);
            offsets.iter_mut().zip(line * next..).for_each(|(place, value)| *place = value as u8);
        }
        for pixel in rows_mut(shape.border.get_mut(..count)?, channels) {
            pixel.iter_mut().zip(zero).for_each(|(place, &value)| *place = value);
        }
        Some(Self { map, extent: (height, width, channels), window, last, shape, lines })
    }

    /// Writes patches `x` and `x + 1` of row `y` to a block of two, if it has room.
    #[inline]
    pub(in crate::kernels) fn write(&self, (y, x): (usize, usize), block: &mut [u8]) {
        let Window { stride, padding, .. } = self.window;
        if block.len() < TOKENS * self.shape.count.next_multiple_of(HELIUM_STEP) {
            return;
        }
        // What is before the map wraps, and is behind its last patch as well.
        let top = y.wrapping_mul(stride).wrapping_sub(padding);
        let left = x.wrapping_mul(stride).wrapping_sub(padding);
        let corners = [[top, left], [top, left.wrapping_add(stride)]];
        let inside = corners.map(|[top, left]| top <= self.last[0] && left <= self.last[1]);
        let [first, second] = corners.map(|corner| self.value(corner));
        if inside != [false; TOKENS] {
            // Where one is at the border, the other takes its place as well for now.
            let one = if inside[0] { first } else { second };
            let two = if inside[1] { second } else { first };
            // SAFETY: reads `count` values that lie `offsets` behind the first ones of patches that lie
            // inside the map, and writes the steps that hold them, for which there is room. The code
            // keeps the registers of the procedure call standard.
            unsafe { picovit_helium_inner_patches(one, two, &self.shape, block.as_mut_ptr()) }
        }
        for (token, (corner, inside)) in corners.into_iter().zip(inside).enumerate() {
            if !inside {
                let steps = block.get_mut(token * HELIUM_STEP..).unwrap_or_default();
                self.write_border(corner, steps);
            }
        }
    }

    /// Writes a patch to the steps of a token, if there is room.
    #[inline(never)]
    fn write_border(&self, corner: [usize; 2], steps: &mut [u8]) {
        let (height, width, channels) = self.extent;
        let row = self.window.kernel * channels;
        let lines = self.lines & self.bits(corner[0], height, row);
        let inside = lines.wrapping_mul(self.bits(corner[1], width, channels));
        // The last step has no other token's behind it.
        let rounded = self.shape.count.next_multiple_of(HELIUM_STEP);
        if steps.len() + HELIUM_STEP < TOKENS * rounded {
            return;
        }
        let first = self.value(corner);
        // SAFETY: reads those of the values that lie inside the map, and writes the steps that hold
        // `count` values, every other one, for which there is room. As above.
        unsafe { picovit_helium_border_patch(first, &self.shape, steps.as_mut_ptr(), inside) }
    }

    /// Where the first value of a patch lies, or were if the map had more.
    #[inline(always)]
    fn value(&self, [top, left]: [usize; 2]) -> *const i8 {
        let (_, width, channels) = self.extent;
        let pixel = top.wrapping_mul(width).wrapping_add(left);
        self.map.as_ptr().wrapping_add(pixel.wrapping_mul(channels))
    }

    /// Of the steps of a window from `start` on, bits for those inside the map, `each` for one.
    #[inline(always)]
    fn bits(&self, start: usize, size: usize, each: usize) -> u32 {
        let (start, kernel) = (start as isize, self.window.kernel as isize);
        let before = start.wrapping_neg().min(kernel).max(0);
        let end = (size as isize).wrapping_sub(start).min(kernel).max(before);
        let below = |steps: isize| 1u32 << (steps as usize * each);
        below(end) - below(before)
    }
}
