//! Exponential moving average of the weights.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Share of the average that stays at an update, counted from 0. It grows from 1/10, so that the
/// first weights, which are random, are soon forgotten.
pub(crate) fn kept(decay: f64, update: usize) -> f64 {
    let update = update as f64;
    decay.min((1.0 + update) / (10.0 + update))
}

/// Moves an average towards the weights of a network of the same parameters.
pub(crate) fn update<B: Backend, M: Module<B>>(average: M, model: &M, kept: f64) -> M {
    let mut collect = Collect::<B>(HashMap::new());
    model.visit(&mut collect);
    average.map(&mut Blend { current: collect.0, kept })
}

/// Collects parameters, flattened.
struct Collect<B: Backend>(HashMap<ParamId, Tensor<B, 1>>);

impl<B: Backend> ModuleVisitor<B> for Collect<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let len: usize = param.dims().iter().product();
        self.0.insert(param.id, param.val().reshape([len]));
    }
}

struct Blend<B: Backend> {
    current: HashMap<ParamId, Tensor<B, 1>>,
    kept: f64,
}

impl<B: Backend> ModuleMapper<B> for Blend<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let current = self.current.remove(&param.id).expect("both have the same parameters");
        let current = current.reshape(param.dims());
        let kept = self.kept;
        param.map(|average| average * kept + current * (1.0 - kept))
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::module::AutodiffModule;
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};

    use super::*;

    fn values(linear: &Linear<Flex>) -> Vec<f32> {
        let weight = linear.weight.val().into_data().to_vec::<f32>().unwrap();
        let bias = linear.bias.as_ref().unwrap().val().into_data().to_vec::<f32>().unwrap();
        [weight, bias].concat()
    }

    #[test]
    fn an_update_moves_every_parameter_by_the_rest() {
        let start: Linear<Flex> = LinearConfig::new(3, 2).init(&Default::default());
        // Parameters of Burn's layers are drawn when they are first read.
        let before = values(&start);
        struct Shift;
        impl ModuleMapper<Flex> for Shift {
            fn map_float<const D: usize>(
                &mut self,
                param: Param<Tensor<Flex, D>>,
            ) -> Param<Tensor<Flex, D>> {
                param.map(|tensor| tensor + 8.0)
            }
        }
        let model = start.clone().map(&mut Shift);
        let average = update(start, &model, 0.75);
        for (average, start) in values(&average).iter().zip(before) {
            assert!((average - start - 2.0).abs() < 1e-5, "{average} from {start}");
        }
    }

    #[test]
    fn running_statistics_are_averaged_too() {
        let norm: BatchNorm<Autodiff<Flex>> = BatchNormConfig::new(2).init(&Default::default());
        let start = norm.valid();
        let images = Tensor::<Autodiff<Flex>, 4>::full([4, 2, 3, 3], 6.0, &Default::default());
        let _ = norm.forward(images);
        let after = norm.valid();
        let mean = |norm: &BatchNorm<Flex>| {
            norm.running_mean.value_sync().into_data().to_vec::<f32>().unwrap()
        };
        let (before, moved) = (mean(&start), mean(&after));
        assert!(moved[0] > before[0] + 0.1, "{moved:?}");
        let average = mean(&update(start, &after, 0.75));
        for ((average, before), moved) in average.iter().zip(before).zip(moved) {
            assert!((average - (0.75 * before + 0.25 * moved)).abs() < 1e-6, "{average}");
        }
    }

    #[test]
    fn the_decay_grows_to_what_is_asked_for() {
        assert!((kept(0.999, 0) - 0.1).abs() < 1e-12);
        assert!((1..10_000).all(|n| kept(0.999, n) >= kept(0.999, n - 1)));
        assert!((kept(0.999, 10_000) - 0.999).abs() < 1e-12);
    }
}
