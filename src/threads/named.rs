//! Starting and naming threads, and keeping those going on which the whole process depends.

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::STACK_BYTES;

/// Starts a thread that has one task for the life of the program.
///
/// # Errors
///
/// When the operating system refuses it.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    spawn_with_stack(name, STACK_BYTES, work)
}

/// As [`spawn`], for work that needs more stack than copying bytes does.
///
/// # Errors
///
/// When the operating system refuses it.
pub fn spawn_with_stack(
    name: &str,
    stack_bytes: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(work)
}

/// Takes one step after another until one says that it was the last: the life of a thread on which
/// the whole process depends. A panic in a step is a bug, which the panic hook reports, but no
/// reason to serve nobody any more; the next step comes after a pause, so that a bug in every step
/// does not become a spin.
pub fn keep_going(mut step: impl FnMut() -> ControlFlow<()>) {
    const PAUSE_AFTER_PANIC: Duration = Duration::from_millis(100);
    loop {
        // Unwind safety: steps share only what is behind locks that do not poison, and atomics; what
        // they own is bookkeeping, of which a broken-off step may lose the piece it was at.
        match catch_unwind(AssertUnwindSafe(&mut step)) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return,
            Err(_) => thread::sleep(PAUSE_AFTER_PANIC),
        }
    }
}

/// Bytes of a thread's name that the kernel keeps (prctl(2), PR_SET_NAME: 16 with a final 0).
const NAME_BYTES_MAX: usize = 15;

/// A thread's name, no longer than the kernel keeps it. It lives on the stack: each session has two.
#[derive(Clone, Copy)]
pub struct Name {
    /// Zeros behind the name.
    bytes: [u8; NAME_BYTES_MAX + 1],
    length: usize,
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Only whole characters were written.
        str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl Write for Name {
    /// Writes as much as there is room for.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = NAME_BYTES_MAX - self.length;
        let fits = text.floor_char_boundary(room);
        let end = self.length + fits;
        let text = text.as_bytes().get(..fits);
        if let (Some(place), Some(text)) = (self.bytes.get_mut(self.length..end), text) {
            place.copy_from_slice(text);
            self.length = end;
        }
        Ok(())
    }
}

/// A thread's name out of what it does and for whom: `c4711>web2`, `probe web2`. Of a long
/// `whose` the end is kept, where the port is.
pub fn name_of(what: impl fmt::Display, whose: &str) -> Name {
    let mut name = Name {
        bytes: [0; NAME_BYTES_MAX + 1],
        length: 0,
    };
    // Writing to a Name can't fail.
    let _ = write!(name, "{what}");
    let room = NAME_BYTES_MAX - name.length;
    let start = whose.ceil_char_boundary(whose.len().saturating_sub(room));
    let _ = name.write_str(whose.get(start..).unwrap_or_default());
    name
}

/// Names the calling thread as `ps -L`, `top -H` and `gdb` show it.
pub fn set_name(name: &Name) {
    if let Ok(name) = CStr::from_bytes_until_nul(&name.bytes) {
        // The name only helps people; there is nothing to do if it is refused.
        let _ = rustix::thread::set_name(name);
    }
}

/// The name of the calling thread as the kernel has it, which tells a session's thread from another.
pub fn name() -> String {
    match rustix::thread::name() {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => "unnamed".to_owned(),
    }
}

/// The kernel's number of the calling thread, as `ps -L` and `top -H` show it.
pub fn id() -> u32 {
    thread_local! {
        static ID: u32 = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    }
    ID.with(|id| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_step_is_not_the_end() {
        let mut steps = 0;
        keep_going(|| {
            steps += 1;
            match steps {
                1 => std::panic::resume_unwind(Box::new("as injected")),
                2 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        assert_eq!(steps, 3);
    }

    #[test]
    fn a_name_fits_and_shows_the_port() {
        let name = |what: &str, whose: &str| name_of(what, whose).as_str().to_owned();
        assert_eq!(name("c4711>", "web2"), "c4711>web2");
        assert_eq!(name("c12<", "127.0.0.1:8000"), "c12<.0.0.1:8000");
        assert_eq!(name("probe ", "127.0.0.1:8000"), "probe .0.1:8000");
        assert_eq!(name("c1>", "größe-größe"), "c1>ße-größe", "whole letters");
        assert_eq!(name("c12345678901234é>", "web"), "c12345678901234");
    }

    #[test]
    fn a_name_is_what_the_kernel_shows() {
        spawn("first", || {
            assert_eq!(name(), "first");
            set_name(&name_of(format_args!("c{}>", 7), "web"));
            assert_eq!(name(), "c7>web");
        })
        .unwrap()
        .join()
        .unwrap();
    }
}
