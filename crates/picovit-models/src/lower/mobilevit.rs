//! MobileViT, batch normalisation folded into the convolutions.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use picovit_compiler::graph::{Activation, Conv, Graph, NodeId, Op};

use super::{conv, linear, norm, pre_norm, values};
use crate::config::mobilevit::PATCH;
use crate::modules::{ConvNorm, InvertedResidual, Mlp, MobileVit, MobileVitBlock, NORM_EPSILON};

pub(super) fn lower<B: Backend>(graph: &mut Graph, model: &MobileVit<B>) {
    let mut x = conv_silu(graph, "stem", &model.stem, 0);
    for (index, block) in model.early.iter().enumerate() {
        x = inverted(graph, &format!("early.{index}"), block, x);
    }
    for (index, stage) in model.stages.iter().enumerate() {
        x = inverted(graph, &format!("stages.{index}.down"), &stage.down, x);
        x = block(graph, &format!("stages.{index}.block"), &stage.block, x);
    }
    x = conv_silu(graph, "head", &model.head, x);
    x = graph.push("average", Op::GlobalAvgPool, &[x]);
    graph.push("fc", linear(&model.fc), &[x]);
}

fn inverted<B: Backend>(
    graph: &mut Graph,
    name: &str,
    block: &InvertedResidual<B>,
    input: NodeId,
) -> NodeId {
    let x = conv_silu(graph, &format!("{name}.expand"), &block.expand, input);
    let x = conv_silu(graph, &format!("{name}.depthwise"), &block.depthwise, x);
    let x = graph.push(format!("{name}.project"), Op::Conv(folded(&block.project)), &[x]);
    match block.has_residual() {
        true => graph.push(format!("{name}.add"), Op::Add, &[input, x]),
        false => x,
    }
}

fn block<B: Backend>(
    graph: &mut Graph,
    name: &str,
    block: &MobileVitBlock<B>,
    input: NodeId,
) -> NodeId {
    let x = conv_silu(graph, &format!("{name}.local"), &block.local, input);
    let x = graph.push(format!("{name}.widen"), Op::Conv(conv(&block.widen)), &[x]);
    let map = graph.nodes[x].shape;
    let mut x = graph.push(format!("{name}.unfold"), Op::Unfold { patch: PATCH }, &[x]);
    for (index, layer) in block.layers.iter().enumerate() {
        let kind = (PATCH * PATCH, Mlp::Silu);
        x = pre_norm(graph, &format!("{name}.layers.{index}"), layer, kind, x);
    }
    let x = graph.push(format!("{name}.norm"), norm(&block.norm), &[x]);
    let fold = Op::Fold { patch: PATCH, height: map.height, width: map.width };
    let x = graph.push(format!("{name}.fold"), fold, &[x]);
    let x = conv_silu(graph, &format!("{name}.narrow"), &block.narrow, x);
    let x = graph.push(format!("{name}.concat"), Op::Concat, &[input, x]);
    conv_silu(graph, &format!("{name}.fusion"), &block.fusion, x)
}

fn conv_silu<B: Backend>(
    graph: &mut Graph,
    name: &str,
    layer: &ConvNorm<B>,
    input: NodeId,
) -> NodeId {
    let x = graph.push(name, Op::Conv(folded(layer)), &[input]);
    graph.push(format!("{name}.silu"), Op::Table(Activation::Silu), &[x])
}

/// The convolution whose result is already normalised.
fn folded<B: Backend>(layer: &ConvNorm<B>) -> Conv {
    let mut conv = conv(&layer.conv);
    let gammas = values(&layer.norm.gamma);
    let betas = values(&layer.norm.beta);
    let means = statistic(layer.norm.running_mean.value_sync());
    let variances = statistic(layer.norm.running_var.value_sync());
    let taps = conv.weights.len() / gammas.len();
    let mut bias = Vec::with_capacity(gammas.len());
    for (channel, filter) in conv.weights.chunks_exact_mut(taps).enumerate() {
        let deviation = (f64::from(variances[channel]) + NORM_EPSILON).sqrt();
        let factor = f64::from(gammas[channel]) / deviation;
        filter.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
        let mean = f64::from(means[channel]);
        bias.push((f64::from(betas[channel]) - mean * factor) as f32);
    }
    conv.bias = Some(bias);
    conv
}

fn statistic<B: Backend>(values: Tensor<B, 1>) -> Vec<f32> {
    values.into_data().convert::<f32>().to_vec().expect("statistics are floats")
}
