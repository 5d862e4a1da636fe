//! A random small network of every family.

use picovit_compiler::graph::{
    Activation, Conv, Graph, ImageSpec, LayerNorm, Linear, NodeId, Op, Pool, Shape,
};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Pooled convolutions, norms that replace the residual stream, sequence pooling.
    Cct,
    /// Patches, a class token.
    VitLite,
    /// Heads wider than the model's share, two activations in the MLP, uneven pooling.
    KerasCct,
    /// Inverted residuals, unfolded patches, concatenation, a mean over pixels.
    MobileVit,
}

pub const FAMILIES: [Family; 4] =
    [Family::Cct, Family::VitLite, Family::KerasCct, Family::MobileVit];

/// Bytes of an image.
pub const PIXELS: usize = 12 * 8 * 3;
const CLASSES: usize = 7;

struct Random(Xoshiro256PlusPlus);

impl Random {
    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-scale..scale)).collect()
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Op {
        let scale = (3.0 / inputs as f32).sqrt();
        let bias = self.values(outputs, 0.2);
        Op::Linear(Linear { weights: self.values(inputs * outputs, scale), bias: Some(bias) })
    }

    fn norm(&mut self, width: usize) -> Op {
        let gamma = self.values(width, 0.4).iter().map(|v| v + 1.0).collect();
        Op::LayerNorm(LayerNorm { gamma, beta: self.values(width, 0.3), epsilon: 1e-5 })
    }
}

/// The network, on 12x8 RGB images.
pub fn network(family: Family, seed: u64) -> Graph {
    let image = ImageSpec {
        shape: Shape::map(12, 8, 3),
        mean: vec![0.5, 0.4, 0.3],
        std: vec![0.2, 0.25, 0.3],
    };
    let labels = (0..CLASSES).map(|i| format!("class {i}")).collect();
    let random = Random(Xoshiro256PlusPlus::seed_from_u64(seed));
    let mut builder = Builder { random, graph: Graph::new("random", image, labels), last: 0 };
    match family {
        Family::Cct => builder.cct(),
        Family::VitLite => builder.vit_lite(),
        Family::KerasCct => builder.keras_cct(),
        Family::MobileVit => builder.mobile_vit(),
    }
    builder.graph
}

struct Builder {
    random: Random,
    graph: Graph,
    last: NodeId,
}

/// What a convolution looks like.
#[derive(Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
    depthwise: bool,
}

const WIDE: Window = Window { kernel: 3, stride: 1, padding: 1, depthwise: false };
const POINT: Window = Window { kernel: 1, stride: 1, padding: 0, depthwise: false };
const DEPTHWISE: Window = Window { kernel: 3, stride: 1, padding: 1, depthwise: true };

impl Builder {
    fn push(&mut self, name: &str, op: Op) -> NodeId {
        self.last = self.graph.push(name, op, &[self.last]);
        self.last
    }

    fn shape(&self) -> Shape {
        self.graph.nodes[self.last].shape
    }

    fn conv(&mut self, name: &str, outputs: usize, window: Window, pool: Option<Pool>, relu: bool) {
        let Window { kernel, stride, padding, depthwise } = window;
        let channels = self.shape().channels;
        let groups = if depthwise { channels } else { 1 };
        let taps = kernel * kernel * channels / groups;
        let weights = self.random.values(taps * outputs, (4.0 / taps as f32).sqrt());
        let bias = Some(self.random.values(outputs, 0.1));
        let conv = Conv { weights, groups, bias, kernel, stride, padding, relu, pool };
        self.push(name, Op::Conv(conv));
    }

    fn conv_silu(&mut self, name: &str, outputs: usize, window: Window) {
        self.conv(name, outputs, window, None, false);
        self.push(&format!("{name}.act"), Op::Table(Activation::Silu));
    }

    fn linear(&mut self, name: &str, outputs: usize) {
        let op = self.random.linear(self.shape().channels, outputs);
        self.push(name, op);
    }

    fn norm(&mut self, name: &str) -> NodeId {
        let op = self.random.norm(self.shape().channels);
        self.push(name, op)
    }

    fn positions(&mut self) {
        let values = self.random.values(self.shape().len(), 0.3);
        self.push("positions", Op::AddConstant(values));
    }

    fn attention(&mut self, block: usize, heads: usize, head_dim: usize, groups: usize) {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let (stream, width) = (self.last, self.shape().channels);
        self.norm(&name("pre_norm"));
        self.linear(&name("qkv"), 3 * heads * head_dim);
        self.push(&name("attn"), Op::Attention { heads, head_dim, groups });
        self.linear(&name("proj"), width);
        self.last = self.graph.push(name("add1"), Op::Add, &[stream, self.last]);
    }

    fn mlp(&mut self, block: usize, activation: Activation, replaces: bool, twice: bool) {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let (stream, width) = (self.last, self.shape().channels);
        let norm = self.norm(&name("norm1"));
        self.linear(&name("linear1"), 40);
        self.push(&name("act"), Op::Table(activation));
        self.linear(&name("linear2"), width);
        if twice {
            self.push(&name("act2"), Op::Table(activation));
        }
        let residual = if replaces { norm } else { stream };
        self.last = self.graph.push(name("add2"), Op::Add, &[residual, self.last]);
    }

    fn seq_pool(&mut self) {
        self.norm("norm");
        let weights = self.random.values(self.shape().channels, 0.5);
        self.push("attention_pool", Op::SeqPool { weights, bias: 0.3 });
        self.linear("fc", CLASSES);
    }

    /// One pooled and one plain convolution, and blocks of both kinds.
    fn cct(&mut self) {
        let pool = Some(Pool { kernel: 3, stride: 2, padding: 1, padding_after: 1 });
        self.conv("conv.0", 16, WIDE, pool, true);
        self.conv("conv.1", 24, WIDE, None, false);
        self.positions();
        for block in 0..2 {
            self.attention(block, 3, 8, 1);
            self.mlp(block, Activation::Gelu, block == 0, false);
        }
        self.seq_pool();
    }

    fn vit_lite(&mut self) {
        let patches = Window { kernel: 2, stride: 2, padding: 0, depthwise: false };
        self.conv("patches", 24, patches, None, false);
        let token = self.random.values(24, 1.0);
        self.push("class_token", Op::ClassToken(token));
        self.positions();
        for block in 0..2 {
            self.attention(block, 2, 12, 1);
            self.mlp(block, Activation::Gelu, true, false);
        }
        self.norm("norm");
        self.push("token", Op::Token(0));
        self.linear("fc", CLASSES);
    }

    fn keras_cct(&mut self) {
        let pool = Some(Pool { kernel: 3, stride: 2, padding: 1, padding_after: 2 });
        let valid = Window { padding: 0, ..WIDE };
        self.conv("conv.0", 16, valid, pool, true);
        self.conv("conv.1", 24, valid, None, true);
        self.positions();
        for block in 0..2 {
            self.attention(block, 2, 24, 1);
            self.mlp(block, Activation::Gelu, false, true);
        }
        self.seq_pool();
    }

    fn inverted_residual(&mut self, name: &str, outputs: usize, stride: usize) {
        let input = self.last;
        let hidden = 2 * self.shape().channels;
        self.conv_silu(&format!("{name}.expand"), hidden, POINT);
        self.conv_silu(&format!("{name}.filter"), hidden, Window { stride, ..DEPTHWISE });
        self.conv(&format!("{name}.project"), outputs, POINT, None, false);
        if self.graph.nodes[input].shape == self.shape() {
            let add = self.graph.push(format!("{name}.add"), Op::Add, &[input, self.last]);
            self.last = add;
        }
    }

    fn mobile_vit(&mut self) {
        self.conv_silu("stem", 8, WIDE);
        self.inverted_residual("mv2.0", 12, 2);
        self.inverted_residual("mv2.1", 12, 1);
        let input = self.last;
        let map = self.shape();
        self.conv_silu("block.local", 12, WIDE);
        self.conv("block.embed", 16, POINT, None, false);
        self.push("block.unfold", Op::Unfold { patch: 2 });
        for block in 0..2 {
            self.attention(block, 2, 8, 4);
            self.mlp(block, Activation::Silu, false, false);
        }
        self.norm("block.norm");
        self.push("block.fold", Op::Fold { patch: 2, height: map.height, width: map.width });
        self.conv_silu("block.proj", 12, POINT);
        self.last = self.graph.push("block.concat", Op::Concat, &[input, self.last]);
        self.conv_silu("block.fusion", 12, WIDE);
        self.conv_silu("last", 20, POINT);
        self.push("mean", Op::GlobalAvgPool);
        self.linear("fc", CLASSES);
    }
}
