//! What every family can say about itself.

use crate::config::ModelConfig;
use crate::weights::{ParameterKind, ParameterSpec};

/// A field and what is wrong with it.
pub(crate) type Problem = (&'static str, String);

/// What every family can say about itself. The configuration gives image, channels and classes.
pub(crate) trait Family {
    /// Checks the family's own fields and that the image fits.
    fn validate(&self, config: &ModelConfig) -> Result<(), Problem>;

    /// Every parameter in the order in which it is initialised.
    fn parameters(&self, config: &ModelConfig) -> Vec<ParameterSpec>;

    /// Multiply-accumulates of one inference.
    fn macs(&self, config: &ModelConfig) -> usize;

    /// What training drops, block by block.
    fn dropouts(&self, config: &ModelConfig) -> Vec<BlockDropout>;
}

/// What training drops in one transformer block, and the extents of the masks it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlockDropout {
    /// Token sequences of one image that do not see each other.
    pub sequences: usize,
    /// Tokens of one sequence.
    pub tokens: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels of a token.
    pub width: usize,
    /// Hidden channels of the MLP.
    pub hidden: usize,
    /// Probability of dropping an attention weight.
    pub attention: f32,
    /// Probability of skipping a branch, for each image and each of the two branches.
    pub path: f32,
    /// Probability of dropping a value behind the attention's projection.
    pub attention_output: f32,
    /// Probability of dropping a value behind the MLP's first activation.
    pub mlp_hidden: f32,
    /// Probability of dropping a value behind the MLP.
    pub mlp_output: f32,
}

impl BlockDropout {
    /// Extents of a block that drops nothing.
    pub(crate) fn none(tokens: usize, heads: usize, width: usize, hidden: usize) -> Self {
        let [attention, path, attention_output, mlp_hidden, mlp_output] = [0.0; 5];
        Self {
            sequences: 1,
            tokens,
            heads,
            width,
            hidden,
            attention,
            path,
            attention_output,
            mlp_hidden,
            mlp_output,
        }
    }
}

/// Probability of skipping block `index` of `layers`: grows linearly from 0 to `last`.
pub(crate) fn drop_path(last: f32, index: usize, layers: usize) -> f32 {
    if layers < 2 { 0.0 } else { last * index as f32 / (layers - 1) as f32 }
}

/// Refuses what is no probability below 1.
pub(crate) fn rate_problem(field: &'static str, rate: f32) -> Result<(), Problem> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err((field, format!("is {rate}, must be at least 0 and below 1")))
}

/// Refuses sizes that are 0 or absurd.
pub(crate) fn size_problem(field: &'static str, value: usize) -> Result<(), Problem> {
    if (1..=1 << 16).contains(&value) {
        return Ok(());
    }
    Err((field, format!("is {value}, must be 1 to 65536")))
}

/// A list of parameters in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Specs(pub(crate) Vec<ParameterSpec>);

impl Specs {
    pub(crate) fn add(&mut self, name: &str, shape: &[usize], kind: ParameterKind) {
        self.0.push(ParameterSpec { name: name.into(), shape: shape.into(), kind });
    }

    /// A convolution without bias, `shape` being `[out, in / groups, kernel, kernel]`.
    pub(crate) fn conv(&mut self, name: &str, shape: [usize; 4]) {
        self.add(&format!("{name}.weight"), &shape, ParameterKind::Conv);
    }

    pub(crate) fn linear(&mut self, name: &str, out: usize, input: usize, bias: bool) {
        self.add(&format!("{name}.weight"), &[out, input], ParameterKind::LinearWeight);
        if bias {
            self.add(&format!("{name}.bias"), &[out], ParameterKind::Zero);
        }
    }

    pub(crate) fn norm(&mut self, name: &str, dim: usize) {
        self.add(&format!("{name}.weight"), &[dim], ParameterKind::One);
        self.add(&format!("{name}.bias"), &[dim], ParameterKind::Zero);
    }

    pub(crate) fn batch_norm(&mut self, name: &str, dim: usize) {
        self.norm(name, dim);
        self.add(&format!("{name}.running_mean"), &[dim], ParameterKind::RunningMean);
        self.add(&format!("{name}.running_var"), &[dim], ParameterKind::RunningVariance);
    }
}
