//! picovit on a Raspberry Pi Pico 2.
//!
//! Core 0 reads the camera and feeds the watchdog, core 1 classifies the newest frame and shows the
//! answer. The model lies in a part of the flash of its own.
#![no_std]
#![no_main]

mod camera;
mod capture;
mod display;
mod pins;
mod watch;

use cortex_m_rt::entry;
use embassy_executor::Executor;
use embassy_rp::multicore::{Stack, spawn_core1};
use picovit::Arena;
use picovit_app::{Exchange, Pulse};
use picovit_board::{Application, Station, WIRE_BYTES};

use camera::FRAME_BYTES;
use display::BAND_BYTES;
use sizes::{ARENA_BYTES, STACK_BYTES};
use watch::Watch;

/// What the build was told.
mod sizes {
    include!(concat!(env!("OUT_DIR"), "/sizes.rs"));
}

/// A buffer for a frame.
type Frame = &'static mut [u8; FRAME_BYTES];

/// Frames from core 0 to core 1.
static EXCHANGE: Exchange<Frame> = Exchange::new();
/// Shows core 0 that core 1 is alive.
static PULSE: Pulse = Pulse::new();

#[entry]
fn main() -> ! {
    static mut FRAMES: [[u8; FRAME_BYTES]; 2] = [[0; FRAME_BYTES]; 2];
    static mut ARENA: Arena<ARENA_BYTES> = Arena::new();
    static mut APP: Option<Application> = None;
    static mut BAND: [u8; BAND_BYTES] = [0; BAND_BYTES];
    static mut WIRE: [u8; WIRE_BYTES] = [0; WIRE_BYTES];
    static mut STACK: Stack<STACK_BYTES> = Stack::new();
    static mut EXECUTOR: Option<Executor> = None;

    let pins = pins::assign(embassy_rp::init(Default::default()));
    let watch = Watch::start(pins.core.watchdog);
    let display = pins.display;
    spawn_core1(pins.core.core1, STACK, move || {
        let screen = display::open(display, BAND, WIRE);
        Station { exchange: &EXCHANGE, layout: camera::LAYOUT, pulse: &PULSE }
            .run(screen, APP, ARENA)
    });

    let [first, second] = FRAMES;
    EXCHANGE.give_back(second);
    EXECUTOR.insert(Executor::new()).run(|spawner| {
        if let Ok(task) = camera::run(pins.camera, first, watch) {
            spawner.spawn(task);
        }
    })
}
