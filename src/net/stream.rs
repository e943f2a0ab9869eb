//! A stream socket of either family, TCP or unix: one type for both, because what evener does with a
//! connection is the same system calls. Where the kernel knows a thing of one family only (options,
//! `TCP_INFO`, a reset), the call fails for the other, and whoever makes it says what that means.
//!
//! [`Timed`] puts a deadline over everything that is read and written: for short talks with a peer that
//! may be slow on purpose. The relay does without.

use std::io::{self, Read, Write};
use std::net::{self as std_net, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use rustix::net::{
    self, AddressFamily, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use super::{family, keep_alive};
use crate::policy::socket::KeepAlive;

/// A connection over TCP or a unix socket.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream {
            socket: stream.into(),
        }
    }
}

impl From<OwnedFd> for Stream {
    /// Of a stream socket.
    fn from(socket: OwnedFd) -> Stream {
        Stream { socket }
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> OwnedFd {
        stream.socket
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.socket, buffer)?)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(net::send(&self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// The address of our end, if it is one of the internet.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        net::getsockname(&self.socket).ok()?.try_into().ok()
    }

    /// How long a write may block; `None` is for ever.
    ///
    /// # Errors
    ///
    /// A timeout of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(set_socket_timeout(&self.socket, Timeout::Send, timeout)?)
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    ///
    /// When there is no connection any more.
    pub fn shutdown(&self, how: std_net::Shutdown) -> io::Result<()> {
        let how = match how {
            std_net::Shutdown::Read => Shutdown::Read,
            std_net::Shutdown::Write => Shutdown::Write,
            std_net::Shutdown::Both => Shutdown::Both,
        };
        Ok(net::shutdown(&self.socket, how)?)
    }

    /// Waits for the next connection of a listening socket of either family.
    ///
    /// # Errors
    ///
    /// What accept(2) gives; [`super::listener::accept_error`] sorts it.
    pub fn accept(listener: impl AsFd) -> io::Result<Stream> {
        let socket = net::accept_with(listener, SocketFlags::CLOEXEC)?;
        Ok(Stream { socket })
    }

    /// Connects over TCP.
    ///
    /// # Errors
    ///
    /// What connect(2) gives; `TimedOut` when there is no answer in time.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Stream> {
        let stream = Stream::new(family(address), timeout)?;
        keep_alive(&stream.socket, KeepAlive::USUAL)?;
        set_tcp_nodelay(&stream.socket, true)?;
        connected(net::connect(&stream.socket, &address))?;
        Ok(stream)
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    ///
    /// What connect(2) gives, and `InvalidInput` for a path that is too long.
    pub fn connect_unix(path: &Path, timeout: Duration) -> io::Result<Stream> {
        let address = SocketAddrUnix::new(path)?;
        let stream = Stream::new(AddressFamily::UNIX, timeout)?;
        connected(net::connect(&stream.socket, &address))?;
        Ok(stream)
    }

    fn new(family: AddressFamily, timeout: Duration) -> io::Result<Stream> {
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Linux lets connect(2) wait as long as a send may wait.
        set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
        Ok(Stream { socket })
    }

    /// Sends what fits at once, and reads away what has come, without waiting for anything: the
    /// farewell to somebody for whom there is no time. (Unread bytes would turn the close that
    /// follows into a reset, which may overtake the farewell.)
    pub fn dismiss(&self, farewell: &[u8]) {
        // Each may fail because the peer is gone, and then there is nothing to be done for it.
        let _ = net::send(
            &self.socket,
            farewell,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
        let _ = net::shutdown(&self.socket, Shutdown::Write);
        let mut unread = [0; 4096];
        let _ = net::recv(&self.socket, &mut unread, net::RecvFlags::DONTWAIT);
    }

    /// Says that nothing more will be written.
    pub fn end_writing(&self) {
        // It fails when the peer is gone, which ends it as well.
        let _ = net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Wakes a thread that reads, which finds the end of the stream; what is being written goes on.
    pub fn end_reading(&self) {
        let _ = net::shutdown(&self.socket, Shutdown::Read);
    }

    /// Wakes a thread that reads or writes; nothing goes either way any more.
    pub fn hang_up(&self) {
        let _ = net::shutdown(&self.socket, Shutdown::Both);
    }
}

/// The result of connect(2): it says "in progress" when its time is over, "again" when a unix socket's
/// backlog stayed full.
fn connected(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::INPROGRESS | Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
        result => Ok(result?),
    }
}

/// A [`Stream`] with the moment at which every read and every write has failed, however the peer
/// spreads its bytes: a timeout per read would let one byte a second go on for ever.
#[derive(Debug)]
pub struct Timed<'s> {
    stream: &'s Stream,
    deadline: Instant,
}

impl<'s> Timed<'s> {
    /// Gives the peer until `deadline`.
    pub fn new(stream: &'s Stream, deadline: Instant) -> Timed<'s> {
        Timed { stream, deadline }
    }

    /// The time that is left is as much longer: for time that was not spent by the peer.
    pub fn extend(&mut self, by: Duration) {
        self.deadline += by;
    }

    /// At least so much time is left from now.
    pub fn allow_at_least(&mut self, time: Duration) {
        self.deadline = self.deadline.max(Instant::now() + time);
    }

    /// At most so much time is left from now.
    pub fn allow_at_most(&mut self, time: Duration) {
        self.deadline = self.deadline.min(Instant::now() + time);
    }

    /// Sets the kernel's timeout for the next call to what is left.
    fn arm(&self, which: Timeout) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Less than the kernel counts in would mean no timeout at all.
        let left = left.max(Duration::from_millis(1));
        Ok(set_socket_timeout(&self.stream.socket, which, Some(left))?)
    }
}

/// The kernel says "again" when a timeout is over.
fn timed_out(errno: Errno) -> io::Error {
    match errno {
        Errno::AGAIN => io::ErrorKind::TimedOut.into(),
        other => other.into(),
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm(Timeout::Recv)?;
        rustix::io::read(&self.stream.socket, buffer).map_err(timed_out)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm(Timeout::Send)?;
        net::send(&self.stream.socket, bytes, SendFlags::NOSIGNAL).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listener::Bound;
    use std::net::Ipv4Addr;

    fn pair() -> (Stream, Stream) {
        let listener = Bound::new((Ipv4Addr::LOCALHOST, 0).into(), false).unwrap();
        let listener = listener.listen().unwrap();
        let address = listener.local_addr().unwrap();
        let one = Stream::connect(address, Duration::from_secs(5)).unwrap();
        (one, Stream::accept(&listener).unwrap())
    }

    fn timed(stream: &Stream, time: Duration) -> Timed<'_> {
        Timed::new(stream, Instant::now() + time)
    }

    #[test]
    fn a_deadline_is_over_all_reads_and_all_writes() {
        let (one, other) = pair();
        let mut reader = timed(&other, Duration::from_millis(30));
        timed(&one, Duration::from_secs(5)).write_all(b"a").unwrap();
        let mut bytes = Vec::new();
        let error = reader.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(
            (error.kind(), &*bytes),
            (io::ErrorKind::TimedOut, &b"a"[..])
        );
        assert!(reader.read(&mut [0; 1]).is_err(), "it stays over");

        let mut writer = timed(&one, Duration::from_millis(30));
        let error = writer.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn time_that_was_not_the_peers_is_given_back() {
        let (one, other) = pair();
        let mut reader = timed(&other, Duration::ZERO);
        assert!(reader.read(&mut [0; 1]).is_err());
        reader.extend(Duration::from_secs(5));
        reader.allow_at_most(Duration::ZERO);
        assert!(reader.read(&mut [0; 1]).is_err());
        reader.allow_at_least(Duration::from_secs(5));
        one.dismiss(b"bye");
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bye");
    }

    #[test]
    fn hanging_up_wakes_a_reader() {
        let (_one, other) = pair();
        std::thread::scope(|scope| {
            let blocked = std::thread::Builder::new()
                .spawn_scoped(scope, || {
                    timed(&other, Duration::from_secs(60)).read(&mut [0])
                })
                .unwrap();
            other.end_reading();
            assert_eq!(blocked.join().unwrap().unwrap(), 0);
        });
    }
}
