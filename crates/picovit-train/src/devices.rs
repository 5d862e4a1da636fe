//! The devices of a backend, or why there are none.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::backend::{AutodiffBackend, Backend, Device as _, DeviceId};
use burn::tensor::{DType, FloatDType, Tensor};

use crate::backend::{BackendChoice, BackendError, Task};

/// Kinds of GPU: discrete, integrated and virtual for wgpu, of which CUDA has the first.
const GPUS: [u16; 3] = [0, 1, 2];

/// Whether the backend has a GPU. Vulkan may run on the processor, slower than a CPU backend.
pub(crate) struct HasGpu;

impl Task for HasGpu {
    type Output = bool;

    fn run<B: AutodiffBackend>(self, _: &[B::Device]) -> bool {
        GPUS.into_iter().any(|kind| B::device_count(kind) > 0)
    }
}

/// The only device of a CPU backend.
pub(crate) fn single<B: Backend>(
    backend: BackendChoice,
    asked: usize,
) -> Result<Vec<B::Device>, BackendError> {
    match asked {
        1 => Ok(vec![B::Device::default()]),
        _ => Err(BackendError::Devices { backend, asked, found: 1 }),
    }
}

/// The default device, or the first `asked` ones of the kind that has most.
pub(crate) fn numbered<B: Backend>(
    backend: BackendChoice,
    asked: usize,
) -> Result<Vec<B::Device>, BackendError> {
    let default = B::Device::default();
    caught(|| try_out::<B>(&default)).map_err(|problem| unavailable(backend, problem))?;
    if asked == 1 {
        return Ok(vec![default]);
    }
    let counts = GPUS.map(|kind| (B::device_count(kind), kind));
    let (found, kind) = counts.into_iter().rev().max_by_key(|(count, _)| *count).unwrap_or((0, 0));
    // The default one has been tried out, whatever kind it is.
    let found = found.max(1);
    if asked > found {
        return Err(BackendError::Devices { backend, asked, found });
    }
    let device = |index: usize| {
        let device = B::Device::from_id(DeviceId { type_id: kind, index_id: index as u16 });
        let tried = caught(|| try_out::<B>(&device));
        tried.map(|()| device).map_err(|problem| unavailable(backend, problem))
    };
    (0..asked).map(device).collect()
}

/// The devices that a function makes from their numbers.
pub(crate) fn made<B: Backend>(
    backend: BackendChoice,
    asked: usize,
    make: impl Fn(usize) -> B::Device,
) -> Result<Vec<B::Device>, BackendError> {
    let device = |index: usize| {
        caught(|| {
            let device = make(index);
            try_out::<B>(&device);
            device
        })
    };
    let first = device(0).map_err(|problem| unavailable(backend, problem))?;
    let mut devices = vec![first];
    for index in 1..asked {
        let none = |_| BackendError::Devices { backend, asked, found: index };
        devices.push(device(index).map_err(none)?);
    }
    Ok(devices)
}

/// Panics unless the device computes; that needs its driver and its kernel compiler.
fn try_out<B: Backend>(device: &B::Device) {
    let sum = Tensor::<B, 1>::from_floats([1.0, 2.0], device) + 1.0;
    let values = sum.into_data().convert::<f32>().to_vec::<f32>().expect("floats");
    assert_eq!(values, [2.0, 3.0], "the device computes wrong values");
}

/// Whether the device multiplies matrices of bf16 values. Candle says so of the CPU and does not.
pub(crate) fn multiplies_bf16<B: Backend>(device: &B::Device) -> bool {
    let product = || {
        let values = Tensor::<B, 2>::from_floats([[2.0, 1.0], [0.0, 4.0]], device);
        let values = values.cast(FloatDType::BF16);
        let product = values.clone().matmul(values).into_data();
        product.convert::<f32>().to_vec::<f32>().expect("floats")
    };
    B::supports_dtype(device, DType::BF16) && caught(product) == Ok(vec![4.0, 6.0, 0.0, 16.0])
}

pub(crate) fn unavailable(backend: BackendChoice, problem: String) -> BackendError {
    BackendError::Unavailable { backend, problem, remedy: backend.remedy() }
}

/// Runs what may panic and gives the message, which libraries for GPUs have instead of an error.
/// The first message counts: it comes from the thread that drives the device, and others follow
/// because that thread is gone.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // The hook belongs to the whole process.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let messages = Arc::new(Mutex::new(Vec::<String>::new()));
    let collected = Arc::clone(&messages);
    let hook = take_hook();
    set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or("it stopped without a reason");
        let words: Vec<&str> = message.split_whitespace().collect();
        collected.lock().unwrap_or_else(PoisonError::into_inner).push(words.join(" "));
    }));
    let result = catch_unwind(AssertUnwindSafe(work));
    set_hook(hook);
    let messages = std::mem::take(&mut *messages.lock().unwrap_or_else(PoisonError::into_inner));
    if result.is_ok() {
        // Nothing of this backend's, then; nobody else's shall be lost.
        messages.iter().for_each(|message| eprintln!("{message}"));
    }
    result.map_err(|_| messages.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_panic_is_the_reason() {
        let found = caught(|| {
            let driver = std::thread::spawn(|| panic!("no driver"));
            driver.join().expect("the thread answers");
        });
        assert_eq!(found, Err("no driver".into()));
        assert_eq!(caught(|| 5), Ok(5));
    }

    #[test]
    fn what_is_missing_comes_with_a_remedy() {
        let error = unavailable(BackendChoice::Cuda, "no driver".into()).to_string();
        for part in ["`cuda`", "no driver", "nvidia-smi", "CUDA toolkit"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
