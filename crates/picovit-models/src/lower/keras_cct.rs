//! The CCT of the Keras examples.

use burn::tensor::backend::Backend;
use picovit_compiler::graph::{Activation, Conv, Graph, NodeId, Op, Pool};

use super::{attention, conv, linear, norm, seq_pool, values};
use crate::config::keras_cct::pool_border;
use crate::modules::{KerasBlock, KerasCct};

pub(super) fn lower<B: Backend>(graph: &mut Graph, model: &KerasCct<B>) {
    let mut x = 0;
    for (stage, layer) in model.tokenizer.iter().enumerate() {
        let conv = conv(layer);
        // The border of zeros is none to a maximum of ReLU's results, so that it joins the
        // pooling's own. Height and width are of one parity, hence have one border.
        let (height, _) = conv.map_size(graph.nodes[x].shape);
        let (padding, padding_after) = pool_border(height);
        let pool = Some(Pool { kernel: 3, stride: 2, padding, padding_after });
        let op = Op::Conv(Conv { relu: true, pool, ..conv });
        x = graph.push(format!("tokenizer.{stage}"), op, &[x]);
    }
    let positions = values(&model.positional_emb);
    x = graph.push("positional_emb", Op::AddConstant(positions), &[x]);
    for (index, block) in model.blocks.iter().enumerate() {
        x = lower_block(graph, block, index, x);
    }
    x = graph.push("norm", norm(&model.norm), &[x]);
    x = graph.push("attention_pool", seq_pool(&model.attention_pool), &[x]);
    graph.push("fc", linear(&model.fc), &[x]);
}

fn lower_block<B: Backend>(
    graph: &mut Graph,
    block: &KerasBlock<B>,
    index: usize,
    input: NodeId,
) -> NodeId {
    let mut push = |name: &str, op, inputs: &[NodeId]| {
        graph.push(format!("blocks.{index}.{name}"), op, inputs)
    };
    let x = push("norm1", norm(&block.norm1), &[input]);
    let x = push("qkv", linear(&block.qkv), &[x]);
    let x = push("attn", attention(&block.qkv, block.heads, 1), &[x]);
    let x = push("proj", linear(&block.proj), &[x]);
    let stream = push("add1", Op::Add, &[input, x]);
    let x = push("norm2", norm(&block.norm2), &[stream]);
    let x = push("linear1", linear(&block.linear1), &[x]);
    let x = push("gelu1", Op::Table(Activation::Gelu), &[x]);
    let x = push("linear2", linear(&block.linear2), &[x]);
    let x = push("gelu2", Op::Table(Activation::Gelu), &[x]);
    push("add2", Op::Add, &[stream, x])
}
