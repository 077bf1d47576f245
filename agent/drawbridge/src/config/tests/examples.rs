//! The example that the README links: a whole network.

use std::time::Duration;

use super::*;

const NETWORK: &str = include_str!("../../../examples/network.toml");

fn source<'a>(config: &'a Config, name: &str) -> &'a Source {
    config.sources.iter().find(|source| source.name == name).unwrap()
}

fn login(source: &Source) -> (String, String) {
    let Place::Ssh(target) = &source.place else { panic!("{source:?}") };
    (target.user.clone().unwrap(), target.host.clone())
}

#[test]
fn the_network_of_the_example_is_understood_host_by_host() {
    let config = parse(NETWORK).unwrap();
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["backup-vm", "firewall", "firewall-rules", "dns", "logs", "log-server", "ad", "desk1", "desk2"]);
    let logins = [
        ("firewall", "root", "fw.lan"),
        ("firewall-rules", "root", "fw.lan"),
        ("dns", "root", "dns.lan"),
        ("logs", "drawbridge", "log.lan"),
        ("log-server", "root", "log.lan"),
        ("desk1", "alice", "desk1.lan"),
        ("desk2", "bob", "desk2.lan"),
    ];
    for (name, user, host) in logins {
        assert_eq!(login(source(&config, name)), (user.to_owned(), host.to_owned()));
    }
    assert_eq!(config.gather, GatherSettings { parallel: 4, bandwidth: Some(60 << 20) });
}

#[test]
fn the_example_keeps_what_matters_of_each_host() {
    let config = parse(NETWORK).unwrap();
    let all = |name: &str| {
        let files = files(source(&config, name));
        [shown(&files.paths), shown(&files.if_present)].concat()
    };
    assert!(all("firewall").contains(&"/conf/config.xml".to_owned()));
    for path in ["/etc/dnsmasq.conf", "/etc/monitrc", "/etc/rsyslog.conf", "/etc/network/interfaces"] {
        assert!(all("dns").contains(&path.to_owned()), "{path}");
    }
    assert!(all("log-server").contains(&"/etc/logrotate.d/**".to_owned()));
    let logs = source(&config, "logs");
    let files = files(logs);
    assert!(files.append.is_match(Path::new("/var/log/remote/dns/named.log")));
    let [newest] = files.newest.as_slice() else { panic!() };
    assert!(newest.keep == 30 && newest.files.is_match("/var/log/remote/dns/named.log-20260101.gz"));
    assert_eq!((logs.rule.max_vanish, logs.max_age), (Some(0.3), Some(Duration::from_secs(36 * 3600))));
    let Place::Local { require_mount } = &source(&config, "ad").place else { panic!() };
    assert_eq!(*require_mount, [drawbridge_gather::Mount::At("/mnt/ad".into())]);
    let What::Commands(commands) = &source(&config, "firewall-rules").what else { panic!() };
    assert!(commands.iter().any(|command| command.file == "pf-rules.txt" && !command.checks.is_empty()));
}

#[test]
fn what_the_example_shows_as_a_comment_is_valid_too() {
    let settings = ["[[source", "files =", "command =", "jump ="];
    let all: String = NETWORK
        .split_inclusive('\n')
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if settings.iter().any(|setting| rest.starts_with(setting)) => rest,
            _ => line,
        })
        .collect();
    let config = parse(&all).unwrap();
    assert_eq!(files(source(&config, "dns")).checks.len(), 5);
    let Place::Ssh(desk) = &source(&config, "desk2").place else { panic!() };
    assert_eq!(desk.jump.as_deref().unwrap(), ["drawbridge@gate.lan:2222"]);
}
