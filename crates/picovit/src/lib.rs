//! Compact vision transformers on microcontrollers: an int8 inference engine without heap, panic
//! or floating point.
//!
//! An artifact (`model.pvit`, made by `cargo tools quantize`) is used in place from flash; all
//! working memory is one arena whose exact size is known at compile time:
//!
//! ```
//! use picovit::image::{self, Frame, ImageError, PixelFormat};
//! use picovit::{Arena, Engine, Error, Model, arena_bytes, postprocess};
//!
//! # #[cfg(any())]
//! static MODEL: &[u8] = picovit::include_artifact!("model.pvit");
//! # static MODEL: &[u8] = picovit::include_artifact!("../tests/data/model.pvit");
//!
//! /// Once. An error says what is wrong with the artifact or the arena.
//! fn engine(arena: &mut [u8]) -> Result<Engine<'static, '_>, Error> {
//!     Engine::new(&Model::parse(MODEL)?, arena)
//! }
//!
//! /// The class of a frame. Only the frame can be wrong: inference itself cannot fail.
//! fn classify(engine: &mut Engine<'_, '_>, frame: &Frame<'_>) -> Result<usize, ImageError> {
//!     let model = *engine.model();
//!     image::fit(frame, model.height(), model.width(), model.channels(), engine.input())?;
//!     Ok(postprocess::argmax(engine.run()))
//! }
//!
//! let mut arena = Arena::<{ arena_bytes(MODEL) }>::new();
//! let mut engine = engine(&mut arena)?;
//! # let camera = [200; 320 * 240];
//! let frame = Frame { width: 320, height: 240, format: PixelFormat::Gray8, pixels: &camera };
//! let class = classify(&mut engine, &frame);
//! # assert_eq!(class, Ok(1));
//! # assert_eq!(engine.model().label(1), Some("light"));
//! # Ok::<(), Error>(())
//! ```
//!
//! Host and chip give the same bytes: the arithmetic is specified in `docs/arithmetic.md`, the
//! artifact in `docs/format.md`.
//!
//! # Features and processor flags
//!
//! Cargo features. What a network or a camera does not need can stay out of a chip's flash, with
//! `default-features = false`.
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `class-token` | yes | Class tokens: ViT-Lite, CVT |
//! | `mobilevit` | yes | Inverted residuals, folding, joined maps, means over all pixels: MobileViT |
//! | `every-packing` | yes | Artifacts that were quantized for another processor, at the speed of portable code; hosts always have it |
//! | `rgb565`, `rgb888`, `yuv422` | yes | Frames in these formats; grey ones always work |
//! | `f16` | no | f16 and mixed artifacts |
//! | `std` | no | Kernels chosen by what the processor can do, not by what the build requires: for hosts |
//! | `defmt` | no | `defmt::Format` for errors, predictions and image descriptions |
//!
//! The compiler must be told the processor where the target's name leaves it open. Without it the engine
//! is portable code, right and many times slower, and without `every-packing` it refuses artifacts for the
//! processor, at compile time by [`arena_bytes`].
//!
//! | processor | target | flags for rustc | `quantize --target` |
//! |---|---|---|---|
//! | Cortex-M0, M0+ | `thumbv6m-none-eabi` | | `portable` |
//! | Cortex-M3 | `thumbv7m-none-eabi` | | `portable` |
//! | Cortex-M4, M7 | `thumbv7em-none-eabi`, `-eabihf` | | `cortex-m4`, `cortex-m7` |
//! | Cortex-M33 | `thumbv8m.main-none-eabi`, `-eabihf` | `-C target-feature=+dsp` or `-C target-cpu=cortex-m33` | `cortex-m33` |
//! | Cortex-M52, M55, M85 | `thumbv8m.main-none-eabi`, `-eabihf` | `-C target-feature=+dsp,+mve` | `cortex-m55` |
//! | 64-bit Arm | `aarch64-*` | | `aarch64`; `cortex-a53` for those without dot products |
//! | x86-64 | `x86_64-*` | `-C target-cpu=native`, or the feature `std` | `x86` |
//! | WebAssembly | `wasm32-unknown-unknown` | `-C target-feature=+simd128` | `wasm` |
//!
//! Flags stand in `.cargo/config.toml`, under `rustflags` of the target, or in the variable `RUSTFLAGS`:
//!
//! ```toml
//! [target.'cfg(all(target_arch = "arm", target_os = "none"))']
//! rustflags = ["-C", "target-feature=+dsp"]
//! ```
//!
//! [`Packing::NATIVE`](format::Packing::NATIVE) is what a build is fast for: `Portable` on a chip with the
//! DSP extension or Helium means that the flags are missing.
#![no_std]
#![warn(missing_docs)]

#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(target_endian = "big")]
compile_error!(
    "artifacts are little-endian and used in place: big-endian targets are not supported"
);

mod arena;
mod engine;
mod error;
pub mod format;
pub mod image;
#[allow(unsafe_code)]
pub mod kernels;
pub mod model;
pub mod ops;
pub mod postprocess;
mod rows;
mod scratch;

pub use arena::{Arena, arena_bytes};
pub use engine::{Engine, NoProbe, Probe, Site};
pub use error::Error;
pub use model::Model;
pub use postprocess::Prediction;
