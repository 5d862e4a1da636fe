//! Dropout masks, drawn on the host.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use picovit_models::{BlockDropout, BlockMasks, ModelConfig};

use crate::random::Random;

/// Draws the masks of all blocks for one batch.
pub(crate) fn draw<B: Backend>(
    config: &ModelConfig,
    batch: usize,
    random: &mut Random,
    device: &B::Device,
) -> Vec<BlockMasks<B>> {
    let blocks = config.dropouts().into_iter();
    blocks.map(|block| draw_block(&block, batch, random, device)).collect()
}

fn draw_block<B: Backend>(
    block: &BlockDropout,
    batch: usize,
    random: &mut Random,
    device: &B::Device,
) -> BlockMasks<B> {
    let sequences = batch * block.sequences;
    let attention = (block.attention > 0.0).then(|| {
        let shape = [sequences, block.heads, block.tokens, block.tokens];
        mask(shape, block.attention, random, device)
    });
    let paths = (block.path > 0.0).then(|| {
        [(); 2].map(|()| {
            // All sequences of an image skip the branch together.
            let images = random.mask(batch, block.path).into_iter();
            let values: Vec<f32> =
                images.flat_map(|v| std::iter::repeat_n(v, block.sequences)).collect();
            Tensor::from_data(TensorData::new(values, [sequences, 1, 1]), device)
        })
    });
    let mut values = |rate: f32, width: usize| {
        (rate > 0.0).then(|| mask([sequences, block.tokens, width], rate, random, device))
    };
    let attention_output = values(block.attention_output, block.width);
    let mlp_hidden = values(block.mlp_hidden, block.hidden);
    let mlp_output = values(block.mlp_output, block.width);
    BlockMasks { attention, paths, attention_output, mlp_hidden, mlp_output }
}

fn mask<B: Backend, const D: usize>(
    shape: [usize; D],
    rate: f32,
    random: &mut Random,
    device: &B::Device,
) -> Tensor<B, D> {
    let values = random.mask(shape.iter().product(), rate);
    Tensor::from_data(TensorData::new(values, shape), device)
}
