//! Knowledge distillation: learning from the answers of trained networks, on the images as they
//! were varied for the student (Hinton, Vinyals and Dean, 2015; Beyer and others, 2022).

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{FloatDType, Tensor};
use picovit_models::{ModelConfig, Network, NoTaps, normalize, record, with_products_in};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Teachers, and how much they count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Checkpoints of any family, for the student's image size, channels and classes. The mean of
    /// their logits is the answer to learn.
    pub teachers: Vec<PathBuf>,
    /// Share of the loss that compares with the teachers' answers, in 0..=1; the rest compares with
    /// the labels.
    pub share: f32,
    /// What logits are divided by before they become probabilities to compare: above 1, unlikely
    /// classes count for more.
    pub temperature: f32,
}

impl Distillation {
    /// Distillation with nine tenths of the loss, at temperature 2.
    #[must_use]
    pub const fn new(teachers: Vec<PathBuf>) -> Self {
        Self { teachers, share: 0.9, temperature: 2.0 }
    }

    /// What is wrong with the values, after the option's name.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let Self { teachers, share, temperature } = self;
        if teachers.is_empty() {
            return Some(("teacher", "names no checkpoint".into()));
        }
        if !(0.0..=1.0).contains(share) {
            return Some(("distill", format!("is {share}, must be in 0..=1")));
        }
        if !(temperature.is_finite() && *temperature > 0.0) {
            return Some(("temperature", format!("is {temperature}, must be a number above 0")));
        }
        None
    }
}

/// The teachers of a run, on a device.
#[derive(Clone)]
pub(crate) struct Teachers<B: Backend> {
    networks: Vec<(ModelConfig, Network<B>)>,
    /// Matrix products are computed on bf16 values.
    mixed: bool,
    share: f32,
    temperature: f32,
    device: B::Device,
}

impl<B: Backend> Teachers<B> {
    /// Loads the checkpoints and holds them to the student's configuration.
    pub(crate) fn load(
        options: &Distillation,
        student: &ModelConfig,
        mixed: bool,
        device: &B::Device,
    ) -> Result<Self, TrainError> {
        let networks = options.teachers.iter().map(|path| {
            let (network, config) = record::load(path, device)?;
            if let Some(problem) = mismatch(&config, student) {
                return Err(TrainError::Teacher { path: path.clone(), problem });
            }
            let network = if mixed { with_products_in(network, FloatDType::BF16) } else { network };
            Ok((config, network))
        });
        let Distillation { share, temperature, .. } = *options;
        Ok(Self {
            networks: networks.collect::<Result<_, TrainError>>()?,
            mixed,
            share,
            temperature,
            device: device.clone(),
        })
    }

    /// The same teachers on another device.
    pub(crate) fn fork(self, device: &B::Device) -> Self {
        let networks = self.networks.into_iter();
        let networks = networks.map(|(config, network)| (config, network.fork(device))).collect();
        Self { networks, device: device.clone(), ..self }
    }

    /// Mean of the teachers' logits, `[image, class]`, for raw pixels.
    fn logits(&self, pixels: &[u8]) -> Tensor<B, 2> {
        let each = self.networks.iter().map(|(config, network)| {
            // Each in its own normalisation.
            let images = normalize::<B>(config, pixels, &self.device);
            // Only convolutions of training bring their input to the type of the weights.
            if self.mixed {
                network.forward_tapped(images, &mut NoTaps)
            } else {
                network.forward(images)
            }
        });
        let sum = each.reduce(|sum, logits| sum + logits).expect("a run has a teacher");
        sum / self.networks.len() as f64
    }

    /// The student's loss, of which `labels` is the one against the labels.
    pub(crate) fn loss<A>(
        &self,
        pixels: &[u8],
        logits: Tensor<A, 2>,
        labels: Tensor<A, 1>,
    ) -> Tensor<A, 1>
    where
        A: AutodiffBackend<InnerBackend = B>,
    {
        let teacher = Tensor::from_inner(self.logits(pixels));
        let learned = divergence(teacher, logits, self.temperature);
        weighted(Some(learned), Some(labels), self.share)
    }
}

/// What keeps a network from teaching another.
fn mismatch(teacher: &ModelConfig, student: &ModelConfig) -> Option<String> {
    let size = |config: &ModelConfig| {
        let (size, channels) = (config.image_size, config.channels);
        format!("{}x{}x{channels}", size.width, size.height)
    };
    if size(teacher) != size(student) {
        return Some(format!("takes images of {}, not {}", size(teacher), size(student)));
    }
    if teacher.classes != student.classes {
        return Some(format!("has {} classes, not {}", teacher.classes, student.classes));
    }
    let known = |config: &ModelConfig| !config.labels.is_empty();
    if known(teacher) && known(student) && teacher.labels != student.labels {
        return Some("knows other classes".into());
    }
    None
}

/// Kullback-Leibler divergence of the class probabilities from the teacher's, mean over the batch,
/// times the square of the temperature, so that gradients do not shrink with it.
pub(crate) fn divergence<B: Backend>(
    teacher: Tensor<B, 2>,
    logits: Tensor<B, 2>,
    temperature: f32,
) -> Tensor<B, 1> {
    let [batch, _] = logits.dims();
    let (teacher, logits) = match temperature {
        1.0 => (teacher, logits),
        _ => (teacher / temperature, logits / temperature),
    };
    let expected = softmax(teacher.clone(), 1);
    let difference = log_softmax(teacher, 1) - log_softmax(logits, 1);
    let factor = f64::from(temperature * temperature) / batch as f64;
    (expected * difference).sum() * factor
}

/// `share * a + (1 - share) * b`; what has no share may be missing.
pub(crate) fn weighted<B: Backend>(
    a: Option<Tensor<B, 1>>,
    b: Option<Tensor<B, 1>>,
    share: f32,
) -> Tensor<B, 1> {
    match (a, b) {
        (Some(a), Some(b)) => a * share + b * (1.0 - share),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => unreachable!("a share is at most 1"),
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::TensorData;

    use super::*;

    fn tensor(values: [[f32; 3]; 2]) -> Tensor<Flex, 2> {
        Tensor::from_data(TensorData::from(values), &Default::default())
    }

    #[test]
    fn the_divergence_is_that_of_the_definition() {
        let (teacher, student) =
            ([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], [[1.0, 0.0, 0.0], [-1.0, 2.0, 2.0]]);
        for temperature in [1.0_f32, 2.0, 4.0] {
            let probabilities = |logits: [f32; 3]| {
                let powers = logits.map(|logit| f64::from(logit / temperature).exp());
                powers.map(|power| power / powers.iter().sum::<f64>())
            };
            let of_image = |(teacher, student): ([f32; 3], [f32; 3])| -> f64 {
                let pairs = probabilities(teacher).into_iter().zip(probabilities(student));
                pairs.map(|(p, q)| p * (p / q).ln()).sum()
            };
            let expected: f64 = teacher.into_iter().zip(student).map(of_image).sum::<f64>() / 2.0;
            let expected = expected * f64::from(temperature).powi(2);
            let found = divergence(tensor(teacher), tensor(student), temperature);
            let found = f64::from(found.into_scalar());
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }

    #[test]
    fn a_teacher_must_fit() {
        let student = ModelConfig::named("cct_2_3x2").unwrap();
        assert_eq!(mismatch(&ModelConfig::named("cct_7_3x1").unwrap(), &student), None);
        let small = student.clone().with_image_size(28, 28);
        let problem = mismatch(&small, &student).unwrap();
        assert_eq!(problem, "takes images of 28x28x3, not 32x32x3");
        let mut other = student.clone();
        other.classes = 4;
        assert_eq!(mismatch(&other, &student).unwrap(), "has 4 classes, not 10");
    }
}
