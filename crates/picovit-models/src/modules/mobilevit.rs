//! MobileViT: inverted residuals, and transformers over unfolded maps.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;

use super::block::{BlockMasks, no_masks};
use super::builder::{Builder, ConvSizes};
use super::depthwise::convolve_depthwise;
use super::im2col::convolve;
use super::pre_norm::{Mlp, PreNormBlock, Sizes};
use super::precision::linear_rows;
use crate::config::mobilevit::{Inverted, PATCH};
use crate::config::{Architecture, ModelConfig};
use crate::weights::Parameters;

/// MobileViT.
#[derive(Module, Debug)]
pub struct MobileVit<B: Backend> {
    /// First convolution, of stride 2.
    pub stem: ConvNorm<B>,
    /// The inverted residuals of the first two stages.
    pub early: Vec<InvertedResidual<B>>,
    /// The three stages with transformers.
    pub stages: Vec<Stage<B>>,
    /// Pointwise convolution in front of the average.
    pub head: ConvNorm<B>,
    /// Classifier.
    pub fc: Linear<B>,
}

/// Convolution without bias, and batch normalisation. In autodiff, the batch's own statistics
/// normalise and the running ones follow.
#[derive(Module, Debug)]
pub struct ConvNorm<B: Backend> {
    /// Convolution.
    pub conv: Conv2d<B>,
    /// Normalisation.
    pub norm: BatchNorm<B>,
}

/// Pointwise, depthwise, pointwise; the input is added where the result has its extent.
#[derive(Module, Debug)]
pub struct InvertedResidual<B: Backend> {
    /// Widens; SiLU follows.
    pub expand: ConvNorm<B>,
    /// Each channel for itself; SiLU follows.
    pub depthwise: ConvNorm<B>,
    /// Narrows; nothing follows.
    pub project: ConvNorm<B>,
}

/// A halving of the map and a MobileViT block.
#[derive(Module, Debug)]
pub struct Stage<B: Backend> {
    /// Inverted residual of stride 2.
    pub down: InvertedResidual<B>,
    /// Transformers over the map.
    pub block: MobileVitBlock<B>,
}

/// Transformers over the pixels that lie at one place of their patches.
#[derive(Module, Debug)]
pub struct MobileVitBlock<B: Backend> {
    /// 3x3 convolution; SiLU follows.
    pub local: ConvNorm<B>,
    /// Pointwise convolution to the token's width; nothing follows.
    pub widen: Conv2d<B>,
    /// Transformer layers.
    pub layers: Vec<PreNormBlock<B>>,
    /// Normalisation of the tokens.
    pub norm: LayerNorm<B>,
    /// Pointwise convolution back; SiLU follows.
    pub narrow: ConvNorm<B>,
    /// 3x3 convolution of the block's input beside its result; SiLU follows.
    pub fusion: ConvNorm<B>,
}

/// How convolutions are computed: by the backend, or as matrix products for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Infer,
    Train,
}

impl<B: Backend> MobileVit<B> {
    pub(crate) fn from_parameters(
        config: &ModelConfig,
        mut parameters: Parameters,
        device: &B::Device,
    ) -> Self {
        let Architecture::MobileVit(sizes) = &config.architecture else {
            unreachable!("{:?} is no MobileViT", config.architecture)
        };
        let p = &mut Builder::<B> { parameters: &mut parameters, device };
        let mut inverted = sizes.inverted();
        let late = inverted.split_off(inverted.len() - 3);
        let stem = ConvSizes::same(config.channels, sizes.stem_channels, 3).with_stride(2);
        let stages = late.iter().enumerate().map(|(index, down)| Stage {
            down: InvertedResidual::build(p, down),
            block: MobileVitBlock::build(
                p,
                &format!("stages.{index}.block"),
                [down.output, sizes.dims[index], sizes.mlp_ratio, sizes.heads],
                sizes.depths[index],
            ),
        });
        let stages = stages.collect();
        let head = ConvSizes::same(sizes.channels[4], sizes.head_channels, 1);
        Self {
            stem: ConvNorm::build(p, "stem", stem),
            early: inverted.iter().map(|sizes| InvertedResidual::build(p, sizes)).collect(),
            stages,
            head: ConvNorm::build(p, "head", head),
            fc: p.linear("fc", sizes.head_channels, config.classes, true),
        }
    }

    /// Logits `[batch, classes]` of normalised images `[batch, channels, height, width]`.
    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let layers = self.stages.iter().map(|stage| stage.block.layers.len()).sum();
        self.run(images, no_masks(layers), Mode::Infer)
    }

    /// The same under dropout: one entry of masks for each transformer layer.
    pub fn forward_masked(&self, images: Tensor<B, 4>, masks: Vec<BlockMasks<B>>) -> Tensor<B, 2> {
        self.run(images, masks, Mode::Train)
    }

    fn run(&self, images: Tensor<B, 4>, masks: Vec<BlockMasks<B>>, mode: Mode) -> Tensor<B, 2> {
        let mut masks = masks.into_iter();
        let x = silu(self.stem.forward(images, mode));
        let x = self.early.iter().fold(x, |x, block| block.forward(x, mode));
        let x = self
            .stages
            .iter()
            .fold(x, |x, stage| stage.block.forward(stage.down.forward(x, mode), &mut masks, mode));
        let x = silu(self.head.forward(x, mode));
        let average = x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim::<2>(2);
        linear_rows(&self.fc, average)
    }
}

impl<B: Backend> ConvNorm<B> {
    fn build(p: &mut Builder<'_, B>, name: &str, sizes: ConvSizes) -> Self {
        Self {
            conv: p.conv(&format!("{name}.conv"), sizes),
            norm: p.batch_norm(&format!("{name}.norm"), sizes.output),
        }
    }

    fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        self.norm.forward(run_conv(&self.conv, x, mode))
    }
}

fn run_conv<B: Backend>(conv: &Conv2d<B>, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
    match mode {
        Mode::Infer => conv.forward(x),
        Mode::Train if conv.groups > 1 => convolve_depthwise(conv, x),
        Mode::Train => convolve(conv, x),
    }
}

impl<B: Backend> InvertedResidual<B> {
    fn build(p: &mut Builder<'_, B>, sizes: &Inverted) -> Self {
        let Inverted { name, input, hidden, output, stride } = sizes;
        let name = |part: &str| format!("{name}.{part}");
        let depthwise = ConvSizes::depthwise(*hidden, 3).with_stride(*stride);
        Self {
            expand: ConvNorm::build(p, &name("expand"), ConvSizes::same(*input, *hidden, 1)),
            depthwise: ConvNorm::build(p, &name("depthwise"), depthwise),
            project: ConvNorm::build(p, &name("project"), ConvSizes::same(*hidden, *output, 1)),
        }
    }

    fn forward(&self, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
        let y = silu(self.expand.forward(x.clone(), mode));
        let y = silu(self.depthwise.forward(y, mode));
        let y = self.project.forward(y, mode);
        if self.has_residual() { x + y } else { y }
    }

    /// Whether the input is added to the result.
    #[must_use]
    pub fn has_residual(&self) -> bool {
        let input = self.expand.conv.weight.dims()[1];
        let output = self.project.conv.weight.dims()[0];
        self.depthwise.conv.stride[0] == 1 && input == output
    }
}

impl<B: Backend> MobileVitBlock<B> {
    fn build(
        p: &mut Builder<'_, B>,
        block: &str,
        [channels, dim, mlp_ratio, heads]: [usize; 4],
        depth: usize,
    ) -> Self {
        let name = |part: &str| format!("{block}.{part}");
        let sizes = Sizes { dim, inner: dim, hidden: mlp_ratio * dim, heads };
        let layers = (0..depth)
            .map(|index| PreNormBlock::build(p, &format!("{block}.layers.{index}"), sizes));
        let layers = layers.collect();
        Self {
            local: ConvNorm::build(p, &name("local"), ConvSizes::same(channels, channels, 3)),
            widen: p.conv(&name("widen"), ConvSizes::same(channels, dim, 1)),
            layers,
            norm: p.norm(&name("norm"), dim),
            narrow: ConvNorm::build(p, &name("narrow"), ConvSizes::same(dim, channels, 1)),
            fusion: ConvNorm::build(p, &name("fusion"), ConvSizes::same(2 * channels, channels, 3)),
        }
    }

    fn forward(
        &self,
        input: Tensor<B, 4>,
        masks: &mut impl Iterator<Item = BlockMasks<B>>,
        mode: Mode,
    ) -> Tensor<B, 4> {
        let x = silu(self.local.forward(input.clone(), mode));
        let x = run_conv(&self.widen, x, mode);
        let [_, _, height, width] = x.dims();
        let tokens = self
            .layers
            .iter()
            .zip(masks)
            .fold(unfold(x), |x, (layer, masks)| layer.forward(x, masks, Mlp::Silu));
        let x = fold(self.norm.forward(tokens), height, width);
        let x = silu(self.narrow.forward(x, mode));
        silu(self.fusion.forward(Tensor::cat(vec![input, x], 1), mode))
    }
}

/// `[batch, channels, height, width]` becomes `[batch * places, patches, channels]`: one sequence
/// for each place in a patch, both in raster order.
fn unfold<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 3> {
    let [batch, channels, height, width] = x.dims();
    let (rows, columns) = (height / PATCH, width / PATCH);
    x.reshape([batch, channels, rows, PATCH, columns, PATCH]).permute([0, 3, 5, 2, 4, 1]).reshape([
        batch * PATCH * PATCH,
        rows * columns,
        channels,
    ])
}

/// The inverse of [`unfold`].
fn fold<B: Backend>(x: Tensor<B, 3>, height: usize, width: usize) -> Tensor<B, 4> {
    let [sequences, _, channels] = x.dims();
    let (batch, rows, columns) = (sequences / (PATCH * PATCH), height / PATCH, width / PATCH);
    x.reshape([batch, PATCH, PATCH, rows, columns, channels])
        .permute([0, 5, 3, 1, 4, 2])
        .reshape([batch, channels, height, width])
}
