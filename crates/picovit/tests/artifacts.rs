//! Artifacts written by hand, byte by byte as `docs/format.md` says: what the reader and the engine make
//! of them in any build, whatever instruction set and features it has.

use bytemuck::{Pod, Zeroable};
use picovit::format::{
    AttentionRecord, ConvRecord, EXP_ENTRIES, EmbedRecord, HeadRecord, Header, MAGIC, NormRecord,
    OpKind, Packing, RECORD_BYTES, RecordHead, SeqPoolRecord, VERSION, align_up, pack_winograd,
    pack_winograd4, pack_winograd4_tiles, scratch_bytes_attention, scratch_bytes_conv,
    scratch_bytes_seq_pool, winograd_weights, winograd4_weights,
};
use picovit::{Engine, Error, Model};

/// An artifact that grows.
struct Artifact {
    bytes: Vec<u8>,
    header: Header,
    /// Operations so far.
    ops: usize,
    /// Where the arena ends so far.
    arena: usize,
}

impl Artifact {
    /// One for an image of these rows and columns, grey.
    fn new(packing: Packing, (height, width): (u16, u16), classes: u16, ops: u16) -> Self {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            packing: packing as u8,
            ops: size_of::<Header>() as u32,
            op_count: ops,
            classes,
            height,
            width,
            channels: 1,
            logit_scale: 1.0 / 1024.0,
            // An eighth of a table's step.
            logit_exp_mult: 1 << 29,
            ..Header::zeroed()
        };
        let records = size_of::<Header>() + usize::from(ops) * RECORD_BYTES;
        let mut artifact = Self { bytes: vec![0; records], header, ops: 0, arena: 0 };
        let table: [u8; EXP_ENTRIES] =
            core::array::from_fn(|i| (255.0 * (-(i as f64) / 128.0).exp()).round() as u8);
        artifact.header.exp_table = artifact.constant(&table);
        artifact
    }

    /// Where these values are in the file.
    fn constant<T: Pod>(&mut self, values: &[T]) -> u32 {
        self.bytes.resize(align_up(self.bytes.len()), 0);
        let place = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytemuck::cast_slice(values));
        place
    }

    /// Where a row-major matrix is, in the order of the packing.
    fn matrices(
        &mut self,
        packing: Packing,
        matrices: &[i8],
        outputs: usize,
        inputs: usize,
    ) -> u32 {
        let each = matrices.chunks(outputs * inputs).flat_map(|matrix| {
            let mut packed = vec![0; packing.matrix_bytes(outputs, inputs)];
            packing.pack(matrix, inputs, &mut packed);
            packed
        });
        let packed: Vec<i8> = each.collect();
        self.constant(&packed)
    }

    /// Memory behind all that there is.
    fn buffer(&mut self, bytes: usize) -> u32 {
        let place = self.arena;
        self.arena = align_up(place + bytes);
        place as u32
    }

    /// Writes the next operation.
    fn op<R: Pod>(&mut self, record: R) {
        let start = size_of::<Header>() + self.ops * RECORD_BYTES;
        self.bytes[start..start + RECORD_BYTES].copy_from_slice(bytemuck::bytes_of(&record));
        self.ops += 1;
    }

    fn finished(mut self, labels: &str) -> Vec<u8> {
        assert_eq!(self.ops, usize::from(self.header.op_count));
        self.header.labels = self.constant(labels.as_bytes());
        self.header.labels_bytes = labels.len() as u32;
        self.header.info = self.constant(b"{}");
        self.header.info_bytes = 2;
        self.bytes.resize(align_up(self.bytes.len()), 0);
        self.header.file_bytes = self.bytes.len() as u32;
        self.header.arena_bytes = self.arena as u32;
        self.bytes[..size_of::<Header>()].copy_from_slice(bytemuck::bytes_of(&self.header));
        self.header.checksum = picovit::model::checksum(&self.bytes);
        self.bytes[..size_of::<Header>()].copy_from_slice(bytemuck::bytes_of(&self.header));
        self.bytes
    }
}

/// A copy that starts where artifacts and arenas must.
fn aligned(bytes: &[u8]) -> Vec<u128> {
    let mut words = vec![0u128; bytes.len().div_ceil(16)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
    words
}

fn parsed(artifact: &[u8]) -> Result<(), Error> {
    let words = aligned(artifact);
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    Model::parse(&bytes[..artifact.len()]).map(|_| ())
}

/// The logits of an image, in an arena that is no larger than it must be.
fn logits(artifact: &[u8], image: &[i8]) -> Vec<i16> {
    let words = aligned(artifact);
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    let model = Model::parse(&bytes[..artifact.len()]).unwrap();
    let mut arena = vec![0x5a5a_5a5a_u128; model.arena_bytes() / 16];
    let mut engine = Engine::new(&model, bytemuck::cast_slice_mut(&mut arena)).unwrap();
    engine.input().copy_from_slice(image);
    engine.run().to_vec()
}

/// Numbers by chance, always the same.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| (self.next() >> 16) as i8).map(|v| v.max(-127)).collect()
    }

    fn biases(&mut self, count: usize) -> Vec<i32> {
        (0..count).map(|_| (self.next() % 4096) as i32 - 2048).collect()
    }
}

fn head(kind: OpKind, [input, output, scratch]: [u32; 3]) -> RecordHead {
    RecordHead { kind: kind as u16, reserved: 0, input, output, scratch }
}

/// `2^32 / 127`: weights of 127 count as one.
const ONE: i32 = 33_818_640;

fn norm(artifact: &mut Artifact, width: usize) -> NormRecord {
    NormRecord {
        epsilon_low: 1,
        epsilon_high: 0,
        // A deviation is 40, and halves are rounded up.
        gain8: artifact.constant(&vec![40i32 << 20; width]),
        offset8: artifact.constant(&vec![128i32; width]),
    }
}

/// The residual stream of a map at `input`: tokens are 256 times its pixels.
fn embed(artifact: &mut Artifact, (input, tokens, width): (u32, u16, u16)) -> u32 {
    let stream = artifact.buffer(2 * usize::from(tokens) * usize::from(width));
    artifact.op(EmbedRecord {
        head: head(OpKind::Embed, [input, stream, 0]),
        tokens,
        width,
        mult: 1 << 24,
        in_channels: width,
        ..Default::default()
    });
    stream
}

/// From a residual stream to the logits, by these weights.
fn classify(artifact: &mut Artifact, (stream, tokens, width): (u32, u16, u16), weights: &[i8]) {
    let (columns, classes) = (usize::from(width), artifact.header.classes);
    let pooled = artifact.buffer(2 * columns);
    let mut pool = SeqPoolRecord {
        tokens,
        width,
        norm: norm(artifact, columns),
        weights: artifact.constant(&vec![0i8; columns]),
        // A hundred times the mean.
        out_mult_high: 100,
        ..Default::default()
    };
    let scratch = artifact.buffer(scratch_bytes_seq_pool(&pool));
    pool.head = head(OpKind::SeqPool, [stream, pooled, scratch]);
    artifact.op(pool);
    artifact.header.logits = artifact.buffer(2 * usize::from(classes));
    let record = HeadRecord {
        head: head(OpKind::Head, [pooled, artifact.header.logits, 0]),
        width,
        classes,
        weights: artifact.constant(weights),
        bias: artifact.constant(&vec![0i32; usize::from(classes)]),
        mult: artifact.constant(&vec![ONE / 2; usize::from(classes)]),
        ..Default::default()
    };
    artifact.op(record);
}

/// A pointwise convolution of the grey image, the first operation, to so many channels: the first ones
/// have these weights, the others none.
fn pointwise(artifact: &mut Artifact, packing: Packing, channels: u16, weights: &[i8]) -> u32 {
    let (in_height, in_width) = (artifact.header.height, artifact.header.width);
    let pixels = usize::from(in_height) * usize::from(in_width);
    let outputs = usize::from(channels);
    let mut all = vec![0i8; outputs];
    all[..weights.len()].copy_from_slice(weights);
    artifact.header.input = artifact.buffer(pixels);
    let output = artifact.buffer(pixels * outputs);
    let mut record = ConvRecord {
        in_height,
        in_width,
        in_channels: 1,
        out_channels: channels,
        kernel: 1,
        stride: 1,
        low: -128,
        zero_in: artifact.constant(&[0i8]),
        weights: artifact.matrices(packing, &all, outputs, 1),
        bias: artifact.constant(&vec![0i32; outputs]),
        mult: artifact.constant(&vec![ONE; outputs]),
        ..Default::default()
    };
    let scratch = artifact.buffer(scratch_bytes_conv(&record, packing));
    record.head = head(OpKind::Conv, [artifact.header.input, output, scratch]);
    artifact.op(record);
    output
}

/// Tells light pictures from dark ones. It needs none of the engine's features.
fn light_or_dark() -> Vec<u8> {
    let mut artifact = Artifact::new(Packing::Portable, (4, 4), 2, 4);
    // Above grey the first channel is larger than the second, which is always 0.
    let map = pointwise(&mut artifact, Packing::Portable, 2, &[127]);
    let stream = embed(&mut artifact, (map, 16, 2));
    classify(&mut artifact, (stream, 16, 2), &[0, 127, 127, 0]);
    artifact.finished("dark\nlight")
}

/// The artifact that the example of the crate's documentation includes. To write it anew, for another
/// version of the format: `PICOVIT_WRITE=1 cargo test -p picovit --test artifacts`.
#[test]
fn the_artifact_of_the_example() {
    let bytes = light_or_dark();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/model.pvit");
    if std::env::var_os("PICOVIT_WRITE").is_some() {
        std::fs::write(path, &bytes).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == bytes, "{path} is not what this test writes");
    let [dark, light] = [-100, 100].map(|pixel| logits(&bytes, &[pixel; 16]));
    assert!(dark[0] > dark[1] && light[1] > light[0], "{dark:?} {light:?}");
}

/// A network with attention, its weights in this order.
fn attentive(packing: Packing, record: AttentionRecord) -> Vec<u8> {
    let AttentionRecord { tokens, width, heads, head_dim, .. } = record;
    let mut random = Random(7);
    let (columns, heads, head_dim) =
        (usize::from(width), usize::from(heads), usize::from(head_dim));
    let inner = heads * head_dim;
    let mut artifact = Artifact::new(packing, (1, tokens), 3, 5);
    let weights = random.weights(columns);
    let map = pointwise(&mut artifact, packing, width, &weights);
    let qkv = random.weights(3 * inner * columns);
    let projection = random.weights(columns * inner);
    let outputs = random.weights(3 * columns);
    let record = AttentionRecord {
        norm: norm(&mut artifact, columns),
        qkv_weights: artifact.matrices(packing, &qkv, head_dim, columns),
        qkv_bias: artifact.constant(&random.biases(3 * inner)),
        qkv_mult: artifact.constant(&vec![1 << 22; 3 * inner]),
        exp_mult: artifact.constant(&vec![1 << 26; heads]),
        out_mult: artifact.constant(&vec![2u64 << 32; heads]),
        proj_weights: artifact.matrices(packing, &projection, columns, inner),
        proj_bias: artifact.constant(&random.biases(columns)),
        proj_mult: artifact.constant(&vec![1 << 27; columns]),
        ..record
    };
    let stream = embed(&mut artifact, (map, tokens, width));
    let scratch = artifact.buffer(scratch_bytes_attention(&record, packing));
    let head = head(OpKind::Attention, [stream, stream, scratch]);
    artifact.op(AttentionRecord { head, ..record });
    classify(&mut artifact, (stream, tokens, width), &outputs);
    artifact.finished("")
}

/// The order of the weights changes no result, in builds without the kernels that it is made for either:
/// these run attention in another form, which needs other memory.
#[test]
fn attention_is_the_same_in_every_packing() {
    for (tokens, width, heads, head_dim, groups) in [
        (2, 256, 8, 32, 1),
        (1, 17, 2, 9, 1),
        (3, 64, 16, 4, 1),
        (4, 96, 6, 16, 2),
        (40, 12, 1, 8, 1),
    ] {
        let record =
            AttentionRecord { tokens, width, heads, head_dim, groups, ..Default::default() };
        let image: Vec<i8> = Random(9).weights(usize::from(tokens));
        let known = |packing: &Packing| Packing::from_id(*packing as u8).is_some();
        let results: Vec<_> = Packing::ALL
            .into_iter()
            .filter(known)
            .map(|packing| (packing, logits(&attentive(packing, record), &image)))
            .collect();
        let (_, expected) = &results[0];
        assert!(expected.iter().any(|&logit| logit != 0));
        for (packing, found) in &results {
            assert_eq!(found, expected, "{packing:?} {tokens} {width} {heads} {head_dim}");
        }
    }
}

/// Two convolutions, the second of which is this one.
fn convolved(change: impl FnOnce(&mut Artifact, &mut ConvRecord)) -> Vec<u8> {
    let mut artifact = Artifact::new(Packing::Portable, (4, 4), 2, 5);
    let map = pointwise(&mut artifact, Packing::Portable, 16, &[127; 16]);
    let output = artifact.buffer(16 * 16);
    let mut record = ConvRecord {
        in_height: 4,
        in_width: 4,
        in_channels: 16,
        out_channels: 16,
        kernel: 3,
        stride: 1,
        padding: 1,
        low: -128,
        zero_in: artifact.constant(&[0i8; 32]),
        bias: artifact.constant(&[0i32; 16]),
        mult: artifact.constant(&[ONE; 16]),
        weights: artifact.constant(&[1i8; 16 * 9 * 32]),
        ..Default::default()
    };
    change(&mut artifact, &mut record);
    // As much as any of them needs.
    let scratch = artifact.buffer(1 << 18);
    record.head = head(OpKind::Conv, [map, output, scratch]);
    artifact.op(record);
    let stream = embed(&mut artifact, (output, 16, 16));
    classify(&mut artifact, (stream, 16, 16), &[1; 32]);
    artifact.finished("")
}

/// What a build has no code for is not taken for damage, as it says what to do about it.
#[test]
fn what_a_build_has_no_code_for_is_told_from_damage() {
    let unless = |has: bool| if has { Ok(()) } else { Err(Error::Unsupported { index: 1 }) };
    assert_eq!(parsed(&convolved(|_, _| {})), Ok(()));
    type Pack = fn(&[i8], usize, &mut [i16]);
    let forms: [(u8, usize, Pack); 3] = [
        (1, winograd_weights(16, 16), pack_winograd),
        (2, winograd4_weights(16, 16), pack_winograd4),
        (3, winograd4_weights(16, 16), pack_winograd4_tiles),
    ];
    for (winograd, count, pack) in forms {
        let bytes = convolved(|artifact, record| {
            let mut weights = vec![0; count];
            pack(&[1; 16 * 9 * 16], 16, &mut weights);
            record.winograd = winograd;
            record.weights = artifact.constant(&weights);
        });
        assert_eq!(parsed(&bytes), unless(Packing::ALL_TAKEN), "{winograd}");
    }
    let second = convolved(|artifact, record| {
        record.in_channels2 = 1;
        record.input2 = artifact.header.input;
    });
    assert_eq!(parsed(&second), unless(cfg!(feature = "mobilevit")));
    // There is no such form.
    let damaged = convolved(|_, record| record.winograd = 4);
    assert_eq!(parsed(&damaged), Err(Error::Operation { index: 1 }));
}

/// More weights than 32 bits count are refused like any that are not in the file, in builds that count
/// with 32 bits, too.
#[cfg(feature = "mobilevit")]
#[test]
fn extents_beyond_32_bits_are_refused() {
    for out_channels in [1, 16, 65_535] {
        let bytes = convolved(|artifact, record| {
            (record.kernel, record.padding) = (255, 254);
            (record.in_channels, record.in_channels2) = (65_535, 65_535);
            record.input2 = artifact.header.input;
            record.out_channels = out_channels;
        });
        assert_eq!(parsed(&bytes), Err(Error::Constant { index: 1 }));
    }
}

/// A convolution's own map has pixels, or the border of its pooling would make outputs of nothing.
#[cfg(feature = "f16")]
mod floats {
    use picovit::format::FORMAT_F16;
    use picovit::format::float::{
        FloatAvgPoolRecord, FloatConvRecord, FloatHeadRecord, scratch_bytes_conv,
    };

    use super::*;

    fn pooled(kernel: u8, pool_stride: u8) -> Vec<u8> {
        let mut artifact = Artifact::new(Packing::Portable, (1, 1), 1, 3);
        artifact.header.format = FORMAT_F16;
        let input = artifact.buffer(1);
        let mut conv = FloatConvRecord {
            in_height: 1,
            in_width: 1,
            in_channels: 1,
            out_channels: 1,
            kernel,
            stride: 1,
            pool_kernel: 3,
            pool_stride,
            pool_padding: 2,
            pool_padding_after: 2,
            weights: artifact.constant(&[0u16; 4]),
            bias: artifact.constant(&[0f32]),
            scale: artifact.constant(&[1f32]),
            offset: artifact.constant(&[0f32]),
            ..Default::default()
        };
        let (rows, columns) = conv.out_size();
        let tokens = (rows * columns) as u16;
        let [map, pooled, logits] = [4 * rows * columns, 4, 2].map(|bytes| artifact.buffer(bytes));
        let scratch = artifact.buffer(scratch_bytes_conv(&conv));
        conv.head = head(OpKind::FloatConv, [input, map, scratch]);
        artifact.header.logits = logits;
        artifact.op(conv);
        let head_of = head(OpKind::FloatAvgPool, [map, pooled, 0]);
        artifact.op(FloatAvgPoolRecord { head: head_of, tokens, width: 1, ..Default::default() });
        let classifier = FloatHeadRecord {
            head: head(OpKind::FloatHead, [pooled, logits, 0]),
            width: 1,
            classes: 1,
            steps: 1.0,
            weights: artifact.constant(&[0u16]),
            bias: artifact.constant(&[0f32]),
            ..Default::default()
        };
        artifact.op(classifier);
        artifact.finished("")
    }

    #[test]
    fn a_convolution_without_a_map_is_refused() {
        assert_eq!(parsed(&pooled(1, 1)), Ok(()));
        assert_eq!(parsed(&pooled(2, 1)), Err(Error::Operation { index: 0 }));
    }
}
