//! `picovit inspect`.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args as ClapArgs;
use miette::{IntoDiagnostic, Result};
use picovit::Model;
use picovit::ops::Value;
use picovit_compiler::verify::live_bytes;
use serde::Serialize;

use crate::artifact;
use crate::output::{self, grouped, table};

/// Show an artifact.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Artifact.
    model: PathBuf,
    /// Write what is shown as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    artifact_bytes: usize,
    arena_bytes: usize,
    arena_lower_bound: usize,
    macs: u64,
    input: [usize; 3],
    classes: usize,
    labels: Vec<String>,
    ops: Vec<OpReport>,
}

#[derive(Debug, Serialize)]
struct OpReport {
    name: String,
    kind: &'static str,
    input: String,
    output: String,
    buffers: Vec<Buffer>,
    arena_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Buffer {
    role: &'static str,
    start: usize,
    bytes: usize,
}

pub fn run(args: &Args) -> Result<()> {
    output::check(&[args.json.as_deref()], &[&args.model])?;
    let bytes = artifact::read(&args.model)?;
    let model = artifact::parse(&args.model, &bytes)?;
    let info = artifact::info(&model);
    let mut ops = Vec::new();
    for index in 0..model.op_count() {
        let op = model.op(index).into_diagnostic()?;
        let ranges = op.buffers();
        let roles = if op.in_place() {
            [Some("in place"), None, Some("scratch")]
        } else {
            [Some("input"), Some("output"), Some("scratch")]
        };
        let second = op.second_input().map(|(range, _)| range).into_iter();
        let buffers: Vec<Buffer> = ranges
            .into_iter()
            .zip(roles)
            .chain(second.zip([Some("second input")]))
            .filter(|(range, _)| !range.is_empty())
            .filter_map(|(range, role)| Some((range, role?)))
            .map(|(range, role)| Buffer { role, start: range.start, bytes: range.len() })
            .collect();
        ops.push(OpReport {
            name: info
                .as_ref()
                .and_then(|info| info.ops.get(usize::from(index)).cloned())
                .unwrap_or_else(|| format!("op {index}")),
            kind: op.kind(),
            input: shape(&op.input()),
            output: shape(&op.output()),
            arena_bytes: buffers.iter().map(|b| b.bytes).sum(),
            buffers,
        });
    }
    let report = Report {
        model: info.as_ref().map_or_else(|| "unnamed".into(), |info| info.model.clone()),
        artifact_bytes: model.artifact_bytes(),
        arena_bytes: model.arena_bytes(),
        arena_lower_bound: live_bytes(&model).into_iter().max().unwrap_or(0),
        macs: model.header().macs,
        input: [model.height(), model.width(), model.channels()],
        classes: model.classes(),
        labels: model.labels().map(Into::into).collect(),
        ops,
    };
    output::report(args.json.as_deref(), &report, || print(&report, &model))
}

fn print(report: &Report, model: &Model<'_>) {
    println!(
        "{}: {}x{}x{} image, {} classes, {} MACs\nartifact {} bytes, \
         arena {} bytes (lower bound {})",
        report.model,
        report.input[0],
        report.input[1],
        report.input[2],
        report.classes,
        grouped(report.macs),
        grouped(report.artifact_bytes as u64),
        grouped(report.arena_bytes as u64),
        grouped(report.arena_lower_bound as u64)
    );
    if !report.labels.is_empty() {
        println!("classes: {}", report.labels.join(", "));
    }
    let mut rows = table(["op", "kind", "input", "output", "arena bytes", "arena map"]);
    for op in &report.ops {
        let map = arena_map(&op.buffers, model.arena_bytes());
        rows.add_row([
            op.name.as_str(),
            op.kind,
            &op.input,
            &op.output,
            &grouped(op.arena_bytes as u64),
            &map,
        ]);
    }
    println!("{rows}\narena map: I input, 2 second input, O output, X in place, S scratch, . free");
}

fn shape(value: &Value) -> String {
    match *value {
        Value::Map { height, width, channels } => format!("i8 {height}x{width}x{channels}"),
        Value::Tokens { tokens, width } => format!("i16 {tokens}x{width}"),
        Value::Pooled { width } => format!("i16 {width}"),
        Value::FloatMap { height, width, channels } => format!("f32 {height}x{width}x{channels}"),
        Value::FloatTokens { tokens, width } => format!("f32 {tokens}x{width}"),
        Value::FloatPooled { width } => format!("f32 {width}"),
        Value::Logits { classes } => format!("i16 {classes} logits"),
    }
}

/// The arena as a line of letters.
fn arena_map(buffers: &[Buffer], arena_bytes: usize) -> String {
    const CELLS: usize = 32;
    let mut cells = ['.'; CELLS];
    for buffer in buffers {
        let letter = match buffer.role {
            "input" => 'I',
            "output" => 'O',
            "in place" => 'X',
            "second input" => '2',
            _ => 'S',
        };
        let cell = |byte: usize| byte * CELLS / arena_bytes.max(1);
        let range: Range<usize> =
            cell(buffer.start)..(cell(buffer.start + buffer.bytes - 1) + 1).min(CELLS);
        for c in &mut cells[range] {
            if *c == '.' {
                *c = letter;
            }
        }
    }
    cells.iter().collect()
}
