//! A frame that DMA writes and the processor reads.

use core::mem::MaybeUninit;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use picovit_camera_sensor::{OV7725, Sensor};

/// The sensor.
pub const SENSOR: &Sensor = &OV7725;

/// DMA counts in words.
const WORDS: usize = SENSOR.frame_bytes() / 4;

/// Where frames are: in memory that DMA reaches, and each in lines of the cache of its own.
#[repr(C, align(32))]
pub struct Buffer([u32; WORDS]);

const _: () = assert!(SENSOR.frame_bytes().is_multiple_of(32), "a line belongs to one frame");

/// A buffer that somebody owns.
pub struct Frame(&'static mut Buffer);

impl Frame {
    /// The two buffers that there are, all zero; `None` if somebody has them already.
    #[allow(unsafe_code, reason = "the memory is none that the startup code sets to zero")]
    pub fn both() -> Option<(Self, Self)> {
        // The section is the memory map's, and nothing else is in it.
        #[unsafe(link_section = ".frames")]
        static mut BUFFERS: MaybeUninit<[Buffer; 2]> = MaybeUninit::uninit();
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        // Written where they are: as a value they may get onto the stack first, which has no room.
        // SAFETY: nobody else can name the buffers, only the first call gets here, and zeros are words.
        let [first, second] = unsafe {
            let buffers = addr_of_mut!(BUFFERS);
            buffers.write_bytes(0, 1);
            (*buffers).assume_init_mut()
        };
        Some((Self(first), Self(second)))
    }

    /// For DMA to write.
    pub fn words(&mut self) -> &mut [u32] {
        &mut self.0.0
    }

    /// Where it is, and how long.
    pub fn place(&self) -> (usize, usize) {
        (self.0.0.as_ptr() as usize, size_of::<Buffer>())
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        bytemuck::must_cast_slice(&self.0.0)
    }
}
