//! What is worth keeping of well-known systems: `preset = "opnsense"` and so on. Data only.
//!
//! A preset's paths, excludes and checks are added to what the source says itself. Where a main file lies elsewhere on Alpine,
//! Debian and FreeBSD, all its places are looked at and at least so many files must be found.

/// A preset.
pub(super) struct Preset {
    /// As the configuration calls it.
    pub(super) name: &'static str,
    /// What every installation has.
    pub(super) paths: &'static [&'static str],
    /// What some have.
    pub(super) if_present: &'static [&'static str],
    /// What to leave out.
    pub(super) exclude: &'static [&'static str],
    /// Of these only so many, the last modified.
    pub(super) newest: &'static [(&'static str, usize)],
    /// What must be true of which files.
    pub(super) checks: &'static [(&'static str, &'static [Test])],
    /// The least number of files, unless the source says otherwise.
    pub(super) min_files: u64,
}

/// What must be true of a file.
pub(super) enum Test {
    /// So many bytes.
    MinBytes(u64),
    /// XML with this root.
    Xml(&'static str),
}

/// Backups and unfinished work of editors and of the packagers' tools (`dpkg`, `apk`).
const LEFTOVERS: &[&str] = &["/**/*~", "/**/.*.sw[a-p]", "/**/*.dpkg-*", "/**/*.apk-new"];

/// All of them.
pub(super) const ALL: &[Preset] = &[OPNSENSE, DNSMASQ, RSYSLOG, MONIT];

/// OPNsense keeps its whole configuration in one file and its history beside it (docs.opnsense.org: Configuration backup,
/// History). What an administrator adds lies in drop-in folders (docs.opnsense.org: Unbound DNS, Advanced configurations;
/// Dnsmasq, Advanced; Monit; Development, Autorun for the hooks). Leases: Dnsmasq, Kea and the old ISC server.
///
/// `config.xml` may be read by root and the group wheel only: log in as such a user.
const OPNSENSE: Preset = Preset {
    name: "opnsense",
    paths: &["/conf/config.xml"],
    if_present: &[
        "/conf/backup/config-*.xml",
        "/boot/loader.conf.local",
        "/usr/local/etc/rc.syshook.d/**",
        "/usr/local/etc/unbound.opnsense.d/**",
        "/usr/local/etc/dnsmasq.conf.d/**",
        "/usr/local/etc/monit.opnsense.d/**",
        "/var/db/dnsmasq.leases",
        "/var/db/kea/kea-leases4.csv",
        "/var/db/kea/kea-leases6.csv",
        "/var/dhcpd/var/db/dhcpd.leases",
    ],
    exclude: &[],
    // A month of a change a day; the snapshots keep what is older.
    newest: &[("/conf/backup/config-*.xml", 30)],
    // A factory configuration has some ten thousand bytes.
    checks: &[("/conf/config.xml", &[Test::MinBytes(2048), Test::Xml("opnsense")])],
    min_files: 1,
};

/// Files and leases: dnsmasq(8), options --conf-file, --dhcp-leasefile, --no-hosts, --read-ethers, with FreeBSD's places;
/// service settings: Debian's and Alpine's packages. `/etc/hosts` is everywhere, hence two files.
///
/// `command = ["dnsmasq", "--test", "-C", "{file}"]` is no part of it: that needs dnsmasq on this machine, and whatever folders and
/// files `conf-dir=` and `conf-file=` name.
const DNSMASQ: Preset = Preset {
    name: "dnsmasq",
    paths: &[],
    if_present: &[
        "/etc/dnsmasq.conf",
        "/etc/dnsmasq.d/**",
        "/etc/default/dnsmasq",
        "/etc/conf.d/dnsmasq",
        "/etc/hosts",
        "/etc/ethers",
        "/var/lib/misc/dnsmasq.leases",
        "/usr/local/etc/dnsmasq.conf",
        "/usr/local/etc/dnsmasq.conf.d/**",
        "/var/db/dnsmasq.leases",
    ],
    exclude: LEFTOVERS,
    newest: &[],
    checks: &[("/**/dnsmasq.conf", &[Test::MinBytes(1)])],
    min_files: 2,
};

/// rsyslogd(8): `/etc/rsyslog.conf`; the drop-in folder and the service settings: Debian's, Alpine's and FreeBSD's packages.
const RSYSLOG: Preset = Preset {
    name: "rsyslog",
    paths: &[],
    if_present: &[
        "/etc/rsyslog.conf",
        "/etc/rsyslog.d/**",
        "/etc/default/rsyslog",
        "/etc/conf.d/rsyslog",
        "/etc/logrotate.d/rsyslog",
        "/usr/local/etc/rsyslog.conf",
        "/usr/local/etc/rsyslog.d/**",
    ],
    exclude: LEFTOVERS,
    newest: &[],
    checks: &[("/**/rsyslog.conf", &[Test::MinBytes(1)])],
    min_files: 1,
};

/// monit(1), "The Monit control file"; Alpine's and FreeBSD's packages for the drop-in folder, Debian's for `/etc/monit`.
///
/// The control file holds passwords and Monit wants it open to its owner alone (mode 0700 at the most): log in as root, or as
/// a user whom an ACL lets read it.
const MONIT: Preset = Preset {
    name: "monit",
    paths: &[],
    if_present: &[
        "/etc/monitrc",
        "/etc/monit.d/**",
        "/etc/monit/**",
        "/etc/default/monit",
        "/etc/conf.d/monit",
        "/usr/local/etc/monitrc",
        "/usr/local/etc/monit.d/**",
    ],
    exclude: LEFTOVERS,
    newest: &[],
    checks: &[("/**/monitrc", &[Test::MinBytes(1)])],
    min_files: 1,
};
