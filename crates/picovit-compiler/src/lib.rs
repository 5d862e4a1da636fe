//! Quantizer, memory planner and packer: a float [`graph::Graph`] becomes a `.pvit` artifact.
//!
//! ```text
//! Graph --calibrate(images)--> ranges --quantize--> QGraph --plan--> buffers --pack--> model.pvit
//! ```
#![forbid(unsafe_code)]

pub mod artifact;
mod budget;
pub mod calibrate;
pub mod drift;
mod error;
pub mod executor;
pub mod fuse;
pub mod graph;
mod layout;
pub mod observe;
pub mod pack;
pub mod plan;
pub mod quantize;
pub mod sensitivity;
pub mod verify;

// Networks for tests, here as in the crate's other tests.
#[cfg(test)]
extern crate self as picovit_compiler;
#[cfg(test)]
#[path = "../tests/networks/mod.rs"]
mod networks;

pub use artifact::AlignedBytes;
pub use budget::Economy;
pub use calibrate::Calibration;
pub use error::CompileError;
pub use executor::Executor;

use graph::Graph;
use layout::{has_many_tiles, mark_winograd};
use pack::{Info, Packed};
use quantize::SiteInfo;

pub use layout::Layout;
pub use picovit::format::Packing;
pub use quantize::Format;

/// A compiled network.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// The file and its layout.
    pub packed: Packed,
    /// Where quantized values correspond to float values.
    pub sites: Vec<SiteInfo>,
    /// What was given up to fit the arena that was allowed.
    pub economies: Vec<Economy>,
}

/// Compiles a graph to an int8 artifact with portable weight packing.
///
/// # Errors
/// [`CompileError`] names the node and what does not fit.
pub fn compile(
    graph: &Graph,
    calibration: &Calibration,
    dataset: Option<&str>,
) -> Result<Compiled, CompileError> {
    compile_as(graph, calibration, dataset, &Format::Int8)
}

/// Compiles a graph to an artifact of this number format, with portable weight packing.
///
/// # Errors
/// [`CompileError`] names the node and what does not fit.
pub fn compile_as(
    graph: &Graph,
    calibration: &Calibration,
    dataset: Option<&str>,
    format: &Format,
) -> Result<Compiled, CompileError> {
    compile_for(graph, calibration, dataset, format, Packing::Portable)
}

/// Compiles a graph to an artifact of this number format, its weights laid out in this way.
///
/// # Errors
/// [`CompileError`] names the node and what does not fit.
pub fn compile_for(
    graph: &Graph,
    calibration: &Calibration,
    dataset: Option<&str>,
    format: &Format,
    layout: impl Into<Layout>,
) -> Result<Compiled, CompileError> {
    compile_within(graph, calibration, dataset, format, layout, usize::MAX)
}

/// Compiles a graph to the fastest artifact whose arena has at most so many bytes. All variants
/// give the same logits.
///
/// # Errors
/// [`CompileError::ArenaBudget`] says what the smallest arena is where none fits; others name the
/// node and what does not fit.
pub fn compile_within(
    graph: &Graph,
    calibration: &Calibration,
    dataset: Option<&str>,
    format: &Format,
    layout: impl Into<Layout>,
    arena_budget: usize,
) -> Result<Compiled, CompileError> {
    let Layout { packing, winograd } = layout.into();
    let mut quantized = quantize::quantize(graph, calibration, format)?;
    if winograd {
        mark_winograd(&mut quantized, packing);
    }
    let (packing, economies) = budget::fit(graph, &mut quantized, packing, arena_budget)?;
    let info = Info {
        model: graph.name.clone(),
        format: format.name().into(),
        target: if packing == Packing::Portable && has_many_tiles(&quantized) {
            "portable, many tiles".into()
        } else {
            packing.name().into()
        },
        generator: concat!("picovit ", env!("CARGO_PKG_VERSION")).into(),
        dataset: dataset.map(Into::into),
        parameters: graph.parameters(),
        calibration_images: calibration.images(),
        ops: quantized.names.clone(),
    };
    let packed = pack::pack(graph, &quantized, &info, format, packing)?;
    Ok(Compiled { packed, sites: quantized.sites, economies })
}
