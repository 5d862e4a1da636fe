//! The compact convolutional transformer, and CVT, which cuts patches instead.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;

use super::block::{
    Block, BlockMasks, block_outputs, block_sizes, no_masks, pool_sequence, transform,
};
use super::builder::{Builder, ConvSizes};
use super::im2col::{convolve, is_patchwise};
use super::pool::max_pool;
use super::precision::linear_rows;
use super::taps::{NoTaps, Taps};
use crate::config::{Architecture, ModelConfig, PositionalEmbedding};
use crate::weights::Parameters;

/// Compact convolutional transformer, or compact vision transformer.
#[derive(Module, Debug)]
pub struct Cct<B: Backend> {
    /// Convolutions of the tokenizer; ReLU and max-pool follow each, but not one whose windows
    /// do not overlap: that cuts patches, and nothing follows.
    pub tokenizer: Vec<Conv2d<B>>,
    /// Positional embedding `[1, tokens, dim]`.
    pub positional_emb: Option<Param<Tensor<B, 3>>>,
    /// Transformer blocks.
    pub blocks: Vec<Block<B>>,
    /// Final normalisation.
    pub norm: LayerNorm<B>,
    /// Scores tokens for sequence pooling.
    pub attention_pool: Linear<B>,
    /// Classifier.
    pub fc: Linear<B>,
}

impl<B: Backend> Cct<B> {
    pub(crate) fn from_parameters(
        config: &ModelConfig,
        mut parameters: Parameters,
        device: &B::Device,
    ) -> Self {
        let p = &mut Builder::<B> { parameters: &mut parameters, device };
        let (tokenizer, embedding) = match &config.architecture {
            Architecture::Cct(cct) => {
                let stages = (0..cct.tokenizer_layers).map(|stage| {
                    let (input, output) = cct.stage_channels(stage, config.channels);
                    let sizes = ConvSizes {
                        stride: cct.stride(),
                        padding: cct.padding(),
                        ..ConvSizes::same(input, output, cct.kernel_size)
                    };
                    p.conv(&format!("tokenizer.{stage}"), sizes)
                });
                (stages.collect(), cct.positional_embedding)
            }
            Architecture::Cvt(cvt) => {
                let sizes = patches(config.channels, cvt.embedding_dim, cvt.patch_size);
                (vec![p.conv("tokenizer.0", sizes)], cvt.positional_embedding)
            }
            other => unreachable!("{other:?} is no CCT"),
        };
        let sizes = block_sizes(config);
        let positional_emb = positions(p, config, embedding);
        let blocks = (0..config.dropouts().len()).map(|index| Block::build(p, index, sizes));
        let blocks = blocks.collect();
        let [dim, ..] = sizes;
        Self {
            tokenizer,
            positional_emb,
            blocks,
            norm: p.norm("norm", dim),
            attention_pool: p.linear("attention_pool", dim, 1, true),
            fc: p.linear("fc", dim, config.classes, true),
        }
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, height, width]`.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let tokens = self.embed(self.tokens(images), &mut NoTaps);
        self.transform(tokens, no_masks(self.blocks.len()), &mut NoTaps)
    }

    /// The same with convolutions whose gradients are fast: under dropout, one entry of masks for
    /// each block, and with every value shown to the taps.
    pub fn forward_with(
        &self,
        images: Tensor<B, 4>,
        masks: Vec<BlockMasks<B>>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 2> {
        let tokens = self.tokenize(images, convolve, taps);
        let tokens = self.embed(tokens, taps);
        self.transform(tokens, masks, taps)
    }

    /// Tokens `[batch, tokens, dim]` in raster order, positional embedding not yet added.
    pub fn tokens(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        self.tokenize(images, |conv, x| conv.forward(x), &mut NoTaps)
    }

    fn tokenize(
        &self,
        images: Tensor<B, 4>,
        convolve: impl Fn(&Conv2d<B>, Tensor<B, 4>) -> Tensor<B, 4>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 3> {
        let map = self.tokenizer.iter().enumerate().fold(images, |x, (stage, conv)| {
            let map = convolve(conv, x);
            let map = if is_patchwise(conv) { map } else { max_pool(relu(map)) };
            taps.tap(format_args!("tokenizer.{stage}"), map)
        });
        sequence(map)
    }

    fn embed(&self, tokens: Tensor<B, 3>, taps: &mut impl Taps<B>) -> Tensor<B, 3> {
        match &self.positional_emb {
            Some(embedding) => taps.tap(format_args!("positional_emb"), tokens + embedding.val()),
            None => {
                let last = self.tokenizer.len() - 1;
                taps.tap(format_args!("tokenizer.{last} (int16)"), tokens)
            }
        }
    }

    /// The result of every block, each `[batch, tokens, dim]`.
    pub fn block_outputs(&self, images: Tensor<B, 4>) -> Vec<Tensor<B, 3>> {
        block_outputs(&self.blocks, self.embed(self.tokens(images), &mut NoTaps))
    }

    fn transform(
        &self,
        tokens: Tensor<B, 3>,
        masks: Vec<BlockMasks<B>>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 2> {
        let tokens = transform(&self.blocks, tokens, masks, taps);
        let tokens = taps.tap(format_args!("norm"), self.norm.forward(tokens));
        let pooled = pool_sequence(&self.attention_pool, tokens, taps);
        taps.tap(format_args!("fc"), linear_rows(&self.fc, pooled))
    }
}

/// Tokens in raster order of a map `[batch, channels, height, width]`.
pub(super) fn sequence<B: Backend>(map: Tensor<B, 4>) -> Tensor<B, 3> {
    map.flatten::<3>(2, 3).swap_dims(1, 2)
}

/// The convolution that cuts and embeds patches.
pub(super) fn patches(channels: usize, dim: usize, patch: usize) -> ConvSizes {
    ConvSizes { stride: patch, padding: 0, bias: true, ..ConvSizes::same(channels, dim, patch) }
}

/// The positional embedding; one of sines is not trained.
pub(super) fn positions<B: Backend>(
    p: &mut Builder<'_, B>,
    config: &ModelConfig,
    kind: PositionalEmbedding,
) -> Option<Param<Tensor<B, 3>>> {
    if kind == PositionalEmbedding::None {
        return None;
    }
    let block = config.dropouts()[0];
    let param = p.param("positional_emb", [1, block.tokens, block.width]);
    Some(param.set_require_grad(kind == PositionalEmbedding::Learnable))
}
