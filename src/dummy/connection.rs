//! One connection of the dummy, from its banner to its end; runs on the connection's own thread and
//! never touches anything but its socket. Another thread ends it by [`reset`].

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::http::{self, Refusal, Request};
use super::{Behaviour, Options, proxy_header};

/// Bytes read at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long an ended connection waits for the client's FIN before it is closed anyway.
const LINGER: Duration = Duration::from_secs(2);

/// A hung connection looks for a vanished client this often: it would never find out otherwise.
const HANG_KEEPALIVE: Duration = Duration::from_secs(10);

/// What every connection is served by.
pub(super) struct Plan {
    /// What the dummy was started with.
    pub(super) options: Options,
    /// Body of every good answer, but for the client's address.
    pub(super) greeting: String,
}

impl Plan {
    /// One connection from its banner to its end. An error says that the client has gone.
    pub(super) fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let greeting = if self.options.proxy_header {
            // Before the banner: nothing is said to somebody unknown.
            match proxy_header::read(stream) {
                Ok(client) => Cow::from(format!("{}Client: {client}\n", self.greeting)),
                Err(_) => return reset(stream),
            }
        } else {
            Cow::from(&self.greeting)
        };
        let mut writer = stream;
        if let Some(banner) = &self.options.banner {
            writer.write_all(format!("{banner}\n").as_bytes())?;
        }
        match self.options.behaviour {
            Behaviour::Http => self.answer_requests(stream, &greeting),
            Behaviour::Echo => self.echo(stream),
            Behaviour::Reset => {
                self.delay(stream)?;
                reset(stream)
            }
            Behaviour::Close => {
                self.delay(stream)?;
                close_cleanly(stream)
            }
            Behaviour::Hang => hang(stream),
        }
    }

    fn answer_requests(&self, mut stream: &TcpStream, greeting: &str) -> io::Result<()> {
        // What was received and not used yet: a part of a head, or requests sent ahead of answers.
        let mut received = Vec::with_capacity(BUFFER_BYTES);
        loop {
            let request = match next_request(stream, &mut received)? {
                Some(Ok(request)) => request,
                Some(Err(refusal)) => {
                    let status = refusal.status();
                    let body = format!("{status}\n");
                    stream.write_all(&http::answer(status, &body, false, false))?;
                    return close_cleanly(stream);
                }
                None => return Ok(()),
            };
            if request.expects_continue && (received.len() as u64) < request.body_bytes {
                stream.write_all(http::CONTINUE)?;
            }
            skip_body(stream, &mut received, request.body_bytes)?;
            self.delay(stream)?;
            stream.write_all(&http::answer(
                &http::status_line(self.options.status),
                greeting,
                request.head_only,
                request.keep_alive,
            ))?;
            if !request.keep_alive {
                return close_cleanly(stream);
            }
        }
    }

    fn echo(&self, mut stream: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let bytes = read_some(stream, &mut buffer)?;
            if bytes == 0 {
                return stream.shutdown(Shutdown::Write);
            }
            self.delay(stream)?;
            stream.write_all(buffer.get(..bytes).unwrap_or_default())?;
        }
    }

    /// Waits as long as the options say, unless the connection is reset meanwhile (which is how
    /// a stopping [`super::Backend`] wakes it).
    fn delay(&self, stream: &TcpStream) -> io::Result<()> {
        // A moment that the clock can't express doesn't come.
        let until = Instant::now().checked_add(self.options.delay);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            if is_dead_within(stream, left)? {
                return Err(ErrorKind::ConnectionReset.into());
            }
        }
    }
}

/// Takes the next request head off the front of `received`, reading as needed. `None`: the client
/// has sent FIN instead.
fn next_request(
    stream: &TcpStream,
    received: &mut Vec<u8>,
) -> io::Result<Option<Result<Request, Refusal>>> {
    loop {
        // An empty line before a request is to be ignored (RFC 9112, 2.2).
        let blank = received.iter().take_while(|byte| b"\r\n".contains(byte));
        let blank_bytes = blank.count();
        received.drain(..blank_bytes);
        match http::head_length(received) {
            Ok(Some(bytes)) => {
                let request = http::parse(received.get(..bytes).unwrap_or_default());
                received.drain(..bytes);
                return Ok(Some(request));
            }
            Ok(None) => {
                let used = received.len();
                received.resize(BUFFER_BYTES, 0);
                let result = read_some(stream, received.get_mut(used..).unwrap_or_default());
                received.truncate(used + *result.as_ref().unwrap_or(&0));
                if result? == 0 {
                    return Ok(None);
                }
            }
            Err(refusal) => return Ok(Some(Err(refusal))),
        }
    }
}

/// Drops `bytes` of request body: first from `received`, the rest from the socket.
fn skip_body(stream: &TcpStream, received: &mut Vec<u8>, bytes: u64) -> io::Result<()> {
    let buffered = bytes.min(received.len() as u64);
    received.drain(..buffered as usize);
    let skipped = io::copy(&mut stream.take(bytes - buffered), &mut io::sink())?;
    if buffered + skipped < bytes {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Sends FIN and takes what the client still sends: a close with unread bytes would become a RST,
/// and that would destroy an answer the client has not read yet.
fn close_cleanly(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let until = Instant::now() + LINGER;
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if read_some(stream, &mut buffer)? == 0 {
            return Ok(());
        }
    }
}

/// Reads whatever comes, then waits until the client is known to be gone.
fn hang(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, HANG_KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, HANG_KEEPALIVE)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    while read_some(stream, &mut buffer)? > 0 {}
    while !is_dead_within(stream, None)? {}
    Ok(())
}

/// Ends the connection with a RST at once, also for a thread that waits in it. (A close with
/// linger 0 would do neither while another thread holds the descriptor.)
pub(super) fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::connect_unspec(stream)?)
}

/// Waits for `timeout`, or for ever, and not longer than the connection lives in at least one
/// direction. `false` is no promise to have waited the whole time: a signal ends the wait too.
fn is_dead_within(stream: &TcpStream, timeout: Option<Duration>) -> io::Result<bool> {
    // A delay beyond what the kernel's type holds is as good as for ever.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    // No event is asked for: errors and hang-ups are reported anyway.
    let mut entry = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::empty())];
    match rustix::event::poll(&mut entry, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// `read` that no signal disturbs; 0 is the client's FIN.
pub(super) fn read_some(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
