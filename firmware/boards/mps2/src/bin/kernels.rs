//! Runs the kernels over random shapes and values and prints a sum of what each group of them gives,
//! for a host to compare with its own.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m as _;
use cortex_m_rt::entry;
use defmt_semihosting as _;
use picovit_kernel_check::{CASES, GROUPS, Memory, run};
use semihosting::{print, println, process};

#[entry]
fn main() -> ! {
    static mut MEMORY: Memory = Memory::new();
    for (group, (name, _)) in GROUPS.iter().enumerate() {
        print!("{name}: ");
        println!("{:08x}", run(group, CASES, MEMORY).value());
    }
    process::exit(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    process::exit(2)
}
