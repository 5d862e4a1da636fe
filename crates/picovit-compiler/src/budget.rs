//! Fitting a network into an arena of limited size, at the least cost.

use std::fmt;

use picovit::format::{Packing, align_up, scratch_bytes_conv};

use crate::error::CompileError;
use crate::graph::Graph;
use crate::pack::planned;
use crate::plan::Plan;
use crate::quantize::{QGraph, QOp};

/// Speed given up for memory. The logits stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Economy {
    /// A convolution is computed as it is, not by Winograd's algorithm.
    Direct {
        /// Name of the operation.
        op: String,
        /// Bytes of scratch memory saved.
        bytes: usize,
    },
    /// Weights lie as in [`Packing::Portable`], whose convolutions take two pixels at a time:
    /// those of [`Packing::Wide`] take a whole row.
    Portable,
}

impl fmt::Display for Economy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { op, bytes } => {
                write!(f, "`{op}` without Winograd's algorithm, {bytes} bytes of scratch less")
            }
            Self::Portable => f.write_str(
                "portable weights, whose operations take two pixels at a time, not a row",
            ),
        }
    }
}

/// Gives up what it takes for the arena to have at most `budget` bytes: as little as possible,
/// what costs the least time for a byte first.
///
/// # Errors
/// [`CompileError::ArenaBudget`] where no variant fits.
pub(crate) fn fit(
    graph: &Graph,
    q: &mut QGraph,
    packing: Packing,
    budget: usize,
) -> Result<(Packing, Vec<Economy>), CompileError> {
    let given = q.clone();
    let mut smallest = match fit_packing(graph, q, packing, budget) {
        Ok(economies) => return Ok((packing, economies)),
        Err(plan) => plan,
    };
    // Hosts take every packing; chips may have the code for their own only.
    if packing == Packing::Wide {
        *q = given;
        (0..q.ops.len()).for_each(|op| set_winograd(q, op, 0));
        match fit_packing(graph, q, Packing::Portable, budget) {
            Ok(mut economies) => {
                economies.push(Economy::Portable);
                return Ok((Packing::Portable, economies));
            }
            Err(plan) if plan.arena_bytes < smallest.arena_bytes => smallest = plan,
            Err(_) => {}
        }
    }
    let buffers = smallest.live(smallest.peak);
    Err(CompileError::ArenaBudget {
        budget,
        smallest: smallest.arena_bytes,
        minimal: smallest.minimal,
        op: q.names[smallest.peak].clone(),
        buffers: buffers.map(|b| format!("{} {}", b.name, align_up(b.bytes))).collect(),
    })
}

/// A convolution that could do with less scratch memory.
struct Candidate {
    op: usize,
    bytes: usize,
    /// Products of the convolution as it is; Winograd saves the same share of every one.
    macs: u64,
    /// Which of Winograd's algorithms.
    winograd: u8,
}

/// As [`fit`], for one packing; gives the smallest plan where none fits.
fn fit_packing(
    graph: &Graph,
    q: &mut QGraph,
    packing: Packing,
    budget: usize,
) -> Result<Vec<Economy>, Plan> {
    let mut plan = planned(graph, q, packing);
    if plan.arena_bytes <= budget {
        return Ok(vec![]);
    }
    let mut candidates = candidates(q, packing);
    candidates.sort_by(|a, b| {
        let cost = |a: &Candidate, b: &Candidate| u128::from(a.macs) * b.bytes as u128;
        cost(a, b).cmp(&cost(b, a))
    });
    let mut chosen: Vec<Candidate> = Vec::new();
    // Nothing else helps an operation that is too large by itself.
    for candidate in candidates.extract_if(.., |c| plan.live_bytes(c.op) > budget) {
        set_winograd(q, candidate.op, 0);
        chosen.push(candidate);
    }
    plan = planned(graph, q, packing);
    for candidate in candidates {
        if plan.arena_bytes <= budget {
            break;
        }
        set_winograd(q, candidate.op, 0);
        chosen.push(candidate);
        plan = planned(graph, q, packing);
    }
    if plan.arena_bytes > budget {
        return Err(plan);
    }
    // What turns out not to be needed is taken back, what costs the most first.
    chosen.sort_by_key(|candidate| std::cmp::Reverse(candidate.macs));
    chosen.retain(|candidate| {
        set_winograd(q, candidate.op, candidate.winograd);
        let needed = planned(graph, q, packing).arena_bytes > budget;
        if needed {
            set_winograd(q, candidate.op, 0);
        }
        needed
    });
    chosen.sort_by_key(|candidate| candidate.op);
    let direct = |c: Candidate| Economy::Direct { op: q.names[c.op].clone(), bytes: c.bytes };
    Ok(chosen.into_iter().map(direct).collect())
}

fn candidates(q: &QGraph, packing: Packing) -> Vec<Candidate> {
    let convolution = |(op, operation): (usize, &QOp)| {
        let QOp::Conv { record, .. } = operation else { return None };
        let mut direct = *record;
        direct.winograd = 0;
        let bytes = scratch_bytes_conv(record, packing);
        let bytes = bytes.checked_sub(scratch_bytes_conv(&direct, packing))?;
        let (height, width) = record.map_size();
        let taps = 9 * record.all_channels() * usize::from(record.out_channels);
        let macs = (height * width * taps) as u64;
        (bytes > 0).then_some(Candidate { op, bytes, macs, winograd: record.winograd })
    };
    q.ops.iter().enumerate().filter_map(convolution).collect()
}

fn set_winograd(q: &mut QGraph, op: usize, winograd: u8) {
    if let QOp::Conv { record, .. } = &mut q.ops[op] {
        record.winograd = winograd;
    }
}
