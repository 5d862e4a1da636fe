//! A network for the unit tests.

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use picovit_models::{ModelConfig, Network};

pub(crate) type B = Autodiff<Flex>;

pub(crate) fn model() -> Network<B> {
    let config = ModelConfig::named("cct_2_3x2").unwrap();
    Network::init(&config, 3, &Default::default()).unwrap()
}

/// Calls a function with every parameter's flat values and shape.
struct Each<F>(F);

impl<F: FnMut(ParamId, Vec<f32>, Vec<usize>)> ModuleVisitor<B> for Each<F> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let values = param.val().into_data().to_vec().unwrap();
        (self.0)(param.id, values, param.dims().to_vec());
    }
}

pub(crate) fn parameters(model: &Network<B>) -> Vec<(ParamId, Vec<f32>, Vec<usize>)> {
    let mut all = vec![];
    model.visit(&mut Each(|id, values, shape| all.push((id, values, shape))));
    all
}

/// The gradients of half the sum of all squares are the parameters themselves.
pub(crate) fn gradients(model: &Network<B>) -> GradientsParams {
    struct Own(GradientsParams);
    impl ModuleVisitor<B> for Own {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.register::<Flex, D>(param.id, param.val().inner());
        }
    }
    let mut own = Own(GradientsParams::new());
    model.visit(&mut own);
    own.0
}
