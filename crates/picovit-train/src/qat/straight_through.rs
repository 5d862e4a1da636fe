//! The engine's values in the place of the float model's.

use std::collections::HashMap;
use std::fmt::Arguments;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use picovit_compiler::observe::Observed;
use picovit_models::Taps;

/// Replaces every value by the engine's. Gradients go on to the float value, as if rounding were
/// the identity, except where the integer range has cut a value off.
pub(crate) struct StraightThrough(HashMap<String, Observed>);

impl StraightThrough {
    pub(crate) fn new(observed: Vec<Observed>) -> Self {
        Self(observed.into_iter().map(|value| (value.name.clone(), value)).collect())
    }

    /// Values that no tap has taken.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<B: Backend> Taps<B> for StraightThrough {
    fn tap<const D: usize>(&mut self, name: Arguments<'_>, x: Tensor<B, D>) -> Tensor<B, D> {
        let name = name.to_string();
        let observed = self.0.remove(&name);
        let Observed { values, saturated, .. } =
            observed.unwrap_or_else(|| panic!("the engine has no value called {name}"));
        let passes = (!saturated.is_empty()).then(|| {
            let mut passes = vec![1.0; values.len()];
            saturated.iter().for_each(|&i| passes[i] = 0.0);
            like(passes, &x)
        });
        let exact = like(values, &x);
        // A difference of equals, so that the sum is the engine's value to the last bit.
        let nothing = x.clone() - x.detach();
        match passes {
            Some(passes) => exact + nothing * passes,
            None => exact + nothing,
        }
    }
}

/// Values `[image][token][channel]` in the shape of `x`.
fn like<B: Backend, const D: usize>(values: Vec<f32>, x: &Tensor<B, D>) -> Tensor<B, D> {
    let (dims, device) = (x.dims(), x.device());
    if D < 4 {
        return Tensor::from_data(TensorData::new(values, dims), &device);
    }
    // Maps have their channels in front.
    let shape = [dims[0], dims[2], dims[3], dims[1]];
    Tensor::from_data(TensorData::new(values, shape), &device).swap_dims(1, 3).swap_dims(2, 3)
}
