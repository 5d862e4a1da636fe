//! The threads, put together.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::camera::Camera;
use crate::capture::{self, Capture, Captured};
use crate::cli::{Args, Source};
use crate::error::Error;
use crate::inference::{self, Job, Shown};
use crate::model::Artifact;
use crate::output::Outputs;
use crate::slot::Slot;

/// Nobody misses a frame of a pipe: whoever writes it may take his time.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How long the end may take after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs until the stream ends, so many frames are classified, or somebody ends it.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let artifact = Artifact::read(&args.model)?;
    let outputs = Outputs::open(args, &artifact)?;
    let capture = Capture::open(args)?;
    let camera = capture.camera();
    let slot = Arc::new(Slot::new());
    let status = Arc::new(AtomicU8::new(0));
    stop_on_signals(&slot, camera.clone(), &status)?;

    let live = !matches!(args.source, Source::File(_) | Source::Stdin);
    let job = Job {
        artifact: &artifact,
        unsure_below: args.unsure_below,
        frames: args.frames,
        logits: args.logits,
        screen: outputs.screen(),
        stall: if live { Duration::from_secs(args.stall) } else { FOREVER },
        every_frame: args.every_frame(),
        source: capture::name(&args.source),
        camera: camera.clone(),
    };
    capture.start(Arc::clone(&slot))?;
    let end = classify_and_show(&job, &slot, outputs, &status);
    if let Some(camera) = camera {
        camera.stop();
    }
    end
}

/// Classifies on another thread, shows on this one. The exit status is known before all is written.
fn classify_and_show(
    job: &Job<'_>,
    slot: &Slot<Captured>,
    mut outputs: Outputs,
    status: &AtomicU8,
) -> Result<(), Error> {
    // What is shown may be as old as the frame that is being classified, no older.
    let (results, shown) = sync_channel(0);
    thread::scope(|scope| {
        let classify = move || inference::run(job, slot, &results);
        let inference = thread::Builder::new().name("inference".to_owned());
        let inference = inference
            .spawn_scoped(scope, classify)
            .map_err(|reason| Error::System { what: "a thread", reason })?;
        let showing = show(shown, &mut outputs);
        slot.stop();
        let classifying = inference.join().expect("the inference does not panic");
        let end = showing.and(classifying);
        status.store(end.as_ref().map_or_else(Error::exit_code, |()| 0), Ordering::Relaxed);
        // What went wrong before is more than what cannot be written.
        let written = outputs.finish();
        end.and(written)
    })
}

fn show(shown: Receiver<Shown>, outputs: &mut Outputs) -> Result<(), Error> {
    for shown in shown {
        if !outputs.show(shown)? {
            break;
        }
    }
    Ok(())
}

/// Ends in good order, or at once when asked for the second time. Whoever does not read what is written
/// is not waited for.
fn stop_on_signals(
    slot: &Arc<Slot<Captured>>,
    camera: Option<Camera>,
    status: &Arc<AtomicU8>,
) -> Result<(), Error> {
    let refused = |reason| Error::System { what: "to tell about signals", reason };
    let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    // The last is for a terminal, or a connection, that is closed.
    let heard =
        [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(heard).map_err(refused)?;
    let (slot, status) = (Arc::clone(slot), Arc::clone(status));
    thread::spawn(move || {
        let leave = |code| {
            if let Some(camera) = &camera {
                camera.stop();
            }
            std::process::exit(code)
        };
        let mut signals = signals.forever();
        let Some(first) = signals.next() else { return };
        slot.stop();
        let camera = camera.clone();
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            if let Some(camera) = camera {
                camera.stop();
            }
            std::process::exit(status.load(Ordering::Relaxed).into());
        });
        leave(128 + signals.next().unwrap_or(first));
    });
    Ok(())
}

/// The signals that whoever started this has it ignore, as `nohup` and shells in the background do: a bit for
/// each in the kernel's description of a process.
fn ignored(status: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read() {
        let status =
            "SigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t00000001804044fc\n";
        assert_eq!(ignored(status), 1 << (13 - 1) | 1 << (SIGHUP - 1));
        assert_eq!(ignored(""), 0);
    }
}
