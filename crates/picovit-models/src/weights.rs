//! Parameters as host memory: names, shapes, and the two sources they come from.

use std::collections::HashMap;

use rand::RngCore;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// One parameter of a network, in PyTorch's layout: convolutions `[out][in][kh][kw]`, linear
/// layers `[out][in]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Dotted name (`blocks.0.qkv.weight`).
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// What it is, which decides how it starts.
    pub kind: ParameterKind,
}

/// Role of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Convolution kernel: Kaiming normal, fan-in, ReLU gain.
    Conv,
    /// Weight of a linear layer: normal of deviation 0.02, cut at 2.
    LinearWeight,
    /// Positional embedding: normal of deviation 0.2, cut at 2, or fixed sines.
    Position {
        /// Whether it holds fixed sines and cosines.
        sine: bool,
    },
    /// Starts at 0.
    Zero,
    /// Factor of a normalisation; starts at 1.
    One,
    /// Weight of a linear layer: uniform with variance 2 / fans, as Glorot and Bengio proposed.
    GlorotWeight {
        /// Inputs and outputs of the layer.
        fans: usize,
    },
    /// Positional embedding: uniform with variance 2 / fans.
    GlorotPosition {
        /// Tokens and channels.
        fans: usize,
    },
    /// Running mean of a batch normalisation, which no gradient reaches; starts at 0.
    RunningMean,
    /// Running variance of a batch normalisation, which no gradient reaches; starts at 1.
    RunningVariance,
}

impl ParameterKind {
    /// Whether it is the weight of a linear layer, which Burn stores transposed.
    #[must_use]
    pub const fn is_linear(self) -> bool {
        matches!(self, Self::LinearWeight | Self::GlorotWeight { .. })
    }

    /// Whether it is a statistic of the data and no parameter.
    #[must_use]
    pub const fn is_statistic(self) -> bool {
        matches!(self, Self::RunningMean | Self::RunningVariance)
    }

    /// Whether it belongs to positions of the image.
    #[must_use]
    pub const fn is_position(self) -> bool {
        matches!(self, Self::Position { .. } | Self::GlorotPosition { .. })
    }
}

impl ParameterSpec {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values of all parameters by name, each of the length its [`ParameterSpec`] states.
#[derive(Clone, Debug, Default)]
pub struct Parameters(HashMap<String, Vec<f32>>);

impl Parameters {
    /// Adds a parameter.
    pub fn insert(&mut self, spec: &ParameterSpec, values: Vec<f32>) {
        assert_eq!(values.len(), spec.len(), "{}: values do not fill the shape", spec.name);
        self.0.insert(spec.name.clone(), values);
    }

    /// Removes a parameter and returns its values.
    ///
    /// # Panics
    /// If there is none: module and specification disagree.
    pub(crate) fn take(&mut self, name: &str) -> Vec<f32> {
        self.0.remove(name).unwrap_or_else(|| panic!("no parameter is called {name}"))
    }
}

/// Draws initial parameters on the host, so that every backend starts from the same ones.
#[derive(Clone, Debug)]
pub struct Initializer(Xoshiro256PlusPlus);

impl Initializer {
    /// An initializer whose draws depend on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Draws all parameters in `specs`.
    #[must_use]
    pub fn draw(&mut self, specs: &[ParameterSpec]) -> Parameters {
        let mut parameters = Parameters::default();
        for spec in specs {
            let values = match spec.kind {
                ParameterKind::Zero | ParameterKind::RunningMean => vec![0.0; spec.len()],
                ParameterKind::One | ParameterKind::RunningVariance => vec![1.0; spec.len()],
                ParameterKind::GlorotWeight { fans } | ParameterKind::GlorotPosition { fans } => {
                    let limit = libm::sqrt(6.0 / fans as f64);
                    let draw = |_| (limit * (2.0 * self.uniform() - 1.0)) as f32;
                    (0..spec.len()).map(draw).collect()
                }
                ParameterKind::LinearWeight => self.normal(spec.len(), 0.02),
                ParameterKind::Position { sine: false } => self.normal(spec.len(), 0.2),
                ParameterKind::Position { sine: true } => sines(&spec.shape),
                ParameterKind::Conv => {
                    let fan_in: usize = spec.shape[1..].iter().product();
                    self.normal(spec.len(), libm::sqrt(2.0 / fan_in as f64))
                }
            };
            parameters.insert(spec, values);
        }
        parameters
    }

    /// Normal values cut at +-2, by Box and Muller's method.
    fn normal(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        let mut values = Vec::with_capacity(len + 1);
        while values.len() < len {
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
            let angle = std::f64::consts::TAU * self.uniform();
            for factor in [libm::cos(angle), libm::sin(angle)] {
                values.push((deviation * radius * factor).clamp(-2.0, 2.0) as f32);
            }
        }
        values.truncate(len);
        values
    }

    /// Uniform in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One-dimensional sine embedding: sines in even channels, cosines in odd ones.
pub(crate) fn sines(shape: &[usize]) -> Vec<f32> {
    let (tokens, dim) = (shape[1], shape[2]);
    let value = |position: usize, channel: usize| {
        let exponent = 2.0 * (channel / 2) as f64 / dim as f64;
        let angle = position as f64 / libm::pow(10_000.0, exponent);
        let value = if channel.is_multiple_of(2) { libm::sin(angle) } else { libm::cos(angle) };
        value as f32
    };
    (0..tokens).flat_map(|p| (0..dim).map(move |c| value(p, c))).collect()
}

/// Transposes a row-major matrix.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |c: usize| (0..rows).map(move |r| values[r * columns + c]);
    (0..columns).flat_map(column).collect()
}
