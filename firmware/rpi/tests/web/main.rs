//! The web page: by hand, and in a real browser where there is one.
//!
//! `PICOVIT_SCREENSHOT=FILE.png` keeps a picture of the page; `PICOVIT_WEB_ARGS` replaces what is shown
//! there.

mod browser;
#[path = "../common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::{env, fs, thread};

use browser::Browser;
use common::{Folder, stream};
use serde_json::Value;

/// A program that shows a recording again and again.
struct Site {
    program: Child,
    address: String,
    _folder: Folder,
}

impl Site {
    fn start() -> Self {
        let folder = Folder::new();
        folder.write("clip.yuv", &stream(100));
        let what = env::var("PICOVIT_WEB_ARGS");
        let what = what.unwrap_or("--source file:clip.yuv --fps 20 --loop".to_owned());
        let args = format!("{what} --unsure-below 0.3 --output web --listen 127.0.0.1:0");
        let mut program = folder.program(&args).spawn().unwrap();
        let mut said = BufReader::new(program.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("web page: http://").expect(&line);
        let address = address.trim_end_matches('/').to_owned();
        Self { program, address, _folder: folder }
    }

    /// Asks, as a host of this name.
    fn ask_as(&self, host: &str, request: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        BufReader::new(stream)
    }

    /// Status line with headers, and body.
    fn ask(&self, request: &str) -> (String, Vec<u8>) {
        let mut answer = Vec::new();
        self.ask_as(&self.address, request).read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("headers") + 4;
        let body = answer.split_off(end);
        (String::from_utf8(answer).unwrap(), body)
    }

    /// Waits for so many events.
    fn events(&self, count: usize) -> Vec<Value> {
        let lines = self.ask_as("localhost", "GET /events").lines().map(Result::unwrap);
        let events = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        events.take(count).map(|event| serde_json::from_str(&event).unwrap()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[test]
fn page_picture_and_records_are_served() {
    let site = Site::start();
    let events = site.events(4);
    let number = |event: &Value| event["frame"].as_u64().unwrap();
    assert!(events.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "{events:?}");
    assert_eq!(events[0]["top"].as_array().unwrap().len(), 3);

    let (head, page) = site.ask("GET /");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/html"), "{head}");
    assert!(head.contains("default-src 'none'"), "{head}");
    assert!(String::from_utf8(page).unwrap().contains("new EventSource"));

    let (head, jpeg) = site.ask("GET /picture.jpg?12");
    assert!(head.contains("image/jpeg"), "{head}");
    let picture = image::load_from_memory(&jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 240));

    let (_, model) = site.ask("GET /model.json");
    let model: Value = serde_json::from_slice(&model).unwrap();
    assert_eq!(model["labels"].as_array().unwrap().len(), 10);

    assert!(site.ask("GET /../etc/passwd").0.starts_with("HTTP/1.1 404"));
    assert!(site.ask("DELETE /").0.starts_with("HTTP/1.1 405"));
}

#[test]
fn a_foreign_name_that_leads_here_sees_nothing() {
    let site = Site::start();
    for path in ["/", "/picture.jpg", "/events"] {
        let mut answer = String::new();
        let mut reader = site.ask_as("camera.example.org", &format!("GET {path}"));
        reader.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[test]
fn many_pages_and_a_page_that_reads_nothing_stop_nobody() {
    let site = Site::start();
    let _lazy: Vec<_> = (0..3).map(|_| site.ask_as("localhost", "GET /events")).collect();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..5).map(|_| scope.spawn(|| site.events(3).len())).collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 3));
    });
}

#[test]
fn a_browser_shows_a_moving_picture_and_bars() {
    let Some(mut browser) = Browser::start() else {
        // Past the test harness, which keeps what passing tests say to itself.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: no chromium is installed: page not looked at");
        return;
    };
    let site = Site::start();
    browser.open(&format!("http://{}/", site.address), 1200, 720);
    browser.wait_for("document.querySelectorAll('#bars li').length === 3");
    browser.wait_for("document.getElementById('picture').naturalWidth > 0 && newest.frame > 0");
    browser.wait_for("document.getElementById('state').textContent === 'live'");

    let first = browser.screenshot(Some("view"));
    browser.evaluate("window.before = newest.frame");
    browser.wait_for("Math.abs(newest.frame - before) > 5 && !loading");
    assert!(first != browser.screenshot(Some("view")), "the picture does not move");

    let bars = browser.evaluate(
        "[...document.querySelectorAll('#bars li')].map(bar => [
            Number(bar.dataset.probability),
            bar.querySelector('.fill').style.width,
            bar.querySelector('.name').textContent,
            bar.querySelector('.track').clientWidth,
        ])",
    );
    let bars = bars.as_array().unwrap();
    let share = |bar: &Value| bar[0].as_f64().unwrap();
    assert!(share(&bars[0]) > 0.0, "{bars:?}");
    assert!(bars.windows(2).all(|pair| share(&pair[0]) >= share(&pair[1])), "{bars:?}");
    for bar in bars {
        let width: f64 = bar[1].as_str().unwrap().trim_end_matches('%').parse().unwrap();
        assert!((width / 100.0 - share(bar)).abs() < 1e-4, "{bar}");
        assert!(!bar[2].as_str().unwrap().is_empty() && bar[3].as_f64().unwrap() > 200.0, "{bar}");
    }
    // The network sees a square in the middle.
    let seen = browser.evaluate("[seen.clientWidth, seen.clientHeight, view.clientHeight]");
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "{seen}");
    let label = browser.evaluate("document.getElementById('label').textContent");
    assert!(label.as_str().is_some_and(|label| label.trim().len() > 2), "{label}");

    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.prefer("light");
    let light = browser.evaluate(ground);
    browser.prefer("dark");
    assert!(light != browser.evaluate(ground), "light and dark look the same");
    // A telephone: the answer below the picture, nothing beside the screen.
    browser.resize(390, 844);
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= 390"), true);
    browser.resize(1200, 720);

    if let Some(file) = env::var_os("PICOVIT_SCREENSHOT") {
        browser.resize(1200, 608);
        browser.evaluate("window.before = performance.now()");
        browser.wait_for("past.length === PAST || performance.now() - before > 8000");
        browser.wait_for("!newest.unsure && newest.probability > 0.9");
        browser.evaluate("new Promise(done => setTimeout(done, 200))");
        fs::write(file, browser.screenshot(None)).unwrap();
    }

    // The page says so when the program has gone.
    drop(site);
    browser.wait_for("document.getElementById('state').textContent.startsWith('connection lost')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
