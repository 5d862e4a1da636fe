use bytemuck::AnyBitPattern;
use picovit::format;

use super::builder::checksum;
use super::{
    Attention, AvgPool, ClassPool, Conv, Embed, Fold, Gain16, Head, InvertedResidual, Layer,
    Matrix, Mlp, Network, Norm, Op, Residual, Scaling, Second, SecondActivation, SeqPool,
};

/// Reads values out of the file by offset.
pub(super) struct File<'a>(&'a [u8]);

impl File<'_> {
    pub(super) fn record<T: AnyBitPattern>(&self, offset: usize) -> T {
        bytemuck::pod_read_unaligned(&self.0[offset..offset + size_of::<T>()])
    }

    pub(super) fn bytes(&self, offset: u32, count: usize) -> &[u8] {
        assert_eq!(offset % 16, 0, "offset {offset}");
        &self.0[offset as usize..][..count]
    }

    fn i8s(&self, offset: u32, count: usize) -> Vec<i8> {
        self.bytes(offset, count).iter().map(|&b| b as i8).collect()
    }

    fn i16s(&self, offset: u32, count: usize) -> Vec<i16> {
        let bytes = self.bytes(offset, 2 * count);
        bytes.chunks(2).map(|b| i16::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn i32s(&self, offset: u32, count: usize) -> Vec<i32> {
        let bytes = self.bytes(offset, 4 * count);
        bytes.chunks(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn u64s(&self, offset: u32, count: usize) -> Vec<u64> {
        let bytes = self.bytes(offset, 8 * count);
        bytes.chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    fn weights(&self, offset: u32, rows: usize, columns: usize) -> Matrix<i8> {
        Matrix::new(rows, columns, self.i8s(offset, rows * columns))
    }

    /// As [`Self::matrices`] with packing 2: tiles of eight rows, the even ones of a tile first, in
    /// steps of sixteen columns.
    fn stepped_matrices(
        &self,
        offset: u32,
        count: usize,
        rows: usize,
        columns: usize,
    ) -> Matrix<i8> {
        let (tiles, steps) = (rows.div_ceil(8), columns.div_ceil(16));
        let values = self.i8s(offset, count * tiles * steps * 128);
        Matrix::from_fn(count * rows, columns, |row, column| {
            let (matrix, row) = (row / rows, row % rows);
            let half = (matrix * tiles + row / 8) * 2 + row % 2;
            values[((half * steps + column / 16) * 4 + row % 8 / 2) * 16 + column % 16]
        })
    }

    /// As [`Self::matrices`] with packing 3: tiles of sixteen rows, four columns at a time.
    fn tiled_matrices(&self, offset: u32, count: usize, rows: usize, columns: usize) -> Matrix<i8> {
        let (tiles, quads) = (rows.div_ceil(16), columns.div_ceil(4));
        let values = self.i8s(offset, count * tiles * quads * 64);
        Matrix::from_fn(count * rows, columns, |row, column| {
            let (matrix, row) = (row / rows, row % rows);
            let quad = (matrix * tiles + row / 16) * quads + column / 4;
            values[(quad * 16 + row % 16) * 4 + column % 4]
        })
    }

    /// Matrices one below the other, each of so many rows, in the order of the file's packing.
    fn matrices(&self, offset: u32, count: usize, rows: usize, columns: usize) -> Matrix<i8> {
        if self.0[7] == 0 {
            return self.weights(offset, count * rows, columns);
        }
        if self.0[7] == 2 {
            return self.stepped_matrices(offset, count, rows, columns);
        }
        if self.0[7] == 3 {
            return self.tiled_matrices(offset, count, rows, columns);
        }
        let (tiles, quads) = (rows.div_ceil(4), columns.div_ceil(4));
        let halves = self.i16s(offset, count * tiles * quads * 8);
        let mut values = Vec::new();
        for (matrix, row, column) in (0..count).flat_map(|matrix| {
            (0..rows).flat_map(move |row| (0..columns).map(move |column| (matrix, row, column)))
        }) {
            let (p, h) = (column % 4 % 2, column % 4 / 2);
            let tile = (matrix * tiles + row / 4) * quads + column / 4;
            let half = halves[((tile * 2 + p) * 2 + row % 4 / 2) * 2 + h];
            // 256 * odd + even, with even in -127..127.
            let even = half.rem_euclid(256);
            let even = if even > 127 { even - 256 } else { even };
            let value = if row % 2 == 0 { even } else { (half - even) / 256 };
            values.push(i8::try_from(value).expect("weights are in -127..127"));
        }
        Matrix::new(count * rows, columns, values)
    }

    fn matrix(&self, offset: u32, rows: usize, columns: usize) -> Matrix<i8> {
        self.matrices(offset, 1, rows, columns)
    }

    /// As [`Self::winograd`], in larger tiles. `lanes` outputs lie together, and so many inputs of each.
    fn winograd4(
        &self,
        offset: u32,
        (outputs, inputs): (usize, usize),
        (lanes, beside): (usize, usize),
    ) -> Matrix<i8> {
        const G: [[i32; 3]; 6] =
            [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];
        let halves = self.i16s(offset, 36 * outputs * inputs);
        Matrix::from_fn(outputs, 9 * inputs, |output, column| {
            let channel = column % inputs;
            // `[outputs / lanes][position][inputs / beside][lanes][beside]`.
            let value = |y: usize, x: usize| {
                let step = (output / lanes * 36 + 6 * y + x) * (inputs / beside) + channel / beside;
                i32::from(halves[(step * lanes + output % lanes) * beside + channel % beside])
            };
            // Of a column a, b, c: a, a + b + c, a - b + c, .., c.
            let shrink = |v: [i32; 6]| [v[0], (v[1] - v[2]) / 2, v[5]];
            let all = [0, 1, 2, 3, 4, 5];
            let rows = all.map(|y| shrink(all.map(|x| value(y, x))));
            let columns = [0, 1, 2].map(|x| shrink(all.map(|y| rows[y][x])));
            for (y, x) in (0..36).map(|i| (i / 6, i % 6)) {
                let taps = (0..9).map(|i| (i / 3, i % 3));
                let sum: i32 = taps.map(|(v, u)| G[y][v] * columns[u][v] * G[x][u]).sum();
                assert_eq!(value(y, x), sum, "output {output}, channel {channel}");
            }
            let (y, x) = (column / inputs / 3, column / inputs % 3);
            i8::try_from(columns[x][y]).expect("weights are in -127..127")
        })
    }

    /// The kernels of a convolution by Winograd, from what they were transformed to, which must be what
    /// they give again.
    fn winograd(&self, offset: u32, outputs: usize, inputs: usize) -> Matrix<i8> {
        const G2: [[i32; 3]; 4] = [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]];
        let halves = self.i16s(offset, 16 * outputs * inputs);
        Matrix::from_fn(outputs, 9 * inputs, |output, column| {
            let channel = column % inputs;
            // `[outputs / 4][position][inputs / 2][4][2]`; pairs of a quad: 0 and 2, 1 and 3.
            let (pair, half) = (channel / 4 * 2 + channel % 2, channel % 4 / 2);
            let value = |y: usize, x: usize| {
                let group = (output / 4 * 16 + 4 * y + x) * inputs / 2 + pair;
                i32::from(halves[(group * 4 + output % 4) * 2 + half])
            };
            // Of a column a, b, c: 2a, a + b + c, a - b + c, 2c.
            let shrink = |v: [i32; 4]| [v[0] / 2, (v[1] - v[2]) / 2, v[3] / 2];
            let rows = [0, 1, 2, 3].map(|y| shrink([0, 1, 2, 3].map(|x| value(y, x))));
            let columns = [0, 1, 2].map(|x| shrink([0, 1, 2, 3].map(|y| rows[y][x])));
            for (y, x) in (0..16).map(|i| (i / 4, i % 4)) {
                let taps = (0..9).map(|i| (i / 3, i % 3));
                let sum: i32 = taps.map(|(v, u)| G2[y][v] * columns[u][v] * G2[x][u]).sum();
                assert_eq!(value(y, x), sum, "output {output}, channel {channel}");
            }
            let (y, x) = (column / inputs / 3, column / inputs % 3);
            i8::try_from(columns[x][y]).expect("weights are in -127..127")
        })
    }

    fn norm(&self, record: &format::NormRecord, width: usize) -> Norm {
        Norm {
            epsilon: u64::from(record.epsilon_high) << 32 | u64::from(record.epsilon_low),
            gain8: self.i32s(record.gain8, width),
            offset8: self.i32s(record.offset8, width),
        }
    }

    /// The operation of a record. `places` are the arena offsets of the image and of the outputs so
    /// far.
    fn op(&self, offset: usize, places: &[u32]) -> Op {
        let kind = self.record::<u16>(offset);
        match kind {
            1 => Op::Conv(self.conv(&self.record(offset), places)),
            2 => Op::Embed(self.embed(&self.record(offset))),
            3 => Op::Attention(self.attention(&self.record(offset))),
            4 => Op::Mlp(self.mlp(&self.record(offset))),
            5 => Op::SeqPool(self.seq_pool(&self.record(offset))),
            6 => Op::Head(self.head(&self.record(offset))),
            7 => Op::InvertedResidual(self.inverted_residual(&self.record(offset))),
            8 => Op::Fold(self.fold(&self.record(offset))),
            9 => Op::ClassPool(self.class_pool(&self.record(offset))),
            10 => Op::AvgPool(self.avg_pool(&self.record(offset))),
            _ => Op::Float(self.float_op(kind, offset, places)),
        }
    }

    fn table(&self, offset: u32) -> Option<Vec<i8>> {
        (offset != 0).then(|| self.i8s(offset, 256))
    }

    fn conv(&self, r: &format::ConvRecord, places: &[u32]) -> Conv {
        let kernel = usize::from(r.kernel);
        let outputs = usize::from(r.out_channels);
        let second = (r.in_channels2 != 0).then(|| Second {
            channels: r.in_channels2.into(),
            // The newest value at that place.
            of: places.iter().rposition(|&p| p == r.input2).expect("a second input").checked_sub(1),
        });
        let inputs = usize::from(r.in_channels) + usize::from(r.in_channels2);
        Conv {
            in_height: r.in_height.into(),
            in_width: r.in_width.into(),
            in_channels: r.in_channels.into(),
            out_channels: outputs,
            kernel,
            stride: r.stride.into(),
            padding: r.padding.into(),
            pool_kernel: r.pool_kernel.into(),
            pool_stride: r.pool_stride.into(),
            pool_padding: r.pool_padding.into(),
            pool_padding_after: r.pool_padding_after.into(),
            zero_in: self.i8s(r.zero_in, inputs),
            zero_out: r.zero_out,
            low: r.low,
            weights: match r.winograd {
                0 => self.matrix(r.weights, outputs, kernel * kernel * inputs),
                1 => self.winograd(r.weights, outputs, inputs),
                2 => self.winograd4(r.weights, (outputs, inputs), (8, 8)),
                _ => self.winograd4(r.weights, (outputs, inputs), (16, 2)),
            },
            bias: self.i32s(r.bias, outputs),
            mult: self.i32s(r.mult, outputs),
            table: self.table(r.table),
            second,
        }
    }

    fn embed(&self, r: &format::EmbedRecord) -> Embed {
        let (tokens, width) = (usize::from(r.tokens), usize::from(r.width));
        let scaling = if r.weights == 0 {
            match r.bias {
                0 => Scaling::Plain { zero_in: r.zero_in, mult: r.mult },
                bias => Scaling::Channels {
                    zeros: self.i32s(bias, width),
                    mults: self.i32s(r.mults, width),
                },
            }
        } else {
            Scaling::Linear {
                weights: self.matrix(r.weights, width, r.in_channels.into()),
                bias: self.i32s(r.bias, width),
                mults: self.i32s(r.mults, width),
                shift: r.shift.into(),
            }
        };
        Embed {
            tokens,
            width,
            scaling,
            patch: r.patch.into(),
            columns: r.columns.into(),
            class_token: r.class_token != 0,
            positions: (r.positions != 0)
                .then(|| Matrix::new(tokens, width, self.i16s(r.positions, tokens * width))),
        }
    }

    fn attention(&self, r: &format::AttentionRecord) -> Attention {
        let (tokens, width) = (usize::from(r.tokens), usize::from(r.width));
        let (heads, head_dim) = (usize::from(r.heads), usize::from(r.head_dim));
        let inner = heads * head_dim;
        Attention {
            tokens,
            width,
            heads,
            head_dim,
            norm: self.norm(&r.norm, width),
            qkv_weights: self.matrices(r.qkv_weights, 3 * heads, head_dim, width),
            qkv_bias: self.i32s(r.qkv_bias, 3 * inner),
            qkv_mult: self.i32s(r.qkv_mult, 3 * inner),
            exp_mult: self.i32s(r.exp_mult, heads),
            out_mult: self.u64s(r.out_mult, heads),
            proj_weights: self.matrix(r.proj_weights, width, inner),
            proj_bias: self.i32s(r.proj_bias, width),
            proj_mult: self.i32s(r.proj_mult, width),
            score_shift: r.score_shift.into(),
            proj_shift: r.proj_shift.into(),
            groups: r.groups.into(),
        }
    }

    fn mlp(&self, r: &format::MlpRecord) -> Mlp {
        let (width, hidden) = (usize::from(r.width), usize::from(r.hidden));
        Mlp {
            tokens: r.tokens.into(),
            width,
            hidden,
            norm: self.norm(&r.norm, width),
            gain16: (r.gain16 != 0).then(|| Gain16 {
                gain: self.i32s(r.gain16, width),
                offset: self.i32s(r.offset16, width),
            }),
            weights1: self.matrix(r.weights1, hidden, width),
            bias1: self.i32s(r.bias1, hidden),
            mult1: self.i32s(r.mult1, hidden),
            zero1: r.zero1,
            table: self.i8s(r.table, 256),
            weights2: self.matrix(r.weights2, width, hidden),
            bias2: self.i32s(r.bias2, width),
            mult2: self.i32s(r.mult2, width),
            shift: r.shift.into(),
            second: (r.table2 != 0)
                .then(|| SecondActivation { zero: r.zero2, table: self.i16s(r.table2, 256) }),
        }
    }

    fn layer(&self, places: [u32; 3], rows: usize, columns: usize, zero: i8) -> Layer {
        Layer {
            weights: self.matrix(places[0], rows, columns),
            bias: self.i32s(places[1], rows),
            mult: self.i32s(places[2], rows),
            zero,
        }
    }

    fn inverted_residual(&self, r: &format::InvertedResidualRecord) -> InvertedResidual {
        let (inputs, hidden) = (usize::from(r.in_channels), usize::from(r.hidden));
        let kernel = usize::from(r.kernel);
        let taps = kernel * kernel;
        let outputs = usize::from(r.out_channels);
        // `[kernel][kernel][hidden]`.
        let filter = self.weights(r.weights2, taps, hidden);
        InvertedResidual {
            in_height: r.in_height.into(),
            in_width: r.in_width.into(),
            kernel,
            stride: r.stride.into(),
            padding: r.padding.into(),
            border: r.border,
            expansion: self.layer([r.weights1, r.bias1, r.mult1], hidden, inputs, r.zero1),
            table1: self.i8s(r.table1, 256),
            depthwise: Layer {
                weights: Matrix::from_fn(hidden, taps, |j, tap| filter.row(tap)[j]),
                bias: self.i32s(r.bias2, hidden),
                mult: self.i32s(r.mult2, hidden),
                zero: r.zero2,
            },
            table2: self.i8s(r.table2, 256),
            projection: self.layer([r.weights3, r.bias3, r.mult3], outputs, hidden, r.zero_out),
            residual: (r.residual == 1)
                .then_some(Residual { zero_in: r.zero_in, mult: r.residual_mult }),
        }
    }

    fn fold(&self, r: &format::FoldRecord) -> Fold {
        let width = usize::from(r.width);
        Fold {
            height: r.height.into(),
            columns: r.columns.into(),
            width,
            patch: r.patch.into(),
            norm: self.norm(&r.norm, width),
        }
    }

    fn class_pool(&self, r: &format::ClassPoolRecord) -> ClassPool {
        let width = usize::from(r.width);
        ClassPool {
            tokens: r.tokens.into(),
            width,
            epsilon: u64::from(r.epsilon_high) << 32 | u64::from(r.epsilon_low),
            gain16: Gain16 {
                gain: self.i32s(r.gain16, width),
                offset: self.i32s(r.offset16, width),
            },
        }
    }

    fn avg_pool(&self, r: &format::AvgPoolRecord) -> AvgPool {
        AvgPool {
            tokens: r.tokens.into(),
            width: r.width.into(),
            zero_in: r.zero_in,
            mult: r.mult,
            shift: r.shift,
        }
    }

    fn seq_pool(&self, r: &format::SeqPoolRecord) -> SeqPool {
        let width = usize::from(r.width);
        SeqPool {
            tokens: r.tokens.into(),
            width,
            zero: r.zero,
            norm: self.norm(&r.norm, width),
            weights: self.i8s(r.weights, width),
            exp_mult: r.exp_mult,
            out_mult: u64::from(r.out_mult_high) << 32 | u64::from(r.out_mult_low),
            score_shift: r.score_shift.into(),
            out_shift: r.out_shift.into(),
        }
    }

    fn head(&self, r: &format::HeadRecord) -> Head {
        let (width, classes) = (usize::from(r.width), usize::from(r.classes));
        Head {
            width,
            classes,
            weights: self.weights(r.weights, classes, width),
            bias: self.i32s(r.bias, classes),
            mult: self.i32s(r.mult, classes),
            shift: r.shift,
        }
    }
}

/// Reads an artifact. Of the offsets into the arena only a second input's matters, to tell which
/// output it is: every operation works on the output of the one before.
///
/// # Panics
/// If the artifact is malformed. (`picovit::Model::parse` is the reader that reports why.)
#[must_use]
pub fn parse(artifact: &[u8]) -> Network {
    let file = File(artifact);
    let header: format::Header = file.record(0);
    assert_eq!(header.magic, *b"PVIT");
    assert!(header.version == 4 && header.packing <= 3);
    assert_eq!(header.file_bytes as usize, artifact.len());
    assert_eq!(header.checksum, checksum(artifact));
    let mut places = vec![header.input];
    let mut ops = Vec::new();
    for i in 0..usize::from(header.op_count) {
        let offset = header.ops as usize + i * 112;
        let op = file.op(offset, &places);
        match (header.format, &op) {
            (0, Op::Float(_)) => panic!("floats in an int8 artifact"),
            (1, Op::Float(op)) => assert!(op.is_pure(), "a conversion in an f16 artifact"),
            (1, _) => panic!("integers in an f16 artifact"),
            (format, _) => assert!(format <= 2, "number format {format}"),
        }
        ops.push(op);
        places.push(file.record::<format::RecordHead>(offset).output);
    }
    Network {
        height: header.height.into(),
        width: header.width.into(),
        channels: header.channels.into(),
        classes: header.classes.into(),
        format: header.format,
        exp_table: file.bytes(header.exp_table, 1024).to_vec(),
        logit_exp_mult: header.logit_exp_mult,
        logit_shift: header.logit_shift,
        ops,
    }
}
