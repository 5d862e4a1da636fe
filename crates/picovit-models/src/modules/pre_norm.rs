//! The transformer block of the Keras CCT and of MobileViT: both branches are normalised in front and
//! added to what came in.

use std::fmt::Arguments;

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, silu};
use burn::tensor::backend::Backend;

use super::block::{BlockMasks, apply, attend, masked};
use super::builder::Builder;
use super::taps::Taps;

/// Transformer block with a normalisation in front of either branch.
#[derive(Module, Debug)]
pub struct PreNormBlock<B: Backend> {
    /// Normalisation in front of the attention.
    pub norm1: LayerNorm<B>,
    /// Query, key and value of all heads; their width need not be the token's.
    pub qkv: Linear<B>,
    /// Output projection of the attention.
    pub proj: Linear<B>,
    /// Normalisation in front of the MLP.
    pub norm2: LayerNorm<B>,
    /// First layer of the MLP.
    pub linear1: Linear<B>,
    /// Second layer of the MLP.
    pub linear2: Linear<B>,
    /// Attention heads.
    pub heads: usize,
}

/// Activations of a block's MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mlp {
    /// SiLU behind the first layer.
    Silu,
    /// GELU behind both layers.
    GeluTwice,
}

/// Extents of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Channels of a token.
    pub(super) dim: usize,
    /// Channels of all heads.
    pub(super) inner: usize,
    /// Channels between the layers of the MLP.
    pub(super) hidden: usize,
    /// Attention heads.
    pub(super) heads: usize,
}

impl<B: Backend> PreNormBlock<B> {
    pub(super) fn build(p: &mut Builder<'_, B>, block: &str, sizes: Sizes) -> Self {
        let Sizes { dim, inner, hidden, heads } = sizes;
        let name = |part: &str| format!("{block}.{part}");
        Self {
            norm1: p.norm(&name("norm1"), dim),
            qkv: p.linear(&name("qkv"), dim, 3 * inner, true),
            proj: p.linear(&name("proj"), inner, dim, true),
            norm2: p.norm(&name("norm2"), dim),
            linear1: p.linear(&name("linear1"), dim, hidden, true),
            linear2: p.linear(&name("linear2"), hidden, dim, true),
            heads,
        }
    }

    /// One block over `[sequences, tokens, dim]`; its values are tapped below `name`.
    pub(super) fn forward(
        &self,
        name: Arguments<'_>,
        x: Tensor<B, 3>,
        mut masks: BlockMasks<B>,
        mlp: Mlp,
        taps: &mut impl Taps<B>,
    ) -> Tensor<B, 3> {
        let [attention_path, mlp_path] = masks.take_paths();
        let normed = taps.tap(format_args!("{name}.norm1"), self.norm1.forward(x.clone()));
        let branch = attend(&self.qkv, &self.proj, self.heads, normed, masks.attention, name, taps);
        let x = x + masked(masked(branch, masks.attention_output), attention_path);
        let x = taps.tap(format_args!("{name}.add1"), x);
        let normed = taps.tap(format_args!("{name}.norm2"), self.norm2.forward(x.clone()));
        let branch = taps.tap(format_args!("{name}.linear1"), apply(&self.linear1, normed));
        let hidden = match mlp {
            Mlp::Silu => taps.tap(format_args!("{name}.silu"), silu(branch)),
            Mlp::GeluTwice => taps.tap(format_args!("{name}.gelu1"), gelu(branch)),
        };
        let branch = apply(&self.linear2, masked(hidden, masks.mlp_hidden));
        let branch = match mlp {
            Mlp::Silu => branch,
            Mlp::GeluTwice => gelu(taps.tap(format_args!("{name}.linear2"), branch)),
        };
        let x = x + masked(masked(branch, masks.mlp_output), mlp_path);
        taps.tap(format_args!("{name}.add2"), x)
    }
}
