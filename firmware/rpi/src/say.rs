//! What a person should hear.
//!
//! It is written on a thread of its own: a standard error that nobody reads holds up neither frames nor the
//! web page.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines that wait to be heard; those that come then are left out.
const WAITING: usize = 64;

/// How long the end waits until what was said is written.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two tries to say it.
const PAUSE: Duration = Duration::from_millis(10);

enum Word {
    Line(String),
    /// Answers when everything before is written.
    End(SyncSender<()>),
}

/// Says a line. That nobody listens there is no reason to end.
pub(crate) fn say(text: impl Display) {
    speaker().say(text);
}

/// Waits until what was said, and this last, is heard, but not for ever.
pub(crate) fn finish(last: Option<String>) {
    if let Err(unheard) = speaker().finish(last, PATIENCE) {
        let _ = writeln!(io::stderr(), "{unheard}");
    }
}

fn speaker() -> &'static Speaker {
    static SPEAKER: OnceLock<Speaker> = OnceLock::new();
    SPEAKER.get_or_init(|| Speaker::start(io::stderr()))
}

struct Speaker {
    words: SyncSender<Word>,
}

impl Speaker {
    fn start(out: impl Write + Send + 'static) -> Self {
        let (words, heard) = sync_channel(WAITING);
        // Where the system refuses threads, the last word says so.
        let _ = thread::Builder::new().name("say".to_owned()).spawn(move || write(heard, out));
        Self { words }
    }

    fn say(&self, text: impl Display) {
        let _ = self.words.try_send(Word::Line(text.to_string()));
    }

    /// What there is nobody to write comes back.
    fn finish(&self, last: Option<String>, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        let (end, ended) = sync_channel(1);
        for mut word in last.map(Word::Line).into_iter().chain([Word::End(end)]) {
            loop {
                word = match self.words.try_send(word) {
                    Ok(()) => break,
                    Err(TrySendError::Full(word)) if Instant::now() < until => word,
                    Err(TrySendError::Disconnected(Word::Line(line))) => return Err(line),
                    Err(_) => return Ok(()),
                };
                thread::sleep(PAUSE);
            }
        }
        let _ = ended.recv_timeout(until.saturating_duration_since(Instant::now()));
        Ok(())
    }
}

fn write(heard: Receiver<Word>, mut out: impl Write) {
    for word in heard {
        match word {
            Word::Line(line) => drop(writeln!(out, "{line}")),
            Word::End(end) => drop(end.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands on what is written.
    struct Hands(SyncSender<Vec<u8>>);

    impl Write for Hands {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn last() -> Option<String> {
        Some("the end".to_owned())
    }

    #[test]
    fn nobody_waits_for_who_does_not_listen() {
        let (out, _stalled) = sync_channel(0);
        let speaker = Speaker::start(Hands(out));
        (0..3 * WAITING).for_each(|line| speaker.say(line));
        assert_eq!(speaker.finish(last(), Duration::from_millis(50)), Ok(()));
    }

    #[test]
    fn the_last_word_is_heard_after_all_others() {
        let (out, heard) = sync_channel(10_000);
        let speaker = Speaker::start(Hands(out));
        (0..10).for_each(|line| speaker.say(line));
        assert_eq!(speaker.finish(last(), PATIENCE), Ok(()));
        let text: Vec<u8> = heard.try_iter().flatten().collect();
        assert_eq!(text, b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\nthe end\n");
        // Who has gone is waited for by nobody.
        drop(heard);
        assert_eq!(speaker.finish(None, PATIENCE), Ok(()));
    }

    #[test]
    fn what_nobody_writes_comes_back() {
        let speaker = Speaker { words: sync_channel(1).0 };
        assert_eq!(speaker.finish(last(), PATIENCE), Err("the end".to_owned()));
        assert_eq!(speaker.finish(None, PATIENCE), Ok(()));
    }
}
