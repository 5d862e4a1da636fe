//! A line of text, which a terminal shows always in the same place.

use crate::record::Record;

/// Characters of the bar.
const BAR: usize = 20;

/// The terminal.
pub(super) struct Terminal {
    /// A person looks, no file.
    live: bool,
}

impl Terminal {
    /// For a person who looks, or for a file.
    pub(super) fn new(live: bool) -> Self {
        Self { live }
    }

    /// What shows a record.
    pub(super) fn line(&self, record: &Record) -> Vec<u8> {
        let text = line(record);
        // What is too long for the terminal is cut: in its next line it would stay for ever.
        let text = if self.live { format!("\r\x1b[2K\x1b[?7l{text}\x1b[?7h") } else { text + "\n" };
        text.into_bytes()
    }

    /// What leaves the last line where it is.
    pub(super) fn end(&self) -> Vec<u8> {
        if self.live { b"\n".to_vec() } else { Vec::new() }
    }
}

fn line(record: &Record) -> String {
    let mut guesses = record.top.iter();
    let best = guesses.next().map_or(0.0, |guess| guess.probability);
    let filled = (best * BAR as f64).round() as usize;
    let bar = "█".repeat(filled) + &"░".repeat(BAR.saturating_sub(filled));
    let label = if record.unsure { format!("{}?", record.label) } else { record.label.clone() };
    let mut line = format!("{:>6}  {label:<14} {bar} {:>3.0} %", record.frame, 100.0 * best);
    for guess in guesses {
        line += &format!("  {} {:.0} %", guess.label, 100.0 * guess.probability);
    }
    line += &format!("  {:.1} ms", record.inference_us as f64 / 1000.0);
    if record.dropped > 0 {
        line += &format!("  {} dropped", record.dropped);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Guess;

    #[test]
    fn a_line_has_it_all() {
        let guess =
            |label: &str, class, probability| Guess { label: label.into(), class, probability };
        let top = vec![guess("Sneaker", 7, 0.75), guess("Boot", 9, 0.25)];
        let mut record = Record {
            frame: 12,
            label: "Sneaker".to_owned(),
            class: 7,
            probability: 0.75,
            unsure: false,
            alone: top[0].clone(),
            top,
            inference_us: 1234,
            dropped: 0,
            logits: None,
        };
        let bar = "███████████████░░░░░";
        assert_eq!(line(&record), format!("    12  Sneaker        {bar}  75 %  Boot 25 %  1.2 ms"));
        (record.unsure, record.dropped) = (true, 3);
        assert!(line(&record).contains("Sneaker?") && line(&record).ends_with("3 dropped"));

        let text = line(&record);
        let shown = |live| String::from_utf8(Terminal::new(live).line(&record)).unwrap();
        // In its place, and without a second line.
        assert_eq!(shown(true), format!("\r\x1b[2K\x1b[?7l{text}\x1b[?7h"));
        assert_eq!(shown(false), text + "\n");
    }
}
