//! Lines for whoever reads the standard output, written on a thread of their own: a reader that stops
//! holds up no web page and no display.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::say::say;

/// Lines that wait for a reader; of a camera, those that come then are left out.
const WAITING: usize = 256;

/// How long the end waits for a reader where not every line counts.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where lines go.
pub(super) struct Lines {
    waiting: SyncSender<Vec<u8>>,
    /// How writing has ended.
    written: Receiver<io::Result<()>>,
    /// Every line counts.
    every: bool,
    /// Somebody was told that lines are left out.
    told: bool,
}

impl Lines {
    /// Starts to write to `out`; with `every`, a reader that stops is waited for.
    pub(super) fn start(out: impl Write + Send + 'static, every: bool) -> Result<Self, Error> {
        let (waiting, lines) = sync_channel(WAITING);
        let (end, written) = sync_channel(1);
        let writer = thread::Builder::new().name("lines".to_owned());
        writer
            // Nobody may be there to hear of the end.
            .spawn(move || drop(end.send(write(lines, out))))
            .map_err(|reason| Error::System { what: "a thread", reason })?;
        Ok(Self { waiting, written, every, told: false })
    }

    /// Has a line written; whether anybody reads.
    pub(super) fn put(&mut self, line: Vec<u8>) -> bool {
        if self.every {
            return self.waiting.send(line).is_ok();
        }
        let sent = self.waiting.try_send(line);
        if matches!(sent, Err(TrySendError::Full(_))) && !self.told {
            self.told = true;
            say("warning: nobody reads the standard output; frames are left out there");
        }
        !matches!(sent, Err(TrySendError::Disconnected(_)))
    }

    /// Waits until all lines are written, where every line counts however long that takes. A reader who has
    /// left, as behind `| head`, is no fault.
    pub(super) fn finish(self) -> Result<(), Error> {
        drop(self.waiting);
        let written = if self.every {
            self.written.recv().map_err(RecvTimeoutError::from)
        } else {
            self.written.recv_timeout(PATIENCE)
        };
        match written {
            Ok(Err(reason)) if reason.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::Write { reason })
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the writer does not panic"),
        }
    }
}

fn write(lines: Receiver<Vec<u8>>, mut out: impl Write) -> io::Result<()> {
    for line in lines {
        out.write_all(&line)?;
        out.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    /// Takes what it is given, once it is let.
    struct Gate {
        open: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Open for good once nobody holds the other end.
            let _ = self.open.recv();
            self.taken.lock().expect("no test panicked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Gate, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (key, open) = mpsc::channel();
        let taken = Arc::new(Mutex::new(Vec::new()));
        (Gate { open, taken: Arc::clone(&taken) }, key, taken)
    }

    #[test]
    fn a_reader_that_stops_holds_up_nobody_and_gets_the_oldest_lines() {
        let (gate, key, taken) = gate();
        let mut lines = Lines::start(gate, false).expect("starts");
        let count = 2 * WAITING as u32;
        assert!((0..count).all(|line| lines.put(line.to_le_bytes().to_vec())));
        assert!(lines.told);
        drop(key);
        lines.finish().expect("all written");
        let taken = taken.lock().expect("no test panicked");
        let oldest: Vec<u8> = (0..WAITING as u32).flat_map(u32::to_le_bytes).collect();
        assert!(taken.starts_with(&oldest));
        // One more line may be there: the writer has taken one, sooner or later.
        assert!((WAITING..=WAITING + 1).contains(&(taken.len() / 4)));
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_has_stopped() {
        let (gate, _key, _) = gate();
        let mut lines = Lines::start(gate, false).expect("starts");
        assert!(lines.put(b"a line\n".to_vec()));
        let (done, finished) = mpsc::channel();
        thread::spawn(move || done.send(lines.finish().is_ok()));
        assert_eq!(finished.recv_timeout(10 * PATIENCE), Ok(true));
    }

    #[test]
    fn where_every_line_counts_a_slow_reader_gets_all() {
        let (gate, key, taken) = gate();
        let mut lines = Lines::start(gate, true).expect("starts");
        let opener = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(key);
        });
        assert!((0..4 * WAITING).all(|_| lines.put(b"a line\n".to_vec())));
        lines.finish().expect("all written");
        opener.join().expect("no panic");
        assert_eq!(taken.lock().expect("no test panicked").len(), 4 * WAITING * 7);
    }

    #[test]
    fn readers_may_leave_but_disks_may_not_be_full() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, fine) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)]
        {
            let mut lines = Lines::start(Fails(kind), false).expect("starts");
            while lines.put(b"a line\n".to_vec()) {
                thread::yield_now();
            }
            assert_eq!(lines.finish().is_ok(), fine, "{kind:?}");
        }
    }
}
