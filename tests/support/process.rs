//! Programs under test: started, watched, signalled, and never left behind.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::{DEADLINE, eventually, eventually_ok};

/// What the binary prints for each address it listens on.
const STARTED: &str = "Load Balancer started on ";

/// A running evener with a config of its own. It has all of [`Process`] as well.
#[derive(Debug)]
pub struct Evener {
    process: Process,
    dir: TempDir,
}

impl Evener {
    /// Starts the real binary with this config and returns when it listens on its first address.
    /// Listeners bind `127.0.0.1:0`; see [`Evener::address`].
    ///
    /// A config in block style that doesn't mention `admin:` gets `admin: off`: the default admin
    /// address is one for the whole machine, and tests run beside each other.
    pub fn start(config_yaml: &str) -> Evener {
        Evener::start_with(config_yaml, &[])
    }

    /// As [`Evener::start`], with more arguments behind the config.
    pub fn start_with(config_yaml: &str, arguments: &[&str]) -> Evener {
        let dir = TempDir::new();
        let path = dir.path().join("evener.yaml");
        fs::write(&path, completed(config_yaml)).unwrap();
        let mut all = vec!["--config", path.to_str().unwrap()];
        all.extend(arguments);
        let process = Process::start(env!("CARGO_BIN_EXE_evener"), &all);
        let evener = Evener { process, dir };
        evener.wait_log(STARTED);
        evener
    }

    /// Starts the real binary with the command line alone, as [`Evener::start`] does with a config.
    pub fn without_config(arguments: &[&str]) -> Evener {
        let process = Process::start(env!("CARGO_BIN_EXE_evener"), arguments);
        let dir = TempDir::new();
        let evener = Evener { process, dir };
        evener.wait_log(STARTED);
        evener
    }

    /// Starts a prepared command that ends in the real binary: under a limit, or as another user.
    pub fn spawn(command: &mut Command) -> Evener {
        Evener::spawn_reading(command, Stdio::null())
    }

    /// As [`Evener::spawn`], with something to read.
    pub fn spawn_reading(command: &mut Command, stdin: Stdio) -> Evener {
        let process = Process::spawn_reading(command, stdin);
        let dir = TempDir::new();
        let evener = Evener { process, dir };
        evener.wait_log(STARTED);
        evener
    }

    /// Runs the binary to its end: for the command line, and for what must not start.
    pub fn command(arguments: &[&str]) -> Finished {
        run(env!("CARGO_BIN_EXE_evener"), arguments)
    }

    /// The address behind the `index`th line `Load Balancer started on …`, waiting for that line.
    /// A wildcard address comes back as loopback, so that it can be connected to.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.address_after(STARTED, index)
    }

    /// As [`Evener::address`], for any other text that has an address behind it.
    pub fn address_after(&self, fragment: &str, index: usize) -> SocketAddr {
        let line = self.wait_log_count(fragment, index + 1).swap_remove(index);
        let at = line.find(fragment).unwrap() + fragment.len();
        parse_address(&line[at..]).unwrap_or_else(|| panic!("no TCP address in: {line}"))
    }

    /// Where the config file is.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("evener.yaml")
    }

    /// Waits for the `count`th line of a session in the log, and checks how that ended.
    #[track_caller]
    pub fn session_ended(&self, reason: &str, count: usize) -> String {
        let mut lines = self.wait_log_count(" ended: ", count);
        let line = lines.swap_remove(count - 1);
        assert!(
            line.contains(&format!(" ended: {reason} ")),
            "expected {reason}: {line}"
        );
        line
    }

    /// A directory of this evener's own that ends with it, for sockets and token files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces the config file at one stroke; a reload will find it.
    pub fn rewrite_config(&self, config_yaml: &str) {
        let new = self.dir.path().join("evener.yaml.new");
        fs::write(&new, completed(config_yaml)).unwrap();
        fs::rename(&new, self.config_path()).unwrap();
    }
}

impl Deref for Evener {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// The config with `admin: off`, and with the way of moving bytes that the environment asks for
/// (`scripts/test` runs the tests of the data path once more with `splice`), unless it says otherwise.
fn completed(config_yaml: &str) -> String {
    if config_yaml.trim_start().starts_with('{') {
        return config_yaml.into();
    }
    let mut all = config_yaml.trim_end().to_owned();
    let mut add = |section: &str, line: &str| {
        if !config_yaml.lines().any(|line| line.starts_with(section)) {
            all.push('\n');
            all.push_str(line);
        }
    };
    add("admin:", "admin: off");
    if let Ok(relay) = std::env::var("EVENER_TEST_RELAY") {
        add(
            "performance:",
            &format!("performance: {{ relay: {relay} }}"),
        );
    }
    all.push('\n');
    all
}

/// The address that `text` begins with; `:8080` is that port on every interface.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let end = text
        .find(|c: char| c.is_whitespace() || "\",;/".contains(c))
        .unwrap_or(text.len());
    let word = &text[..end];
    let mut address: SocketAddr = match word.strip_prefix(':') {
        Some(port) => (Ipv4Addr::UNSPECIFIED, port.parse().ok()?).into(),
        None => word.parse().ok()?,
    };
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// A running program whose output is collected. Dropping it kills it, and prints what it wrote if
/// the test is failing.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    output: Arc<Mutex<Vec<Line>>>,
    readers: Vec<JoinHandle<()>>,
}

/// One line that a process has written.
#[derive(Debug, Clone)]
struct Line {
    is_stderr: bool,
    text: String,
}

impl Process {
    /// Starts a program.
    pub fn start(program: &str, arguments: &[&str]) -> Process {
        Process::spawn(Command::new(program).args(arguments))
    }

    /// Starts a prepared command, for one that needs an environment or a directory.
    pub fn spawn(command: &mut Command) -> Process {
        Process::spawn_reading(command, Stdio::null())
    }

    /// As [`Process::spawn`], with something to read.
    pub fn spawn_reading(command: &mut Command, stdin: Stdio) -> Process {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), false, &output),
            collect(child.stderr.take().unwrap(), true, &output),
        ];
        let program = Path::new(command.get_program()).file_name();
        Process {
            name: program.unwrap_or_default().to_string_lossy().into_owned(),
            pid: Pid::from_child(&child),
            child: Mutex::new(child),
            output,
            readers,
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Every line written so far, to stdout or stderr, in the order of arrival.
    pub fn log(&self) -> Vec<String> {
        let output = self.output.lock().unwrap();
        output.iter().map(|line| line.text.clone()).collect()
    }

    /// The lines written to stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        self.lines_of(false)
    }

    /// The lines written to stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.lines_of(true)
    }

    fn lines_of(&self, stderr: bool) -> Vec<String> {
        let output = self.output.lock().unwrap();
        let lines = output.iter().filter(|line| line.is_stderr == stderr);
        lines.map(|line| line.text.clone()).collect()
    }

    /// The lines with `fragment` in them so far.
    pub fn lines_with(&self, fragment: &str) -> Vec<String> {
        let mut lines = self.log();
        lines.retain(|line| line.contains(fragment));
        lines
    }

    /// Waits for a line with `fragment` in it and returns the first.
    #[track_caller]
    pub fn wait_log(&self, fragment: &str) -> String {
        self.wait_log_count(fragment, 1).swap_remove(0)
    }

    /// Waits for at least `count` lines with `fragment` in them and returns them all. It is an error
    /// at once if the process ends without having written them.
    #[track_caller]
    pub fn wait_log_count(&self, fragment: &str, count: usize) -> Vec<String> {
        let what = format!("{count} lines of {} with {fragment:?}", self.name);
        let found = eventually_ok(&what, DEADLINE, || {
            // In this order: what ends after the first question has been heard by the second.
            let is_over = self.is_over();
            let lines = self.lines_with(fragment);
            if lines.len() >= count {
                Ok(Some(lines))
            } else if is_over {
                Ok(None)
            } else {
                Err(format!("{} lines", lines.len()))
            }
        });
        found.unwrap_or_else(|| panic!("{} ended before: {what}", self.name))
    }

    /// Has it ended, and has all its output been read?
    fn is_over(&self) -> bool {
        self.exit_status().is_some() && self.readers.iter().all(JoinHandle::is_finished)
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Processor time it has used so far, in user mode and in the kernel.
    pub fn cpu_time(&self) -> Duration {
        /// USER_HZ, in which /proc counts on every Linux.
        const TICKS_PER_SECOND: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // proc(5): the name may have spaces in it, and ends with the last parenthesis. Behind it,
        // utime and stime are the 12th and 13th.
        let fields = &stat[stat.rfind(')').unwrap() + 1..];
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// The names of its threads now, as `ps -L` shows them.
    pub fn thread_names(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // A thread that ends while we look is one less.
        let name = |task: io::Result<fs::DirEntry>| fs::read_to_string(task?.path().join("comm"));
        tasks
            .filter_map(|task| Some(name(task).ok()?.trim_end().to_string()))
            .collect()
    }

    /// Is it still running?
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Sends a signal. Panics if the process has ended: its id may belong to another by now.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().unwrap();
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "{} ended before {signal:?}", self.name);
        rustix::process::kill_process(self.pid, signal).unwrap();
    }

    /// Waits for its end, and for the last of its output.
    #[track_caller]
    pub fn wait_exit(&self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, || self.is_over().then(|| self.exit_status()))
            .unwrap_or_else(|| unreachable!("it is over"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Poisoned only by a test that fails anyway, and the process is to be killed in any case.
        let child = self.child.get_mut().unwrap_or_else(|e| e.into_inner());
        let _ = child.kill();
        let ended = child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            // In one piece: tests fail beside each other.
            let mut text = format!("--- {} (pid {}) wrote:\n", self.name, self.pid());
            for line in self.output.lock().unwrap_or_else(|e| e.into_inner()).iter() {
                let mark = if line.is_stderr { '!' } else { '|' };
                let _ = writeln!(text, "{mark} {}", line.text);
            }
            match ended {
                Ok(status) => eprintln!("{text}--- end ({status})"),
                Err(error) => eprintln!("{text}--- end ({error})"),
            }
        }
    }
}

/// Reads lines until the pipe closes. Bytes that are not UTF-8 are replaced, not refused.
fn collect(
    pipe: impl Read + Send + 'static,
    is_stderr: bool,
    output: &Arc<Mutex<Vec<Line>>>,
) -> JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_string();
            output.lock().unwrap().push(Line { is_stderr, text });
            bytes.clear();
        }
    })
}

/// A program that has run to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of stdout, lines ending in `\n`.
    pub stdout: String,
    /// All of stderr, lines ending in `\n`.
    pub stderr: String,
}

/// Runs a program to its end, which has to come within [`DEADLINE`].
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> Finished {
    let process = Process::start(program, arguments);
    let code = process.wait_exit().code();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for line in process.output.lock().unwrap().iter() {
        let text = if line.is_stderr {
            &mut stderr
        } else {
            &mut stdout
        };
        text.push_str(&line.text);
        text.push('\n');
    }
    Finished {
        code,
        stdout,
        stderr,
    }
}

/// A directory that is removed with everything in it when the value is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// An empty one, under Cargo's directory for the scratch files of tests.
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Left behind by a killed test that had the same process id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    /// Where it is; absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
