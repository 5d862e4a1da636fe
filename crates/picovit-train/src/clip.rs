//! Clipping of gradients by their common norm.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// Scales all gradients so that their common norm is at most `most`, without waiting for it.
pub(crate) fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &mut GradientsParams,
    most: f64,
) {
    let mut squares = Squares::<B> { gradients, sum: None };
    model.visit(&mut squares);
    let Some(sum) = squares.sum else { return };
    let factor = (sum.sqrt() + 1e-6).recip().mul_scalar(most).clamp_max(1.0);
    model.visit(&mut Scale::<B> { gradients, factor });
}

struct Squares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a, B: AutodiffBackend> {
    gradients: &'a mut GradientsParams,
    factor: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            let scaled = gradient * self.factor.clone().reshape([1; D]);
            self.gradients.register::<B::InnerBackend, D>(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::test_model::{B, gradients, model};

    #[test]
    fn long_gradients_are_shortened_and_short_ones_are_not() {
        let model = model();
        let norm = |gradients: &GradientsParams| {
            let mut squares = Squares::<B> { gradients, sum: None };
            model.visit(&mut squares);
            squares.sum.unwrap().sqrt().into_scalar()
        };
        let original = norm(&gradients(&model));
        assert!(original > 1.0);
        for (most, expected) in [(0.5, 0.5), (2.0 * f64::from(original), original)] {
            let mut clipped = gradients(&model);
            clip(&model, &mut clipped, most);
            let found = norm(&clipped);
            assert!((found / expected - 1.0).abs() < 1e-4, "{found} {expected}");
        }
    }
}
