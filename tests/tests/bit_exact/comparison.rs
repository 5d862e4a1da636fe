//! Everything the engine reports against everything the reference computes.

use std::ops::Range;

use picovit::format::Packing;
use picovit::{Engine, Model, Probe, Site};
use picovit_tests::reference::floats::Step;
use picovit_tests::reference::{
    Aligned, Conv, FloatOp, FloatTrace, InvertedResidual, Layout, Matrix, Network, Op, OpTrace,
    Values, build_packed,
};

/// What the reference says of one site of one operation, and which of it the engine reported.
struct Expected {
    site: Site,
    values: Values,
    seen: Vec<bool>,
}

impl Expected {
    fn new(site: Site, values: Values) -> Self {
        let count = match &values {
            Values::I8(m) => m.data().len(),
            Values::I16(m) => m.data().len(),
            Values::F32(m) => m.data().len(),
        };
        Self { site, values, seen: vec![false; count] }
    }

    fn i8(site: Site, values: &Matrix<i8>) -> Self {
        Self::new(site, Values::I8(values.clone()))
    }

    fn i16(site: Site, values: &Matrix<i16>) -> Self {
        Self::new(site, Values::I16(values.clone()))
    }

    /// Excuses rows of a map that no window reaches from being reported.
    fn reached(mut self, width: usize, reached: impl Fn(usize) -> bool) -> Self {
        let columns = match &self.values {
            Values::I8(m) => m.columns(),
            Values::I16(m) => m.columns(),
            Values::F32(m) => m.columns(),
        };
        for (row, seen) in self.seen.chunks_mut(width * columns).enumerate() {
            seen.fill(!reached(row));
        }
        self
    }
}

/// Whether a window at some step reaches this row.
fn reaches(row: usize, steps: usize, kernel: usize, stride: usize, padding: usize) -> bool {
    (0..steps).any(|step| (step * stride..step * stride + kernel).contains(&(row + padding)))
}

fn hidden_of_conv(op: &Conv, map: &Matrix<i8>) -> Expected {
    let (steps, width) = (op.out_size().0, op.map_size().1);
    Expected::i8(Site::Hidden, map).reached(width, |row| {
        op.pool_kernel == 0 || reaches(row, steps, op.pool_kernel, op.pool_stride, op.pool_padding)
    })
}

fn expanded(op: &InvertedResidual, site: Site, map: &Matrix<i8>) -> Expected {
    let steps = op.out_size().0;
    Expected::i8(site, map)
        .reached(op.in_width, |row| reaches(row, steps, op.kernel, op.stride, op.padding))
}

/// What is to be reported of an operation on floats, beside its output.
fn float_sites(op: &FloatOp, trace: &FloatTrace) -> Vec<Expected> {
    let expected = |(step, values): &(Step, Matrix<f32>)| {
        let site = match step {
            Step::Norm => Site::Norm,
            Step::Query => Site::Query,
            Step::Key => Site::Key,
            Step::Value => Site::Value,
            Step::Attention => Site::Attention,
            Step::Activation => Site::Activation,
            Step::DepthwiseActivation => Site::DepthwiseActivation,
        };
        let expected = Expected::new(site, Values::F32(values.clone()));
        match op {
            FloatOp::InvertedResidual(op) if site == Site::Activation => {
                let steps = op.out_size().0;
                expected.reached(op.in_width, |row| {
                    reaches(row, steps, op.kernel, op.stride, op.padding)
                })
            }
            _ => expected,
        }
    };
    trace.steps.iter().map(expected).collect()
}

/// What is to be reported of an operation.
fn sites(op: &Op, trace: &OpTrace) -> Vec<Expected> {
    let output = Expected::new(Site::Output, trace.output());
    let mut sites = match (op, trace) {
        (Op::Conv(op), OpTrace::Conv(trace)) if op.table.is_some() => {
            vec![hidden_of_conv(op, &trace.hidden)]
        }
        (Op::InvertedResidual(op), OpTrace::InvertedResidual(trace)) => vec![
            expanded(op, Site::Hidden, &trace.hidden),
            expanded(op, Site::Activation, &trace.activation),
            Expected::i8(Site::Depthwise, &trace.depthwise),
            Expected::i8(Site::DepthwiseActivation, &trace.depthwise_activation),
        ],
        (_, OpTrace::Attention(trace)) => vec![
            Expected::i8(Site::Norm, &trace.norm),
            Expected::i8(Site::Query, &trace.query),
            Expected::i8(Site::Key, &trace.key),
            Expected::i8(Site::Value, &trace.value),
            Expected::i8(Site::Attention, &trace.attention),
        ],
        (Op::Mlp(op), OpTrace::Mlp(trace)) => {
            let mut sites = vec![
                Expected::i8(Site::Norm, &trace.norm),
                Expected::i8(Site::Hidden, &trace.hidden),
                Expected::i8(Site::Activation, &trace.activation),
            ];
            sites.extend(trace.second.as_ref().map(|s| Expected::i8(Site::Second, s)));
            if op.gain16.is_some() {
                sites.push(Expected::i16(Site::Residual, &trace.residual));
            }
            sites
        }
        (Op::Float(op), OpTrace::Float(trace)) => float_sites(op, trace),
        (_, OpTrace::SeqPool(trace)) => vec![Expected::i8(Site::Norm, &trace.norm)],
        _ => vec![],
    };
    sites.push(output);
    sites
}

/// Compares everything the engine reports with the reference.
struct Comparison {
    ops: Vec<Vec<Expected>>,
    differences: Vec<String>,
}

impl Comparison {
    fn new(network: &Network, traces: &[OpTrace]) -> Self {
        let ops = network.ops.iter().zip(traces).map(|(op, trace)| sites(op, trace)).collect();
        Self { ops, differences: Vec::new() }
    }

    fn reported<T: Copy + std::fmt::Debug>(
        &mut self,
        (op, site, row, column): (usize, Site, usize, usize),
        data: &[T],
        same: impl Fn(T, T) -> bool,
        expected: impl Fn(&Values) -> Option<(usize, &[T])>,
    ) {
        let place = format!("op {op}, {site:?} [{row}][{column}]");
        let Some(found) =
            self.ops.get_mut(op).and_then(|sites| sites.iter_mut().find(|e| e.site == site))
        else {
            return self.differences.push(format!("{place}: there is no such site"));
        };
        let Some((columns, values)) = expected(&found.values) else {
            return self.differences.push(format!("{place}: of another type"));
        };
        let first = row * columns + column;
        let range: Range<usize> = first..first + data.len();
        match values.get(range.clone()) {
            None => self.differences.push(format!("{place}: {} values", data.len())),
            Some(right) => match (0..data.len()).find(|&i| !same(right[i], data[i])) {
                Some(at) => {
                    let (row, column) = ((first + at) / columns, (first + at) % columns);
                    self.differences.push(format!(
                        "op {op}, {site:?} [{row}][{column}]: engine {:?}, reference {:?}",
                        data[at], right[at]
                    ));
                }
                None => found.seen[range].fill(true),
            },
        }
    }

    fn verdict(mut self) -> Result<(), String> {
        for (op, sites) in self.ops.iter().enumerate() {
            for expected in sites {
                if let Some(missing) = expected.seen.iter().position(|seen| !seen) {
                    let site = expected.site;
                    self.differences
                        .push(format!("op {op}, {site:?}: value {missing} not reported"));
                }
            }
        }
        if self.differences.is_empty() {
            return Ok(());
        }
        let count = self.differences.len();
        self.differences.truncate(4);
        Err(format!("{count} differences: {:#?}", self.differences))
    }
}

impl Probe for Comparison {
    fn i8(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i8]) {
        self.reported(
            (op, site, row, column),
            data,
            |a, b| a == b,
            |values| match values {
                Values::I8(m) => Some((m.columns(), m.data())),
                _ => None,
            },
        );
    }

    fn i16(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[i16]) {
        self.reported(
            (op, site, row, column),
            data,
            |a, b| a == b,
            |values| match values {
                Values::I16(m) => Some((m.columns(), m.data())),
                _ => None,
            },
        );
    }

    fn f32(&mut self, op: usize, site: Site, row: usize, column: usize, data: &[f32]) {
        // 0 and -0 differ.
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits();
        self.reported((op, site, row, column), data, same, |values| match values {
            Values::F32(m) => Some((m.columns(), m.data())),
            _ => None,
        });
    }
}

/// As [`compare_packed`], with the weights in every order that there is.
pub fn compare(network: &Network, input: &[i8]) -> Result<(), String> {
    compare_packed(network, input, &Packing::ALL)
}

/// Runs a network in both, with its weights in each of these orders: under the eyes of a probe with every
/// buffer in a place of its own, then without one where dead buffers are overwritten. The arena starts
/// and continues full of rubbish.
pub fn compare_packed(network: &Network, input: &[i8], packings: &[Packing]) -> Result<(), String> {
    let traces = network.trace(input);
    let Some(Values::I16(logits)) = traces.last().map(OpTrace::output) else {
        unreachable!("a network ends in a classifier")
    };
    let logits = logits.data();
    for &packing in packings {
        let name = packing.name();
        let mut comparison = Comparison::new(network, &traces);
        let probed = run_engine(network, (Layout::Apart, packing), |engine| {
            engine.input().copy_from_slice(input);
            engine.run_with(&mut comparison).to_vec()
        })?;
        comparison.verdict().map_err(|differences| format!("{name}: {differences}"))?;
        if probed != logits {
            return Err(format!("logits, {name}: engine {probed:?}, reference {logits:?}"));
        }
        let tight = run_engine(network, (Layout::Tight, packing), |engine| {
            engine.input().fill(99);
            engine.run();
            engine.input().copy_from_slice(input);
            engine.run().to_vec()
        })?;
        if tight != logits {
            return Err(format!("logits, {name}, tight: engine {tight:?}, reference {logits:?}"));
        }
    }
    Ok(())
}

/// An engine of this network, and what `run` makes of it.
fn run_engine(
    network: &Network,
    (layout, packing): (Layout, Packing),
    run: impl FnOnce(&mut Engine<'_, '_>) -> Vec<i16>,
) -> Result<Vec<i16>, String> {
    let artifact = Aligned::copy(&build_packed(network, layout, packing));
    let model = Model::parse(&artifact).map_err(|error| format!("parse: {error:?}"))?;
    let mut arena = Aligned::filled(model.arena_bytes(), 0xa5);
    let mut engine = Engine::new(&model, &mut arena).map_err(|error| format!("{error:?}"))?;
    let logits = run(&mut engine);
    let mut probabilities = vec![0; logits.len()];
    picovit::postprocess::probabilities(&model, &logits, &mut probabilities);
    if probabilities != network.probabilities(&logits) {
        return Err(format!("probabilities of {logits:?}: {probabilities:?}"));
    }
    Ok(logits)
}
