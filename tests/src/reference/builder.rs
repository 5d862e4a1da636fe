use std::ops::Range;

use bytemuck::Pod;
use picovit::format::{self, Packing};

use super::{
    Attention, AvgPool, ClassPool, Conv, Embed, Fold, Head, InvertedResidual, Layer, Matrix, Mlp,
    Network, Norm, Op, Scaling, SeqPool,
};

/// `round(255 * exp(-i / 128))` for `i` in `0..1024`.
#[must_use]
pub fn exp_table() -> Vec<u8> {
    (0..1024).map(|i| (255.0 * (-f64::from(i) / 128.0).exp()).round() as u8).collect()
}

/// CRC-32/ISO-HDLC of an artifact without the field that holds it.
pub(super) fn checksum(artifact: &[u8]) -> u32 {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    digest.update(&artifact[..12]);
    digest.update(&artifact[16..]);
    digest.finalize()
}

/// Writes the right checksum into an artifact, whatever else it holds.
pub fn seal(artifact: &mut [u8]) {
    let sum = checksum(artifact);
    artifact[12..16].copy_from_slice(&sum.to_le_bytes());
}

/// Where [`build`] puts the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every buffer has a place of its own.
    Apart,
    /// Every buffer lies as low as the buffers alive beside it allow, over those that are not.
    Tight,
}

/// The file and the arena while they grow.
pub(super) struct Builder {
    layout: Layout,
    packing: Packing,
    file: Vec<u8>,
    arena: usize,
    /// The buffers of the operation at hand.
    live: Vec<Range<usize>>,
}

impl Builder {
    /// Appends constants at the next multiple of 16.
    pub(super) fn put<T: Pod>(&mut self, values: &[T]) -> u32 {
        self.file.resize(self.file.len().next_multiple_of(16), 0);
        let offset = self.file.len() as u32;
        self.file.extend_from_slice(bytemuck::cast_slice(values));
        offset
    }

    /// Appends weights of a matrix product in the order of the packing: so many matrices one below the
    /// other, each packed by itself.
    fn matrices(&mut self, count: usize, weights: &Matrix<i8>) -> u32 {
        let packing = self.packing;
        assert!(
            packing == Packing::Portable || !weights.data().contains(&-128),
            "-128 has a place in rows only"
        );
        let (rows, columns) = (weights.rows() / count, weights.columns());
        let packed = weights.data().chunks(rows * columns).flat_map(|matrix| {
            let mut packed = vec![0; packing.matrix_bytes(rows, columns)];
            packing.pack(matrix, columns, &mut packed);
            packed
        });
        let packed: Vec<i8> = packed.collect();
        self.put(&packed)
    }

    /// As [`Self::matrices`], of one.
    fn matrix(&mut self, weights: &Matrix<i8>) -> u32 {
        self.matrices(1, weights)
    }

    /// A buffer in the arena, apart from all live ones.
    pub(super) fn buffer(&mut self, bytes: usize) -> u32 {
        let bytes = bytes.next_multiple_of(16);
        let mut offset = match self.layout {
            Layout::Apart => self.arena,
            Layout::Tight => 0,
        };
        let overlaps =
            |offset: usize, live: &Range<usize>| offset < live.end && live.start < offset + bytes;
        while let Some(live) = self.live.iter().find(|live| overlaps(offset, live)) {
            offset = live.end;
        }
        self.live.push(offset..offset + bytes);
        self.arena = self.arena.max(offset + bytes);
        offset as u32
    }

    /// Ends an operation: only these buffers live on.
    fn keep(&mut self, buffers: &[u32]) {
        self.live.retain(|live| buffers.contains(&(live.start as u32)));
    }

    /// The norm's constants.
    fn norm(&mut self, norm: &Norm) -> format::NormRecord {
        format::NormRecord {
            epsilon_low: norm.epsilon as u32,
            epsilon_high: (norm.epsilon >> 32) as u32,
            gain8: self.put(&norm.gain8),
            offset8: self.put(&norm.offset8),
        }
    }

    fn conv(&mut self, op: &Conv, input: u32, input2: u32) -> (format::ConvRecord, u32) {
        let mut record = format::ConvRecord {
            in_height: op.in_height as u16,
            in_width: op.in_width as u16,
            in_channels: op.in_channels as u16,
            out_channels: op.out_channels as u16,
            kernel: op.kernel as u8,
            stride: op.stride as u8,
            padding: op.padding as u8,
            pool_kernel: op.pool_kernel as u8,
            pool_stride: op.pool_stride as u8,
            pool_padding: op.pool_padding as u8,
            pool_padding_after: op.pool_padding_after as u8,
            zero_out: op.zero_out,
            low: op.low,
            zero_in: self.put(&op.zero_in),
            weights: self.matrix(&op.weights),
            bias: self.put(&op.bias),
            mult: self.put(&op.mult),
            table: op.table.as_ref().map_or(0, |table| self.put(table)),
            input2,
            in_channels2: op.second.map_or(0, |second| second.channels as u16),
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_conv(&record, self.packing));
        let (height, width) = op.out_size();
        let output = self.buffer(height * width * op.out_channels);
        record.head = head(1, input, output, scratch);
        (record, output)
    }

    fn embed(&mut self, op: &Embed, input: u32) -> (format::EmbedRecord, u32) {
        let output = self.buffer(2 * op.tokens * op.width);
        let mut record = format::EmbedRecord {
            head: head(2, input, output, 0),
            tokens: op.tokens as u16,
            width: op.width as u16,
            positions: op.positions.as_ref().map_or(0, |positions| self.put(positions.data())),
            in_channels: op.in_channels() as u16,
            columns: op.columns as u16,
            patch: op.patch as u8,
            class_token: op.class_token.into(),
            ..Default::default()
        };
        match &op.scaling {
            Scaling::Plain { zero_in, mult } => (record.zero_in, record.mult) = (*zero_in, *mult),
            Scaling::Channels { zeros, mults } => {
                record.bias = self.put(zeros);
                record.mults = self.put(mults);
            }
            Scaling::Linear { weights, bias, mults, shift } => {
                record.weights = self.matrix(weights);
                record.bias = self.put(bias);
                record.mults = self.put(mults);
                record.shift = *shift as u16;
            }
        }
        let bytes = format::scratch_bytes_embed(&record, self.packing);
        if bytes > 0 {
            record.head.scratch = self.buffer(bytes);
        }
        (record, output)
    }

    fn attention(&mut self, op: &Attention, x: u32) -> format::AttentionRecord {
        let mut record = format::AttentionRecord {
            tokens: op.tokens as u16,
            width: op.width as u16,
            heads: op.heads as u16,
            head_dim: op.head_dim as u16,
            norm: self.norm(&op.norm),
            qkv_weights: self.matrices(3 * op.heads, &op.qkv_weights),
            qkv_bias: self.put(&op.qkv_bias),
            qkv_mult: self.put(&op.qkv_mult),
            exp_mult: self.put(&op.exp_mult),
            out_mult: self.put(&op.out_mult),
            proj_weights: self.matrix(&op.proj_weights),
            proj_bias: self.put(&op.proj_bias),
            proj_mult: self.put(&op.proj_mult),
            score_shift: op.score_shift as u8,
            proj_shift: op.proj_shift as u8,
            groups: op.groups as u16,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_attention(&record, self.packing));
        record.head = head(3, x, x, scratch);
        record
    }

    fn mlp(&mut self, op: &Mlp, x: u32) -> format::MlpRecord {
        let (gain16, offset16) = match &op.gain16 {
            Some(constants) => (self.put(&constants.gain), self.put(&constants.offset)),
            None => (0, 0),
        };
        let mut record = format::MlpRecord {
            tokens: op.tokens as u16,
            width: op.width as u16,
            hidden: op.hidden as u16,
            shift: op.shift as u16,
            norm: self.norm(&op.norm),
            gain16,
            offset16,
            weights1: self.matrix(&op.weights1),
            bias1: self.put(&op.bias1),
            mult1: self.put(&op.mult1),
            zero1: op.zero1,
            table: self.put(&op.table),
            weights2: self.matrix(&op.weights2),
            bias2: self.put(&op.bias2),
            mult2: self.put(&op.mult2),
            table2: op.second.as_ref().map_or(0, |second| self.put(&second.table)),
            zero2: op.second.as_ref().map_or(0, |second| second.zero),
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_mlp(&record, self.packing));
        record.head = head(4, x, x, scratch);
        record
    }

    fn seq_pool(&mut self, op: &SeqPool, input: u32) -> (format::SeqPoolRecord, u32) {
        let mut record = format::SeqPoolRecord {
            tokens: op.tokens as u16,
            width: op.width as u16,
            zero: op.zero,
            norm: self.norm(&op.norm),
            weights: self.put(&op.weights),
            exp_mult: op.exp_mult,
            out_mult_low: op.out_mult as u32,
            out_mult_high: (op.out_mult >> 32) as u32,
            score_shift: op.score_shift as u8,
            out_shift: op.out_shift as u8,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_seq_pool(&record));
        let output = self.buffer(2 * op.width);
        record.head = head(5, input, output, scratch);
        (record, output)
    }

    /// Weights, bias and multipliers.
    fn layer(&mut self, layer: &Layer) -> [u32; 3] {
        [self.matrix(&layer.weights), self.put(&layer.bias), self.put(&layer.mult)]
    }

    fn inverted_residual(
        &mut self,
        op: &InvertedResidual,
        input: u32,
    ) -> (format::InvertedResidualRecord, u32) {
        let [weights1, bias1, mult1] = self.layer(&op.expansion);
        let kernels = &op.depthwise.weights;
        let taps = kernels.columns();
        let weights2 = Matrix::from_fn(taps, kernels.rows(), |tap, j| kernels.row(j)[tap]);
        let weights2 = self.put(weights2.data());
        let [bias2, mult2] = [self.put(&op.depthwise.bias), self.put(&op.depthwise.mult)];
        let [weights3, bias3, mult3] = self.layer(&op.projection);
        let mut record = format::InvertedResidualRecord {
            in_height: op.in_height as u16,
            in_width: op.in_width as u16,
            in_channels: op.in_channels() as u16,
            hidden: op.hidden() as u16,
            out_channels: op.out_channels() as u16,
            kernel: op.kernel as u8,
            stride: op.stride as u8,
            padding: op.padding as u8,
            residual: op.residual.is_some().into(),
            zero1: op.expansion.zero,
            border: op.border,
            zero2: op.depthwise.zero,
            zero_out: op.projection.zero,
            zero_in: op.residual.map_or(0, |residual| residual.zero_in),
            residual_mult: op.residual.map_or(0, |residual| residual.mult),
            weights1,
            bias1,
            mult1,
            table1: self.put(&op.table1),
            weights2,
            bias2,
            mult2,
            table2: self.put(&op.table2),
            weights3,
            bias3,
            mult3,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_inverted_residual(&record, self.packing));
        let output = if op.residual.is_some() {
            input
        } else {
            let (height, width) = op.out_size();
            self.buffer(height * width * op.out_channels())
        };
        record.head = head(7, input, output, scratch);
        (record, output)
    }

    fn fold(&mut self, op: &Fold, input: u32) -> (format::FoldRecord, u32) {
        let output = self.buffer(op.height * op.columns * op.width);
        let record = format::FoldRecord {
            head: head(8, input, output, 0),
            height: op.height as u16,
            columns: op.columns as u16,
            width: op.width as u16,
            patch: op.patch as u16,
            norm: self.norm(&op.norm),
            ..Default::default()
        };
        (record, output)
    }

    fn class_pool(&mut self, op: &ClassPool, input: u32) -> (format::ClassPoolRecord, u32) {
        let output = self.buffer(2 * op.width);
        let record = format::ClassPoolRecord {
            head: head(9, input, output, 0),
            tokens: op.tokens as u16,
            width: op.width as u16,
            epsilon_low: op.epsilon as u32,
            epsilon_high: (op.epsilon >> 32) as u32,
            gain16: self.put(&op.gain16.gain),
            offset16: self.put(&op.gain16.offset),
            ..Default::default()
        };
        (record, output)
    }

    fn avg_pool(&mut self, op: &AvgPool, input: u32) -> (format::AvgPoolRecord, u32) {
        let mut record = format::AvgPoolRecord {
            tokens: op.tokens as u16,
            width: op.width as u16,
            zero_in: op.zero_in,
            mult: op.mult,
            shift: op.shift,
            ..Default::default()
        };
        let scratch = self.buffer(format::scratch_bytes_avg_pool(&record));
        let output = self.buffer(2 * op.width);
        record.head = head(10, input, output, scratch);
        (record, output)
    }

    /// The bytes of an operation's record, and where its output is.
    fn op(&mut self, op: &Op, input: u32, second: u32) -> (Vec<u8>, u32) {
        fn bytes<R: Pod>((record, output): (R, u32)) -> (Vec<u8>, u32) {
            (bytemuck::bytes_of(&record).to_vec(), output)
        }
        match op {
            Op::Conv(op) => bytes(self.conv(op, input, second)),
            Op::Embed(op) => bytes(self.embed(op, input)),
            Op::Attention(op) => bytes((self.attention(op, input), input)),
            Op::Mlp(op) => bytes((self.mlp(op, input), input)),
            Op::SeqPool(op) => bytes(self.seq_pool(op, input)),
            Op::Head(op) => bytes(self.head(op, input)),
            Op::InvertedResidual(op) => bytes(self.inverted_residual(op, input)),
            Op::Fold(op) => bytes(self.fold(op, input)),
            Op::ClassPool(op) => bytes(self.class_pool(op, input)),
            Op::AvgPool(op) => bytes(self.avg_pool(op, input)),
            Op::Float(op) => self.float_op(op, input, second),
        }
    }

    fn head(&mut self, op: &Head, input: u32) -> (format::HeadRecord, u32) {
        let output = self.buffer(2 * op.classes);
        let record = format::HeadRecord {
            head: head(6, input, output, 0),
            width: op.width as u16,
            classes: op.classes as u16,
            weights: self.put(op.weights.data()),
            bias: self.put(&op.bias),
            mult: self.put(&op.mult),
            shift: op.shift,
            ..Default::default()
        };
        (record, output)
    }
}

pub(super) fn head(kind: u16, input: u32, output: u32, scratch: u32) -> format::RecordHead {
    format::RecordHead { kind, reserved: 0, input, output, scratch }
}

/// Multiply-accumulates of one inference: taps inside the border count, softmax and norms do not.
fn macs(op: &Op) -> u64 {
    (match op {
        Op::Conv(op) => {
            let (height, width) = op.map_size();
            height * width * op.weights.data().len()
        }
        Op::Embed(op) => match &op.scaling {
            Scaling::Plain { .. } | Scaling::Channels { .. } => 0,
            Scaling::Linear { weights, .. } => {
                (op.tokens - usize::from(op.class_token)) * weights.data().len()
            }
        },
        Op::Attention(op) => {
            let inner = op.heads * op.head_dim;
            4 * op.tokens * op.width * inner + 2 * op.tokens * (op.tokens / op.groups) * inner
        }
        Op::Mlp(op) => 2 * op.tokens * op.width * op.hidden,
        Op::SeqPool(op) => 2 * op.tokens * op.width,
        Op::Head(op) => op.width * op.classes,
        Op::InvertedResidual(op) => {
            let (height, width) = op.out_size();
            let after = op.depthwise.weights.data().len() + op.projection.weights.data().len();
            op.in_height * op.in_width * op.expansion.weights.data().len() + height * width * after
        }
        Op::Fold(_) | Op::ClassPool(_) | Op::AvgPool(_) => 0,
        // For reports only, of which there are none on floats here.
        Op::Float(_) => 0,
    }) as u64
}

/// Writes an artifact, its weights row by row.
#[must_use]
pub fn build(network: &Network, layout: Layout) -> Vec<u8> {
    build_packed(network, layout, Packing::Portable)
}

/// Writes an artifact, its weights in this order.
///
/// # Panics
/// If a weight is -128 and the order is another than that of rows.
#[must_use]
pub fn build_packed(network: &Network, layout: Layout, packing: Packing) -> Vec<u8> {
    let records = 112;
    let mut builder = Builder {
        layout,
        packing,
        file: vec![0; records + network.ops.len() * format::RECORD_BYTES],
        arena: 0,
        live: Vec::new(),
    };
    let input = builder.buffer(network.input_len());

    // Where the image and the output of every operation are.
    let mut places = vec![input];
    let place = |places: &[u32], of: Option<usize>| places[of.map_or(0, |i| i + 1)];
    for (i, op) in network.ops.iter().enumerate() {
        let second = op.second().map_or(0, |second| place(&places, second.of));
        let (bytes, output) = builder.op(op, places[i], second);
        builder.file[records + i * format::RECORD_BYTES..][..bytes.len()].copy_from_slice(&bytes);
        places.push(output);
        let later = network.ops[i + 1..].iter().filter_map(Op::second);
        let needed = later.filter(|second| second.of.is_none_or(|of| of <= i));
        let mut kept: Vec<u32> = needed.map(|second| place(&places, second.of)).collect();
        kept.push(output);
        builder.keep(&kept);
    }
    let logits = places.pop().expect("the last operation's output");

    let exp_table = builder.put(&network.exp_table);
    let names: Vec<String> = (0..network.classes).map(|k| format!("class-{k}")).collect();
    let names = names.join("\n");
    let labels = builder.put(names.as_bytes());
    let description = r#"{"name":"random"}"#;
    let info = builder.put(description.as_bytes());
    builder.file.resize(builder.file.len().next_multiple_of(16), 0);

    let header = format::Header {
        magic: *b"PVIT",
        version: 4,
        format: network.format,
        packing: packing as u8,
        file_bytes: builder.file.len() as u32,
        checksum: 0,
        arena_bytes: builder.arena as u32,
        ops: records as u32,
        op_count: network.ops.len() as u16,
        classes: network.classes as u16,
        height: network.height as u16,
        width: network.width as u16,
        channels: network.channels as u16,
        reserved: 0,
        input,
        logits,
        exp_table,
        logit_exp_mult: network.logit_exp_mult,
        logit_shift: network.logit_shift,
        logit_scale: 0.01,
        mean: [0.5; 3],
        std: [0.25; 3],
        labels,
        labels_bytes: names.len() as u32,
        info,
        info_bytes: description.len() as u32,
        reserved_word: 0,
        macs: network.ops.iter().map(macs).sum(),
    };
    builder.file[..records].copy_from_slice(bytemuck::bytes_of(&header));
    seal(&mut builder.file);
    builder.file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_exponentials_by_hand() {
        let table = exp_table();
        // 255 / e = 93.8, 255 / e^2 = 34.5 (34.51), 255 / e^7.9922 = 0.086.
        assert_eq!((table[0], table[128], table[256], table[1023]), (255, 94, 35, 0));
        // 255 * exp(-1 / 128) = 253.02.
        assert_eq!(table[1], 253);
        assert!(table.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
