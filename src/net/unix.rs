//! Listening on a unix socket that only its owner may use, and that leaves no file behind.
//!
//! The file has mode 0600 from its first moment, whatever the umask is and other threads do: the
//! kernel gives it the mode that the socket itself has when it is bound (unix_bind in
//! net/unix/af_unix.c; the umask can only take more away), so fchmod comes before bind. And until
//! listen, which comes last, every connection is refused anyway.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::stream::Stream;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// How long a socket that is there may take to say whether somebody listens.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// A listening unix socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct UnixListener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of the file, so that only our own is removed.
    identity: (u64, u64),
}

impl UnixListener {
    /// Listens at `path`. The socket of a process that has died is replaced.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when somebody listens there; `AlreadyExists` when a file is there that is no
    /// socket; and what bind(2) gives: no such directory, no permission.
    pub fn bind(path: &Path) -> io::Result<UnixListener> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let socket = private(socket)?;
        match net::bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => {
                remove_stale(path)?;
                net::bind(&socket, &address)?;
            }
            result => result?,
        }
        let listener = UnixListener {
            socket,
            identity: identity(&fs::symlink_metadata(path)?),
            path: path.to_path_buf(),
        };
        net::listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// Removes the file, if it is still ours; nobody finds the socket any more.
    pub fn remove_file(&self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| identity(&metadata) == self.identity);
        if is_ours {
            // If it can't be removed, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The socket with mode 0600.
fn private(socket: OwnedFd) -> io::Result<OwnedFd> {
    let file = File::from(socket);
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file.into())
}

/// Removes the socket of a process that has died, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let what = "a file that is no socket is there; remove it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
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

impl Drop for UnixListener {
    fn drop(&mut self) {
        self.remove_file();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let listener = UnixListener::bind(&dir.socket()).unwrap();
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
        let living = UnixListener::bind(&dir.socket()).unwrap();
        let error = UnixListener::bind(&dir.socket()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(living);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = Dir::new("file");
        fs::write(dir.socket(), "precious").unwrap();
        let error = UnixListener::bind(&dir.socket()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.socket()).unwrap(), b"precious");
    }

    #[test]
    fn the_socket_of_somebody_who_came_later_stays() {
        let dir = Dir::new("later");
        let first = UnixListener::bind(&dir.socket()).unwrap();
        fs::remove_file(dir.socket()).unwrap();
        let _second = UnixListener::bind(&dir.socket()).unwrap();
        drop(first);
        assert!(Stream::connect_unix(&dir.socket(), ASK_TIMEOUT).is_ok());
    }
}
