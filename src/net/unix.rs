//! Unix sockets: connecting to one, and listening on one that only those may use who should, and that
//! leaves no file behind.
//!
//! The admin's file has mode 0600 from its first moment, whatever the umask is and other threads do: the
//! kernel gives it the mode that the socket itself has when it is bound (unix_bind in
//! net/unix/af_unix.c; the umask can only take more away), so fchmod comes before bind. A listener's
//! gets its own mode once more after that, whatever the umask is. Until listen, which comes last, every
//! connection is refused anyway.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::connect::ConnectError;
use super::stream::Stream;
use super::{listener, wait};
use crate::sync::Flag;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// How long a socket that is there may take to say whether somebody listens.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Mode of the admin's file.
const PRIVATE: u32 = 0o600;

/// Between two attempts to connect to a socket whose backlog is full: at first, and at most. There is no
/// event for that.
const RETRY_PAUSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(20);

/// The file of a listening socket; removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: Arc<Path>,
    /// Device and inode of the file, so that only our own is removed.
    identity: (u64, u64),
    /// Another process has the socket. Raised and read by the server.
    left: Flag,
}

impl SocketFile {
    /// Leaves it to another process that has the socket: it stays.
    pub(super) fn leave(&self) {
        self.left.raise();
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Gives it another mode, if it is still ours.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        match self.is_ours() {
            true => fs::set_permissions(&self.path, Permissions::from_mode(mode)),
            false => Ok(()),
        }
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity)
    }

    /// Removes it, if it is still ours; nobody finds the socket any more.
    pub(super) fn remove(&self) {
        if self.is_ours() && !self.left.is_raised() {
            // If it can't be removed, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Takes `path` for a socket that does not listen yet. The file of a process that has died is replaced;
/// `takes_over`: that of a living one, too, which is about to go.
pub(super) fn bind(path: &Path, mode: u32, takes_over: bool) -> io::Result<(OwnedFd, SocketFile)> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let socket = with_mode(socket, mode)?;
    match net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_old(path, takes_over)?;
            net::bind(&socket, &address)?;
        }
        result => result?,
    }
    let file = SocketFile {
        identity: identity(&fs::symlink_metadata(path)?),
        path: path.into(),
        left: Flag::default(),
    };
    Ok((socket, file))
}

/// Connects to the socket at `path`, on behalf of `asker`, as [`super::connect::connect`] says. While its
/// backlog is full it is asked again and again.
pub(super) fn connect(
    path: &Path,
    deadline: Instant,
    asker: BorrowedFd<'_>,
) -> Result<Stream, ConnectError> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let mut pause = *RETRY_PAUSE.start();
    loop {
        match net::connect(&socket, &address) {
            Ok(()) => break,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        if Instant::now() >= deadline {
            return Err(ConnectError::TimedOut);
        }
        if !wait::pause(asker, pause) {
            return Err(ConnectError::AskerLeft);
        }
        pause = (2 * pause).min(*RETRY_PAUSE.end());
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(Stream::from(socket))
}

/// A listening unix socket of the admin server; its file is removed when this is dropped.
#[derive(Debug)]
pub struct UnixListener {
    socket: OwnedFd,
    file: SocketFile,
}

impl UnixListener {
    /// Listens at `path`. The socket of a process that has died is replaced; `takes_over`: that of a
    /// living one, too, which is about to go.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there; `AlreadyExists` when a file is there that is no
    /// socket; and what bind(2) gives: no such directory, no permission.
    pub fn bind(path: &Path, takes_over: bool) -> io::Result<UnixListener> {
        let (socket, file) = bind(path, PRIVATE, takes_over)?;
        net::listen(&socket, BACKLOG)?;
        Ok(UnixListener { socket, file })
    }

    /// Ends it: a thread that waits for a connection wakes and gets none.
    pub fn shut_down(&self) {
        listener::shut_down(&self.socket);
    }

    /// Removes the file, if it is still ours; nobody finds the socket any more.
    pub fn remove_file(&self) {
        self.file.remove();
    }
}

/// The socket with this mode, which its file inherits.
fn with_mode(socket: OwnedFd, mode: u32) -> io::Result<OwnedFd> {
    let file = File::from(socket);
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file.into())
}

/// Removes the socket of a process that has died, or of the one that this takes over from, and nothing
/// else.
fn remove_old(path: &Path, takes_over: bool) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let what = "a file that is no socket is there; remove it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    if takes_over {
        return fs::remove_file(path);
    }
    match Stream::connect_unix(path, ASK_TIMEOUT) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Connected, or a full backlog, or no permission to ask: somebody may be there.
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A directory of this test's own, removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = std::env::temp_dir().join(format!("evener-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Dir(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("s")
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_the_owner_may_connect_and_the_file_goes_with_the_socket() {
        let dir = Dir::new("mode");
        let listener = UnixListener::bind(&dir.socket(), false).unwrap();
        let mode = fs::symlink_metadata(dir.socket())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Stream::connect_unix(&dir.socket(), ASK_TIMEOUT).is_ok());
        drop(listener);
        assert!(!dir.socket().exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = Dir::new("stale");
        drop(std::os::unix::net::UnixListener::bind(dir.socket()).unwrap());
        assert!(dir.socket().exists(), "std leaves the file behind");
        let living = UnixListener::bind(&dir.socket(), false).unwrap();
        let error = UnixListener::bind(&dir.socket(), false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(living);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = Dir::new("file");
        fs::write(dir.socket(), "precious").unwrap();
        let error = UnixListener::bind(&dir.socket(), false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.socket()).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_somebody_who_came_later_stays() {
        let dir = Dir::new("later");
        let first = UnixListener::bind(&dir.socket(), false).unwrap();
        fs::remove_file(dir.socket()).unwrap();
        let _second = UnixListener::bind(&dir.socket(), false).unwrap();
        drop(first);
        assert!(Stream::connect_unix(&dir.socket(), ASK_TIMEOUT).is_ok());
    }
}
