//! What the tests of kernels share.

#![allow(dead_code, reason = "each file of tests uses some of it")]

use std::sync::{Mutex, PoisonError};

use picovit::kernels::Isa;
use proptest::prelude::*;

/// The instruction set is one for all threads.
static CURRENT: Mutex<()> = Mutex::new(());

/// What a function gives with every instruction set of this processor, by name.
pub fn with_every_isa<R>(mut run: impl FnMut() -> R) -> Vec<(&'static str, R)> {
    let _guard = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let all = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    let results = all.map(|isa| {
        isa.select();
        assert_eq!(Isa::current(), isa);
        (isa.name(), run())
    });
    results.collect()
}

/// Fails unless all instruction sets give the same.
pub fn agree<R: PartialEq + std::fmt::Debug>(run: impl FnMut() -> R) -> Result<(), TestCaseError> {
    let results = with_every_isa(run);
    let (_, portable) = &results[0];
    for (name, result) in &results[1..] {
        prop_assert_eq!(portable, result, "{}", name);
    }
    Ok(())
}
