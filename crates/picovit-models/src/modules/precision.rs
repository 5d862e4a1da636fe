//! Matrix products in a shorter number type.
//!
//! The type of a layer's weights says in which type its product is computed; everything else stays
//! in the type of the activations.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::backend::Backend;
use burn::tensor::{FloatDType, Tensor};

use crate::Network;

/// The network with the weights of its matrix products in another type: those of linear layers
/// and of convolutions over several channels. Gradients reach the weights it was made of.
#[must_use]
pub fn with_products_in<B: Backend>(network: Network<B>, dtype: FloatDType) -> Network<B> {
    network.map(&mut Cast(dtype))
}

struct Cast(FloatDType);

impl<B: Backend> ModuleMapper<B> for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        // Depthwise convolutions have one input channel and are no matrix products.
        let is_matrix = D == 2 || D == 4 && param.dims()[1] > 1;
        if is_matrix { param.map(|weight| weight.cast(self.0)) } else { param }
    }
}

/// `x` in the type of the weights.
pub(crate) fn in_type_of<B: Backend, const X: usize, const W: usize>(
    x: Tensor<B, X>,
    weight: &Tensor<B, W>,
) -> Tensor<B, X> {
    x.cast(FloatDType::from(weight.dtype()))
}

/// A linear layer on `[rows, inputs]`; its product in the type of the weights, all else and the
/// result in the type of `x`.
pub(crate) fn linear_rows<B: Backend>(layer: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let dtype = FloatDType::from(x.dtype());
    let weight = layer.weight.val();
    let y = in_type_of(x, &weight).matmul(weight).cast(dtype);
    match &layer.bias {
        Some(bias) => y + bias.val().unsqueeze(),
        None => y,
    }
}
