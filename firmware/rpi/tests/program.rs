//! The program as a user meets it. `PICOVIT_CAMERA="qemu-aarch64 FILE"` tests the Raspberry Pi's.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{FRAME, Folder, SIZE, complaint, emulated, installed, luma, records, stream};
use picovit::image::{Frame, PixelFormat, fit};
use picovit::{Engine, Model, postprocess};
use picovit_tests::reference::Aligned;

/// As many bytes a frame, in rows that the camera module does not pad.
const UNPADDED: &str = "--size 384x200";

/// Size, pixel format and bytes a row.
type Given<'a> = (&'a str, &'a str, usize);
/// As most tests want it.
const GIVEN: Given = ("320/240", "YU12", 320);

/// A stand-in for `v4l2-ctl`, which keeps what it is asked, gives this format, and streams so.
fn webcam(folder: &Folder, (size, fourcc, stride): &Given, stream: &str) {
    folder.script(
        "v4l2-ctl",
        &format!(
            "echo \"$@\" >>asked
             echo \"$_STDBUF_O\" >buffer
             case \"$*\" in *--set-parm*) echo 'Frame rate set to 15.000 fps';; esac
             case \"$*\" in
             *--get-fmt-video*)
                 echo 'Format Video Capture:'
                 echo '\tWidth/Height      : {size}'
                 echo \"\tPixel Format      : '{fourcc}' (as described)\"
                 echo '\tBytes per Line    : {stride}'
                 [ ! -e quantization ] || cat quantization
             esac
             case \"$*\" in *--stream-to*) {stream};; esac"
        ),
    );
}

/// A frame as a JPEG.
fn jpeg(frame: usize) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    let (width, height) = (SIZE.0 as u32, SIZE.1 as u32);
    encoder.encode(&luma(frame), width, height, image::ExtendedColorType::L8).unwrap();
    jpeg
}

#[test]
fn every_frame_of_a_recording_is_what_the_engine_makes_of_it() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(100));
    let output = folder.run("--source file:clip.yuv --output json --logits");
    assert!(output.status.success(), "{}", complaint(&output).0);
    let records = records(&output);
    assert_eq!(records.len(), 100);

    let bytes = Aligned::copy(&folder.read("model.pvit"));
    let model = Model::parse(&bytes).unwrap();
    let mut arena = Aligned::filled(model.arena_bytes(), 0);
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    for (index, record) in records.iter().enumerate() {
        let pixels = luma(index);
        let (width, height) = SIZE;
        let frame = Frame { width, height, format: PixelFormat::Gray8, pixels: &pixels };
        fit(&frame, 32, 32, 1, engine.input()).unwrap();
        let logits = engine.run();
        assert_eq!(record["logits"], serde_json::json!(logits), "frame {index}");
        assert_eq!(record["frame"], index);
        assert_eq!(record["dropped"], 0);
        let class = postprocess::argmax(logits);
        assert_eq!(record["alone"]["class"], class);
        let mut probabilities = [0; 10];
        postprocess::probabilities(&model, logits, &mut probabilities);
        let share = record["alone"]["probability"].as_f64().unwrap();
        assert!((share - f64::from(probabilities[class]) / 65535.0).abs() < 1e-5);
        assert_eq!(record["top"].as_array().unwrap().len(), 3);
        assert_eq!(record["top"][0]["label"], record["label"]);
        let unsure = record["probability"].as_f64().unwrap() < 0.5;
        assert_eq!(record["unsure"], unsure);
    }
    assert!(records.windows(2).all(|pair| pair[0]["logits"] != pair[1]["logits"]));
}

#[test]
fn a_stream_is_shown_up_to_where_it_breaks_off() {
    let folder = Folder::new();
    folder.write("cut.yuv", &stream(3)[..2 * FRAME + 1000]);
    let output = folder.run("--source file:cut.yuv --output json");
    let (said, code) = complaint(&output);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("cut.yuv ends within frame 2: 1000 of 115200 bytes"), "{said}");
    assert!(said.contains("--size"), "{said}");
    assert_eq!(records(&output).len(), 2);

    folder.write("empty.yuv", b"");
    let (said, code) = complaint(&folder.run("--source file:empty.yuv"));
    assert_eq!(code, 5);
    assert!(said.contains("empty.yuv is empty"), "{said}");

    let (said, code) = complaint(&folder.run("--source file:nowhere.yuv"));
    assert_eq!(code, 4);
    assert!(said.contains("nowhere.yuv"), "{said}");
}

#[test]
fn a_recording_that_became_empty_does_not_begin_again() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(2));
    let args = "--source file:clip.yuv --loop --output json";
    let mut program = folder.program(args).spawn().unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    std::fs::rename(folder.write("empty.yuv", b""), folder.path("clip.yuv")).unwrap();
    let reader = thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    end_of(&mut program);
    reader.join().unwrap().unwrap();
    let (said, code) = complaint(&program.wait_with_output().unwrap());
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("clip.yuv is empty"), "{said}");
}

#[test]
fn a_wrong_model_is_named() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(1));
    let good = folder.read("model.pvit");
    folder.write("short.pvit", &good[..good.len() / 2]);
    folder.write("text.pvit", b"hello");
    for name in ["short.pvit", "text.pvit", "none.pvit"] {
        let output = folder.run(&format!("--model {name} --source file:clip.yuv"));
        let (said, code) = complaint(&output);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains(name) && said.contains("cargo tools quantize"), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let folder = Folder::new();
    for (args, reason) in [
        ("--source - --loop", "only a file"),
        // A multiple of 64, which was enough before the Raspberry Pi 5.
        ("--size 320x240", "--size 384x240"),
        ("--format rgb888", "--source rpicam does not send it"),
        ("--source usb", "none of rpicam"),
        ("--output framebuffer --framebuffer-geometry 9x9x9", "too small"),
    ] {
        let (said, code) = complaint(&folder.run(args));
        assert_eq!(code, 2, "{args}: {said}");
        assert!(said.contains(reason), "{args}: {said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(1));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let args = format!("--source file:clip.yuv --output web --listen {address}");
    let (said, code) = complaint(&folder.run(&args));
    assert_eq!(code, 7, "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("is in use"), "{said}");
    assert!(said.contains("--listen"), "{said}");
}

#[test]
fn a_camera_that_is_killed_is_quoted() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(3)[..2 * FRAME + 5]);
    for (end, status) in [("kill -9 $$", "signal: 9 (SIGKILL)"), ("exit 0", "exit status: 0")] {
        folder.script(
            "rpicam-vid",
            &format!("echo Camera ready >&2; cat clip.yuv; echo ERROR: cable >&2; {end}"),
        );
        let mut camera = folder.program(&format!("{UNPADDED} --every-frame --output json"));
        let output = camera.env("PATH", folder.search_path()).output().unwrap();
        let (said, code) = complaint(&output);
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("rpicam-vid` ended after 2 frames"), "{said}");
        assert!(said.contains(status), "{said}");
        assert!(said.contains("Camera ready ERROR: cable"), "{said}");
        assert!(said.contains("rpicam-vid --list-cameras`"), "{said}");
        assert_eq!(records(&output).len(), 2);
    }
}

#[test]
fn a_camera_is_asked_for_the_right_stream_and_ended_in_the_end() {
    let folder = Folder::new();
    // What it sends is endless: only its end makes the program's output end.
    folder.script("libcamera-vid", "echo $$ \"$@\" >args; exec cat /dev/zero");
    let args = "--frames 3 --output json --fps 15 --camera-arg=--hflip";
    let mut camera = folder.program(&format!("{UNPADDED} {args}"));
    // `rpicam-vid` comes first and may be installed: nothing is to be found but what the script needs.
    std::os::unix::fs::symlink(installed("cat").unwrap(), folder.path("cat")).unwrap();
    let output = camera.env("PATH", folder.path("")).output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output).0);
    assert_eq!(records(&output).len(), 3);
    let asked = String::from_utf8(folder.read("args")).unwrap();
    let (process, asked) = asked.trim().split_once(' ').unwrap();
    assert_eq!(
        asked,
        "--timeout 0 --nopreview --codec yuv420 --output - --width 384 --height 200 \
         --framerate 15 --flush --hflip"
    );
    assert!(!std::path::Path::new("/proc").join(process).exists());
}

#[test]
fn a_camera_that_sends_nothing_is_given_up() {
    let folder = Folder::new();
    let stuck =
        "echo '<<< 30.00 fps' >&2; echo DQBUF: busy >&2; head -c 115200 /dev/zero; sleep 60";
    webcam(&folder, &GIVEN, stuck);
    let mut camera = folder.program("--source v4l2:/dev/video9 --format yuv420 --stall 1");
    let output = camera.env("PATH", folder.search_path()).output().unwrap();
    let (said, code) = complaint(&output);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("no frame from /dev/video9 for 1 seconds, after 1 frames"), "{said}");
    assert!(said.contains("its program said: DQBUF: busy help"), "{said}");
}

#[test]
fn what_a_camera_script_starts_ends_with_it() {
    let folder = Folder::new();
    // One holds both pipes open and goes unnoticed; one what is said only, so that the stream ends.
    for (out, end, said) in
        [("", "wait", "no frame from"), (">/dev/null", "exit 3", "after 1 frames: exit status: 3")]
    {
        let asleep = format!("sleep 60 {out} & echo $! >child; head -c 115200 /dev/zero");
        webcam(&folder, &GIVEN, &format!("{asleep}; {end}"));
        let mut camera = folder.program("--source v4l2:/dev/video9 --format yuv420 --stall 2");
        let (text, code) = complaint(&camera.env("PATH", folder.search_path()).output().unwrap());
        assert_eq!(code, 6, "{text}");
        let child = String::from_utf8(folder.read("child")).unwrap();
        // Its process may be there until somebody asks for its status, but it sleeps no more.
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        assert!(state.is_err() || state.is_ok_and(|state| state.contains(") Z ")), "{text}");
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_missing_camera_program_is_named() {
    let folder = Folder::new();
    let output = folder.program(UNPADDED).env("PATH", folder.path("")).output().unwrap();
    let (said, code) = complaint(&output);
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("rpicam-vid and libcamera-vid") && said.contains("apt install"),
        "{said}"
    );
}

#[test]
fn a_pipe_gives_its_newest_frame() {
    let folder = Folder::new();
    let mut command = folder.program("--source - --output json");
    let mut program = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = program.stdin.take().unwrap();
    let writer = thread::spawn(move || pipe.write_all(&stream(60)).unwrap());
    let output = program.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", complaint(&output).0);
    let records = records(&output);
    let last = records.last().expect("one at least");
    assert_eq!(last["frame"], 59);
    assert_eq!(last["dropped"], 60 - records.len());
}

/// Sends a signal to the program.
fn kill(program: &Child, signal: &str) {
    let sent = Command::new("kill").args([signal, &program.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// How it ends, before long.
fn end_of(program: &mut Child) -> ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(status) = program.try_wait().unwrap() {
            return status;
        }
        assert!(asked.elapsed() < Duration::from_secs(20), "it does not end");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Whether these tests were started with a signal ignored, as shells do in the background: the program then
/// ignores it, too.
fn ignored(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(set.trim(), 16).unwrap() >> (number - 1) & 1 == 1
}

#[test]
fn signals_end_it_in_good_order() {
    let folder = Folder::new();
    for (signal, number) in [("-TERM", 15), ("-INT", 2), ("-HUP", 1)] {
        if ignored(number) {
            continue;
        }
        let mut command = folder.program("--source - --output json");
        let mut program = command.stdin(Stdio::piped()).spawn().unwrap();
        // The pipe stays open: the stream does not end.
        let mut pipe = program.stdin.take().unwrap();
        pipe.write_all(&stream(1)).unwrap();
        let mut out = BufReader::new(program.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        kill(&program, signal);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        let output = program.wait_with_output().unwrap();
        assert_eq!(complaint(&output), (String::new(), 0), "{signal}");
        assert_eq!(rest, "");
    }
}

#[test]
fn who_does_not_read_does_not_keep_it_from_ending() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(100));
    let mut program =
        folder.program("--source file:clip.yuv --loop --output json").spawn().unwrap();
    // More than a pipe holds is written soon, and not read.
    thread::sleep(Duration::from_secs(3));
    assert!(program.try_wait().unwrap().is_none());
    kill(&program, "-TERM");
    let status = end_of(&mut program);
    assert!(status.success(), "{status}");

    // Nor when all is classified, and more than a pipe holds is yet to be written.
    let mut program =
        folder.program("--source file:clip.yuv --loop --frames 350 --output json").spawn().unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(program.try_wait().unwrap().is_none());
    kill(&program, "-TERM");
    let status = end_of(&mut program);
    assert!(status.success(), "{status}");
}

#[test]
fn a_signal_that_was_ignored_before_is_ignored() {
    // The emulator hears signals for the program, and the kernel says so of the emulator.
    if emulated() {
        eprintln!("not under an emulator: ignored signals are its own");
        return;
    }
    let folder = Folder::new();
    let program = folder.program("--source - --output json");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(program.get_program());
    command.args(program.get_args()).current_dir(folder.path(""));
    let mut program = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = program.stdin.take().unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    for _ in 0..2 {
        pipe.write_all(&stream(1)).unwrap();
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it has ended");
        kill(&program, "-HUP");
    }
    kill(&program, "-TERM");
    let status = end_of(&mut program);
    assert!(status.success(), "{status}");
}

#[test]
fn who_does_not_read_its_warnings_does_not_keep_it_from_going_on() {
    let folder = Folder::new();
    let mut small = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut small);
    encoder.encode(&[99; 64], 8, 8, image::ExtendedColorType::L8).unwrap();
    // More warnings than a pipe holds.
    let cut = &small[..small.len() - 2];
    folder.write("clip.mjpeg", &[cut, &small, &small].concat().repeat(2000));
    let args = "--source file:clip.mjpeg --every-frame=false --output json";
    let mut program = folder.program(args).stdout(Stdio::null()).spawn().unwrap();
    assert!(end_of(&mut program).success());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(100));
    let mut program = folder.program("--source file:clip.yuv --loop").spawn().unwrap();
    let mut out = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    assert_eq!(complaint(&program.wait_with_output().unwrap()), (String::new(), 0));
    assert!(line.contains(" % ") && line.contains(" ms"), "{line}");
}

#[test]
fn jpegs_are_classified_and_damaged_ones_named() {
    let folder = Folder::new();
    let mut clip = [jpeg(0), jpeg(1), jpeg(2)].concat();
    folder.write("clip.mjpeg", &clip);
    // The size is in the pictures.
    let output = folder.run("--size 64x64 --source file:clip.mjpeg --output json");
    assert!(output.status.success(), "{}", complaint(&output).0);
    assert_eq!(records(&output).len(), 3);

    let second = jpeg(0).len();
    // The frame's header, FF C0, claims another precision.
    let header = clip[second..].windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    clip[second + header + 4] = 99;
    folder.write("clip.mjpeg", &clip);
    let output = folder.run("--source file:clip.mjpeg --output json");
    let (said, code) = complaint(&output);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("clip.mjpeg, frame 1: "), "{said}");
    // A live camera is allowed a bad one.
    let output = folder.run("--source file:clip.mjpeg --every-frame=false --output json");
    assert!(output.status.success(), "{}", complaint(&output).0);
    assert_eq!(records(&output).last().unwrap()["frame"], 2);
}

#[test]
fn jpegs_may_leave_out_their_huffman_tables() {
    let folder = Folder::new();
    let logits = |clip: &[u8]| {
        folder.write("clip.mjpeg", clip);
        let output = folder.run("--source file:clip.mjpeg --output json --logits");
        assert!(output.status.success(), "{}", complaint(&output).0);
        records(&output)[0]["logits"].clone()
    };
    let mut bare = jpeg(0);
    while let Some(at) = bare.windows(3).position(|marker| marker == [0xFF, 0xC4, 0]) {
        bare.drain(at..at + 2 + usize::from(bare[at + 3]));
    }
    assert!(bare.len() < jpeg(0).len());
    assert_eq!(logits(&bare), logits(&jpeg(0)));
}

#[test]
fn a_webcam_may_send_a_jpeg_without_its_end() {
    let folder = Folder::new();
    let cut = |jpeg: Vec<u8>| jpeg[..jpeg.len() - 100].to_vec();
    folder.write("clip.mjpeg", &[jpeg(0), cut(jpeg(1)), jpeg(2)].concat());
    webcam(&folder, &("320/240", "MJPG", 0), "cat clip.mjpeg");
    let mut camera = folder.program("--source v4l2:/dev/video9 --output json");
    let output = camera.env("PATH", folder.search_path()).output().unwrap();
    let (said, code) = complaint(&output);
    // That the stream ends is a fault of its own.
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("warning: /dev/video9, frame 1: its end is missing"), "{said}");
    assert!(said.contains("ended after 3 frames"), "{said}");
    assert_eq!(records(&output).last().unwrap()["frame"], 2);

    // One after the other is no accident.
    folder.write("clip.mjpeg", &[vec![cut(jpeg(0)).as_slice(); 40].concat(), jpeg(2)].concat());
    let output = camera.output().unwrap();
    let (said, code) = complaint(&output);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("/dev/video9, frame 29: its end is missing"), "{said}");

    // Of a recording, every frame counts.
    folder.write("clip.mjpeg", &[jpeg(0), cut(jpeg(1)), jpeg(2)].concat());
    let output = folder.run("--source file:clip.mjpeg --output json");
    let (said, code) = complaint(&output);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("clip.mjpeg, frame 1: its end is missing"), "{said}");
    assert_eq!(records(&output).len(), 1);
}

#[test]
fn a_webcam_is_set_up_before_its_stream() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(3));
    webcam(&folder, &GIVEN, "cat clip.yuv");
    let args = "--output json --logits --every-frame --format yuv420 --fps 15";
    let mut camera = folder.program(&format!("--source v4l2:/dev/video9 {args}"));
    let output = camera.env("PATH", folder.search_path()).output().unwrap();
    let (said, code) = complaint(&output);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("v4l2-ctl` ended after 3 frames"), "{said}");
    assert!(said.contains("v4l2-ctl --list-devices`"), "{said}");
    // The end of a frame does not wait for the next one, where `stdbuf` can tell it so.
    assert!(installed("stdbuf").is_none() || folder.read("buffer") == b"0\n");
    // No word of the program's has become a pixel.
    let logits = |output| {
        let records = records(output).into_iter();
        records.map(|record| record["logits"].clone()).collect::<Vec<_>>()
    };
    let recorded = folder.run(&format!("--source file:clip.yuv {args}"));
    assert_eq!(logits(&output), logits(&recorded));
    assert_eq!(
        String::from_utf8(folder.read("asked")).unwrap(),
        "--device /dev/video9 --set-fmt-video=width=320,height=240,pixelformat=YU12 --set-parm=15 \
         --get-fmt-video\n--device /dev/video9 --stream-mmap --stream-to=-\n"
    );
}

#[test]
fn a_webcam_says_the_values_of_its_yuv_and_an_argument_says_it_better() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(1));
    webcam(&folder, &GIVEN, "cat clip.yuv");
    let args = "--output json --logits --every-frame --format yuv420";
    let logits = |args: &str| {
        let mut program = folder.program(args);
        let records = records(&program.env("PATH", folder.search_path()).output().unwrap());
        records[0]["logits"].clone()
    };
    let [full, limited] = ["full", "limited"]
        .map(|range| logits(&format!("--source file:clip.yuv {args} --range {range}")));
    assert!(full != limited);
    let camera = format!("--source v4l2:/dev/video9 {args}");
    assert_eq!(logits(&camera), full);
    let says = "\tQuantization      : Default (maps to Limited Range)\n";
    folder.write("quantization", says.as_bytes());
    assert_eq!(logits(&camera), limited);
    assert_eq!(logits(&format!("{camera} --range full")), full);
}

#[test]
fn a_webcam_that_gives_something_else_is_refused() {
    let folder = Folder::new();
    let refused = |args: &str, reason: &str| {
        let mut camera = folder.program(&format!("--source v4l2:/dev/video9 {args}"));
        let output = camera.env("PATH", folder.search_path()).output().unwrap();
        let (said, code) = complaint(&output);
        assert_eq!(code, 4, "{args}: {said}");
        assert!(said.contains(reason), "{args}: {said}");
        let remedy = "v4l2-ctl --device /dev/video9 --list-formats-ext";
        assert!(said.contains(remedy), "{args}: {said}");
    };
    for (given, args, reason) in [
        (
            ("640/480", "YU12", 640),
            "--format yuv420",
            "/dev/video9 was asked for 320x240 in YU12, 320 bytes a row: it gives 640x480 in YU12, \
             640 bytes a row",
        ),
        (
            ("320/240", "YUYV", 640),
            "",
            "320x240 in MJPG: it gives 320x240 in YUYV, 640 bytes a row",
        ),
        (("320/240", "YU12", 384), "--format yuv420", "320x240 in YU12, 384 bytes a row"),
        (("320/240", "RGB3", 1024), "--format rgb888", "RGB3, 960 bytes a row: it gives 320x240"),
    ] {
        webcam(&folder, &given, "head -c 400000 /dev/zero");
        refused(args, reason);
    }
    folder.script("v4l2-ctl", "echo Cannot open device >&2; exit 255");
    refused("", "320x240 in MJPG: v4l2-ctl: exit status: 255; it said: Cannot open device");
}

#[test]
fn the_framebuffer_shows_what_the_boards_show() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(5));
    let shown = |name: &str, geometry: &str| {
        folder.write(name, b"");
        let args = "--source file:clip.yuv --output framebuffer --framebuffer";
        let output = folder.run(&format!("{args} {name} --framebuffer-geometry {geometry}"));
        assert!(output.status.success(), "{}", complaint(&output).0);
        folder.read(name)
    };
    let narrow = shown("fb16", "320x240x16");
    assert_eq!(narrow.len(), 320 * 240 * 2);
    // The background of `overlay::palette`.
    let background = |pixel: &[u8; 2]| u16::from_le_bytes(*pixel) == 1 << 11 | 3 << 5 | 2;
    let pixels = narrow.as_chunks::<2>().0;
    assert!(background(&pixels[0]));
    let mut colours: Vec<_> = pixels.iter().collect();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 20, "{} colours only", colours.len());

    // Twice as large, in true colour, with a gap behind each row.
    let wide = shown("fb32", "640x480x32:2600");
    assert_eq!(wide.len(), 2600 * 480);
    // What an inference took is written in figures, on the right: the left half is the same.
    for (y, row) in pixels.chunks(320).take(120).enumerate() {
        for (x, pixel) in row.iter().take(136).enumerate() {
            let place = &wide[2600 * 2 * y + 8 * x..][..4];
            let value = u16::from_le_bytes(*pixel);
            let [r, g, b] = [value >> 11, value >> 5 & 63, value & 31];
            let rough = [place[2] >> 3, place[1] >> 2, place[0] >> 3].map(u16::from);
            assert_eq!(rough, [r, g, b], "{x}, {y}");
        }
    }

    let (said, code) = complaint(&folder.run(
        "--source file:clip.yuv --output framebuffer --framebuffer none \
         --framebuffer-geometry 320x240x16",
    ));
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("framebuffer none") && said.contains("video"), "{said}");
    let (said, code) =
        complaint(&folder.run("--source file:clip.yuv --output framebuffer --framebuffer fb16"));
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("--framebuffer-geometry"), "{said}");
}
