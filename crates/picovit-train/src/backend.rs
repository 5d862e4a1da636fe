//! Backends are compiled in by cargo feature and chosen at run time.

use std::fmt;
use std::str::FromStr;

use burn::backend::Autodiff;
use burn::tensor::backend::AutodiffBackend;

/// A backend to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendChoice {
    /// The best GPU compiled in, else the fastest CPU backend compiled in.
    #[default]
    Auto,
    /// Pure Rust on the CPU.
    Flex,
    /// Candle on the CPU.
    Candle,
    /// Candle on an NVIDIA GPU.
    CandleCuda,
    /// LibTorch on the CPU.
    Tch,
    /// CubeCL on an NVIDIA GPU.
    Cuda,
    /// CubeCL on any GPU.
    Wgpu,
    /// CubeCL on a GPU with Vulkan.
    Vulkan,
    /// CubeCL on an Apple GPU.
    Metal,
}

/// Why a backend cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No backend has this name.
    #[error("`{0}` is no backend; use auto, {names}", names = names().join(", "))]
    UnknownName(String),
    /// The backend was left out of this build.
    #[error("backend `{0}` is not compiled in; build with `--features {0}` (compiled in: {compiled})", compiled = compiled())]
    NotCompiled(BackendChoice),
    /// No backend at all was compiled in.
    #[error("no backend is compiled in; build with `--features flex`")]
    None,
}

/// Preference, name, whether it is compiled in.
const BACKENDS: [(BackendChoice, &str, bool); 8] = [
    (BackendChoice::Cuda, "cuda", cfg!(feature = "cuda")),
    (BackendChoice::CandleCuda, "candle-cuda", cfg!(feature = "candle-cuda")),
    (BackendChoice::Metal, "metal", cfg!(feature = "metal")),
    (BackendChoice::Vulkan, "vulkan", cfg!(feature = "vulkan")),
    (BackendChoice::Wgpu, "wgpu", cfg!(feature = "wgpu")),
    (BackendChoice::Tch, "tch", cfg!(feature = "tch")),
    (BackendChoice::Flex, "flex", cfg!(feature = "flex")),
    (BackendChoice::Candle, "candle", cfg!(feature = "candle")),
];

fn names() -> Vec<&'static str> {
    BACKENDS.iter().map(|backend| backend.1).collect()
}

fn compiled() -> String {
    let names: Vec<_> = BackendChoice::compiled_in().iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl BackendChoice {
    /// The backends of this build, best first.
    #[must_use]
    pub fn compiled_in() -> Vec<Self> {
        BACKENDS.iter().filter(|backend| backend.2).map(|backend| backend.0).collect()
    }

    /// The backend that `self` stands for.
    ///
    /// # Errors
    /// If it is not compiled in.
    pub fn resolve(self) -> Result<Self, BackendError> {
        let compiled_in = Self::compiled_in();
        match self {
            Self::Auto => compiled_in.first().copied().ok_or(BackendError::None),
            choice if compiled_in.contains(&choice) => Ok(choice),
            choice => Err(BackendError::NotCompiled(choice)),
        }
    }

    /// Runs a task on the backend.
    #[allow(
        deprecated,
        reason = "burn-candle is deprecated by Burn; users of 0.21 still train with it"
    )]
    pub(crate) fn dispatch<T: Task>(self, task: T) -> Result<T::Output, BackendError> {
        let choice = self.resolve()?;
        match choice {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(task.run::<Autodiff<burn::backend::Flex>>(&Default::default())),
            #[cfg(feature = "candle")]
            Self::Candle => Ok(task.run::<Autodiff<burn::backend::Candle>>(&Default::default())),
            #[cfg(feature = "candle-cuda")]
            Self::CandleCuda => Ok(task.run::<Autodiff<burn::backend::Candle>>(
                &burn::backend::candle::CandleDevice::cuda(0),
            )),
            #[cfg(feature = "tch")]
            Self::Tch => Ok(task.run::<Autodiff<burn::backend::LibTorch>>(&Default::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(task.run::<Autodiff<burn::backend::Cuda>>(&Default::default())),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(task.run::<Autodiff<burn::backend::Wgpu>>(&Default::default())),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(task.run::<Autodiff<burn::backend::Vulkan>>(&Default::default())),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(task.run::<Autodiff<burn::backend::Metal>>(&Default::default())),
            #[allow(unreachable_patterns)]
            _ => {
                let _ = task;
                Err(BackendError::NotCompiled(choice))
            }
        }
    }
}

/// Something that can run on any backend.
pub(crate) trait Task {
    /// Its result.
    type Output;

    /// Runs it.
    fn run<B: AutodiffBackend>(self, device: &B::Device) -> Self::Output;
}

impl FromStr for BackendChoice {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        if name == "auto" {
            return Ok(Self::Auto);
        }
        let found = BACKENDS.iter().find(|backend| backend.1 == name);
        found.map(|backend| backend.0).ok_or_else(|| BackendError::UnknownName(name.into()))
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = BACKENDS.iter().find(|backend| backend.0 == *self);
        f.write_str(found.map_or("auto", |backend| backend.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (choice, name, _) in BACKENDS {
            assert_eq!(name.parse::<BackendChoice>().unwrap(), choice);
            assert_eq!(choice.to_string(), name);
        }
        assert_eq!("auto".parse::<BackendChoice>().unwrap(), BackendChoice::Auto);
        let error = "tpu".parse::<BackendChoice>().unwrap_err().to_string();
        assert!(error.contains("`tpu`") && error.contains("flex"), "{error}");
    }

    #[test]
    fn a_missing_backend_names_its_feature() {
        for (choice, name, compiled_in) in BACKENDS {
            match choice.resolve() {
                Ok(resolved) => assert!(compiled_in && resolved == choice),
                Err(error) => {
                    assert!(!compiled_in);
                    assert!(error.to_string().contains(&format!("--features {name}")));
                }
            }
        }
    }
}
