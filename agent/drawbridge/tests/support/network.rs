//! The network of `examples/network.toml`, each of its hosts an sshd on loopback with a file system of its own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use drawbridge_peers::need;
use drawbridge_peers::sshd::Sshd;
use tempfile::TempDir;

use crate::site::{CREDENTIALS, drawbridge};

const NETWORK: &str = include_str!("../../examples/network.toml");

/// Who logs in where the example has users that this machine doesn't: Debian's nobody.
const NOBODY: u32 = 65534;

/// What pfctl prints on the firewall.
pub const RULES: &str = "block drop in log inet all\npass out log route-to igb0 inet from any to any flags S/SA keep state allow-opts\n\
                         pass in quick on igb1 inet proto tcp from any to (self) port = ssh flags S/SA keep state\n";

/// The hosts, and the folder of the configuration.
pub struct Network {
    dir: TempDir,
    pub fw: Sshd,
    pub dns: Sshd,
    pub log: Sshd,
    pub desk1: Sshd,
    pub desk2: Sshd,
}

impl Network {
    /// Starts every host. Each lets in what `drawbridge authorize` prints for its sources, and nothing else.
    pub fn start() -> Self {
        let host = |last: u8| Sshd::builder().address(last).own_root().start();
        let [fw, dns, log, desk1, desk2] = [11, 12, 13, 14, 15].map(host);
        let network = Self { dir: tempfile::tempdir().unwrap(), fw, dns, log, desk1, desk2 };
        network.plant();
        network.configure(NETWORK);
        let keys = [
            (&network.fw, vec!["firewall", "firewall-rules"]),
            (&network.dns, vec!["dns"]),
            (&network.log, vec!["logs", "log-server"]),
            (&network.desk1, vec!["desk1"]),
            (&network.desk2, vec!["desk2"]),
        ];
        for (host, sources) in keys {
            let lines: String = sources.iter().map(|source| network.authorize(source)).collect();
            fs::write(host.authorized_keys(), lines).unwrap();
        }
        network
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `drawbridge`, as on the backup machine.
    pub fn drawbridge(&self, what: &str) -> Command {
        drawbridge(&self.path().join("drawbridge.toml"), what)
    }

    /// A source's folder in the mirror.
    pub fn mirror(&self, source: &str) -> PathBuf {
        self.path().join("state/mirror").join(source)
    }

    /// What stands as a comment in the example is in force, too.
    pub fn uncomment(&self) {
        let settings = ["[[source.check", "files =", "command ="];
        let uncommented = NETWORK.split_inclusive('\n').map(|line| match line.strip_prefix("# ") {
            Some(rest) if settings.iter().any(|setting| rest.starts_with(setting)) => rest,
            _ => line,
        });
        self.configure(&uncommented.collect::<String>());
    }

    /// Writes the example as it has to be here: its folders and users are this machine's, its stack is nobody's.
    fn configure(&self, example: &str) {
        let here = self.path().display();
        let replaced = [
            ("state_dir = \"/var/lib/drawbridge\"", "state_dir = \"state\"".to_owned()),
            ("[stack]\n", "[stack]\nendpoint_url = \"http://127.0.0.1:9\"\ncredentials_file = \"aws\"\n".to_owned()),
            ("[gather]\n", "[gather]\nssh_config = \"ssh_config\"\n".to_owned()),
            ("user = \"drawbridge\"", "user = \"nobody\"".to_owned()),
            ("user = \"alice\"", "user = \"nobody\"".to_owned()),
            ("user = \"bob\"", "user = \"nobody\"".to_owned()),
            ("paths = [\"/etc\"]", format!("paths = [\"{here}/vm/etc\"]")),
            ("\"/etc/drawbridge/", format!("\"{here}/vm/etc/drawbridge/")),
            ("\"/mnt/ad", format!("\"{here}/mnt/ad")),
        ];
        let text = replaced.iter().fold(example.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "the example doesn't say {from} any more");
            text.replace(from, to)
        });
        fs::write(self.path().join("drawbridge.toml"), text).unwrap();
    }

    fn authorize(&self, source: &str) -> String {
        let output = self.drawbridge("authorize").arg(source).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn plant(&self) {
        firewall(self.fw.chroot());
        dns(self.dns.chroot());
        log_server(self.log.chroot());
        for (desk, user) in [(&self.desk1, "alice"), (&self.desk2, "bob")] {
            desktop(desk.chroot(), user);
        }
        let here = self.path();
        plant(here, &[("aws", CREDENTIALS), ("password", "correct horse battery\n"), ("vm/etc/hostname", "backup\n")]);
        plant(here, &[("vm/etc/drawbridge/id_ed25519", "a key\n"), ("vm/etc/drawbridge/password", "a password\n")]);
        plant(here, &[("vm/etc/drawbridge/drawbridge.toml", "# all of it\n")]);
        fs::set_permissions(here.join("password"), Permissions::from_mode(0o600)).unwrap();
        fs::create_dir_all(here.join("mnt/ad")).unwrap();
        for key in ["id_ed25519", "id_ed25519_rules"] {
            let mut command = Command::new(need("ssh-keygen", "openssh-client"));
            let made = command.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(here.join(key)).status();
            assert!(made.unwrap().success());
        }
        let hosts =
            [("fw", &self.fw), ("dns", &self.dns), ("log", &self.log), ("desk1", &self.desk1), ("desk2", &self.desk2)];
        let config = |(name, host): &(&str, &Sshd)| {
            format!("Host {name}.lan\nHostName {}\nPort {}\n", host.address(), host.port())
        };
        let keys: String = hosts.iter().map(|(_, host)| host.known_hosts_lines()).collect();
        fs::write(here.join("ssh_config"), hosts.iter().map(config).collect::<String>()).unwrap();
        fs::write(here.join("known_hosts"), keys).unwrap();
    }
}

/// Writes files below `root`.
pub fn plant(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Files of which only the newest are wanted: one a day, `count` of them, the last one the newest.
fn plant_days(root: &Path, count: u64, name: impl Fn(u64) -> String, content: &str) {
    for day in 0..count {
        let path = name(day);
        plant(root, &[(&path, content)]);
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + day * 86_400);
        fs::File::options().append(true).open(root.join(&path)).unwrap().set_modified(time).unwrap();
    }
}

/// OPNsense's `config.xml`.
pub fn config_xml(hostname: &str) -> String {
    let rule =
        "    <rule><type>pass</type><interface>lan</interface><descr>Default allow LAN to any rule</descr></rule>\n";
    format!(
        "<?xml version=\"1.0\"?>\n<opnsense>\n  <system>\n    <hostname>{hostname}</hostname>\n  </system>\n  <filter>\n{}  </filter>\n</opnsense>\n",
        rule.repeat(60)
    )
}

fn firewall(root: &Path) {
    plant(
        root,
        &[
            ("conf/config.xml", &config_xml("fw")),
            ("conf/sshd/ssh_host_ed25519_key", "private\n"),
            ("boot/loader.conf.local", "hw.igb.rx_process_limit=-1\n"),
            ("usr/local/etc/php.ini", "; generated\n"),
            ("usr/local/etc/unbound.opnsense.d/lan.conf", "server:\n  local-zone: lan static\n"),
            ("var/db/kea/kea-leases4.csv", "address,hwaddr\n192.168.1.50,aa:bb:cc:dd:ee:ff\n"),
            ("var/log/filter/latest.log", "blocked\n"),
        ],
    );
    plant_days(root, 35, |day| format!("conf/backup/config-17{day:08}.0.xml"), &config_xml("older"));
    for private in ["conf/config.xml", "conf/sshd/ssh_host_ed25519_key"] {
        fs::set_permissions(root.join(private), Permissions::from_mode(0o640)).unwrap();
    }
    // Root's shell, for the command that the second key is held to.
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let shell = users.lines().find_map(|line| line.strip_prefix("root:")?.rsplit(':').next()).unwrap().to_owned();
    let needed = Command::new(need("ldd", "libc-bin")).arg(&shell).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    for path in needed.split_whitespace().filter(|word| word.starts_with('/')).chain([shell.as_str()]) {
        let copy = root.join(path.strip_prefix('/').unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(path, copy).unwrap();
    }
    plant(root, &[("sbin/pfctl", &format!("#!{shell}\n[ \"$*\" = -sr ] && printf '%s' '{RULES}'\n"))]);
    fs::set_permissions(root.join("sbin/pfctl"), Permissions::from_mode(0o755)).unwrap();
}

fn dns(root: &Path) {
    plant(
        root,
        &[
            ("etc/dnsmasq.conf", "domain-needed\ndhcp-range=192.168.1.50,192.168.1.150,12h\n"),
            ("etc/dnsmasq.d/hosts.conf", "dhcp-host=aa:bb:cc:dd:ee:ff,desk1\n"),
            ("etc/dnsmasq.d/hosts.conf~", "older\n"),
            ("etc/conf.d/dnsmasq", "DNSMASQ_OPTS=\"--user=dnsmasq\"\n"),
            ("etc/hosts", "127.0.0.1 localhost\n"),
            ("var/lib/misc/dnsmasq.leases", "1700000000 aa:bb:cc:dd:ee:ff 192.168.1.50 desk1 *\n"),
            ("etc/monitrc", "set mailserver smtp.lan\n  username \"monit\" password \"hunter2hunter2\"\n"),
            ("etc/monit.d/dnsmasq", "check process dnsmasq with pidfile /run/dnsmasq.pid\n"),
            ("etc/rsyslog.conf", "*.* @@log.lan:514\n"),
            ("etc/network/interfaces", "auto lo\n"),
            ("etc/apk/world", "alpine-base\ndnsmasq\n"),
            ("etc/apk/repositories", "https://dl-cdn.alpinelinux.org/alpine/v3.22/main\n"),
            ("etc/ssh/sshd_config", "PermitRootLogin prohibit-password\n"),
            ("etc/local.d/tune.start", "sysctl -w net.core.rmem_max=1\n"),
        ],
    );
    fs::set_permissions(root.join("etc/monitrc"), Permissions::from_mode(0o600)).unwrap();
}

fn log_server(root: &Path) {
    plant(
        root,
        &[
            ("etc/rsyslog.conf", "module(load=\"imtcp\")\n"),
            (
                "etc/rsyslog.d/remote.conf",
                "template(name=\"remote\" type=\"string\" string=\"/var/log/remote/%HOSTNAME%\")\n",
            ),
            ("etc/logrotate.conf", "weekly\n"),
            ("etc/logrotate.d/remote", "/var/log/remote/*/*.log { daily compress }\n"),
            ("etc/monitrc", "set daemon 60\n"),
            ("etc/network/interfaces", "auto lo\n"),
            ("etc/apk/world", "alpine-base\nrsyslog\n"),
            ("var/log/messages", "its own\n"),
            ("var/log/remote/fw/filterlog.log", "block in on igb0\n"),
            ("var/log/remote/dns/dnsmasq.log", "DHCPACK(eth0) 192.168.1.50\n"),
            ("var/log/remote/dns/dnsmasq.log.tmp", "half\n"),
        ],
    );
    plant_days(root, 33, |day| format!("var/log/remote/fw/filterlog.log-{day:02}.gz"), "\u{1f}compressed\n");
}

fn desktop(root: &Path, user: &str) {
    let files =
        ["Documents/letter.txt", "Documents/old.txt", ".config/pcmanfm.conf", ".cache/big", ".local/share/Trash/gone"];
    for file in files {
        plant(root, &[(&format!("home/{user}/{file}"), "mine\n")]);
    }
    for entry in walkdir::WalkDir::new(root.join("home").join(user)).into_iter().map(Result::unwrap) {
        chown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}
