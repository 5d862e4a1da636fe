//! As much of HTTP/1.1 as the page takes: one request a connection, without a body, and its answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of a request at most, those of its headers among them.
const MOST: usize = 16 << 10;
/// Headers of a request at most.
const HEADERS: usize = 64;
/// A reader that asks nothing, or takes nothing, for so long is gone, and its place is somebody else's.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long, and how much, is listened to after an answer: what nobody has read when a connection is
/// closed may cost the reader the answer.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 64 << 10);

/// The page loads nothing from elsewhere, and nobody may frame it.
const POLICY: &str = "default-src 'none'; img-src 'self' data:; connect-src 'self'; \
    style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// Somebody who asks.
pub(super) struct Guest {
    stream: TcpStream,
    /// What is asked is to be told without its content.
    head: bool,
}

/// What he asks for.
pub(super) struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Without what comes behind a question mark.
    pub path: String,
    /// The host that he thinks this is.
    pub host: Option<String>,
    /// A page from elsewhere has its browser ask.
    pub foreign: bool,
}

impl Guest {
    /// Somebody who has just connected. What is written goes out at once, without waiting until its
    /// beginning is acknowledged.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, head: false })
    }

    /// What is asked; nothing if it is no request.
    pub(super) fn request(&mut self) -> io::Result<Option<Request>> {
        let request = read(&mut self.stream, Instant::now() + PATIENCE)?;
        self.head = request.as_ref().is_some_and(|request| request.method == "HEAD");
        Ok(request)
    }

    /// Answers with a status, what the content is, and the content.
    pub(super) fn answer(mut self, status: &str, kind: &str, content: &[u8]) -> io::Result<()> {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Content-Security-Policy: {POLICY}\r\n{ALWAYS}\r\n",
            content.len()
        );
        let content = if self.head { &[] } else { content };
        self.stream.write_all(&[head.as_bytes(), content].concat())?;
        self.stream.shutdown(Shutdown::Write)?;
        let (patience, most) = LINGER;
        self.stream.set_read_timeout(Some(patience))?;
        let (until, mut heard) = (Instant::now() + patience, 0);
        while heard < most && Instant::now() < until {
            match self.stream.read(&mut [0; 4096]) {
                Ok(count @ 1..) => heard += count,
                _ => break,
            }
        }
        Ok(())
    }

    /// Answers with events that come one by one, see [`std::io::Write`].
    pub(super) fn events(mut self) -> io::Result<TcpStream> {
        let kind = "text/event-stream";
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{ALWAYS}\r\nretry: 1000\n\n");
        self.stream.write_all(head.as_bytes())?;
        Ok(self.stream)
    }
}

/// Headers of every answer. No page from elsewhere may have it in itself.
const ALWAYS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n";

/// Reads a request up to the end of its headers; nothing if it is none, or is longer than it may be.
fn read(stream: &mut impl Read, until: Instant) -> io::Result<Option<Request>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 2048]);
    while bytes.len() < MOST && Instant::now() < until {
        match stream.read(&mut buffer)? {
            0 => break,
            count => bytes.extend(&buffer[..count]),
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Partial) => {}
            Ok(httparse::Status::Complete(_)) => return Ok(asked(&request)),
            Err(_) => break,
        }
    }
    Ok(None)
}

fn asked(request: &httparse::Request<'_, '_>) -> Option<Request> {
    let header = |name: &str| {
        let header =
            request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(header.value).ok()
    };
    let path = request.path?.split('?').next()?;
    Some(Request {
        method: request.method?.to_owned(),
        path: path.to_owned(),
        host: header("host").map(str::to_owned),
        foreign: header("sec-fetch-site").is_some_and(|site| site == "cross-site"),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn of(text: &[u8]) -> Option<Request> {
        read(&mut &text[..], Instant::now() + PATIENCE).unwrap()
    }

    #[test]
    fn requests_are_understood_and_others_are_none() {
        let request =
            of(b"GET /picture.jpg?3 HTTP/1.1\r\nhOsT: localhost:80\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((&*request.method, &*request.path), ("GET", "/picture.jpg"));
        assert_eq!(request.host.as_deref(), Some("localhost:80"));
        assert_eq!(of(b"HEAD / HTTP/1.0\r\n\r\n").unwrap().host, None);
        for none in
            [&b""[..], b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02", b"GET\r\n\r\n"]
        {
            assert!(of(none).is_none(), "{none:?}");
        }
        let long = [&b"GET / HTTP/1.1\r\nA: "[..], &[b'x'; 2 * MOST], b"\r\n\r\n"].concat();
        assert!(of(&long).is_none());
        let many = [&b"GET / HTTP/1.1\r\n"[..], &b"A: b\r\n".repeat(HEADERS + 1), b"\r\n"].concat();
        assert!(of(&many).is_none());
    }

    /// What somebody hears who sends this.
    fn answered(sent: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asking = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(sent).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let mut guest = Guest::new(listener.accept().unwrap().0).unwrap();
        assert!(guest.request().unwrap().is_some());
        guest.answer("200 OK", "text/plain", b"content").unwrap();
        asking.join().unwrap()
    }

    #[test]
    fn a_body_of_whatever_length_is_announced_costs_nothing() {
        let text = answered(b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\nabc");
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\ncontent"),
            "{text}"
        );
        let text = answered(b"HEAD / HTTP/1.1\r\n\r\n");
        assert!(text.contains("Content-Length: 7\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn who_reads_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let guest = Guest::new(listener.accept().unwrap().0).unwrap();
        let stream = guest.stream.try_clone().unwrap();
        assert_eq!(stream.write_timeout().unwrap(), Some(PATIENCE));
        assert_eq!(stream.read_timeout().unwrap(), Some(PATIENCE));
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut page = guest.events().unwrap();
        let error = (0..10_000).find_map(|_| page.write_all(&[0; 1 << 16]).err());
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
