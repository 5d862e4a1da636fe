//! The figures of a run, as a table and as JSON.

use std::path::Path;

use serde::Serialize;

use crate::elf::Sizes;
use crate::error::Error;
use crate::output::{grouped, table, write};

/// The figures of a run, as they are written to JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Name of the board.
    pub board: &'static str,
    /// The artifact.
    pub model: String,
    /// Pictures classified.
    pub images: usize,
    /// Whether all logits equal the host's.
    pub logits_match: bool,
    /// Mean over the pictures, `Engine::run` only.
    pub instructions_per_inference: u64,
    /// The engine's working memory.
    pub arena_bytes: usize,
    /// Most bytes of stack in use at any time.
    pub stack_bytes: u64,
    /// Variables (arena and display band among them) and `stack_bytes`.
    pub ram_bytes: u64,
    /// What the firmware takes in flash, model included, test pictures not.
    pub flash_bytes: u64,
    /// Machine code.
    pub code_bytes: u64,
    /// The engine's share of it.
    pub engine_code_bytes: u64,
    /// The share of the pre-processing, from the frame to the input.
    pub image_code_bytes: u64,
}

/// What the table shows beyond the report.
pub(crate) struct Extra {
    /// Fewest and most instructions of an inference.
    pub range: (u64, u64),
    /// Multiply-accumulates of the model.
    pub macs: u64,
    /// Correct answers among those whose class is known.
    pub correct: (usize, usize),
    /// Stack of an inference before anything was drawn.
    pub inference_stack: u64,
    /// RAM of the board.
    pub ram: u64,
    /// Bytes of the artifact.
    pub artifact: usize,
    /// Whether the model is in memory of its own.
    pub region: bool,
    /// Sizes of the program.
    pub sizes: Sizes,
}

impl Report {
    /// The figures for people.
    pub(crate) fn print(&self, extra: &Extra) {
        let Extra { range: (fewest, most), macs, correct: (correct, known), .. } = *extra;
        let per_mac = self.instructions_per_inference as f64 / macs.max(1) as f64;
        let mut rows = vec![
            (
                "instructions per inference",
                grouped(self.instructions_per_inference),
                format!("{} to {}; not cycles", grouped(fewest), grouped(most)),
            ),
            (
                "instructions per MAC",
                format!("{per_mac:.2}"),
                format!("{} multiply-accumulates", grouped(macs)),
            ),
            (
                "RAM",
                format!("{} B", grouped(self.ram_bytes)),
                format!("of {}: variables and stack", grouped(extra.ram)),
            ),
            ("  arena", format!("{} B", grouped(self.arena_bytes as u64)), String::new()),
            (
                "  other variables",
                format!("{} B", grouped(extra.sizes.statics - self.arena_bytes as u64)),
                match extra.region {
                    false => "most of it one band of the display".to_owned(),
                    true => "what other models have of the arena, and the display".to_owned(),
                },
            ),
            (
                "  stack",
                format!("{} B", grouped(self.stack_bytes)),
                format!(
                    "of {} reserved; {} without the display",
                    grouped(extra.sizes.stack),
                    grouped(extra.inference_stack)
                ),
            ),
            (
                "flash",
                format!("{} B", grouped(self.flash_bytes)),
                format!(
                    "{} of it the model, none the test pictures",
                    grouped(extra.artifact as u64)
                ),
            ),
            (
                "  code",
                format!("{} B", grouped(self.code_bytes)),
                format!(
                    "engine, application, log; {} the compiler's helpers for all of them",
                    grouped(extra.sizes.helpers)
                ),
            ),
            (
                "    engine code",
                format!("{} B", grouped(self.engine_code_bytes)),
                "functions of the crate `picovit`".to_owned(),
            ),
            (
                "    pre-processing",
                format!("{} B", grouped(self.image_code_bytes)),
                "its functions from a frame to the input".to_owned(),
            ),
        ];
        if known > 0 {
            rows.push((
                "correct",
                format!("{correct} / {known}"),
                format!("{:.1} % of these pictures", 100.0 * correct as f64 / known as f64),
            ));
        }
        println!("{}", table(&rows));
    }
}

/// Writes a report as JSON, if a file was asked for.
pub(crate) fn json<T: Serialize>(path: Option<&Path>, report: &T) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Error::file("write", path)(error.into()))?;
    write(path, (text + "\n").as_bytes())
}
