//! The check of the kernels.

use picovit_kernel_check::{Memory, run};

/// Sums up so many cases of a group.
#[unsafe(no_mangle)]
extern "C" fn group(index: u32, cases: u32) -> u32 {
    run(index as usize, cases, &mut Memory::new()).value()
}
