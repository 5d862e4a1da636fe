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
mod places;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
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
use places::Places;

const PAGE: &str = include_str!("page.html");

/// Requests that are answered at the same time, those of open pages among them. Each has a thread: whoever
/// reads slowly, or nothing, keeps nobody else waiting.
const ANSWERS: usize = 32;

/// Pages that may be open at the same time.
const VIEWERS: usize = 16;

/// After so long without news, a page is told that the connection is alive; one that is closed is
/// noticed then.
const SILENCE: Duration = Duration::from_secs(10);

/// A reader that takes nothing for so long is gone, and its place is somebody else's.
const PATIENCE: Duration = Duration::from_secs(20);

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
    answers: Places,
    viewers: Places,
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
        let listener = prepared(listener).map_err(|reason| failed(reason.to_string()))?;
        let server = Server::from_listener(listener, None);
        let server = server.map_err(|reason| failed(reason.to_string()))?;
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
            answers: Places::new(ANSWERS),
            viewers: Places::new(VIEWERS),
        });
        let answering = Arc::clone(&site);
        thread::spawn(move || answering.serve(&server));
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
    fn serve(self: Arc<Self>, server: &Server) {
        // Not even a refusal is written on the thread that hears the next request.
        let (refuse, refused) = mpsc::channel();
        thread::spawn(move || {
            for request in refused {
                let _ = busy(request, "too many requests at a time");
            }
        });
        while let Ok(request) = server.recv() {
            let Some(place) = self.answers.take() else {
                let _ = refuse.send(request);
                continue;
            };
            let site = Arc::clone(&self);
            // Without a thread the request is dropped, which tiny_http answers with 500.
            let _ = thread::Builder::new().name("answer".to_owned()).spawn(move || {
                // A reader that has gone is no fault.
                let _ = site.answer(request);
                drop(place);
            });
        }
    }

    fn answer(&self, request: Request) -> io::Result<()> {
        let host = request.headers().iter().find(|header| header.field.equiv("Host"));
        if self.loopback && !host.is_some_and(|host| is_welcome(host.value.as_str())) {
            return respond(request, 403, "text/plain", b"ask for localhost");
        }
        if !matches!(request.method(), Method::Get | Method::Head) {
            return respond(request, 405, "text/plain", b"only GET");
        }
        match request.url().split('?').next().unwrap_or_default() {
            "/" => respond(request, 200, "text/html; charset=utf-8", PAGE.as_bytes()),
            "/model.json" => respond(request, 200, "application/json", &self.model),
            "/picture.jpg" => match self.board.newest() {
                Some(shown) => picture(request, &shown),
                None => busy(request, "no frame yet"),
            },
            "/events" if *request.method() == Method::Get => self.view(request),
            _ => respond(request, 404, "text/plain", b"nothing here"),
        }
    }

    /// Sends records until the page is closed.
    fn view(&self, request: Request) -> io::Result<()> {
        let Some(_place) = self.viewers.take() else {
            return busy(request, "too many pages are open");
        };
        send_events(&self.board, request.into_writer())
    }
}

/// Connections that do not hold back the rest of an answer until its beginning is acknowledged, 40 ms later,
/// and that give up a reader who reads nothing. tiny_http keeps them to itself, but on Linux they have
/// the listener's settings.
fn prepared(listener: TcpListener) -> io::Result<TcpListener> {
    let socket = TcpStream::from(OwnedFd::from(listener));
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(OwnedFd::from(socket).into())
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

fn picture(request: Request, shown: &Shown) -> io::Result<()> {
    match shown.picture.jpeg() {
        Ok(jpeg) => respond(request, 200, "image/jpeg", &jpeg),
        Err(reason) => respond(request, 500, "text/plain", reason.to_string().as_bytes()),
    }
}

fn busy(request: Request, reason: &str) -> io::Result<()> {
    respond(request, 503, "text/plain", reason.as_bytes())
}

fn respond(request: Request, status: u16, kind: &str, body: &[u8]) -> io::Result<()> {
    let length = Some(body.len());
    let headers = [
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", POLICY),
    ];
    let headers = headers.map(|(name, value)| Header::from_bytes(name, value).expect("is ASCII"));
    request.respond(Response::new(status.into(), headers.into(), body, length, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_have_the_settings_of_the_listener() {
        let listener = prepared(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let _reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut connection, _) = listener.accept().unwrap();
        assert!(connection.nodelay().unwrap());
        assert_eq!(connection.write_timeout().unwrap(), Some(PATIENCE));
        // What the page sends ends with an error when the reader reads nothing.
        connection.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let error = (0..10_000).find_map(|_| connection.write_all(&[0; 1 << 16]).err());
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        for foreign in ["http://", "https://", "@import", "<link", "src=\"//"] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
