//! What the cores of a board with a camera do, with two threads for them: one captures, the other
//! classifies the newest frame and shows it, or why there is none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use picovit::format::Packing;
use picovit::image::{Frame, PixelFormat, fit};
use picovit::{Engine, Model};
use picovit_app::region::{ARENA_BYTES, CLASSES};
use picovit_app::{
    App, AppError, CameraError, Clock, Cost, Exchange, Layout, Live, Notice, Pulse, Scene, Screen,
    Settings, WINDOW, boot, serve,
};
use picovit_tests::reference::Aligned;

use crate::random_network;
use crate::region::region_of;

const LAYOUT: Layout = Layout { width: 160, height: 120, format: PixelFormat::Yuyv };

/// What the board shows.
#[derive(Debug, PartialEq)]
enum Shown {
    Picture(Vec<i8>),
    Notice(&'static str),
}

/// A display that somebody looks at, until it is switched off.
struct Display<'t> {
    seen: Sender<Shown>,
    off: &'t AtomicBool,
}

#[derive(Debug, PartialEq)]
struct Off;

impl Display<'_> {
    fn show(&self, what: Shown) -> Result<(), Off> {
        if self.off.load(Ordering::SeqCst) {
            return Err(Off);
        }
        self.seen.send(what).map_err(|_| Off)
    }
}

impl Screen for Display<'_> {
    type Error = Off;

    fn show(&mut self, scene: &Scene<'_>) -> Result<(), Off> {
        Self::show(self, Shown::Picture(scene.picture.pixels.to_vec()))
    }

    fn show_notice(&mut self, notice: &Notice) -> Result<(), Off> {
        Self::show(self, Shown::Notice(notice.title()))
    }
}

struct NoClock;

impl Clock for NoClock {
    fn start(&mut self) {}

    fn stop(&mut self) -> Cost {
        Cost::Unknown
    }
}

/// A frame of its own for every number.
fn frame(number: u8) -> Vec<u8> {
    let bytes = 0..LAYOUT.width * LAYOUT.height * 2;
    bytes.map(|i| (i as u8).wrapping_mul(number) ^ number.wrapping_mul(37)).collect()
}

/// What the network sees of it.
fn picture(number: u8) -> Vec<i8> {
    let Layout { width, height, format } = LAYOUT;
    let (pixels, mut out) = (frame(number), vec![0; 32 * 32]);
    fit(&Frame { width, height, format, pixels: &pixels }, 32, 32, 1, &mut out).unwrap();
    out
}

/// Does something until the board shows this, as a camera does: it sends the same again and again.
fn until(seen: &Receiver<Shown>, expected: &Shown, mut action: impl FnMut()) {
    loop {
        action();
        match seen.try_recv() {
            Ok(shown) if shown == *expected => return,
            // It still looked at what came before.
            Ok(_) => {}
            Err(_) => thread::yield_now(),
        }
    }
}

#[test]
fn a_camera_that_comes_and_goes_is_shown_as_it_is() {
    let artifact = random_network(32, 11);
    let region = Aligned::copy(&region_of(&artifact));
    let mut arena = Aligned::filled(ARENA_BYTES, 0xa5);
    let mut place: Option<App<'_, '_, CLASSES, WINDOW>> = None;
    let supported = [Packing::Portable];
    let app = boot(&mut place, &region, &supported, &mut arena, Settings::default()).unwrap();

    let (exchange, pulse, off) = (Exchange::new(), Pulse::new(), AtomicBool::new(false));
    exchange.give_back(frame(0));
    let (sender, seen) = channel();
    thread::scope(|scope| {
        let vision = scope.spawn(|| {
            let mut display = Display { seen: sender, off: &off };
            let mut live = Live::new(&exchange, LAYOUT, &pulse, thread::yield_now);
            serve(app, &mut live, &mut NoClock, &mut display)
        });

        // Before the first frame, and whenever it stops, the display says why there is none.
        let missing = CameraError::SetUp {
            reason: "camera does not answer",
            remedy: "check supply, clock (XCLK), SDA and SCL",
        };
        exchange.fail(missing);
        until(&seen, &Shown::Notice("No camera"), || ());
        let mut buffer = frame(0);
        for number in [1, 2, 3] {
            until(&seen, &Shown::Picture(picture(number)), || {
                buffer.copy_from_slice(&frame(number));
                buffer = exchange.swap(std::mem::take(&mut buffer));
            });
        }
        exchange.fail(CameraError::Silent);
        until(&seen, &Shown::Notice("No picture"), || ());
        exchange.fail(missing);
        until(&seen, &Shown::Notice("No camera"), || ());
        until(&seen, &Shown::Picture(picture(4)), || {
            buffer.copy_from_slice(&frame(4));
            buffer = exchange.swap(std::mem::take(&mut buffer));
        });
        assert!(pulse.count() > 0);

        off.store(true, Ordering::SeqCst);
        while !vision.is_finished() {
            buffer.copy_from_slice(&frame(4));
            buffer = exchange.swap(std::mem::take(&mut buffer));
            thread::yield_now();
        }
        assert_eq!(vision.join().unwrap(), Err(AppError::Board(Off)));
    });

    // The last answer is the engine's for the last frame.
    let bytes = Aligned::copy(&artifact);
    let model = Model::parse(&bytes).unwrap();
    let mut arena = Aligned::filled(model.arena_bytes(), 0);
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    engine.input().copy_from_slice(&picture(4));
    assert_eq!(place.unwrap().logits(), engine.run());
}
