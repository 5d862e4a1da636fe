//! The transformer that CCT, CVT and ViT-Lite share.

use crate::config::family::{BlockDropout, Problem, Specs, rate_problem};
use crate::config::{ModelConfig, PositionalEmbedding};
use crate::weights::ParameterKind::{Position, Zero};

/// Sizes of the transformer, and how its tokens become one vector.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    pub(crate) dim: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) mlp_ratio: f32,
    pub(crate) positional_embedding: PositionalEmbedding,
    pub(crate) attention_dropout: f32,
    pub(crate) stochastic_depth: f32,
    /// Whether a class token is classified instead of the pooled sequence.
    pub(crate) class_token: bool,
}

impl Encoder {
    pub(crate) fn hidden(&self) -> usize {
        let hidden = self.dim as f64 * f64::from(self.mlp_ratio);
        // Truncated as the authors do, but for a ratio that is no number of 32 bits, as 248 / 56.
        let whole = hidden.round();
        if (hidden - whole).abs() < 1e-3 { whole as usize } else { hidden as usize }
    }

    /// Length of the sequence of an image of so many patches.
    fn length(&self, tokens: usize) -> usize {
        tokens + usize::from(self.class_token)
    }

    pub(crate) fn validate(&self) -> Result<(), Problem> {
        let sizes = [("embedding_dim", self.dim), ("heads", self.heads), ("layers", self.layers)];
        for (field, value) in sizes {
            if value == 0 || value > 1 << 16 {
                return Err((field, format!("is {value}, must be 1 to 65536")));
            }
        }
        if !self.dim.is_multiple_of(self.heads) {
            let problem = format!("is {}, does not divide embedding_dim {}", self.heads, self.dim);
            return Err(("heads", problem));
        }
        if !(self.mlp_ratio.is_finite() && self.mlp_ratio <= 64.0 && self.hidden() > 0) {
            let problem = format!("is {}, must be above 0, at most 64", self.mlp_ratio);
            return Err(("mlp_ratio", problem));
        }
        rate_problem("attention_dropout", self.attention_dropout)?;
        rate_problem("stochastic_depth", self.stochastic_depth)
    }

    /// Class token and positional embedding of so many patches.
    pub(crate) fn add_embeddings(&self, specs: &mut Specs, tokens: usize) {
        if self.class_token {
            specs.add("class_emb", &[1, 1, self.dim], Zero);
        }
        if self.positional_embedding != PositionalEmbedding::None {
            let kind = Position { sine: self.positional_embedding == PositionalEmbedding::Sine };
            specs.add("positional_emb", &[1, self.length(tokens), self.dim], kind);
        }
    }

    /// Blocks, final normalisation and classifier.
    pub(crate) fn add_blocks(&self, specs: &mut Specs, classes: usize) {
        let (dim, hidden) = (self.dim, self.hidden());
        for block in 0..self.layers {
            let name = |part: &str| format!("blocks.{block}.{part}");
            specs.norm(&name("pre_norm"), dim);
            specs.linear(&name("qkv"), 3 * dim, dim, false);
            specs.linear(&name("proj"), dim, dim, true);
            specs.norm(&name("norm1"), dim);
            specs.linear(&name("linear1"), hidden, dim, true);
            specs.linear(&name("linear2"), dim, hidden, true);
        }
        specs.norm("norm", dim);
        if !self.class_token {
            specs.linear("attention_pool", 1, dim, true);
        }
        specs.linear("fc", classes, dim, true);
    }

    /// Multiply-accumulates behind the tokenizer.
    pub(crate) fn macs(&self, config: &ModelConfig, tokens: usize) -> usize {
        let (dim, length) = (self.dim, self.length(tokens));
        let linear = length * dim * (4 * dim + 2 * self.hidden());
        let attention = 2 * length * length * dim;
        let pooling = if self.class_token { 0 } else { 2 * length * dim };
        self.layers * (linear + attention) + pooling + dim * config.classes
    }

    pub(crate) fn dropouts(&self, tokens: usize) -> Vec<BlockDropout> {
        let block = |index| BlockDropout {
            attention: self.attention_dropout,
            path: super::family::drop_path(self.stochastic_depth, index, self.layers),
            ..BlockDropout::none(self.length(tokens), self.heads, self.dim, self.hidden())
        };
        (0..self.layers).map(block).collect()
    }
}
