//! A model in flash memory of its own, so that another one is written without building the firmware
//! again.
//!
//! All numbers are little-endian; offsets count from the start of the region, which is 16-byte
//! aligned in memory.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | `PVRG` |
//! | 4 | 2 | version, 1 |
//! | 6 | 2 | length of this header, 32 |
//! | 8 | 4 | offset of the artifact, a multiple of 16 |
//! | 12 | 4 | length of the artifact |
//! | 16 | 4 | offset of the self-test |
//! | 20 | 4 | length of the self-test |
//! | 24 | 4 | length of all of it, header included, up to the end of the later part |
//! | 28 | 4 | CRC-32/ISO-HDLC of all of it without this field |
//!
//! Neither part reaches into the header; what lies behind the region does not matter. The artifact is that of
//! `cargo tools quantize`, unchanged. The self-test is one picture as it goes
//! into `Engine::input` (int8, `height * width * channels`) and the logits that the host's engine
//! gives for it (int16, one a class). `cargo firmware flash --model-only` writes all of it.

mod error;

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use picovit::Model;
use picovit::format::{Header, Packing, align_up};

pub use error::RegionError;
pub(crate) use error::target;

/// First four bytes of a region.
pub const MAGIC: [u8; 4] = *b"PVRG";
/// Version of the layout.
pub const VERSION: u16 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 32;
/// Where the checksum is.
const CHECKSUM: usize = 28;

/// Working memory in bytes that emulated boards have for a model they do not know yet; others have what
/// their chip has room for.
pub const ARENA_BYTES: usize = 48 * 1024;
/// Classes that boards have room for.
pub const CLASSES: usize = 128;

/// Orders of weights that this build of the firmware takes. Without the engine's feature
/// `every-packing` that is only the one that the chip's kernels are made for: the code for the others
/// takes flash, and a model in another order would be several times as slow without anybody knowing
/// why. A board that is refused a model says so, and what to quantize it for.
pub const SUPPORTED: &[Packing] =
    if Packing::ALL_TAKEN { &Packing::ALL } else { &[Packing::NATIVE] };

const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The checksum that a region of exactly these bytes must carry.
#[must_use]
pub fn checksum(region: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(region.get(..CHECKSUM).unwrap_or_default());
    digest.update(region.get(HEADER_BYTES..).unwrap_or_default());
    digest.finalize()
}

/// Where the parts of a region are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionHeader {
    /// Offset of the artifact in bytes, a multiple of 16.
    pub artifact: u32,
    /// Length of the artifact in bytes.
    pub artifact_bytes: u32,
    /// Offset of the self-test in bytes.
    pub self_test: u32,
    /// Length of the self-test in bytes.
    pub self_test_bytes: u32,
}

impl RegionHeader {
    /// The usual order: header, artifact, self-test. `None` if that is no region of 32-bit length.
    #[must_use]
    pub fn new(artifact_bytes: usize, self_test_bytes: usize) -> Option<Self> {
        let artifact = align_up(HEADER_BYTES) as u32;
        let artifact_bytes = u32::try_from(artifact_bytes).ok()?;
        let self_test = artifact.checked_add(artifact_bytes)?.checked_next_multiple_of(16)?;
        let self_test_bytes = u32::try_from(self_test_bytes).ok()?;
        self_test.checked_add(self_test_bytes)?;
        Some(Self { artifact, artifact_bytes, self_test, self_test_bytes })
    }

    /// Length of the region in bytes; saturates.
    #[must_use]
    pub fn region_bytes(&self) -> u32 {
        let ends = [(self.artifact, self.artifact_bytes), (self.self_test, self.self_test_bytes)];
        ends.map(|(start, length)| start.saturating_add(length)).into_iter().fold(0, u32::max)
    }

    /// The header's bytes, with zeros where the checksum goes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let words = [
            u32::from_le_bytes(MAGIC),
            u32::from(VERSION) | (HEADER_BYTES as u32) << 16,
            self.artifact,
            self.artifact_bytes,
            self.self_test,
            self.self_test_bytes,
            self.region_bytes(),
        ];
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }
}

/// One picture and what a model says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTest<'a> {
    input: &'a [u8],
    logits: &'a [u8],
}

impl<'a> SelfTest<'a> {
    fn new(bytes: &'a [u8], model: &Model<'_>) -> Option<Self> {
        let pixels = model.height().checked_mul(model.width())?.checked_mul(model.channels())?;
        let (input, logits) = bytes.split_at_checked(pixels)?;
        (logits.len() == 2 * model.classes()).then_some(Self { input, logits })
    }

    /// Values of the picture in the order of `Engine::input`.
    pub fn input(&self) -> impl ExactSizeIterator<Item = i8> + use<'a> {
        self.input.iter().map(|value| value.cast_signed())
    }

    /// The logits of the host's engine.
    pub fn logits(&self) -> impl ExactSizeIterator<Item = i16> + use<'a> {
        self.logits.as_chunks::<2>().0.iter().map(|value| i16::from_le_bytes(*value))
    }
}

/// A validated region.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    model: Model<'a>,
    self_test: SelfTest<'a>,
}

impl<'a> Region<'a> {
    /// Looks at the memory that a board reserves for its model; `supported` are the orders of weights
    /// that the board takes, normally [`SUPPORTED`].
    ///
    /// # Errors
    /// The first thing found wrong, see [`RegionError`].
    pub fn parse(memory: &'a [u8], supported: &[Packing]) -> Result<Self, RegionError> {
        let header = memory.first_chunk::<HEADER_BYTES>().ok_or(RegionError::Length)?;
        // Erased flash reads as ones.
        if *header == [0xff; HEADER_BYTES] {
            return Err(RegionError::Empty);
        }
        let (words, _) = header.as_chunks::<4>();
        let [magic, kind, artifact, artifact_bytes, self_test, self_test_bytes, length, sum] =
            *words.first_chunk().ok_or(RegionError::Length)?;
        if magic != MAGIC {
            return Err(RegionError::Magic);
        }
        let [kind, artifact, artifact_bytes, self_test, self_test_bytes, length, sum] =
            [kind, artifact, artifact_bytes, self_test, self_test_bytes, length, sum]
                .map(u32::from_le_bytes);
        let (found, header_bytes) = (kind as u16, kind >> 16);
        if found != VERSION {
            return Err(RegionError::Version { found });
        }
        let parts = RegionHeader { artifact, artifact_bytes, self_test, self_test_bytes };
        if header_bytes as usize != HEADER_BYTES || parts.region_bytes() != length {
            return Err(RegionError::Length);
        }
        let region = memory.get(..length as usize).ok_or(RegionError::Length)?;
        if checksum(region) != sum {
            return Err(RegionError::Checksum);
        }
        let part = |start: u32, length: u32| {
            let start = start as usize;
            let end = start.checked_add(length as usize)?;
            region.get(start..end).filter(|_| start >= HEADER_BYTES)
        };
        let artifact = part(artifact, artifact_bytes).ok_or(RegionError::Length)?;
        check_packing(artifact, supported)?;
        let model = Model::parse(artifact).map_err(RegionError::Model)?;
        let self_test = part(self_test, self_test_bytes).ok_or(RegionError::Length)?;
        let self_test = SelfTest::new(self_test, &model).ok_or(RegionError::Length)?;
        Ok(Self { model, self_test })
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model<'a> {
        &self.model
    }

    /// A picture with its logits.
    #[must_use]
    pub const fn self_test(&self) -> &SelfTest<'a> {
        &self.self_test
    }
}

/// Looks at the order of the weights before anything else: the engine says less about it.
fn check_packing(artifact: &[u8], supported: &[Packing]) -> Result<(), RegionError> {
    const AT: usize = core::mem::offset_of!(Header, packing);
    let id = artifact.get(AT).copied();
    let found = Packing::ALL.into_iter().find(|&packing| Some(packing as u8) == id);
    match found {
        // An unknown one is the engine's to refuse.
        Some(found)
            if artifact.starts_with(&picovit::format::MAGIC) && !supported.contains(&found) =>
        {
            let wanted = supported.first().copied().unwrap_or(Packing::NATIVE);
            Err(RegionError::WrongTarget { found, wanted })
        }
        _ => Ok(()),
    }
}
