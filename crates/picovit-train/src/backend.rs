//! Backends are compiled in by cargo feature and chosen at run time.

use std::fmt;
use std::str::FromStr;

use burn::backend::Autodiff;
use burn::tensor::backend::AutodiffBackend;

use crate::devices::{self, HasGpu};

/// A backend to compute on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendChoice {
    /// The best GPU backend compiled in that finds a GPU, else the fastest CPU backend compiled
    /// in.
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
    /// Its device is missing, or something that it needs.
    #[error("backend `{backend}` is not usable here: {problem}; {remedy}")]
    Unavailable {
        /// The backend.
        backend: BackendChoice,
        /// What its library said.
        problem: String,
        /// What helps.
        remedy: &'static str,
    },
    /// It has fewer devices than asked for.
    #[error(
        "`devices` is {asked}, backend `{backend}` has {found}; ask for at most {found}, or choose a backend with more"
    )]
    Devices {
        /// The backend.
        backend: BackendChoice,
        /// Devices asked for.
        asked: usize,
        /// Devices there are.
        found: usize,
    },
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

    /// The backend that `self` stands for. `Auto` tries out the GPU backends compiled in.
    ///
    /// # Errors
    /// If it is not compiled in.
    pub fn resolve(self) -> Result<Self, BackendError> {
        let compiled_in = Self::compiled_in();
        match self {
            Self::Auto => {
                let mut usable = compiled_in.into_iter().filter(|choice| {
                    !choice.wants_gpu() || matches!(choice.dispatch(1, HasGpu), Ok(true))
                });
                usable.next().ok_or(BackendError::None)
            }
            choice if compiled_in.contains(&choice) => Ok(choice),
            choice => Err(BackendError::NotCompiled(choice)),
        }
    }

    const fn wants_gpu(self) -> bool {
        use BackendChoice::{CandleCuda, Cuda, Metal, Vulkan, Wgpu};
        matches!(self, Cuda | CandleCuda | Metal | Vulkan | Wgpu)
    }

    /// Why this system has no such backend. Burn takes Metal on macOS and Vulkan elsewhere,
    /// whatever it was asked for.
    const fn foreign(self) -> Option<&'static str> {
        match self {
            Self::Metal if cfg!(not(target_os = "macos")) => Some("this is not macOS"),
            Self::Vulkan if cfg!(target_os = "macos") => Some("this is macOS"),
            _ => None,
        }
    }

    /// What helps where its device is missing.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Cuda => {
                "install NVIDIA's driver, so that `nvidia-smi` lists a GPU, and the CUDA toolkit, \
                 which compiles the kernels, in /usr/local/cuda or where CUDA_PATH says"
            }
            Self::CandleCuda => {
                "install NVIDIA's driver, so that `nvidia-smi` lists a GPU, and the CUDA toolkit \
                 that picovit was built with"
            }
            Self::Wgpu | Self::Vulkan if cfg!(target_os = "macos") => "use the backend `metal`",
            Self::Wgpu | Self::Vulkan => {
                "install the GPU's Vulkan driver, so that `vulkaninfo --summary` lists a device"
            }
            Self::Metal => "outside macOS, use the backend `vulkan`",
            Self::Auto | Self::Flex | Self::Candle | Self::Tch => "choose another backend",
        }
    }

    /// Runs a task on so many devices of the backend.
    #[allow(
        deprecated,
        reason = "burn-candle is deprecated by Burn; users of 0.21 still train with it"
    )]
    pub(crate) fn dispatch<T: Task>(
        self,
        count: usize,
        task: T,
    ) -> Result<T::Output, BackendError> {
        let choice = self.resolve()?;
        if let Some(problem) = choice.foreign() {
            return Err(devices::unavailable(choice, problem.into()));
        }
        match choice {
            #[cfg(feature = "flex")]
            Self::Flex => {
                type B = Autodiff<burn::backend::Flex>;
                Ok(task.run::<B>(&devices::single::<B>(choice, count)?))
            }
            #[cfg(feature = "candle")]
            Self::Candle => {
                type B = Autodiff<burn::backend::Candle>;
                Ok(task.run::<B>(&devices::single::<B>(choice, count)?))
            }
            #[cfg(feature = "tch")]
            Self::Tch => {
                type B = Autodiff<burn::backend::LibTorch>;
                Ok(task.run::<B>(&devices::single::<B>(choice, count)?))
            }
            #[cfg(feature = "candle-cuda")]
            Self::CandleCuda => {
                type B = Autodiff<burn::backend::Candle>;
                Ok(task.run::<B>(&devices::made::<B>(
                    choice,
                    count,
                    burn::backend::candle::CandleDevice::cuda,
                )?))
            }
            #[cfg(feature = "cuda")]
            Self::Cuda => {
                type B = Autodiff<burn::backend::Cuda>;
                Ok(task.run::<B>(&devices::numbered::<B>(choice, count)?))
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu => {
                type B = Autodiff<burn::backend::Wgpu>;
                Ok(task.run::<B>(&devices::numbered::<B>(choice, count)?))
            }
            #[cfg(feature = "vulkan")]
            Self::Vulkan => {
                type B = Autodiff<burn::backend::Vulkan>;
                Ok(task.run::<B>(&devices::numbered::<B>(choice, count)?))
            }
            #[cfg(feature = "metal")]
            Self::Metal => {
                type B = Autodiff<burn::backend::Metal>;
                Ok(task.run::<B>(&devices::numbered::<B>(choice, count)?))
            }
            #[allow(unreachable_patterns)]
            _ => {
                let _ = (task, count);
                Err(BackendError::NotCompiled(choice))
            }
        }
    }
}

/// Something that can run on any backend.
pub(crate) trait Task {
    /// Its result.
    type Output;

    /// Runs it on one device or more.
    fn run<B: AutodiffBackend>(self, devices: &[B::Device]) -> Self::Output;
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
