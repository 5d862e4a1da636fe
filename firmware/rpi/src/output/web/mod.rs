//! A web page with the live picture and the answer.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page, one file that needs nothing else |
//! | `/events` | the records, newest first to come, as server-sent events |
//! | `/picture.jpg` | the newest classified frame |
//! | `/model.json` | what the page says about the model |

mod board;
mod guest;

use std::io::{self, Cursor, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use tiny_http::{Header, Method, Request, Response, Server};

use crate::error::Error;
use crate::inference::Shown;
use crate::model::Artifact;
use crate::record;

use board::Board;
use guest::is_welcome;

const PAGE: &str = include_str!("page.html");

/// Requests that are answered at the same time: a slow reader keeps nobody else waiting.
const WORKERS: usize = 4;

/// Pages that may be open at the same time.
const VIEWERS: usize = 16;

/// After so long without news, a page is told that the connection is alive; one that is closed is
/// noticed then.
const SILENCE: Duration = Duration::from_secs(10);

/// A browser draws no faster.
const BETWEEN_EVENTS: Duration = Duration::from_millis(15);

/// The page loads nothing from elsewhere, and nobody may frame it.
const POLICY: &str = "default-src 'none'; img-src 'self' data:; connect-src 'self'; \
    style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// The server.
pub(super) struct Web {
    site: Arc<Site>,
}

struct Site {
    board: Board,
    model: Vec<u8>,
    /// Only this machine is served.
    loopback: bool,
    viewers: AtomicUsize,
}

#[derive(Serialize)]
struct About {
    name: String,
    labels: Vec<String>,
    width: usize,
    height: usize,
}

impl Web {
    /// Serves at this address.
    pub(super) fn start(address: SocketAddr, artifact: &Artifact) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).map_err(|reason| match reason.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse { address },
            _ => Error::Listen { address, reason: reason.to_string() },
        })?;
        let failed = |reason: String| Error::Listen { address, reason };
        let address = listener.local_addr().map_err(|reason| failed(reason.to_string()))?;
        let server = Server::from_listener(listener, None);
        let server = Arc::new(server.map_err(|reason| failed(reason.to_string()))?);
        let model = artifact.model();
        let labels = (0..model.classes()).map(|class| record::label(&model, class as u16));
        let about = About {
            name: artifact.name(),
            labels: labels.collect(),
            width: model.width(),
            height: model.height(),
        };
        let site = Arc::new(Site {
            board: Board::new(),
            model: serde_json::to_vec(&about).expect("names are JSON"),
            loopback: address.ip().is_loopback(),
            viewers: AtomicUsize::new(0),
        });
        for _ in 0..WORKERS {
            let (server, site) = (Arc::clone(&server), Arc::clone(&site));
            thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    // A reader that has gone is no fault.
                    let _ = site.answer(request);
                }
            });
        }
        eprintln!("web page: http://{address}/");
        if !site.loopback {
            eprintln!("warning: whoever reaches {address} over the network sees the camera");
        }
        Ok(Self { site })
    }

    /// Shows a frame.
    pub(super) fn show(&self, shown: Arc<Shown>) {
        self.site.board.show(shown);
    }
}

impl Site {
    fn answer(self: &Arc<Self>, request: Request) -> io::Result<()> {
        let host = request.headers().iter().find(|header| header.field.equiv("Host"));
        if self.loopback && !host.is_some_and(|host| is_welcome(host.value.as_str())) {
            return respond(request, 403, "text/plain", b"ask for localhost".to_vec());
        }
        if !matches!(request.method(), Method::Get | Method::Head) {
            return respond(request, 405, "text/plain", b"only GET".to_vec());
        }
        match request.url().split('?').next().unwrap_or_default() {
            "/" => respond(request, 200, "text/html; charset=utf-8", PAGE.into()),
            "/model.json" => respond(request, 200, "application/json", self.model.clone()),
            "/picture.jpg" => match self.board.newest().map(|shown| picture(&shown)) {
                Some(Ok(jpeg)) => respond(request, 200, "image/jpeg", jpeg),
                Some(Err(reason)) => respond(request, 500, "text/plain", reason.into()),
                None => respond(request, 503, "text/plain", b"no frame yet".to_vec()),
            },
            "/events" if *request.method() == Method::Get => self.view(request),
            _ => respond(request, 404, "text/plain", b"nothing here".to_vec()),
        }
    }

    /// Sends records until the page is closed.
    fn view(self: &Arc<Self>, request: Request) -> io::Result<()> {
        if self.viewers.fetch_add(1, Ordering::Relaxed) >= VIEWERS {
            self.viewers.fetch_sub(1, Ordering::Relaxed);
            return respond(request, 503, "text/plain", b"too many pages are open".to_vec());
        }
        let site = Arc::clone(self);
        thread::spawn(move || {
            let _ = send_events(&site.board, request.into_writer());
            site.viewers.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }
}

fn send_events(board: &Board, mut page: impl Write) -> io::Result<()> {
    write!(
        page,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\nretry: 1000\n\n"
    )?;
    page.flush()?;
    let mut last = 0;
    loop {
        match board.newer_than(last, SILENCE) {
            Some((number, shown)) => {
                last = number;
                let record = serde_json::to_string(&shown.record).expect("a record is JSON");
                page.write_all(format!("data: {record}\n\n").as_bytes())?;
            }
            None => page.write_all(b": still here\n\n")?,
        }
        page.flush()?;
        thread::sleep(BETWEEN_EVENTS);
    }
}

fn picture(shown: &Shown) -> Result<Vec<u8>, String> {
    shown.picture.jpeg().map(|jpeg| jpeg.into_owned()).map_err(|error| error.to_string())
}

fn respond(request: Request, status: u16, kind: &str, body: Vec<u8>) -> io::Result<()> {
    let length = Some(body.len());
    let headers = [
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
    ];
    let headers = headers.map(|(name, value)| Header::from_bytes(name, value).expect("is ASCII"));
    request.respond(Response::new(status.into(), headers.into(), Cursor::new(body), length, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        for foreign in ["http://", "https://", "@import", "<link", "src=\"//"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
