//! CCT, CVT and ViT-Lite.

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use picovit_compiler::graph::{Activation, Conv, Graph, NodeId, Op, Pool};

use super::{conv, linear, norm, seq_pool, values};
use crate::modules::{Block, Cct, VitLite, is_patchwise};

pub(super) fn lower_cct<B: Backend>(graph: &mut Graph, model: &Cct<B>) {
    let x = tokenize(graph, &model.tokenizer);
    let x = embed(graph, model.positional_emb.as_ref(), x);
    let x = transform(graph, &model.blocks, x);
    let x = graph.push("norm", norm(&model.norm), &[x]);
    let x = graph.push("attention_pool", seq_pool(&model.attention_pool), &[x]);
    graph.push("fc", linear(&model.fc), &[x]);
}

pub(super) fn lower_vit_lite<B: Backend>(graph: &mut Graph, model: &VitLite<B>) {
    let x = tokenize(graph, &model.tokenizer);
    let class = values(&model.class_emb);
    let x = graph.push("class_emb", Op::ClassToken(class), &[x]);
    let x = embed(graph, model.positional_emb.as_ref(), x);
    let x = transform(graph, &model.blocks, x);
    let x = graph.push("norm", norm(&model.norm), &[x]);
    let x = graph.push("class", Op::Token(0), &[x]);
    graph.push("fc", linear(&model.fc), &[x]);
}

fn tokenize<B: Backend>(graph: &mut Graph, tokenizer: &[Conv2d<B>]) -> NodeId {
    let pool = Pool { kernel: 3, stride: 2, padding: 1, padding_after: 1 };
    tokenizer.iter().enumerate().fold(0, |x, (stage, layer)| {
        let conv = match is_patchwise(layer) {
            true => conv(layer),
            false => Conv { relu: true, pool: Some(pool), ..conv(layer) },
        };
        graph.push(format!("tokenizer.{stage}"), Op::Conv(conv), &[x])
    })
}

fn embed<B: Backend>(
    graph: &mut Graph,
    positions: Option<&Param<Tensor<B, 3>>>,
    x: NodeId,
) -> NodeId {
    match positions {
        Some(values) => graph.push("positional_emb", Op::AddConstant(super::values(values)), &[x]),
        None => x,
    }
}

fn transform<B: Backend>(graph: &mut Graph, blocks: &[Block<B>], x: NodeId) -> NodeId {
    blocks.iter().enumerate().fold(x, |x, (index, block)| lower_block(graph, block, index, x))
}

fn lower_block<B: Backend>(
    graph: &mut Graph,
    block: &Block<B>,
    index: usize,
    input: NodeId,
) -> NodeId {
    let mut push = |name: &str, op, inputs: &[NodeId]| {
        graph.push(format!("blocks.{index}.{name}"), op, inputs)
    };
    let x = push("pre_norm", norm(&block.pre_norm), &[input]);
    let x = push("qkv", linear(&block.qkv), &[x]);
    let x = push("attn", super::attention(&block.qkv, block.heads, 1), &[x]);
    let x = push("proj", linear(&block.proj), &[x]);
    let x = push("add1", Op::Add, &[input, x]);
    let residual = push("norm1", norm(&block.norm1), &[x]);
    let x = push("linear1", linear(&block.linear1), &[residual]);
    let x = push("gelu", Op::Table(Activation::Gelu), &[x]);
    let x = push("linear2", linear(&block.linear2), &[x]);
    push("add2", Op::Add, &[residual, x])
}
