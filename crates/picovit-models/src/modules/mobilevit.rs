//! MobileViT: inverted residuals, and transformers over unfolded maps.

use std::fmt::Arguments;

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
use super::taps::{NoTaps, Taps};
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
/// normalise and the running ones follow, unless the network runs for its taps.
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

/// How the network is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Convolutions by the backend.
    Infer,
    /// Convolutions as matrix products, for their gradients.
    Train,
    /// The same with running statistics, as lowering folds them.
    Tune,
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
        self.run(images, no_masks(self.layers()), Mode::Infer, &mut NoTaps)
    }

    /// The same under dropout: one entry of masks for each transformer layer.
    pub fn forward_masked(&self, images: Tensor<B, 4>, masks: Vec<BlockMasks<B>>) -> Tensor<B, 2> {
        self.run(images, masks, Mode::Train, &mut NoTaps)
    }

    /// The same without dropout and with the running statistics, every value shown to the taps.
    pub fn forward_tapped(&self, images: Tensor<B, 4>, taps: &mut impl Taps<B>) -> Tensor<B, 2> {
        self.run(images, no_masks(self.layers()), Mode::Tune, taps)
    }

    /// Number of transformer layers.
    fn layers(&self) -> usize {
        self.stages.iter().map(|stage| stage.block.layers.len()).sum()
    }

    fn run(
        &self,
        images: Tensor<B, 4>,
        masks: Vec<BlockMasks<B>>,
        mode: Mode,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 2> {
        let mut masks = masks.into_iter();
        let x = self.stem.forward_silu(format_args!("stem"), images, mode, taps);
        let x = self.early.iter().enumerate().fold(x, |x, (index, block)| {
            block.forward(format_args!("early.{index}"), x, mode, taps)
        });
        let x = self.stages.iter().enumerate().fold(x, |x, (index, stage)| {
            let x = stage.down.forward(format_args!("stages.{index}.down"), x, mode, taps);
            let name = format_args!("stages.{index}.block");
            stage.block.forward(name, x, &mut masks, mode, taps)
        });
        let x = self.head.forward_silu(format_args!("head"), x, mode, taps);
        let average = x.flatten::<3>(2, 3).mean_dim(2).squeeze_dim::<2>(2);
        let average = taps.tap(format_args!("average"), average);
        taps.tap(format_args!("fc"), linear_rows(&self.fc, average))
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
        let x = run_conv(&self.conv, x, mode);
        match mode {
            Mode::Infer | Mode::Train => self.norm.forward(x),
            Mode::Tune => self.normalize(x),
        }
    }

    /// Convolution, normalisation and SiLU, tapped in front of SiLU and behind it.
    fn forward_silu(
        &self,
        name: Arguments<'_>,
        x: Tensor<B, 4>,
        mode: Mode,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 4> {
        let x = taps.tap(name, self.forward(x, mode));
        taps.tap(format_args!("{name}.silu"), silu(x))
    }

    /// Normalises by the running statistics, in autodiff too.
    fn normalize(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let norm = &self.norm;
        let deviation = norm.running_var.value_sync().add_scalar(norm.epsilon).sqrt();
        let factor = norm.gamma.val() / deviation;
        let offset = norm.beta.val() - norm.running_mean.value_sync() * factor.clone();
        let shape = [1, factor.dims()[0], 1, 1];
        x * factor.reshape(shape) + offset.reshape(shape)
    }
}

fn run_conv<B: Backend>(conv: &Conv2d<B>, x: Tensor<B, 4>, mode: Mode) -> Tensor<B, 4> {
    match mode {
        Mode::Infer => conv.forward(x),
        Mode::Train | Mode::Tune if conv.groups > 1 => convolve_depthwise(conv, x),
        Mode::Train | Mode::Tune => convolve(conv, x),
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

    fn forward(
        &self,
        name: Arguments<'_>,
        x: Tensor<B, 4>,
        mode: Mode,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 4> {
        let y = self.expand.forward_silu(format_args!("{name}.expand"), x.clone(), mode, taps);
        let y = self.depthwise.forward_silu(format_args!("{name}.depthwise"), y, mode, taps);
        let y = self.project.forward(y, mode);
        match self.has_residual() {
            true => taps.tap(format_args!("{name}.add"), x + y),
            false => taps.tap(format_args!("{name}.project"), y),
        }
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
        name: Arguments<'_>,
        input: Tensor<B, 4>,
        masks: &mut impl Iterator<Item = BlockMasks<B>>,
        mode: Mode,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 4> {
        let x = self.local.forward_silu(format_args!("{name}.local"), input.clone(), mode, taps);
        let x = run_conv(&self.widen, x, mode);
        let [_, _, height, width] = x.dims();
        let tokens = taps.tap(format_args!("{name}.unfold"), unfold(x));
        let layers = self.layers.iter().zip(masks).enumerate();
        let tokens = layers.fold(tokens, |x, (index, (layer, masks))| {
            layer.forward(format_args!("{name}.layers.{index}"), x, masks, Mlp::Silu, taps)
        });
        let x = fold(self.norm.forward(tokens), height, width);
        let x = taps.tap(format_args!("{name}.fold"), x);
        let x = self.narrow.forward_silu(format_args!("{name}.narrow"), x, mode, taps);
        let x = Tensor::cat(vec![input, x], 1);
        self.fusion.forward_silu(format_args!("{name}.fusion"), x, mode, taps)
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
