//! The model in flash of its own: the same firmware for every model, and a reason where it is refused.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use picovit::Model;
use picovit::format::Packing;
use picovit::image::{Frame, PixelFormat};
use picovit_app::region::{ARENA_BYTES, CLASSES, checksum};
use picovit_app::{App, Notice, Region, RegionError, RegionHeader, Settings, WINDOW, boot};
use picovit_firmware_tool::{host, paths, region};
use picovit_tests::reference::Aligned;
use tempfile::TempDir;

use crate::artifacts::quantized_for;
use crate::{Run, complaint, firmware, random_network};

/// A region with a striped picture.
pub fn region_of(artifact: &[u8]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..40 * 30u32).map(|i| (i * 7 % 256) as u8).collect();
    let frame = Frame { width: 40, height: 30, format: PixelFormat::Gray8, pixels: &pixels };
    region::build(artifact, &frame).unwrap()
}

/// A region with other bytes from `at` on, and a checksum that hides it.
fn altered(region: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut altered = region.to_vec();
    altered[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = checksum(&altered).to_le_bytes();
    altered[28..32].copy_from_slice(&sum);
    altered
}

/// Starts a board with an arena and room for classes on the host.
fn start<const ROOM: usize>(region: &[u8], arena: usize) -> Result<Vec<i16>, RegionError> {
    let (memory, mut arena) = (Aligned::copy(region), Aligned::filled(arena, 0xa5));
    let mut app: Option<App<'_, '_, ROOM, WINDOW>> = None;
    let supported = [Packing::Portable, Packing::CortexM];
    let app = boot(&mut app, &memory, &supported, &mut arena, Settings::default())?;
    // The self-test leaves no trace: nothing has been classified yet.
    assert!(app.history().is_empty());
    Ok(app.logits().to_vec())
}

#[test]
fn a_region_holds_the_artifact_and_what_the_host_says_to_a_picture() {
    let artifact = random_network(32, 7);
    let bytes = Aligned::copy(&region_of(&artifact));
    let region = Region::parse(&bytes, &[Packing::Portable]).unwrap();
    assert_eq!(region.model().artifact_bytes(), artifact.len());
    assert!(bytes.windows(artifact.len()).any(|part| part == artifact));
    assert_eq!(region.self_test().input().len(), 32 * 32);
    let logits: Vec<i16> = region.self_test().logits().collect();
    assert_eq!(logits.len(), 10);
    assert!(logits.iter().any(|&logit| logit != logits[0]), "{logits:?}");
    // Bytes of flash behind it do not matter.
    let behind = [&bytes[..], &[0xff; 100]].concat();
    assert_eq!(start::<CLASSES>(&behind, ARENA_BYTES), Ok(Vec::new()));
}

#[test]
fn a_model_that_cannot_be_used_is_refused_with_the_reason() {
    let artifact = random_network(32, 7);
    let bytes = Aligned::copy(&artifact);
    let needs = Model::parse(&bytes).unwrap().arena_bytes();
    let good = region_of(&artifact);
    assert_eq!(start::<10>(&good, needs), Ok(Vec::new()));
    let small = RegionError::ArenaTooSmall { needs, has: needs - 16 };
    assert_eq!(start::<10>(&good, needs - 16), Err(small));
    let classes = RegionError::TooManyClasses { classes: 10, room: 9 };
    assert_eq!(start::<9>(&good, needs), Err(classes));

    // One of the last logit's bits, and one of the first pixel's.
    let last = good.len() - 2;
    let wrong = altered(&good, last, &[good[last] ^ 1]);
    let differs = RegionError::SelfTest { differing: 1, classes: 10 };
    assert_eq!(start::<10>(&wrong, needs), Err(differs));
    let header = RegionHeader::new(artifact.len(), 32 * 32 + 20).unwrap();
    let pixel = header.self_test as usize + 500;
    let wrong = altered(&good, pixel, &[good[pixel] ^ 0x80; 8]);
    assert!(matches!(start::<10>(&wrong, needs), Err(RegionError::SelfTest { .. })));

    // A self-test of another model.
    let short = RegionHeader { self_test_bytes: header.self_test_bytes - 2, ..header };
    let short = altered(&good[..last], 0, &short.to_bytes());
    assert_eq!(start::<10>(&short, needs), Err(RegionError::Length));
    // The artifact has a checksum of its own.
    let inside = header.artifact as usize + artifact.len() / 2;
    let damaged = altered(&good, inside, &[good[inside] ^ 1]);
    let error = RegionError::Model(picovit::Error::Checksum);
    assert_eq!(start::<10>(&damaged, needs), Err(error));
}

#[test]
fn one_firmware_runs_every_model_that_is_put_into_the_region() {
    let dir = TempDir::new().unwrap();
    let (overlay, json) = (dir.path().join("last.png"), dir.path().join("report.json"));
    for board in ["mps2-an386", "mps2-an505"] {
        let mut programs = Vec::new();
        for model in ["cct_2_3x2_fmnist", "vit_lite_2_4_fmnist"] {
            let model = quantized_for(model, "int8", "cortex-m4");
            let run = Run { board, region: true, ..Run::new(&model, 2) };
            run.report(&overlay, &json);
            programs.push(fs::read(paths::results(board).join("firmware-region.elf")).unwrap());
        }
        assert!(programs[0] == programs[1], "{board}: the firmware depends on the model");
    }
}

/// What a board says to what is in its region; its display goes to a file.
fn refused(board: &str, region: &[u8], folder: &Path) -> String {
    let (file, overlay) = (folder.join("region.bin"), folder.join("display.png"));
    fs::write(&file, region).unwrap();
    let model = quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m4");
    let region = format!("--region={}", file.display());
    let args = ["run", "--board", board, "--images", "1", &region, "--model"].map(OsStr::new);
    let paths = [model.as_os_str(), "--overlay".as_ref(), overlay.as_os_str()];
    complaint(&firmware(args.into_iter().chain(paths)))
}

/// The pixels of a PNG as the board sent them.
fn rgb565(path: &Path) -> Vec<u8> {
    let file = fs::File::open(path).expect("the display was written");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut rgb).unwrap();
    let pixel = |rgb: &[u8]| {
        let part = |value: u8, max: u16| (u16::from(value) * max + 127) / 255;
        (part(rgb[0], 31) << 11 | part(rgb[1], 63) << 5 | part(rgb[2], 31)).to_be_bytes()
    };
    rgb.chunks_exact(3).flat_map(pixel).collect()
}

#[test]
fn a_board_that_cannot_use_its_region_shows_why_and_waits() {
    let dir = TempDir::new().unwrap();
    let artifact = fs::read(quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m4")).unwrap();
    let good = region_of(&artifact);
    let helium = fs::read(quantized_for("cct_2_3x2_fmnist", "int8", "cortex-m55")).unwrap();
    let last = good.len() - 2;
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 0x10;
    let target = RegionError::WrongTarget { found: Packing::Helium, wanted: Packing::CortexM };
    let cases: [(&str, Vec<u8>, RegionError); 8] = [
        // As an empty file, or a short one, in memory that is erased.
        ("mps2-an386", Vec::new(), RegionError::Empty),
        ("mps2-an386", vec![0], RegionError::Magic),
        ("mps2-an386", vec![0xff; 4096], RegionError::Empty),
        ("mps2-an386", damaged.clone(), RegionError::Checksum),
        ("mps2-an386", altered(&good, 4, &[0, 0]), RegionError::Version { found: 0 }),
        ("mps2-an386", region_of(&helium), target),
        (
            "mps2-an386",
            altered(&good, last, &[good[last] ^ 1]),
            RegionError::SelfTest { differing: 1, classes: 10 },
        ),
        ("mps2-an505", damaged, RegionError::Checksum),
    ];
    for (board, region, error) in cases {
        let said = refused(board, &region, dir.path());
        assert!(said.contains(&format!("{board} does not start")), "{said}");
        assert!(
            said.contains("ERROR model region: ") && said.contains("pixel for pixel"),
            "{said}"
        );
        let words = error.to_string();
        assert!(said.contains(&words), "{said} lacks {words}");
        let notice = host::notice(&Notice::from(&error), (320, 240));
        assert!(rgb565(&dir.path().join("display.png")) == notice, "{board}: {error}");
    }
}
