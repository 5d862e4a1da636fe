//! The validated view of an artifact.

use core::cell::Cell;

use bytemuck::Pod;
use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::error::Error;
use crate::format::{ALIGN, EXP_ENTRIES, Header, MAGIC, OpKind, Packing, RECORD_BYTES, VERSION};
use crate::kernels::Matrix;
use crate::ops::{Op, Value};

const CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// The checksum an artifact must carry: CRC-32/ISO-HDLC of everything but the field itself.
#[must_use]
pub fn checksum(artifact: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(artifact.get(..12).unwrap_or_default());
    digest.update(artifact.get(16..).unwrap_or_default());
    digest.finalize()
}

/// A validated artifact. Cheap to copy: it is a view of the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    records: &'a [u8],
    packing: Packing,
    exp_table: &'a [u8; EXP_ENTRIES],
    labels: &'a str,
    info: &'a str,
}

impl<'a> Model<'a> {
    /// Validates an artifact: header, checksum, every record, constant and buffer. After this an
    /// [`Engine`](crate::Engine) can run it without any failure.
    ///
    /// # Errors
    /// The first thing found wrong, see [`Error`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.get(..4) != Some(&MAGIC) {
            return Err(Error::NotAnArtifact);
        }
        let found = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let head = bytes
            .get(..size_of::<Header>())
            .ok_or(Error::Length { expected: size_of::<Header>() as u32, found })?;
        if bytes.as_ptr().align_offset(ALIGN) != 0 {
            return Err(Error::Alignment);
        }
        let header: &Header = bytemuck::try_from_bytes(head).map_err(|_| Error::Alignment)?;
        match *header {
            Header { version, .. } if version != VERSION => {
                return Err(Error::Version { found: version });
            }
            Header { format, .. } if !crate::format::readable(format) => {
                return Err(Error::Format { found: format });
            }
            // Not `found`, which says no more than fits 32 bits.
            Header { file_bytes, .. } if file_bytes as usize != bytes.len() => {
                return Err(Error::Length { expected: file_bytes, found });
            }
            _ => {}
        }
        let packing = Packing::from_id(header.packing);
        let packing = packing.ok_or(Error::Packing { found: header.packing })?;
        if header.checksum != checksum(bytes) {
            return Err(Error::Checksum);
        }
        Self::from_header(bytes, header, packing).ok_or(Error::Header)?.validated()
    }

    /// The parts the header points to.
    fn from_header(bytes: &'a [u8], header: &'a Header, packing: Packing) -> Option<Self> {
        let records = section(bytes, header.ops, header.op_count as usize * RECORD_BYTES)?;
        let exp_table = section(bytes, header.exp_table, EXP_ENTRIES)?.try_into().ok()?;
        let text =
            |start, length: u32| core::str::from_utf8(section(bytes, start, length as usize)?).ok();
        let labels = text(header.labels, header.labels_bytes)?;
        let info = text(header.info, header.info_bytes)?;
        let plain = header.reserved == 0
            && header.reserved_word == 0
            && header.op_count > 0
            && header.classes > 0
            && header.height > 0
            && header.width > 0
            && matches!(header.channels, 1 | 3)
            && header.logit_shift < 32;
        plain.then_some(Self { bytes, header, records, packing, exp_table, labels, info })
    }

    /// Checks every operation, and that each takes what the one before it gives.
    fn validated(self) -> Result<Self, Error> {
        let header = self.header;
        let (height, width) = (header.height as usize, header.width as usize);
        let mut value = Value::Map { height, width, channels: header.channels as usize };
        let mut place = header.input;
        for index in 0..header.op_count {
            let op = self.op(index)?;
            if !OpKind::belongs_to(op.head().kind, header.format) {
                return Err(Error::Operation { index });
            }
            if !value.feeds(&op.input()) || op.head().input != place {
                return Err(Error::Chain { index });
            }
            if !op.buffers_fit(header.arena_bytes as usize) {
                return Err(Error::Buffer { index });
            }
            value = op.output();
            place = op.head().output;
        }
        let classes = header.classes as usize;
        if value != (Value::Logits { classes }) || place != header.logits {
            return Err(Error::Chain { index: header.op_count });
        }
        Ok(self)
    }

    /// One operation with its constants.
    ///
    /// # Errors
    /// For a record that is not valid; never for those of a parsed model below its count.
    pub fn op(&self, index: u16) -> Result<Op<'a>, Error> {
        let start = index as usize * RECORD_BYTES;
        let record = self.records.get(start..start + RECORD_BYTES).unwrap_or_default();
        let constants = Constants::new(self, index);
        let kind = record.first_chunk().map(|&kind| u16::from_le_bytes(kind));
        let kind = kind.and_then(OpKind::from_u16).ok_or(Error::Operation { index })?;
        Op::decode(kind, record, &constants)
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// Order of the weights.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Number of operations.
    #[must_use]
    pub fn op_count(&self) -> u16 {
        self.header.op_count
    }

    /// Input height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.header.height as usize
    }

    /// Input width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.header.width as usize
    }

    /// Input channels: 1 (grey) or 3 (RGB).
    #[must_use]
    pub fn channels(&self) -> usize {
        self.header.channels as usize
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.header.classes as usize
    }

    /// Bytes of working memory.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.header.arena_bytes as usize
    }

    /// Length of the artifact.
    #[must_use]
    pub fn artifact_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Class names in logit order; may be fewer than [`Self::classes`].
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        // Not `lines`, which may panic as far as the compiler knows.
        let mut rest = Some(self.labels).filter(|labels| !labels.is_empty());
        core::iter::from_fn(move || {
            let text = rest.take()?;
            let end = text.bytes().position(|byte| byte == b'\n').unwrap_or(text.len());
            let line = text.get(..end)?;
            rest = text.get(end + 1..).filter(|after| !after.is_empty());
            Some(line)
        })
    }

    /// Name of a class, if the artifact has it.
    #[must_use]
    pub fn label(&self, class: usize) -> Option<&'a str> {
        self.labels().nth(class)
    }

    /// JSON description for host tools.
    #[must_use]
    pub fn info(&self) -> &'a str {
        self.info
    }

    /// Table of exponentials for softmax weights.
    #[must_use]
    pub(crate) fn exp_table(&self) -> &'a [u8; EXP_ENTRIES] {
        self.exp_table
    }
}

/// Part of the file at an aligned offset.
fn section(bytes: &[u8], start: u32, length: usize) -> Option<&[u8]> {
    let start = start as usize;
    let end = start.checked_add(length)?;
    if !start.is_multiple_of(ALIGN) || start < size_of::<Header>() {
        return None;
    }
    bytes.get(start..end)
}

/// Access to the constants of one operation. A decoder takes one after the other: the first that is
/// wrong is remembered, and [`Self::outcome`] tells.
pub(crate) struct Constants<'a> {
    bytes: &'a [u8],
    index: u16,
    packing: Packing,
    fault: Cell<Fault>,
}

/// What is wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Record,
    Constant,
}

impl<'a> Constants<'a> {
    fn new(model: &Model<'a>, index: u16) -> Self {
        let fault = Cell::new(Fault::None);
        Self { bytes: model.bytes, index, packing: model.packing, fault }
    }

    /// `count` values of type `T` at `offset`; none where they are not in the file.
    pub(crate) fn slice<T: Pod>(&self, offset: u32, count: usize) -> &'a [T] {
        let values = section(self.bytes, offset, count.saturating_mul(size_of::<T>()))
            .and_then(|bytes| bytemuck::try_cast_slice(bytes).ok());
        values.unwrap_or_else(|| {
            self.note(Fault::Constant);
            &[]
        })
    }

    /// As many values as the extents multiplied together.
    #[inline]
    pub(crate) fn array<T: Pod>(&self, offset: u32, extents: &[usize]) -> &'a [T] {
        self.slice(offset, extents.iter().fold(1, |count, &extent| count.saturating_mul(extent)))
    }

    /// Order of the weights.
    pub(crate) fn packing(&self) -> Packing {
        self.packing
    }

    /// A packed matrix at `offset`.
    pub(crate) fn matrix(&self, offset: u32, outputs: usize, inputs: usize) -> Matrix<'a> {
        let packing = self.packing;
        let bytes = self.slice(offset, packing.matrix_bytes(outputs, inputs));
        Matrix { packing, outputs, inputs, bytes }
    }

    /// Index of the operation.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// Notes where a record's condition does not hold. Decoding goes on with what there is.
    pub(crate) fn ensure(&self, condition: bool) {
        if !condition {
            self.note(Fault::Record);
        }
    }

    /// What a number stands for, or else anything.
    #[cfg(feature = "f16")]
    pub(crate) fn known<T: Default>(&self, meaning: Option<T>) -> T {
        self.ensure(meaning.is_some());
        meaning.unwrap_or_default()
    }

    fn note(&self, fault: Fault) {
        if self.fault.get() == Fault::None {
            self.fault.set(fault);
        }
    }

    /// Whether all was right.
    pub(crate) fn outcome(&self) -> Result<(), Error> {
        let index = self.index;
        match self.fault.get() {
            Fault::None => Ok(()),
            Fault::Record => Err(Error::Operation { index }),
            Fault::Constant => Err(Error::Constant { index }),
        }
    }
}
