//! The transformer block of the Keras CCT and of MobileViT.

use burn::tensor::backend::Backend;
use picovit_compiler::graph::{Activation, Graph, NodeId, Op};

use super::{attention, linear, norm};
use crate::modules::{Mlp, PreNormBlock};

/// A block over `groups` runs of tokens; nodes are named below `name`.
pub(super) fn pre_norm<B: Backend>(
    graph: &mut Graph,
    name: &str,
    block: &PreNormBlock<B>,
    (groups, mlp): (usize, Mlp),
    input: NodeId,
) -> NodeId {
    let mut push =
        |part: &str, op, inputs: &[NodeId]| graph.push(format!("{name}.{part}"), op, inputs);
    let x = push("norm1", norm(&block.norm1), &[input]);
    let x = push("qkv", linear(&block.qkv), &[x]);
    let x = push("attn", attention(&block.qkv, block.heads, groups), &[x]);
    let x = push("proj", linear(&block.proj), &[x]);
    let stream = push("add1", Op::Add, &[input, x]);
    let x = push("norm2", norm(&block.norm2), &[stream]);
    let x = push("linear1", linear(&block.linear1), &[x]);
    let x = match mlp {
        Mlp::Silu => {
            let x = push("silu", Op::Table(Activation::Silu), &[x]);
            push("linear2", linear(&block.linear2), &[x])
        }
        Mlp::GeluTwice => {
            let x = push("gelu1", Op::Table(Activation::Gelu), &[x]);
            let x = push("linear2", linear(&block.linear2), &[x]);
            push("gelu2", Op::Table(Activation::Gelu), &[x])
        }
    };
    push("add2", Op::Add, &[stream, x])
}
