//! What every operation of a model takes on a board.

use picovit::Model;
use serde::Serialize;

use crate::ProfileArgs;
use crate::error::Error;
use crate::measure::{Measured, Picture, Request, measure};
use crate::output::{grouped, sheet};
use crate::report::json;

/// The figures of a profile, as they are written to JSON. Instructions are means over the pictures.
#[derive(Debug, Serialize)]
struct Profile {
    board: &'static str,
    model: String,
    images: usize,
    macs: u64,
    instructions_per_inference: u64,
    ops: Vec<OpFigures>,
    /// Between the start of the inference and the first operation.
    other_instructions: u64,
    /// Fitting the picture into the model's input; not part of the inference.
    before_instructions: u64,
    /// Probabilities, smoothing and the log; not part of the inference.
    after_instructions: u64,
}

/// One operation.
#[derive(Debug, PartialEq, Serialize)]
struct OpFigures {
    name: String,
    kind: &'static str,
    instructions: u64,
    macs: u64,
    /// Nothing for operations without products.
    instructions_per_mac: Option<f64>,
    /// Part of the inference, 0 to 1.
    share: f64,
}

/// Runs a model on a board and shows what its operations take.
pub(crate) fn profile(args: &ProfileArgs) -> Result<(), Error> {
    let measured = measure(&Request {
        build: &args.build,
        images: args.images,
        frames: args.frames.as_deref(),
        camera: args.camera,
        region: None,
        overlay: None,
        timeout: args.timeout,
        quiet: true,
        profile: true,
    })?;
    let profile = Profile::new(&measured)?;
    profile.print();
    json(args.json.as_deref(), &profile)?;
    measured.agreement()
}

impl Profile {
    fn new(measured: &Measured) -> Result<Self, Error> {
        let artifact = measured.artifact();
        let model = artifact.model();
        let count = usize::from(model.op_count());
        let pictures = &measured.pictures;
        if pictures.len() != measured.report.images
            || pictures.iter().any(|picture| picture.starts.len() != count)
        {
            let reason = format!("not every picture has figures for {count} operations");
            return Err(Error::Log { reason });
        }
        let total = mean(pictures, |picture| picture.span.inference);
        let starts = |op: usize| match op {
            _ if op < count => mean(pictures, |picture| picture.starts[op]),
            _ => total,
        };
        let names = artifact.op_names();
        let ops = (0..count).map(|op| {
            // Means of what grows, so that the differences add up to the total.
            let instructions = starts(op + 1).saturating_sub(starts(op));
            figures(&model, op, names.get(op).cloned(), instructions, total)
        });
        Ok(Self {
            board: measured.board.name,
            model: measured.report.model.clone(),
            images: measured.report.images,
            macs: model.header().macs,
            instructions_per_inference: total,
            ops: ops.collect(),
            other_instructions: starts(0),
            before_instructions: mean(pictures, |picture| picture.span.before),
            after_instructions: mean(pictures, |picture| picture.span.after),
        })
    }

    fn print(&self) {
        let headings = ["op", "kind", "instructions", "MACs", "per MAC", "share"];
        let mut table = sheet(headings, 2);
        let share = |share: f64| format!("{:.1} %", 100.0 * share);
        let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        for op in &self.ops {
            table.add_row([
                op.name.clone(),
                op.kind.to_owned(),
                grouped(op.instructions),
                grouped(op.macs),
                ratio(op.instructions_per_mac),
                share(op.share),
            ]);
        }
        let total = self.instructions_per_inference;
        let row = |name: &str, value: u64, part: String| {
            [name.to_owned(), String::new(), grouped(value), String::new(), String::new(), part]
        };
        let other = self.other_instructions;
        table.add_row(row("outside operations", other, share(other as f64 / total.max(1) as f64)));
        let mut all = row("total", total, share(1.0));
        all[3] = grouped(self.macs);
        all[4] = ratio(per_mac(total, self.macs));
        table.add_row(all);
        table.add_row(row("before: picture to input", self.before_instructions, String::new()));
        let after = "after: probabilities, smoothing, log";
        table.add_row(row(after, self.after_instructions, String::new()));
        println!("{table}");
        println!("instructions, not cycles; mean of the pictures: {}", self.images);
    }
}

/// Mean over pictures, rounded down.
fn mean(pictures: &[Picture], of: impl Fn(&Picture) -> u64) -> u64 {
    pictures.iter().map(of).sum::<u64>() / pictures.len().max(1) as u64
}

fn per_mac(instructions: u64, macs: u64) -> Option<f64> {
    (macs > 0).then(|| instructions as f64 / macs as f64)
}

fn figures(
    model: &Model<'_>,
    index: usize,
    name: Option<String>,
    instructions: u64,
    total: u64,
) -> OpFigures {
    let op = model.op(index as u16).expect("a parsed model has no invalid operation");
    let macs = op.macs();
    OpFigures {
        name: name.unwrap_or_else(|| format!("op {index}")),
        kind: op.kind(),
        instructions,
        macs,
        instructions_per_mac: per_mac(instructions, macs),
        share: instructions as f64 / total.max(1) as f64,
    }
}
