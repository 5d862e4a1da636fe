//! Lowering: a Burn module becomes a graph of f32 operations.

use std::path::Path;

use burn::backend::Flex;
use burn::module::Param;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use picovit_compiler::graph::{self, Activation, Graph, ImageSpec, NodeId, Op, Pool, Shape};

use crate::cct::{Block, Cct, LAYER_NORM_EPSILON, transpose};
use crate::config::ModelConfig;
use crate::network::Network;
use crate::record::{self, RecordError};

/// Loads a checkpoint with its configuration and lowers it.
///
/// # Errors
/// If a file is missing, is no record, or holds another network than its configuration says.
pub fn load_graph(path: &Path) -> Result<(Graph, ModelConfig), RecordError> {
    let (model, config) = record::load::<Flex>(path, &Default::default())?;
    Ok((lower(&model, &config), config))
}

/// Lowers a network; nodes are named as in published checkpoints.
///
/// # Panics
/// If the network is not one of this configuration.
#[must_use]
pub fn lower<B: Backend>(model: &Network<B>, config: &ModelConfig) -> Graph {
    let size = config.image_size;
    let image = ImageSpec {
        shape: Shape::map(size.height, size.width, config.channels),
        mean: config.mean.clone(),
        std: config.std.clone(),
    };
    let mut graph = Graph::new(&config.name, image, config.labels.clone());
    match model {
        Network::Cct(cct) => lower_cct(&mut graph, cct, config),
    }
    graph
}

fn lower_cct<B: Backend>(graph: &mut Graph, model: &Cct<B>, config: &ModelConfig) {
    let cct = config.cct();
    let mut x = 0;
    for (stage, conv) in model.tokenizer.iter().enumerate() {
        let conv = graph::Conv {
            weights: channels_last(&conv.weight),
            bias: None,
            groups: 1,
            kernel: cct.kernel_size,
            stride: cct.stride(),
            padding: cct.padding(),
            relu: true,
            pool: Some(Pool { kernel: 3, stride: 2, padding: 1, padding_after: 1 }),
        };
        x = graph.push(format!("tokenizer.{stage}"), Op::Conv(conv), &[x]);
    }
    if let Some(embedding) = &model.positional_emb {
        x = graph.push("positional_emb", Op::AddConstant(values(embedding)), &[x]);
    }
    for (index, block) in model.blocks.iter().enumerate() {
        x = lower_block(graph, block, index, cct.embedding_dim, x);
    }
    x = graph.push("norm", norm(&model.norm), &[x]);
    let weights = values(&model.attention_pool.weight);
    let bias = model.attention_pool.bias.as_ref().map_or(0.0, |bias| values(bias)[0]);
    x = graph.push("attention_pool", Op::SeqPool { weights, bias }, &[x]);
    graph.push("fc", linear(&model.fc), &[x]);
}

fn lower_block<B: Backend>(
    graph: &mut Graph,
    block: &Block<B>,
    index: usize,
    dim: usize,
    input: NodeId,
) -> NodeId {
    let mut push = |name: &str, op, inputs: &[NodeId]| {
        graph.push(format!("blocks.{index}.{name}"), op, inputs)
    };
    let attention = Op::Attention { heads: block.heads, head_dim: dim / block.heads, groups: 1 };
    let x = push("pre_norm", norm(&block.pre_norm), &[input]);
    let x = push("qkv", linear(&block.qkv), &[x]);
    let x = push("attn", attention, &[x]);
    let x = push("proj", linear(&block.proj), &[x]);
    let x = push("add1", Op::Add, &[input, x]);
    let residual = push("norm1", norm(&block.norm1), &[x]);
    let x = push("linear1", linear(&block.linear1), &[residual]);
    let x = push("gelu", Op::Table(Activation::Gelu), &[x]);
    let x = push("linear2", linear(&block.linear2), &[x]);
    push("add2", Op::Add, &[residual, x])
}

fn norm<B: Backend>(norm: &LayerNorm<B>) -> Op {
    let gamma = values(&norm.gamma);
    let beta = norm.beta.as_ref().map_or_else(|| vec![0.0; gamma.len()], values);
    Op::LayerNorm(graph::LayerNorm { gamma, beta, epsilon: LAYER_NORM_EPSILON as f32 })
}

fn linear<B: Backend>(linear: &Linear<B>) -> Op {
    let [input, output] = linear.weight.dims();
    let weights = transpose(&values(&linear.weight), input, output);
    Op::Linear(graph::Linear { weights, bias: linear.bias.as_ref().map(values) })
}

/// `[out][in][kh][kw]` becomes `[out][kh][kw][in]`.
fn channels_last<B: Backend>(weight: &Param<Tensor<B, 4>>) -> Vec<f32> {
    let [_, input, height, width] = weight.dims();
    let filters = values(weight);
    let filters = filters.chunks_exact(input * height * width);
    filters.flat_map(|filter| transpose(filter, input, height * width)).collect()
}

fn values<B: Backend, const D: usize>(param: &Param<Tensor<B, D>>) -> Vec<f32> {
    param.val().into_data().convert::<f32>().to_vec().expect("parameters are floats")
}
