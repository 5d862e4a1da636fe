//! Sizes of a MobileViT.

use serde::{Deserialize, Serialize};

use super::family::{BlockDropout, Family, Problem, Specs, drop_path, rate_problem, size_problem};
use super::{ImageSize, ModelConfig, default_rate};
use crate::weights::ParameterSpec;

/// Edge of the patches that attention mixes across.
pub(crate) const PATCH: usize = 2;

/// Sizes of a MobileViT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MobileVitConfig {
    /// Channels of the stem, a 3x3 convolution of stride 2.
    pub stem_channels: usize,
    /// Channels behind the five stages: one inverted residual, three of them, and three times
    /// an inverted residual with a MobileViT block.
    pub channels: [usize; 5],
    /// Widths of a token in the three MobileViT blocks.
    pub dims: [usize; 3],
    /// Transformer layers in the three MobileViT blocks.
    pub depths: [usize; 3],
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP, as a multiple of the token's.
    pub mlp_ratio: usize,
    /// Hidden width of an inverted residual, as a multiple of its input's.
    pub expansion: usize,
    /// Channels in front of the classifier.
    pub head_channels: usize,
    /// Dropout probability of attention weights in training.
    #[serde(default)]
    pub attention_dropout: f32,
    /// Dropout probability at the end of both branches of a transformer layer in training.
    #[serde(default = "default_rate")]
    pub dropout: f32,
    /// Probability of skipping the last transformer layer in training; grows linearly from 0.
    #[serde(default)]
    pub stochastic_depth: f32,
}

/// Extents of one inverted residual.
#[derive(Clone, Debug)]
pub(crate) struct Inverted {
    pub(crate) name: String,
    pub(crate) input: usize,
    pub(crate) hidden: usize,
    pub(crate) output: usize,
    pub(crate) stride: usize,
}

impl MobileVitConfig {
    /// The inverted residuals, those of the MobileViT stages last.
    pub(crate) fn inverted(&self) -> Vec<Inverted> {
        let [first, second, ..] = self.channels;
        let early = [
            (self.stem_channels, first, 1),
            (first, second, 2),
            (second, second, 1),
            (second, second, 1),
        ];
        let early = early.into_iter().enumerate().map(|(i, sizes)| (format!("early.{i}"), sizes));
        let late = (0..3)
            .map(|i| (format!("stages.{i}.down"), (self.channels[i + 1], self.channels[i + 2], 2)));
        let inverted = early.chain(late).map(|(name, (input, output, stride))| Inverted {
            name,
            input,
            hidden: input * self.expansion,
            output,
            stride,
        });
        inverted.collect()
    }

    /// Extent of the map in a MobileViT stage.
    pub(crate) fn stage_map(&self, image: ImageSize, stage: usize) -> ImageSize {
        let halvings = stage as u32 + 3;
        let edge = |n: usize| (0..halvings).fold(n, |n, _| n.div_ceil(2));
        ImageSize { height: edge(image.height), width: edge(image.width) }
    }

    fn layers(&self) -> usize {
        self.depths.iter().sum()
    }
}

impl Family for MobileVitConfig {
    fn validate(&self, config: &ModelConfig) -> Result<(), Problem> {
        let mut sizes = vec![
            ("stem_channels", self.stem_channels),
            ("heads", self.heads),
            ("mlp_ratio", self.mlp_ratio),
            ("expansion", self.expansion),
            ("head_channels", self.head_channels),
        ];
        sizes.extend(self.channels.map(|n| ("channels", n)));
        sizes.extend(self.dims.map(|n| ("dims", n)));
        sizes.extend(self.depths.map(|n| ("depths", n)));
        for (field, value) in sizes {
            size_problem(field, value)?;
        }
        if let Some(dim) = self.dims.iter().find(|dim| !dim.is_multiple_of(self.heads)) {
            return Err(("heads", format!("is {}, does not divide dims {dim}", self.heads)));
        }
        rate_problem("attention_dropout", self.attention_dropout)?;
        rate_problem("dropout", self.dropout)?;
        rate_problem("stochastic_depth", self.stochastic_depth)?;
        let size = config.image_size;
        for stage in 0..3 {
            let map = self.stage_map(size, stage);
            if !(map.height.is_multiple_of(PATCH) && map.width.is_multiple_of(PATCH)) {
                let problem = format!(
                    "{size} makes a map of {map} in MobileViT stage {stage}, which is not made of \
                     {PATCH}x{PATCH} patches; take multiples of 64"
                );
                return Err(("image_size", problem));
            }
        }
        Ok(())
    }

    fn parameters(&self, config: &ModelConfig) -> Vec<ParameterSpec> {
        let mut specs = Specs::default();
        conv_norm(&mut specs, "stem", [self.stem_channels, config.channels, 3]);
        for block in self.inverted() {
            let name = |part: &str| format!("{}.{part}", block.name);
            conv_norm(&mut specs, &name("expand"), [block.hidden, block.input, 1]);
            conv_norm(&mut specs, &name("depthwise"), [block.hidden, 1, 3]);
            conv_norm(&mut specs, &name("project"), [block.output, block.hidden, 1]);
        }
        for (stage, (&dim, &depth)) in self.dims.iter().zip(&self.depths).enumerate() {
            let channels = self.channels[stage + 2];
            let name = |part: &str| format!("stages.{stage}.block.{part}");
            conv_norm(&mut specs, &name("local"), [channels, channels, 3]);
            specs.conv(&name("widen"), [dim, channels, 1, 1]);
            for layer in 0..depth {
                let name = |part: &str| name(&format!("layers.{layer}.{part}"));
                specs.norm(&name("norm1"), dim);
                specs.linear(&name("qkv"), 3 * dim, dim, true);
                specs.linear(&name("proj"), dim, dim, true);
                specs.norm(&name("norm2"), dim);
                specs.linear(&name("linear1"), self.mlp_ratio * dim, dim, true);
                specs.linear(&name("linear2"), dim, self.mlp_ratio * dim, true);
            }
            specs.norm(&name("norm"), dim);
            conv_norm(&mut specs, &name("narrow"), [channels, dim, 1]);
            conv_norm(&mut specs, &name("fusion"), [channels, 2 * channels, 3]);
        }
        conv_norm(&mut specs, "head", [self.head_channels, self.channels[4], 1]);
        specs.linear("fc", config.classes, self.head_channels, true);
        specs.0
    }

    fn macs(&self, config: &ModelConfig) -> usize {
        let half = |size: ImageSize| ImageSize {
            height: size.height.div_ceil(2),
            width: size.width.div_ceil(2),
        };
        let mut size = half(config.image_size);
        let mut macs = size.area() * 9 * config.channels * self.stem_channels;
        for block in self.inverted() {
            macs += size.area() * block.input * block.hidden;
            if block.stride == 2 {
                size = half(size);
            }
            macs += size.area() * block.hidden * (9 + block.output);
        }
        for (stage, (&dim, &depth)) in self.dims.iter().zip(&self.depths).enumerate() {
            let channels = self.channels[stage + 2];
            let area = self.stage_map(config.image_size, stage).area();
            // Local convolution, fusion, and the two pointwise ones.
            macs += area * (9 * channels * channels * 3 + 2 * channels * dim);
            let linear = area * dim * dim * (4 + 2 * self.mlp_ratio);
            let attention = 2 * area * (area / (PATCH * PATCH)) * dim;
            macs += depth * (linear + attention);
        }
        let area = self.stage_map(config.image_size, 2).area();
        macs + area * self.channels[4] * self.head_channels + self.head_channels * config.classes
    }

    fn dropouts(&self, config: &ModelConfig) -> Vec<BlockDropout> {
        let stages = (0..3).flat_map(|stage| (0..self.depths[stage]).map(move |_| stage));
        let block = |(index, stage): (usize, usize)| {
            let dim = self.dims[stage];
            let tokens = self.stage_map(config.image_size, stage).area() / (PATCH * PATCH);
            BlockDropout {
                sequences: PATCH * PATCH,
                attention: self.attention_dropout,
                path: drop_path(self.stochastic_depth, index, self.layers()),
                attention_output: self.dropout,
                mlp_output: self.dropout,
                ..BlockDropout::none(tokens, self.heads, dim, dim * self.mlp_ratio)
            }
        };
        stages.enumerate().map(block).collect()
    }
}

fn conv_norm(specs: &mut Specs, name: &str, [out, input, kernel]: [usize; 3]) {
    specs.conv(&format!("{name}.conv"), [out, input, kernel, kernel]);
    specs.batch_norm(&format!("{name}.norm"), out);
}
