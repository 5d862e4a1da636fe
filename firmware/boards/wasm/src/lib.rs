//! picovit as a WebAssembly module, for browsers and whatever else runs such: an image goes in value by
//! value, logits come out. With the feature `kernels` it has the check of the kernels in place of a
//! model.
//!
//! `cargo firmware wasm` builds it with and without vectors (`simd128`), runs both and compares them
//! with the host.
#![no_std]
#![cfg(target_arch = "wasm32")]
#![allow(
    unsafe_code,
    reason = "functions that the outside calls have names of their own: no code is"
)]

use core::panic::PanicInfo;

#[cfg(feature = "kernels")]
mod kernels;
#[cfg(not(feature = "kernels"))]
mod model;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
