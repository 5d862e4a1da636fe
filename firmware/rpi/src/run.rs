//! The threads, put together.

use std::sync::Arc;
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
    stop_on_signals(&slot, camera.clone())?;

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
    let end = classify_and_show(&job, &slot, outputs);
    if let Some(camera) = camera {
        camera.stop();
    }
    end
}

/// Classifies on another thread, shows on this one.
fn classify_and_show(
    job: &Job<'_>,
    slot: &Slot<Captured>,
    mut outputs: Outputs,
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
        showing.and(outputs.finish()).and(classifying)
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
fn stop_on_signals(slot: &Arc<Slot<Captured>>, camera: Option<Camera>) -> Result<(), Error> {
    let refused = |reason| Error::System { what: "to tell about signals", reason };
    // The last is for a terminal, or a connection, that is closed.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(refused)?;
    let slot = Arc::clone(slot);
    thread::spawn(move || {
        let leave = |code| {
            if let Some(camera) = &camera {
                camera.stop();
            }
            std::process::exit(code)
        };
        let mut signals = signals.forever();
        let Some(first) = signals.next() else { return };
        if slot.is_stopped() {
            leave(128 + first);
        }
        slot.stop();
        let camera = camera.clone();
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            if let Some(camera) = camera {
                camera.stop();
            }
            std::process::exit(0);
        });
        leave(128 + signals.next().unwrap_or(first));
    });
    Ok(())
}
