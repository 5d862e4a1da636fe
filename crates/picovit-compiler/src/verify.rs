//! Checks the memory plan of a finished artifact against the graph it was made of.
//!
//! It knows nothing of the planner: it reads the records that the engine will obey, follows them
//! through the arena and asks, operation by operation, whether what the graph says is read still
//! lies where the record says. It runs on every compilation.

mod access;
mod live;
mod memory;

pub use live::live_bytes;

use std::ops::Range;

use bytemuck::pod_read_unaligned;
use picovit::format::{ALIGN, Header, OpKind, Packing, RECORD_BYTES, align_up};
use picovit::ops::Value;

use crate::fuse::{Concat, FusedOp, fuse};
use crate::graph::{Graph, NodeId};
use crate::quantize::op_name;
use access::{Access, Place};
use memory::{Memory, overlap};

/// What is wrong with a memory plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The records are not those of the graph.
    #[error("operation {index}: {what}")]
    Record {
        /// Index of the operation.
        index: usize,
        /// What is unexpected.
        what: &'static str,
    },
    /// A buffer does not start at a multiple of the alignment.
    #[error("{op}: its {buffer} starts at {start}, which is no multiple of {ALIGN}")]
    Unaligned {
        /// Name of the operation.
        op: String,
        /// Which of its buffers.
        buffer: &'static str,
        /// Where it starts.
        start: usize,
    },
    /// A buffer leaves the arena.
    #[error("{op}: its {buffer} ends at {end}, the arena at {arena}")]
    Outside {
        /// Name of the operation.
        op: String,
        /// Which of its buffers.
        buffer: &'static str,
        /// Where it ends.
        end: usize,
        /// Size of the arena.
        arena: usize,
    },
    /// Two buffers of an operation share memory.
    #[error("{op}: its {first} and its {second} overlap")]
    Overlap {
        /// Name of the operation.
        op: String,
        /// One buffer.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// An operation that works in place has its output elsewhere.
    #[error("{op}: it works in place, but its input is at {input} and its output at {output}")]
    Moved {
        /// Name of the operation.
        op: String,
        /// Where the input starts.
        input: usize,
        /// Where the output starts.
        output: usize,
    },
    /// A value is not where it is read.
    #[error("{op}: `{value}`, its {buffer}, is not at {start}{}", culprit(.by.as_deref()))]
    Lost {
        /// Name of the operation that reads.
        op: String,
        /// Which of its buffers.
        buffer: &'static str,
        /// Name of the value in the graph.
        value: String,
        /// Where it is looked for.
        start: usize,
        /// Operation and buffer that wrote over the value, if any did.
        by: Option<String>,
    },
    /// The arena has another size than its buffers need.
    #[error("the arena has {declared} bytes, its buffers need {needed}")]
    Size {
        /// Size that the header gives.
        declared: usize,
        /// End of the last buffer.
        needed: usize,
    },
}

fn culprit(by: Option<&str>) -> String {
    by.map(|by| format!(": {by} wrote over it")).unwrap_or_default()
}

/// An operation as the graph has it.
struct Step {
    name: String,
    reads: NodeId,
    second: Option<NodeId>,
    gives: NodeId,
}

impl Step {
    fn of(graph: &Graph, op: &FusedOp) -> Self {
        let before = |id: NodeId| graph.nodes[id].inputs[0];
        let (reads, second) = match *op {
            FusedOp::Conv { conv, concat: Some(Concat { saved, .. }), .. } => {
                let joined = &graph.nodes[before(conv)].inputs;
                let other = joined.iter().copied().find(|&id| id != saved);
                (other.unwrap_or(saved), Some(saved))
            }
            FusedOp::Conv { conv, .. } => (before(conv), None),
            FusedOp::InvertedResidual { expand, .. } => (before(expand), None),
            FusedOp::Embed { map, .. } => (map, None),
            FusedOp::Attention { norm, .. }
            | FusedOp::Mlp { norm, .. }
            | FusedOp::Fold { norm, .. }
            | FusedOp::ClassPool { norm, .. }
            | FusedOp::SeqPool { norm, .. } => (before(norm), None),
            FusedOp::AvgPool { pool } => (before(pool), None),
            FusedOp::Head { linear } => (before(linear), None),
        };
        Self { name: op_name(graph, op), reads, second, gives: op.output() }
    }

    /// A conversion between integers and floats, which the graph does not know.
    fn conversion(graph: &Graph, node: NodeId) -> Self {
        let name = format!("{} (convert)", graph.nodes[node].name);
        Self { name, reads: node, second: None, gives: node }
    }
}

/// Checks that every buffer of an artifact lies in the arena, aligned, apart from those it must
/// not touch, that every operation finds what the graph says it reads, and that the arena is as
/// large as that needs and no larger.
///
/// # Errors
/// The first [`Fault`], with the operation and the buffers at fault.
pub fn verify(graph: &Graph, artifact: &[u8]) -> Result<(), Fault> {
    let unreadable = |index| Fault::Record { index, what: "its record cannot be read" };
    let header = artifact.get(..size_of::<Header>()).ok_or(unreadable(0))?;
    let header: Header = pod_read_unaligned(header);
    let packing = Packing::from_id(header.packing).ok_or(unreadable(0))?;
    let arena = header.arena_bytes as usize;
    let fused = fuse(graph).map_err(|_| Fault::Record {
        index: 0,
        what: "the engine has no operation for the graph",
    })?;
    let mut fused = fused.iter();
    let mut memory = Memory::default();
    let mut current = 0;
    let shape = graph.nodes[0].shape;
    let (height, width, channels) = (shape.height, shape.width, shape.channels);
    let image = Place::new(header.input, Value::Map { height, width, channels });
    inside("image", "buffer", &image.range, arena)?;
    let mut needed = align_up(image.range.end);
    memory.write(0, image, "the image");
    for index in 0..usize::from(header.op_count) {
        let start = header.ops as usize + index * RECORD_BYTES;
        let record = artifact.get(start..start + RECORD_BYTES).ok_or(unreadable(index))?;
        let access = Access::of(record, packing).ok_or(unreadable(index))?;
        let step = if access.kind == OpKind::Convert {
            Step::conversion(graph, current)
        } else {
            let op = fused.next();
            let op =
                op.ok_or(Fault::Record { index, what: "the graph has no operation for it" })?;
            Step::of(graph, op)
        };
        if values(&access.output.value) != graph.nodes[step.gives].shape.len() {
            return Err(Fault::Record { index, what: "its output has another size in the graph" });
        }
        if step.second.is_some() != access.second.is_some() {
            return Err(Fault::Record { index, what: "it joins other maps in the graph" });
        }
        needed = needed.max(check_places(&step.name, &access, arena)?);
        for (node, place, buffer) in [
            (Some(step.reads), Some(&access.input), "input"),
            (step.second, access.second.as_ref(), "second input"),
        ] {
            let (Some(node), Some(place)) = (node, place) else { continue };
            if !memory.holds(node, place) {
                return Err(lost(graph, &memory, (&step.name, buffer), node, place));
            }
        }
        memory.overwrite(&access.scratch, &format!("the scratch memory of {}", step.name));
        memory.write(step.gives, access.output, &format!("the output of {}", step.name));
        current = step.gives;
    }
    if fused.next().is_some() {
        let index = header.op_count.into();
        return Err(Fault::Record { index, what: "the graph goes on where the records end" });
    }
    let classes = graph.nodes[current].shape.len();
    let logits = Place::new(header.logits, Value::Logits { classes });
    if !memory.holds(current, &logits) {
        return Err(lost(graph, &memory, ("the result", "value"), current, &logits));
    }
    if needed != arena {
        return Err(Fault::Size { declared: arena, needed });
    }
    Ok(())
}

fn lost(
    graph: &Graph,
    memory: &Memory,
    (op, buffer): (&str, &'static str),
    node: NodeId,
    place: &Place,
) -> Fault {
    Fault::Lost {
        op: op.into(),
        buffer,
        value: graph.nodes[node].name.clone(),
        start: place.range.start,
        by: memory.culprit(node).map(Into::into),
    }
}

/// Checks an operation's buffers by themselves; gives the end of the last.
fn check_places(op: &str, access: &Access, arena: usize) -> Result<usize, Fault> {
    let Access { input, output, scratch, second, in_place, .. } = access;
    let mut buffers = vec![("input", &input.range)];
    if *in_place {
        if input.range != output.range {
            let (input, output) = (input.range.start, output.range.start);
            return Err(Fault::Moved { op: op.into(), input, output });
        }
    } else {
        buffers.push(("output", &output.range));
    }
    // Even an empty one must not start beyond the arena.
    inside(op, "scratch memory", scratch, arena)?;
    if !scratch.is_empty() {
        buffers.push(("scratch memory", scratch));
    }
    buffers.extend(second.iter().map(|second| ("second input", &second.range)));
    for (i, &(first, a)) in buffers.iter().enumerate() {
        inside(op, first, a, arena)?;
        if let Some(&(second, _)) = buffers[i + 1..].iter().find(|(_, b)| overlap(a, b)) {
            return Err(Fault::Overlap { op: op.into(), first, second });
        }
    }
    Ok(buffers.iter().map(|(_, range)| align_up(range.end)).max().unwrap_or(0))
}

fn inside(op: &str, buffer: &'static str, range: &Range<usize>, arena: usize) -> Result<(), Fault> {
    if !range.start.is_multiple_of(ALIGN) {
        return Err(Fault::Unaligned { op: op.into(), buffer, start: range.start });
    }
    if range.end > arena {
        return Err(Fault::Outside { op: op.into(), buffer, end: range.end, arena });
    }
    Ok(())
}

/// Number of values.
fn values(value: &Value) -> usize {
    match *value {
        Value::Map { height, width, channels } | Value::FloatMap { height, width, channels } => {
            height * width * channels
        }
        Value::Tokens { tokens, width } | Value::FloatTokens { tokens, width } => tokens * width,
        Value::Pooled { width } | Value::FloatPooled { width } => width,
        Value::Logits { classes } => classes,
    }
}
