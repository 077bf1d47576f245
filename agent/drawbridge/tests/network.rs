//! `examples/network.toml` itself, with few substitutions, by the real program on hosts that are as it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/network.rs"]
mod network;
#[path = "support/site.rs"]
mod site;
mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use drawbridge::engine::LocalRepository;
use drawbridge::gather::Origins;
use drawbridge::state::Current;
use drawbridge_gather::Site;
use drawbridge_peers::{need, need_root};
use network::{Network, RULES, config_xml, plant};
use site::run;

const ROOT: &str = "only root may have sshd chroot, and each of these hosts has a file system of its own";

/// The files of a source in the mirror.
fn brought(network: &Network, source: &str) -> Vec<String> {
    support::files(&network.mirror(source)).iter().map(|path| path.display().to_string()).collect()
}

/// A snapshot of the mirror, as `drawbridge run` makes it.
fn back_up(network: &Network) {
    let (state, password) =
        (network.path().join("state"), fs::read_to_string(network.path().join("password")).unwrap());
    let repository = LocalRepository::create(&state.join("repository"), password.trim()).unwrap();
    let site = Site::new(&state);
    repository.back_up(&site.mirror(), Origins::new(&site), Arc::new(|_| ())).unwrap();
    Current::of(repository.id().clone()).save(&state).unwrap();
}

#[test]
fn the_network_of_the_example_is_checked_gathered_and_compared() {
    need_root(ROOT);
    let network = Network::start();
    assert_checked(&network);

    let (code, said) = run(&mut network.drawbridge("gather"));
    assert_eq!(code, Some(3), "only the share isn't there: {said}");
    assert_eq!(said.matches(" failed: ").count(), 1, "{said}");
    assert!(said.contains("ad failed: nothing is mounted at"), "{said}");
    assert!(!network.mirror("ad").exists());
    assert_brought(&network);
    back_up(&network);

    happen(&network);
    let (code, said) = run(&mut network.drawbridge("gather"));
    assert_eq!(code, Some(3), "{said}");
    assert_kept(&network, &said);
    assert_compared(&network);
}

/// Every source can be reached, but for the share that isn't mounted.
fn assert_checked(network: &Network) {
    let (code, said) = run(&mut network.drawbridge("check"));
    assert_eq!(code, Some(1), "{said}");
    for source in ["backup-vm", "firewall", "firewall-rules", "dns", "logs", "log-server", "desk1", "desk2"] {
        assert!(said.contains(&format!("ok    source {source} ")), "{source}: {said}");
    }
    assert!(said.contains("FAIL  source ad on this machine\n      nothing is mounted at"), "{said}");
}

/// What each source brought, and nothing else.
fn assert_brought(network: &Network) {
    let mut firewall: Vec<String> = (5..35).map(|day| format!("conf/backup/config-17{day:08}.0.xml")).collect();
    firewall.extend(["boot/loader.conf.local", "conf/config.xml"].map(str::to_owned));
    firewall.extend(["usr/local/etc/unbound.opnsense.d/lan.conf", "var/db/kea/kea-leases4.csv"].map(str::to_owned));
    firewall.sort();
    assert_eq!(brought(network, "firewall"), firewall);
    assert_eq!(brought(network, "firewall-rules"), ["pf-rules.txt"]);
    assert_eq!(fs::read_to_string(network.mirror("firewall-rules").join("pf-rules.txt")).unwrap(), RULES);
    let dns = [
        "etc/apk/world",
        "etc/conf.d/dnsmasq",
        "etc/dnsmasq.conf",
        "etc/dnsmasq.d/hosts.conf",
        "etc/hosts",
        "etc/local.d/tune.start",
        "etc/monit.d/dnsmasq",
        "etc/monitrc",
        "etc/network/interfaces",
        "etc/rsyslog.conf",
        "etc/ssh/sshd_config",
        "var/lib/misc/dnsmasq.leases",
    ];
    assert_eq!(brought(network, "dns"), dns);
    let mut logs: Vec<String> = (3..33).map(|day| format!("var/log/remote/fw/filterlog.log-{day:02}.gz")).collect();
    logs.extend(["var/log/remote/dns/dnsmasq.log", "var/log/remote/fw/filterlog.log"].map(str::to_owned));
    logs.sort();
    assert_eq!(brought(network, "logs"), logs);
    let log_server = [
        "etc/apk/world",
        "etc/logrotate.conf",
        "etc/logrotate.d/remote",
        "etc/monitrc",
        "etc/network/interfaces",
        "etc/rsyslog.conf",
        "etc/rsyslog.d/remote.conf",
    ];
    assert_eq!(brought(network, "log-server"), log_server);
    for (desk, user) in [("desk1", "alice"), ("desk2", "bob")] {
        let home = [".config/pcmanfm.conf", "Documents/letter.txt", "Documents/old.txt"];
        assert_eq!(brought(network, desk), home.map(|file| format!("home/{user}/{file}")));
    }
    let vm = network.path().strip_prefix("/").unwrap().join("vm/etc");
    let vm = ["drawbridge/drawbridge.toml", "hostname"].map(|file| vm.join(file).display().to_string());
    assert_eq!(brought(network, "backup-vm"), vm, "the keys to everything else stay here");
}

/// What happens on the network in a day.
fn happen(network: &Network) {
    let whole = config_xml("other");
    plant(network.fw.chroot(), &[("conf/config.xml", &whole[..whole.len() / 2])]);
    let dnsmasq = "domain-needed\ndhcp-range=192.168.1.50,192.168.1.199,12h\n";
    let monitrc = "set mailserver smtp.lan\n  username \"monit\" password \"correct-horse-2\"\n";
    plant(network.dns.chroot(), &[("etc/dnsmasq.conf", dnsmasq), ("etc/monitrc", monitrc)]);
    let log = network.log.chroot().join("var/log/remote/fw/filterlog.log");
    OpenOptions::new().append(true).open(log).unwrap().write_all(b"pass out on igb0\n").unwrap();
    fs::remove_file(network.desk1.chroot().join("home/alice/Documents/old.txt")).unwrap();
}

/// The firewall's configuration that was cut off is kept aside and the good one stays; all the others are as their hosts have them.
fn assert_kept(network: &Network, said: &str) {
    let config = Path::new("conf/config.xml");
    assert_eq!(fs::read_to_string(network.mirror("firewall").join(config)).unwrap(), config_xml("fw"));
    let aside = network.path().join("state/rejected/firewall").join(config);
    assert!(said.contains(&format!("the new one is kept as {}", aside.display())), "{said}");
    assert_eq!(fs::read(aside).unwrap(), fs::read(network.fw.chroot().join(config)).unwrap());
    let (_, status) = run(&mut network.drawbridge("status"));
    assert!(status.contains("because /conf/config.xml: ") && status.contains("firewall-rules: complete"), "{status}");
    let log = fs::read_to_string(network.mirror("logs").join("var/log/remote/fw/filterlog.log")).unwrap();
    assert_eq!(log, "block in on igb0\npass out on igb0\n");
}

fn assert_compared(network: &Network) {
    let (code, diff) = run(&mut network.drawbridge("diff"));
    assert_eq!(code, Some(0), "{diff}");
    for line in [
        "-dhcp-range=192.168.1.50,192.168.1.150,12h\n",
        "+dhcp-range=192.168.1.50,192.168.1.199,12h\n",
        "+pass out on igb0\n",
        "removed desk1/home/alice/Documents/old.txt",
        "changed dns/etc/monitrc",
    ] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
    for absent in ["firewall/conf/config.xml", "hunter2", "correct-horse-2", "desk2/home/bob/Documents/letter.txt"] {
        assert!(!diff.contains(absent), "{absent}: {diff}");
    }
    let (_, of_one) = run(network.drawbridge("diff").arg("desk1"));
    assert!(of_one.contains("removed desk1/") && !of_one.contains("dns/"), "{of_one}");
}

#[test]
fn dnsmasq_itself_judges_its_new_configuration_where_the_example_shows_how() {
    need_root(ROOT);
    let dnsmasq = need("dnsmasq", "dnsmasq-base");
    let network = Network::start();
    network.uncomment();
    // Where Debian has it, an ordinary user's PATH may not lead.
    let folders = format!("{}:{}", dnsmasq.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let gather = || run(network.drawbridge("gather").arg("dns").env("PATH", &folders));
    let config = Path::new("etc/dnsmasq.conf");
    let gathered = || fs::read_to_string(network.mirror("dns").join(config)).unwrap();
    let aside = network.path().join("state/rejected/dns").join(config);

    let (code, said) = gather();
    assert_eq!(code, Some(0), "{said}");
    let good = gathered();
    let bad = good.replace("domain-needed", "domain-neded");
    plant(network.dns.chroot(), &[("etc/dnsmasq.conf", &bad)]);
    let (code, said) = gather();
    assert_eq!((code, gathered()), (Some(3), good.clone()), "{said}");
    assert!(said.contains("its check \"dnsmasq\" refuses it") && said.contains("bad option at line 1"), "{said}");
    assert_eq!(fs::read_to_string(&aside).unwrap(), bad);

    // It looks for what the file includes on the machine that it runs on, as the example says.
    let included = network.path().join("dnsmasq.d");
    let with_folder = format!("{good}conf-dir={}\n", included.display());
    plant(network.dns.chroot(), &[("etc/dnsmasq.conf", &with_folder)]);
    let (code, said) = gather();
    assert_eq!((code, gathered()), (Some(3), good), "{said}");
    assert!(said.contains("cannot access directory"), "{said}");
    fs::create_dir(&included).unwrap();
    let (code, said) = gather();
    assert_eq!((code, gathered()), (Some(0), with_folder), "{said}");
    assert!(!aside.exists());

    // Without the program `check` names the source whose check it is.
    let (code, said) = run(network.drawbridge("check").env("PATH", network.path()));
    assert_eq!(code, Some(1), "{said}");
    let of_dns = said.split_once("FAIL  source dns ").unwrap().1;
    assert!(of_dns.lines().nth(1).unwrap().contains("its check \"dnsmasq\" is not on this machine"), "{said}");
}
