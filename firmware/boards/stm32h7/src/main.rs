//! picovit on an STM32H743.
//!
//! The camera's task runs in an interrupt, now and then for some microseconds: frames arrive by
//! themselves. The rest of the time the processor classifies the newest and shows the answer. The model
//! lies in a part of the flash of its own.
#![no_std]
#![no_main]

mod camera;
mod clocks;
mod display;
mod frame;
mod pins;
mod watch;

use cortex_m::Peripherals as Core;
use cortex_m_rt::entry;
use embassy_executor::InterruptExecutor;
use embassy_stm32::interrupt;
use embassy_stm32::interrupt::{InterruptExt as _, Priority};
use picovit::Arena;
use picovit_app::{Exchange, Pulse};
use picovit_board::{Application, Station, WIRE_BYTES};

use display::BAND_BYTES;
use frame::Frame;
use sizes::ARENA_BYTES;
use watch::Watch;

/// What the build was told.
mod sizes {
    include!(concat!(env!("OUT_DIR"), "/sizes.rs"));
}

/// Frames from the camera's task to the model.
static EXCHANGE: Exchange<Frame> = Exchange::new();
/// Shows that the model is alive.
static PULSE: Pulse = Pulse::new();
/// Runs the camera's task.
static EXECUTOR: InterruptExecutor = InterruptExecutor::new();

/// An interrupt that nothing else uses.
#[allow(unsafe_code, reason = "what an interrupt does is declared unsafe")]
#[interrupt]
unsafe fn UART4() {
    // SAFETY: called from nowhere else, and enabled by the executor's start.
    unsafe { EXECUTOR.on_interrupt() }
}

/// Chips before revision V may read wrong data from the AXI SRAM, where the frames are, unless it is read
/// once at a time (ES0392, "Reading from AXI SRAM may lead to data read corruption"; ST's start-up code does
/// the same).
#[allow(unsafe_code, reason = "the HAL has neither of the registers")]
fn work_around_axi_sram() {
    const DBGMCU_IDC: *const u32 = 0x5c00_1000 as *const u32;
    const AXI_TARG7_FN_MOD: *mut u32 = 0x5100_8108 as *mut u32;
    // SAFETY: both are registers of this chip, and nothing else uses them.
    unsafe {
        if DBGMCU_IDC.read_volatile() >> 16 < 0x2000 {
            AXI_TARG7_FN_MOD.write_volatile(1);
        }
    }
}

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<ARENA_BYTES> = Arena::new();
    static mut APP: Option<Application> = None;
    static mut BAND: [u8; BAND_BYTES] = [0; BAND_BYTES];
    static mut WIRE: [u8; WIRE_BYTES] = [0; WIRE_BYTES];

    work_around_axi_sram();
    let pins = pins::assign(embassy_stm32::init(clocks::config()));
    let watch = Watch::start(pins.watchdog.watchdog);
    // Both are there: this runs once.
    if let (Some(mut core), Some((first, second))) = (Core::take(), Frame::both()) {
        EXCHANGE.give_back(second);
        core.SCB.enable_icache();
        core.SCB.enable_dcache(&mut core.CPUID);
        interrupt::UART4.set_priority(Priority::P6);
        let spawner = EXECUTOR.start(interrupt::UART4);
        if let Ok(task) = camera::run(pins.camera, first, core.SCB, watch) {
            spawner.spawn(task);
        }
    }
    let screen = display::open(pins.display, BAND, WIRE);
    Station { exchange: &EXCHANGE, layout: camera::LAYOUT, pulse: &PULSE }.run(screen, APP, ARENA)
}
