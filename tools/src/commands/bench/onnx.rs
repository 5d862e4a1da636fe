//! A graph as an ONNX model for one image, in the operators that other engines fuse and quantize
//! best: maps are `[1, channels, height, width]`, tokens a matrix.

use picovit_compiler::graph::{Activation, Conv, Graph, LayerNorm, Linear, NodeId, Op, unfolded};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// The first operator set with layer normalisation.
const OPERATORS: i64 = 17;
/// The file format that belongs to it.
const FILE_FORMAT: i64 = 8;

/// The model of a graph. Its input is the normalised image, its output the logits.
pub fn model(graph: &Graph) -> ModelProto {
    let mut writer = Writer { graph, proto: GraphProto::default(), values: Vec::new() };
    for id in 0..graph.nodes.len() {
        let value = writer.op(id);
        writer.values.push(value);
    }
    let last = graph.nodes.len() - 1;
    let logits = writer.tokens(last);
    let image = graph.image.shape;
    let mut proto = writer.proto;
    proto.name.clone_from(&graph.name);
    proto.input = vec![info(INPUT, &[1, image.channels, image.height, image.width])];
    proto.output = vec![info(&logits, &[1, graph.nodes[last].shape.channels])];
    ModelProto {
        ir_version: FILE_FORMAT,
        producer_name: "picovit".into(),
        opset_import: vec![OperatorSetIdProto { version: OPERATORS, ..Default::default() }],
        graph: Some(proto),
        ..Default::default()
    }
}

/// Name of the input.
const INPUT: &str = "image";

/// Where a value is, in one order or in both.
#[derive(Clone, Debug, Default)]
struct Value {
    map: Option<String>,
    tokens: Option<String>,
}

impl Value {
    fn of_map(name: String) -> Self {
        Self { map: Some(name), tokens: None }
    }

    fn of_tokens(name: String) -> Self {
        Self { map: None, tokens: Some(name) }
    }
}

/// An image of raw pixels as the model takes it.
pub fn input(graph: &Graph, pixels: &[u8]) -> Vec<f32> {
    let values = graph.image.normalize(pixels);
    let channels = graph.image.shape.channels;
    let plane = |channel| values.iter().copied().skip(channel).step_by(channels);
    (0..channels).flat_map(plane).collect()
}

struct Writer<'g> {
    graph: &'g Graph,
    proto: GraphProto,
    values: Vec<Value>,
}

impl Writer<'_> {
    fn op(&mut self, id: NodeId) -> Value {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let name = format!("{}.{id}", node.name);
        let Some(&first) = node.inputs.first() else { return Value::of_map(INPUT.into()) };
        let shape = graph.nodes[first].shape;
        match &node.op {
            Op::Input => Value::of_map(INPUT.into()),
            Op::Conv(conv) => {
                let x = self.map(first);
                Value::of_map(self.conv(&name, conv, shape.channels, &x))
            }
            Op::Table(activation) => self.pointwise(first, |writer, x| match activation {
                Activation::Gelu => writer.gelu(&name, x),
                Activation::Silu => {
                    let gate = writer.node(&format!("{name}.gate"), "Sigmoid", &[x], vec![]);
                    writer.node(&name, "Mul", &[x, &gate], vec![])
                }
            }),
            Op::Add => {
                let second = node.inputs[1];
                let maps = [first, second].map(|id| self.values[id].map.clone());
                if let [Some(a), Some(b)] = maps {
                    return Value::of_map(self.node(&name, "Add", &[&a, &b], vec![]));
                }
                let (a, b) = (self.tokens(first), self.tokens(second));
                Value::of_tokens(self.node(&name, "Add", &[&a, &b], vec![]))
            }
            Op::Concat => {
                let (a, b) = (self.map(first), self.map(node.inputs[1]));
                Value::of_map(self.node(&name, "Concat", &[&a, &b], vec![int("axis", 1)]))
            }
            Op::Unfold { patch } => {
                let x = self.tokens(first);
                let order = unfolded(*patch, shape.height, shape.width);
                Value::of_tokens(self.gather(&name, &x, &order))
            }
            Op::Fold { patch, height, width } => {
                let x = self.tokens(first);
                let mut order = vec![0; height * width];
                let places = unfolded(*patch, *height, *width);
                places.into_iter().enumerate().for_each(|(token, place)| order[place] = token);
                Value::of_tokens(self.gather(&name, &x, &order))
            }
            op => {
                let x = self.tokens(first);
                Value::of_tokens(self.token_op(&name, op, &x, shape.tokens(), shape.channels))
            }
        }
    }

    /// Operations on a matrix of `count` tokens.
    fn token_op(&mut self, name: &str, op: &Op, x: &str, count: usize, channels: usize) -> String {
        match op {
            Op::AddConstant(values) => {
                let values = self.floats(name, &[count, channels], values.clone());
                self.node(name, "Add", &[x, &values], vec![])
            }
            Op::LayerNorm(norm) => self.layer_norm(name, norm, x),
            Op::Linear(linear) => self.linear(name, linear, channels, x),
            Op::Attention { heads, head_dim, groups } => {
                let shape = [*groups, count / groups, *heads, *head_dim];
                self.attention(name, shape, x)
            }
            Op::ClassToken(token) => {
                let token = self.floats(name, &[1, channels], token.clone());
                self.node(name, "Concat", &[&token, x], vec![int("axis", 0)])
            }
            Op::Token(index) => self.gather(name, x, &[*index]),
            Op::GlobalAvgPool => {
                self.node(name, "ReduceMean", &[x], vec![ints("axes", &[0]), int("keepdims", 1)])
            }
            Op::SeqPool { weights, bias } => {
                let score = Linear { weights: weights.clone(), bias: Some(vec![*bias]) };
                let scores = self.linear(&format!("{name}.score"), &score, channels, x);
                let scores = self.node(
                    &format!("{name}.softmax"),
                    "Softmax",
                    &[&scores],
                    vec![int("axis", 0)],
                );
                let scores = self.transpose(&format!("{name}.row"), &scores, &[1, 0]);
                self.node(name, "MatMul", &[&scores, x], vec![])
            }
            _ => {
                unreachable!("{name}: not an operation on tokens")
            }
        }
    }

    fn conv(&mut self, name: &str, conv: &Conv, channels: usize, x: &str) -> String {
        let taps = conv.kernel * conv.kernel;
        let depth = channels / conv.groups;
        let filters = conv.weights.chunks_exact(taps * depth);
        let outputs = filters.len();
        // From [kernel][kernel][channels] to [channels][kernel][kernel].
        let weights = filters.flat_map(|filter| {
            let place = move |i: usize| filter[i % taps * depth + i / taps];
            (0..taps * depth).map(place)
        });
        let weights = weights.collect();
        let dims = [outputs, depth, conv.kernel, conv.kernel];
        let mut inputs = vec![x.to_owned(), self.floats(&format!("{name}.weight"), &dims, weights)];
        if let Some(bias) = &conv.bias {
            inputs.push(self.floats(&format!("{name}.bias"), &[outputs], bias.clone()));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![
            ints("kernel_shape", &[conv.kernel; 2]),
            ints("strides", &[conv.stride; 2]),
            ints("pads", &[conv.padding; 4]),
            int("group", conv.groups),
        ];
        let mut x = self.node(&format!("{name}.conv"), "Conv", &inputs, attributes);
        if conv.relu {
            x = self.node(&format!("{name}.relu"), "Relu", &[&x], vec![]);
        }
        if let Some(pool) = conv.pool {
            let (before, after) = (pool.padding, pool.padding_after);
            let attributes = vec![
                ints("kernel_shape", &[pool.kernel; 2]),
                ints("strides", &[pool.stride; 2]),
                ints("pads", &[before, before, after, after]),
            ];
            x = self.node(&format!("{name}.pool"), "MaxPool", &[&x], attributes);
        }
        x
    }

    fn linear(&mut self, name: &str, linear: &Linear, inputs: usize, x: &str) -> String {
        let outputs = linear.weights.len() / inputs;
        let weights = &linear.weights;
        let columns = (0..weights.len()).map(|i| weights[i % outputs * inputs + i / outputs]);
        let columns = columns.collect();
        let weights = self.floats(&format!("{name}.weight"), &[inputs, outputs], columns);
        match &linear.bias {
            Some(bias) => {
                let bias = self.floats(&format!("{name}.bias"), &[outputs], bias.clone());
                self.node(name, "Gemm", &[x, &weights, &bias], vec![])
            }
            None => self.node(name, "MatMul", &[x, &weights], vec![]),
        }
    }

    fn layer_norm(&mut self, name: &str, norm: &LayerNorm, x: &str) -> String {
        let gamma = self.floats(&format!("{name}.gamma"), &[norm.gamma.len()], norm.gamma.clone());
        let beta = self.floats(&format!("{name}.beta"), &[norm.beta.len()], norm.beta.clone());
        let epsilon = AttributeProto {
            name: "epsilon".into(),
            r#type: AttributeType::Float.into(),
            f: norm.epsilon,
            ..Default::default()
        };
        self.node(name, "LayerNormalization", &[x, &gamma, &beta], vec![epsilon])
    }

    /// The exact form, as PyTorch writes it: ONNX Runtime makes one operator of it.
    fn gelu(&mut self, name: &str, x: &str) -> String {
        let constants = [("sqrt2", std::f32::consts::SQRT_2), ("one", 1.0), ("half", 0.5)];
        let [root, one, half] =
            constants.map(|(what, v)| self.floats(&format!("{name}.{what}"), &[], vec![v]));
        let y = self.node(&format!("{name}.div"), "Div", &[x, &root], vec![]);
        let y = self.node(&format!("{name}.erf"), "Erf", &[&y], vec![]);
        let y = self.node(&format!("{name}.add"), "Add", &[&y, &one], vec![]);
        let y = self.node(&format!("{name}.mul"), "Mul", &[x, &y], vec![]);
        self.node(name, "Mul", &[&y, &half], vec![])
    }

    /// `[groups, tokens, heads, head_dim]`.
    fn attention(&mut self, name: &str, shape: [usize; 4], qkv: &str) -> String {
        let [groups, tokens, heads, head_dim] = shape;
        let inner = heads * head_dim;
        let parts = ["query", "key", "value"].map(|part| format!("{name}.{part}"));
        self.proto.node.push(NodeProto {
            name: format!("{name}.split"),
            op_type: "Split".into(),
            input: vec![qkv.to_owned()],
            output: parts.to_vec(),
            attribute: vec![int("axis", 1)],
            ..Default::default()
        });
        // Keys transposed.
        let orders = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]];
        let [query, key, value] = std::array::from_fn(|part| {
            let x = self.reshape(&format!("{}.heads", parts[part]), &parts[part], &shape);
            self.transpose(&format!("{}.order", parts[part]), &x, &orders[part])
        });
        let scale = (head_dim as f32).powf(-0.5);
        let scale = self.floats(&format!("{name}.scale"), &[], vec![scale]);
        let query = self.node(&format!("{name}.scaled"), "Mul", &[&query, &scale], vec![]);
        let scores = self.node(&format!("{name}.scores"), "MatMul", &[&query, &key], vec![]);
        let scores =
            self.node(&format!("{name}.softmax"), "Softmax", &[&scores], vec![int("axis", 3)]);
        let mixed = self.node(&format!("{name}.mixed"), "MatMul", &[&scores, &value], vec![]);
        let mixed = self.transpose(&format!("{name}.tokens"), &mixed, &[0, 2, 1, 3]);
        self.reshape(name, &mixed, &[groups * tokens, inner])
    }

    /// Applies a pointwise function to the order that there is.
    fn pointwise(&mut self, id: NodeId, apply: impl FnOnce(&mut Self, &str) -> String) -> Value {
        match self.values[id].clone() {
            Value { map: Some(x), .. } => Value::of_map(apply(self, &x)),
            Value { tokens, .. } => Value::of_tokens(apply(self, &tokens.unwrap_or_default())),
        }
    }

    /// A value as `[tokens, channels]`.
    fn tokens(&mut self, id: NodeId) -> String {
        if let Some(name) = &self.values[id].tokens {
            return name.clone();
        }
        let x = self.map(id);
        let shape = self.graph.nodes[id].shape;
        let x = self.reshape(&format!("{x}.rows"), &x, &[shape.channels, shape.tokens()]);
        let x = self.transpose(&format!("{x}.transposed"), &x, &[1, 0]);
        self.values[id].tokens = Some(x.clone());
        x
    }

    /// A value as `[1, channels, height, width]`.
    fn map(&mut self, id: NodeId) -> String {
        if let Some(name) = &self.values[id].map {
            return name.clone();
        }
        let x = self.tokens(id);
        let shape = self.graph.nodes[id].shape;
        let x = self.transpose(&format!("{x}.transposed"), &x, &[1, 0]);
        let dims = [1, shape.channels, shape.height, shape.width];
        let x = self.reshape(&format!("{x}.map"), &x, &dims);
        self.values[id].map = Some(x.clone());
        x
    }

    fn gather(&mut self, name: &str, x: &str, rows: &[usize]) -> String {
        let rows = self.integers(&format!("{name}.rows"), rows);
        self.node(name, "Gather", &[x, &rows], vec![int("axis", 0)])
    }

    fn reshape(&mut self, name: &str, x: &str, shape: &[usize]) -> String {
        let shape = self.integers(&format!("{name}.shape"), shape);
        self.node(name, "Reshape", &[x, &shape], vec![])
    }

    fn transpose(&mut self, name: &str, x: &str, order: &[usize]) -> String {
        self.node(name, "Transpose", &[x], vec![ints("perm", order)])
    }

    /// Appends a node; its result has its name.
    fn node(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.proto.node.push(NodeProto {
            name: name.to_owned(),
            op_type: op.to_owned(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![name.to_owned()],
            attribute: attributes,
            ..Default::default()
        });
        name.to_owned()
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: Vec<f32>) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, dims, DataType::Float, bytes)
    }

    fn integers(&mut self, name: &str, values: &[usize]) -> String {
        let bytes = values.iter().flat_map(|&value| (value as i64).to_le_bytes()).collect();
        self.constant(name, &[values.len()], DataType::Int64, bytes)
    }

    fn constant(&mut self, name: &str, dims: &[usize], kind: DataType, bytes: Vec<u8>) -> String {
        let name = format!("{name}.constant");
        self.proto.initializer.push(TensorProto {
            name: name.clone(),
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: kind.into(),
            raw_data: bytes,
            ..Default::default()
        });
        name
    }
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int.into(),
        i: value as i64,
        ..Default::default()
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints.into(),
        ints: values.iter().map(|&value| value as i64).collect(),
        ..Default::default()
    }
}

/// Name and shape of an input or output.
fn info(name: &str, dims: &[usize]) -> ValueInfoProto {
    let dim = dims.iter().map(|&dim| Dimension {
        value: Some(dimension::Value::DimValue(dim as i64)),
        ..Default::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float.into(),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    let value = Some(type_proto::Value::TensorType(tensor));
    let r#type = Some(TypeProto { value, ..Default::default() });
    ValueInfoProto { name: name.into(), r#type, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use picovit_compiler::Executor;

    use super::super::peer::Peer;
    use super::super::tract::Tract;
    use super::*;

    /// Between them, the models that ship have every operation.
    #[test]
    fn the_model_computes_what_the_graph_does() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        for name in ["cct_2_3x2", "cvt_2_4", "vit_lite_2_4", "cct_2_3x2_keras", "mobilevit_xxs"] {
            let checkpoint = models.join(format!("{name}_fmnist/best.mpk"));
            let (graph, _) = picovit_models::load_graph(&checkpoint).unwrap();
            let shape = graph.image.shape;
            let pixels: Vec<u8> = (0..shape.len()).map(|i| (i * i / 7 % 256) as u8).collect();
            let image = input(&graph, &pixels);
            let dims = [1, shape.channels, shape.height, shape.width];
            let logits = Tract::new(&model(&graph), &[image], dims).unwrap().logits().unwrap();
            let values = Executor::new(&graph).run_pixels(&pixels);
            let largest = values.logits().iter().fold(1.0f32, |largest, v| largest.max(v.abs()));
            assert_eq!(logits[0].len(), values.logits().len(), "{name}");
            for (a, b) in logits[0].iter().zip(values.logits()) {
                assert!((a - b).abs() <= 1e-4 * largest, "{name}: {a}, the graph gives {b}");
            }
        }
    }
}
