//! Why a board does not start with the model in its region.

use core::fmt;

use picovit::format::Packing;

use super::VERSION;

/// Why a model in flash memory of its own cannot be used. [`Notice`](crate::Notice) has a short form
/// of each for a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionError {
    /// Nothing has been written: the memory is erased.
    Empty,
    /// The bytes do not start like a region.
    Magic,
    /// The region is of another version of the layout.
    Version {
        /// Version found.
        found: u16,
    },
    /// The header does not agree with the memory or with the model.
    Length,
    /// The bytes changed since they were written, or not all of them were.
    Checksum,
    /// The engine refuses the model, or the arena.
    Model(picovit::Error),
    /// The weights are in the order of another chip's kernels, see
    /// [`SUPPORTED`](super::SUPPORTED).
    WrongTarget {
        /// Order found.
        found: Packing,
        /// The chip's.
        wanted: Packing,
    },
    /// The model has more classes than the firmware was built for.
    TooManyClasses {
        /// Classes of the model.
        classes: usize,
        /// Classes there is room for.
        room: usize,
    },
    /// The model needs more working memory than the firmware was built with.
    ArenaTooSmall {
        /// Bytes needed.
        needs: usize,
        /// Bytes there are.
        has: usize,
    },
    /// The chip does not compute what the host computed for the picture in the region.
    SelfTest {
        /// Logits that differ.
        differing: usize,
        /// Logits in all.
        classes: usize,
    },
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "write it again: cargo firmware flash --model-only";
        match self {
            Self::Empty => {
                f.write_str("there is no model: cargo firmware flash --model-only writes one")
            }
            Self::Magic => write!(f, "what is in the model's place is no model region; {AGAIN}"),
            Self::Version { found } => write!(
                f,
                "model region of version {found}, this firmware reads version {VERSION}; write firmware and model again: cargo firmware flash"
            ),
            Self::Length => write!(f, "the lengths in the model region do not agree; {AGAIN}"),
            Self::Checksum => write!(f, "checksum mismatch: the model region is damaged; {AGAIN}"),
            Self::Model(error) => error.fmt(f),
            Self::WrongTarget { found, wanted } => write!(
                f,
                "the model is packed for {}, this chip takes {}: cargo tools quantize --target {}",
                found.name(),
                wanted.name(),
                target(*wanted)
            ),
            Self::TooManyClasses { classes, room } => write!(
                f,
                "the model has {classes} classes, the firmware has room for {room}: build it for more"
            ),
            Self::ArenaTooSmall { needs, has } => write!(
                f,
                "the model needs an arena of {needs} bytes, the firmware has {has}: cargo tools quantize --arena-budget {has}"
            ),
            Self::SelfTest { differing, classes } => write!(
                f,
                "self-test: {differing} of {classes} logits are not the host's; write firmware and model again: cargo firmware flash; if that does not help, the memory or the chip is faulty"
            ),
        }
    }
}

impl core::error::Error for RegionError {}

#[cfg(feature = "defmt")]
impl defmt::Format for RegionError {
    fn format(&self, f: defmt::Formatter<'_>) {
        use defmt::write;
        match self {
            Self::Empty => {
                write!(f, "there is no model: cargo firmware flash --model-only writes one");
            }
            Self::Magic => write!(
                f,
                "what is in the model's place is no model region; write it again: cargo firmware flash --model-only"
            ),
            Self::Version { found } => write!(
                f,
                "model region of version {=u16}, this firmware reads version {=u16}; write firmware and model again: cargo firmware flash",
                found, VERSION
            ),
            Self::Length => write!(
                f,
                "the lengths in the model region do not agree; write it again: cargo firmware flash --model-only"
            ),
            Self::Checksum => write!(
                f,
                "checksum mismatch: the model region is damaged; write it again: cargo firmware flash --model-only"
            ),
            Self::Model(error) => write!(f, "the engine refuses the model: {}", error),
            Self::WrongTarget { found, wanted } => write!(
                f,
                "the model is packed for {=str}, this chip takes {=str}: cargo tools quantize --target {=str}",
                found.name(),
                wanted.name(),
                target(*wanted)
            ),
            Self::TooManyClasses { classes, room } => write!(
                f,
                "the model has {=usize} classes, the firmware has room for {=usize}: build it for more",
                classes, room
            ),
            Self::ArenaTooSmall { needs, has } => write!(
                f,
                "the model needs an arena of {=usize} bytes, the firmware has {=usize}: cargo tools quantize --arena-budget {=usize}",
                needs, has, has
            ),
            Self::SelfTest { differing, classes } => write!(
                f,
                "self-test: {=usize} of {=usize} logits are not the host's; write firmware and model again: cargo firmware flash; if that does not help, the memory or the chip is faulty",
                differing, classes
            ),
        }
    }
}

/// What `cargo tools quantize --target` calls an order. Cortex-M4, M7 and M33 share one.
pub(crate) const fn target(packing: Packing) -> &'static str {
    match packing {
        Packing::CortexM => "cortex-m33",
        Packing::Helium => "cortex-m55",
        Packing::Wide => "x86",
        _ => "portable",
    }
}
