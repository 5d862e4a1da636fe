//! The transformer block of CCT, CVT and ViT-Lite, and what all blocks have in common.

use std::fmt::Arguments;

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::backend::Backend;

use super::builder::Builder;
use super::precision::linear_rows;
use super::taps::{NoTaps, Taps};
use crate::config::ModelConfig;

/// Transformer block; its second normalisation replaces the residual stream.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// Normalisation in front of the attention.
    pub pre_norm: LayerNorm<B>,
    /// Query, key and value, without bias.
    pub qkv: Linear<B>,
    /// Output projection of the attention.
    pub proj: Linear<B>,
    /// Normalisation in front of the MLP.
    pub norm1: LayerNorm<B>,
    /// First layer of the MLP.
    pub linear1: Linear<B>,
    /// Second layer of the MLP.
    pub linear2: Linear<B>,
    /// Attention heads.
    pub heads: usize,
}

/// What training multiplies into a block. Masks are drawn on the host, so that every backend
/// drops the same connections; kept values carry their `1 / (1 - rate)`. Extents are those of the
/// block's [`BlockDropout`](crate::BlockDropout); a batch has `images * sequences` sequences.
#[derive(Clone, Debug)]
pub struct BlockMasks<B: Backend> {
    /// Attention weights, `[sequences, heads, tokens, tokens]`.
    pub attention: Option<Tensor<B, 4>>,
    /// Attention and MLP branch, `[sequences, 1, 1]` each.
    pub paths: Option<[Tensor<B, 3>; 2]>,
    /// Values behind the attention's projection, `[sequences, tokens, width]`.
    pub attention_output: Option<Tensor<B, 3>>,
    /// Values behind the MLP's first activation, `[sequences, tokens, hidden]`.
    pub mlp_hidden: Option<Tensor<B, 3>>,
    /// Values behind the MLP, `[sequences, tokens, width]`.
    pub mlp_output: Option<Tensor<B, 3>>,
}

impl<B: Backend> BlockMasks<B> {
    /// Masks that drop nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            attention: None,
            paths: None,
            attention_output: None,
            mlp_hidden: None,
            mlp_output: None,
        }
    }

    /// The masks of the two branches as a whole.
    pub(crate) fn take_paths(&mut self) -> [Option<Tensor<B, 3>>; 2] {
        self.paths.take().map_or([None, None], |paths| paths.map(Some))
    }
}

impl<B: Backend> Block<B> {
    pub(super) fn build(p: &mut Builder<'_, B>, index: usize, sizes: [usize; 3]) -> Self {
        let [dim, hidden, heads] = sizes;
        let name = |part: &str| format!("blocks.{index}.{part}");
        Self {
            pre_norm: p.norm(&name("pre_norm"), dim),
            qkv: p.linear(&name("qkv"), dim, 3 * dim, false),
            proj: p.linear(&name("proj"), dim, dim, true),
            norm1: p.norm(&name("norm1"), dim),
            linear1: p.linear(&name("linear1"), dim, hidden, true),
            linear2: p.linear(&name("linear2"), hidden, dim, true),
            heads,
        }
    }

    /// One block over `[batch, tokens, dim]`.
    pub fn forward(&self, x: Tensor<B, 3>, masks: BlockMasks<B>) -> Tensor<B, 3> {
        self.run(format_args!("block"), x, masks, &mut NoTaps)
    }

    /// The same; its values are tapped below `name`.
    fn run(
        &self,
        name: Arguments<'_>,
        x: Tensor<B, 3>,
        mut masks: BlockMasks<B>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 3> {
        let [attention_path, mlp_path] = masks.take_paths();
        let normed = taps.tap(format_args!("{name}.pre_norm"), self.pre_norm.forward(x.clone()));
        let branch = attend(&self.qkv, &self.proj, self.heads, normed, masks.attention, name, taps);
        let x = taps.tap(format_args!("{name}.add1"), x + masked(branch, attention_path));
        let x = self.norm1.forward(x);
        let residual = taps.tap(format_args!("{name}.norm1 (int16)"), x.clone());
        let x = taps.tap(format_args!("{name}.norm1"), x);
        let x = taps.tap(format_args!("{name}.linear1"), apply(&self.linear1, x));
        let x = taps.tap(format_args!("{name}.gelu"), gelu(x));
        let branch = apply(&self.linear2, x);
        taps.tap(format_args!("{name}.add2"), residual + masked(branch, mlp_path))
    }
}

/// All blocks in turn, one entry of masks for each.
pub(super) fn transform<B: Backend>(
    blocks: &[Block<B>],
    tokens: Tensor<B, 3>,
    masks: Vec<BlockMasks<B>>,
    taps: &mut impl Taps<B>,
) -> Tensor<B, 3> {
    let blocks = blocks.iter().zip(masks).enumerate();
    blocks.fold(tokens, |x, (index, (block, masks))| {
        block.run(format_args!("blocks.{index}"), x, masks, taps)
    })
}

/// The result of every block.
pub(super) fn block_outputs<B: Backend>(
    blocks: &[Block<B>],
    mut tokens: Tensor<B, 3>,
) -> Vec<Tensor<B, 3>> {
    let outputs = blocks.iter().map(|block| {
        tokens = block.forward(tokens.clone(), BlockMasks::none());
        tokens.clone()
    });
    outputs.collect()
}

/// Multi-head attention over `[batch, tokens, dim]`; the width of a head follows from `qkv`. Its
/// values are tapped below `name`.
pub(super) fn attend<B: Backend>(
    qkv: &Linear<B>,
    proj: &Linear<B>,
    heads: usize,
    x: Tensor<B, 3>,
    mask: Option<Tensor<B, 4>>,
    name: Arguments<'_>,
    taps: &mut impl Taps<B>,
) -> Tensor<B, 3> {
    let [batch, tokens, _] = x.dims();
    let qkv = taps.tap(format_args!("{name}.qkv"), apply(qkv, x));
    let head_dim = qkv.dims()[2] / (3 * heads);
    let qkv = qkv.reshape([batch, tokens, 3 * heads, head_dim]).swap_dims(1, 2);
    let part = |index: usize| qkv.clone().narrow(1, index * heads, heads);
    let query = part(0) * (head_dim as f64).powf(-0.5);
    let weights = softmax(query.matmul(part(1).swap_dims(2, 3)), 3);
    let weights = match mask {
        Some(mask) => weights * mask,
        None => weights,
    };
    let mixed = weights.matmul(part(2)).swap_dims(1, 2).reshape([batch, tokens, heads * head_dim]);
    apply(proj, taps.tap(format_args!("{name}.attn"), mixed))
}

/// A linear layer on `[batch, tokens, dim]` as one matrix product: backends that would multiply
/// image by image, and sum as many weight gradients, are several times slower.
pub(crate) fn apply<B: Backend>(linear: &Linear<B>, x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, tokens, dim] = x.dims();
    let y = linear_rows(linear, x.reshape([batch * tokens, dim]));
    let width = y.dims()[1];
    y.reshape([batch, tokens, width])
}

pub(crate) fn masked<B: Backend>(branch: Tensor<B, 3>, mask: Option<Tensor<B, 3>>) -> Tensor<B, 3> {
    match mask {
        Some(mask) => branch * mask,
        None => branch,
    }
}

/// Softmax over tokens of their scores, then the weighted sum: `[batch, dim]`.
pub(crate) fn pool_sequence<B: Backend>(
    score: &Linear<B>,
    tokens: Tensor<B, 3>,
    taps: &mut impl Taps<B>,
) -> Tensor<B, 2> {
    let weights = softmax(apply(score, tokens.clone()), 1);
    let pooled = weights.swap_dims(1, 2).matmul(tokens).squeeze_dim::<2>(1);
    taps.tap(format_args!("attention_pool"), pooled)
}

/// Masks for `forward` without dropout, one entry for every block.
pub(crate) fn no_masks<B: Backend>(blocks: usize) -> Vec<BlockMasks<B>> {
    (0..blocks).map(|_| BlockMasks::none()).collect()
}

/// Width, hidden width and heads of a configuration's first block.
pub(super) fn block_sizes(config: &ModelConfig) -> [usize; 3] {
    let blocks = config.dropouts();
    [blocks[0].width, blocks[0].hidden, blocks[0].heads]
}
