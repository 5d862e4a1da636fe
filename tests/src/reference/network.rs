use super::softmax::{softmax_weights, weight_sum};
use super::{
    Attention, AttentionTrace, AvgPool, ClassPool, Conv, ConvTrace, Embed, FloatOp, FloatTrace,
    Fold, Head, InvertedResidual, InvertedResidualTrace, Matrix, Mlp, MlpTrace, SeqPool,
    SeqPoolTrace,
};

/// A whole network: what an artifact says, without where it says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Input height in pixels.
    pub height: usize,
    /// Input width in pixels.
    pub width: usize,
    /// Input channels.
    pub channels: usize,
    /// Number of logits.
    pub classes: usize,
    /// Number format: 0 for int8, 1 for f16, 2 for mixed.
    pub format: u8,
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
#[derive(Clone, Debug, PartialEq)]
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
    /// Section 13.
    InvertedResidual(InvertedResidual),
    /// Section 14.
    Fold(Fold),
    /// Section 15.
    ClassPool(ClassPool),
    /// Section 16.
    AvgPool(AvgPool),
    /// Section 18.
    Float(FloatOp),
}

/// A tensor between two operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// A map.
    I8(Matrix<i8>),
    /// The residual stream, the pooled token or the logits.
    I16(Matrix<i16>),
    /// Any but the logits, on floats.
    F32(Matrix<f32>),
}

/// What one operation computed.
#[derive(Clone, Debug, PartialEq)]
pub enum OpTrace {
    /// All intermediate tensors.
    Conv(ConvTrace),
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
    /// All intermediate tensors.
    InvertedResidual(InvertedResidualTrace),
    /// The output map.
    Fold(Matrix<i8>),
    /// The pooled token.
    ClassPool(Matrix<i16>),
    /// The pooled token.
    AvgPool(Matrix<i16>),
    /// All intermediate tensors.
    Float(FloatTrace),
}

impl OpTrace {
    /// The output of the operation.
    #[must_use]
    pub fn output(&self) -> Values {
        match self {
            Self::Conv(trace) => Values::I8(trace.output.clone()),
            Self::InvertedResidual(trace) => Values::I8(trace.output.clone()),
            Self::Fold(map) => Values::I8(map.clone()),
            Self::Embed(x) | Self::Head(x) | Self::ClassPool(x) | Self::AvgPool(x) => {
                Values::I16(x.clone())
            }
            Self::Attention(trace) => Values::I16(trace.output.clone()),
            Self::Mlp(trace) => Values::I16(trace.output.clone()),
            Self::SeqPool(trace) => Values::I16(trace.output.clone()),
            Self::Float(trace) => trace.output.clone(),
        }
    }
}

impl Op {
    /// Where the operation takes a second input from, if it does.
    #[must_use]
    pub fn second(&self) -> Option<super::Second> {
        match self {
            Self::Conv(op) => op.second,
            Self::Float(op) => op.second(),
            _ => None,
        }
    }

    /// Whether the output takes the place of the input.
    #[must_use]
    pub fn in_place(&self) -> bool {
        match self {
            Self::Attention(_) | Self::Mlp(_) => true,
            Self::InvertedResidual(op) => op.residual.is_some(),
            Self::Float(op) => op.in_place(),
            _ => false,
        }
    }

    fn run(&self, input: &Values, second: Option<&Values>, exp_table: &[u8]) -> OpTrace {
        match (self, input) {
            (Self::Float(op), _) => OpTrace::Float(op.run(input, second)),
            (Self::Conv(op), Values::I8(map)) => {
                let second = second.map(|second| match second {
                    Values::I8(map) => map,
                    _ => panic!("a second input that is not an int8 map"),
                });
                OpTrace::Conv(op.run(map, second))
            }
            (Self::InvertedResidual(op), Values::I8(map)) => OpTrace::InvertedResidual(op.run(map)),
            (Self::Embed(op), Values::I8(map)) => OpTrace::Embed(op.run(map)),
            (Self::AvgPool(op), Values::I8(map)) => OpTrace::AvgPool(op.run(map)),
            (Self::Attention(op), Values::I16(x)) => OpTrace::Attention(op.run(x, exp_table)),
            (Self::Mlp(op), Values::I16(x)) => OpTrace::Mlp(op.run(x)),
            (Self::Fold(op), Values::I16(x)) => OpTrace::Fold(op.run(x)),
            (Self::SeqPool(op), Values::I16(x)) => OpTrace::SeqPool(op.run(x, exp_table)),
            (Self::ClassPool(op), Values::I16(x)) => OpTrace::ClassPool(op.run(x)),
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
        let image = Values::I8(pixels);
        let mut traces: Vec<OpTrace> = Vec::new();
        for op in &self.ops {
            let output = |of: Option<usize>| of.map_or(image.clone(), |i| traces[i].output());
            let second = op.second().map(|second| output(second.of));
            let trace =
                op.run(&output(traces.len().checked_sub(1)), second.as_ref(), &self.exp_table);
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
            Some(OpTrace::Head(logits))
            | Some(OpTrace::Float(FloatTrace { output: Values::I16(logits), .. })) => {
                logits.data().to_vec()
            }
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
