//! The format of a camera of the kernel's video interface, set before it streams.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::camera::{last_lines, quoted};
use crate::cli::Args;
use crate::error::Error;
use crate::frame::{Format, Range, Size};

/// What a camera is asked for, or gives.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    size: Size,
    /// The pixel format's four letters.
    fourcc: String,
    /// Bytes from one row to the next; JPEGs have no rows.
    stride: Option<usize>,
    /// The values of YUV.
    range: Option<Range>,
}

/// Sets the format and, if asked to, the rate; returns the values of YUV, if the camera says them. The camera
/// keeps both for the program that streams, whose standard output must have nothing but frames: `v4l2-ctl`
/// says there what it has set.
pub(crate) fn set(program: &Path, device: &Path, args: &Args) -> Result<Option<Range>, Error> {
    let asked = Given::asked(args);
    let Given { size: Size { width, height }, fourcc, .. } = &asked;
    let mut command = Command::new(program);
    command.arg("--device").arg(device);
    command.arg(format!("--set-fmt-video=width={width},height={height},pixelformat={fourcc}"));
    command.args(args.fps.map(|fps| format!("--set-parm={fps}")));
    let output =
        command.arg("--get-fmt-video").stdin(Stdio::null()).output().map_err(|reason| {
            Error::Start { program: program.to_string_lossy().into_owned(), reason }
        })?;
    let answer = match Given::said(&String::from_utf8_lossy(&output.stdout)) {
        _ if !output.status.success() => {
            format!("v4l2-ctl: {}{}", output.status, quoted("it", &last_lines(&*output.stderr)))
        }
        Some(given) if given.suits(&asked) => return Ok(given.range),
        Some(given) => format!("it gives {given}"),
        None => "v4l2-ctl does not say what it gives".to_owned(),
    };
    Err(Error::CameraFormat { device: device.to_owned(), asked: asked.to_string(), answer })
}

impl Given {
    /// What the command line wants.
    fn asked(args: &Args) -> Self {
        let size = args.size;
        let (fourcc, stride) = match args.format() {
            Format::Yuv420 => ("YU12", Some(size.width)),
            Format::Mjpeg => ("MJPG", None),
            Format::Rgb888 => ("RGB3", Some(3 * size.width)),
        };
        Self { size, fourcc: fourcc.to_owned(), stride, range: None }
    }

    /// What `v4l2-ctl --get-fmt-video` says.
    fn said(text: &str) -> Option<Self> {
        let field = |name| {
            let mut fields = text.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
        };
        let (width, height) = field("Width/Height")?.split_once('/')?;
        let size = Size { width: width.parse().ok()?, height: height.parse().ok()? };
        let fourcc = field("Pixel Format")?.split('\'').nth(1)?.to_owned();
        let stride = Some(field("Bytes per Line")?.parse().ok()?);
        // As it is, or `Default (maps to Limited Range)`.
        let range = field("Quantization").and_then(|said| match said {
            _ if said.contains("Limited Range") => Some(Range::Limited),
            _ if said.contains("Full Range") => Some(Range::Full),
            _ => None,
        });
        Some(Self { size, fourcc, stride, range })
    }

    /// Whether the program can read it as what it has asked for.
    fn suits(&self, asked: &Self) -> bool {
        let rows = asked.stride.is_none() || self.stride == asked.stride;
        // Drivers call JPEGs one or the other.
        let jpegs = [self, asked].map(|given| matches!(&*given.fourcc, "MJPG" | "JPEG"));
        let format = self.fourcc == asked.fourcc || jpegs == [true; 2];
        rows && format && self.size == asked.size
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.size, self.fourcc)?;
        match self.stride {
            Some(stride) if stride > 0 => write!(f, ", {stride} bytes a row"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_camera_gives_is_read() {
        let size = Size { width: 640, height: 480 };
        let single = "Frame rate set to 15.000 fps\nFormat Video Capture:\n\tWidth/Height      : \
                      640/480\n\tPixel Format      : 'MJPG' (Motion-JPEG)\n\tField             : \
                      None\n\tBytes per Line    : 0\n\tSize Image        : 614400\n\tQuantization      : Full \
                      Range\n";
        let range = Some(Range::Full);
        let jpegs = Given { size, fourcc: "MJPG".to_owned(), stride: Some(0), range };
        assert_eq!(Given::said(single), Some(jpegs));
        // Several planes, and a version that does not explain its formats.
        let planes = "Format Video Capture Multiplanar:\n\tWidth/Height      : 640/480\n\tPixel \
                      Format      : 'YU12'\n\tNumber of planes  : 1\n\tPlane 0           :\n\t   \
                      Bytes per Line : 640\n\t   Size Image     : 460800\n";
        let given = |range| Given { size, fourcc: "YU12".to_owned(), stride: Some(640), range };
        assert_eq!(Given::said(planes), Some(given(None)));
        let limited = format!("{planes}\tQuantization      : Default (maps to Limited Range)\n");
        assert_eq!(Given::said(&limited), Some(given(Some(Range::Limited))));
        assert_eq!(Given::said("Frame rate set to 15.000 fps\n"), None);
    }
}
