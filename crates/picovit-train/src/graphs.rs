//! Keeps the backward pass of one thread away from the graphs that others are building.
//!
//! At its end, every backward pass of Burn 0.21 sweeps the graphs of the whole process and frees the
//! steps of those that no tensor refers to. A graph is among them for a moment when it has none but the
//! inputs of an operation that is just being recorded: swept then, the operation's gradient goes
//! nowhere, without an error (<https://github.com/tracel-ai/burn/issues/5573>). That happens where weights
//! serve two backward passes, as with `accumulate`, on several devices or in several runs of one
//! process. So any number of threads may build, and a backward pass is alone.
//!
//! On a GPU this costs little: backward passes only hand their kernels over.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

static GRAPHS: RwLock<()> = RwLock::new(());

/// Held by a thread while it records operations whose gradients it will want, until they end in one
/// tensor that it keeps.
pub(crate) struct Building {
    _guard: RwLockReadGuard<'static, ()>,
}

impl Building {
    /// Waits for the backward pass of another thread, if there is one.
    pub(crate) fn start() -> Self {
        // There is no data that a panic elsewhere could have left half done.
        Self { _guard: GRAPHS.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The gradients of `loss`, in which what was built ends.
    pub(crate) fn backward<B: AutodiffBackend>(self, loss: Tensor<B, 1>) -> B::Gradients {
        drop(self);
        let _alone = GRAPHS.write().unwrap_or_else(PoisonError::into_inner);
        loss.backward()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::scope;

    use burn::backend::{Autodiff, Flex};

    use super::*;

    type B = Autodiff<Flex>;

    /// The gradient of a leaf that is doubled, repeated four times and added up: eight everywhere.
    fn gradient(leaf: &Tensor<B, 1>) -> Option<Vec<f32>> {
        let building = Building::start();
        let doubled = leaf.clone() * 2.0;
        let joined = Tensor::cat(vec![doubled; 4], 0);
        let gradients = building.backward(joined.sum());
        leaf.grad(&gradients).map(|gradient| gradient.into_data().to_vec().unwrap())
    }

    fn leaf(len: usize) -> Tensor<B, 1> {
        Tensor::ones([len], &Default::default()).require_grad()
    }

    /// Without the lock, nearly every run of this test loses gradients.
    #[test]
    fn threads_lose_no_gradient_to_each_other() {
        let done = AtomicBool::new(false);
        let sweep = || {
            while !done.load(Ordering::Relaxed) {
                gradient(&leaf(1)).unwrap();
            }
        };
        let count = || {
            // From its second pass on, the leaf is no part of the graph: nothing in it is referred to
            // while the copies are joined.
            let leaf = leaf(100_000);
            let found = (0..600).map(|_| gradient(&leaf));
            found.filter(|found| *found != Some(vec![8.0; 100_000])).count()
        };
        let lost = scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(sweep)));
            let lost = scope.spawn(count).join();
            // After a panic, too: the others would go on for ever.
            done.store(true, Ordering::Relaxed);
            lost.unwrap()
        });
        assert_eq!(lost, 0, "of 600 gradients");
    }
}
