//! Plain f32 execution of a graph: the float side of calibration and drift.

use std::borrow::Cow;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};

use crate::graph::{Activation, Conv, Graph, LayerNorm, Linear, Node, Op, Pool, Shape, unfolded};

/// The value of every node for one image, row-major `[tokens][channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Vec<Vec<f32>>);

impl Values {
    /// The value of a node.
    #[must_use]
    pub fn node(&self, id: usize) -> &[f32] {
        &self.0[id]
    }

    /// The logits: the value of the last node.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        self.0.last().map_or(&[], Vec::as_slice)
    }
}

/// Runs a graph in f32.
#[derive(Clone, Copy, Debug)]
pub struct Executor<'g> {
    graph: &'g Graph,
}

impl<'g> Executor<'g> {
    /// An executor of this graph.
    #[must_use]
    pub fn new(graph: &'g Graph) -> Self {
        Self { graph }
    }

    /// All values for an image of raw pixels, `[height][width][channels]`.
    #[must_use]
    pub fn run_pixels(&self, pixels: &[u8]) -> Values {
        self.run(self.graph.image.normalize(pixels))
    }

    /// All values for a normalised image, `[height][width][channels]`.
    ///
    /// # Panics
    /// If the image does not have the graph's input size.
    #[must_use]
    pub fn run(&self, image: Vec<f32>) -> Values {
        let nodes = &self.graph.nodes;
        assert_eq!(image.len(), nodes[0].shape.len(), "image of another size");
        let mut values = Vec::with_capacity(nodes.len());
        values.push(image);
        for node in &nodes[1..] {
            let value = self.node(node, &values);
            debug_assert_eq!(value.len(), node.shape.len(), "{}", node.name);
            values.push(value);
        }
        Values(values)
    }

    /// Inputs of an output of a layer that multiplies all of them with a matrix: a linear layer, or a
    /// convolution of one group.
    pub(crate) fn layer_inputs(&self, id: usize) -> Option<usize> {
        let node = &self.graph.nodes[id];
        let shape = self.graph.nodes[*node.inputs.first()?].shape;
        match &node.op {
            Op::Linear(_) => Some(shape.channels),
            Op::Conv(conv) if conv.groups == 1 && (shape.channels > 1 || conv.kernel > 1) => {
                Some(conv.kernel * conv.kernel * shape.channels)
            }
            _ => None,
        }
    }

    /// These inputs, in the order of the weights, one row for each output pixel or token.
    pub(crate) fn layer_rows<'v>(&self, id: usize, values: &'v Values) -> Cow<'v, [f32]> {
        let node = &self.graph.nodes[id];
        let x = values.node(node.inputs[0]);
        let shape = self.graph.nodes[node.inputs[0]].shape;
        match &node.op {
            Op::Conv(conv) => patches(conv, x, shape, 0..shape.channels).into(),
            _ => x.into(),
        }
    }

    fn node(&self, node: &Node, values: &[Vec<f32>]) -> Vec<f32> {
        let shape = self.graph.nodes[node.inputs[0]].shape;
        let x = &values[node.inputs[0]];
        match &node.op {
            Op::Input => unreachable!("the input is node 0"),
            Op::Conv(conv) => conv_node(conv, x, shape, node.shape),
            Op::AddConstant(constant) => x.iter().zip(constant).map(|(a, b)| a + b).collect(),
            Op::LayerNorm(norm) => layer_norm(norm, x),
            Op::Linear(linear) => affine(linear, x, shape),
            Op::Attention { heads, head_dim, groups } => {
                let run = Shape::map(shape.tokens() / groups, 1, shape.channels);
                let runs = x.chunks_exact(run.len());
                runs.flat_map(|x| attend(*heads, *head_dim, x, run)).collect()
            }
            Op::Table(activation) => x.iter().map(|&v| activation.apply(v)).collect(),
            Op::Add => x.iter().zip(&values[node.inputs[1]]).map(|(a, b)| a + b).collect(),
            Op::SeqPool { weights, bias } => seq_pool(weights, *bias, x),
            Op::Concat => {
                let second = self.graph.nodes[node.inputs[1]].shape.channels;
                let tokens = x.chunks_exact(shape.channels);
                let tokens = tokens.zip(values[node.inputs[1]].chunks_exact(second));
                tokens.flat_map(|(a, b)| a.iter().chain(b)).copied().collect()
            }
            Op::ClassToken(token) => token.iter().chain(x).copied().collect(),
            Op::Token(index) => x[index * shape.channels..][..shape.channels].to_vec(),
            Op::GlobalAvgPool => average(x, shape),
            Op::Unfold { patch } => {
                let order = unfolded(*patch, shape.height, shape.width);
                let tokens = order.iter().map(|i| &x[i * shape.channels..][..shape.channels]);
                tokens.flatten().copied().collect()
            }
            Op::Fold { patch, height, width } => {
                let mut map = vec![0.0; x.len()];
                let order = unfolded(*patch, *height, *width);
                for (token, i) in x.chunks_exact(shape.channels).zip(order) {
                    map[i * shape.channels..][..shape.channels].copy_from_slice(token);
                }
                map
            }
        }
    }
}

impl crate::graph::ImageSpec {
    /// Raw pixels to what the network sees: `(pixel / 255 - mean) / std`.
    #[must_use]
    pub fn normalize(&self, pixels: &[u8]) -> Vec<f32> {
        let constants = self.mean.iter().zip(&self.std).cycle();
        pixels.iter().zip(constants).map(|(&p, (m, s))| (p as f32 / 255.0 - m) / s).collect()
    }
}

impl Activation {
    /// The function itself.
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::Gelu => {
                let x = x as f64;
                (x * 0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
            }
            Self::Silu => {
                let x = x as f64;
                (x / (1.0 + libm::exp(-x))) as f32
            }
        }
    }
}

/// `out[m][n] += a[m][k] * b[n][k]`, all row-major.
fn matmul_transposed(a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize), out: &mut [f32]) {
    gemm(view(a, (m, k), (k, 1)), view(b, (k, n), (1, k)), out);
}

/// A strided view; the slice may be longer than the view.
fn view(data: &[f32], shape: (usize, usize), strides: (usize, usize)) -> ArrayView2<'_, f32> {
    let length = (shape.0 - 1) * strides.0 + (shape.1 - 1) * strides.1 + 1;
    ArrayView2::from_shape(shape.strides(strides), &data[..length]).expect("view within the slice")
}

/// `out += a * b`.
fn gemm(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, out: &mut [f32]) {
    let shape = (a.nrows(), b.ncols());
    let mut out = ArrayViewMut2::from_shape(shape, out).expect("output of the product's size");
    general_mat_mul(1.0, &a, &b, 1.0, &mut out);
}

fn conv_node(conv: &Conv, x: &[f32], input: Shape, output: Shape) -> Vec<f32> {
    let (height, width) = conv.map_size(input);
    let channels = output.channels;
    let mut map = repeat_bias(conv.bias.as_deref(), height * width, channels);
    let depthwise = conv.groups == input.channels && conv.groups == channels;
    if depthwise && channels > 1 {
        depthwise_map(conv, x, input, width, &mut map);
    } else if conv.groups == 1 {
        let taps = conv.kernel * conv.kernel * input.channels;
        let patches = patches(conv, x, input, 0..input.channels);
        matmul_transposed(&patches, &conv.weights, (height * width, taps, channels), &mut map);
    } else {
        let (each_in, each_out) = (input.channels / conv.groups, channels / conv.groups);
        let taps = conv.kernel * conv.kernel * each_in;
        for (group, weights) in conv.weights.chunks_exact(each_out * taps).enumerate() {
            let patches = patches(conv, x, input, group * each_in..(group + 1) * each_in);
            let mut part = vec![0.0; height * width * each_out];
            matmul_transposed(&patches, weights, (height * width, taps, each_out), &mut part);
            for (pixel, part) in map.chunks_exact_mut(channels).zip(part.chunks_exact(each_out)) {
                let pixel = &mut pixel[group * each_out..][..each_out];
                pixel.iter_mut().zip(part).for_each(|(out, v)| *out += v);
            }
        }
    }
    if conv.relu {
        map.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    match conv.pool {
        Some(pool) => max_pool(pool, &map, Shape::map(height, width, channels), output),
        None => map,
    }
}

/// Input position of a kernel tap, if it is inside.
fn tapped(conv: &Conv, step: usize, tap: usize, size: usize) -> Option<usize> {
    (step * conv.stride + tap).checked_sub(conv.padding).filter(|&position| position < size)
}

/// The patches of all output pixels, `[height * width][kernel][kernel][channels]`.
fn patches(conv: &Conv, x: &[f32], input: Shape, channels: std::ops::Range<usize>) -> Vec<f32> {
    let (height, width) = conv.map_size(input);
    let count = channels.len();
    let taps = conv.kernel * conv.kernel * count;
    let mut patches = vec![0.0; height * width * taps];
    for (index, patch) in patches.chunks_exact_mut(taps).enumerate() {
        for (tap, pixel) in patch.chunks_exact_mut(count).enumerate() {
            let row = tapped(conv, index / width, tap / conv.kernel, input.height);
            let column = tapped(conv, index % width, tap % conv.kernel, input.width);
            if let (Some(row), Some(column)) = (row, column) {
                let start = (row * input.width + column) * input.channels + channels.start;
                pixel.copy_from_slice(&x[start..start + count]);
            }
        }
    }
    patches
}

/// Adds a depthwise convolution, channel by channel, to a map that holds its bias.
fn depthwise_map(conv: &Conv, x: &[f32], input: Shape, width: usize, map: &mut [f32]) {
    let (channels, taps) = (input.channels, conv.kernel * conv.kernel);
    // Tap by tap over all channels, so that the inner loop is contiguous.
    let weights: Vec<Vec<f32>> = (0..taps)
        .map(|tap| (0..channels).map(|c| conv.weights[c * taps + tap]).collect())
        .collect();
    for (index, pixel) in map.chunks_exact_mut(channels).enumerate() {
        for (tap, weights) in weights.iter().enumerate() {
            let row = tapped(conv, index / width, tap / conv.kernel, input.height);
            let column = tapped(conv, index % width, tap % conv.kernel, input.width);
            if let (Some(row), Some(column)) = (row, column) {
                let start = (row * input.width + column) * channels;
                let values = x[start..start + channels].iter().zip(weights);
                pixel.iter_mut().zip(values).for_each(|(out, (v, w))| *out += v * w);
            }
        }
    }
}

fn average(x: &[f32], input: Shape) -> Vec<f32> {
    let mut sums = vec![0.0f64; input.channels];
    for token in x.chunks_exact(input.channels) {
        sums.iter_mut().zip(token).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    sums.into_iter().map(|sum| (sum / input.tokens() as f64) as f32).collect()
}

fn max_pool(pool: Pool, map: &[f32], input: Shape, output: Shape) -> Vec<f32> {
    let mut out = vec![f32::NEG_INFINITY; output.len()];
    let channels = input.channels;
    for (index, pixel) in out.chunks_exact_mut(channels).enumerate() {
        let span = |step: usize, size: usize| {
            let start = step * pool.stride;
            let end = (start + pool.kernel).saturating_sub(pool.padding).min(size);
            start.saturating_sub(pool.padding)..end
        };
        for y in span(index / output.width, input.height) {
            for x in span(index % output.width, input.width) {
                let start = (y * input.width + x) * channels;
                for (out, &v) in pixel.iter_mut().zip(&map[start..start + channels]) {
                    *out = out.max(v);
                }
            }
        }
    }
    out
}

fn repeat_bias(bias: Option<&[f32]>, rows: usize, channels: usize) -> Vec<f32> {
    bias.map_or_else(|| vec![0.0; rows * channels], |bias| bias.repeat(rows))
}

fn affine(linear: &Linear, x: &[f32], input: Shape) -> Vec<f32> {
    let out = linear.weights.len() / input.channels;
    let mut y = repeat_bias(linear.bias.as_deref(), input.tokens(), out);
    matmul_transposed(x, &linear.weights, (input.tokens(), input.channels, out), &mut y);
    y
}

fn layer_norm(norm: &LayerNorm, x: &[f32]) -> Vec<f32> {
    let width = norm.gamma.len();
    let mut y = Vec::with_capacity(x.len());
    for token in x.chunks_exact(width) {
        let n = width as f64;
        let mean = token.iter().map(|&v| v as f64).sum::<f64>() / n;
        let variance = token.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n;
        let factor = 1.0 / (variance + norm.epsilon as f64).sqrt();
        let constants = norm.gamma.iter().zip(&norm.beta);
        y.extend(
            token
                .iter()
                .zip(constants)
                .map(|(&v, (gamma, beta))| ((v as f64 - mean) * factor) as f32 * gamma + beta),
        );
    }
    y
}

/// Softmax in place.
fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for v in row.iter_mut() {
        *v = (*v - max).exp();
        sum += *v;
    }
    row.iter_mut().for_each(|v| *v /= sum);
}

fn attend(heads: usize, head_dim: usize, qkv: &[f32], input: Shape) -> Vec<f32> {
    let (tokens, stride, inner) = (input.tokens(), input.channels, heads * head_dim);
    let scale = (head_dim as f32).powf(-0.5);
    let mut out = vec![0.0; tokens * inner];
    for head in 0..heads {
        let part = |index: usize| &qkv[index * inner + head * head_dim..];
        let mut scores = vec![0.0; tokens * tokens];
        let query = view(part(0), (tokens, head_dim), (stride, 1));
        let keys = view(part(1), (head_dim, tokens), (1, stride));
        gemm(query, keys, &mut scores);
        for row in scores.chunks_exact_mut(tokens) {
            row.iter_mut().for_each(|v| *v *= scale);
            softmax(row);
        }
        let mut sums = vec![0.0; tokens * head_dim];
        let weights = view(&scores, (tokens, tokens), (tokens, 1));
        let values = view(part(2), (tokens, head_dim), (stride, 1));
        gemm(weights, values, &mut sums);
        for (out, sums) in out.chunks_exact_mut(inner).zip(sums.chunks_exact(head_dim)) {
            out[head * head_dim..][..head_dim].copy_from_slice(sums);
        }
    }
    out
}

fn seq_pool(weights: &[f32], bias: f32, x: &[f32]) -> Vec<f32> {
    let score = |token: &[f32]| token.iter().zip(weights).map(|(a, b)| a * b).sum::<f32>() + bias;
    let mut scores: Vec<f32> = x.chunks_exact(weights.len()).map(score).collect();
    softmax(&mut scores);
    let mut out = vec![0.0; weights.len()];
    for (token, score) in x.chunks_exact(weights.len()).zip(scores) {
        out.iter_mut().zip(token).for_each(|(out, v)| *out += score * v);
    }
    out
}
