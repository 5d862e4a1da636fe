//! The firmware's log: `defmt` frames, some of which carry figures.
//!
//! A line such as `done frames=64 stack=1234 inference_stack=1200` is a record; anything else is
//! a message for people.

use defmt_decoder::{DecodeError, StreamDecoder, Table};

use crate::error::Error;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// So many instructions took so many ticks of the board's clock.
    Calibration {
        /// Instructions.
        instructions: u64,
        /// Ticks.
        ticks: u64,
    },
    /// The board's display.
    Screen {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A picture has been classified.
    Inference(Inference),
    /// An operation starts so many instructions after the start of the inference (profile only).
    Op {
        /// Number of the operation.
        index: usize,
        /// Instructions.
        at: u64,
    },
    /// What surrounds the operations of the last picture (profile only).
    Span(Span),
    /// All pictures have been classified.
    Done(Done),
    /// The board has shown a notice and then idled for so many ticks of its clock.
    Idle {
        /// Ticks.
        ticks: u64,
    },
    /// Something else.
    Message {
        /// `INFO`, `ERROR` and so on; empty for a plain line.
        level: String,
        /// What it says.
        text: String,
    },
}

/// The answer to one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inference {
    /// Number of the picture.
    pub index: usize,
    /// The network's answer.
    pub class: u16,
    /// How probable, 65535 for certainty.
    pub probability: u16,
    /// The answer after smoothing.
    pub shown: u16,
    /// Whether it was probable enough to be shown.
    pub sure: bool,
    /// The right answer, where it is known.
    pub expected: Option<u16>,
    /// What the inference cost.
    pub cost: u64,
    /// Unit of the cost.
    pub unit: String,
    /// The logits, exactly.
    pub logits: Vec<i16>,
}

/// Instructions of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Fitting the picture into the model's input.
    pub before: u64,
    /// The inference.
    pub inference: u64,
    /// Probabilities, smoothing, the log.
    pub after: u64,
}

/// What is known at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Pictures classified.
    pub frames: usize,
    /// Most bytes of stack in use at any time.
    pub stack: u64,
    /// The same before anything was drawn.
    pub inference_stack: u64,
}

/// Decodes a stream of bytes as it arrives.
pub struct Decoder<'t> {
    stream: Box<dyn StreamDecoder + Send + Sync + 't>,
}

/// Reads the format strings out of a program.
///
/// # Errors
/// If it has none, or of another version of `defmt`.
pub fn table(program: &[u8]) -> Result<Table, Error> {
    let failed = |reason: String| Error::Log { reason };
    let table = Table::parse(program).map_err(|error| failed(format!("{error:#}")))?;
    table.ok_or_else(|| failed("the program has no `.defmt` section".to_owned()))
}

impl<'t> Decoder<'t> {
    /// A decoder for the log of a program with these format strings.
    #[must_use]
    pub fn new(table: &'t Table) -> Self {
        Self { stream: table.new_stream_decoder() }
    }

    /// Takes what has arrived and gives the lines that are complete now.
    ///
    /// # Errors
    /// If the bytes are not a log.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Record>, Error> {
        self.stream.received(bytes);
        let mut records = Vec::new();
        loop {
            match self.stream.decode() {
                Ok(frame) => {
                    let level = frame.level().map(|level| level.as_str().to_uppercase());
                    let text = frame.display_message().to_string();
                    records.push(record(level.unwrap_or_default(), text)?);
                }
                Err(DecodeError::UnexpectedEof) => return Ok(records),
                Err(DecodeError::Malformed) => {
                    return Err(Error::Log { reason: "a frame is malformed".to_owned() });
                }
            }
        }
    }
}

fn record(level: String, text: String) -> Result<Record, Error> {
    if !level.is_empty() {
        return Ok(Record::Message { level, text });
    }
    let Some((kind, fields)) = text.split_once(' ') else {
        return Ok(Record::Message { level, text });
    };
    let fields = Fields(fields);
    let record = match kind {
        "calibration" => fields.number("instructions").and_then(|instructions| {
            Some(Record::Calibration { instructions, ticks: fields.number("ticks")? })
        }),
        "screen" => fields
            .number("width")
            .and_then(|width| Some(Record::Screen { width, height: fields.number("height")? })),
        "result" => fields.inference().map(Record::Inference),
        "op" => fields
            .number("index")
            .and_then(|index| Some(Record::Op { index, at: fields.number("at")? })),
        "span" => fields.span().map(Record::Span),
        "done" => fields.done().map(Record::Done),
        "idle" => fields.number("ticks").map(|ticks| Record::Idle { ticks }),
        _ => return Ok(Record::Message { level, text }),
    };
    record.ok_or_else(|| Error::Log { reason: format!("unexpected line `{text}`") })
}

/// `key=value` pairs; the last value may hold spaces.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        let found = self.0.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        found.filter(|value| !value.is_empty())
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }

    fn inference(&self) -> Option<Inference> {
        let logits = self.0.split_once("logits=[")?.1.strip_suffix(']')?;
        let logits = logits.split(", ").map(|logit| logit.parse().ok()).collect::<Option<_>>()?;
        Some(Inference {
            index: self.number("index")?,
            class: self.number("class")?,
            probability: self.number("probability")?,
            shown: self.number("shown")?,
            sure: self.number("sure")?,
            expected: u16::try_from(self.number::<i32>("expected")?).ok(),
            cost: self.number("cost")?,
            unit: self.text("unit")?.to_owned(),
            logits,
        })
    }

    fn span(&self) -> Option<Span> {
        Some(Span {
            before: self.number("before")?,
            inference: self.number("inference")?,
            after: self.number("after")?,
        })
    }

    fn done(&self) -> Option<Done> {
        Some(Done {
            frames: self.number("frames")?,
            stack: self.number("stack")?,
            inference_stack: self.number("inference_stack")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Result<Record, Error> {
        record(String::new(), text.to_owned())
    }

    #[test]
    fn records_are_told_from_messages() {
        assert_eq!(
            plain("calibration instructions=20 ticks=2").ok(),
            Some(Record::Calibration { instructions: 20, ticks: 2 })
        );
        assert_eq!(
            plain("screen width=320 height=240").ok(),
            Some(Record::Screen { width: 320, height: 240 })
        );
        assert_eq!(
            plain("done frames=3 stack=40 inference_stack=30").ok(),
            Some(Record::Done(Done { frames: 3, stack: 40, inference_stack: 30 }))
        );
        assert_eq!(plain("idle ticks=7").ok(), Some(Record::Idle { ticks: 7 }));
        assert_eq!(plain("op index=3 at=40").ok(), Some(Record::Op { index: 3, at: 40 }));
        assert_eq!(
            plain("span before=1 inference=20 after=3").ok(),
            Some(Record::Span(Span { before: 1, inference: 20, after: 3 }))
        );
        assert!(matches!(plain("hello"), Ok(Record::Message { .. })));
        let error = record("ERROR".to_owned(), "done too soon".to_owned());
        assert!(matches!(error, Ok(Record::Message { .. })));
    }

    #[test]
    fn logits_are_exact() {
        let line = "result index=1 class=2 probability=65535 shown=2 sure=true expected=-1 \
                    cost=123 unit=instructions logits=[-32768, 0, 32767]";
        let Ok(Record::Inference(inference)) = plain(line) else { panic!("not a result") };
        assert_eq!(inference.logits, [-32768, 0, 32767]);
        assert_eq!((inference.expected, inference.sure, inference.cost), (None, true, 123));
    }

    #[test]
    fn broken_records_are_errors() {
        for line in [
            "done frames=3 stack=40",
            "done frames=x stack=40 inference_stack=1",
            "screen width=320",
            "op index=1",
            "span before=1 after=2",
            "result index=1 logits=[1]",
            "result index=1 class=2 probability=1 shown=2 sure=true expected=1 cost=1 unit=u logits=[99999]",
        ] {
            assert!(matches!(plain(line), Err(Error::Log { .. })), "{line}");
        }
    }
}
