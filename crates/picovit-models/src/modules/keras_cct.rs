//! The compact convolutional transformer of the Keras examples.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;

use super::block::{BlockMasks, no_masks, pool_sequence};
use super::builder::{Builder, ConvSizes};
use super::cct::sequence;
use super::im2col::convolve;
use super::pool::max_pool_same;
use super::pre_norm::{Mlp, PreNormBlock, Sizes};
use super::precision::linear_rows;
use super::taps::{NoTaps, Taps};
use crate::config::{Architecture, ModelConfig};
use crate::weights::Parameters;

/// Compact convolutional transformer of the Keras examples.
#[derive(Module, Debug)]
pub struct KerasCct<B: Backend> {
    /// Convolutions of the tokenizer; ReLU, a border of one zero and max-pool follow each.
    pub tokenizer: Vec<Conv2d<B>>,
    /// Positional embedding `[1, tokens, dim]`.
    pub positional_emb: Param<Tensor<B, 3>>,
    /// Transformer blocks.
    pub blocks: Vec<PreNormBlock<B>>,
    /// Final normalisation.
    pub norm: LayerNorm<B>,
    /// Scores tokens for sequence pooling.
    pub attention_pool: Linear<B>,
    /// Classifier.
    pub fc: Linear<B>,
}

impl<B: Backend> KerasCct<B> {
    pub(crate) fn from_parameters(
        config: &ModelConfig,
        mut parameters: Parameters,
        device: &B::Device,
    ) -> Self {
        let Architecture::KerasCct(keras) = &config.architecture else {
            unreachable!("{:?} is no Keras CCT", config.architecture)
        };
        let p = &mut Builder::<B> { parameters: &mut parameters, device };
        let dim = keras.embedding_dim;
        let tokenizer = (0..keras.tokenizer_layers).map(|stage| {
            let (input, output) = keras.stage_channels(stage, config.channels);
            let sizes =
                ConvSizes { padding: 0, ..ConvSizes::same(input, output, keras.kernel_size) };
            p.conv(&format!("tokenizer.{stage}"), sizes)
        });
        let tokenizer = tokenizer.collect();
        let sizes = Sizes { dim, inner: keras.inner(), hidden: keras.mlp_dim, heads: keras.heads };
        let blocks = (0..keras.layers)
            .map(|index| PreNormBlock::build(p, &format!("blocks.{index}"), sizes));
        let blocks = blocks.collect();
        let tokens = keras.token_map(config.image_size).area();
        Self {
            tokenizer,
            positional_emb: p.param("positional_emb", [1, tokens, dim]),
            blocks,
            norm: p.norm("norm", dim),
            attention_pool: p.linear("attention_pool", dim, 1, true),
            fc: p.linear("fc", dim, config.classes, true),
        }
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, height, width]`.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let tokens = self.tokenize(images, |conv, x| conv.forward(x), &mut NoTaps);
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
        self.transform(tokens, masks, taps)
    }

    fn tokenize(
        &self,
        images: Tensor<B, 4>,
        convolve: impl Fn(&Conv2d<B>, Tensor<B, 4>) -> Tensor<B, 4>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 3> {
        let stages = self.tokenizer.iter().enumerate();
        sequence(stages.fold(images, |x, (stage, conv)| {
            taps.tap(format_args!("tokenizer.{stage}"), max_pool_same(relu(convolve(conv, x))))
        }))
    }

    fn transform(
        &self,
        tokens: Tensor<B, 3>,
        masks: Vec<BlockMasks<B>>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 2> {
        let tokens = tokens + self.positional_emb.val();
        let tokens = taps.tap(format_args!("positional_emb"), tokens);
        let blocks = self.blocks.iter().zip(masks).enumerate();
        let tokens = blocks.fold(tokens, |x, (index, (block, masks))| {
            block.forward(format_args!("blocks.{index}"), x, masks, Mlp::GeluTwice, taps)
        });
        let tokens = taps.tap(format_args!("norm"), self.norm.forward(tokens));
        let pooled = pool_sequence(&self.attention_pool, tokens, taps);
        taps.tap(format_args!("fc"), linear_rows(&self.fc, pooled))
    }
}
