use super::softmax::{softmax_weights, weight_sum};
use super::{
    Attention, AttentionTrace, Conv, Embed, Head, Matrix, Mlp, MlpTrace, SeqPool, SeqPoolTrace,
};

/// A whole network: what an artifact says, without where it says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Input channels.
    pub channels: usize,
    /// Number of logits.
    pub classes: usize,
    /// `[1024]`: the table of exponentials.
    pub exp_table: Vec<u8>,
    /// Multiplier of logit differences, for class probabilities.
    pub logit_exp_mult: i32,
    /// Left shift of logit differences.
    pub logit_shift: u32,
    /// The operations, each working on the output of the one before.
    pub ops: Vec<Op>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Section 4.
    Conv(Conv),
    /// Section 5.
    Embed(Embed),
    /// Section 8.
    Attention(Attention),
    /// Section 9.
    Mlp(Mlp),
    /// Section 10.
    SeqPool(SeqPool),
    /// Section 11.
    Head(Head),
}

/// A tensor between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// A map or its tokens.
    I8(Matrix<i8>),
    /// The residual stream, the pooled token or the logits.
    I16(Matrix<i16>),
}

/// What one operation computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpTrace {
    /// The output map.
    Conv(Matrix<i8>),
    /// The residual stream.
    Embed(Matrix<i16>),
    /// All intermediate tensors.
    Attention(AttentionTrace),
    /// All intermediate tensors.
    Mlp(MlpTrace),
    /// All intermediate tensors.
    SeqPool(SeqPoolTrace),
    /// The logits.
    Head(Matrix<i16>),
}

impl OpTrace {
    /// The output of the operation.
    #[must_use]
    pub fn output(&self) -> Values {
        match self {
            Self::Conv(map) => Values::I8(map.clone()),
            Self::Embed(x) | Self::Head(x) => Values::I16(x.clone()),
            Self::Attention(trace) => Values::I16(trace.output.clone()),
            Self::Mlp(trace) => Values::I16(trace.output.clone()),
            Self::SeqPool(trace) => Values::I16(trace.output.clone()),
        }
    }
}

impl Op {
    fn run(&self, input: &Values, exp_table: &[u8]) -> OpTrace {
        match (self, input) {
            (Self::Conv(op), Values::I8(map)) => OpTrace::Conv(op.run(map)),
            (Self::Embed(op), Values::I8(map)) => OpTrace::Embed(op.run(map)),
            (Self::Attention(op), Values::I16(x)) => OpTrace::Attention(op.run(x, exp_table)),
            (Self::Mlp(op), Values::I16(x)) => OpTrace::Mlp(op.run(x)),
            (Self::SeqPool(op), Values::I16(x)) => OpTrace::SeqPool(op.run(x, exp_table)),
            (Self::Head(op), Values::I16(x)) => OpTrace::Head(op.run(x)),
            _ => panic!("an operation on the wrong type of tensor"),
        }
    }
}

impl Network {
    /// Runs the operations in order and keeps everything they compute.
    ///
    /// # Panics
    /// If an operation does not fit the output of the one before, or overflows.
    #[must_use]
    pub fn trace(&self, input: &[i8]) -> Vec<OpTrace> {
        let pixels = Matrix::new(self.height * self.width, self.channels, input.to_vec());
        let mut values = Values::I8(pixels);
        let mut traces = Vec::new();
        for op in &self.ops {
            let trace = op.run(&values, &self.exp_table);
            values = trace.output();
            traces.push(trace);
        }
        traces
    }

    /// The logits.
    ///
    /// # Panics
    /// As [`Self::trace`], or if the last operation is not a classifier.
    #[must_use]
    pub fn run(&self, input: &[i8]) -> Vec<i16> {
        match self.trace(input).pop() {
            Some(OpTrace::Head(logits)) => logits.data().to_vec(),
            _ => panic!("the network does not end in a classifier"),
        }
    }

    /// Section 12: class probabilities in steps of 1/65535.
    #[must_use]
    pub fn probabilities(&self, logits: &[i16]) -> Vec<u16> {
        let scores: Vec<i32> = logits.iter().map(|&logit| i32::from(logit)).collect();
        let e = softmax_weights(&scores, self.logit_exp_mult, self.logit_shift, &self.exp_table);
        let d = weight_sum(&e);
        e.iter().map(|&e| ((u32::from(e) * 65535 + d / 2) / d) as u16).collect()
    }

    /// Bytes of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.channels
    }
}
