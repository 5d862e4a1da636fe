//! What can be wrong with an artifact or an arena.

use core::fmt;

/// Why an artifact was refused, or an arena did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start like an artifact.
    NotAnArtifact,
    /// The artifact is of another format version; quantize the checkpoint again.
    Version {
        /// Version found.
        found: u16,
    },
    /// The number format is unknown to this build of the engine; f16 and mixed artifacts need its
    /// feature `f16`.
    Format {
        /// Format found.
        found: u8,
    },
    /// The weights are packed for another instruction set than the build is for; it may be one that
    /// was built without the processor's flags, see the crate's documentation.
    Packing {
        /// Packing found.
        found: u8,
    },
    /// The artifact is shorter or longer than it says, or shorter than a header.
    Length {
        /// Length it says, or that of the header.
        expected: u32,
        /// Length it has.
        found: u32,
    },
    /// The bytes changed since the artifact was written.
    Checksum,
    /// The artifact is not 16-byte aligned in memory; use `include_artifact!`.
    Alignment,
    /// A header field holds what it must not.
    Header,
    /// An operation record holds what it must not.
    Operation {
        /// Index of the operation.
        index: u16,
    },
    /// The build has no code for an operation: the artifact was quantized for another target, or one of
    /// the crate's features was turned off.
    Unsupported {
        /// Index of the operation.
        index: u16,
    },
    /// A constant of an operation lies outside the file or is not aligned.
    Constant {
        /// Index of the operation.
        index: u16,
    },
    /// Buffers of an operation overlap or lie outside the arena.
    Buffer {
        /// Index of the operation.
        index: u16,
    },
    /// The output of an operation is not what the next one takes.
    Chain {
        /// Index of the operation that does not fit its predecessor; the number of operations where the
        /// last one does not give the logits.
        index: u16,
    },
    /// The arena is too small.
    ArenaTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// The arena is not 16-byte aligned; use `Arena`.
    ArenaAlignment,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArtifact => f.write_str("not a picovit artifact (wrong magic)"),
            Self::Version { found } => write!(
                f,
                "artifact format version {found}, this engine reads version {}; quantize the checkpoint again",
                crate::format::VERSION
            ),
            Self::Format { found } => write!(
                f,
                "this build of the engine has no operations for number format {found}; f16 and mixed artifacts need its feature `f16`"
            ),
            Self::Packing { found } => {
                write!(
                    f,
                    "weights packed for another target (packing {found}); quantize for this one, build for the processor (as with `-C target-feature=+dsp`), or turn the engine's feature `every-packing` on"
                )
            }
            Self::Length { expected, found } => {
                write!(f, "truncated or padded: {found} bytes, the header says {expected}")
            }
            Self::Checksum => f.write_str("checksum mismatch: the file is damaged"),
            Self::Alignment => {
                f.write_str("the artifact is not 16-byte aligned in memory; use include_artifact!")
            }
            Self::Header => f.write_str("invalid header"),
            Self::Operation { index } => write!(f, "invalid record of operation {index}"),
            Self::Unsupported { index } => write!(
                f,
                "this build of the engine has no code for operation {index}; quantize for this target, or turn a feature of it on: class tokens need `class-token`, MobileViT `mobilevit`, f16 and mixed artifacts `f16`, those for other targets `every-packing`"
            ),
            Self::Constant { index } => {
                write!(f, "a constant of operation {index} lies outside the file")
            }
            Self::Buffer { index } => {
                write!(f, "buffers of operation {index} overlap or leave the arena")
            }
            Self::Chain { index } => {
                write!(f, "operation {index} does not take what its predecessor gives")
            }
            Self::ArenaTooSmall { needed, given } => {
                write!(f, "the arena has {given} bytes, the model needs {needed}")
            }
            Self::ArenaAlignment => f.write_str("the arena is not 16-byte aligned; use Arena"),
        }
    }
}

impl core::error::Error for Error {}
