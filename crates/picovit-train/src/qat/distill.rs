//! Learning from a teacher's answers.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::backend::Backend;

/// Kullback-Leibler divergence of the class probabilities from the teacher's, mean over the batch:
/// Hinton, Vinyals and Dean, 2015, at temperature 1.
pub(crate) fn divergence<B: Backend>(teacher: Tensor<B, 2>, logits: Tensor<B, 2>) -> Tensor<B, 1> {
    let [batch, _] = logits.dims();
    let expected = softmax(teacher.clone(), 1);
    let difference = log_softmax(teacher, 1) - log_softmax(logits, 1);
    (expected * difference).sum() / batch as f64
}
