//! probe
#![no_std]
#![no_main]
use defmt_rtt as _;
use embassy_rp::multicore::{Stack, spawn_core1};
use cortex_m_rt::entry;
#[entry]
fn main() -> ! {
    static mut STACK: Stack<4096> = Stack::new();
    let p = embassy_rp::init(Default::default());
    spawn_core1(p.CORE1, STACK, || loop { cortex_m::asm::wfe() });
    loop { cortex_m::asm::wfe() }
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop { cortex_m::asm::udf() } }
