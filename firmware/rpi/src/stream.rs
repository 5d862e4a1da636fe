//! A stream of bytes, cut into frames.

use std::io::{self, BufRead, Read};
use std::mem;

use crate::error::Error;
use crate::frame::{Format, Size};

/// More than any camera's JPEG: a stream that is something else does not fill the memory.
const LARGEST_JPEG: usize = 32 << 20;

/// Cuts a stream into frames.
pub(crate) struct Frames<R> {
    stream: R,
    name: String,
    format: Format,
    size: Size,
    /// The start of the next JPEG has been read: it was found within the one before.
    started: bool,
    /// Frames so far.
    count: u64,
}

impl<R: BufRead> Frames<R> {
    /// The stream of this name.
    pub(crate) fn new(stream: R, name: String, format: Format, size: Size) -> Self {
        Self { stream, name, format, size, started: false, count: 0 }
    }

    /// Frames so far, damaged ones included.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The stream's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads another stream from now on, as if it were the continuation.
    pub(crate) fn continue_with(&mut self, stream: R) {
        self.stream = stream;
    }

    /// The next frame; none at the end. After a damaged one, the next that begins.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let frame = match self.size.bytes(self.format) {
            Some(bytes) => self.fixed(bytes),
            None => self.jpeg(),
        }?;
        self.count += u64::from(frame.is_some());
        Ok(frame)
    }

    fn damaged(&mut self, reason: &io::Error) -> Error {
        let (name, frame) = (self.name.clone(), self.count);
        self.count += 1;
        Error::Damaged { name, frame, reason: reason.to_string() }
    }

    fn fixed(&mut self, bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut frame = Vec::with_capacity(bytes);
        let read = self.stream.by_ref().take(bytes as u64).read_to_end(&mut frame);
        read.map_err(|reason| self.unreadable(reason))?;
        match frame.len() {
            0 => Ok(None),
            found if found < bytes => {
                let (format, size) = (self.format, self.size);
                Err(Error::Truncated {
                    name: self.name.clone(),
                    frame: self.count,
                    found,
                    expected: bytes.to_string(),
                    help: format!(
                        "a frame of {size} in {format} has {bytes} bytes: if the stream is another, \
                         say so with --size and --format; else it was cut while it was recorded"
                    ),
                })
            }
            _ => Ok(Some(frame)),
        }
    }

    /// One JPEG, from its first marker to its last. The markers are followed, because a picture may
    /// hold a small one of itself.
    fn jpeg(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut frame = Vec::new();
        match self.whole_jpeg(&mut frame) {
            Ok(()) => Ok(Some(frame)),
            Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof => {
                if frame.is_empty() {
                    return Ok(None);
                }
                Err(Error::Truncated {
                    name: self.name.clone(),
                    frame: self.count,
                    found: frame.len(),
                    expected: "more".to_owned(),
                    help:
                        "a JPEG ends with a marker, which is missing: the stream was cut while it \
                           was recorded"
                            .to_owned(),
                })
            }
            Err(reason) if reason.kind() == io::ErrorKind::InvalidData => {
                Err(self.damaged(&reason))
            }
            Err(reason) => Err(self.unreadable(reason)),
        }
    }

    fn whole_jpeg(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        if !mem::take(&mut self.started) {
            self.find_start()?;
        }
        frame.extend([0xFF, 0xD8]);
        // The marker of the segment that follows.
        let mut marker = self.marker(frame)?;
        loop {
            match marker {
                0xD9 => return Ok(()),
                0xD8 => {
                    self.started = true;
                    return Err(invalid("its end is missing, another JPEG begins within it"));
                }
                0x01 | 0xD0..=0xD7 => marker = self.marker(frame)?,
                0xDA => {
                    self.segment(frame)?;
                    marker = self.entropy(frame)?;
                }
                _ => {
                    self.segment(frame)?;
                    marker = self.marker(frame)?;
                }
            }
        }
    }

    /// Skips what cameras put between pictures.
    fn find_start(&mut self) -> io::Result<()> {
        let mut last = 0;
        for skipped in 0.. {
            let byte = self.byte()?;
            if (last, byte) == (0xFF, 0xD8) {
                return Ok(());
            }
            last = byte;
            if skipped > LARGEST_JPEG {
                return Err(invalid("no JPEG in it"));
            }
        }
        Ok(())
    }

    /// A marker, which any number of FF may precede.
    fn marker(&mut self, frame: &mut Vec<u8>) -> io::Result<u8> {
        if self.copy(frame)? != 0xFF {
            return Err(invalid("not a JPEG: a marker is missing"));
        }
        loop {
            match self.copy(frame)? {
                0xFF => {}
                marker => return Ok(marker),
            }
        }
    }

    /// A segment with its length in front.
    fn segment(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        let length = u16::from_be_bytes([self.copy(frame)?, self.copy(frame)?]);
        let rest = length.checked_sub(2).ok_or_else(|| invalid("not a JPEG: an empty segment"))?;
        let read = self.stream.by_ref().take(rest.into()).read_to_end(frame)?;
        if read < rest.into() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Compressed pixels up to the marker behind them.
    fn entropy(&mut self, frame: &mut Vec<u8>) -> io::Result<u8> {
        loop {
            let room = room(frame)?;
            let read = self.stream.by_ref().take(room as u64).read_until(0xFF, frame)?;
            if read == 0 || (read < room && frame.last() != Some(&0xFF)) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            loop {
                match self.copy(frame)? {
                    0xFF => {}
                    0x00 | 0xD0..=0xD7 => break,
                    marker => return Ok(marker),
                }
            }
        }
    }

    fn copy(&mut self, frame: &mut Vec<u8>) -> io::Result<u8> {
        room(frame)?;
        let byte = self.byte()?;
        frame.push(byte);
        Ok(byte)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn unreadable(&self, reason: io::Error) -> Error {
        Error::Read { name: self.name.clone(), frames: self.count, reason }
    }
}

/// Bytes that a JPEG may still have.
fn room(frame: &[u8]) -> io::Result<usize> {
    let room = LARGEST_JPEG.checked_sub(frame.len()).filter(|&room| room > 0);
    room.ok_or_else(|| invalid("a JPEG without an end"))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], format: Format) -> Frames<&[u8]> {
        Frames::new(bytes, "test".to_owned(), format, Size { width: 2, height: 1 })
    }

    /// A JPEG's skeleton: a segment with an end marker in it, stuffed bytes, a restart.
    const JPEG: [u8; 20] = [
        0xFF, 0xD8, 0xFF, 0xE1, 0, 4, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2, 7, 0xFF, 0x00, 0xFF, 0xD3, 9,
        0xFF, 0xD9,
    ];

    #[test]
    fn a_stream_of_fixed_frames_is_cut_evenly() {
        let bytes: Vec<u8> = (0..12).collect();
        let mut frames = frames(&bytes, Format::Rgb888);
        assert_eq!(frames.next().unwrap(), Some((0..6).collect()));
        assert_eq!(frames.next().unwrap(), Some((6..12).collect()));
        assert_eq!(frames.next().unwrap(), None);
        assert_eq!(frames.count(), 2);
    }

    #[test]
    fn every_cut_is_noticed() {
        for (frame, format) in [(&[1; 6][..], Format::Rgb888), (&JPEG, Format::Mjpeg)] {
            let stream = [frame, frame].concat();
            // A JPEG begins with its second byte.
            for cut in frame.len() + 2..stream.len() {
                let mut frames = frames(&stream[..cut], format);
                assert!(frames.next().unwrap().is_some());
                match frames.next() {
                    Err(Error::Truncated { frame: 1, found, .. }) => {
                        assert_eq!(found, cut - frame.len());
                    }
                    other => panic!("{cut}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn jpegs_are_found_between_padding() {
        let stream = [&[0, 0, 0xFF][..], &JPEG, &[0; 5], &JPEG, &[0, 0xFF]].concat();
        let mut frames = frames(&stream, Format::Mjpeg);
        assert_eq!(frames.next().unwrap().as_deref(), Some(&JPEG[..]));
        assert_eq!(frames.next().unwrap().as_deref(), Some(&JPEG[..]));
        assert_eq!(frames.next().unwrap(), None);
    }

    #[test]
    fn a_jpeg_without_its_end_costs_only_itself() {
        // From within the compressed pixels to the last byte.
        for cut in 13..JPEG.len() {
            let stream = [&JPEG, &JPEG[..cut], &JPEG].concat();
            let mut frames = frames(&stream, Format::Mjpeg);
            assert_eq!(frames.next().unwrap().as_deref(), Some(&JPEG[..]));
            let error = frames.next().unwrap_err();
            assert!(matches!(error, Error::Damaged { frame: 1, .. }), "{cut}: {error}");
            assert_eq!(frames.next().unwrap().as_deref(), Some(&JPEG[..]), "{cut}");
            assert_eq!(frames.next().unwrap(), None);
            assert_eq!(frames.count(), 3);
        }
    }

    #[test]
    fn a_jpeg_without_an_end_does_not_fill_the_memory() {
        for filling in [7, 0xFF] {
            let endless = io::repeat(filling).take(LARGEST_JPEG as u64 + 9);
            let stream = io::BufReader::new(JPEG[..13].chain(endless));
            let size = Size { width: 2, height: 1 };
            let mut frames = Frames::new(stream, "test".to_owned(), Format::Mjpeg, size);
            let error = frames.next().unwrap_err();
            assert!(error.to_string().contains("without an end"), "{error}");
        }
    }

    #[test]
    fn what_is_no_jpeg_is_refused() {
        let stream = [0xFF, 0xD8, 1, 2, 3];
        let error = frames(&stream, Format::Mjpeg).next().unwrap_err();
        assert!(error.to_string().contains("frame 0: not a JPEG"), "{error}");
    }
}
