//! ViT-Lite: patches and a class token.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::block::{Block, BlockMasks, block_outputs, block_sizes, no_masks, transform};
use super::builder::Builder;
use super::cct::{patches, positions, sequence};
use super::im2col::convolve;
use super::precision::linear_rows;
use super::taps::{NoTaps, Taps};
use crate::config::{Architecture, ModelConfig};
use crate::weights::Parameters;

/// Small vision transformer.
#[derive(Module, Debug)]
pub struct VitLite<B: Backend> {
    /// Cuts and embeds patches: a list of one, as the tokenizers of CCT and CVT are lists.
    pub tokenizer: Vec<Conv2d<B>>,
    /// The token that is classified, `[1, 1, dim]`; it comes first.
    pub class_emb: Param<Tensor<B, 3>>,
    /// Positional embedding `[1, 1 + patches, dim]`.
    pub positional_emb: Option<Param<Tensor<B, 3>>>,
    /// Transformer blocks.
    pub blocks: Vec<Block<B>>,
    /// Final normalisation.
    pub norm: LayerNorm<B>,
    /// Classifier.
    pub fc: Linear<B>,
}

impl<B: Backend> VitLite<B> {
    pub(crate) fn from_parameters(
        config: &ModelConfig,
        mut parameters: Parameters,
        device: &B::Device,
    ) -> Self {
        let Architecture::VitLite(vit) = &config.architecture else {
            unreachable!("{:?} is no ViT-Lite", config.architecture)
        };
        let p = &mut Builder::<B> { parameters: &mut parameters, device };
        let [dim, hidden, heads] = block_sizes(config);
        let conv = p.conv("tokenizer.0", patches(config.channels, dim, vit.patch_size));
        let blocks = (0..vit.layers).map(|index| Block::build(p, index, [dim, hidden, heads]));
        let blocks = blocks.collect();
        Self {
            tokenizer: vec![conv],
            class_emb: p.param("class_emb", [1, 1, dim]),
            positional_emb: positions(p, config, vit.positional_embedding),
            blocks,
            norm: p.norm("norm", dim),
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
        let map = taps.tap(format_args!("tokenizer.0"), convolve(&self.tokenizer[0], images));
        let tokens = self.embed(sequence(map), taps);
        self.transform(tokens, masks, taps)
    }

    /// Tokens `[batch, patches, dim]` in raster order, without class token and positions.
    pub fn tokens(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        sequence(self.tokenizer[0].forward(images))
    }

    fn embed(&self, tokens: Tensor<B, 3>, taps: &mut impl Taps<B>) -> Tensor<B, 3> {
        let [batch, _, dim] = tokens.dims();
        let class = self.class_emb.val().expand([batch, 1, dim]);
        let tokens = Tensor::cat(vec![class, tokens], 1);
        match &self.positional_emb {
            Some(embedding) => taps.tap(format_args!("positional_emb"), tokens + embedding.val()),
            None => taps.tap(format_args!("class_emb"), tokens),
        }
    }

    /// The result of every block, each `[batch, 1 + patches, dim]`.
    pub fn block_outputs(&self, images: Tensor<B, 4>) -> Vec<Tensor<B, 3>> {
        block_outputs(&self.blocks, self.embed(self.tokens(images), &mut NoTaps))
    }

    fn transform(
        &self,
        tokens: Tensor<B, 3>,
        masks: Vec<BlockMasks<B>>,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 2> {
        let class = transform(&self.blocks, tokens, masks, taps).narrow(1, 0, 1);
        let class = taps.tap(format_args!("class"), self.norm.forward(class).squeeze_dim::<2>(1));
        taps.tap(format_args!("fc"), linear_rows(&self.fc, class))
    }
}
