//! The graph intermediate representation: f32 operations with their constants.
//!
//! A graph is a list of nodes in execution order; node 0 is the input image. Every value is a
//! row-major matrix of `tokens x channels`; an image or feature map has one row per pixel, in
//! raster order, so that a map *is* its token sequence and no reshape exists.

use serde::{Deserialize, Serialize};

/// Index of a [`Node`] in [`Graph::nodes`].
pub type NodeId = usize;

/// Extent of a value: `height * width` rows (tokens) of `channels` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Rows of the map; for a plain token sequence the number of tokens.
    pub height: usize,
    /// Columns of the map; 1 for a plain token sequence.
    pub width: usize,
    /// Values per token.
    pub channels: usize,
}

impl Shape {
    /// A feature map.
    #[must_use]
    pub const fn map(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// Number of tokens (pixels).
    #[must_use]
    pub const fn tokens(&self) -> usize {
        self.height * self.width
    }

    /// Number of values.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tokens() * self.channels
    }

    /// Whether the value holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the graph expects as input and how pixels were normalised in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Image extent; `channels` is 1 (grey) or 3 (RGB).
    pub shape: Shape,
    /// Per-channel mean, in 0..1 units: the network sees `(pixel / 255 - mean) / std`.
    pub mean: Vec<f32>,
    /// Per-channel standard deviation, in 0..1 units.
    pub std: Vec<f32>,
}

/// Max-pooling fused behind a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Window edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Border above and to the left; never wins the maximum.
    pub padding: usize,
    /// Border below and to the right.
    pub padding_after: usize,
}

impl Pool {
    /// Steps along an axis of `size`.
    #[must_use]
    pub const fn steps(&self, size: usize) -> usize {
        (size + self.padding + self.padding_after - self.kernel) / self.stride + 1
    }
}

/// A square convolution, optionally followed by ReLU and max-pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Weights `[out_channels][kernel][kernel][in_channels / groups]`.
    pub weights: Vec<f32>,
    /// Channel groups that do not see each other: 1, or the number of channels (depthwise).
    pub groups: usize,
    /// Bias `[out_channels]`.
    pub bias: Option<Vec<f32>>,
    /// Kernel edge.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Zero border on every side.
    pub padding: usize,
    /// Whether ReLU follows.
    pub relu: bool,
    /// Max-pooling after the activation.
    pub pool: Option<Pool>,
}

/// An affine map of every token.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Weights `[out][in]`.
    pub weights: Vec<f32>,
    /// Bias `[out]`.
    pub bias: Option<Vec<f32>>,
}

/// Normalisation of every token over its channels.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Per-channel factor.
    pub gamma: Vec<f32>,
    /// Per-channel offset.
    pub beta: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// A pointwise function evaluated through a 256-entry table once quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x * (1 + erf(x / sqrt 2)) / 2`, exact.
    Gelu,
    /// `x / (1 + exp(-x))`.
    Silu,
}

/// An operation of the graph.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The normalised image.
    Input,
    /// Convolution, see [`Conv`].
    Conv(Conv),
    /// Adds a constant of the value's own shape (positional embedding), row-major.
    AddConstant(Vec<f32>),
    /// See [`LayerNorm`].
    LayerNorm(LayerNorm),
    /// See [`Linear`].
    Linear(Linear),
    /// Scaled dot-product attention. The input's channels are `[3][heads][head_dim]` (query,
    /// key, value), the output's `[heads][head_dim]`; scale `head_dim^-0.5`.
    Attention {
        /// Number of heads.
        heads: usize,
        /// Channels per head.
        head_dim: usize,
        /// Runs of consecutive tokens, all of one length, that do not see each other.
        groups: usize,
    },
    /// A pointwise function.
    Table(Activation),
    /// Sum of two values of one shape.
    Add,
    /// Channels of the first value, then those of the second; both of one extent.
    Concat,
    /// Puts a constant token in front of the others.
    ClassToken(Vec<f32>),
    /// One token of many, by its index.
    Token(usize),
    /// Mean over all tokens.
    GlobalAvgPool,
    /// Reorders a map into runs of tokens, one for each place in a `patch x patch` square: token
    /// `(place, patch)`, both in raster order. Height and width are multiples of `patch`.
    Unfold {
        /// Edge of a patch.
        patch: usize,
    },
    /// The inverse of [`Op::Unfold`].
    Fold {
        /// Edge of a patch.
        patch: usize,
        /// Height of the map.
        height: usize,
        /// Width of the map.
        width: usize,
    },
    /// Sequence pooling: softmax over tokens of `weights . token + bias`, then the weighted sum.
    SeqPool {
        /// Scoring weights `[channels]`.
        weights: Vec<f32>,
        /// Scoring bias (cancels in the softmax).
        bias: f32,
    },
}

/// One operation with its operands and its result's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Dotted name, as in the checkpoint where there is one (`blocks.0.attn.qkv`).
    pub name: String,
    /// The operation.
    pub op: Op,
    /// Operands; each is an earlier node.
    pub inputs: Vec<NodeId>,
    /// Shape of the result.
    pub shape: Shape,
}

/// A whole network; the last node gives the logits (one token of `classes` channels).
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Model name, for reports (`cct_2_3x2`).
    pub name: String,
    /// Input description.
    pub image: ImageSpec,
    /// Class names, in logit order; empty when unknown.
    pub labels: Vec<String>,
    /// Nodes in execution order.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// A graph that holds only its input node.
    #[must_use]
    pub fn new(name: &str, image: ImageSpec, labels: Vec<String>) -> Self {
        let shape = image.shape;
        let input = Node { name: "input".into(), op: Op::Input, inputs: vec![], shape };
        Self { name: name.into(), image, labels, nodes: vec![input] }
    }

    /// Appends a node and returns its id. The shape follows from the operands.
    ///
    /// # Panics
    /// If an operand does not exist or a constant does not fit its operand: a lowering bug.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        let name = name.into();
        let first = self.nodes[inputs[0]].shape;
        let shape = match &op {
            Op::Input => panic!("{name}: a graph has one input"),
            Op::Conv(conv) => conv.output_shape(first, &name),
            Op::AddConstant(values) => {
                assert_eq!(values.len(), first.len(), "{name}: constant of another shape");
                first
            }
            Op::LayerNorm(norm) => {
                assert_eq!(norm.gamma.len(), first.channels, "{name}: gamma");
                assert_eq!(norm.beta.len(), first.channels, "{name}: beta");
                first
            }
            Op::Linear(linear) => {
                let out = linear.weights.len() / first.channels;
                assert_eq!(out * first.channels, linear.weights.len(), "{name}: weights");
                assert!(linear.bias.as_ref().is_none_or(|b| b.len() == out), "{name}: bias");
                Shape { channels: out, ..first }
            }
            Op::Attention { heads, head_dim, groups } => {
                assert_eq!(3 * heads * head_dim, first.channels, "{name}: qkv width");
                assert_eq!(first.tokens() % groups, 0, "{name}: groups");
                Shape { channels: heads * head_dim, ..first }
            }
            Op::Table(_) => first,
            Op::Add => {
                assert_eq!(first, self.nodes[inputs[1]].shape, "{name}: operands differ");
                first
            }
            Op::SeqPool { weights, .. } => {
                assert_eq!(weights.len(), first.channels, "{name}: scoring weights");
                Shape::map(1, 1, first.channels)
            }
            Op::Concat => {
                let second = self.nodes[inputs[1]].shape;
                let extent = |shape: Shape| (shape.height, shape.width);
                assert_eq!(extent(first), extent(second), "{name}: extents differ");
                Shape { channels: first.channels + second.channels, ..first }
            }
            Op::ClassToken(token) => {
                assert_eq!(token.len(), first.channels, "{name}: token of another width");
                Shape::map(first.tokens() + 1, 1, first.channels)
            }
            Op::Token(index) => {
                assert!(*index < first.tokens(), "{name}: no such token");
                Shape::map(1, 1, first.channels)
            }
            Op::GlobalAvgPool => Shape::map(1, 1, first.channels),
            Op::Unfold { patch } => {
                assert_eq!((first.height % patch, first.width % patch), (0, 0), "{name}: extent");
                Shape::map(first.tokens(), 1, first.channels)
            }
            Op::Fold { patch, height, width } => {
                assert_eq!((height % patch, width % patch), (0, 0), "{name}: extent");
                assert_eq!(height * width, first.tokens(), "{name}: extent");
                Shape::map(*height, *width, first.channels)
            }
        };
        self.nodes.push(Node { name, op, inputs: inputs.to_vec(), shape });
        self.nodes.len() - 1
    }

    /// Multiply-accumulates of one inference: convolutions, linear layers, both attention
    /// products and sequence pooling.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let macs = self.nodes.iter().map(|node| {
            let input = node.inputs.first().map(|&i| self.nodes[i].shape);
            let Some(input) = input else { return 0 };
            match &node.op {
                Op::Conv(conv) => {
                    let (h, w) = conv.map_size(input);
                    h * w * conv.weights.len()
                }
                Op::Linear(linear) => input.tokens() * linear.weights.len(),
                Op::Attention { heads, head_dim, groups } => {
                    2 * input.tokens() * (input.tokens() / groups) * heads * head_dim
                }
                Op::SeqPool { .. } => 2 * input.len(),
                _ => 0,
            }
        });
        macs.sum::<usize>() as u64
    }

    /// Number of constants (parameters, frozen positional embeddings included).
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let count = self.nodes.iter().map(|node| match &node.op {
            Op::Conv(c) => c.weights.len() + c.bias.as_ref().map_or(0, Vec::len),
            Op::Linear(l) => l.weights.len() + l.bias.as_ref().map_or(0, Vec::len),
            Op::AddConstant(v) => v.len(),
            Op::LayerNorm(n) => n.gamma.len() + n.beta.len(),
            Op::SeqPool { weights, .. } => weights.len() + 1,
            Op::ClassToken(token) => token.len(),
            Op::Input
            | Op::Attention { .. }
            | Op::Table(_)
            | Op::Add
            | Op::Concat
            | Op::Token(_)
            | Op::GlobalAvgPool
            | Op::Unfold { .. }
            | Op::Fold { .. } => 0,
        });
        count.sum::<usize>() as u64
    }
}

impl Conv {
    /// Height and width of the convolution's own map, before pooling.
    #[must_use]
    pub fn map_size(&self, input: Shape) -> (usize, usize) {
        let size = |n: usize| (n + 2 * self.padding - self.kernel) / self.stride + 1;
        (size(input.height), size(input.width))
    }

    fn output_shape(&self, input: Shape, name: &str) -> Shape {
        assert_eq!(input.channels % self.groups, 0, "{name}: groups");
        let taps = self.kernel * self.kernel * input.channels / self.groups;
        let out = self.weights.len() / taps;
        assert_eq!(out % self.groups, 0, "{name}: groups");
        assert_eq!(out * taps, self.weights.len(), "{name}: weights");
        assert!(self.bias.as_ref().is_none_or(|b| b.len() == out), "{name}: bias");
        let (mut h, mut w) = self.map_size(input);
        if let Some(pool) = self.pool {
            (h, w) = (pool.steps(h), pool.steps(w));
        }
        Shape::map(h, w, out)
    }
}

/// Index in the map, in raster order, of every token of an unfolded one.
#[must_use]
pub fn unfolded(patch: usize, height: usize, width: usize) -> Vec<usize> {
    let columns = width / patch;
    let token = |place: usize, index: usize| {
        let row = index / columns * patch + place / patch;
        row * width + index % columns * patch + place % patch
    };
    let patches = height / patch * columns;
    (0..patch * patch)
        .flat_map(|place| (0..patches).map(move |index| token(place, index)))
        .collect()
}
