//! Matching the graph against the engine's operations.

use crate::error::CompileError;
use crate::graph::{Activation, Conv, Graph, NodeId, Op, Shape};

/// An operation of the engine as the graph nodes it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FusedOp {
    /// Convolution with activation and pooling.
    Conv {
        /// The convolution.
        conv: NodeId,
        /// Its activation.
        table: Option<NodeId>,
        /// Concatenation in front of it.
        concat: Option<Concat>,
    },
    /// Expansion, depthwise convolution and projection.
    InvertedResidual {
        /// Pointwise convolution to more channels.
        expand: NodeId,
        /// Its activation.
        table1: NodeId,
        /// Depthwise convolution.
        filter: NodeId,
        /// Its activation.
        table2: NodeId,
        /// Pointwise convolution to the output's channels.
        project: NodeId,
        /// Residual addition.
        add: Option<NodeId>,
    },
    /// Start of a residual stream.
    Embed {
        /// The int8 map the tokens come from.
        map: NodeId,
        /// Pointwise convolution of every token.
        linear: Option<NodeId>,
        /// Unfolding into patches.
        unfold: Option<NodeId>,
        /// Class token.
        class_token: Option<NodeId>,
        /// Addition of the positional embedding.
        positions: Option<NodeId>,
    },
    /// `x + proj(attention(norm(x)))`.
    Attention {
        /// Layer norm.
        norm: NodeId,
        /// Query, key, value projection.
        qkv: NodeId,
        /// Attention.
        attention: NodeId,
        /// Output projection.
        proj: NodeId,
        /// Residual addition.
        add: NodeId,
    },
    /// `r + table2(linear2(table(linear1(norm(x)))))`.
    Mlp {
        /// Layer norm.
        norm: NodeId,
        /// First layer.
        linear1: NodeId,
        /// Activation.
        table: NodeId,
        /// Second layer.
        linear2: NodeId,
        /// Activation of the second layer.
        table2: Option<NodeId>,
        /// Residual addition.
        add: NodeId,
        /// Whether the residual is the norm's output instead of its input.
        replaces: bool,
    },
    /// Layer norm back into a map.
    Fold {
        /// Layer norm.
        norm: NodeId,
        /// Folding of the patches.
        fold: NodeId,
    },
    /// Layer norm and sequence pooling.
    SeqPool {
        /// Layer norm.
        norm: NodeId,
        /// Pooling.
        pool: NodeId,
    },
    /// Layer norm of the class token.
    ClassPool {
        /// Layer norm.
        norm: NodeId,
        /// Choice of the token.
        token: NodeId,
    },
    /// Mean over all pixels.
    AvgPool {
        /// Pooling.
        pool: NodeId,
    },
    /// Classifier.
    Head {
        /// Linear layer.
        linear: NodeId,
    },
}

/// A concatenation of the current map with one kept from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The kept map.
    pub saved: NodeId,
    /// Whether the kept map's channels come first.
    pub saved_first: bool,
}

impl FusedOp {
    /// The graph node whose value the operation gives.
    #[must_use]
    pub fn output(&self) -> NodeId {
        match *self {
            Self::Conv { conv, table, .. } => table.unwrap_or(conv),
            Self::InvertedResidual { project, add, .. } => add.unwrap_or(project),
            Self::Embed { map, linear, unfold, class_token, positions } => {
                positions.or(class_token).or(unfold).or(linear).unwrap_or(map)
            }
            Self::Attention { add, .. } | Self::Mlp { add, .. } => add,
            Self::Fold { fold, .. } => fold,
            Self::SeqPool { pool, .. } | Self::AvgPool { pool } => pool,
            Self::ClassPool { token, .. } => token,
            Self::Head { linear } => linear,
        }
    }

    /// Whether the operation overwrites its input.
    #[must_use]
    pub fn in_place(&self) -> bool {
        match self {
            Self::Attention { .. } | Self::Mlp { .. } => true,
            Self::InvertedResidual { add, .. } => add.is_some(),
            _ => false,
        }
    }
}

/// Covers the whole graph with engine operations.
///
/// # Errors
/// [`CompileError::Unsupported`] names the first node that fits none.
pub fn fuse(graph: &Graph) -> Result<Vec<FusedOp>, CompileError> {
    let mut matcher = Matcher { graph, next: 1 };
    let mut ops = Vec::new();
    loop {
        matcher.maps(&mut ops)?;
        if let Some(pool) = matcher.take(|op| matches!(op, Op::GlobalAvgPool), &[]) {
            ops.push(FusedOp::AvgPool { pool });
            break;
        }
        ops.push(matcher.embed()?);
        if matcher.tokens(&mut ops)? {
            break;
        }
    }
    let linear = matcher.expect(|op| matches!(op, Op::Linear(_)), "the classifier")?;
    ops.push(FusedOp::Head { linear });
    if matcher.next < graph.nodes.len() {
        return Err(matcher.unsupported("nothing may follow the classifier"));
    }
    Ok(ops)
}

struct Matcher<'g> {
    graph: &'g Graph,
    next: NodeId,
}

/// Whether a convolution looks at single pixels and does nothing else.
fn pointwise(conv: &Conv) -> bool {
    let plain = !conv.relu && conv.pool.is_none() && conv.groups == 1;
    plain && (conv.kernel, conv.stride, conv.padding) == (1, 1, 0)
}

impl Matcher<'_> {
    fn op(&self, id: NodeId) -> Option<&Op> {
        self.graph.nodes.get(id).map(|node| &node.op)
    }

    fn shape(&self, id: NodeId) -> Shape {
        self.graph.nodes[id].shape
    }

    /// The next node, if it is of this kind and has these operands (by default the node before).
    fn take(&mut self, kind: impl Fn(&Op) -> bool, inputs: &[NodeId]) -> Option<NodeId> {
        let node = self.graph.nodes.get(self.next)?;
        let before = [self.next - 1];
        let inputs = if inputs.is_empty() { &before } else { inputs };
        let matches = kind(&node.op) && node.inputs == inputs;
        matches.then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn expect(&mut self, kind: impl Fn(&Op) -> bool, what: &str) -> Result<NodeId, CompileError> {
        let id = self.take(kind, &[]);
        id.ok_or_else(|| self.unsupported(&format!("{what} was expected here")))
    }

    /// Tries a pattern; what it took is given back if it does not match.
    fn attempt<T>(&mut self, pattern: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let start = self.next;
        let found = pattern(self);
        if found.is_none() {
            self.next = start;
        }
        found
    }

    /// Everything up to the next residual stream.
    fn maps(&mut self, ops: &mut Vec<FusedOp>) -> Result<(), CompileError> {
        loop {
            let before = self.next - 1;
            let found = self.attempt(Self::inverted_residual).or_else(|| self.attempt(Self::conv));
            let Some(op) = found else { break };
            if let FusedOp::Conv { concat: Some(Concat { saved, .. }), .. } = op {
                let given = ops.iter().position(|op| op.output() == saved);
                let overwritten = |given: usize| ops.get(given + 1).is_some_and(FusedOp::in_place);
                if given.is_none_or(overwritten) {
                    self.next = before + 1;
                    return Err(self.unsupported("the map to concatenate is not kept"));
                }
            }
            ops.push(op);
        }
        if ops.is_empty() {
            return Err(self.unsupported("a network starts with a convolution"));
        }
        Ok(())
    }

    fn conv(&mut self) -> Option<FusedOp> {
        let before = self.next - 1;
        let concat = match (self.op(self.next), &self.graph.nodes.get(self.next)?.inputs[..]) {
            (Some(Op::Concat), &[first, second]) if second == before && first != before => {
                Some(Concat { saved: first, saved_first: true })
            }
            (Some(Op::Concat), &[first, second]) if first == before && second != before => {
                Some(Concat { saved: second, saved_first: false })
            }
            _ => None,
        };
        if concat.is_some() {
            self.next += 1;
        }
        let conv = self.take(|op| matches!(op, Op::Conv(conv) if conv.groups == 1), &[])?;
        let graph = self.graph;
        let spec = graph.conv(conv);
        // Pooling comes before the activation in the graph, behind it in the engine.
        let table = if !spec.relu && spec.pool.is_none() { self.table() } else { None };
        // The start of a residual stream takes its linear layer along.
        let starts = matches!(self.op(self.next), Some(Op::Unfold { .. }));
        if starts && concat.is_none() && table.is_none() && pointwise(spec) {
            return None;
        }
        Some(FusedOp::Conv { conv, table, concat })
    }

    fn table(&mut self) -> Option<NodeId> {
        self.take(|op| matches!(op, Op::Table(_)), &[])
    }

    fn inverted_residual(&mut self) -> Option<FusedOp> {
        let input = self.next - 1;
        let is_pointwise = |op: &Op| matches!(op, Op::Conv(conv) if pointwise(conv));
        let expand = self.take(is_pointwise, &[])?;
        let table1 = self.table()?;
        let hidden = self.shape(expand).channels;
        let depthwise = |op: &Op| match op {
            Op::Conv(conv) => conv.groups == hidden && !conv.relu && conv.pool.is_none(),
            _ => false,
        };
        let filter = self.take(depthwise, &[])?;
        if self.shape(filter).channels != hidden {
            return None;
        }
        let table2 = self.table()?;
        let project = self.take(is_pointwise, &[])?;
        let add = self
            .take(|op| matches!(op, Op::Add), &[input, project])
            .or_else(|| self.take(|op| matches!(op, Op::Add), &[project, input]));
        Some(FusedOp::InvertedResidual { expand, table1, filter, table2, project, add })
    }

    fn embed(&mut self) -> Result<FusedOp, CompileError> {
        let map = self.next - 1;
        let linear = self.take(|op| matches!(op, Op::Conv(conv) if pointwise(conv)), &[]);
        let unfold = self.take(|op| matches!(op, Op::Unfold { .. }), &[]);
        let class_token = self.take(|op| matches!(op, Op::ClassToken(_)), &[]);
        let positions = self.take(|op| matches!(op, Op::AddConstant(_)), &[]);
        Ok(FusedOp::Embed { map, linear, unfold, class_token, positions })
    }

    /// The blocks of a residual stream and its end; whether the classifier follows.
    fn tokens(&mut self, ops: &mut Vec<FusedOp>) -> Result<bool, CompileError> {
        loop {
            let stream = self.next - 1;
            let Some(norm) = self.take(|op| matches!(op, Op::LayerNorm(_)), &[stream]) else {
                return Err(self.unsupported("a layer norm was expected here"));
            };
            if let Some(pool) = self.take(|op| matches!(op, Op::SeqPool { .. }), &[norm]) {
                ops.push(FusedOp::SeqPool { norm, pool });
                return Ok(true);
            }
            if let Some(token) = self.take(|op| matches!(op, Op::Token(0)), &[norm]) {
                ops.push(FusedOp::ClassPool { norm, token });
                return Ok(true);
            }
            if let Some(fold) = self.take(|op| matches!(op, Op::Fold { .. }), &[norm]) {
                ops.push(FusedOp::Fold { norm, fold });
                return Ok(false);
            }
            ops.push(self.sub_block(stream, norm)?);
        }
    }

    fn sub_block(&mut self, stream: NodeId, norm: NodeId) -> Result<FusedOp, CompileError> {
        let linear = |op: &Op| matches!(op, Op::Linear(_));
        let first = self.expect(linear, "a linear layer")?;
        if let Some(attention) = self.take(|op| matches!(op, Op::Attention { .. }), &[]) {
            let proj = self.expect(linear, "the attention's projection")?;
            let add = self.take(|op| matches!(op, Op::Add), &[stream, proj]);
            let add = add.ok_or_else(|| self.unsupported("a residual addition was expected"))?;
            return Ok(FusedOp::Attention { norm, qkv: first, attention, proj, add });
        }
        let table = self.expect(|op| matches!(op, Op::Table(_)), "an activation")?;
        let linear2 = self.expect(linear, "the MLP's second layer")?;
        let table2 = self.table();
        let last = table2.unwrap_or(linear2);
        for (residual, replaces) in [(norm, true), (stream, false)] {
            if let Some(add) = self.take(|op| matches!(op, Op::Add), &[residual, last]) {
                let linear1 = first;
                return Ok(FusedOp::Mlp { norm, linear1, table, linear2, table2, add, replaces });
            }
        }
        Err(self.unsupported("a residual addition was expected"))
    }

    fn unsupported(&self, reason: &str) -> CompileError {
        let node = self.graph.nodes.get(self.next);
        CompileError::Unsupported {
            node: node.map_or_else(|| "end of the graph".into(), |node| node.name.clone()),
            reason: reason.into(),
        }
    }
}

impl Graph {
    /// The activation at a node.
    pub(crate) fn activation(&self, id: NodeId) -> Activation {
        match self.nodes[id].op {
            Op::Table(activation) => activation,
            ref op => unreachable!("fusion gave {op:?} as an activation"),
        }
    }

    /// The convolution at a node.
    pub(crate) fn conv(&self, id: NodeId) -> &Conv {
        match &self.nodes[id].op {
            Op::Conv(conv) => conv,
            op => unreachable!("fusion gave {op:?} as a convolution"),
        }
    }
}
