//! Quantizer, memory planner and packer: a float [`graph::Graph`] becomes a `.pvit` artifact.
//!
//! ```text
//! Graph --calibrate(images)--> ranges --quantize--> QGraph --plan--> buffers --pack--> model.pvit
//! ```
#![forbid(unsafe_code)]

pub mod artifact;
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

pub use artifact::AlignedBytes;
pub use calibrate::Calibration;
pub use error::CompileError;
pub use executor::Executor;

use graph::Graph;
use layout::mark_winograd;
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
    let Layout { packing, winograd } = layout.into();
    let mut quantized = quantize::quantize(graph, calibration, format)?;
    if winograd {
        mark_winograd(&mut quantized);
    }
    let info = Info {
        model: graph.name.clone(),
        format: format.name().into(),
        target: packing.name().into(),
        generator: concat!("picovit ", env!("CARGO_PKG_VERSION")).into(),
        dataset: dataset.map(Into::into),
        parameters: graph.parameters(),
        calibration_images: calibration.images(),
        ops: quantized.names.clone(),
    };
    let packed = pack::pack(graph, &quantized, &info, format, packing)?;
    Ok(Compiled { packed, sites: quantized.sites })
}
