//! The compact convolutional transformer.

use burn::module::{Module, Param, ParamId};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer as BurnInitializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use crate::config::{ModelConfig, PositionalEmbedding};
use crate::im2col::convolve;
use crate::pool::max_pool;
use crate::weights::Parameters;

/// Epsilon of every layer normalisation.
pub(crate) const LAYER_NORM_EPSILON: f64 = 1e-5;

/// Compact convolutional transformer.
#[derive(Module, Debug)]
pub struct Cct<B: Backend> {
    /// Convolutions of the tokenizer; ReLU and max-pool follow each.
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
/// drops the same connections; kept values carry their `1 / (1 - rate)`.
#[derive(Clone, Debug)]
pub struct BlockMasks<B: Backend> {
    /// Attention weights, `[batch, heads, tokens, tokens]`.
    pub attention: Option<Tensor<B, 4>>,
    /// Attention and MLP branch per sample, `[batch, 1, 1]` each.
    pub paths: Option<[Tensor<B, 3>; 2]>,
}

impl<B: Backend> Cct<B> {
    /// A network of the given weights.
    ///
    /// # Panics
    /// If a parameter of the configuration is missing.
    pub fn from_parameters(
        config: &ModelConfig,
        mut parameters: Parameters,
        device: &B::Device,
    ) -> Self {
        let cct = config.cct();
        let dim = cct.embedding_dim;
        let p = &mut Builder::<B> { parameters: &mut parameters, device };
        let tokenizer = (0..cct.tokenizer_layers).map(|stage| {
            let (input, output) = cct.stage_channels(stage, config.channels);
            let edge = cct.kernel_size;
            let mut conv = Conv2dConfig::new([input, output], [edge; 2])
                .with_stride([cct.stride(); 2])
                .with_padding(padding(cct.padding()))
                .with_bias(false)
                .with_initializer(BurnInitializer::Zeros)
                .init(device);
            conv.weight =
                p.param(&format!("tokenizer.{stage}.weight"), [output, input, edge, edge]);
            conv
        });
        let tokenizer = tokenizer.collect();
        let positional_emb = match cct.positional_embedding {
            PositionalEmbedding::None => None,
            kind => {
                let param = p.param("positional_emb", [1, config.tokens(), dim]);
                Some(param.set_require_grad(kind == PositionalEmbedding::Learnable))
            }
        };
        let blocks = (0..cct.layers).map(|i| Block {
            pre_norm: p.norm(&format!("blocks.{i}.pre_norm"), dim),
            qkv: p.linear(&format!("blocks.{i}.qkv"), dim, 3 * dim, false),
            proj: p.linear(&format!("blocks.{i}.proj"), dim, dim, true),
            norm1: p.norm(&format!("blocks.{i}.norm1"), dim),
            linear1: p.linear(&format!("blocks.{i}.linear1"), dim, cct.mlp_dim(), true),
            linear2: p.linear(&format!("blocks.{i}.linear2"), cct.mlp_dim(), dim, true),
            heads: cct.heads,
        });
        let blocks = blocks.collect();
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
        let tokens = self.tokenize(images);
        let tokens = self.blocks.iter().fold(tokens, |x, block| block.forward(x, None));
        self.classify(tokens)
    }

    /// The same under dropout: one entry of masks for each block.
    pub fn forward_masked(&self, images: Tensor<B, 4>, masks: Vec<BlockMasks<B>>) -> Tensor<B, 2> {
        let stages = self.tokenizer.iter();
        let map = stages.fold(images, |x, conv| max_pool(relu(convolve(conv, x))));
        let tokens = self.embed(map.flatten::<3>(2, 3).swap_dims(1, 2));
        let blocks = self.blocks.iter().zip(masks);
        let tokens = blocks.fold(tokens, |x, (block, masks)| block.forward(x, Some(masks)));
        self.classify(tokens)
    }

    /// Tokens `[batch, tokens, dim]` in raster order, positional embedding not yet added.
    pub fn tokens(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        let stages = self.tokenizer.iter();
        let map = stages.fold(images, |x, conv| max_pool(relu(conv.forward(x))));
        map.flatten::<3>(2, 3).swap_dims(1, 2)
    }

    fn tokenize(&self, images: Tensor<B, 4>) -> Tensor<B, 3> {
        self.embed(self.tokens(images))
    }

    fn embed(&self, tokens: Tensor<B, 3>) -> Tensor<B, 3> {
        match &self.positional_emb {
            Some(embedding) => tokens + embedding.val(),
            None => tokens,
        }
    }

    /// The result of every block, each `[batch, tokens, dim]`.
    pub fn block_outputs(&self, images: Tensor<B, 4>) -> Vec<Tensor<B, 3>> {
        let mut tokens = self.tokenize(images);
        let outputs = self.blocks.iter().map(|block| {
            tokens = block.forward(tokens.clone(), None);
            tokens.clone()
        });
        outputs.collect()
    }

    fn classify(&self, tokens: Tensor<B, 3>) -> Tensor<B, 2> {
        let tokens = self.norm.forward(tokens);
        let weights = softmax(self.attention_pool.forward(tokens.clone()), 1);
        let pooled = weights.swap_dims(1, 2).matmul(tokens).squeeze_dim::<2>(1);
        self.fc.forward(pooled)
    }
}

impl<B: Backend> Block<B> {
    /// One block over `[batch, tokens, dim]`.
    pub fn forward(&self, x: Tensor<B, 3>, masks: Option<BlockMasks<B>>) -> Tensor<B, 3> {
        let (attention_mask, paths) = match masks {
            Some(masks) => (masks.attention, masks.paths),
            None => (None, None),
        };
        let [attention_path, mlp_path] = match paths {
            Some(paths) => paths.map(Some),
            None => [None, None],
        };
        let branch = self.attention(self.pre_norm.forward(x.clone()), attention_mask);
        let x = self.norm1.forward(x + masked(branch, attention_path));
        let branch = apply(&self.linear2, gelu(apply(&self.linear1, x.clone())));
        x + masked(branch, mlp_path)
    }

    fn attention(&self, x: Tensor<B, 3>, mask: Option<Tensor<B, 4>>) -> Tensor<B, 3> {
        let [batch, tokens, dim] = x.dims();
        let head_dim = dim / self.heads;
        let qkv = apply(&self.qkv, x).reshape([batch, tokens, 3 * self.heads, head_dim]);
        let qkv = qkv.swap_dims(1, 2);
        let part = |index: usize| qkv.clone().narrow(1, index * self.heads, self.heads);
        let query = part(0) * (head_dim as f64).powf(-0.5);
        let weights = softmax(query.matmul(part(1).swap_dims(2, 3)), 3);
        let weights = match mask {
            Some(mask) => weights * mask,
            None => weights,
        };
        let mixed = weights.matmul(part(2)).swap_dims(1, 2).reshape([batch, tokens, dim]);
        apply(&self.proj, mixed)
    }
}

/// A linear layer on `[batch, tokens, dim]` as one matrix product: backends that would multiply
/// image by image, and sum as many weight gradients, are several times slower.
fn apply<B: Backend>(linear: &Linear<B>, x: Tensor<B, 3>) -> Tensor<B, 3> {
    let [batch, tokens, dim] = x.dims();
    let y = linear.forward(x.reshape([batch * tokens, dim]));
    let width = y.dims()[1];
    y.reshape([batch, tokens, width])
}

fn masked<B: Backend>(branch: Tensor<B, 3>, mask: Option<Tensor<B, 3>>) -> Tensor<B, 3> {
    match mask {
        Some(mask) => branch * mask,
        None => branch,
    }
}

fn padding(border: usize) -> PaddingConfig2d {
    PaddingConfig2d::Explicit(border, border, border, border)
}

/// Turns host values in PyTorch's layout into Burn's parameters.
struct Builder<'a, B: Backend> {
    parameters: &'a mut Parameters,
    device: &'a B::Device,
}

impl<B: Backend> Builder<'_, B> {
    fn tensor<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Tensor<B, D> {
        Tensor::from_data(TensorData::new(self.parameters.take(name), shape), self.device)
    }

    fn param<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Param<Tensor<B, D>> {
        Param::initialized(ParamId::new(), self.tensor(name, shape).require_grad())
    }

    fn norm(&mut self, name: &str, dim: usize) -> LayerNorm<B> {
        let mut norm = LayerNormConfig::new(dim).with_epsilon(LAYER_NORM_EPSILON).init(self.device);
        norm.gamma = self.param(&format!("{name}.weight"), [dim]);
        norm.beta = Some(self.param(&format!("{name}.bias"), [dim]));
        norm
    }

    fn linear(&mut self, name: &str, input: usize, output: usize, bias: bool) -> Linear<B> {
        let rows = self.parameters.take(&format!("{name}.weight"));
        let columns = transpose(&rows, output, input);
        let weight = Tensor::from_data(TensorData::new(columns, [input, output]), self.device);
        let mut linear = LinearConfig::new(input, output)
            .with_bias(false)
            .with_initializer(BurnInitializer::Zeros)
            .init(self.device);
        linear.weight = Param::initialized(ParamId::new(), weight.require_grad());
        linear.bias = bias.then(|| self.param(&format!("{name}.bias"), [output]));
        linear
    }
}

/// Transposes a row-major matrix.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |c: usize| (0..rows).map(move |r| values[r * columns + c]);
    (0..columns).flat_map(column).collect()
}
