//! Options of `picovit quantize`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use picovit_compiler::{Layout, Packing};

/// Instruction set the weights are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Row-major, for processors without an instruction set named here.
    Portable,
    /// Cortex-M4 and M4F.
    CortexM4,
    /// Cortex-M7.
    CortexM7,
    /// Cortex-M33 with DSP.
    CortexM33,
    /// Cortex-M55 with Helium.
    CortexM55,
    /// Raspberry Pi 5 and other 64-bit Arm with dot products.
    Aarch64,
    /// Raspberry Pi 3, 4 and Zero 2 W, and other 64-bit Arm without (Cortex-A53, A72).
    #[value(alias = "cortex-a72")]
    CortexA53,
    /// x86-64.
    X86,
    /// WebAssembly with vectors (`simd128`).
    Wasm,
}

impl Target {
    /// How its kernels take weights.
    pub(super) fn layout(self) -> Layout {
        match self {
            // NEON takes rows as they are.
            Self::Portable | Self::Aarch64 => Packing::Portable.into(),
            Self::CortexA53 => Layout { packing: Packing::Portable, winograd: true },
            Self::X86 | Self::Wasm => Packing::Wide.into(),
            Self::CortexM4 | Self::CortexM7 | Self::CortexM33 => Packing::CortexM.into(),
            Self::CortexM55 => Packing::Helium.into(),
        }
    }
}

/// Number format of a whole artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NumberFormat {
    /// 8-bit integers.
    Int8,
    /// 16-bit floating-point weights, 32-bit arithmetic.
    F16,
}

/// How ranges follow from the values seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ranges {
    /// The best of the others, tensor by tensor, in its own error or in that of the logits.
    Auto,
    /// From the smallest to the largest value.
    MinMax,
    /// Without the outermost values.
    Percentile,
    /// Least mean squared error.
    Mse,
}

/// Quantize a checkpoint.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Checkpoint, with its configuration beside it (best.mpk, best.json).
    pub(super) checkpoint: PathBuf,
    /// Artifact to write.
    #[arg(long, default_value = "model.pvit")]
    pub(super) out: PathBuf,
    /// Number format: int8 weights and activations, or f16 weights and f32 arithmetic.
    #[arg(long, value_enum, default_value = "int8")]
    pub(super) format: NumberFormat,
    /// Measure what every layer contributes to the drift.
    #[arg(long, conflicts_with = "format")]
    pub(super) sensitivity: bool,
    /// Keep layers of an int8 artifact in f16: this many of the worst, or these, by name and
    /// separated by commas.
    #[arg(long, value_name = "N|LAYERS", conflicts_with = "format")]
    pub(super) keep_f16: Option<String>,
    /// Write the artifact only if the logit SQNR over the calibration images is at least this.
    #[arg(long, value_name = "DB", value_parser = decibels, allow_negative_numbers = true)]
    pub(super) min_sqnr_db: Option<f64>,
    /// Processor that the weights are packed for. Hosts and emulated boards run all artifacts, but fast only
    /// theirs; boards with a model in flash of its own take no other.
    #[arg(long, value_enum, default_value = "cortex-m4")]
    pub(super) target: Target,
    /// Compute 3x3 convolutions as they are, not by Winograd's algorithm: their weights take 3.6 times
    /// less flash, on Cortex-M55, Cortex-A53, x86 and wasm 8 times, and the processor up to twice the instructions for them.
    #[arg(long)]
    pub(super) no_winograd: bool,
    /// Bytes that the arena may have at most, as in 33000, 32K or 1M. Speed is given up where it takes
    /// that, never accuracy; where nothing helps, the error says what the smallest arena is.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(super) arena_budget: Option<usize>,
    /// Calibration images: a folder of images, or a data set whose training images are taken
    /// [default: the data set the model was trained on].
    #[arg(long, value_name = "DIR|DATASET")]
    pub(super) calibration: Option<String>,
    /// Number of calibration images.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) images: u32,
    /// How ranges follow from the calibration images; `auto` takes, tensor by tensor, what errs least, or
    /// what brings the logits closer.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) ranges: Ranges,
    /// Test set [default: the data set the model was trained on].
    #[arg(long)]
    pub(super) dataset: Option<String>,
    /// Folder of the data set's files.
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Evaluate on the first N test images only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) eval_images: Option<u32>,
    /// Write the artifact without evaluating it.
    #[arg(long, conflicts_with = "json")]
    pub(super) no_eval: bool,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

/// Decibels on the command line.
fn decibels(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "not a number of decibels; write 40 or 38.5".to_owned())
}

/// A number of bytes on the command line.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['M', 'm']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let count: Option<usize> = digits.parse().ok();
    count
        .and_then(|count| count.checked_mul(factor))
        .ok_or_else(|| "not a number of bytes; write 33000, 32K (32 * 1024 bytes) or 1M".to_owned())
}
