//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};

use crate::frame::{Format, Range, Size};
use crate::output::framebuffer::Geometry;

/// Classifies what a camera sees.
///
/// Exit status: 0 when it ended as asked, 1 the system, 2 wrong arguments, 3 the model, 4 the source cannot be
/// opened, 5 the stream is damaged or ends within a frame, 6 the camera ended or stopped sending, 7
/// an output (port in use, framebuffer, full disk), 128 + N when signal N came twice.
#[derive(Debug, Parser)]
// The last of an argument counts: settings of the service can replace what its unit says.
#[command(name = "picovit-camera", version, args_override_self = true)]
pub(crate) struct Args {
    /// The artifact, made by `cargo tools quantize --target aarch64`, before the Raspberry Pi 5
    /// `--target cortex-a53`.
    #[arg(long, value_name = "FILE.pvit", default_value = "model.pvit")]
    pub model: PathBuf,
    /// Where frames come from: rpicam (the camera module), v4l2:/dev/video0 (a webcam), file:PATH, or -
    /// for the standard input.
    #[arg(long, default_value = "rpicam")]
    pub source: Source,
    /// Layout of the stream [default: mjpeg for v4l2 and files that are called so, else yuv420].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Extent of the frames; JPEGs know their own.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x480")]
    pub size: Size,
    /// Values of YUV: full 0 to 255, or limited 16 to 235 [default: what a webcam says, else full].
    #[arg(long, value_enum)]
    pub range: Option<Range>,
    /// Frames a second: asked of the camera, or the pace of a file [default: 30, files as fast as they
    /// are classified].
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub fps: Option<f64>,
    /// Classify every frame, however long it takes, instead of always the newest [default: true for
    /// files only].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub every_frame: Option<bool>,
    /// Begin a file again when it ends.
    #[arg(long = "loop")]
    pub repeat: bool,
    /// End after so many classified frames.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,
    /// Further argument for the camera's program, as --camera-arg=--hflip; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub camera_arg: Vec<String>,
    /// Give up when the camera sends nothing for so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub stall: u64,
    /// What to show, one or several.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "terminal")]
    pub output: Vec<Output>,
    /// Address of the web page. Anything but a loopback address shows the camera to the network.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The framebuffer.
    #[arg(long, value_name = "DEVICE", default_value = "/dev/fb0")]
    pub framebuffer: PathBuf,
    /// Its layout, BITS being 16 or 32 [default: what the system says about it].
    #[arg(long, value_name = "WIDTHxHEIGHTxBITS[:STRIDE]")]
    pub framebuffer_geometry: Option<Geometry>,
    /// Say "unsure" where the smoothed probability is lower.
    #[arg(long, value_name = "0..1", default_value_t = 0.5, value_parser = share)]
    pub unsure_below: f64,
    /// JSON lines have the raw logits, too.
    #[arg(long)]
    pub logits: bool,
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The camera module, through its own program.
    Rpicam,
    /// A camera of the kernel's video interface, through `v4l2-ctl`.
    V4l2(PathBuf),
    /// A recorded stream.
    File(PathBuf),
    /// The standard input.
    Stdin,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "rpicam" => Ok(Self::Rpicam),
            None if text == "-" => Ok(Self::Stdin),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("v4l2", path)) if !path.is_empty() => Ok(Self::V4l2(path.into())),
            _ => Err("none of rpicam, v4l2:DEVICE, file:PATH, -".to_owned()),
        }
    }
}

/// What to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// One line of text, on the standard error where JSON has the standard output.
    Terminal,
    /// One line of JSON a frame on the standard output. Where not every frame counts, some are left out
    /// for a program that does not read.
    Json,
    /// A page with the live picture at --listen.
    Web,
    /// The picture of the boards' displays.
    Framebuffer,
}

impl Args {
    /// The stream's layout.
    pub(crate) fn format(&self) -> Format {
        let named = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
            match end.to_ascii_lowercase().as_str() {
                "mjpeg" | "mjpg" | "jpg" | "jpeg" => Format::Mjpeg,
                _ => Format::Yuv420,
            }
        };
        self.format.unwrap_or_else(|| match &self.source {
            Source::V4l2(_) => Format::Mjpeg,
            Source::File(path) => named(path),
            Source::Rpicam | Source::Stdin => Format::Yuv420,
        })
    }

    /// The values of YUV, where the source says these.
    pub(crate) fn range(&self, said: Option<Range>) -> Range {
        // rpicam-vid says nothing. Of the codec yuv420 its colour space is that of JPEG, as of mjpeg, at
        // every size.
        self.range.or(said).unwrap_or(Range::Full)
    }

    /// Whether no frame may be left out.
    pub(crate) fn every_frame(&self) -> bool {
        self.every_frame.unwrap_or(matches!(self.source, Source::File(_)))
    }

    /// Whether to show this.
    pub(crate) fn shows(&self, output: Output) -> bool {
        self.output.contains(&output)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=1000.0).contains(rate));
    rate.ok_or_else(|| "not a number from 0.01 to 1000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "not a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn args(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(["picovit-camera"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_depend_on_the_source() {
        let camera = args("").unwrap();
        assert_eq!((camera.format(), camera.range(None)), (Format::Yuv420, Range::Full));
        assert!(!camera.every_frame() && camera.shows(Output::Terminal));
        let webcam = args("--source v4l2:/dev/video0").unwrap();
        assert_eq!((webcam.format(), webcam.range(None)), (Format::Mjpeg, Range::Full));
        assert_eq!(webcam.range(Some(Range::Limited)), Range::Limited);
        let told = args("--source v4l2:/dev/video0 --range full").unwrap();
        assert_eq!(told.range(Some(Range::Limited)), Range::Full);
        let file = args("--source file:a:b.MJPG --output json,web").unwrap();
        assert_eq!(file.source, Source::File("a:b.MJPG".into()));
        assert_eq!(file.format(), Format::Mjpeg);
        assert!(file.every_frame() && file.shows(Output::Web) && !file.shows(Output::Terminal));
        assert!(!args("--source file:x --every-frame=false").unwrap().every_frame());
        assert!(args("--source - --every-frame").unwrap().every_frame());
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--source usb",
            "--source file:",
            "--size 0x4",
            "--size 5000x10",
            "--unsure-below 2",
            "--fps 0",
            "--listen localhost",
            "--output smoke",
            "--frames 0",
        ] {
            assert!(args(line).is_err(), "{line}");
        }
    }
}
