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
mod http;
mod places;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::inference::Shown;
use crate::model::Artifact;
use crate::record;
use crate::say::say;

use board::Board;
use guest::is_welcome;
use http::{Guest, Request};
use places::Places;

const PAGE: &str = include_str!("page.html");

/// The status of most answers.
const OK: &str = "200 OK";

/// Requests that are answered at the same time, those of open pages among them. Each has a thread: whoever
/// reads slowly, or nothing, keeps nobody else waiting.
const ANSWERS: usize = 32;

/// Refusals that wait to be written, one after the other.
const REFUSALS: usize = 16;

/// Pages that may be open at the same time.
const VIEWERS: usize = 16;

/// After so long without news, a page is told that the connection is alive; one that is closed is
/// noticed then.
const SILENCE: Duration = Duration::from_secs(10);

/// A browser draws no faster.
const BETWEEN_EVENTS: Duration = Duration::from_millis(15);

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
        let address = listener
            .local_addr()
            .map_err(|reason| Error::Listen { address, reason: reason.to_string() })?;
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
        thread::spawn(move || answering.serve(&listener));
        say(format_args!("web page: http://{address}/"));
        if !site.loopback {
            say(format_args!(
                "warning: whoever reaches {address} over the network sees the camera"
            ));
        }
        Ok(Self { site })
    }

    /// Shows a frame.
    pub(super) fn show(&self, shown: Arc<Shown>) {
        self.site.board.show(shown);
    }
}

impl Site {
    fn serve(self: Arc<Self>, listener: &TcpListener) {
        // Not even a refusal is written on the thread that hears the next request.
        let (refuse, refused) = sync_channel(REFUSALS);
        thread::spawn(move || {
            for stream in refused {
                let _ =
                    Guest::new(stream).and_then(|guest| busy(guest, "too many requests at a time"));
            }
        });
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Too many open files: a moment later some may be closed.
                thread::sleep(BETWEEN_EVENTS);
                continue;
            };
            let Some(place) = self.answers.take() else {
                // One too many is closed without a word.
                let _ = refuse.try_send(stream);
                continue;
            };
            let site = Arc::clone(&self);
            // Without a thread the connection is closed.
            let _ = thread::Builder::new().name("answer".to_owned()).spawn(move || {
                // A reader that has gone is no fault.
                let _ = site.answer(stream);
                drop(place);
            });
        }
    }

    fn answer(&self, stream: TcpStream) -> io::Result<()> {
        let mut guest = Guest::new(stream)?;
        let Some(Request { method, path, host, foreign }) = guest.request()? else {
            return guest.answer("400 Bad Request", "text/plain", b"no request");
        };
        if !host.is_some_and(|host| is_welcome(&host, self.loopback)) {
            let remedy: &[u8] = match self.loopback {
                true => b"ask for localhost",
                false => b"ask for this machine's address, its name without a dot, or NAME.local",
            };
            return guest.answer("403 Forbidden", "text/plain", remedy);
        }
        // A link to the page is welcome from everywhere.
        if foreign && path != "/" {
            return guest.answer("403 Forbidden", "text/plain", b"not for pages from elsewhere");
        }
        if !matches!(&*method, "GET" | "HEAD") {
            return guest.answer("405 Method Not Allowed", "text/plain", b"only GET");
        }
        match &*path {
            "/" => guest.answer(OK, "text/html; charset=utf-8", PAGE.as_bytes()),
            "/model.json" => guest.answer(OK, "application/json", &self.model),
            "/picture.jpg" => match self.board.newest() {
                Some(shown) => picture(guest, &shown),
                None => busy(guest, "no frame yet"),
            },
            "/events" if method == "GET" => self.view(guest),
            _ => guest.answer("404 Not Found", "text/plain", b"nothing here"),
        }
    }

    /// Sends records until the page is closed.
    fn view(&self, guest: Guest) -> io::Result<()> {
        let Some(_place) = self.viewers.take() else {
            return busy(guest, "too many pages are open");
        };
        send_events(&self.board, guest.events()?)
    }
}

fn send_events(board: &Board, mut page: impl Write) -> io::Result<()> {
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
        thread::sleep(BETWEEN_EVENTS);
    }
}

fn picture(guest: Guest, shown: &Shown) -> io::Result<()> {
    match shown.jpeg() {
        Ok(jpeg) => guest.answer(OK, "image/jpeg", jpeg),
        Err(reason) => guest.answer("500 Internal Server Error", "text/plain", reason.as_bytes()),
    }
}

fn busy(guest: Guest, reason: &str) -> io::Result<()> {
    guest.answer("503 Service Unavailable", "text/plain", reason.as_bytes())
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
