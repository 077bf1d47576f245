//! Another host over SSH: a real sshd on this one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use drawbridge_peers::need;

use super::*;

/// An sshd on a loopback port, and the keys of both sides.
struct Sshd {
    dir: PathBuf,
    port: u16,
    child: Child,
}

impl Sshd {
    /// Starts one that keeps its files in `site`'s folder.
    fn start(site: &TestSite) -> Self {
        let dir = site.dir.path().join("sshd");
        fs::create_dir(&dir).unwrap();
        for (name, kind) in
            [("host_ed25519", "ed25519"), ("host_ecdsa", "ecdsa"), ("user", "ed25519"), ("other", "ed25519")]
        {
            keygen(&["-q", "-N", "", "-t", kind, "-f", &format!("{}/{name}", dir.display())]);
        }
        fs::copy(dir.join("user.pub"), dir.join("authorized_keys")).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where sshd locks itself up; Debian's service makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // Another process may take the port between its being found and its being used.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = Self::listen(&dir, port) {
                return Self { dir, port, child };
            }
        }
        panic!("sshd doesn't start; its messages are above");
    }

    fn listen(dir: &Path, port: u16) -> Option<Child> {
        let shown = dir.display();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {shown}/host_ed25519\nHostKey {shown}/host_ecdsa\n\
             AuthorizedKeysFile {shown}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\nLogLevel INFO\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        );
        fs::write(dir.join("sshd_config"), config).unwrap();
        let mut child = Command::new(need("sshd", "openssh-server"))
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = lines
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| eprintln!("sshd: {line}"))
            .any(|line| line.contains("Server listening on 127.0.0.1"));
        if !listens {
            child.wait().unwrap();
            return None;
        }
        // Somebody has to read on, or sshd stops when the pipe is full.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("sshd: {line}")));
        Some(child)
    }

    /// A line for `known_hosts` with the public key in `file`.
    fn known(&self, file: &str) -> String {
        let key = fs::read_to_string(self.dir.join(file)).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// A source on it.
    fn source(&self, site: &TestSite, known_hosts: &str, identity: &str) -> String {
        fs::write(site.dir.path().join("known_hosts"), known_hosts).unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        site.this_host(&format!(
            "host = \"127.0.0.1\"\nport = {}\nuser = {:?}\nidentity_file = \"sshd/{identity}\"\nknown_hosts = \"known_hosts\"",
            self.port,
            user.trim()
        ))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn keygen(arguments: &[&str]) -> String {
    let output = Command::new(need("ssh-keygen", "openssh-client")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn failure(outcome: &SourceOutcome) -> &str {
    match &outcome.state {
        SourceState::Failed { error } => error,
        other => panic!("expected a failed source, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_on_another_host_arrives_with_contents_modes_times_and_links() {
    let site = TestSite::new();
    // Longer than everything that is asked for at once, and no multiple of anything.
    let long: Vec<u8> =
        (0..5_000_003_u32).map(|number| u8::try_from(number.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    site.write("var/log/syslog", &long);
    site.write("etc/hosts", b"127.0.0.1 localhost\n");
    site.write("etc/empty", b"");
    site.write("etc/grüße", b"x");
    std::os::unix::fs::symlink("hosts", site.source("etc/link")).unwrap();
    for number in 0..300 {
        site.write(&format!("many/{number}"), number.to_string().as_bytes());
    }
    set_mode(&site.source("etc/hosts"), 0o640);
    // SFTP knows whole seconds only.
    let mut entries: Vec<_> =
        walkdir::WalkDir::new(site.source("")).contents_first(true).into_iter().map(Result::unwrap).collect();
    entries.retain(|entry| !entry.path_is_symlink());
    entries.iter().for_each(|entry| set_mtime(entry.path(), 1_500_000_000, 0));
    assert!(
        Command::new("touch")
            .args(["-h", "-d", "@1500000000"])
            .arg(site.source("etc/link"))
            .status()
            .unwrap()
            .success()
    );

    let sshd = Sshd::start(&site);
    let source = sshd.source(&site, &sshd.known("host_ed25519.pub"), "user");
    let outcome = site.gather_from(&source).await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!((outcome.counts.files, outcome.counts.copied_files), (304, 304));
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));

    let before = change_times(&site.mirrored(""));
    site.write("etc/hosts", b"changed");
    fs::remove_file(site.source("etc/empty")).unwrap();
    let outcome = site.gather_from(&source).await;
    assert_eq!((outcome.counts.copied_files, outcome.counts.removed), (1, 1));
    let after = change_times(&site.mirrored(""));
    // Of all entries only the file and its folder were touched.
    assert_eq!(after.iter().filter(|entry| !before.contains(entry)).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_key_is_not_known_is_refused_with_its_fingerprint() {
    let site = TestSite::new();
    let sshd = Sshd::start(&site);
    let printed = keygen(&["-l", "-f", &format!("{}/host_ed25519.pub", sshd.dir.display())]);
    let fingerprint = printed.split(' ').nth(1).unwrap();
    let outcome = site.gather_from(&sshd.source(&site, "elsewhere.lan ssh-ed25519 AAAA\n", "user")).await;
    let error = failure(&outcome);
    assert!(error.contains(fingerprint) && error.contains("known_hosts has no line for [127.0.0.1]:"), "{error}");
    // Not there at all, and still nothing is trusted or written.
    let source = sshd.source(&site, "", "user");
    fs::remove_file(site.dir.path().join("known_hosts")).unwrap();
    assert!(failure(&site.gather_from(&source).await).contains("is not known"));
    assert!(!site.dir.path().join("known_hosts").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_another_key_than_the_known_one_is_refused() {
    let site = TestSite::new();
    site.write("file", b"x");
    let sshd = Sshd::start(&site);
    let outcome =
        site.gather_from(&sshd.source(&site, &format!("# one line\n{}", sshd.known("other.pub")), "user")).await;
    let error = failure(&outcome);
    assert!(error.contains("has CHANGED") && error.contains("line 2 of"), "{error}");
    let revoked = format!(
        "{}@revoked * {}",
        sshd.known("host_ed25519.pub"),
        fs::read_to_string(sshd.dir.join("host_ed25519.pub")).unwrap()
    );
    assert!(failure(&site.gather_from(&sshd.source(&site, &revoked, "user")).await).contains("is revoked by line 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hashed_names_and_the_host_s_other_key_are_recognised() {
    let site = TestSite::new();
    site.write("file", b"x");
    let sshd = Sshd::start(&site);
    // The host would rather show its ed25519 key.
    let source = sshd.source(&site, &sshd.known("host_ecdsa.pub"), "user");
    assert_eq!(site.gather_from(&source).await.state, SourceState::Complete);
    let file = site.dir.path().join("known_hosts");
    keygen(&["-H", "-f", file.to_str().unwrap()]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    assert_eq!(site.gather_from(&source).await.state, SourceState::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_host_does_not_want_and_one_that_is_open_to_others_are_told_apart() {
    let site = TestSite::new();
    let sshd = Sshd::start(&site);
    let known = sshd.known("host_ed25519.pub");
    let outcome = site.gather_from(&sshd.source(&site, &known, "other")).await;
    assert!(failure(&outcome).contains("authorized_keys"), "{outcome:?}");
    set_mode(&sshd.dir.join("user"), 0o644);
    let outcome = site.gather_from(&sshd.source(&site, &known, "user")).await;
    assert!(failure(&outcome).contains("chmod 600"), "{outcome:?}");
    keygen(&["-q", "-p", "-N", "passphrase", "-f", sshd.dir.join("other").to_str().unwrap()]);
    let outcome = site.gather_from(&sshd.source(&site, &known, "other")).await;
    assert!(failure(&outcome).contains("passphrase"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_utf8_is_reported_and_hides_nothing() {
    use std::os::unix::ffi::OsStrExt;

    let site = TestSite::new();
    site.write("good", b"x");
    fs::write(site.source("").join(std::ffi::OsStr::from_bytes(b"bad-\xff")), b"x").unwrap();
    let sshd = Sshd::start(&site);
    let outcome = site.gather_from(&sshd.source(&site, &sshd.known("host_ed25519.pub"), "user")).await;
    assert!(problems(&outcome).contains("bad-\u{fffd}"), "{outcome:?}");
    assert!(site.mirrored("good").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_what_a_gathering_would_meet() {
    let site = TestSite::new();
    let sshd = Sshd::start(&site);
    let good = site.config(&sshd.source(&site, &sshd.known("host_ed25519.pub"), "user"));
    assert_eq!(probe(&good, &good.sources[0]).await.unwrap(), Vec::<String>::new());
    fs::remove_dir(site.source("")).unwrap();
    assert!(probe(&good, &good.sources[0]).await.unwrap()[0].contains("source: No such file"));
    let local = site.config(&site.this_host(""));
    assert!(probe(&local, &local.sources[0]).await.unwrap()[0].contains("source: No such file"));
    let unknown = site.config(&sshd.source(&site, "", "user"));
    assert!(probe(&unknown, &unknown.sources[0]).await.unwrap()[0].contains("SHA256:"));
}
