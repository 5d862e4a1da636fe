//! Which parameters decay, and which are Muon's.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// Where in a network a visitor is.
#[derive(Default)]
pub(crate) struct Place {
    /// Depth of modules inside the classifier.
    classifier: usize,
}

impl Place {
    fn enter(&mut self, name: &str) {
        if self.classifier > 0 || name == "fc" {
            self.classifier += 1;
        }
    }

    fn exit(&mut self) {
        self.classifier = self.classifier.saturating_sub(1);
    }

    /// Whether a parameter here is Muon's: a matrix of hidden features on both sides. Layers of
    /// one output, depthwise kernels and the kernels over raw pixels are too narrow to gain.
    fn is_matrix(&self, shape: &[usize]) -> bool {
        let narrow = 16;
        let matrix = matches!(shape.len(), 2 | 4) && self.classifier == 0;
        matrix && shape[0] >= narrow && shape[1..].iter().product::<usize>() >= narrow
    }
}

/// Whether a parameter decays: weights do; biases, norms (vectors), positions and class tokens
/// (three axes) do not.
fn decays(shape: &[usize]) -> bool {
    matches!(shape.len(), 2 | 4)
}

/// Shrinks what decays.
pub(crate) struct Decay {
    /// Factor of AdamW's parameters.
    pub(crate) adam: f64,
    /// Factor of Muon's.
    pub(crate) muon: f64,
    /// Whether everything decays.
    pub(crate) all: bool,
    /// Whether Muon has parameters at all.
    pub(crate) split: bool,
    pub(crate) place: Place,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Decay {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let shape = param.dims();
        if !param.is_require_grad() || !(self.all || decays(&shape)) {
            return param;
        }
        let muon = self.split && self.place.is_matrix(&shape);
        let factor = if muon { self.muon } else { self.adam };
        let (id, tensor, mapper) = param.consume();
        let tensor = Tensor::from_inner(tensor.inner() * factor).require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// Takes Muon's gradients out of all.
pub(crate) struct Taker {
    pub(crate) gradients: GradientsParams,
    pub(crate) matrices: GradientsParams,
    pub(crate) place: Place,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Taker {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.place.is_matrix(&param.dims())
            && let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id)
        {
            self.matrices.register::<B::InnerBackend, D>(param.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::test_model::{gradients, model, parameters};

    #[test]
    fn muon_takes_the_matrices_between_hidden_features() {
        let model = model();
        let mut taker = Taker {
            gradients: gradients(&model),
            matrices: GradientsParams::new(),
            place: Place::default(),
        };
        model.visit(&mut taker);
        // Two convolutions; query-key-value, projection and the MLP's two of both blocks.
        assert_eq!(taker.matrices.len(), 2 + 2 * 4);
        assert_eq!(taker.gradients.len(), parameters(&model).len() - 10);
        let grey = Place::default();
        assert!(!grey.is_matrix(&[64, 1, 3, 3]) && !grey.is_matrix(&[128, 1]));
    }
}
