//! What the host provides over semihosting: options, a file for the overlay, and a way out.

use embedded_graphics::primitives::Rectangle;
use picovit_app::Sink;
use semihosting::experimental::env;
use semihosting::fs::File;
use semihosting::io::{self, Write};

/// Which overlays to send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Overlays {
    /// None.
    None,
    /// That of the last picture.
    Last,
    /// All.
    All,
}

/// The host's choice, `overlay=none|last|all` among the program's arguments. Not inlined: they are long,
/// and the stack is free again afterwards.
#[inline(never)]
pub fn overlays() -> Overlays {
    let Ok(args) = env::args::<256>() else { return Overlays::None };
    let mut choice = Overlays::None;
    for arg in &args {
        match arg {
            Ok("overlay=last") => choice = Overlays::Last,
            Ok("overlay=all") => choice = Overlays::All,
            _ => {}
        }
    }
    choice
}

/// Writes bands one after the other to `overlay.rgb565` in the host's working directory.
pub struct OverlayFile(Option<File>);

impl OverlayFile {
    /// The file is created with the first band.
    pub const fn new() -> Self {
        Self(None)
    }
}

impl Sink for OverlayFile {
    type Error = io::Error;

    fn take(&mut self, _: &Rectangle, pixels: &[u8]) -> Result<(), io::Error> {
        if self.0.is_none() {
            self.0 = Some(File::create(c"overlay.rgb565")?);
        }
        self.0.as_mut().map_or(Ok(()), |file| file.write_all(pixels))
    }
}

/// Ends the emulation: 0 for success.
pub fn exit(code: i32) -> ! {
    semihosting::process::exit(code)
}
