//! What is gathered: log text as it is on a log server, the same every time.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The name of every work's folder.
pub(crate) const TREE: &str = "tree";

/// Folders of the many small files, and how many of them are a sample.
pub(crate) const SAMPLE: (usize, usize) = (4, 200);

/// 2024-07-01: long enough ago that no tool doubts the times.
const THEN: u64 = 1_719_792_000;

const PROGRAMS: [&str; 6] = ["dnsmasq-dhcp", "sshd", "filterlog", "unbound", "monit", "rsyslogd"];
const MESSAGES: [&str; 6] = [
    "DHCPACK(br0) 192.168.7.",
    "Accepted publickey for admin from 10.0.0.",
    "4,,,0,igb0,match,block,in,4,0x0,,64,0,0,DF,6,tcp,60,203.0.113.",
    "info: validation failure for host.example.lan A IN from 192.168.1.",
    "'filesystem' space usage 81.2% matches resource limit at 172.16.4.",
    "action 'fwd' resumed (module 'builtin:omfwd') peer 10.20.30.",
];

/// A generator of numbers that are the same on every machine (xorshift64*).
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Starts a row of numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Appends log lines of exactly so many bytes.
pub(crate) fn log(to: &File, bytes: usize, seed: u64) {
    let mut to = BufWriter::with_capacity(1 << 20, to);
    let (mut numbers, mut left, mut line) = (Numbers::new(seed), bytes, Vec::with_capacity(256));
    while left > 0 {
        line.clear();
        let number = numbers.next();
        let pick = |shift: u32, count: u64| ((number >> shift) % count) as usize;
        let (minute, second) = (left / 6000 % 60, left / 100 % 60);
        let (program, message) = (PROGRAMS[pick(0, 6)], MESSAGES[pick(3, 6)]);
        write!(line, "2024-07-01T03:{minute:02}:{second:02}+02:00 gateway {program}[{}]: ", 200 + pick(6, 4000))
            .unwrap();
        writeln!(line, "{message}{} seq={:x} len={}", pick(18, 254), number >> 20, pick(26, 1500)).unwrap();
        let length = line.len().min(left);
        to.write_all(&line[..length]).unwrap();
        left -= length;
    }
    to.flush().unwrap();
}

/// Writes a file that was last changed some minutes after a day long ago.
pub(crate) fn file(path: &Path, bytes: usize, seed: u64) {
    let file = File::create_new(path).unwrap();
    log(&file, bytes, seed);
    set_time(&file, seed);
}

/// Says that a file was last changed so many minutes after a day long ago.
pub(crate) fn set_time(file: &File, minutes: u64) {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(THEN + 60 * minutes)).unwrap();
}

/// One gibibyte in sixteen files.
pub(crate) fn logs(tree: &Path) {
    fs::create_dir_all(tree).unwrap();
    (0..16).for_each(|number| file(&tree.join(format!("host-{number}.log")), 64 << 20, number));
}

/// Twenty thousand files of 1 to 40 KB in two hundred folders.
pub(crate) fn small(tree: &Path) {
    let mut numbers = Numbers::new(7);
    for folder in 0..SAMPLE.1 {
        let path = tree.join(format!("site-{}/host-{folder}", folder / 20));
        fs::create_dir_all(&path).unwrap();
        for number in 0..100 {
            let bytes = 1000 + (numbers.next() % 39_001) as usize;
            file(&path.join(format!("service-{number}.conf")), bytes, (folder * 100 + number) as u64);
        }
    }
}
