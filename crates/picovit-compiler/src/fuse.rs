//! Matching the graph against the engine's operations.

use crate::error::CompileError;
use crate::graph::{Graph, NodeId, Op};

/// An operation of the engine as the graph nodes it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FusedOp {
    /// Convolution with activation and pooling.
    Conv {
        /// The convolution.
        conv: NodeId,
    },
    /// Start of the residual stream.
    Embed {
        /// Last convolution.
        tokens: NodeId,
        /// Addition of the positional embedding, if there is one.
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
    /// `r + linear2(table(linear1(norm(x))))`.
    Mlp {
        /// Layer norm.
        norm: NodeId,
        /// First layer.
        linear1: NodeId,
        /// Activation.
        table: NodeId,
        /// Second layer.
        linear2: NodeId,
        /// Residual addition.
        add: NodeId,
        /// Whether the residual is the norm's output instead of its input.
        replaces: bool,
    },
    /// Layer norm and sequence pooling.
    SeqPool {
        /// Layer norm.
        norm: NodeId,
        /// Pooling.
        pool: NodeId,
    },
    /// Classifier.
    Head {
        /// Linear layer.
        linear: NodeId,
    },
}

impl FusedOp {
    /// The graph node whose value the operation gives.
    #[must_use]
    pub fn output(&self) -> NodeId {
        match *self {
            Self::Conv { conv } => conv,
            Self::Embed { tokens, positions } => positions.unwrap_or(tokens),
            Self::Attention { add, .. } | Self::Mlp { add, .. } => add,
            Self::SeqPool { pool, .. } => pool,
            Self::Head { linear } => linear,
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
    while let Some(conv) = matcher.take(|op| matches!(op, Op::Conv(conv) if conv.groups == 1), &[])
    {
        ops.push(FusedOp::Conv { conv });
    }
    let Some(&FusedOp::Conv { conv: tokens }) = ops.last() else {
        return Err(matcher.unsupported("a network starts with a convolution"));
    };
    let positions = matcher.take(|op| matches!(op, Op::AddConstant(_)), &[]);
    ops.push(FusedOp::Embed { tokens, positions });
    loop {
        let stream = matcher.next - 1;
        let Some(norm) = matcher.take(|op| matches!(op, Op::LayerNorm(_)), &[stream]) else {
            return Err(matcher.unsupported("a layer norm was expected here"));
        };
        if let Some(pool) = matcher.take(|op| matches!(op, Op::SeqPool { .. }), &[norm]) {
            ops.push(FusedOp::SeqPool { norm, pool });
            break;
        }
        ops.push(matcher.sub_block(stream, norm)?);
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

impl Matcher<'_> {
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

    fn sub_block(&mut self, stream: NodeId, norm: NodeId) -> Result<FusedOp, CompileError> {
        let linear = |op: &Op| matches!(op, Op::Linear(_));
        let first = self.expect(linear, "a linear layer")?;
        if let Some(attention) = self.take(|op| matches!(op, Op::Attention { groups: 1, .. }), &[])
        {
            let proj = self.expect(linear, "the attention's projection")?;
            let add = self.take(|op| matches!(op, Op::Add), &[stream, proj]);
            let add = add.ok_or_else(|| self.unsupported("a residual addition was expected"))?;
            return Ok(FusedOp::Attention { norm, qkv: first, attention, proj, add });
        }
        let table = self.expect(|op| matches!(op, Op::Table(_)), "an activation")?;
        let linear2 = self.expect(linear, "the MLP's second layer")?;
        for (residual, replaces) in [(norm, true), (stream, false)] {
            if let Some(add) = self.take(|op| matches!(op, Op::Add), &[residual, linear2]) {
                return Ok(FusedOp::Mlp { norm, linear1: first, table, linear2, add, replaces });
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
