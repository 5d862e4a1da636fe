//! The CCT of the Keras examples.

use burn::tensor::backend::Backend;
use picovit_compiler::graph::{Conv, Graph, Op, Pool};

use super::{conv, linear, norm, pre_norm, seq_pool, values};
use crate::config::keras_cct::pool_border;
use crate::modules::{KerasCct, Mlp};

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
        x = pre_norm(graph, &format!("blocks.{index}"), block, (1, Mlp::GeluTwice), x);
    }
    x = graph.push("norm", norm(&model.norm), &[x]);
    x = graph.push("attention_pool", seq_pool(&model.attention_pool), &[x]);
    graph.push("fc", linear(&model.fc), &[x]);
}
