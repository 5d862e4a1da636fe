//! Dropout masks, drawn on the host.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use picovit_models::{BlockDropout, BlockMasks, ModelConfig};

use crate::random::Random;

/// What all blocks drop in one batch, or in a device's part of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Masks(Vec<BlockValues>);

/// Values of one block, image after image.
#[derive(Clone, Debug, PartialEq)]
struct BlockValues {
    block: BlockDropout,
    attention: Option<Vec<f32>>,
    /// One value an image, for each of the two branches.
    paths: [Option<Vec<f32>>; 2],
    attention_output: Option<Vec<f32>>,
    mlp_hidden: Option<Vec<f32>>,
    mlp_output: Option<Vec<f32>>,
}

/// Draws the masks of all blocks for one batch.
pub(crate) fn draw(config: &ModelConfig, batch: usize, random: &mut Random) -> Masks {
    let blocks = config.dropouts().into_iter();
    Masks(blocks.map(|block| BlockValues::draw(block, batch, random)).collect())
}

impl Masks {
    /// The masks of training that drops nothing.
    pub(crate) const fn none() -> Self {
        Self(vec![])
    }

    /// The masks as tensors on a device.
    pub(crate) fn into_tensors<B: Backend>(self, device: &B::Device) -> Vec<BlockMasks<B>> {
        self.0.into_iter().map(|values| values.into_tensors(device)).collect()
    }

    /// Takes the masks of the last images away, from the image `first` on, of `images`.
    pub(crate) fn split_off(&mut self, first: usize, images: usize) -> Self {
        Self(self.0.iter_mut().map(|values| values.split_off(first, images)).collect())
    }
}

impl BlockValues {
    fn draw(block: BlockDropout, batch: usize, random: &mut Random) -> Self {
        let rows = batch * block.sequences * block.tokens;
        let mut values = |rate: f32, len: usize| (rate > 0.0).then(|| random.mask(len, rate));
        let attention = values(block.attention, rows * block.heads * block.tokens);
        let paths = [values(block.path, batch), values(block.path, batch)];
        let attention_output = values(block.attention_output, rows * block.width);
        let mlp_hidden = values(block.mlp_hidden, rows * block.hidden);
        let mlp_output = values(block.mlp_output, rows * block.width);
        Self { block, attention, paths, attention_output, mlp_hidden, mlp_output }
    }

    fn split_off(&mut self, first: usize, images: usize) -> Self {
        let tail = |values: &mut Vec<f32>| values.split_off(values.len() / images * first);
        Self {
            block: self.block,
            attention: self.attention.as_mut().map(tail),
            paths: self.paths.each_mut().map(|path| path.as_mut().map(tail)),
            attention_output: self.attention_output.as_mut().map(tail),
            mlp_hidden: self.mlp_hidden.as_mut().map(tail),
            mlp_output: self.mlp_output.as_mut().map(tail),
        }
    }

    fn into_tensors<B: Backend>(self, device: &B::Device) -> BlockMasks<B> {
        let BlockDropout { sequences, heads, tokens, width, hidden, .. } = self.block;
        let rows = |values: Vec<f32>, width: usize| tensor(values, [tokens, width], device);
        // All sequences of an image skip the branch together.
        let path = |images: Vec<f32>| {
            let values = images.into_iter().flat_map(|v| std::iter::repeat_n(v, sequences));
            tensor(values.collect(), [1, 1], device)
        };
        let [attention_path, mlp_path] = self.paths.map(|images| images.map(path));
        BlockMasks {
            attention: self.attention.map(|values| tensor(values, [heads, tokens, tokens], device)),
            paths: attention_path.zip(mlp_path).map(<[_; 2]>::from),
            attention_output: self.attention_output.map(|values| rows(values, width)),
            mlp_hidden: self.mlp_hidden.map(|values| rows(values, hidden)),
            mlp_output: self.mlp_output.map(|values| rows(values, width)),
        }
    }
}

/// `[sequences]` in front of the extents of one sequence.
fn tensor<B: Backend, const D: usize, const N: usize>(
    values: Vec<f32>,
    each: [usize; N],
    device: &B::Device,
) -> Tensor<B, D> {
    let mut shape = [values.len() / each.iter().product::<usize>(); D];
    shape[1..].copy_from_slice(&each);
    Tensor::from_data(TensorData::new(values, shape), device)
}
