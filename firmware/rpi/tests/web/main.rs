//! The web page: by hand, and in a real browser where there is one.
//!
//! `PICOVIT_SCREENSHOT=FILE.png` keeps a picture of the page; `PICOVIT_WEB_ARGS` replaces what is shown
//! there.

mod browser;
#[path = "../common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use browser::Browser;
use common::{Folder, stream};
use serde_json::Value;

/// Bytes of a large picture.
const LARGE: usize = 24 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program with its page.
struct Site {
    program: Child,
    address: String,
    _folder: Folder,
}

impl Site {
    /// It shows a recording again and again.
    fn start() -> Self {
        let folder = Folder::new();
        folder.write("clip.yuv", &stream(100));
        let what = env::var("PICOVIT_WEB_ARGS");
        Self::show(folder, &what.unwrap_or("--source file:clip.yuv --fps 20 --loop".to_owned()))
    }

    /// It shows one frame, which is larger than what the system keeps of a connection that nobody reads.
    fn start_large() -> Self {
        let mut jpeg = Vec::new();
        let picture = [99; 32 * 32];
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.encode(&picture, 32, 32, image::ExtendedColorType::L8).unwrap();
        // A comment, again and again, behind the start.
        let comment = [&[0xFF, 0xFE, 0xFF, 0xFF][..], &[b'-'; 0xFFFD]].concat();
        jpeg.splice(2..2, comment.repeat(LARGE.div_ceil(comment.len())));
        let mut site = Self::show(Folder::new(), "--source - --format mjpeg");
        site.program.stdin.as_mut().unwrap().write_all(&jpeg).unwrap();
        site
    }

    fn show(folder: Folder, what: &str) -> Self {
        Self::show_beside(folder, what, "web")
    }

    fn show_beside(folder: Folder, what: &str, outputs: &str) -> Self {
        Self::show_at(folder, what, outputs, "127.0.0.1:0")
    }

    fn show_at(folder: Folder, what: &str, outputs: &str, listen: &str) -> Self {
        let args = format!("{what} --unsure-below 0.3 --output {outputs} --listen {listen}");
        let mut program = folder.program(&args).stdin(Stdio::piped()).spawn().unwrap();
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
        // Without an answer the test would wait for ever.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
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

    /// Somebody who reads the answer's beginning and then no more; with it, the status.
    fn stalled(&self, request: &str) -> (BufReader<TcpStream>, String) {
        let mut reader = self.ask_as("localhost", request);
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        (reader, status.trim().to_owned())
    }

    /// The events to come.
    fn listen(&self) -> impl Iterator<Item = Value> {
        let lines = self.ask_as("localhost", "GET /events").lines().map(Result::unwrap);
        let events = lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        events.map(|event| serde_json::from_str(&event).unwrap())
    }

    /// Waits for so many events.
    fn events(&self, count: usize) -> Vec<Value> {
        self.listen().take(count).collect()
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
fn a_page_from_elsewhere_may_lead_here_but_have_nothing() {
    let site = Site::start();
    assert_eq!(site.events(1).len(), 1);
    let head = |path: &str, from: &str| {
        let host = format!("localhost\r\nSec-Fetch-Site: {from}");
        let mut status = String::new();
        site.ask_as(&host, &format!("GET {path}")).read_line(&mut status).unwrap();
        status
    };
    for path in ["/picture.jpg", "/events", "/model.json"] {
        assert!(head(path, "cross-site").starts_with("HTTP/1.1 403"), "{path}");
        assert!(head(path, "same-origin").starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(head("/", "cross-site").starts_with("HTTP/1.1 200"));
    assert!(site.ask("GET /picture.jpg").0.contains("Cross-Origin-Resource-Policy: same-origin"));
}

#[test]
fn a_foreign_name_sees_nothing_on_the_network_either() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(10));
    let site = Site::show_at(folder, "--source file:clip.yuv --loop --fps 20", "web", "0.0.0.0:0");
    let status = |host: &str| {
        let mut status = String::new();
        site.ask_as(host, "GET /").read_line(&mut status).unwrap();
        status
    };
    for host in ["192.168.1.2:8080", "raspberrypi:8080", "raspberrypi.local"] {
        assert!(status(host).starts_with("HTTP/1.1 200"), "{host}");
    }
    assert!(status("camera.example.org").starts_with("HTTP/1.1 403"));
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
fn pictures_that_nobody_reads_stop_nobody() {
    let site = Site::start_large();
    assert_eq!(site.events(1).len(), 1);
    let stalled: Vec<_> = (0..8).map(|_| site.stalled("GET /picture.jpg")).collect();
    assert!(stalled.iter().all(|(_, status)| status == "HTTP/1.1 200 OK"));
    assert!(site.ask("GET /").0.starts_with("HTTP/1.1 200"));
    assert_eq!(site.events(1).len(), 1);
}

#[test]
fn a_program_that_does_not_read_its_lines_stops_no_page() {
    let folder = Folder::new();
    folder.write("clip.yuv", &stream(10));
    let what = "--source file:clip.yuv --loop --every-frame=false";
    let site = Site::show_beside(folder, what, "json,web");
    // Many more than a pipe and the program hold.
    let classified =
        |event: &Value| event["frame"].as_u64().unwrap() - event["dropped"].as_u64().unwrap();
    assert!(site.listen().any(|event| classified(&event) > 1000));
}

/// Takes all places, with readers that stop; the status of the one that got none.
fn occupy(site: &Site) -> (Vec<BufReader<TcpStream>>, Option<String>) {
    assert_eq!(site.events(1).len(), 1);
    let mut stalled = Vec::new();
    let refused = (0..64).find_map(|_| {
        let (reader, status) = site.stalled("GET /picture.jpg");
        stalled.push(reader);
        (status != "HTTP/1.1 200 OK").then_some(status)
    });
    (stalled, refused)
}

#[test]
fn refusals_do_not_pile_up() {
    let site = Site::start_large();
    let _stalled = occupy(&site);
    // Many more than can be written one after the other before long.
    let others: Vec<_> = (0..64).map(|_| TcpStream::connect(&site.address).unwrap()).collect();
    let last = others.last().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = Instant::now();
    assert!(!matches!((&*last).read(&mut [0; 99]), Ok(1..)), "all are refused");
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[test]
fn too_many_readers_are_refused_until_others_have_gone() {
    let site = Site::start_large();
    let (stalled, refused) = occupy(&site);
    assert_eq!(refused.as_deref(), Some("HTTP/1.1 503 Service Unavailable"));
    drop(stalled);
    // The program hears soon that they have gone, not at once.
    let answered = || site.ask("GET /").0.starts_with("HTTP/1.1 200");
    assert!((0..1000).any(|_| answered() || {
        thread::sleep(Duration::from_millis(10));
        false
    }));
}

#[test]
fn a_page_too_many_tries_again() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::start();
    let others: Vec<_> = (0..16).map(|_| site.stalled("GET /events")).collect();
    assert!(others.iter().all(|(_, status)| status == "HTTP/1.1 200 OK"));
    assert_eq!(site.stalled("GET /events").1, "HTTP/1.1 503 Service Unavailable");
    browser.open(&format!("http://{}/", site.address), 1200, 720);
    browser.wait_for("document.getElementById('state').textContent.startsWith('connection lost')");
    // What the page could not learn about the model before, it asks for again.
    browser.evaluate("input = null");
    drop(others);
    browser.wait_for("document.getElementById('state').textContent === 'live'");
    browser.wait_for("newest.frame >= 0 && input !== null");
}

#[test]
fn a_browser_shows_a_moving_picture_and_bars() {
    let Some(mut browser) = Browser::start() else { return };
    let site = Site::start();
    browser.open(&format!("http://{}/", site.address), 1200, 720);
    browser.wait_for("document.querySelectorAll('#bars li').length === 3");
    browser.wait_for("document.getElementById('picture').naturalWidth > 0 && newest.frame > 0");
    browser.wait_for("document.getElementById('state').textContent === 'live'");

    let first = browser.screenshot(Some("view"));
    browser.evaluate("window.before = newest.frame");
    let shown = "parseInt(document.getElementById('picture').src.split('?')[1])";
    browser.wait_for(&format!("Math.abs({shown} - before) > 5"));
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
