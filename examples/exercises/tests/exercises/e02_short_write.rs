use std::io::{self, ErrorKind, Read, Write};

use exercises::e02_short_write::copy;

/// A socket with little room, in a program that gets signals: every other call is interrupted, and
/// the others move three bytes at most.
#[derive(Default)]
struct Awkward {
    calls: usize,
    bytes: Vec<u8>,
}

impl Awkward {
    fn interrupted(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.calls % 2 {
            0 => Ok(()),
            _ => Err(ErrorKind::Interrupted.into()),
        }
    }
}

impl Write for Awkward {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupted()?;
        self.bytes.write(&bytes[..bytes.len().min(3)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Awkward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted()?;
        let length = buffer.len().min(3).min(self.bytes.len());
        let rest = self.bytes.split_off(length);
        buffer[..length].copy_from_slice(&std::mem::replace(&mut self.bytes, rest));
        Ok(length)
    }
}

#[test]
fn a_receiver_with_little_room_gets_everything() {
    let sent: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
    let mut receiver = Awkward::default();
    let copied = copy(&mut &sent[..], &mut receiver).unwrap();
    assert_eq!((copied, receiver.bytes == sent), (10_000, true));
}

#[test]
fn an_interrupted_read_is_no_error() {
    let mut sender = Awkward {
        calls: 0,
        bytes: b"Hello from Backend Server".to_vec(),
    };
    let mut received = Vec::new();
    copy(&mut sender, &mut received).unwrap();
    assert_eq!(received, b"Hello from Backend Server");
}
