//! Each on a thread of its own, which is in the sandbox to its end.

use super::*;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;

/// Runs `test` on a thread that does not matter afterwards.
fn confined(test: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(test).unwrap().join().unwrap();
}

fn socket(family: libc::c_int, kind: libc::c_int) -> Result<(), i32> {
    // SAFETY: it takes three numbers; what it gives is closed below.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap());
    }
    // SAFETY: it was opened above, and nobody else has it.
    unsafe { libc::close(fd) };
    Ok(())
}

#[test]
fn only_what_is_within_reach_can_be_read() {
    let dir = TempDir::new();
    let home = dir.0.clone();
    confined(move || {
        let (near, far) = (home.join("near"), home.join("far"));
        for directory in [&near, &far] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("file"), "text").unwrap();
        }
        let alone = far.join("alone");
        fs::write(&alone, "text").unwrap();
        let reach = Reach {
            read: vec![near.clone(), alone.clone(), home.join("not there")],
            sockets: vec![],
        };
        keep_files_away(&reach).unwrap();

        assert_eq!(fs::read_to_string(near.join("file")).unwrap(), "text");
        assert_eq!(fs::read_to_string(&alone).unwrap(), "text");
        let refused = [
            fs::read(far.join("file")).map(drop),
            fs::read_dir(&far).map(drop),
            fs::read("/etc/passwd").map(drop),
            fs::write(near.join("file"), "changed"),
            fs::write(near.join("new"), ""),
            fs::remove_file(near.join("file")),
            UnixListener::bind(near.join("socket")).map(drop),
            Command::new("/bin/true").status().map(drop),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
        // Threads inherit it.
        let child = thread::Builder::new().spawn(move || fs::read(far.join("file")).is_err());
        assert!(child.unwrap().join().unwrap());
    });
}

#[test]
fn sockets_can_be_made_and_removed_where_they_belong() {
    let dir = TempDir::new();
    let home = dir.0.clone();
    confined(move || {
        let reach = Reach {
            read: vec![],
            sockets: vec![home.clone()],
        };
        keep_files_away(&reach).unwrap();
        let path = home.join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(fs::write(home.join("file"), "").is_err());
    });
}

#[test]
fn what_a_balancer_does_still_works_and_what_it_never_does_is_refused() {
    confined(|| {
        let inet = (libc::AF_INET, libc::AF_INET6);
        filter_calls().unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW), Ok(()));
        assert_eq!(socket(libc::AF_UNIX, libc::SOCK_DGRAM), Ok(()));
        thread::Builder::new().spawn(|| ()).unwrap().join().unwrap();

        for family in [inet.0, inet.1] {
            let raw = socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC);
            assert_eq!(raw, Err(libc::EAFNOSUPPORT));
        }
        assert_eq!(
            socket(libc::AF_PACKET, libc::SOCK_DGRAM),
            Err(libc::EAFNOSUPPORT)
        );
        assert_eq!(
            socket(libc::AF_VSOCK, libc::SOCK_STREAM),
            Err(libc::EAFNOSUPPORT)
        );
        let refused = Command::new("/bin/true").status().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        // SAFETY: it takes one number, and is refused.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWUTS) };
        assert_eq!(unshared, -1);
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    });
}

#[test]
fn privileges_that_are_given_up_stay_so() {
    confined(|| {
        set_no_new_privileges().unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    });
}

/// A directory that goes with the test. Made and dropped outside of the sandbox.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> TempDir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("evener-sandbox-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
