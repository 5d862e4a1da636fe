//! Lowering: a Burn module becomes a graph of f32 operations.

mod keras_cct;
mod mobilevit;
mod pre_norm;
mod shi;

use std::path::Path;

use burn::backend::Flex;
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use picovit_compiler::graph::{self, Graph, ImageSpec, Op, Shape};

use crate::config::ModelConfig;
use crate::modules::{NORM_EPSILON, border};
use crate::network::Network;
use crate::record::{self, RecordError};
use crate::weights::transpose;
use pre_norm::pre_norm;

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
        Network::Cct(cct) => shi::lower_cct(&mut graph, cct),
        Network::VitLite(vit) => shi::lower_vit_lite(&mut graph, vit),
        Network::KerasCct(keras) => keras_cct::lower(&mut graph, keras),
        Network::MobileVit(model) => mobilevit::lower(&mut graph, model),
    }
    graph
}

/// A convolution without what may follow it.
fn conv<B: Backend>(conv: &Conv2d<B>) -> graph::Conv {
    graph::Conv {
        weights: channels_last(&conv.weight),
        bias: conv.bias.as_ref().map(values),
        groups: conv.groups,
        kernel: conv.kernel_size[0],
        stride: conv.stride[0],
        padding: border(conv),
        relu: false,
        pool: None,
    }
}

/// Sequence pooling by the scores of a linear layer.
fn seq_pool<B: Backend>(score: &Linear<B>) -> Op {
    let bias = score.bias.as_ref().map_or(0.0, |bias| values(bias)[0]);
    Op::SeqPool { weights: values(&score.weight), bias }
}

fn norm<B: Backend>(norm: &LayerNorm<B>) -> Op {
    let gamma = values(&norm.gamma);
    let beta = norm.beta.as_ref().map_or_else(|| vec![0.0; gamma.len()], values);
    Op::LayerNorm(graph::LayerNorm { gamma, beta, epsilon: NORM_EPSILON as f32 })
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

/// Attention behind `qkv`, in which only the tokens of a group see each other.
fn attention<B: Backend>(qkv: &Linear<B>, heads: usize, groups: usize) -> Op {
    let [_, width] = qkv.weight.dims();
    Op::Attention { heads, head_dim: width / 3 / heads, groups }
}
